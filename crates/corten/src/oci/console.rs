//! Descriptors that go to the caller: a terminal's master, a hold on a process.

use crate::cli::Failure;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;

/// A connection to the caller's socket. Made before the container is, so that a wrong path costs nothing.
pub fn connect(path: &str) -> Result<OwnedFd, Failure> {
    let failed = |e: rustix::io::Errno| Failure::new(format!("cannot connect to {path}: {e}"));
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).map_err(failed)?).map_err(failed)?;
    Ok(socket)
}

/// Sends one descriptor, with a name for it.
pub fn send(socket: &OwnedFd, name: &str, fd: impl AsFd) -> Result<(), Failure> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    rights.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(socket, &[IoSlice::new(name.as_bytes())], &mut rights, SendFlags::NOSIGNAL)
        .map(drop)
        .map_err(|e| Failure::new(format!("cannot send {name} to its socket: {e}")))
}
