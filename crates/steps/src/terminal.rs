//! The container's terminal: a pair of its own devpts, whose master goes to the host's side. See pts(4).

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step};
use kernel::mount;
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use serde::{Deserialize, Serialize};
use std::io::IoSlice;
use std::mem::MaybeUninit;

/// Opens a pair in the container's devpts and sends the master out; the slave becomes `/dev/console` and, at the exec,
/// the controlling terminal. Both are reached by descriptors, never by a name (CVE-2025-52565).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenTerminal {
    /// The mount of devpts.
    pub devpts: Slot,
    /// The socket to the host's side.
    pub socket: Slot,
    /// Where the slave is kept.
    pub slave: Slot,
    /// The user of the program, who owns the terminal.
    pub uid: u32,
    /// The slave becomes `/dev/console`.
    pub console: bool,
    /// Rows and columns: set before the program can ask for them.
    pub size: Option<(u16, u16)>,
}

impl OpenTerminal {
    pub fn perform(&self, live: &Live) -> Outcome {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::openat(live.fd(self.devpts)?, c"ptmx", flags, Mode::empty())
            .map_err(|e| Failure::new(e, "open ptmx"))?;
        kernel::pty::unlock(&master).map_err(|e| Failure::new(e, "unlock the pair"))?;
        let slave = kernel::pty::open_slave(&master).map_err(|e| Failure::new(e, "open the slave"))?;
        if self.uid != 0 {
            let uid = rustix::fs::Uid::from_raw(self.uid);
            rustix::fs::fchown(&slave, Some(uid), None).map_err(|e| Failure::new(e, "chown the slave"))?;
        }
        if let Some((rows, columns)) = self.size {
            kernel::pty::set_size(&master, rows, columns).map_err(|e| Failure::new(e, "set the size"))?;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fds = [rustix::fd::AsFd::as_fd(&master)];
        rights.push(SendAncillaryMessage::ScmRights(&fds));
        rustix::net::sendmsg(live.fd(self.socket)?, &[IoSlice::new(b"t")], &mut rights, SendFlags::empty())
            .map_err(|e| Failure::new(e, "send the master"))?;
        if self.console {
            let place = mount::place_in_root(c"/dev/console", true, true)
                .map_err(|e| Failure::new(e, "/dev/console"))?;
            mount::attach(mount::copy(&slave).map_err(|e| Failure::new(e, "copy the slave"))?, place)
                .map_err(|e| Failure::new(e, "mount /dev/console"))?;
        }
        live.fill(self.slave, slave);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment(
            "a terminal of the container's own, with its slave as /dev/console; a script keeps yours",
            "pts(4)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", "/dev/console", "terminal");
    }
}
