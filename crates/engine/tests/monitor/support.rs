//! Monitors to try: a shell in place of a container, clients that speak the protocol by hand, clients as processes.

use engine::LogOptions;
use engine::attach::{AttachEnd, AttachError};
use engine::logs::{Log, LogQuery, LogWriter};
use engine::monitor::protocol::{PACKET, Stream, ToClient, ToMonitor};
use engine::monitor::{self, ContainerIo, Supervision};
use kernel::process::{self, Side, Strings};
use kernel::pty;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How a container is started.
#[derive(Clone, Copy, Default)]
pub struct How {
    pub tty: bool,
    pub stdin: bool,
    pub attached: bool,
    pub log: bool,
}

pub struct Running {
    pub dir: PathBuf,
    pub creator: Option<OwnedFd>,
    pub monitor: OwnedFd,
    pub pid: i32,
}

pub fn start(name: &str, script: &str, how: How) -> Running {
    let dir = std::env::temp_dir().join(format!("corten-monitor-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).unwrap();
    let listener = monitor::listen(&dir.join("attach.sock")).unwrap();
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    match process::fork().unwrap() {
        Side::Parent { pid, pidfd } => {
            Running { dir, creator: how.attached.then_some(ours), monitor: pidfd, pid }
        }
        Side::Child => {
            drop(ours);
            let log = dir.join("log.json");
            let driver = if how.log { "json-file" } else { "none" };
            let options = LogOptions { driver: driver.to_owned(), ..LogOptions::default() };
            let (pidfd, pid, io) = shell(script, how.tty, how.stdin);
            let ended = monitor::supervise(Supervision {
                pidfd,
                pid,
                io,
                log: LogWriter::open(&log, &options).unwrap().map(Log::Here),
                listener: Some(listener),
                creator: how.attached.then_some(theirs),
                keep_stdin_open: how.stdin,
                names: None,
                keeper: None,
                health: None,
            });
            ended.clients.finish(ended.code, false);
            process::exit(0)
        }
    }
}

/// A program with a terminal or pipes, as the engine would start it.
pub fn shell(script: &str, tty: bool, stdin: bool) -> (OwnedFd, i32, ContainerIo) {
    let argv = Strings::new(["sh", "-c", script]);
    let env = Strings::new(["PATH=/usr/bin:/bin"]);
    let (io, near) = if tty {
        use rustix::pty::{OpenptFlags, openpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        pty::unlock(&master).unwrap();
        let slave = pty::open_slave(&master).unwrap();
        let near = [slave.try_clone().unwrap(), slave.try_clone().unwrap(), slave];
        (ContainerIo::Terminal { master }, near)
    } else {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let ((r0, w0), (r1, w1), (r2, w2)) = (pipe(), pipe(), pipe());
        (ContainerIo::Pipes { stdin: stdin.then_some(w0), stdout: r1, stderr: r2 }, [r0, w1, w2])
    };
    match process::fork().unwrap() {
        Side::Parent { pid, pidfd } => (pidfd, pid, io),
        Side::Child => {
            process::default_signals();
            process::block_all_signals(false);
            if tty {
                pty::take_terminal(&near[0]).unwrap();
            }
            let _ = rustix::stdio::dup2_stdin(&near[0]);
            let _ = rustix::stdio::dup2_stdout(&near[1]);
            let _ = rustix::stdio::dup2_stderr(&near[2]);
            process::execve(c"/bin/sh", &argv, &env);
            process::exit(127)
        }
    }
}

impl Running {
    pub fn connect(&self, wants_output: bool, wants_stdin: bool) -> Peer {
        let socket = monitor::connect(&self.dir.join("attach.sock")).unwrap();
        let peer = Peer { socket };
        peer.say(ToMonitor::Hello { wants_output, wants_stdin });
        peer
    }

    pub fn creator(&mut self, wants_stdin: bool) -> Peer {
        let peer = Peer { socket: self.creator.take().unwrap() };
        peer.say(ToMonitor::Hello { wants_output: true, wants_stdin });
        peer
    }

    pub fn log(&self) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let query = LogQuery { stdout: true, ..LogQuery::default() };
        engine::logs::read(&self.dir.join("log.json"), &query, &mut out, &mut err, &|| false).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The monitor has ended by itself.
    pub fn over(self) {
        assert_eq!(wait(&self.monitor), 0);
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}

/// A client that speaks the protocol by hand.
pub struct Peer {
    pub socket: OwnedFd,
}

#[derive(Debug, Default, PartialEq)]
pub struct Heard {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub taken: usize,
    pub code: Option<i32>,
    pub refused: Option<String>,
}

impl Peer {
    pub fn say(&self, message: ToMonitor<'_>) {
        rustix::net::send(&self.socket, &message.encode(), SendFlags::NOSIGNAL).unwrap();
    }

    /// Listens until `enough`, or the end.
    pub fn hear_until(&self, heard: &mut Heard, enough: impl Fn(&Heard) -> bool) {
        let mut buffer = vec![0; PACKET];
        let deadline = Instant::now() + Duration::from_secs(20);
        while !enough(heard) {
            assert!(Instant::now() < deadline, "nothing more came: {heard:?}");
            if !readable(&self.socket) {
                continue;
            }
            let length = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
                Ok((_, 0)) => return,
                Ok((_, length)) => length,
                Err(rustix::io::Errno::CONNRESET) => continue,
                Err(error) => panic!("{error}"),
            };
            match ToClient::parse(&buffer[..length]).unwrap() {
                ToClient::Output { stream: Stream::Stdout, bytes } => heard.stdout.extend_from_slice(bytes),
                ToClient::Output { stream: Stream::Stderr, bytes } => heard.stderr.extend_from_slice(bytes),
                ToClient::StdinTaken => heard.taken += 1,
                ToClient::Answer(text) => panic!("nobody asked: {text:?}"),
                ToClient::Exited { code, .. } => heard.code = Some(code),
                ToClient::Refused { why } => heard.refused = Some(why.to_owned()),
            }
        }
    }

    pub fn hear(&self) -> Heard {
        let mut heard = Heard::default();
        self.hear_until(&mut heard, |_| false);
        heard
    }
}

pub fn readable(fd: &OwnedFd) -> bool {
    let timeout = Timespec { tv_sec: 1, tv_nsec: 0 };
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)).unwrap() > 0
}

pub fn wait(pidfd: &OwnedFd) -> i32 {
    assert!((0..20).any(|_| readable(pidfd)), "it does not end");
    let status =
        rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
}

/// A client process with our end of its input and output.
pub struct Client {
    pub pidfd: OwnedFd,
    pub input: OwnedFd,
    pub output: OwnedFd,
}

pub const DETACHED: i32 = 100;
pub const INTERRUPTED: i32 = 101;

pub fn client(terminal: bool, run: impl FnOnce() -> Result<AttachEnd, AttachError>) -> Client {
    let (far, near) = if terminal {
        use rustix::pty::{OpenptFlags, openpt};
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        pty::unlock(&master).unwrap();
        pty::set_size(&master, 44, 88).unwrap();
        let slave = pty::open_slave(&master).unwrap();
        ((master.try_clone().unwrap(), master), (slave.try_clone().unwrap(), slave))
    } else {
        let ((r0, w0), (r1, w1)) = (rustix::pipe::pipe().unwrap(), rustix::pipe::pipe().unwrap());
        ((w0, r1), (r0, w1))
    };
    match process::fork().unwrap() {
        Side::Parent { pidfd, .. } => Client { pidfd, input: far.0, output: far.1 },
        Side::Child => {
            drop(far);
            if terminal {
                pty::take_terminal(&near.0).unwrap();
            }
            let _ = rustix::stdio::dup2_stdin(&near.0);
            let _ = rustix::stdio::dup2_stdout(&near.1);
            let _ = rustix::stdio::dup2_stderr(&near.1);
            drop(near);
            process::exit(match run() {
                Ok(AttachEnd::Exited(code)) => code,
                Ok(AttachEnd::Detached) => DETACHED,
                Ok(AttachEnd::Interrupted(_)) => INTERRUPTED,
                Err(_) => 102,
            })
        }
    }
}

impl Client {
    pub fn type_in(&self, text: &str) {
        rustix::io::write(&self.input, text.as_bytes()).unwrap();
    }

    pub fn read_until(&self, text: &mut String, end: &str) {
        while !text.contains(end) {
            assert!((0..10).any(|_| readable(&self.output)), "no {end:?} after {text:?}");
            let mut buffer = [0; 4096];
            let n = rustix::io::read(&self.output, &mut buffer).unwrap_or(0);
            assert!(n > 0, "ended without {end:?} after {text:?}");
            text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
    }
}
