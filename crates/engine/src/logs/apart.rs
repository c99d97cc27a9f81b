//! `mode=non-blocking`: a process of its own writes the log. What it has no room for is dropped, and the container never waits
//! for the disk.

use super::LogWriter;
use crate::monitor::Stream;
use crate::monitor::protocol::CHUNK;
use kernel::process::{self, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, sockopt};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::io;

/// The writer's process, and the way to it.
#[derive(Debug)]
pub struct Apart {
    socket: Option<OwnedFd>,
    process: OwnedFd,
}

/// One packet has to find room whatever was asked for.
const LEAST: u64 = 4 * CHUNK as u64;
/// How long the container's end waits for the rest of its log.
const PATIENCE: i64 = 10;

impl Apart {
    /// `room`: bytes that may wait. The caller has one thread.
    pub fn start(room: u64, open: impl FnOnce() -> io::Result<Option<LogWriter>>) -> io::Result<Apart> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        // The kernel doubles what it is given, for its own bookkeeping.
        let half = usize::try_from(room.max(LEAST) / 2).unwrap_or(usize::MAX / 4);
        if sockopt::set_socket_send_buffer_size_force(&ours, half).is_err() {
            sockopt::set_socket_send_buffer_size(&ours, half)?;
        }
        match process::fork()? {
            Side::Parent { pidfd, .. } => Ok(Apart { socket: Some(ours), process: pidfd }),
            Side::Child => {
                let _ = process::close_all_but(3, [theirs.as_raw_fd(), -1]);
                process::set_name(c"corten-log");
                // Whoever started the container waits for the end of its outputs.
                crate::life::quiet();
                if let Ok(Some(log)) = open() {
                    write(log, &theirs);
                }
                process::exit(0)
            }
        }
    }

    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let Some(socket) = &self.socket else { return };
        for chunk in bytes.chunks(CHUNK) {
            let packet = [&[stream as u8], chunk].concat();
            // Full: these lines are lost, as was agreed.
            let _ = rustix::net::send(socket, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    /// What is on its way is written.
    pub fn finish(&mut self) {
        self.socket = None;
        let limit = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&limit)).is_ok_and(|n| n > 0) {
            let _ =
                waitid(WaitId::PidFd(self.process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// The process' life, until the monitor has closed its end, or is no more.
fn write(mut log: LogWriter, socket: &OwnedFd) {
    let mut buffer = vec![0; 1 + CHUNK];
    loop {
        match rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((n, _)) if n > 0 => {
                let stream = if buffer[0] == 0 { Stream::Stdout } else { Stream::Stderr };
                log.append(stream, &buffer[1..n]);
            }
            Err(Errno::INTR) => {}
            _ => return log.finish(),
        }
    }
}
