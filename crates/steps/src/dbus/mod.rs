//! A client of D-Bus, just enough to ask systemd for a unit. (The synchronous library that there is has not been kept for
//! years.) See the D-Bus specification.

mod wire;

pub use wire::Value;

use std::io::{self, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;
use wire::{Reader, put};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// No message that we are sent is larger.
const LARGEST: usize = 16 << 20;

const ORDER: u8 = if cfg!(target_endian = "big") { b'B' } else { b'l' };

/// Kinds of messages.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    #[error("D-Bus: {0}")]
    Io(#[from] io::Error),
    #[error("{message} ({name})")]
    Refused {
        /// `org.freedesktop.systemd1.NoSuchUnit`
        name: String,
        message: String,
    },
}

/// What an object is asked.
#[derive(Debug, Clone, Copy)]
pub struct Method<'a> {
    pub destination: &'a str,
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
}

/// A signal that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    pub interface: String,
    pub member: String,
    pub body: Vec<Value>,
}

/// A connection.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: Vec<Signal>,
}

/// One message, as far as anybody here looks at it.
#[derive(Debug, Default)]
struct Message {
    kind: u8,
    reply_to: u32,
    interface: String,
    member: String,
    error: String,
    body: Vec<Value>,
}

impl Bus {
    /// A bus at one of the addresses in `addresses`: `unix:path=/run/dbus/system_bus_socket;…`.
    pub fn connect(addresses: &str) -> Result<Bus, BusError> {
        let mut bus = Bus::direct(addresses)?;
        bus.call(
            Method {
                destination: "org.freedesktop.DBus",
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
            },
            &[],
        )?;
        Ok(bus)
    }

    /// A program that listens itself, without a bus.
    pub fn direct(addresses: &str) -> Result<Bus, BusError> {
        let mut failed = io::Error::new(io::ErrorKind::InvalidInput, format!("no address: {addresses}"));
        for address in addresses.split(';').filter(|a| !a.is_empty()) {
            match open(address).and_then(authenticate) {
                Ok(stream) => return Ok(Bus { stream, serial: 0, signals: Vec::new() }),
                Err(e) => failed = io::Error::new(e.kind(), format!("{address}: {e}")),
            }
        }
        Err(failed.into())
    }

    /// Calls a method and waits for what it answers.
    pub fn call(&mut self, method: Method<'_>, arguments: &[Value]) -> Result<Vec<Value>, BusError> {
        self.serial += 1;
        let message = encode(self.serial, method, arguments);
        self.stream.write_all(&message)?;
        loop {
            let message = self.receive()?;
            match message.kind {
                RETURN if message.reply_to == self.serial => return Ok(message.body),
                ERROR if message.reply_to == self.serial => {
                    let text = message.body.first().and_then(Value::as_str).unwrap_or_default();
                    return Err(BusError::Refused { name: message.error, message: text.to_owned() });
                }
                SIGNAL => self.signals.push(signal(message)),
                _ => {}
            }
        }
    }

    /// The next signal.
    pub fn signal(&mut self) -> Result<Signal, BusError> {
        if !self.signals.is_empty() {
            return Ok(self.signals.remove(0));
        }
        loop {
            let message = self.receive()?;
            if message.kind == SIGNAL {
                return Ok(signal(message));
            }
        }
    }

    fn receive(&mut self) -> io::Result<Message> {
        let mut head = [0; 16];
        self.stream.read_exact(&mut head)?;
        let number =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (body, fields) = (number(4), number(12));
        if head[0] != ORDER || body > LARGEST || fields > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a message"));
        }
        let header = (16 + fields).next_multiple_of(8);
        let mut bytes = head.to_vec();
        bytes.resize(header + body, 0);
        self.stream.read_exact(&mut bytes[16..])?;
        decode(&bytes, header).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a broken message"))
    }
}

fn signal(message: Message) -> Signal {
    Signal { interface: message.interface, member: message.member, body: message.body }
}

fn open(address: &str) -> io::Result<UnixStream> {
    let refuse = || io::Error::new(io::ErrorKind::Unsupported, "not a unix socket");
    let keys = address.strip_prefix("unix:").ok_or_else(refuse)?;
    let key = |name: &str| keys.split(',').filter_map(|kv| kv.split_once('=')).find(|(k, _)| *k == name);
    let name = match (key("path"), key("abstract")) {
        (Some((_, path)), _) => SocketAddr::from_pathname(unescape(path))?,
        (None, Some((_, name))) => SocketAddr::from_abstract_name(unescape(name))?,
        (None, None) => return Err(refuse()),
    };
    let stream = UnixStream::connect_addr(&name)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// `%20` is a space.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The kernel says who we are: we name nobody. (In a user namespace we would not know our own name.)
fn authenticate(mut stream: UnixStream) -> io::Result<UnixStream> {
    stream.write_all(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
    for expected in ["DATA", "OK "] {
        let line = line(&mut stream)?;
        if !line.starts_with(expected) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("who we are is answered by {line:?}"),
            ));
        }
    }
    Ok(stream)
}

/// One byte after the other: what follows is a message.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") && line.len() < 1024 {
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

fn encode(serial: u32, method: Method<'_>, arguments: &[Value]) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|a| put(&mut body, a));
    let signature: String = arguments.iter().map(Value::signature).collect();
    let field = |code: u8, value: Value| Value::Struct(vec![Value::Byte(code), value.variant()]);
    let mut fields = vec![
        field(1, Value::Path(method.path.to_owned())),
        field(2, method.interface.into()),
        field(3, method.member.into()),
    ];
    if !method.destination.is_empty() {
        fields.push(field(6, method.destination.into()));
    }
    if !signature.is_empty() {
        fields.push(field(8, Value::Signature(signature)));
    }
    let mut message = vec![ORDER, CALL, 0, 1];
    put(&mut message, &Value::U32(body.len() as u32));
    put(&mut message, &Value::U32(serial));
    put(&mut message, &Value::Array("(yv)".to_owned(), fields));
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    message
}

/// `None` where it is no message.
fn decode(bytes: &[u8], header: usize) -> Option<Message> {
    let mut message = Message { kind: *bytes.get(1)?, ..Message::default() };
    let mut reader = Reader { at: 12, ..Reader::new(bytes.get(..header)?) };
    let Value::Array(_, fields) = reader.value("a(yv)")? else { return None };
    let mut signature = String::new();
    for field in fields {
        let Value::Struct(parts) = field else { return None };
        let [Value::Byte(code), Value::Variant(value)] = &parts[..] else { return None };
        let text = || value.as_str().unwrap_or_default().to_owned();
        match (code, &**value) {
            (2, _) => message.interface = text(),
            (3, _) => message.member = text(),
            (4, _) => message.error = text(),
            (5, Value::U32(serial)) => message.reply_to = *serial,
            (8, _) => signature = text(),
            _ => {}
        }
    }
    message.body = Reader::new(&bytes[header..]).all(&signature)?;
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Method<'static> =
        Method { destination: "a.b", path: "/a/b", interface: "a.b", member: "Hello" };

    #[test]
    fn a_call_as_bytes() {
        let message = encode(7, HELLO, &["x".into(), Value::U32(5)]);
        let header = message.len() - 12;
        assert_eq!(header % 8, 0);
        let back = decode(&message, header).unwrap();
        assert_eq!((back.kind, back.member.as_str()), (CALL, "Hello"));
        assert_eq!(back.body, ["x".into(), Value::U32(5)]);
        assert_eq!(decode(&message[..header + 3], header).map(|m| m.member), None);
    }

    #[test]
    fn addresses() {
        assert_eq!(unescape("/run/a%20b%2"), "/run/a b%2");
        for address in ["", "tcp:host=localhost,port=1", "unix:guid=1", "unix:path=/nowhere/at/all"] {
            assert!(Bus::direct(address).is_err(), "{address}");
        }
    }

    /// A peer that plays both parts of a bus: it lets in, answers, refuses, and says something in between.
    #[test]
    fn a_conversation() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let peer = std::thread::spawn(move || {
            let mut said = [0; 29];
            theirs.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
            theirs.write_all(b"DATA\r\nOK 1234\r\n").unwrap();
            let mut call = vec![0; encode(1, HELLO, &[]).len()];
            theirs.read_exact(&mut call).unwrap();
            let mut answer = |kind: u8, fields: Vec<(u8, Value)>, body: &str| {
                let mut bytes = Vec::new();
                put(&mut bytes, &body.into());
                let fields = fields.into_iter().chain([(8, Value::Signature("s".to_owned()))]);
                let fields = fields.map(|(c, v)| Value::Struct(vec![Value::Byte(c), v.variant()])).collect();
                let mut message = vec![ORDER, kind, 0, 1];
                put(&mut message, &Value::U32(bytes.len() as u32));
                put(&mut message, &Value::U32(1));
                put(&mut message, &Value::Array("(yv)".to_owned(), fields));
                message.resize(message.len().next_multiple_of(8), 0);
                message.extend(bytes);
                theirs.write_all(&message).unwrap();
            };
            answer(SIGNAL, vec![(2, "a.b".into()), (3, "Changed".into())], "first");
            answer(RETURN, vec![(5, Value::U32(9))], "for somebody else");
            answer(RETURN, vec![(5, Value::U32(1))], "hello");
            answer(ERROR, vec![(5, Value::U32(2)), (4, "a.b.No".into())], "not today");
            theirs
        });
        let mut bus = Bus { stream: authenticate(ours).unwrap(), serial: 0, signals: Vec::new() };
        assert_eq!(bus.call(HELLO, &[]).unwrap(), ["hello".into()]);
        assert_eq!(bus.signal().unwrap().body, ["first".into()]);
        assert_eq!(bus.call(HELLO, &[]).unwrap_err().to_string(), "not today (a.b.No)");
        drop(peer.join().unwrap());
        assert!(bus.signal().is_err());
    }
}
