//! Kernel parameters: of the host, where the engine needs one, and of the container's namespaces.

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
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

/// The host forwards IPv6 packets. A router listens to no other router's advertisements: links that do, and may owe their
/// addresses to them, are told to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureForwarding {}

const CONF: &str = "/proc/sys/net/ipv6/conf";

impl EnsureForwarding {
    pub fn perform(&self, live: &Live) -> Outcome {
        let is = |path: &str, value: &[u8]| std::fs::read(path).is_ok_and(|text| text.trim_ascii() == value);
        if is(&format!("{CONF}/all/forwarding"), b"1") {
            return Ok(());
        }
        let links = std::fs::read_dir(CONF).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        for link in links.flatten().filter(|link| link.file_name() != "all") {
            let path = format!("{CONF}/{}/accept_ra", link.file_name().to_string_lossy());
            if is(&path, b"1") {
                // A link that has just gone needs nothing.
                let _ = std::fs::write(&path, "2");
            }
        }
        EnsureSysctl { key: "net/ipv6/conf/all/forwarding".into(), value: "1".into() }.perform(live)
    }

    pub fn shell(&self) -> Shell {
        Shell::lines(
            vec![
                format!(
                    "[ $(cat {CONF}/all/forwarding) = 1 ] || for f in {CONF}/*/accept_ra; do \
                     [ $(cat $f) != 1 ] || echo 2 >$f; done"
                ),
                "sysctl -qw net.ipv6.conf.all.forwarding=1".to_owned(),
            ],
            "the host forwards IPv6, and still learns of its own routers",
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
        // Of this very mount: what lies over a part of it is not what is meant.
        let alone = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat2(live.fd(self.proc)?, self.file.as_c(), flags, Mode::empty(), alone)?;
        rustix::io::write(fd, self.value.as_bytes()).map_err(Failure::from)?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let value = crate::shell::quote(self.value.as_str());
        Shell::exact(
            format!("echo {value} >./proc/{}", self.file),
            format!("{} = {}", self.file.as_str().trim_start_matches("sys/").replace('/', "."), self.value),
            "sysctl(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
