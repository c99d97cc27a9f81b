//! Between `create` and `start`: the container is complete and waits for the word to become its program.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, RemoveFile, Shell, Slot, Step, Text};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::io::IoSlice;
use std::mem::MaybeUninit;

/// A socket in the container's state directory, at which it will listen for its start. Nobody but the engine's user
/// reaches that directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listen {
    pub slot: Slot,
    pub path: Text,
}

impl Listen {
    pub fn perform(&self, live: &Live) -> Outcome {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        let address = SocketAddrUnix::new(self.path.as_c()).map_err(|e| Failure::new(e, "its path"))?;
        rustix::net::bind(&socket, &address).map_err(|e| Failure::new(e, "bind"))?;
        rustix::net::listen(&socket, 1).map_err(|e| Failure::new(e, "listen"))?;
        live.fill(self.slot, socket);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("mkfifo {}", quote(self.path.as_str())),
            "where the container will wait for its start",
            "unix(7)",
        )
        .near("a socket, so that the answer comes back the same way")
    }

    pub fn undo(&self) -> Option<Step> {
        Some(RemoveFile { path: self.path.clone() }.into())
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The user namespace first: who is in it may join the others.
const NAMESPACES: [&CStr; KEPT] = [
    c"thread-self/ns/user",
    c"thread-self/ns/mnt",
    c"thread-self/ns/pid",
    c"thread-self/ns/net",
    c"thread-self/ns/ipc",
    c"thread-self/ns/uts",
    c"thread-self/ns/cgroup",
    c"thread-self/ns/time",
];

/// How many slots [`KeepNamespaces`] fills.
pub const KEPT: usize = 8;

/// The container's process opens its own namespaces. While it waits for its start only the machine's root may look into it:
/// an ordinary user who wants to enter is handed them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeepNamespaces {
    /// The host's proc.
    pub proc: Slot,
    /// The first of [`KEPT`] slots, one after the other.
    pub first: Slot,
}

impl KeepNamespaces {
    pub fn perform(&self, live: &Live) -> Outcome {
        let proc = live.fd(self.proc)?;
        for (slot, path) in self.first.and_following().zip(NAMESPACES) {
            match rustix::fs::openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(fd) => live.fill(slot, fd),
                // A kernel that has no such kind.
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Failure::new(e, "its own namespaces")),
            }
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment("its namespaces, for those who enter before the start", "namespaces(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Everything is done but the exec. The one who starts the container connects, and reads from the connection what has
/// become of it: nothing, when the program runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AwaitStart {
    pub slot: Slot,
    /// Where the socket is, for the shell.
    pub path: Text,
    /// Those who come to enter.
    pub visitors: Option<Visitors>,
}

/// Whoever connects here gets the namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Visitors {
    /// The socket.
    pub slot: Slot,
    /// The first slot of [`KeepNamespaces`].
    pub first: Slot,
}

impl Visitors {
    /// Answers them until somebody is at `start`.
    fn serve(self, live: &Live, start: BorrowedFd<'_>) -> Outcome {
        let socket = live.fd(self.slot)?;
        loop {
            let mut both = [PollFd::new(&start, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
            match poll(&mut both, None) {
                Err(Errno::INTR) => continue,
                other => other?,
            };
            if !both[0].revents().is_empty() {
                return Ok(());
            }
            // Who comes and goes at once has changed his mind.
            if let Ok(visitor) = rustix::net::accept_with(socket, SocketFlags::CLOEXEC) {
                let _ = self.hand_out(live, &visitor);
            }
        }
    }

    fn hand_out(self, live: &Live, visitor: &OwnedFd) -> Result<(), Errno> {
        let own = live.fd(self.first)?;
        let mut fds = [own; KEPT];
        let mut count = 0;
        for fd in self.first.and_following().take(KEPT).filter_map(|slot| live.fd(slot).ok()) {
            fds[count] = fd;
            count += 1;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KEPT))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        rights.push(SendAncillaryMessage::ScmRights(&fds[..count]));
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::sendmsg(visitor, &[IoSlice::new(b"n")], &mut rights, flags).map(drop)
    }
}

impl AwaitStart {
    pub fn perform(&self, live: &Live) -> Outcome {
        // Host memory and descriptors are here until the exec: nobody in the container may look (CVE-2016-9962).
        kernel::process::set_dumpable(false)?;
        // The creator learns that all went well by the end of its pipe.
        kernel::process::close_raw(live.report.replace(-1));
        let start = live.fd(self.slot)?;
        if let Some(visitors) = self.visitors {
            visitors.serve(live, start)?;
            live.empty(visitors.slot);
        }
        let connection = loop {
            match rustix::net::accept_with(start, SocketFlags::CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        live.empty(self.slot);
        use rustix::fd::IntoRawFd;
        live.report.set(connection.into_raw_fd());
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("read -r _ <{}", quote(self.path.as_str())),
            "created; wait for the start",
            "accept(2)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
