//! Parts of `/proc` and `/sys` that a container must not see, or not write.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Covers a path with an empty, unreadable object of ours, never with something of the container's (CVE-2025-31133).
/// A path that is not there is hidden already.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    pub target: Text,
    /// A detached mount of an empty file, and of an empty directory.
    pub file: Slot,
    pub dir: Slot,
}

impl Mask {
    pub fn perform(&self, live: &Live) -> Outcome {
        let target = match mount::find_in_root(self.target.as_c()) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        let cover = if mount::is_dir(&target)? { self.dir } else { self.file };
        mount::attach_copy(live.fd(cover)?, &target).map_err(|e| Failure::new(e, "cover"))
    }

    pub fn shell(&self) -> Shell {
        let t = quote(&format!(".{}", self.target));
        let line = format!(
            "if [ -d {t} ]; then mount --bind $T/t/{} {t}; elif [ -e {t} ]; then mount --bind $T/t/{} {t}; fi",
            self.dir.0, self.file.0
        );
        Shell::exact(line, format!("{} is hidden", self.target), "mount(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mask", self.target.as_str(), "hidden");
    }
}

/// Makes a path read-only, with all that is mounted below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadOnly {
    pub target: Text,
}

impl ReadOnly {
    pub fn perform(&self, _: &Live) -> Outcome {
        match mount::make_read_only(self.target.as_c()) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        let t = quote(&format!(".{}", self.target));
        let line = format!(
            "[ ! -e {t} ] || {{ mount --rbind {t} {t}; mount -o remount,bind,ro,nosuid,nodev,noexec {t}; }}"
        );
        Shell::exact(line, format!("{} is read-only", self.target), "mount(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mask", self.target.as_str(), "read-only");
    }
}
