//! `inspect --as-run`, `inspect --as-compose`: the words that make a container like this one again.

use engine::{Container, Mount, MountKind, Network, Restart, Settings};
use std::fmt::Write;

/// The command line that made it, for a shell.
pub fn run(container: &Container) -> String {
    let words: Vec<String> = container.settings.command_line.iter().map(|word| steps::quote(word)).collect();
    words.join(" ") + "\n"
}

/// A compose file of one service for each container, and of the volumes and networks that they name.
pub fn compose(containers: &[Container]) -> String {
    let mut text = "services:\n".to_owned();
    for container in containers {
        service(&mut text, container);
    }
    let all = || containers.iter().map(|c| &c.settings);
    let mut volumes: Vec<&str> =
        all().flat_map(|s| &s.mounts).filter(|m| is_named(m)).map(|m| m.source.as_str()).collect();
    let mut networks: Vec<&str> = all()
        .filter(|s| s.network == Network::Bridge)
        .flat_map(|s| s.networks.iter().map(|wish| wish.network.as_str()))
        .filter(|name| *name != "bridge")
        .collect();
    for (title, names) in [("volumes", &mut volumes), ("networks", &mut networks)] {
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:");
        for name in names {
            let _ = writeln!(text, "  {}:\n    external: true", text_of(name));
        }
    }
    text
}

/// As JSON, which YAML contains.
fn healthcheck(check: &image::Healthcheck) -> String {
    let time = |nanos: i64| serde_json::json!(format!("{}ms", nanos as f64 / 1e6));
    let all = [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("start_period", check.start_period),
        ("start_interval", check.start_interval),
    ];
    let mut map = serde_json::Map::new();
    if !check.test.is_empty() {
        map.insert("test".to_owned(), serde_json::json!(check.test));
    }
    map.extend(all.iter().filter(|(_, n)| *n != 0).map(|(key, n)| ((*key).to_owned(), time(*n))));
    if check.retries != 0 {
        map.insert("retries".to_owned(), serde_json::json!(check.retries));
    }
    serde_json::Value::Object(map).to_string()
}

fn is_named(mount: &Mount) -> bool {
    mount.kind == MountKind::Volume && !mount.anonymous
}

fn service(out: &mut String, container: &Container) {
    let s = &container.settings;
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!("  {}:", text_of(&container.name)));
    line(format!("    container_name: {}", text_of(&container.name)));
    let mut pair = |key: &str, value: String| line(format!("    {key}: {value}"));
    pair("image", text_of(&s.image));
    let texts = [
        ("hostname", &s.hostname),
        ("domainname", &s.domainname),
        ("user", &s.user),
        ("stop_signal", &s.stop_signal),
        ("cpuset", &s.resources.cpuset_cpus),
    ];
    for (key, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
        pair(key, text_of(value));
    }
    if s.workdir != "/" {
        pair("working_dir", text_of(&s.workdir));
    }
    let flags = [
        ("tty", s.tty),
        ("stdin_open", s.interactive),
        ("init", s.init),
        ("privileged", s.privileged),
        ("read_only", s.read_only),
    ];
    for (key, _) in flags.into_iter().filter(|(_, on)| *on) {
        pair(key, "true".to_owned());
    }
    if let Some(seconds) = s.stop_timeout {
        pair("stop_grace_period", format!("{seconds}s"));
    }
    if s.restart != Restart::No {
        let word = match s.restart {
            Restart::OnFailure(most) if most > 0 => format!("on-failure:{most}"),
            policy => policy.word().to_owned(),
        };
        pair("restart", text_of(&word));
    }
    if let Some(check) = &s.healthcheck {
        pair("healthcheck", healthcheck(check));
    }
    let r = &s.resources;
    let numbers = [
        ("mem_limit", r.memory),
        ("memswap_limit", r.memory_swap),
        ("mem_reservation", r.memory_reservation),
        ("pids_limit", r.pids_limit),
        ("cpu_shares", r.cpu_shares.map(|n| n as i64)),
        ("shm_size", Some(s.shm_size as i64).filter(|n| *n > 0)),
    ];
    if s.storage_size != 0 {
        pair("storage_opt", format!("{{ size: \"{}\" }}", s.storage_size));
    }
    for (key, value) in numbers {
        if let Some(value) = value {
            pair(key, value.to_string());
        }
    }
    if let Some(nano) = r.nano_cpus {
        pair("cpus", text_of(&format!("{}", nano as f64 / 1e9)));
    }
    match &s.network {
        Network::Bridge => {}
        Network::None => pair("network_mode", "\"none\"".to_owned()),
        Network::Host => pair("network_mode", "\"host\"".to_owned()),
        Network::Container(other) => pair("network_mode", text_of(&format!("container:{other}"))),
    }
    for (key, values) in lists(s) {
        if !values.is_empty() {
            let _ = writeln!(out, "    {key}:");
            for value in values {
                let _ = writeln!(out, "      - {}", text_of(&value));
            }
        }
    }
    if !s.labels.is_empty() {
        out.push_str("    labels:\n");
        for (key, value) in &s.labels {
            let _ = writeln!(out, "      {}: {}", text_of(key), text_of(value));
        }
    }
}

fn lists(s: &Settings) -> Vec<(&'static str, Vec<String>)> {
    let caps = |set: kernel::caps::CapSet| match set == kernel::caps::CapSet::ALL {
        true => vec!["ALL".to_owned()],
        false => set.iter().map(|cap| cap.name().to_owned()).collect(),
    };
    let networks = match s.network {
        Network::Bridge => s.networks.iter().map(|w| w.network.clone()).filter(|n| n != "bridge").collect(),
        _ => Vec::new(),
    };
    let mounts = s.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs);
    let tmpfs = s.mounts.iter().filter(|m| m.kind == MountKind::Tmpfs);
    vec![
        ("entrypoint", s.entrypoint.clone()),
        ("command", s.cmd.clone()),
        ("environment", s.env.clone()),
        ("ports", s.ports.iter().map(port).collect()),
        ("volumes", mounts.map(volume).collect()),
        ("tmpfs", tmpfs.map(|m| m.target.clone()).collect()),
        ("networks", networks),
        ("dns", s.dns.clone()),
        ("extra_hosts", s.extra_hosts.clone()),
        ("group_add", s.group_add.clone()),
        ("cap_add", caps(s.cap_add)),
        ("cap_drop", caps(s.cap_drop)),
        ("devices", s.devices.iter().map(|d| format!("{}:{}:{}", d.source, d.target, d.access)).collect()),
        ("sysctls", s.sysctls.iter().map(|(key, value)| format!("{key}={value}")).collect()),
    ]
}

fn port(p: &network::PortSpec) -> String {
    let ip = match p.host_ip {
        Some(std::net::IpAddr::V6(ip)) => format!("[{ip}]:"),
        Some(ip) => format!("{ip}:"),
        None => String::new(),
    };
    let host = p.host_ports.map_or_else(String::new, |(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let colon = if ip.is_empty() && host.is_empty() { "" } else { ":" };
    format!("{ip}{host}{colon}{}/{}", p.container_port, p.protocol)
}

fn volume(m: &Mount) -> String {
    let mode = if m.read_only { ":ro" } else { "" };
    match m.kind == MountKind::Volume && m.anonymous {
        _ if m.kind == MountKind::Image => format!("{}:{}:ro", m.source, m.target),
        true => format!("{}{mode}", m.target),
        false => format!("{}:{}{mode}", m.source, m.target),
    }
}

/// A string of JSON is one of YAML; what compose would take for a variable is doubled.
fn text_of(text: &str) -> String {
    serde_json::Value::String(text.replace('$', "$$")).to_string()
}
