//! Who is attached to a monitor, or waits for its container: their sockets and what they are still to be told.

use super::protocol::{CHUNK, PACKET, ToClient, ToMonitor};
use crate::store::twice;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of output that the kernel keeps for a client that does not read (less where the monitor is not root). Small
/// messages weigh more than their bytes.
pub const QUEUE: usize = 1024 * 1024;

/// At most so many clients at a time.
const MOST: usize = 64;
/// How long the end may wait for a client that does not read; the creator is waited for as long as it lives.
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the socket of a monitor, only for its own user. Its directory must be closed to others (0700).
pub fn listen(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    // Before it has a name, so that it never has another mode.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    with_address(path, |address| rustix::net::bind(&socket, address))?;
    rustix::net::listen(&socket, 64)?;
    Ok(socket)
}

/// Connects to the socket of a monitor.
pub fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let socket = socket()?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    with_address(path, |address| rustix::net::connect(&socket, address))?;
    Ok(socket)
}

fn socket() -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The address has 108 bytes only: long paths go by the descriptor of their directory.
fn with_address<T>(path: &Path, then: impl FnOnce(&SocketAddrUnix) -> Result<T, Errno>) -> Result<T, Errno> {
    if let Ok(address) = SocketAddrUnix::new(path) {
        return then(&address);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
    let parent = rustix::fs::open(parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
    then(&SocketAddrUnix::new(&short)?)
}

/// Everybody connected.
#[derive(Debug)]
pub struct Clients {
    listener: Option<OwnedFd>,
    list: Vec<Client>,
    /// The next client's number; never used twice.
    next: u64,
}

#[derive(Debug)]
struct Client {
    number: u64,
    socket: OwnedFd,
    creator: bool,
    greeted: bool,
    output: bool,
    stdin: bool,
    /// A [`ToMonitor::Stdin`] has not been answered.
    feeding: bool,
    /// Packets for which the socket had no room, in order.
    backlog: Vec<Vec<u8>>,
    /// The last packet is in the backlog; nothing is added any more.
    leaving: bool,
    waits_for_room: bool,
}

/// What a client asks the monitor to do.
#[derive(Debug)]
pub enum Request<'a> {
    Nothing,
    Gone { creator: bool },
    Stdin(&'a [u8]),
    StdinEnd,
    Resize { rows: u16, columns: u16 },
    Signal(i32),
    Ask(&'a [u8]),
}

impl Clients {
    pub fn new(listener: Option<OwnedFd>, creator: Option<OwnedFd>, first: u64) -> Clients {
        let mut clients = Clients { listener, list: Vec::new(), next: first };
        if let Some(socket) = creator {
            clients.add(socket, true);
        }
        clients
    }

    pub fn listener(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    pub fn watch_all(&self, epoll: &OwnedFd) {
        for client in &self.list {
            client.watch(epoll);
        }
    }

    /// Lets in who is at the door.
    pub fn accept(&mut self, epoll: &OwnedFd) {
        let before = self.list.len();
        self.accept_all();
        for client in &self.list[before..] {
            client.watch(epoll);
        }
    }

    /// Whether output must wait because the creator would lose some.
    pub fn creator_is_full(&self) -> bool {
        self.list.iter().any(|c| c.creator && !c.backlog.is_empty())
    }

    /// Whether more waits for the creator than a container's pipes can have held at its end.
    pub fn creator_is_flooded(&self) -> bool {
        self.list.iter().any(|c| c.creator && c.backlog.len() > 64)
    }

    /// One packet of output for all who want it.
    pub fn broadcast(&mut self, epoll: &OwnedFd, packet: &[u8]) {
        self.list.retain_mut(|client| {
            if !client.output || client.leaving {
                return true;
            }
            if client.backlog.is_empty() {
                match client.send(packet) {
                    Ok(()) => return true,
                    Err(errno) if has_no_room(errno) => {}
                    Err(_) => return true,
                }
            }
            if client.creator {
                client.backlog.push(packet.to_vec());
            } else {
                let why = "too slow: the container's output was not read";
                client.leave(ToClient::Refused { why });
            }
            client.flush(Some(epoll))
        });
    }

    /// Sends what waited for room.
    pub fn flush(&mut self, epoll: &OwnedFd, number: u64) {
        self.list.retain_mut(|client| client.number != number || client.flush(Some(epoll)));
    }

    pub fn stdin_taken(&mut self, epoll: &OwnedFd, number: u64) {
        if let Some(client) = self.list.iter_mut().find(|c| c.number == number) {
            client.feeding = false;
            client.tell(&ToClient::StdinTaken);
            client.flush(Some(epoll));
        }
    }

    pub fn answer(&mut self, epoll: &OwnedFd, number: u64, text: &[u8]) {
        if let Some(client) = self.list.iter_mut().find(|c| c.number == number) {
            client.tell(&ToClient::Answer(text));
            client.flush(Some(epoll));
        }
    }

    /// Reads one message of a client. Who sends anything but messages, or not in their order, is dropped.
    pub fn receive<'a>(&mut self, number: u64, buffer: &'a mut [u8]) -> Request<'a> {
        let Some(at) = self.list.iter().position(|c| c.number == number) else { return Request::Nothing };
        let received = rustix::net::recv(
            &self.list[at].socket,
            &mut buffer[..PACKET],
            RecvFlags::TRUNC | RecvFlags::DONTWAIT,
        );
        let length = match received {
            Ok((_, length)) if length > 0 => length,
            Err(Errno::AGAIN | Errno::INTR) => return Request::Nothing,
            _ => {
                let client = self.list.swap_remove(at);
                return Request::Gone { creator: client.creator };
            }
        };
        let client = &mut self.list[at];
        let message = match ToMonitor::parse(&buffer[..length.min(PACKET)]) {
            Ok(message) if length <= PACKET && client.allows(&message) => message,
            outcome => {
                let creator = client.creator;
                let why = outcome.err().map_or("message out of turn".to_owned(), |e| e.to_string());
                client.tell(&ToClient::Refused { why: &why });
                self.list.swap_remove(at);
                return Request::Gone { creator };
            }
        };
        match message {
            ToMonitor::Hello { wants_output, wants_stdin } => {
                (client.greeted, client.output, client.stdin) = (true, wants_output, wants_stdin);
                Request::Nothing
            }
            ToMonitor::Stdin(bytes) => {
                client.feeding = true;
                Request::Stdin(bytes)
            }
            ToMonitor::StdinEnd => Request::StdinEnd,
            ToMonitor::Resize { rows, columns } => Request::Resize { rows, columns },
            ToMonitor::Signal(signal) => Request::Signal(signal),
            ToMonitor::Ask(text) => Request::Ask(text),
            ToMonitor::DetachMe => {
                self.list.swap_remove(at);
                Request::Nothing
            }
        }
    }

    /// Tells everybody, also those still at the door, how it ended. The creator gets all its output first, however
    /// slowly it reads; nobody else is waited for longer than two seconds.
    pub fn finish(mut self, code: i32, oom_killed: bool) {
        self.accept_all();
        self.listener = None;
        for client in self.list.iter_mut().filter(|c| !c.leaving) {
            client.leave(ToClient::Exited { code, oom_killed });
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let late = Instant::now() >= deadline;
            self.list.retain_mut(|client| client.flush(None) && (client.creator || !late));
            if self.list.is_empty() {
                return;
            }
            let mut fds: Vec<PollFd<'_>> =
                self.list.iter().map(|c| PollFd::new(&c.socket, PollFlags::OUT)).collect();
            let timeout = deadline.checked_duration_since(Instant::now()).map(super::timespec);
            match poll(&mut fds, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn accept_all(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Some(Ok(socket)) = self.listener.as_ref().map(|fd| rustix::net::accept_with(fd, flags)) {
            // The directory keeps others out already; this is the second door.
            let ours = sockopt::socket_peercred(&socket)
                .is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid());
            let why = match ours {
                false => "permission denied",
                true if self.list.len() >= MOST => "too many clients",
                true => {
                    self.add(socket, false);
                    continue;
                }
            };
            let packet = ToClient::Refused { why }.encode();
            let _ = rustix::net::send(&socket, &packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        }
    }

    fn add(&mut self, socket: OwnedFd, creator: bool) {
        // The kernel doubles what it is given, for its own bookkeeping.
        if sockopt::set_socket_send_buffer_size_force(&socket, QUEUE / 2).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&socket, QUEUE / 2);
        }
        self.list.push(Client {
            number: self.next,
            socket,
            creator,
            greeted: false,
            // The creator must not miss the first line, which may come before its greeting.
            output: creator,
            stdin: false,
            feeding: false,
            backlog: Vec::new(),
            leaving: false,
            waits_for_room: false,
        });
        self.next += 1;
    }
}

/// It can be sent later.
fn has_no_room(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR)
}

impl Client {
    fn watch(&self, epoll: &OwnedFd) {
        let _ = super::watch(epoll, &self.socket, self.number, EventFlags::IN);
    }

    fn allows(&self, message: &ToMonitor<'_>) -> bool {
        match message {
            ToMonitor::Hello { .. } => !self.greeted,
            ToMonitor::Stdin(bytes) => self.stdin && !self.feeding && bytes.len() <= CHUNK,
            ToMonitor::StdinEnd => self.stdin,
            ToMonitor::Resize { .. } | ToMonitor::Signal(_) | ToMonitor::DetachMe | ToMonitor::Ask(_) => {
                self.greeted
            }
        }
    }

    fn send(&self, packet: &[u8]) -> Result<(), Errno> {
        rustix::net::send(&self.socket, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map(drop)
    }

    /// A small message, now or after what waits already.
    fn tell(&mut self, message: &ToClient<'_>) {
        let packet = message.encode();
        if !self.backlog.is_empty() || self.send(&packet).is_err_and(has_no_room) {
            self.backlog.push(packet);
        }
    }

    fn leave(&mut self, last: ToClient<'_>) {
        self.backlog.push(last.encode());
        self.leaving = true;
    }

    /// Sends what it can; false when the client is done with or gone.
    fn flush(&mut self, epoll: Option<&OwnedFd>) -> bool {
        let mut sent = 0;
        while let Some(packet) = self.backlog.get(sent) {
            match self.send(packet) {
                Ok(()) => sent += 1,
                Err(errno) if has_no_room(errno) => break,
                Err(_) if epoll.is_none() => return false,
                // Gone: that is learnt, and acted upon, when it is read from.
                Err(_) => {
                    self.output = false;
                    sent = self.backlog.len();
                }
            }
        }
        self.backlog.drain(..sent);
        let full = !self.backlog.is_empty();
        if !full {
            self.backlog = Vec::new();
        }
        if let (Some(epoll), true) = (epoll, full != self.waits_for_room) {
            let flags = if full { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            let data = EventData::new_u64(self.number);
            let _ = twice(|| epoll::modify(epoll, &self.socket, data, flags));
            self.waits_for_room = full;
        }
        full || !self.leaving
    }
}
