//! Docker's JSON of a container, in full: what scripts and tutorials look for is where they look.

mod networks;

use crate::{
    Container, Engine, Mount, MountKind, Network, RateKind, Resources, Result, Settings, Share, State, Time,
};
use kernel::caps::CapSet;
use serde_json::{Map, Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What Docker writes where there was no such moment.
const NEVER: &str = "0001-01-01T00:00:00Z";
const DEFAULT_SHM: u64 = 64 << 20;

impl Engine {
    /// The object that `inspect` prints. Fields are in Docker's order.
    pub fn inspect(&self, container: &Container) -> Result<Value> {
        let state = self.state(container)?;
        let s = &container.settings;
        let (dir, run) = (self.directory(container), self.run_directory(container));
        let file = |path: &Path, name: &str| path.join(name).display().to_string();
        let mut argv = s.entrypoint.iter().chain(&s.cmd);
        Ok(json!({
            "Id": container.id,
            "Created": container.created.rfc3339(),
            "Path": argv.next(),
            "Args": argv.collect::<Vec<_>>(),
            "State": self.state_object(container, &state),
            "Image": image_id(container),
            "ResolvConfPath": file(&run, "resolv.conf"),
            "HostnamePath": file(&run, "hostname"),
            "HostsPath": file(&run, "hosts"),
            "LogPath": if s.log.driver == "json-file" { file(&dir, "log.json") } else { String::new() },
            "Name": format!("/{}", container.name),
            "RestartCount": restarts(&state),
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": s.security.apparmor.clone().unwrap_or_default(),
            "ExecIDs": null,
            "HostConfig": self.host_config(container),
            "GraphDriver": graph_driver(container, &dir),
            "Mounts": s.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs).map(|m| self.mount_point(m)).collect::<Vec<_>>(),
            "Config": config(container, &self.hostname(container)),
            "NetworkSettings": self.network_settings(container, &state)?,
        }))
    }

    /// Bytes that the container has written, and those with its image's.
    pub fn size(&self, container: &Container) -> (u64, u64) {
        let written = bytes_below(&self.upper_directory(container), 0);
        let image = self.images().image(container.image_id.trim_start_matches("sha256:"));
        (written, written + image.map_or(0, |image| image.size))
    }

    fn host_config(&self, container: &Container) -> Value {
        let s = &container.settings;
        let binds: Vec<String> = s
            .mounts
            .iter()
            .filter(|m| m.create_source || (m.kind == MountKind::Volume && !m.anonymous))
            .map(bind)
            .collect();
        let mut object = json!({
            "Binds": list_or_null(&binds),
            "ContainerIDFile": "",
            "LogConfig": { "Type": s.log.driver, "Config": log_config(s) },
            "NetworkMode": network_mode(s),
            "PortBindings": port_bindings(s),
            "RestartPolicy": restart_policy(s),
            "AutoRemove": s.auto_remove,
            "VolumeDriver": "",
            "VolumesFrom": null,
            "ConsoleSize": [0, 0],
            "CapAdd": capabilities(s.cap_add),
            "CapDrop": capabilities(s.cap_drop),
            "CgroupnsMode": share(&s.cgroupns, "private"),
            "Dns": s.dns,
            "DnsOptions": s.dns_options,
            "DnsSearch": s.dns_search,
            "ExtraHosts": list_or_null(&s.extra_hosts),
            "GroupAdd": list_or_null(&s.group_add),
            "IpcMode": share(&s.ipc, "private"),
            "Cgroup": "",
            "Links": null,
            "OomScoreAdj": s.resources.oom_score_adj.unwrap_or(0),
            "PidMode": share(&s.pid, ""),
            "Privileged": s.privileged,
            "PublishAllPorts": false,
            "ReadonlyRootfs": s.read_only,
            "SecurityOpt": list_or_null(&security(s)),
            "UTSMode": share(&s.uts, ""),
            "UsernsMode": share(&s.userns, ""),
            "ShmSize": if s.shm_size == 0 { DEFAULT_SHM } else { s.shm_size },
            "Runtime": "corten",
            "Isolation": "",
        });
        let tmpfs: Map<String, Value> = s
            .mounts
            .iter()
            .filter(|m| m.kind == MountKind::Tmpfs)
            .map(|m| (m.target.clone(), json!(tmpfs(m))))
            .collect();
        if let Value::Object(map) = &mut object {
            if !tmpfs.is_empty() {
                map.insert("Tmpfs".to_owned(), Value::Object(tmpfs));
            }
            if !s.sysctls.is_empty() {
                map.insert("Sysctls".to_owned(), json!(s.sysctls));
            }
            if !s.annotations.is_empty() {
                map.insert("Annotations".to_owned(), json!(s.annotations));
            }
            if s.storage_size != 0 {
                map.insert("StorageOpt".to_owned(), json!({ "size": s.storage_size.to_string() }));
            }
            if s.init {
                map.insert("Init".to_owned(), Value::Bool(true));
            }
            resources(s, map);
            let open = s.privileged || s.security.unmask;
            for (key, paths) in [
                ("MaskedPaths", json!(crate::specify::masked())),
                ("ReadonlyPaths", json!(crate::specify::READ_ONLY)),
            ] {
                map.insert(key.to_owned(), if open { Value::Null } else { paths });
            }
        }
        object
    }

    fn state_object(&self, container: &Container, state: &State) -> Value {
        // The out-of-memory killer may have come for a process of a container that goes on.
        let killed_now = matches!(state, State::Running { .. }) && self.oom_killed(container);
        let mut object = state_object(state, killed_now);
        if let Some(health) = self.health(container, state) {
            let log = health.log.iter().map(|probed| {
                json!({
                    "Start": probed.start.rfc3339(),
                    "End": probed.end.rfc3339(),
                    "ExitCode": probed.exit_code,
                    "Output": probed.output,
                })
            });
            object["Health"] = json!({
                "Status": health.status.word(),
                "FailingStreak": health.failing_streak,
                "Log": log.collect::<Vec<_>>(),
            });
        }
        object
    }

    fn mount_point(&self, m: &Mount) -> Value {
        let common = |kind: &str, source: String| json!({ "Type": kind, "Source": source });
        let mut object = match m.kind {
            MountKind::Volume => {
                let mut object = json!({ "Type": "volume", "Name": m.source });
                let dir = self.volume_path(m);
                object["Source"] = json!(dir.display().to_string());
                object
            }
            MountKind::Image => common("image", m.source.clone()),
            _ => common("bind", m.source.clone()),
        };
        object["Destination"] = json!(m.target);
        if m.kind == MountKind::Volume {
            object["Driver"] = json!("local");
        }
        object["Mode"] = json!(if m.read_only { "ro" } else { "" });
        object["RW"] = json!(!m.read_only);
        object["Propagation"] = json!(match (m.kind, m.propagation.as_str()) {
            (MountKind::Bind, "") => "rprivate",
            (_, word) => word,
        });
        object
    }
}

fn image_id(container: &Container) -> String {
    let hex = container.image_id.trim_start_matches("sha256:");
    if hex.is_empty() { String::new() } else { format!("sha256:{hex}") }
}

fn restart_policy(s: &Settings) -> Value {
    let most = if let crate::Restart::OnFailure(most) = s.restart { most } else { 0 };
    json!({ "Name": s.restart.word(), "MaximumRetryCount": most })
}

fn restarts(state: &State) -> u32 {
    match state {
        State::Running { restarts, .. }
        | State::Restarting { restarts, .. }
        | State::Exited { restarts, .. } => *restarts,
        State::Created => 0,
    }
}

fn state_object(state: &State, killed_now: bool) -> Value {
    let (status, pid, code, oom_killed, error, started, finished) = match state {
        State::Created => ("created", 0, 0, false, "", None, None),
        State::Running { pid, since, paused, .. } => {
            let status = if *paused { "paused" } else { "running" };
            (status, *pid, 0, killed_now, "", Some(*since), None)
        }
        State::Restarting { code, since, at, oom_killed, .. } => {
            ("restarting", 0, *code, *oom_killed, "", Some(*since), Some(*at))
        }
        State::Exited { code, started: None, oom_killed, error, .. } => {
            ("created", 0, *code, *oom_killed, error.as_str(), None, None)
        }
        State::Exited { code, started, at, oom_killed, error, .. } => {
            ("exited", 0, *code, *oom_killed, error.as_str(), *started, Some(*at))
        }
    };
    let moment = |time: Option<Time>| time.map_or_else(|| NEVER.to_owned(), Time::rfc3339);
    json!({
        "Status": status,
        // One that stands still, or is about to be started again, counts as running.
        "Running": matches!(status, "running" | "paused" | "restarting"),
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": oom_killed,
        "Dead": false,
        "Pid": pid,
        "ExitCode": code,
        "Error": error,
        "StartedAt": moment(started),
        "FinishedAt": moment(finished),
    })
}

fn config(container: &Container, hostname: &str) -> Value {
    let s = &container.settings;
    let set = |names: &[String]| -> Value {
        Value::Object(names.iter().map(|name| (name.clone(), json!({}))).collect())
    };
    let volumes: Vec<String> = s
        .mounts
        .iter()
        .filter(|m| m.kind == MountKind::Volume && m.anonymous)
        .map(|m| m.target.clone())
        .collect();
    let mut object = json!({
        "Hostname": hostname,
        "Domainname": s.domainname,
        "User": s.user,
        "AttachStdin": s.attach && s.interactive,
        "AttachStdout": s.attach,
        "AttachStderr": s.attach,
        "ExposedPorts": set(&s.exposed),
        "Tty": s.tty,
        "OpenStdin": s.interactive,
        "StdinOnce": s.attach && s.interactive,
        "Env": s.env,
        "Cmd": list_or_null(&s.cmd),
        "Image": s.image,
        "Volumes": if volumes.is_empty() { Value::Null } else { set(&volumes) },
        "WorkingDir": s.workdir,
        "Entrypoint": list_or_null(&s.entrypoint),
        "OnBuild": null,
        "Labels": s.labels,
    });
    if let Value::Object(map) = &mut object {
        if s.exposed.is_empty() {
            map.shift_remove("ExposedPorts");
        }
        if let Some(check) = &s.healthcheck {
            map.insert("Healthcheck".to_owned(), healthcheck(check));
        }
        if !s.shell.is_empty() {
            map.insert("Shell".to_owned(), json!(s.shell));
        }
        if !s.stop_signal.is_empty() {
            map.insert("StopSignal".to_owned(), json!(s.stop_signal));
        }
        if let Some(seconds) = s.stop_timeout {
            map.insert("StopTimeout".to_owned(), json!(seconds));
        }
    }
    object
}

/// Docker leaves out what was not said.
fn healthcheck(check: &image::Healthcheck) -> Value {
    let mut map = Map::new();
    if !check.test.is_empty() {
        map.insert("Test".to_owned(), json!(check.test));
    }
    let times = crate::health::times(check).into_iter().chain([("Retries", check.retries)]);
    map.extend(times.filter(|(_, n)| *n != 0).map(|(key, n)| (key.to_owned(), json!(n))));
    Value::Object(map)
}

fn graph_driver(container: &Container, dir: &Path) -> Value {
    let path = |name: &str| dir.join(name).display().to_string();
    let data = match &container.settings.rootfs {
        Some(rootfs) => json!({ "MergedDir": rootfs }),
        None => json!({
            "ID": container.id,
            "LowerDir": container.lower.join(":"),
            "MergedDir": path("merged"),
            "UpperDir": path("rw/upper"),
            "WorkDir": path("rw/work"),
        }),
    };
    json!({ "Data": data, "Name": "overlay2" })
}

fn resources(s: &Settings, map: &mut Map<String, Value>) {
    let r: &Resources = &s.resources;
    let fields = json!({
        "CpuShares": r.cpu_shares.unwrap_or(0),
        "Memory": r.memory.unwrap_or(0),
        "NanoCpus": r.nano_cpus.unwrap_or(0),
        "CgroupParent": s.cgroup_parent,
        "BlkioWeight": r.blkio_weight.unwrap_or(0),
        "BlkioWeightDevice": r.device_weights.iter().map(|(path, weight)| json!({ "Path": path, "Weight": weight })).collect::<Vec<_>>(),
        "BlkioDeviceReadBps": rates(r, RateKind::ReadBytes),
        "BlkioDeviceWriteBps": rates(r, RateKind::WriteBytes),
        "BlkioDeviceReadIOps": rates(r, RateKind::Reads),
        "BlkioDeviceWriteIOps": rates(r, RateKind::Writes),
        "CpuPeriod": r.cpu_period.unwrap_or(0),
        "CpuQuota": r.cpu_quota.unwrap_or(0),
        "CpuRealtimePeriod": r.cpu_rt_period.unwrap_or(0),
        "CpuRealtimeRuntime": r.cpu_rt_runtime.unwrap_or(0),
        "CpusetCpus": r.cpuset_cpus,
        "CpusetMems": r.cpuset_mems,
        "Devices": s.devices.iter().map(|d| json!({ "PathOnHost": d.source, "PathInContainer": d.target, "CgroupPermissions": d.access })).collect::<Vec<_>>(),
        "DeviceCgroupRules": list_or_null(&s.device_rules),
        "DeviceRequests": device_requests(s),
        "MemoryReservation": r.memory_reservation.unwrap_or(0),
        // As Docker's daemon fills it in: without a choice, as much swap as memory.
        "MemorySwap": r.memory_swap.unwrap_or_else(|| r.memory.map_or(0, |m| m.saturating_mul(2))),
        "MemorySwappiness": r.memory_swappiness,
        "OomKillDisable": r.oom_kill_disable,
        "PidsLimit": r.pids_limit,
        "Ulimits": s.ulimits.iter().map(|u| json!({ "Name": u.name, "Hard": u.hard, "Soft": u.soft })).collect::<Vec<_>>(),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    });
    if let Value::Object(fields) = fields {
        map.extend(fields);
    }
}

fn rates(r: &Resources, kind: RateKind) -> Vec<Value> {
    let of = r.device_rates.iter().filter(|rate| rate.kind == kind);
    of.map(|rate| json!({ "Path": rate.path, "Rate": rate.rate })).collect()
}

fn device_requests(s: &Settings) -> Value {
    if s.cdi.is_empty() {
        return Value::Null;
    }
    json!([{ "Driver": "cdi", "Count": 0, "DeviceIDs": s.cdi, "Capabilities": null, "Options": null }])
}

fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}

fn capabilities(set: CapSet) -> Value {
    if set == CapSet::ALL {
        return json!(["ALL"]);
    }
    list_or_null(&set.iter().map(|cap| cap.name().to_owned()).collect::<Vec<_>>())
}

fn share(share: &Share, private: &str) -> String {
    match share {
        Share::Private => private.to_owned(),
        Share::Host => "host".to_owned(),
        Share::Container(other) => format!("container:{other}"),
    }
}

/// The name of the first network, or what stands in the place of one.
pub(crate) fn network_mode(s: &Settings) -> String {
    match &s.network {
        Network::Bridge => s.networks.first().map_or("bridge", |wish| &wish.network).to_owned(),
        Network::None => "none".to_owned(),
        Network::Host => "host".to_owned(),
        Network::Container(other) => format!("container:{other}"),
    }
}

fn log_config(s: &Settings) -> Value {
    if s.log.driver == "none" {
        return json!({});
    }
    let mut config =
        json!({ "max-file": s.log.max_files.to_string(), "max-size": s.log.max_size.to_string() });
    for (name, value) in &s.log.options {
        config[name] = json!(value);
    }
    config
}

fn port_bindings(s: &Settings) -> Value {
    let mut map = Map::new();
    for port in &s.ports {
        let range = port.host_ports.map_or_else(String::new, |(first, last)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        });
        let ip = port.host_ip.map_or_else(String::new, |ip| ip.to_string());
        let binding = json!({ "HostIp": ip, "HostPort": range });
        let key = format!("{}/{}", port.container_port, port.protocol);
        match map.get_mut(&key) {
            Some(Value::Array(list)) => list.push(binding),
            _ => drop(map.insert(key, json!([binding]))),
        }
    }
    Value::Object(map)
}

fn bind(m: &Mount) -> String {
    format!("{}:{}{}", m.source, m.target, if m.read_only { ":ro" } else { "" })
}

fn tmpfs(m: &Mount) -> String {
    let mut options = m.options.clone();
    options.extend(m.size.map(|size| format!("size={size}")));
    options.extend(m.mode.map(|mode| format!("mode={mode:o}")));
    if m.read_only {
        options.push("ro".to_owned());
    }
    options.join(",")
}

fn security(s: &Settings) -> Vec<String> {
    let mut options = Vec::new();
    if s.security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    options.extend(s.security.seccomp.iter().map(|text| format!("seccomp={text}")));
    options.extend(s.security.apparmor.iter().map(|name| format!("apparmor={name}")));
    options
}

/// How deep is looked: a container can make a tree that is deeper than any stack.
const DEEPEST: usize = 200;

/// Bytes of the regular files in a tree.
pub fn tree_size(dir: &Path) -> u64 {
    bytes_below(dir, 0)
}

/// Bytes of the regular files in a tree; links are not followed, and a file with two names counts twice.
fn bytes_below(dir: &Path, depth: usize) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let mut sum = 0;
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() && depth < DEEPEST => sum += bytes_below(&entry.path(), depth + 1),
            Ok(meta) if meta.is_file() => sum += meta.size(),
            _ => {}
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_docker_s_words() {
        let exited = State::Exited {
            code: 137,
            started: Some(Time(0)),
            at: Time(1_000_000_000),
            ran: None,
            oom_killed: true,
            error: String::new(),
            restarts: 3,
        };
        assert_eq!(restarts(&exited), 3);
        let object = state_object(&exited, false);
        assert_eq!(object["Status"], "exited");
        assert_eq!(object["OOMKilled"], true);
        assert_eq!(object["FinishedAt"], "1970-01-01T00:00:01.000000000Z");
        assert_eq!(state_object(&State::Created, false)["StartedAt"], NEVER);
    }

    #[test]
    fn an_object_has_all_of_docker_s_fields() {
        let root = std::env::temp_dir().join(format!("corten-inspect-{}", std::process::id()));
        let engine = Engine::open(&root.join("root"), &root.join("state")).unwrap();
        let settings = Settings {
            rootfs: Some("/".to_owned()),
            cmd: vec!["sh".to_owned(), "-c".to_owned()],
            ..Settings::default()
        };
        let container = engine.create(settings, Some("web")).unwrap();
        let object = engine.inspect(&container).unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!((object["Name"].as_str(), object["Path"].as_str()), (Some("/web"), Some("sh")));
        assert_eq!(object["HostConfig"]["NetworkMode"], "bridge");
        assert_eq!(object["NetworkSettings"]["Networks"]["bridge"]["IPAddress"], "");
        for key in
            ["Binds", "Memory", "Devices", "MaskedPaths", "CgroupParent", "Ulimits", "LogConfig", "ShmSize"]
        {
            assert!(object["HostConfig"].get(key).is_some(), "{key}");
        }
        let first: Vec<&String> = object.as_object().unwrap().keys().take(5).collect();
        assert_eq!(first, ["Id", "Created", "Path", "Args", "State"]);
    }
}
