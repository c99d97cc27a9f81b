//! A container as a list: what will be done, in order, before anything has been.

use crate::{Exec, Slot, Step};
use serde::{Deserialize, Serialize};

/// Everything that will be done to make one container. Plain data: print it, draw it, compare it, perform it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The container's name, for messages.
    pub name: String,
    /// Before the clone, in the host's namespaces; undone in reverse.
    pub host: Vec<Step>,
    /// The clone itself.
    pub spawn: Spawn,
    /// By the host, once the pid exists.
    pub joined: Vec<Step>,
    /// By the container's first process, in its namespaces; never undone: they die with the namespaces.
    pub inside: Vec<Step>,
    /// What it becomes.
    pub exec: Exec,
    /// How many descriptors are handed from step to step.
    pub slots: u16,
}

/// clone3(2): which namespaces are new, and into which cgroup (v2) the child is born.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Spawn {
    /// `CLONE_NEW…` bits.
    pub namespaces: u64,
    /// Namespaces of others, which the container is born in. With a user namespace among them, it goes there first and
    /// makes the new ones then: they are to be that one's.
    pub join: Vec<Join>,
    /// The cgroup v2 directory, opened by an [`crate::OpenCgroup`] before.
    pub cgroup: Option<Slot>,
    /// Of a new time namespace.
    pub time_offsets: Vec<TimeOffset>,
    /// Descriptors from 3 on that the program keeps.
    pub keep_fds: u32,
}

/// How far a clock of the container is from the host's. See time_namespaces(7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeOffset {
    /// `monotonic` or `boottime`.
    pub clock: String,
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// A namespace that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// `net`, `ipc`, `uts`, `pid`, `user`: its name in `/proc/PID/ns`.
    pub kind: String,
    /// `CLONE_NEW…` of that kind.
    pub flag: u64,
    pub path: String,
}

/// Which list of a plan a step stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    Host,
    Joined,
    Inside,
    Exec,
}

impl Plan {
    /// Steps in the order in which they are said, numbered from 1 in messages.
    pub fn steps(&self) -> impl Iterator<Item = (Phase, &Step)> {
        let host = self.host.iter().map(|s| (Phase::Host, s));
        let joined = self.joined.iter().map(|s| (Phase::Joined, s));
        host.chain(joined).chain(self.inside.iter().map(|s| (Phase::Inside, s)))
    }

    /// All steps and the final exec.
    pub fn len(&self) -> usize {
        self.host.len() + self.joined.len() + self.inside.len() + 1
    }

    pub fn is_empty(&self) -> bool {
        false
    }

    /// The number, from 1, of step `index` of `phase`, counted as [`Plan::steps`] does.
    pub fn number(&self, phase: Phase, index: usize) -> usize {
        1 + index
            + match phase {
                Phase::Host => 0,
                Phase::Joined => self.host.len(),
                Phase::Inside => self.host.len() + self.joined.len(),
                Phase::Exec => self.len() - 1,
            }
    }

    /// The step a report from the container's side names.
    pub fn step(&self, phase: Phase, index: usize) -> Option<&Step> {
        match phase {
            Phase::Host => self.host.get(index),
            Phase::Joined => self.joined.get(index),
            Phase::Inside => self.inside.get(index),
            Phase::Exec => None,
        }
    }
}
