//! Kernel parameters: of the host, where the engine needs one, and of the container's namespaces.

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// A parameter of the host that must have this value; it is read first, and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureSysctl {
    /// Below `/proc/sys`, with slashes.
    pub key: Text,
    pub value: Text,
}

impl EnsureSysctl {
    pub fn perform(&self, _: &Live) -> Outcome {
        let path = format!("/proc/sys/{}", self.key);
        let fd = rustix::fs::open(&*path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let mut now = [0u8; 32];
        let n = rustix::io::read(&fd, &mut now)?;
        if now[..n].trim_ascii() != self.value.as_bytes() {
            // A descriptor of its own: the kernel takes a write behind the first byte, and ignores it.
            let fd = rustix::fs::open(&*path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            // The kernel ignores a write behind the file's beginning, without a word.
            rustix::io::pwrite(&fd, self.value.as_bytes(), 0)?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let key = self.key.as_str().replace('/', ".");
        Shell::exact(
            format!("sysctl -qw {key}={}", self.value),
            format!("the host has {key} = {}", self.value),
            "sysctl(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A parameter of the container's own namespaces, written through the engine's own mount of `proc`, not through a path
/// that the image could have prepared (CVE-2025-52881).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetSysctl {
    /// The mount of `proc` that [`crate::MountFs`] kept.
    pub proc: Slot,
    /// `sys/net/ipv4/…`
    pub file: Text,
    pub value: Text,
}

impl SetSysctl {
    pub fn perform(&self, live: &Live) -> Outcome {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(live.fd(self.proc)?, self.file.as_c(), flags, Mode::empty())?;
        rustix::io::write(fd, self.value.as_bytes()).map_err(Failure::from)?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let value = crate::shell::quote(self.value.as_str());
        Shell::exact(
            format!("echo {value} >./proc/{}", self.file),
            format!("{} = {}", self.file, self.value),
            "sysctl(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
