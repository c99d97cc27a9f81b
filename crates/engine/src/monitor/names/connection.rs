//! Names over a connection: for answers that are too long for a datagram. One question at a time; what is not known here
//! is asked over a connection too. See RFC 7766.

use super::IDLE;
use crate::net::Zone;
use network::dns::{self, Code, Reply};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::SocketAddr;
use std::time::Instant;

/// Questions are short.
const LONGEST: usize = 4096;

/// A message with its length before it, as far as it has come or gone.
#[derive(Debug, Default)]
struct Message {
    bytes: Vec<u8>,
    done: usize,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// Of the client; the server's is one more.
    number: u64,
    client: OwnedFd,
    question: Message,
    server: Option<Server>,
    /// On its way to the client.
    answer: Message,
    pub(super) deadline: Instant,
}

/// Another server that is asked.
#[derive(Debug)]
struct Server {
    socket: OwnedFd,
    /// How much of the question it has.
    sent: usize,
    answer: Message,
}

impl Message {
    fn of(text: &[u8]) -> Message {
        Message { bytes: [&(text.len() as u16).to_be_bytes(), text].concat(), done: 0 }
    }

    /// The message, when all of it is there.
    fn whole(&self) -> Option<&[u8]> {
        let length = self.length()?;
        self.bytes.get(2..2 + length)
    }

    fn length(&self) -> Option<usize> {
        self.bytes.first_chunk::<2>().map(|bytes| usize::from(u16::from_be_bytes(*bytes)))
    }
}

impl Connection {
    pub(super) fn new(client: OwnedFd, number: u64) -> Connection {
        let (question, answer) = (Message::default(), Message::default());
        Connection { number, client, question, server: None, answer, deadline: Instant::now() + IDLE }
    }

    pub(super) fn watch(&self, epoll: &OwnedFd) -> bool {
        epoll::add(epoll, &self.client, EventData::new_u64(self.number), EventFlags::IN).is_ok()
    }

    pub(super) fn has(&self, number: u64) -> bool {
        number == self.number || number == self.number + 1 && self.server.is_some()
    }

    /// False: the connection is over.
    pub(super) fn handle(
        &mut self,
        epoll: &OwnedFd,
        zone: &Zone,
        number: u64,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> bool {
        let mut outcome = match (number == self.number, self.answer.bytes.is_empty()) {
            (true, true) if self.server.is_none() => self.read_question(buffer),
            // The client says more, or has gone, while it is to wait.
            (true, true) => Err(Errno::PROTO),
            (true, false) => self.write_answer(epoll),
            (false, _) => self.with_server(epoll, flags, buffer),
        };
        if number != self.number && !matches!(outcome, Ok(()) | Err(Errno::AGAIN | Errno::INTR)) {
            outcome = self.give_up(epoll);
        }
        // The next question may have come with the last.
        while outcome.is_ok() && self.is_idle() && self.question.whole().is_some() {
            outcome = self.consider(epoll, zone);
        }
        matches!(outcome, Ok(()) | Err(Errno::AGAIN | Errno::INTR))
    }

    fn is_idle(&self) -> bool {
        self.answer.bytes.is_empty() && self.server.is_none()
    }

    fn read_question(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        let (length, _) = rustix::net::recv(&self.client, &mut *buffer, RecvFlags::DONTWAIT)?;
        if length == 0 {
            return Err(Errno::PIPE);
        }
        self.question.bytes.extend_from_slice(&buffer[..length]);
        let too_long = self.question.length().is_some_and(|length| length > LONGEST);
        if too_long || self.question.bytes.len() > 4 * LONGEST { Err(Errno::MSGSIZE) } else { Ok(()) }
    }

    fn consider(&mut self, epoll: &OwnedFd, zone: &Zone) -> Result<(), Errno> {
        let Some(question) = self.question.whole() else { return Ok(()) };
        self.deadline = Instant::now() + IDLE;
        match dns::answer(question, zone, usize::from(u16::MAX) - 2, 0) {
            Reply::Answer(text) => self.answer_with(epoll, &text),
            Reply::Silence => Err(Errno::PROTO),
            Reply::Forward => {
                let server = zone.upstreams().first().copied().ok_or(Errno::HOSTUNREACH);
                match server.and_then(|server| self.call(epoll, SocketAddr::new(server, 53))) {
                    Ok(()) => Ok(()),
                    Err(_) => self.give_up(epoll),
                }
            }
        }
    }

    fn call(&mut self, epoll: &OwnedFd, address: SocketAddr) -> Result<(), Errno> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        epoll::add(epoll, &socket, EventData::new_u64(self.number + 1), EventFlags::OUT)?;
        self.server = Some(Server { socket, sent: 0, answer: Message::default() });
        Ok(())
    }

    fn with_server(&mut self, epoll: &OwnedFd, flags: EventFlags, buffer: &mut [u8]) -> Result<(), Errno> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let whole = 2 + self.question.length().unwrap_or(0);
        if server.sent < whole {
            if !flags.contains(EventFlags::OUT) {
                return Err(Errno::CONNREFUSED);
            }
            let rest = &self.question.bytes[server.sent..whole];
            server.sent += rustix::net::send(&server.socket, rest, SendFlags::NOSIGNAL)?;
            if server.sent == whole {
                let number = EventData::new_u64(self.number + 1);
                epoll::modify(epoll, &server.socket, number, EventFlags::IN)?;
            }
            return Ok(());
        }
        let (length, _) = rustix::net::recv(&server.socket, &mut *buffer, RecvFlags::DONTWAIT)?;
        if length == 0 {
            return Err(Errno::PIPE);
        }
        server.answer.bytes.extend_from_slice(&buffer[..length]);
        let Some(text) = server.answer.whole().map(<[u8]>::to_vec) else { return Ok(()) };
        self.server = None;
        self.answer_with(epoll, &text)
    }

    fn give_up(&mut self, epoll: &OwnedFd) -> Result<(), Errno> {
        self.server = None;
        self.answer = Message::default();
        let refusal = self.question.whole().and_then(|question| dns::refuse(question, Code::ServerFailure));
        self.answer_with(epoll, &refusal.ok_or(Errno::PROTO)?)
    }

    fn answer_with(&mut self, epoll: &OwnedFd, text: &[u8]) -> Result<(), Errno> {
        self.answer = Message::of(text);
        self.write_answer(epoll)
    }

    fn write_answer(&mut self, epoll: &OwnedFd) -> Result<(), Errno> {
        while self.answer.done < self.answer.bytes.len() {
            let rest = &self.answer.bytes[self.answer.done..];
            match rustix::net::send(&self.client, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(length) => self.answer.done += length,
                Err(Errno::AGAIN) => {
                    let number = EventData::new_u64(self.number);
                    return epoll::modify(epoll, &self.client, number, EventFlags::OUT);
                }
                Err(errno) => return Err(errno),
            }
        }
        let length = 2 + self.question.length().unwrap_or(0);
        self.question.bytes.drain(..length.min(self.question.bytes.len()));
        self.answer = Message::default();
        epoll::modify(epoll, &self.client, EventData::new_u64(self.number), EventFlags::IN)
    }
}
