//! Groups of resctrl: a share of caches and memory bandwidth, and what is measured of their use. See resctrl.rst of the kernel.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const DOCS: &str = "resctrl.rst";

/// Makes a group; one that is there already is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeResctrl {
    pub path: Text,
    /// It goes with the container.
    pub own: bool,
}

impl MakeResctrl {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::mkdir(self.path.as_c(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            // Classes and monitors are numbered by the processor, which has few.
            Err(Errno::NOSPC) => Err(Failure::new(Errno::NOSPC, "the processor has no more of them")),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        let line = format!("mkdir -p {}", quote(self.path.as_str()));
        Shell::exact(line, "a class of service, or a monitor, of the processor", DOCS)
    }

    pub fn undo(&self) -> Option<Step> {
        self.own.then(|| RemoveResctrl { path: self.path.clone() }.into())
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Removes a group; who is in it falls back to the one above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveResctrl {
    pub path: Text,
}

impl RemoveResctrl {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::rmdir(self.path.as_c()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        let line = format!("rmdir {}", quote(self.path.as_str()));
        Shell::exact(line, "the class or monitor is not needed any more", DOCS)
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Writes one line of a group's `schemata`, or the process' id into its `tasks`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteResctrl {
    pub file: Text,
    /// `None`: the container's first process.
    pub line: Option<Text>,
}

impl WriteResctrl {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = rustix::fs::open(self.file.as_c(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        // Without its end the kernel takes no line.
        let line = match &self.line {
            Some(line) => format!("{line}\n"),
            None => format!("{}\n", live.pid.get()),
        };
        match rustix::io::write(fd, line.as_bytes()) {
            Ok(_) => Ok(()),
            Err(e) if self.line.is_some() => Err(Failure::new(e, "see info/last_cmd_status of resctrl")),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        let file = quote(self.file.as_str());
        match &self.line {
            Some(line) => {
                let line = format!("echo {} >{file}", quote(line.as_str()));
                Shell::exact(line, "its share of caches and memory bandwidth", DOCS)
            }
            None => Shell::exact(format!("echo $PID >{file}"), "put it into the class or monitor", DOCS),
        }
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
