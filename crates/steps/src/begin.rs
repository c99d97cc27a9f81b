//! Between `create` and `start`: the container is complete and waits for the word to become its program.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, RemoveFile, Shell, Slot, Step, Text};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

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

/// Everything is done but the exec. The one who starts the container connects, and reads from the connection what has
/// become of it: nothing, when the program runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AwaitStart {
    pub slot: Slot,
    /// Where the socket is, for the shell.
    pub path: Text,
}

impl AwaitStart {
    pub fn perform(&self, live: &Live) -> Outcome {
        // Host memory and descriptors are here until the exec: nobody in the container may look (CVE-2016-9962).
        kernel::process::set_dumpable(false)?;
        // The creator learns that all went well by the end of its pipe.
        kernel::process::close_raw(live.report.replace(-1));
        let connection = loop {
            match rustix::net::accept_with(live.fd(self.slot)?, SocketFlags::CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
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
