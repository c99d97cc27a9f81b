//! A seccomp agent: it gets the listener of a container's filter, and answers system calls for it.

use kernel::seccomp::notify::{self, Answer, Notification};
use rustix::fd::OwnedFd;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

/// An agent for one container.
#[derive(Debug)]
pub struct Agent {
    thread: JoinHandle<serde_json::Value>,
}

impl Agent {
    /// Listens at `path` and answers every call of the first container that comes with what `judge` says, until that has no
    /// more processes.
    pub fn listen(path: &Path, judge: impl Fn(&Notification) -> Answer + Send + 'static) -> Agent {
        let socket = UnixListener::bind(path).expect("a free path");
        let serve = move || {
            let (stream, _) = socket.accept().expect("a connection");
            let (state, listener) = receive(stream);
            while wait(&listener) {
                // Who asked may be gone by now.
                if let Ok(asked) = notify::receive(&listener) {
                    let _ = notify::answer(&listener, asked.id, judge(&asked));
                }
            }
            state
        };
        Agent { thread: std::thread::spawn(serve) }
    }

    /// What came with the descriptor: the state of the container's process. Waits for its end.
    pub fn state(self) -> serde_json::Value {
        self.thread.join().expect("the agent failed")
    }
}

/// False when the last process with the filter has gone.
fn wait(listener: &OwnedFd) -> bool {
    use rustix::event::{PollFd, PollFlags, poll};
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    while let Err(rustix::io::Errno::INTR) = poll(&mut fds, None) {}
    fds[0].revents().contains(PollFlags::IN)
}

/// Everything up to the end of the connection, and the descriptor that came with its beginning.
fn receive(mut stream: UnixStream) -> (serde_json::Value, OwnedFd) {
    let (mut text, fd) = receive_descriptor(&stream);
    stream.read_to_end(&mut text).expect("the rest");
    (serde_json::from_slice(&text).expect("JSON"), fd)
}

/// The text and the descriptor that come next.
pub fn receive_descriptor(stream: &UnixStream) -> (Vec<u8>, OwnedFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0u8; 65_536];
    let mut slices = [IoSliceMut::new(&mut text)];
    let message = rustix::net::recvmsg(stream, &mut slices, &mut rights, RecvFlags::CMSG_CLOEXEC);
    let bytes = message.expect("a message").bytes;
    text.truncate(bytes);
    let fd = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (text, fd.expect("a descriptor"))
}
