//! Facts of this machine that plans depend on, read once.

use std::os::unix::fs::MetadataExt;

/// How control groups are mounted here. See cgroups(7).
#[derive(Debug, Clone, PartialEq)]
pub enum Cgroups {
    /// One hierarchy for all controllers.
    V2 { mount: String },
    /// A hierarchy for each controller, and often v2 beside, without them.
    V1 { hierarchies: Vec<Hierarchy> },
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq)]
pub struct Hierarchy {
    /// `cpu`, or several that are mounted together, or `name=systemd`; empty for v2 beside v1.
    pub controllers: Vec<&'static str>,
    pub mount: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Host {
    pub cgroups: Cgroups,
    /// Controllers of v2 that can be given to groups.
    pub controllers: Vec<String>,
    /// The CPUs and memory nodes of the root group of v1's cpuset, which a new group must be told.
    pub cpuset: (String, String),
    /// How many CPUs there are (for the masks of each).
    pub cpus: usize,
    /// Whether we are a user without rights on the machine, or in a user namespace: then we may make no devices, nor say who
    /// may use which.
    pub rootless: bool,
}

/// The controllers of v1, and the named hierarchy that systemd keeps its units in.
const V1: [&str; 15] = [
    "memory",
    "cpu",
    "cpuacct",
    "cpuset",
    "pids",
    "devices",
    "freezer",
    "blkio",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "misc",
    "name=systemd",
];
const CGROUP: &str = "/sys/fs/cgroup";
const CGROUP2_MAGIC: i64 = 0x6367_7270;

fn is_v2(path: &str) -> bool {
    rustix::fs::statfs(path).is_ok_and(|s| s.f_type == CGROUP2_MAGIC)
}

impl Host {
    /// Looks at the machine: a handful of system calls.
    pub fn read() -> Host {
        let cgroups = if is_v2(CGROUP) {
            Cgroups::V2 { mount: CGROUP.to_owned() }
        } else {
            Cgroups::V1 { hierarchies: hierarchies() }
        };
        let controllers = match &cgroups {
            Cgroups::V2 { mount } => {
                std::fs::read_to_string(format!("{mount}/cgroup.controllers")).unwrap_or_default()
            }
            Cgroups::V1 { .. } => String::new(),
        };
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        let v1_cpuset = |file: &str| match &cgroups {
            Cgroups::V1 { .. } => read_word(&format!("{CGROUP}/cpuset/{file}")),
            Cgroups::V2 { .. } => String::new(),
        };
        let cpuset = (v1_cpuset("cpuset.cpus"), v1_cpuset("cpuset.mems"));
        Host {
            cgroups,
            controllers,
            cpuset,
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            rootless: !rustix::process::geteuid().is_root() || in_user_namespace(),
        }
    }
}

/// The hierarchies of v1, each once: `cpu` and `cpuacct` are often one, by two names. v2 comes last.
fn hierarchies() -> Vec<Hierarchy> {
    let Ok(top) = std::fs::metadata(CGROUP) else { return Vec::new() };
    let mut found: Vec<(u64, Hierarchy)> = Vec::new();
    for controller in V1 {
        let mount = format!("{CGROUP}/{}", controller.trim_start_matches("name="));
        let Ok(meta) = std::fs::metadata(&mount) else { continue };
        match found.iter_mut().find(|(device, _)| *device == meta.dev()) {
            Some((_, hierarchy)) => hierarchy.controllers.push(controller),
            // A directory that nothing is mounted on is no hierarchy.
            None if meta.dev() == top.dev() => {}
            None => found.push((meta.dev(), Hierarchy { controllers: vec![controller], mount })),
        }
    }
    let mut all: Vec<Hierarchy> = found.into_iter().map(|(_, hierarchy)| hierarchy).collect();
    let unified = format!("{CGROUP}/unified");
    if is_v2(&unified) {
        all.push(Hierarchy { controllers: Vec::new(), mount: unified });
    }
    all
}

/// Where the kernel keeps directories of its processors.
pub const PROCESSORS: &str = "/sys/devices/system/cpu";

/// What tells how often each processor was too hot, and so what others compute; below [`PROCESSORS`]. Few machines have it.
pub fn thermal_counters(processors: &str) -> Vec<String> {
    let place = |number: usize| format!("{processors}/cpu{number}/thermal_throttle");
    let is_there = |path: &String| std::fs::exists(path).unwrap_or(false);
    if !is_there(&place(0)) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(processors).into_iter().flatten().flatten();
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok();
    let mut numbers: Vec<usize> = entries.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(place).filter(is_there).collect()
}

fn read_word(path: &str) -> String {
    std::fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_default()
}

/// The first has all ids.
fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.is_empty() && map.split_whitespace().ne(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_tell_of_their_heat() {
        let dir = std::env::temp_dir().join(format!("corten-processors-{}", std::process::id()));
        let told = || thermal_counters(dir.to_str().unwrap()).join(" ").replace(dir.to_str().unwrap(), "");
        assert_eq!(told(), "");
        for name in [
            "cpu10/thermal_throttle",
            "cpu0/thermal_throttle",
            "cpu2/cache",
            "cpufreq",
            "cpu3/thermal_throttle",
        ] {
            std::fs::create_dir_all(dir.join(name)).unwrap();
        }
        assert_eq!(told(), "/cpu0/thermal_throttle /cpu3/thermal_throttle /cpu10/thermal_throttle");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
