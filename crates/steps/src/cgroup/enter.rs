//! How a container gets into its groups, and sees none above them.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// Opens the way into a group, for a container that cannot reach it by name: `tasks` (v1) or the directory (v2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCgroup {
    pub path: Text,
    pub slot: Slot,
    pub v2: bool,
}

impl OpenCgroup {
    pub fn perform(&self, live: &Live) -> Outcome {
        let flags = if self.v2 { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::WRONLY };
        live.fill(self.slot, rustix::fs::open(self.path.as_c(), flags | OFlags::CLOEXEC, Mode::empty())?);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment(format!("keep {} open: the container is put there", self.path), "open(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The container's process puts itself into a v1 group: cheaper than being put there, which takes a lock of all threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinCgroup {
    pub slot: Slot,
    /// For the shell: the group's `cgroup.procs`.
    pub procs: Text,
}

impl JoinCgroup {
    pub fn perform(&self, live: &Live) -> Outcome {
        rustix::io::write(live.fd(self.slot)?, b"0")?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("echo 0 >{}", quote(self.procs.as_str())),
            "enter the control group",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The host puts the container's first process into a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutIntoCgroup {
    /// The group's `cgroup.procs`.
    pub procs: Text,
}

impl PutIntoCgroup {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = rustix::fs::open(self.procs.as_c(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(fd, live.pid.get().to_string().as_bytes())?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("echo $PID >{}", quote(self.procs.as_str())),
            "put it into the control group",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A cgroup namespace: the group that the process is in becomes the root that it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnshareCgroup {}

impl UnshareCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        kernel::process::unshare(kernel::process::CLONE_NEWCGROUP).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::wrap("unshare --cgroup", "its control group is the root that it sees", "cgroup_namespaces(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("namespace", "cgroup", "new");
    }
}

/// A controller of v1 by its own name, where several are mounted together: `cpu` leads to `cpu,cpuacct`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinkController {
    /// The mount that holds them all, kept by [`crate::MountFs`].
    pub mount: Slot,
    pub name: Text,
    pub to: Text,
    /// Where that mount is, for the shell.
    pub target: Text,
}

impl LinkController {
    pub fn perform(&self, live: &Live) -> Outcome {
        rustix::fs::symlinkat(self.to.as_c(), live.fd(self.mount)?, self.name.as_c()).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let line = format!("ln -s {} .{}/{}", self.to, self.target, self.name);
        Shell::exact(line, "a controller by its own name", "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
