//! The control groups of a container, by name: made by a plan, and read, changed and frozen as long as it runs.
//! Nothing here knows whose container it is.

use crate::host::Hierarchy;
use crate::{Cgroups, Host, Resources};
use serde::{Deserialize, Serialize};

/// A container's groups: one on v2, one a hierarchy on v1. None at all is possible.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPaths(pub Vec<GroupPath>);

/// One group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPath {
    /// Of its hierarchy: `cpu`, or several, or `name=systemd`; none for v2.
    pub controllers: Vec<String>,
    /// Where the hierarchy is mounted.
    pub mount: String,
    /// Below the mount, without a slash at either end.
    pub group: String,
}

impl GroupPath {
    /// Its directory.
    pub fn dir(&self) -> String {
        if self.group.is_empty() { self.mount.clone() } else { format!("{}/{}", self.mount, self.group) }
    }

    /// Whether it is a group of v2, be it beside v1.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }

    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|c| c == controller)
    }
}

impl GroupPaths {
    /// `group` below the root of every hierarchy. Not all of them need to be there.
    pub fn everywhere(group: &str, host: &Host) -> GroupPaths {
        GroupPaths::each(host, |_| Some(group.to_owned()))
    }

    /// `group` below the root of those hierarchies that hold a container with these limits to something. A group costs a
    /// tenth of a millisecond, so there is none that only pauses (it can be made when a container is paused) or weighs its
    /// I/O where no weight is asked for.
    pub fn few(group: &str, host: &Host, limits: &Resources) -> GroupPaths {
        const HOLD: [&str; 6] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "devices"];
        let v2 = matches!(host.cgroups, Cgroups::V2 { .. });
        let io = limits.blkio_weight.is_some();
        let holds = |c: &&str| HOLD.contains(c) || io && *c == "blkio";
        GroupPaths::each(host, |h| (v2 || h.controllers.iter().any(holds)).then(|| group.to_owned()))
    }

    /// The group that `group` answers, for each hierarchy.
    fn each(host: &Host, group: impl Fn(&Hierarchy) -> Option<String>) -> GroupPaths {
        let path = |h: &Hierarchy| {
            Some(GroupPath {
                controllers: h.controllers.iter().map(|c| (*c).to_owned()).collect(),
                mount: h.mount.clone(),
                group: group(h)?,
            })
        };
        match &host.cgroups {
            Cgroups::V2 { mount } => {
                let alone = Hierarchy { controllers: Vec::new(), mount: mount.clone() };
                GroupPaths(path(&alone).into_iter().collect())
            }
            Cgroups::V1 { hierarchies } => GroupPaths(hierarchies.iter().filter_map(path).collect()),
        }
    }

    /// Where a further process of the container belongs: in those groups that there are, and on v2 in that which its first
    /// process is in. It may have moved below its own, to give controllers on, and then nobody can be born in the upper one
    /// any more.
    pub fn beside(&self, first: i32) -> GroupPaths {
        let text = std::fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
        let now = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let there = self.0.iter().filter(|path| std::path::Path::new(&path.dir()).is_dir());
        let moved = |path: &GroupPath| match now {
            Some(now) if path.is_v2() && now.starts_with(&format!("{}/", path.group)) => {
                GroupPath { group: now.to_owned(), ..path.clone() }
            }
            _ => path.clone(),
        };
        GroupPaths(there.map(moved).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> std::slice::Iter<'_, GroupPath> {
        self.0.iter()
    }

    /// All directories.
    pub fn dirs(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(GroupPath::dir)
    }

    /// The group that `controller` of v1 looks at.
    pub fn of(&self, controller: &str) -> Option<&GroupPath> {
        self.0.iter().find(|path| path.has(controller))
    }

    /// The group of v2, be it beside v1.
    pub fn unified(&self) -> Option<&GroupPath> {
        self.0.iter().find(|path| path.is_v2())
    }
}
