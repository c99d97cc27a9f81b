//! Files and directories of the engine's own on the host.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Makes a directory; one that is there already is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeDir {
    pub path: Text,
    pub mode: u32,
    /// User and group on the host; `None`: ours.
    pub owner: Option<(u32, u32)>,
}

impl MakeDir {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::mkdir(self.path.as_c(), Mode::from_raw_mode(self.mode)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
        own(&self.path, self.owner)
    }

    pub fn shell(&self) -> Shell {
        let mut line = format!("install -d -m {:04o}", self.mode);
        if let Some((uid, gid)) = self.owner {
            line.push_str(&format!(" -o {uid} -g {gid}"));
        }
        Shell::exact(
            format!("{line} {}", quote(self.path.as_str())),
            "a directory of the container's",
            "mkdir(2)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        Some(RemoveTree { path: self.path.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("file", self.path.as_str(), "directory");
    }
}

/// Writes a whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteFile {
    pub path: Text,
    pub content: String,
    pub mode: u32,
    /// User and group on the host; `None`: ours.
    pub owner: Option<(u32, u32)>,
}

impl WriteFile {
    pub fn perform(&self, _: &Live) -> Outcome {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(self.path.as_c(), flags, Mode::from_raw_mode(self.mode))?;
        let mut rest = self.content.as_bytes();
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest)?;
            rest = &rest[n..];
        }
        own(&self.path, self.owner)
    }

    pub fn shell(&self) -> Shell {
        let text: Vec<String> = self.content.lines().map(quote).collect();
        let path = quote(self.path.as_str());
        let mut lines = match text.is_empty() {
            true => vec![format!(": >{path}")],
            false => vec![format!("printf '%s\\n' {} >{path}", text.join(" "))],
        };
        if self.mode != 0o644 {
            lines.push(format!("chmod {:04o} {path}", self.mode));
        }
        if let Some((uid, gid)) = self.owner {
            lines.push(format!("chown {uid}:{gid} {path}"));
        }
        Shell::lines(lines, "a file that the container will see", "write(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        Some(RemoveFile { path: self.path.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("file", self.path.as_str(), "file");
    }
}

fn own(path: &Text, owner: Option<(u32, u32)>) -> Outcome {
    let Some((uid, gid)) = owner else { return Ok(()) };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(CWD, path.as_c(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(Failure::from)
}

/// Removes a file; one that is not there is removed already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveFile {
    pub path: Text,
}

impl RemoveFile {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::unlink(self.path.as_c()) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("rm -f {}", quote(self.path.as_str())),
            "the file is not needed any more",
            "unlink(2)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Removes a directory with all that is in it, never following a link out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveTree {
    pub path: Text,
}

impl RemoveTree {
    pub fn perform(&self, _: &Live) -> Outcome {
        // Most are empty by now: one call instead of a walk.
        match rustix::fs::rmdir(self.path.as_c()) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(_) => {}
        }
        match std::fs::remove_dir_all(self.path.as_str()) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Failure::from(Errno::from_io_error(&e).unwrap_or(Errno::IO))),
        }
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("rm -rf {}", quote(self.path.as_str())),
            "the directory is not needed any more",
            "rm(1)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A directory below the container's root, such as its working directory; made where it is missing, as its root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeInside {
    /// Absolute, as the container will name it.
    pub path: Text,
}

impl MakeInside {
    pub fn perform(&self, _: &Live) -> Outcome {
        kernel::mount::place_in_root(self.path.as_c(), false, false).map(drop).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let path = quote(&format!(".{}", self.path));
        Shell::exact(format!("mkdir -p {path}"), format!("{} is there", self.path), "mkdir(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
