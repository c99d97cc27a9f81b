//! The other end of a monitor: a command that shows a container's output, passes on what is typed and signalled, and
//! learns how it ended. The same loop serves `exec`, whose program hangs on the command itself.

mod far;
mod keys;
mod session;
mod sink;

pub use keys::{DetachKeys, InvalidKeys};

use crate::monitor::protocol::{Garbled, PACKET, ToClient, ToMonitor};
use crate::monitor::{self};
use far::{Far, Program};
use kernel::pty;
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use session::Session;
use std::path::Path;
use thiserror::Error;

/// How to attach.
#[derive(Clone, Default)]
pub struct AttachOptions<'a> {
    /// The program has a terminal of its own: ours goes raw.
    pub tty: bool,
    /// Our standard input goes to the program.
    pub interactive: bool,
    /// Signals sent to us go to the program, but CHLD, PIPE, URG, WINCH, and those that cannot be caught or tell of our
    /// own terminal (TTIN, TTOU) or faults. Three INT or TERM end us all the same.
    pub sig_proxy: bool,
    pub detach_keys: DetachKeys,
    /// Told of each size that the program's terminal is given: rows, columns.
    pub resized: Option<&'a dyn Fn(u16, u16)>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachEnd {
    /// The program's code, or 128 and the signal's number.
    Exited(i32),
    /// By the detach keys; `read escape sequence` was printed.
    Detached,
    /// This signal ended us, and the container runs on.
    Interrupted(i32),
}

#[derive(Debug, Error)]
pub enum AttachError {
    #[error("cannot connect to {path}: {cause}")]
    Connect { path: String, cause: Errno },
    /// The monitor ended without a word: killed, or so early that the state on disk says it all.
    #[error("the container's monitor is gone")]
    Gone,
    #[error("the container's monitor refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Garbled(#[from] Garbled),
    /// Nobody reads what the container writes (EPIPE), or it cannot be written.
    #[error("cannot write the container's output: {0}")]
    Output(Errno),
    #[error("cannot wait for input and output: {0}")]
    Wait(#[from] Errno),
}

/// A connection to a monitor.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    creator: bool,
}

impl Connection {
    /// Connects to a running container's `attach.sock`.
    pub fn connect(socket: &Path) -> Result<Connection, AttachError> {
        let path = || socket.display().to_string();
        let socket =
            monitor::connect(socket).map_err(|cause| AttachError::Connect { path: path(), cause })?;
        Ok(Connection { socket, creator: false })
    }

    /// The command's end of the socket pair whose other end the monitor was started with.
    pub fn from_fd(socket: OwnedFd) -> Connection {
        Connection { socket, creator: true }
    }

    /// Shows, types and signals, until the end. Signals stay blocked afterwards: the caller is expected to exit.
    pub fn run(self, options: &AttachOptions<'_>) -> Result<AttachEnd, AttachError> {
        let hello = ToMonitor::Hello { wants_output: true, wants_stdin: options.interactive };
        // A monitor that is gone is noticed when nothing comes.
        let _ = rustix::net::send(&self.socket, &hello.encode(), SendFlags::NOSIGNAL);
        if let (true, false, Some((rows, columns))) = (options.tty, self.creator, terminal_size()) {
            // A program redraws its screen only when the size changes, and a newcomer has seen nothing of it.
            let wider = ToMonitor::Resize { rows: rows.saturating_add(1), columns };
            let _ = rustix::net::send(&self.socket, &wider.encode(), SendFlags::NOSIGNAL);
        }
        Session::run(Far::monitor(self.socket), options)
    }

    /// Asks the monitor to do something, and returns its answer.
    pub(crate) fn ask(self, text: &[u8]) -> Result<Vec<u8>, AttachError> {
        let hello = ToMonitor::Hello { wants_output: false, wants_stdin: false };
        for message in [hello, ToMonitor::Ask(text)] {
            let _ = rustix::net::send(&self.socket, &message.encode(), SendFlags::NOSIGNAL);
        }
        let mut buffer = vec![0; PACKET];
        loop {
            match receive(&self.socket, &mut buffer, RecvFlags::empty())? {
                Some(ToClient::Answer(text)) => return Ok(text.to_vec()),
                Some(ToClient::Refused { why }) => return Err(AttachError::Refused(why.to_owned())),
                Some(ToClient::Exited { .. }) => return Err(AttachError::Gone),
                _ => {}
            }
        }
    }

    /// Waits for the container's end without showing anything; returns its exit code.
    pub fn wait(self) -> Result<i32, AttachError> {
        let hello = ToMonitor::Hello { wants_output: false, wants_stdin: false };
        let _ = rustix::net::send(&self.socket, &hello.encode(), SendFlags::NOSIGNAL);
        let mut buffer = vec![0; PACKET];
        loop {
            match receive(&self.socket, &mut buffer, RecvFlags::empty())? {
                Some(ToClient::Exited { code, .. }) => return Ok(code),
                Some(ToClient::Refused { why }) => return Err(AttachError::Refused(why.to_owned())),
                _ => {}
            }
        }
    }
}

/// For `exec -t`: between our terminal and `master`, until the child that `pidfd` is of has ended.
pub fn pump_terminal(
    master: OwnedFd,
    pidfd: OwnedFd,
    options: &AttachOptions<'_>,
) -> Result<AttachEnd, AttachError> {
    let input = if options.interactive { master.try_clone().ok() } else { None };
    Session::run(Far::Program(Program::new(pidfd, input, [Some(master), None], true)), options)
}

/// For `exec` with pipes: the far ends of a child's pipes. Its input is closed when ours ends.
pub fn pump_pipes(
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    pidfd: OwnedFd,
    options: &AttachOptions<'_>,
) -> Result<AttachEnd, AttachError> {
    Session::run(Far::Program(Program::new(pidfd, stdin, [Some(stdout), Some(stderr)], false)), options)
}

/// For a child that has our own input and output: passes on signals, returns its code. The child should have a session
/// of its own: else a Ctrl-C reaches it twice, and it could type into our terminal.
pub fn wait_proxying(pidfd: OwnedFd) -> Result<AttachEnd, AttachError> {
    let options = AttachOptions { sig_proxy: true, ..AttachOptions::default() };
    Session::run(Far::Program(Program::new(pidfd, None, [None, None], false)), &options)
}

/// Rows and columns of the terminal that we are used from, for a new container's first size.
pub fn terminal_size() -> Option<(u16, u16)> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    pty::size(stdin.as_fd()).or_else(|_| pty::size(stdout.as_fd())).ok().filter(|size| *size != (0, 0))
}

/// One message; `None` when there is none now.
fn receive<'a>(
    socket: &OwnedFd,
    buffer: &'a mut [u8],
    flags: RecvFlags,
) -> Result<Option<ToClient<'a>>, AttachError> {
    let mut reset = false;
    let length = loop {
        match rustix::net::recv(socket, &mut *buffer, flags | RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err(AttachError::Gone),
            Ok((_, length)) => break length,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            // The monitor hung up without reading our last words, but its own are still here.
            Err(Errno::CONNRESET) if !reset => reset = true,
            Err(_) => return Err(AttachError::Gone),
        }
    };
    if length > buffer.len() {
        return Err(Garbled::Message.into());
    }
    Ok(Some(ToClient::parse(&buffer[..length])?))
}
