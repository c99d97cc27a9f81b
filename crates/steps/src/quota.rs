//! Project quotas: a size that the files of a directory keep. See quotactl(2).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::quota;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// Makes an empty directory, and all that will be in it, a project, which may take so much of the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitTree {
    pub path: Text,
    pub project: u32,
    pub bytes: u64,
}

impl LimitTree {
    pub fn perform(&self, _: &Live) -> Outcome {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::open(self.path.as_c(), flags, Mode::empty())?;
        quota::set_limit(&dir, self.project, self.bytes).map_err(|e| Failure::new(e, "quotactl_fd"))?;
        quota::set_project(&dir, self.project).map_err(|e| Failure::new(e, "ioctl(FS_IOC_FSSETXATTR)"))
    }

    pub fn shell(&self) -> Shell {
        let (path, kib) = (quote(self.path.as_str()), self.bytes.div_ceil(1024));
        let lines = vec![
            format!("setquota -P {} {kib} {kib} 0 0 \"$(findmnt -nro TARGET -T {path})\"", self.project),
            format!("chattr -p {} +P {path}", self.project),
        ];
        Shell::lines(lines, "so much may be written, and no more", "quotactl(2)")
    }

    /// The limit is the project's, which is gone when its files are.
    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("limit", self.path.as_str(), format!("{} bytes", self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_a_shell_says_it() {
        let step = LimitTree { path: "/r/rw".into(), project: 1_048_576, bytes: 64 << 20 };
        assert_eq!(
            step.shell().lines,
            [
                "setquota -P 1048576 65536 65536 0 0 \"$(findmnt -nro TARGET -T /r/rw)\"",
                "chattr -p 1048576 +P /r/rw"
            ]
        );
    }
}
