//! Facts of this machine that plans depend on, read once.

use std::os::unix::fs::MetadataExt;

/// How control groups are mounted here. See cgroups(7).
#[derive(Debug, Clone, PartialEq)]
pub enum Cgroups {
    /// One hierarchy for all controllers.
    V2 { mount: String },
    /// A hierarchy for each controller (also where v2 is mounted beside, without them).
    V1 { hierarchies: Vec<Hierarchy> },
}

/// One hierarchy of v1.
#[derive(Debug, Clone, PartialEq)]
pub struct Hierarchy {
    /// `cpu`, or several that are mounted together.
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
}

const V1: [&str; 8] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "devices", "freezer", "blkio"];
const CGROUP: &str = "/sys/fs/cgroup";
const CGROUP2_MAGIC: i64 = 0x6367_7270;

impl Host {
    /// Looks at the machine: a handful of system calls.
    pub fn read() -> Host {
        let v2 = rustix::fs::statfs(CGROUP).is_ok_and(|s| s.f_type == CGROUP2_MAGIC);
        let cgroups = if v2 {
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
        }
    }
}

/// The hierarchies of v1, each once: `cpu` and `cpuacct` are often one, by two names.
fn hierarchies() -> Vec<Hierarchy> {
    let mut found: Vec<(u64, Hierarchy)> = Vec::new();
    for controller in V1 {
        let mount = format!("{CGROUP}/{controller}");
        let Ok(meta) = std::fs::metadata(&mount) else { continue };
        match found.iter_mut().find(|(device, _)| *device == meta.dev()) {
            Some((_, hierarchy)) => hierarchy.controllers.push(controller),
            None => found.push((meta.dev(), Hierarchy { controllers: vec![controller], mount })),
        }
    }
    found.into_iter().map(|(_, hierarchy)| hierarchy).collect()
}

fn read_word(path: &str) -> String {
    std::fs::read_to_string(path).map(|s| s.trim().to_owned()).unwrap_or_default()
}
