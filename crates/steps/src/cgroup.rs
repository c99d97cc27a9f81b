//! Control groups: the directories that hold a container's processes to their share. See cgroups(7).

mod devices;
mod enter;
mod files;
mod kill;

pub use devices::FilterDevices;
pub use enter::{JoinCgroup, LinkController, OpenCgroup, PutIntoCgroup, UnshareCgroup};
pub use files::{DelegateCgroup, InheritCpuset, SetCgroup};
pub use kill::{processes_of, signal_group};

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A group above a container's; kept when it is there, and when the container is gone.
///
/// One that is there may be another's, or be made by a start of this very moment: it is completed when it lacks something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureCgroup {
    pub path: Text,
    /// Files to write, such as `cgroup.subtree_control`; when the last has its value, all have.
    pub set: Vec<(Text, Text)>,
    /// Of each value as many words as the kernel takes: a limit that needs the others will say so.
    pub as_far_as_possible: bool,
}

impl EnsureCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        // Written again only when it must be: on v2 that waits for groups below that are just going.
        if !make(&self.path)? && self.set.last().is_none_or(|(file, value)| has(file, value)) {
            return Ok(());
        }
        for (file, value) in &self.set {
            if !self.as_far_as_possible {
                write(file, value)?;
            } else if !has(file, value) && write(file, value).is_err() {
                for word in value.as_str().split_whitespace() {
                    let _ = write(file, &word.into());
                }
            }
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let path = quote(self.path.as_str());
        let mut lines = vec![format!("[ -d {path} ] || mkdir {path}")];
        for (file, value) in &self.set {
            if self.as_far_as_possible {
                let file = quote(file.as_str());
                lines.push(format!("for c in {value}; do echo $c >{file} || :; done"));
            } else {
                lines.push(echo(file, value));
            }
        }
        Shell::lines(lines, "the group above", "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Makes a group; false when it is there.
fn make(path: &Text) -> Result<bool, Errno> {
    match rustix::fs::mkdir(path.as_c(), Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Said of a read-only mount before it is looked what is there.
        Err(Errno::ROFS) if std::path::Path::new(path.as_str()).is_dir() => Ok(false),
        Err(e) => Err(e),
    }
}

/// A group of the container's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeCgroup {
    pub path: Text,
}

impl MakeCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        // One that is there was left behind by a run that was killed: it is ours by its name.
        make(&self.path).map(drop).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("mkdir {}", quote(self.path.as_str())),
            "a control group for the container",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        Some(RemoveCgroup { path: self.path.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.path.as_str(), "control group");
    }
}

/// Removes a group whose first process is gone; what it left behind (with the host's process ids nothing dies with it) goes
/// too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveCgroup {
    pub path: Text,
}

impl RemoveCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        // A process that was just killed stays in its group for some moments.
        for attempt in 0..100u64 {
            match rustix::fs::rmdir(self.path.as_c()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) if attempt == 2 => kill::kill_group(self.path.as_str()),
                Err(Errno::BUSY) if attempt == 3 => remove_children(self.path.as_str()),
                Err(Errno::BUSY) => {}
                Err(e) => return Err(e.into()),
            }
            std::thread::sleep(std::time::Duration::from_micros(50 << attempt.min(9)));
        }
        Err(Failure::new(Errno::BUSY, "processes are still in it"))
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("rmdir {}", quote(self.path.as_str())),
            "the group has no process left",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Groups that the container made below its own, deepest first.
fn remove_children(path: &str) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_children(&entry.path().to_string_lossy());
        let _ = std::fs::remove_dir(entry.path());
    }
}

fn write(file: &Text, value: &Text) -> Outcome {
    let fd = rustix::fs::open(file.as_c(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(fd, value.as_bytes())?;
    Ok(())
}

/// Whether a file has all words of `value`, less the `+` by which controllers are given.
fn has(file: &Text, value: &Text) -> bool {
    let text = std::fs::read_to_string(file.as_str()).unwrap_or_default();
    let there = |word: &str| text.split_whitespace().any(|w| w == word.trim_start_matches('+'));
    value.as_str().split_whitespace().all(there)
}

fn echo(file: &Text, value: &Text) -> String {
    format!("echo {} >{}", quote(value.as_str()), quote(file.as_str()))
}
