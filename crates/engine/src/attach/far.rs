//! What a session talks to: a monitor by messages, or a child of our own by its terminal, its pipes and its pidfd.

use super::{AttachError, receive};
use crate::monitor::Stream;
use crate::monitor::protocol::{CHUNK, ToClient, ToMonitor};
use kernel::{process, pty};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{WaitId, WaitIdOptions};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub enum Far {
    Monitor { socket: OwnedFd, feeding: bool },
    Program(Program),
}

/// What came from there.
#[derive(Debug)]
pub enum News<'a> {
    Nothing,
    Output(Stream, &'a [u8]),
    Exited(i32),
}

impl Far {
    pub fn monitor(socket: OwnedFd) -> Far {
        Far::Monitor { socket, feeding: false }
    }

    /// Whether input can be sent.
    pub fn takes_input(&self) -> bool {
        match self {
            Far::Monitor { feeding, .. } => !feeding,
            Far::Program(program) => program.input.is_some() && program.waiting.is_empty(),
        }
    }

    pub fn input(&mut self, bytes: &[u8]) {
        match self {
            Far::Monitor { feeding, .. } => {
                *feeding = true;
                self.send(ToMonitor::Stdin(bytes));
            }
            Far::Program(program) => {
                program.waiting.extend_from_slice(bytes);
                program.write_input();
            }
        }
    }

    pub fn input_end(&mut self) {
        match self {
            Far::Monitor { .. } => self.send(ToMonitor::StdinEnd),
            Far::Program(program) if !program.tty => {
                program.ending = true;
                program.write_input();
            }
            // A terminal has no end.
            Far::Program(_) => {}
        }
    }

    pub fn resize(&mut self, rows: u16, columns: u16) {
        match self {
            Far::Monitor { .. } => self.send(ToMonitor::Resize { rows, columns }),
            Far::Program(program) => {
                if let Some(master) = program.outputs[0].as_ref().filter(|_| program.tty) {
                    let _ = pty::set_size(master, rows, columns);
                }
            }
        }
    }

    pub fn signal(&mut self, signal: i32) {
        match self {
            Far::Monitor { .. } => self.send(ToMonitor::Signal(signal)),
            Far::Program(program) if program.ended.is_none() => {
                let _ = process::send_signal(&program.pidfd, signal);
            }
            Far::Program(_) => {}
        }
    }

    pub fn detach(&mut self) {
        if let Far::Monitor { .. } = self {
            self.send(ToMonitor::DetachMe);
        }
    }

    /// What to wait for; output only when `reading`.
    pub fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, reading: bool) {
        match self {
            Far::Monitor { socket, .. } if reading => fds.push(PollFd::new(socket, PollFlags::IN)),
            Far::Monitor { .. } => {}
            Far::Program(program) => {
                if program.ended.is_none() {
                    fds.push(PollFd::new(&program.pidfd, PollFlags::IN));
                }
                if reading {
                    fds.extend(program.outputs.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)));
                }
                if let (Some(input), false) = (&program.input, program.waiting.is_empty()) {
                    fds.push(PollFd::new(input, PollFlags::OUT));
                }
            }
        }
    }

    /// How long to wait at most.
    pub fn patience(&self) -> Option<Duration> {
        match self {
            Far::Program(Program { ended: Some((_, deadline)), .. }) => {
                Some(deadline.saturating_duration_since(Instant::now()))
            }
            _ => None,
        }
    }

    /// The next thing that came from there, if anything did. Never waits.
    pub fn next<'a>(&mut self, buffer: &'a mut [u8]) -> Result<News<'a>, AttachError> {
        match self {
            Far::Monitor { socket, feeding } => match receive(socket, buffer, RecvFlags::DONTWAIT)? {
                None => Ok(News::Nothing),
                Some(ToClient::Output { stream, bytes }) => Ok(News::Output(stream, bytes)),
                Some(ToClient::Exited { code, .. }) => Ok(News::Exited(code)),
                Some(ToClient::Refused { why }) => Err(AttachError::Refused(why.to_owned())),
                Some(ToClient::Answer(_)) => Ok(News::Output(Stream::Stdout, &[])),
                Some(ToClient::StdinTaken) => {
                    *feeding = false;
                    // An empty output: come again.
                    Ok(News::Output(Stream::Stdout, &[]))
                }
            },
            Far::Program(program) => program.next(buffer),
        }
    }

    /// Never waits: the socket has room for all the small messages that a person can cause.
    fn send(&self, message: ToMonitor<'_>) {
        if let Far::Monitor { socket, .. } = self {
            // A monitor that is gone is noticed when nothing comes from it.
            let _ = rustix::net::send(socket, &message.encode(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }
}

/// A child of ours and our ends of what it reads and writes.
#[derive(Debug)]
pub struct Program {
    pidfd: OwnedFd,
    input: Option<OwnedFd>,
    /// Input that it has not taken yet.
    waiting: Vec<u8>,
    ending: bool,
    outputs: [Option<OwnedFd>; 2],
    tty: bool,
    /// Its code, and until when the rest of its output is read.
    ended: Option<(i32, Instant)>,
}

/// After the end only a stranger can keep output open longer.
const DRAIN: Duration = Duration::from_millis(250);

impl Program {
    pub fn new(pidfd: OwnedFd, input: Option<OwnedFd>, outputs: [Option<OwnedFd>; 2], tty: bool) -> Program {
        for fd in outputs.iter().flatten().chain(&input) {
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        Program { pidfd, input, waiting: Vec::new(), ending: false, outputs, tty, ended: None }
    }

    fn write_input(&mut self) {
        while let (Some(input), false) = (&self.input, self.waiting.is_empty()) {
            match rustix::io::write(input, &self.waiting) {
                Ok(n) => drop(self.waiting.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // Nobody reads it any more.
                    self.input = None;
                    self.waiting.clear();
                }
            }
        }
        if self.ending {
            self.input = None;
        }
    }

    fn next<'a>(&mut self, buffer: &'a mut [u8]) -> Result<News<'a>, AttachError> {
        self.write_input();
        if self.ended.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Ok(None) | Err(Errno::INTR) => {}
                Ok(Some(status)) => {
                    let killed = || 128 + status.terminating_signal().unwrap_or(0);
                    let code = status.exit_status().unwrap_or_else(killed);
                    self.ended = Some((code, Instant::now() + DRAIN));
                }
                Err(error) => return Err(error.into()),
            }
        }
        for (which, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            while let Some(fd) = &self.outputs[which] {
                match rustix::io::read(fd, &mut buffer[..CHUNK]) {
                    Ok(n) if n > 0 => return Ok(News::Output(stream, &buffer[..n])),
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    // The end; of a terminal it is EIO, and before the program's own end it may come back.
                    Err(Errno::IO) if self.tty && self.ended.is_none() => break,
                    Err(error) if !self.tty => return Err(error.into()),
                    _ => self.outputs[which] = None,
                }
            }
        }
        match self.ended {
            Some((code, deadline))
                if self.outputs.iter().all(Option::is_none) || Instant::now() >= deadline =>
            {
                Ok(News::Exited(code))
            }
            _ => Ok(News::Nothing),
        }
    }
}
