//! Netlink: one encoder for all its message families, and the socket that sends a batch and reads the kernel's verdict.
//!
//! A [`Batch`] is bytes under construction. Finished, it is a plain `Vec<u8>` that can be kept, printed as JSON,
//! and sent later by a process that must not allocate: [`Socket::send`] never does. What the messages mean is
//! in [`route`] (links, addresses, routes) and in [`crate::nft`].

pub mod conntrack;
pub mod dump;
pub mod namespace;
pub mod route;

use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of the header of an attribute.
const ATTRIBUTE: usize = 4;

pub const NLM_F_REQUEST: u16 = libc::NLM_F_REQUEST as u16;
pub const NLM_F_ACK: u16 = libc::NLM_F_ACK as u16;
pub const NLM_F_DUMP: u16 = libc::NLM_F_DUMP as u16;
pub const NLM_F_CREATE: u16 = libc::NLM_F_CREATE as u16;
pub const NLM_F_EXCL: u16 = libc::NLM_F_EXCL as u16;
pub const NLM_F_REPLACE: u16 = libc::NLM_F_REPLACE as u16;
pub const NLM_F_APPEND: u16 = libc::NLM_F_APPEND as u16;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Messages under construction, one behind the other, to be sent by one system call.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    bytes: Vec<u8>,
    messages: u32,
    /// Where the latest message that can be acknowledged starts.
    last: Option<usize>,
    /// A length did not fit its 16 bits. Sending such a batch would smuggle attributes (CVE-2021-43784), so
    /// [`Batch::finish`] refuses it.
    overflow: bool,
}

impl Batch {
    pub fn new() -> Batch {
        Batch { bytes: Vec::with_capacity(512), ..Batch::default() }
    }

    /// Appends one request. `fill` writes the family's fixed header and the attributes.
    pub fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Batch)) {
        self.last = Some(self.bytes.len());
        self.control(kind, flags, fill);
    }

    /// Appends a message that brackets others and is never acknowledged by itself (nfnetlink's batch marks).
    pub fn control(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Batch)) {
        let start = self.bytes.len();
        self.messages += 1;
        let mut header = [0; HEADER];
        header[4..6].copy_from_slice(&kind.to_ne_bytes());
        header[6..8].copy_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        header[8..12].copy_from_slice(&self.messages.to_ne_bytes());
        self.raw(&header);
        fill(self);
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// The bytes to send: the last request asks for an acknowledgement, the others speak only when they fail.
    ///
    /// Errors: `EMSGSIZE` when an attribute was longer than 64 KiB.
    pub fn finish(mut self) -> Result<Vec<u8>, Errno> {
        if self.overflow {
            return Err(Errno::MSGSIZE);
        }
        self.ask_acknowledgement();
        Ok(self.bytes)
    }

    /// Marks the latest request as the one that is acknowledged.
    pub fn ask_acknowledgement(&mut self) {
        if let Some(start) = self.last {
            let flags = u16::from_ne_bytes([self.bytes[start + 6], self.bytes[start + 7]]) | NLM_F_ACK;
            self.bytes[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
        }
    }

    /// Bytes as they are: the fixed header that a family puts before its attributes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.align();
    }

    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Batch)) {
        let start = self.open(kind | NLA_F_NESTED);
        fill(self);
        self.close(start);
    }

    /// A string with its terminating zero byte.
    pub fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A number in network byte order, as nfnetlink wants all of its own.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn close(&mut self, start: usize) {
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self.align();
    }

    fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.bytes.push(0);
        }
    }
}

/// A netlink socket of the network namespace it was opened in, connected to the kernel, so that no other process
/// can slip in an answer. See netlink(7).
#[derive(Debug)]
pub struct Socket(OwnedFd);

impl Socket {
    /// Links, addresses and routes. See rtnetlink(7).
    pub fn route() -> Result<Socket, Errno> {
        Socket::open(libc::NETLINK_ROUTE)
    }

    /// Tables of nftables.
    pub fn netfilter() -> Result<Socket, Errno> {
        Socket::open(libc::NETLINK_NETFILTER)
    }

    fn open(protocol: i32) -> Result<Socket, Errno> {
        // NETLINK_ROUTE is 0, which rustix spells None
        let protocol = NonZeroU32::new(protocol as u32).map(net::Protocol::from_raw);
        let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        net::connect(&fd, &net::netlink::SocketAddrNetlink::new(0, 0))?;
        // both only make errors better: words with them, and answers that do not repeat the question
        option(&fd, libc::NETLINK_EXT_ACK);
        option(&fd, libc::NETLINK_CAP_ACK);
        Ok(Socket(fd))
    }

    /// Sends a finished batch and reads the kernel's verdict. Allocates nothing: a child of clone may call it.
    ///
    /// The kernel works through a batch while we are in the system call, so all answers are there when it returns.
    /// rtnetlink goes on after a request that failed; nfnetlink takes all back. The first failure is returned.
    pub fn send(&self, batch: &[u8]) -> Result<(), Failure> {
        let Some(awaited) = acknowledged(batch) else { return Ok(()) };
        self.write(batch)?;
        let mut failure: Option<Failure> = None;
        let mut buffer = [0u8; 2048];
        loop {
            let length = match net::recv(&self.0, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                // nothing more comes: a batch that failed as a whole answers only for its first message
                Err(Errno::AGAIN) => return Err(failure.unwrap_or(Failure::of(Errno::NOMSG))),
                Err(errno) => return Err(failure.unwrap_or(Failure::of(errno))),
            };
            for message in Messages(&buffer[..length]) {
                if message.kind != libc::NLMSG_ERROR as u16 {
                    continue;
                }
                failure = failure.or(Failure::parse(&message));
                if message.sequence == awaited {
                    return failure.map_or(Ok(()), Err);
                }
            }
        }
    }

    /// Asks one question (or a dump) and hands every message of the answer to `each`.
    ///
    /// Errors: `EINTR` when the list changed while the kernel was writing it; ask again.
    pub fn ask(&self, request: &[u8], mut each: impl FnMut(&Message)) -> Result<(), Failure> {
        self.write(request)?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 16384];
        let mut interrupted = false;
        loop {
            let datagram = match net::recv(&self.0, &mut buffer, RecvFlags::DONTWAIT) {
                Ok(((datagram, _), _)) => datagram,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(Failure::of(errno)),
            };
            for message in Messages(datagram) {
                interrupted |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => {
                        return match Failure::parse(&message) {
                            Some(failure) => Err(failure),
                            None if interrupted => Err(Failure::of(Errno::INTR)),
                            None => Ok(()),
                        };
                    }
                    _ => each(&message),
                }
            }
        }
    }

    /// Throws away what an earlier question, cut short, may have left unread.
    pub fn drain(&self) {
        while net::recv(&self.0, &mut [0u8; 16][..], RecvFlags::DONTWAIT).is_ok() {}
    }

    fn write(&self, batch: &[u8]) -> Result<(), Failure> {
        if batch.len() > 100_000 {
            send_buffer(&self.0, batch.len() * 2);
        }
        loop {
            match net::send(&self.0, batch, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(Failure::of(errno)),
            }
        }
    }
}

/// What the kernel refused. No allocation, so that a child of clone can carry it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub errno: Errno,
    /// Which message of the batch, from 0; none when the batch as a whole could not be sent.
    pub message: Option<u32>,
    reason: [u8; 88],
    reason_length: u8,
}

impl Failure {
    pub fn of(errno: Errno) -> Failure {
        Failure { errno, message: None, reason: [0; 88], reason_length: 0 }
    }

    /// The kernel's own words, cut at 88 bytes; often empty.
    pub fn reason(&self) -> &str {
        std::str::from_utf8(&self.reason[..self.reason_length.into()]).unwrap_or("")
    }

    /// None: the message says that all went well.
    fn parse(message: &Message) -> Option<Failure> {
        const NLMSGERR_ATTR_MSG: u16 = 1;
        const CAPPED: u16 = 0x100;
        const TLVS: u16 = 0x200;
        let code = message.body.first_chunk().map_or(i32::MIN, |bytes| i32::from_ne_bytes(*bytes));
        let errno = match code {
            0 => return None,
            -4095..0 => Errno::from_raw_os_error(-code),
            _ => Errno::BADMSG,
        };
        let mut failure = Failure { message: message.sequence.checked_sub(1), ..Failure::of(errno) };
        if message.flags & TLVS != 0 {
            // the header of the request follows the code; its body too, unless the answer is capped
            let skip = match message.flags & CAPPED {
                0 => message
                    .body
                    .get(4..8)
                    .map_or(HEADER, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]) as usize),
                _ => HEADER,
            };
            for (kind, value) in Attributes(message.body.get(4 + aligned(skip)..).unwrap_or(&[])) {
                if kind == NLMSGERR_ATTR_MSG {
                    let length = value.iter().position(|b| *b == 0).unwrap_or(value.len()).min(88);
                    failure.reason[..length].copy_from_slice(&value[..length]);
                    failure.reason_length = length as u8;
                }
            }
        }
        Some(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.errno)?;
        if !self.reason().is_empty() {
            write!(f, ": {}", self.reason())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Failure({:?}, message {:?}, {:?})", self.errno, self.message, self.reason())
    }
}

impl std::error::Error for Failure {}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::of(errno)
    }
}

/// One message of an answer.
#[derive(Debug)]
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

impl Message<'_> {
    /// The attributes behind a fixed header of `header` bytes.
    pub fn attributes(&self, header: usize) -> Attributes<'_> {
        Attributes(self.body.get(aligned(header)..).unwrap_or(&[]))
    }
}

/// Walks the messages of one datagram; stops at the first that is not whole.
#[derive(Debug)]
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header: &[u8; HEADER] = self.0.first_chunk()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            body: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(aligned(length)..).unwrap_or(&[]);
        Some(message)
    }
}

/// Walks attributes as (kind, value); stops at the first that is not whole.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let header: &[u8; ATTRIBUTE] = self.0.first_chunk()?;
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = self.0.get(ATTRIBUTE..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// The sequence number of the message that will be acknowledged, counted from 1.
fn acknowledged(batch: &[u8]) -> Option<u32> {
    Messages(batch).filter(|m| m.flags & NLM_F_ACK != 0).last().map(|m| m.sequence)
}

fn aligned(length: usize) -> usize {
    length.saturating_add(3) & !3
}

fn option(fd: &OwnedFd, name: i32) {
    set_option(fd, libc::SOL_NETLINK, name, 1);
}

/// Room for a big batch, whatever net.core.wmem_max says.
fn send_buffer(fd: &OwnedFd, bytes: usize) {
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes.min(i32::MAX as usize) as i32);
}

/// Sets an option that only helps: a kernel that does not know it is no error.
fn set_option(fd: &OwnedFd, level: i32, name: i32, value: i32) {
    let raw = fd.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open, and the option's value is an int that lives until the call returns.
    unsafe {
        libc::setsockopt(raw, level, name, (&raw const value).cast(), size_of::<i32>() as libc::socklen_t);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_laid_out_as_the_kernel_wants_it() {
        let mut batch = Batch::new();
        batch.message(16, NLM_F_CREATE, |m| {
            m.raw(&[7; 16]);
            m.text(3, "abcd");
            m.nest(18, |m| m.u8(1, 9));
        });
        batch.message(17, 0, |_| {});
        let bytes = batch.finish().unwrap();
        let messages: Vec<_> = Messages(&bytes).collect();
        assert_eq!(messages.len(), 2);
        assert_eq!(messages[0].flags, NLM_F_CREATE | NLM_F_REQUEST);
        assert_eq!(messages[1].flags, NLM_F_ACK | NLM_F_REQUEST);
        let attributes: Vec<_> = messages[0].attributes(16).collect();
        assert_eq!(attributes, [(3, &b"abcd\0"[..]), (18, &[5, 0, 1, 0, 9, 0, 0, 0][..])]);
        assert_eq!(acknowledged(&bytes), Some(2));
    }

    #[test]
    fn cve_2021_43784_a_length_that_overflows_is_refused() {
        let mut batch = Batch::new();
        batch.message(16, 0, |m| m.bytes(1, &vec![0; 65536]));
        assert_eq!(batch.finish(), Err(Errno::MSGSIZE));
    }

    #[test]
    fn torn_answers_end_the_walk() {
        assert_eq!(Messages(&[1, 2, 3]).count(), 0);
        assert_eq!(Messages(&[0; 64]).count(), 0);
        assert_eq!(Attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(Attributes(&[2, 0, 1, 0, 5]).count(), 0);
    }
}
