//! The name server of a container: the monitor answers at 127.0.0.11 in the container's own network, for names of other
//! containers, and asks the host's servers about all others, from the host's network.

mod connection;

use crate::net::Zone;
use connection::Connection;
use network::dns::{self, Code, Reply};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Sockets, when they are new, and what there is to know.
#[derive(Debug)]
pub struct Names {
    /// For datagrams, and for connections.
    pub sockets: Option<[OwnedFd; 2]>,
    pub zone: Zone,
}

/// The server's own numbers in the monitor's epoll begin here, far above all clients'.
pub const NAMES: u64 = 1 << 40;
const UDP: u64 = NAMES;
const TCP: u64 = NAMES + 1;
const FIRST: u64 = NAMES + 2;

/// Questions that wait for others' answers; one too many makes the oldest go.
const MOST_ASKED: usize = 64;
const MOST_CONNECTIONS: usize = 16;
/// How long another server is waited for before the next is asked.
const PATIENCE: Duration = Duration::from_millis(1500);
const ATTEMPTS: usize = 3;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct NameServer {
    udp: OwnedFd,
    tcp: OwnedFd,
    zone: Zone,
    asked: Vec<Asked>,
    connections: Vec<Connection>,
    next: u64,
    turn: usize,
}

/// A question that another server is asked.
#[derive(Debug)]
struct Asked {
    number: u64,
    socket: OwnedFd,
    client: SocketAddr,
    query: Vec<u8>,
    /// Of our own making: the container does not choose what a stranger has to guess.
    id: u16,
    attempt: usize,
    deadline: Instant,
}

impl NameServer {
    pub fn new(epoll: &OwnedFd, sockets: [OwnedFd; 2], zone: Zone) -> NameServer {
        let [udp, tcp] = sockets;
        for (socket, number) in [(&udp, UDP), (&tcp, TCP)] {
            let _ = super::watch(epoll, socket, number, EventFlags::IN);
        }
        NameServer { udp, tcp, zone, asked: Vec::new(), connections: Vec::new(), next: FIRST, turn: 0 }
    }

    pub fn set_zone(&mut self, zone: Zone) {
        self.zone = zone;
    }

    /// When something has to be given up, if nothing happens.
    pub fn deadline(&self) -> Option<Instant> {
        let asked = self.asked.iter().map(|asked| asked.deadline);
        asked.chain(self.connections.iter().map(|c| c.deadline)).min()
    }

    pub fn handle(&mut self, epoll: &OwnedFd, number: u64, flags: EventFlags, buffer: &mut [u8]) {
        match number {
            UDP => self.datagrams(epoll, buffer),
            TCP => self.accept(epoll),
            number => {
                if let Some(at) = self.asked.iter().position(|asked| asked.number == number) {
                    self.answered(epoll, at, buffer);
                } else if let Some(at) = self.connections.iter().position(|c| c.has(number)) {
                    let goes_on = self.connections[at].handle(epoll, &self.zone, number, flags, buffer);
                    if !goes_on {
                        self.connections.swap_remove(at);
                    }
                }
            }
        }
    }

    /// Gives up what has waited for too long.
    pub fn expire(&mut self, epoll: &OwnedFd) {
        let now = Instant::now();
        self.connections.retain(|connection| connection.deadline > now);
        let late = |asked: &Asked| asked.deadline <= now;
        while let Some(at) = self.asked.iter().position(late) {
            self.again(epoll, at);
        }
    }

    fn datagrams(&mut self, epoll: &OwnedFd, buffer: &mut [u8]) {
        // The container's output wants its turn too.
        for _ in 0..32 {
            let received = rustix::net::recvfrom(&self.udp, &mut *buffer, RecvFlags::DONTWAIT);
            let (length, client) = match received {
                Ok((length, _, Some(address))) => match SocketAddr::try_from(address) {
                    Ok(client) => (length.min(buffer.len()), client),
                    Err(_) => continue,
                },
                Err(Errno::INTR) => continue,
                _ => return,
            };
            self.turn = self.turn.wrapping_add(1);
            match dns::answer(&buffer[..length], &self.zone, dns::DATAGRAM, self.turn) {
                Reply::Answer(message) => self.send(&message, client),
                Reply::Forward => self.forward(epoll, &buffer[..length], client),
                Reply::Silence => {}
            }
        }
    }

    fn send(&self, message: &[u8], client: SocketAddr) {
        let _ = rustix::net::sendto(&self.udp, message, SendFlags::DONTWAIT | SendFlags::NOSIGNAL, &client);
    }

    fn refuse(&self, query: &[u8], client: SocketAddr) {
        if let Some(message) = dns::refuse(query, Code::ServerFailure) {
            self.send(&message, client);
        }
    }

    fn forward(&mut self, epoll: &OwnedFd, query: &[u8], client: SocketAddr) {
        if self.asked.len() >= MOST_ASKED {
            let oldest = self.asked.remove(0);
            self.refuse(&oldest.query, oldest.client);
        }
        self.ask(epoll, query.to_vec(), client, 0);
    }

    /// Asks the next server that can be asked; there being none, says so.
    fn ask(&mut self, epoll: &OwnedFd, query: Vec<u8>, client: SocketAddr, first: usize) {
        let servers = self.zone.upstreams();
        for attempt in first..ATTEMPTS.max(servers.len()) {
            let Some(server) = servers.get(attempt % servers.len().max(1)) else { break };
            let id = random_id();
            let Ok(socket) = put(*server, &query, id) else { continue };
            let number = self.next;
            self.next += 1;
            if epoll::add(epoll, &socket, EventData::new_u64(number), EventFlags::IN).is_err() {
                continue;
            }
            let deadline = Instant::now() + PATIENCE;
            self.asked.push(Asked { number, socket, client, query, id, attempt, deadline });
            return;
        }
        self.refuse(&query, client);
    }

    /// The server did not answer, or cannot.
    fn again(&mut self, epoll: &OwnedFd, at: usize) {
        let asked = self.asked.remove(at);
        self.ask(epoll, asked.query, asked.client, asked.attempt + 1);
    }

    fn answered(&mut self, epoll: &OwnedFd, at: usize, buffer: &mut [u8]) {
        let asked = &self.asked[at];
        let length = match rustix::net::recv(&asked.socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) => length.min(buffer.len()),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => return self.again(epoll, at),
        };
        let message = &mut buffer[..length];
        if !dns::answers(message, &asked.query, asked.id) {
            return;
        }
        dns::set_id(message, dns::id(&asked.query));
        let client = self.asked.remove(at).client;
        self.send(&buffer[..length], client);
    }

    fn accept(&mut self, epoll: &OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Ok(client) = rustix::net::accept_with(&self.tcp, flags) {
            if self.connections.len() >= MOST_CONNECTIONS {
                self.connections.remove(0);
            }
            // Numbers for the client and for the server that is asked.
            let connection = Connection::new(client, self.next);
            self.next += 2;
            if connection.watch(epoll) {
                self.connections.push(connection);
            }
        }
    }
}

/// Sends a question to a server, by a socket of its own.
fn put(server: IpAddr, query: &[u8], id: u16) -> Result<OwnedFd, Errno> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddr::new(server, 53))?;
    let mut query = query.to_vec();
    dns::set_id(&mut query, id);
    rustix::net::send(socket.as_fd(), &query, SendFlags::NOSIGNAL)?;
    Ok(socket)
}

fn random_id() -> u16 {
    let mut bytes = [0u8; 2];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u16::from_ne_bytes(bytes)
}
