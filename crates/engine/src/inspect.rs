//! Docker's JSON of a container: the shape that scripts know, filled from settings and state.

use crate::specify::hostname;
use crate::{Container, Engine, Mount, MountKind, Network, Result, Share, State};
use serde_json::{Map, Value, json};
use std::path::Path;

/// Docker's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// One object, as `docker inspect` has it.
    pub fn inspect(&self, container: &Container) -> Result<Value> {
        let s = &container.settings;
        let state = self.state(container)?;
        let dir = self.directory(container);
        let run = self.run_directory(container);
        let argv: Vec<&String> = s.entrypoint.iter().chain(&s.cmd).collect();
        let path = |p: &Path, name: &str| p.join(name).display().to_string();
        Ok(json!({
            "Id": container.id,
            "Created": container.created.rfc3339(),
            "Path": argv.first().map_or("", |p| p.as_str()),
            "Args": argv.get(1..).unwrap_or_default(),
            "State": state_json(&state),
            "Image": if container.image_id.is_empty() { String::new() } else { format!("sha256:{}", container.image_id) },
            "ResolvConfPath": path(&run, "resolv.conf"),
            "HostnamePath": path(&run, "hostname"),
            "HostsPath": path(&run, "hosts"),
            "LogPath": path(&dir, "log.json"),
            "Name": format!("/{}", container.name),
            "RestartCount": 0,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": s.security.apparmor.clone().unwrap_or_default(),
            "ExecIDs": null,
            "HostConfig": self.host_config(container),
            "GraphDriver": {
                "Data": {
                    "LowerDir": container.lower.join(":"),
                    "MergedDir": path(&dir, "merged"),
                    "UpperDir": path(&dir, "rw/upper"),
                    "WorkDir": path(&dir, "rw/work"),
                },
                "Name": "overlay2",
            },
            "Mounts": s.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs).map(|m| self.mount_json(container, m)).collect::<Vec<_>>(),
            "Config": config(container),
            "NetworkSettings": self.network_settings(container, &state)?,
        }))
    }

    /// Bytes that the container wrote, and those with its image.
    pub fn size(&self, container: &Container) -> (u64, u64) {
        let written = tree_size(&self.directory(container).join("rw/upper"));
        let image = self.images().image(&container.image_id).map_or(0, |image| image.size);
        (written, written + image)
    }

    fn mount_json(&self, container: &Container, m: &Mount) -> Value {
        let anonymous = self.directory(container).join("volumes").join(m.target.replace('/', "%"));
        let (kind, source) = match m.kind {
            MountKind::Bind => ("bind", m.source.clone()),
            _ if m.source.is_empty() => ("volume", anonymous.display().to_string()),
            _ => ("volume", self.root.join("volumes").join(&m.source).join("_data").display().to_string()),
        };
        let mut value = json!({
            "Type": kind, "Source": source, "Destination": m.target,
            "Mode": if m.read_only { "ro" } else { "" }, "RW": !m.read_only, "Propagation": "rprivate",
        });
        if kind == "volume" {
            value["Name"] = m.source.clone().into();
            value["Driver"] = "local".into();
        }
        value
    }

    fn host_config(&self, container: &Container) -> Value {
        let s = &container.settings;
        let r = &s.resources;
        let names = |set: kernel::caps::CapSet| set.iter().map(|c| c.name()).collect::<Vec<_>>();
        let share = |share: &Share, private: &str| match share {
            Share::Private => private.to_owned(),
            Share::Host => "host".to_owned(),
            Share::Container(id) => format!("container:{id}"),
        };
        let binds: Vec<String> = s
            .mounts
            .iter()
            .filter(|m| m.kind == MountKind::Bind || !m.source.is_empty() && m.kind == MountKind::Volume)
            .map(|m| format!("{}:{}{}", m.source, m.target, if m.read_only { ":ro" } else { "" }))
            .collect();
        let mut bindings = Map::new();
        for port in &s.ports {
            let key = format!("{}/{}", port.container_port, port.protocol);
            let binding = json!({
                "HostIp": port.host_ip.map_or(String::new(), |ip| ip.to_string()),
                "HostPort": port.host_ports.map_or(String::new(), |(first, _)| first.to_string()),
            });
            if let Value::Array(list) = bindings.entry(key).or_insert_with(|| json!([])) {
                list.push(binding);
            }
        }
        json!({
            "Binds": if binds.is_empty() { Value::Null } else { json!(binds) },
            "LogConfig": { "Type": s.log.driver, "Config": { "max-size": s.log.max_size.to_string(), "max-file": s.log.max_files.to_string() } },
            "NetworkMode": network_mode(&s.network),
            "PortBindings": bindings,
            "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 },
            "AutoRemove": s.auto_remove,
            "CapAdd": names(s.cap_add),
            "CapDrop": names(s.cap_drop),
            "CgroupnsMode": share(&s.cgroupns, "private"),
            "Dns": s.dns,
            "DnsOptions": s.dns_options,
            "DnsSearch": s.dns_search,
            "ExtraHosts": s.extra_hosts,
            "GroupAdd": s.group_add,
            "IpcMode": share(&s.ipc, "private"),
            "OomScoreAdj": r.oom_score_adj.unwrap_or_default(),
            "PidMode": share(&s.pid, ""),
            "Privileged": s.privileged,
            "ReadonlyRootfs": s.read_only,
            "UTSMode": share(&s.uts, ""),
            "UsernsMode": share(&s.userns, ""),
            "ShmSize": if s.shm_size == 0 { 64 << 20 } else { s.shm_size },
            "Sysctls": s.sysctls,
            "Init": s.init,
            "CpuShares": r.cpu_shares.unwrap_or_default(),
            "Memory": r.memory.unwrap_or_default(),
            "MemoryReservation": r.memory_reservation.unwrap_or_default(),
            "MemorySwap": r.memory_swap.or(r.memory.map(|m| m.saturating_mul(2))).unwrap_or_default(),
            "MemorySwappiness": r.memory_swappiness,
            "NanoCpus": r.nano_cpus.unwrap_or_default(),
            "CpuPeriod": r.cpu_period.unwrap_or_default(),
            "CpuQuota": r.cpu_quota.unwrap_or_default(),
            "CpusetCpus": r.cpuset_cpus,
            "CpusetMems": r.cpuset_mems,
            "BlkioWeight": r.blkio_weight.unwrap_or_default(),
            "OomKillDisable": r.oom_kill_disable,
            "PidsLimit": r.pids_limit,
            "Ulimits": s.ulimits.iter().map(|u| json!({ "Name": u.name, "Soft": u.soft, "Hard": u.hard })).collect::<Vec<_>>(),
        })
    }

    fn network_settings(&self, container: &Container, state: &State) -> Result<Value> {
        let running = matches!(state, State::Running { .. });
        let mut ports = Map::new();
        for exposed in &container.settings.exposed {
            ports.insert(exposed.clone(), Value::Null);
        }
        for port in if running { self.published(container) } else { Vec::new() } {
            let entry =
                ports.entry(format!("{}/{}", port.container_port, port.protocol)).or_insert(Value::Null);
            let ip = port.host_ip.map_or("0.0.0.0".to_owned(), |ip| ip.to_string());
            let binding = json!({ "HostIp": ip, "HostPort": port.host_port.to_string() });
            match entry {
                Value::Array(list) => list.push(binding),
                other => *other = json!([binding]),
            }
        }
        let network = self.network()?;
        let address = container.address.filter(|_| running);
        let ip = address.map_or(String::new(), |a| a.to_string());
        let mac = address.map_or(String::new(), |a| {
            network::lease::mac(a).iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
        });
        let gateway = address.map_or(String::new(), |_| network.gateway.to_string());
        let prefix = address.map_or(0, |_| network.subnet.prefix);
        let sandbox = match state {
            State::Running { pid, .. } => format!("/proc/{pid}/ns/net"),
            _ => String::new(),
        };
        let endpoint = json!({
            "IPAddress": ip, "IPPrefixLen": prefix, "Gateway": gateway, "MacAddress": mac,
            "NetworkID": network.bridge, "Aliases": null, "IPv6Gateway": "", "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0,
        });
        let mut networks = Map::new();
        networks.insert(network_mode(&container.settings.network), endpoint);
        Ok(json!({
            "Bridge": "", "SandboxID": container.id, "SandboxKey": sandbox, "Ports": ports,
            "Gateway": gateway, "IPAddress": ip, "IPPrefixLen": prefix, "MacAddress": mac, "Networks": networks,
        }))
    }
}

fn network_mode(network: &Network) -> String {
    match network {
        Network::Bridge => "bridge".to_owned(),
        Network::None => "none".to_owned(),
        Network::Host => "host".to_owned(),
        Network::Container(id) => format!("container:{id}"),
    }
}

fn state_json(state: &State) -> Value {
    let (status, pid, code, oom, error) = match state {
        State::Created => ("created", 0, 0, false, ""),
        State::Running { pid, .. } => ("running", *pid, 0, false, ""),
        State::Exited { code, oom_killed, error, .. } => ("exited", 0, *code, *oom_killed, error.as_str()),
    };
    let (started, finished) = match state {
        State::Created => (NEVER.to_owned(), NEVER.to_owned()),
        State::Running { since, .. } => (since.rfc3339(), NEVER.to_owned()),
        State::Exited { started, at, .. } => {
            (started.map_or(NEVER.to_owned(), |t| t.rfc3339()), at.rfc3339())
        }
    };
    json!({
        "Status": status, "Running": status == "running", "Paused": false, "Restarting": false, "OOMKilled": oom,
        "Dead": false, "Pid": pid, "ExitCode": code, "Error": error, "StartedAt": started, "FinishedAt": finished,
    })
}

fn config(container: &Container) -> Value {
    let s = &container.settings;
    let list = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let exposed: Map<String, Value> = s.exposed.iter().map(|p| (p.clone(), json!({}))).collect();
    let volumes: Map<String, Value> = s
        .mounts
        .iter()
        .filter(|m| m.kind == MountKind::Volume && m.source.is_empty())
        .map(|m| (m.target.clone(), json!({})))
        .collect();
    json!({
        "Hostname": hostname(container), "Domainname": s.domainname, "User": s.user,
        "AttachStdin": s.attach && s.interactive, "AttachStdout": s.attach, "AttachStderr": s.attach,
        "ExposedPorts": exposed, "Tty": s.tty, "OpenStdin": s.interactive, "StdinOnce": s.attach && s.interactive,
        "Env": s.env, "Cmd": list(&s.cmd), "Image": s.image, "Volumes": volumes, "WorkingDir": s.workdir,
        "Entrypoint": list(&s.entrypoint), "OnBuild": null, "Labels": s.labels,
        "StopSignal": if s.stop_signal.is_empty() { "SIGTERM" } else { s.stop_signal.as_str() },
        "StopTimeout": s.stop_timeout,
    })
}

fn tree_size(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => tree_size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}
