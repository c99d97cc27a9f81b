//! The control groups of a container, by name: made by a plan, and read, changed and frozen as long as it runs.
//! Nothing here knows whose container it is.

mod error;
mod freeze;
mod kill;
mod oom;
mod stats;
mod systemd;
mod update;
mod values;

pub use error::GroupError;
pub use freeze::{freeze, is_frozen, thaw};
pub use kill::{check_unused, kill_all, processes, signal_all};
pub use oom::{OomWatch, Watched, oom_kills};
pub use stats::*;
pub use systemd::Unit;
pub(crate) use systemd::{expand_slice, is_systemds, rounded};
pub use update::update;
pub use values::{Value, v1 as v1_values, v2 as v2_values};

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
        let on_devices = !limits.blkio_weights.is_empty() || !limits.blkio_throttles.is_empty();
        let io = limits.blkio_weight.is_some() || on_devices;
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

    /// Where `cgroupsPath` of a `config.json` says, in all hierarchies, as runc has it: an absolute path is below the root of
    /// each; any other, and the id where there is none, below the runtime's own group, on v2 beside it (there are processes
    /// in it, so that it gives no controllers on). `own` is the text of `/proc/self/cgroup`.
    pub fn of_bundle(cgroups_path: &str, id: &str, host: &Host, own: &str) -> GroupPaths {
        let below = match cgroups_path {
            "" => clean(id),
            path => clean(path),
        };
        let alone = matches!(host.cgroups, Cgroups::V2 { .. });
        GroupPaths::each(host, |h| {
            if cgroups_path.starts_with('/') {
                return Some(below.clone());
            }
            let own = own_group(own, h.controllers.first().copied().unwrap_or_default());
            let own = if alone { own.rsplit_once('/').map_or("", |(above, _)| above) } else { own };
            // Of a mount that begins below the root, as in a container without a cgroup namespace, our path is unknown.
            let there = own.is_empty() || std::path::Path::new(&format!("{}/{own}", h.mount)).is_dir();
            let parts = [if there { own } else { "" }, &below];
            Some(parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/"))
        })
    }

    /// Without those groups that this user may not make: for whoever has no rights, and has asked for no limits.
    pub fn possible(mut self) -> GroupPaths {
        use rustix::fs::{Access, AtFlags, CWD, accessat};
        self.0.retain(|path| {
            let dir = path.dir();
            let there = std::path::Path::new(&dir).ancestors().find(|dir| dir.exists());
            let access = Access::WRITE_OK | Access::EXEC_OK;
            there.is_some_and(|dir| accessat(CWD, dir, access, AtFlags::EACCESS).is_ok())
        });
        self
    }

    /// Where a further process of the container belongs: in those groups that there are. On v2 the first process may have moved
    /// below its own, to give controllers on: then nobody can be born in the upper one any more, and it is where that one is.
    pub fn beside(&self, first: i32) -> GroupPaths {
        let text = std::fs::read_to_string(format!("/proc/{first}/cgroup")).unwrap_or_default();
        let now = text.lines().find_map(|line| line.strip_prefix("0::/"));
        let there = self.0.iter().filter(|path| std::path::Path::new(&path.dir()).is_dir());
        let gives_on = |path: &GroupPath| {
            std::fs::read_to_string(format!("{}/cgroup.subtree_control", path.dir()))
                .is_ok_and(|controllers| !controllers.trim().is_empty())
        };
        let moved = |path: &GroupPath| match now {
            Some(now) if path.is_v2() && now.starts_with(&format!("{}/", path.group)) && gives_on(path) => {
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

/// A path without its slashes at both ends, `.` and what `..` takes back; it never leads above where it starts.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// The group of `/proc/self/cgroup` in the hierarchy of a controller (of v2: none), without slashes at both ends. What lies
/// above our cgroup namespace has no name here.
fn own_group<'a>(text: &'a str, controller: &str) -> &'a str {
    let group = |line: &'a str| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        controllers.split(',').any(|c| c == controller).then(|| fields.next()).flatten()
    };
    let group = text.lines().find_map(group).unwrap_or_default().trim_matches('/');
    if group.split('/').any(|part| part == "..") { "" } else { group }
}

#[cfg(test)]
mod tests;
