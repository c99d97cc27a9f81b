//! The one process that every running container has: its parent, which keeps its terminal or pipes, writes its log,
//! serves whoever attaches, and learns how it ended. One thread, one epoll, small buffers; asleep when nothing happens.
//!
//! The log gets everything. The terminal that the container was started from (the creator) gets everything too: when
//! it does not read, the container's output waits, after [`QUEUE`] bytes. Somebody who attached later and does not read
//! for so long is dropped with a message, and holds up nobody.

mod clients;
mod names;
pub mod protocol;
mod stdin;

pub use clients::{Clients, QUEUE, connect, listen};
pub use names::Names;
pub use protocol::Stream;

use crate::logs::Log;
use crate::store::twice;
use clients::Request;
use kernel::{memory, process, pty};
use names::{NAMES, NameServer};
use protocol::{CHUNK, HEADER, PACKET, output_header};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions};
use std::time::{Duration, Instant};
use stdin::Stdin;

/// What the container's first process reads and writes.
#[derive(Debug)]
pub enum ContainerIo {
    Terminal {
        master: OwnedFd,
    },
    /// The far ends of its pipes; without `stdin` it has /dev/null.
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
}

/// Whoever does for a monitor what commands ask of it.
pub trait Keeper {
    /// Does it, and tells how it went, and what there is to know about names from now on. `serves`: there is a name server
    /// already.
    fn request(&mut self, text: &[u8], serves: bool) -> (Vec<u8>, Option<Names>);
}

/// Whoever looks after the container's health. Its probes are children of the monitor.
pub trait Checker {
    /// When [`Checker::tick`] has something to do.
    fn deadline(&self) -> Option<Instant>;
    /// Does what is due. What a probe reports by is to be watched as `token`.
    fn tick(&mut self, epoll: &OwnedFd, token: u64, container: &OwnedFd);
    /// A probe has reported.
    fn report(&mut self, epoll: &OwnedFd, container: &OwnedFd);
    /// The container has ended.
    fn end(&mut self);
}

/// What a monitor needs to know.
pub struct Supervision<'a> {
    /// The container's first process, a child of this one.
    pub pidfd: OwnedFd,
    pub pid: i32,
    pub io: ContainerIo,
    pub log: Option<Log>,
    /// From [`listen`], called before the container is reported as running: `attach` may follow at once.
    pub listener: Option<OwnedFd>,
    /// Our end of the socket pair (SOCK_SEQPACKET) to the command that started the container and stays attached.
    pub creator: Option<OwnedFd>,
    /// `-i`: without it nobody's input goes to a terminal either.
    pub keep_stdin_open: bool,
    /// What its name server knows; none without one.
    pub names: Option<Names>,
    pub keeper: Option<&'a mut dyn Keeper>,
    /// Of a container with a health check.
    pub health: Option<&'a mut dyn Checker>,
}

/// How the container's first process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its own code, or 128 and the signal's number.
    pub code: i32,
    pub signal: Option<i32>,
    /// Tell them by [`Clients::finish`] when nothing of the container is left.
    pub clients: Clients,
}

/// After the container's end its output is read until its pipes close; longer than this only a stranger keeps them open.
const DRAIN: Duration = Duration::from_millis(250);

const PIDFD: u64 = 0;
const SIGNALS: u64 = 1;
const LISTENER: u64 = 2;
const STDIN: u64 = 3;
/// And the one after it, for the other stream.
const OUTPUT: u64 = 4;
const HEALTH: u64 = 6;
/// The clients' own numbers begin here.
const CLIENTS: u64 = 8;

/// Serves the container until it has ended and all its output is in the log.
///
/// The monitor is deaf to signals: closed terminals, Ctrl-C and a SIGTERM are not the container's end. It should have
/// given up whatever it does not need, memory above all, before this.
pub fn supervise(s: Supervision<'_>) -> Ended {
    process::block_all_signals(true);
    // An ignored SIGCHLD, inherited from who knows whom, would lose the exit code.
    process::default_signals();
    memory::trim_heap();
    let mut monitor = match Monitor::new(s) {
        Ok(monitor) => monitor,
        // Without epoll or memory for it: at least the end is learnt, and told.
        Err((pidfd, clients)) => {
            let (code, signal) = wait_for_end(&pidfd);
            return Ended { code, signal, clients };
        }
    };
    let (code, signal) = monitor.run();
    if let Some(log) = &mut monitor.log {
        log.finish();
    }
    Ended { code, signal, clients: monitor.clients }
}

struct Monitor<'a> {
    epoll: OwnedFd,
    pidfd: OwnedFd,
    pid: i32,
    signals: Option<OwnedFd>,
    outputs: [Option<OwnedFd>; 2],
    /// Whether the outputs are watched; not while the creator's queue is full.
    listening: bool,
    /// Our own hand on the terminal, so that a container that closes and reopens it does not end its output.
    slave: Option<OwnedFd>,
    tty: bool,
    stdin: Stdin,
    log: Option<Log>,
    clients: Clients,
    /// A header, then what is read: the packet for clients, without a copy.
    buffer: Vec<u8>,
    ended: Option<((i32, Option<i32>), Instant)>,
    names: Option<NameServer>,
    keeper: Option<&'a mut dyn Keeper>,
    health: Option<&'a mut dyn Checker>,
}

impl<'a> Monitor<'a> {
    fn new(s: Supervision<'a>) -> Result<Monitor<'a>, (OwnedFd, Clients)> {
        let created = s.creator.is_some();
        let clients = Clients::new(s.listener, s.creator, CLIENTS);
        let Ok(epoll) = twice(|| epoll::create(CreateFlags::CLOEXEC)) else { return Err((s.pidfd, clients)) };
        let tty = matches!(s.io, ContainerIo::Terminal { .. });
        let (outputs, stdin, slave) = match s.io {
            ContainerIo::Terminal { master } => {
                let slave = pty::open_slave(&master).ok();
                let stdin = master.try_clone().ok().filter(|_| s.keep_stdin_open);
                ([Some(master), None], stdin, slave)
            }
            ContainerIo::Pipes { stdin, stdout, stderr } => ([Some(stdout), Some(stderr)], stdin, None),
        };
        for fd in outputs.iter().flatten().chain(&stdin) {
            let _ = rustix::io::ioctl_fionbio(fd, true);
        }
        for pipe in outputs.iter().flatten().filter(|_| !tty) {
            // Fewer changes between writer, monitor and reader; refused is fine too.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE);
        }
        let signals = twice(|| process::signal_fd(&[libc_sigchld()])).ok();
        let watch = |fd: BorrowedFd<'_>, token| watch(&epoll, fd, token, EventFlags::IN);
        if watch(s.pidfd.as_fd(), PIDFD).is_err() {
            return Err((s.pidfd, clients));
        }
        let _ = signals.as_ref().map(|fd| watch(fd.as_fd(), SIGNALS));
        let _ = clients.listener().map(|fd| watch(fd, LISTENER));
        clients.watch_all(&epoll);
        let stdin = Stdin::new(stdin, !tty && created, tty);
        let names = s.names.and_then(|names| Some(NameServer::new(&epoll, names.sockets?, names.zone)));
        let mut monitor = Monitor {
            epoll,
            pidfd: s.pidfd,
            pid: s.pid,
            signals,
            outputs,
            listening: false,
            slave,
            tty,
            stdin,
            log: s.log,
            clients,
            buffer: vec![0; PACKET],
            ended: None,
            names,
            keeper: s.keeper,
            health: s.health,
        };
        monitor.listen(true);
        Ok(monitor)
    }

    fn run(&mut self) -> (i32, Option<i32>) {
        let mut events = Vec::with_capacity(16);
        let mut rested = false;
        loop {
            let timeout = match self.ended {
                None => {
                    let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
                    let due = self.deadline().map(|deadline| left(deadline) + Duration::from_millis(1));
                    due.into_iter().chain((!rested).then_some(REST)).min().map(timespec)
                }
                Some((end, _)) if self.outputs.iter().all(Option::is_none) => return end,
                Some((end, deadline)) => match deadline.checked_duration_since(Instant::now()) {
                    Some(rest) => Some(timespec(rest)),
                    None => return end,
                },
            };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(0) if !rested => {
                    rested = true;
                    memory::give_back();
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return self.ended.map_or_else(|| wait_for_end(&self.pidfd), |(end, _)| end),
            }
            for event in &events {
                let epoll::Event { data, flags } = *event;
                self.handle(data.u64(), flags);
            }
            if let Some(names) = self.names.as_mut().filter(|names| names.deadline().is_some()) {
                names.expire(&self.epoll);
            }
            if let Some(health) = self.health.as_mut().filter(|health| health.deadline().is_some()) {
                health.tick(&self.epoll, HEALTH, &self.pidfd);
            }
            // A full queue of the creator holds up the container, but not what is left of it after its end.
            let blocked = self.clients.creator_is_full() && self.ended.is_none();
            if self.listening == blocked {
                self.listen(!blocked);
            }
            self.stdin.watch(&self.epoll, STDIN);
        }
    }

    /// When something is to be done though nothing happens.
    fn deadline(&self) -> Option<Instant> {
        let names = self.names.as_ref().and_then(NameServer::deadline);
        names.into_iter().chain(self.health.as_ref().and_then(|health| health.deadline())).min()
    }

    fn handle(&mut self, token: u64, flags: EventFlags) {
        match token {
            PIDFD => self.init_ended(),
            SIGNALS => {
                while self.signals.as_ref().and_then(process::next_signal).is_some() {}
                process::reap_others(self.pid);
            }
            LISTENER => self.clients.accept(&self.epoll),
            STDIN => {
                self.stdin.unwatch(&self.epoll);
                self.stdin.write(&self.epoll, &mut self.clients);
            }
            HEALTH => {
                if let Some(health) = &mut self.health {
                    health.report(&self.epoll, &self.pidfd);
                }
            }
            OUTPUT => self.pump(0),
            token if token == OUTPUT + 1 => self.pump(1),
            token if token >= NAMES => {
                if let Some(names) = &mut self.names {
                    names.handle(&self.epoll, token, flags, &mut self.buffer);
                }
            }
            client => self.hear(client, flags),
        }
    }

    /// Output in one go from the container to log and clients, without a copy on the way.
    fn pump(&mut self, which: usize) {
        let stream = if which == 0 { Stream::Stdout } else { Stream::Stderr };
        // Another stream and the clients want their turn too.
        for _ in 0..8 {
            if self.clients.creator_is_full() && self.ended.is_none() {
                return;
            }
            if self.clients.creator_is_flooded() {
                // Not the container's last words but a stranger's, who has its pipe.
                return self.close_output(which);
            }
            let Some(fd) = &self.outputs[which] else { return };
            let read = match twice(|| rustix::io::read(fd, &mut self.buffer[HEADER..])) {
                Ok(n) if n > 0 => n,
                Err(Errno::AGAIN | Errno::INTR) => return,
                // The end; of a terminal it is EIO.
                _ => return self.close_output(which),
            };
            if let Some(log) = &mut self.log {
                log.append(stream, &self.buffer[HEADER..HEADER + read]);
            }
            self.buffer[..HEADER].copy_from_slice(&output_header(stream));
            self.clients.broadcast(&self.epoll, &self.buffer[..HEADER + read]);
            if read < CHUNK {
                return;
            }
        }
    }

    fn hear(&mut self, client: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.clients.flush(&self.epoll, client);
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            return;
        }
        // The buffer is free between two reads of output.
        match self.clients.receive(client, &mut self.buffer) {
            Request::Nothing => {}
            Request::Gone { creator } => self.stdin.client_left(creator),
            Request::Stdin(bytes) => {
                self.stdin.take(client, bytes);
                self.stdin.write(&self.epoll, &mut self.clients);
            }
            Request::StdinEnd => self.stdin.client_ended(),
            Request::Resize { rows, columns } => {
                if let (true, Some(master)) = (self.tty, &self.outputs[0]) {
                    let _ = pty::set_size(master, rows, columns);
                }
            }
            Request::Signal(signal) => {
                if self.ended.is_none() {
                    let _ = process::send_signal(&self.pidfd, signal);
                }
            }
            Request::Ask(text) => {
                let Some(keeper) = &mut self.keeper else { return };
                let (answer, names) = keeper.request(text, self.names.is_some());
                match (names, &mut self.names) {
                    (Some(Names { sockets: Some(sockets), zone }), None) => {
                        self.names = Some(NameServer::new(&self.epoll, sockets, zone));
                    }
                    (Some(Names { zone, .. }), Some(server)) => server.set_zone(zone),
                    _ => {}
                }
                self.clients.answer(&self.epoll, client, &answer);
            }
        }
    }

    fn init_ended(&mut self) {
        if self.ended.is_none() {
            let end = wait_for_end(&self.pidfd);
            self.ended = Some((end, Instant::now() + DRAIN));
            let _ = epoll::delete(&self.epoll, &self.pidfd);
            // Now the terminal ends when the last of the container's hands leaves it.
            self.slave = None;
            // Its sockets would keep the container's network alive.
            self.names = None;
            if let Some(health) = &mut self.health {
                health.end();
            }
        }
    }

    /// A closed pipe is always ready, asked for or not: what is not to be read is not watched at all.
    fn listen(&mut self, on: bool) {
        self.listening = on;
        for (fd, token) in self.outputs.iter().zip(OUTPUT..) {
            let Some(fd) = fd else { continue };
            let _ = match on {
                true => watch(&self.epoll, fd, token, EventFlags::IN),
                false => epoll::delete(&self.epoll, fd),
            };
        }
    }

    fn close_output(&mut self, which: usize) {
        if let Some(fd) = self.outputs[which].take() {
            // A terminal has a second descriptor, for input: closing alone would not end the watch.
            let _ = epoll::delete(&self.epoll, &fd);
        }
    }
}

/// What happens with it is told as `token`. Without memory for that at the moment it is tried once more: nobody would ever hear of it.
fn watch(epoll: &OwnedFd, fd: impl AsFd, token: u64, flags: EventFlags) -> Result<(), Errno> {
    twice(|| epoll::add(epoll, fd.as_fd(), EventData::new_u64(token), flags))
}

/// When nothing has happened for so long, the monitor gives back what it does not need: of one whose program ends at once that would only
/// have to come again.
const REST: Duration = Duration::from_millis(100);

/// Bytes that the kernel keeps of each output stream before the container waits.
const PIPE: usize = 256 * 1024;

fn libc_sigchld() -> i32 {
    rustix::process::Signal::CHILD.as_raw()
}

pub(crate) fn timespec(duration: Duration) -> rustix::event::Timespec {
    rustix::event::Timespec { tv_sec: duration.as_secs() as i64, tv_nsec: i64::from(duration.subsec_nanos()) }
}

/// The code of the child that `pidfd` is of, when it has one.
fn wait_for_end(pidfd: &OwnedFd) -> (i32, Option<i32>) {
    loop {
        match rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                let signal = status.terminating_signal();
                return (status.exit_status().unwrap_or_else(|| 128 + signal.unwrap_or(0)), signal);
            }
            Err(Errno::INTR) => {}
            // Somebody else has reaped it: it is gone, and nobody knows how.
            _ => return (255, None),
        }
    }
}
