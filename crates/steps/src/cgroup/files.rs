//! Files of a group: limits, and what has to be there before a process can be.

use super::{echo, write};
use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// One value of one file, such as `memory.max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetCgroup {
    pub file: Text,
    pub value: Text,
    /// The group may lack the file (a controller that is not enabled): then nothing is done.
    pub optional: bool,
    /// The file and its value where there is no such file: disks are weighed by two different ones.
    pub instead: Option<(Text, Text)>,
}

impl SetCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        let missing = |failure: &Failure| matches!(failure.errno, Errno::NOENT | Errno::OPNOTSUPP);
        let mut outcome = write(&self.file, &self.value);
        if let (Err(failure), Some((file, value))) = (&outcome, &self.instead)
            && missing(failure)
        {
            outcome = write(file, value);
        }
        match outcome {
            Err(failure) if self.optional && missing(&failure) => Ok(()),
            other => other,
        }
    }

    pub fn shell(&self) -> Shell {
        let name = self.file.as_str().rsplit('/').next().unwrap_or_default();
        let line = match &self.instead {
            Some((file, value)) => format!(
                "if [ -e {} ]; then {}; else {}; fi",
                quote(self.file.as_str()),
                echo(&self.file, &self.value),
                echo(file, value)
            ),
            None => echo(&self.file, &self.value),
        };
        Shell::exact(line, format!("{name} = {}", self.value), "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.file.as_str(), self.value.as_str());
    }
}

/// A group of v1's cpuset starts without processors and memory, and nobody can be in it: it gets those of its parent,
/// unless it has some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InheritCpuset {
    pub path: Text,
}

impl InheritCpuset {
    pub fn perform(&self, _: &Live) -> Outcome {
        let path = self.path.as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let read = |dir: &str| {
                std::fs::read_to_string(format!("{dir}/{file}"))
                    .map_err(|e| Failure::from(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
            };
            if read(path)?.trim().is_empty() {
                write(&format!("{path}/{file}").into(), &read(parent)?.trim().into())?;
            }
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let path = quote(self.path.as_str());
        let line =
            |file: &str| format!("[ -n \"$(cat {path}/{file})\" ] || cat {path}/../{file} >{path}/{file}");
        Shell::lines(
            vec![line("cpuset.cpus"), line("cpuset.mems")],
            "the processors and the memory of the group above",
            "cpuset(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A group of v2 that the container may divide further: what the kernel lists as delegated is its user's. Limits are not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DelegateCgroup {
    pub path: Text,
    /// As the host numbers users.
    pub uid: u32,
}

/// Where the kernel does not list them (before Linux 4.15).
const DELEGATE: &str = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads";

impl DelegateCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        let files = std::fs::read_to_string("/sys/kernel/cgroup/delegate");
        let chown = |path: &str| rustix::fs::chown(path, Some(Uid::from_raw(self.uid)), None::<Gid>);
        chown(self.path.as_str())?;
        for file in files.as_deref().unwrap_or(DELEGATE).lines() {
            match chown(&format!("{}/{file}", self.path)) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let (path, uid) = (quote(self.path.as_str()), self.uid);
        Shell::exact(
            format!(
                "chown {uid} {path}; (cd {path} && chown -f {uid} $(cat /sys/kernel/cgroup/delegate)) || :"
            ),
            "its group is the container's to divide",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
