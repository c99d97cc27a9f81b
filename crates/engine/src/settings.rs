//! What a container shall be: every choice made, nothing left to be guessed later. Kept in its `config.json`.

use kernel::caps::CapSet;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The answer to `run`'s and `create`'s options, with the image's defaults already filled in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// As typed: `nginx`, `@host`, empty with `--rootfs`.
    pub image: String,
    /// `--rootfs`: a directory instead of an image.
    pub rootfs: Option<String>,
    /// As given or as the image says; the program is `entrypoint` followed by `cmd`.
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    /// `NAME=value`, the image's first.
    pub env: Vec<String>,
    pub workdir: String,
    /// `user`, `uid`, `user:group`, …; empty is root.
    pub user: String,
    pub group_add: Vec<String>,
    /// Empty: the first twelve digits of the id.
    pub hostname: String,
    pub domainname: String,
    pub tty: bool,
    /// `-i`.
    pub interactive: bool,
    pub attach: bool,
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM` when empty.
    pub stop_signal: String,
    /// Seconds; −1 waits for ever.
    pub stop_timeout: Option<i64>,
    pub restart: Restart,
    /// Docker's HEALTHCHECK; its times are nanoseconds, 0 is the usual one.
    pub healthcheck: Option<image::Healthcheck>,
    pub on_unhealthy: crate::OnUnhealthy,
    /// What runs a `CMD-SHELL`; empty: `/bin/sh -c`.
    pub shell: Vec<String>,
    pub auto_remove: bool,
    pub read_only: bool,
    pub init: bool,
    pub privileged: bool,
    pub mounts: Vec<Mount>,
    /// Ports that the image or `--expose` names: `80/tcp`.
    pub exposed: Vec<String>,
    pub network: Network,
    /// Where it is plugged in with [`Network::Bridge`]: the first is the network that `inspect` calls its mode. Read when
    /// it is created; what it has then is in [`crate::Container::endpoints`].
    pub networks: Vec<network::Wish>,
    pub ports: Vec<network::PortSpec>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    /// `name:address`, the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
    pub resources: Resources,
    pub cap_add: CapSet,
    pub cap_drop: CapSet,
    pub security: Security,
    pub ulimits: Vec<Ulimit>,
    pub sysctls: BTreeMap<String, String>,
    pub devices: Vec<Device>,
    /// Devices that CDI describes: `vendor.com/class=name`.
    pub cdi: Vec<String>,
    /// `--device-cgroup-rule`: `c 189:* rmw`.
    pub device_rules: Vec<String>,
    /// Empty: below the engine's group.
    pub cgroup_parent: String,
    /// For other programs; the engine only keeps them.
    pub annotations: BTreeMap<String, String>,
    /// Bytes; 0 is 64 MiB.
    pub shm_size: u64,
    /// How many bytes it may write into its own files; 0: as many as there are.
    pub storage_size: u64,
    pub pid: Share,
    pub ipc: Share,
    pub uts: Share,
    pub cgroupns: Share,
    pub userns: Share,
    pub log: LogOptions,
    /// The command line that made it, for `inspect --as-run`.
    pub command_line: Vec<String>,
}

/// What happens when it has ended: `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    #[default]
    No,
    /// When it failed; at most so many times in a row (0: for ever).
    OnFailure(u32),
    /// Also when it was stopped and the machine starts.
    Always,
    UnlessStopped,
}

impl Restart {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Restart::No => "no",
            Restart::OnFailure(_) => "on-failure",
            Restart::Always => "always",
            Restart::UnlessStopped => "unless-stopped",
        }
    }

    /// Whether it is started again after an end with `code`, the next time being the `restarts`th but one.
    pub fn again(self, code: i32, restarts: u32) -> bool {
        match self {
            Restart::No => false,
            Restart::OnFailure(most) => code != 0 && (most == 0 || restarts < most),
            Restart::Always | Restart::UnlessStopped => true,
        }
    }
}

/// Whose namespace the container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Its own.
    #[default]
    Private,
    Host,
    /// That of another container, by id.
    Container(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// A namespace of its own, plugged into networks.
    #[default]
    Bridge,
    /// A namespace of its own with nothing but the loopback link.
    None,
    Host,
    Container(String),
}

/// `-v`, `--mount`, `--tmpfs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub kind: MountKind,
    /// A host path, or a volume's name. (Empty until it is created: an anonymous volume.)
    pub source: String,
    /// A volume that nobody named: removed with its container by `rm -v` and `--rm`.
    pub anonymous: bool,
    /// A new volume does not begin with what the image has there.
    pub no_copy: bool,
    /// A place below the volume in its stead.
    pub subpath: String,
    /// Of a volume that is made for this.
    pub labels: BTreeMap<String, String>,
    /// As `volume create --opt`, for one that is made for this.
    pub volume_options: BTreeMap<String, String>,
    /// Whose the files are outside that are the program's inside.
    pub map: Option<OwnerMap>,
    /// Of an image, found when the container is created: its id, and its layers, topmost first.
    pub image_id: String,
    pub layers: Vec<String>,
    /// A read-only tree whose mounts below are not.
    pub writable_below: bool,
    /// `rslave`, `shared`…; empty is private.
    pub propagation: String,
    pub target: String,
    pub read_only: bool,
    /// `-v` makes a missing host directory, `--mount type=bind` does not.
    pub create_source: bool,
    /// Only the mount itself, not what is mounted below it.
    pub non_recursive: bool,
    /// Bytes, for a tmpfs.
    pub size: Option<u64>,
    /// For a tmpfs, such as 0o1777.
    pub mode: Option<u32>,
    /// Other options of a tmpfs: `noexec`, `exec`, `nosuid`…
    pub options: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    #[default]
    Bind,
    Volume,
    Tmpfs,
    Image,
}

/// `map=`: the user and the group of this machine that the program's own are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerMap {
    /// Those of the source itself.
    Owner,
    Ids(u32, u32),
}

/// Limits of the control group; `None` and 0 mean no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together; −1 is unlimited swap.
    pub memory_swap: Option<i64>,
    pub memory_reservation: Option<i64>,
    /// 0–100.
    pub memory_swappiness: Option<u64>,
    pub oom_kill_disable: bool,
    pub oom_score_adj: Option<i32>,
    /// Billionths of a CPU.
    pub nano_cpus: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    pub cpu_quota: Option<i64>,
    pub cpu_shares: Option<u64>,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// −1 is unlimited.
    pub pids_limit: Option<i64>,
    /// 10–1000.
    pub blkio_weight: Option<u16>,
    /// Microseconds.
    pub cpu_rt_period: Option<u64>,
    pub cpu_rt_runtime: Option<i64>,
    /// Paths of devices, and 10–1000.
    pub device_weights: Vec<(String, u16)>,
    pub device_rates: Vec<DeviceRate>,
}

/// A limit of the I/O on one device: `--device-read-bps` and its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRate {
    pub path: String,
    pub kind: RateKind,
    /// In each second.
    pub rate: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateKind {
    ReadBytes,
    WriteBytes,
    Reads,
    Writes,
}

/// `--security-opt`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    pub no_new_privileges: bool,
    /// `unconfined`, or the text of a JSON profile; `None` is the default profile.
    pub seccomp: Option<String>,
    pub apparmor: Option<String>,
    /// `systempaths=unconfined`: nothing of /proc and /sys is masked.
    pub unmask: bool,
}

/// `--ulimit name=soft:hard`; −1 is unlimited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// `--device host:inside:rwm`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    pub source: String,
    pub target: String,
    pub access: String,
}

/// `--log-driver`, `--log-opt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// `json-file`, `local`, `journald` or `none`.
    pub driver: String,
    /// Bytes after which a new file is begun; 0 never.
    pub max_size: u64,
    /// How many files are kept.
    pub max_files: u32,
    /// Those that have had their turn.
    pub compress: bool,
    /// Bytes that may wait for the log before lines are lost; 0: the container waits.
    pub max_buffer: u64,
    /// As typed, by name.
    pub options: BTreeMap<String, String>,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            driver: "json-file".to_owned(),
            max_size: 10_000_000,
            max_files: 3,
            compress: false,
            max_buffer: 0,
            options: BTreeMap::new(),
        }
    }
}

/// A container as it is kept: without the settings that are the usual ones. A list of many is read in half the time.
pub(crate) fn brief(container: &crate::Container) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(container)?;
    let settings = &mut value["settings"];
    if let Some(Value::Array(mounts)) = settings.get_mut("mounts") {
        let usual = serde_json::to_value(Mount::default())?;
        mounts.iter_mut().for_each(|mount| leave_out(mount, &usual));
    }
    leave_out(settings, &serde_json::to_value(Settings::default())?);
    Ok(value)
}

fn leave_out(value: &mut Value, usual: &Value) {
    let (Value::Object(map), Value::Object(usual)) = (value, usual) else { return };
    map.retain(|key, value| usual.get(key) != Some(value));
    for (key, value) in map {
        usual.get(key).into_iter().for_each(|usual| leave_out(value, usual));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_filled_in() {
        let mut container = crate::Container {
            id: "0".repeat(64),
            name: "box".to_owned(),
            created: crate::Time(7),
            image_id: String::new(),
            settings: Settings::default(),
            lower: Vec::new(),
            upper_in_memory: false,
            id_base: 0,
            project: 0,
            endpoints: Vec::new(),
        };
        assert_eq!(brief(&container).unwrap()["settings"], serde_json::json!({}));
        let s = &mut container.settings;
        s.log.max_size = 0;
        s.log.options.insert("tag".to_owned(), "x".to_owned());
        s.resources.pids_limit = Some(7);
        s.restart = Restart::OnFailure(3);
        s.network = Network::Container("x".to_owned());
        s.labels.insert("a".to_owned(), String::new());
        s.security.unmask = true;
        s.mounts = vec![Mount { target: "/x".to_owned(), ..Mount::default() }, Mount::default()];
        s.stop_timeout = Some(-1);
        let text = serde_json::to_string(&brief(&container).unwrap()).unwrap();
        assert!(text.len() < 600, "{text}");
        assert_eq!(serde_json::from_str::<crate::Container>(&text).unwrap(), container);
    }
}
