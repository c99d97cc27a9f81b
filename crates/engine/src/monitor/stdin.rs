//! A container's input, fed by clients: each may have one message under way, in the order they came.

use super::clients::Clients;
use rustix::event::epoll::{self, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use std::collections::VecDeque;

/// The container's input, and what it has not taken yet.
#[derive(Debug)]
pub struct Stdin {
    sink: Option<OwnedFd>,
    /// `-i` of an attached start: the input ends with the first client's (Docker's StdinOnce). A container started
    /// detached keeps it for the next client.
    once: bool,
    /// A terminal has no end.
    tty: bool,
    /// Who sent it, what, and how much of it is written.
    queue: VecDeque<(u64, Vec<u8>, usize)>,
    ending: bool,
    watched: bool,
}

/// More than the clients can have: a flood of clients that write and leave.
const MOST: usize = 256;

impl Stdin {
    pub fn new(sink: Option<OwnedFd>, once: bool, tty: bool) -> Stdin {
        Stdin { sink, once, tty, queue: VecDeque::new(), ending: false, watched: false }
    }

    /// Keeps a client's message. Without anybody to read it, it is never taken, and the client sends no more.
    pub fn take(&mut self, client: u64, bytes: &[u8]) {
        if self.sink.is_some() && !self.ending && self.queue.len() < MOST {
            self.queue.push_back((client, bytes.to_vec(), 0));
        }
    }

    /// Writes what the container takes now.
    pub fn write(&mut self, epoll: &OwnedFd, clients: &mut Clients) {
        while let (Some(sink), Some((client, bytes, written))) = (&self.sink, self.queue.front_mut()) {
            match rustix::io::write(sink, &bytes[*written..]) {
                Ok(n) => *written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.close();
                    return;
                }
            }
            if *written == bytes.len() {
                clients.stdin_taken(epoll, *client);
                self.queue.pop_front();
            }
        }
        if self.queue.is_empty() && self.ending {
            self.close();
        }
    }

    pub fn client_ended(&mut self) {
        if self.once && !self.tty {
            self.ending = true;
            if self.queue.is_empty() {
                self.close();
            }
        }
    }

    /// The command that started it was killed: nobody will ever end its input properly.
    pub fn client_left(&mut self, creator: bool) {
        if creator {
            self.client_ended();
        }
    }

    /// Waits for room only while there is something to write.
    pub fn watch(&mut self, epoll: &OwnedFd, token: u64) {
        if let (false, false, Some(sink)) = (self.watched, self.queue.is_empty(), &self.sink) {
            self.watched = super::watch(epoll, sink, token, EventFlags::OUT).is_ok();
        }
    }

    pub fn unwatch(&mut self, epoll: &OwnedFd) {
        if let (true, Some(sink)) = (self.watched, &self.sink) {
            let _ = epoll::delete(epoll, sink);
        }
        self.watched = false;
    }

    fn close(&mut self) {
        self.sink = None;
        self.watched = false;
        self.queue = VecDeque::new();
    }
}
