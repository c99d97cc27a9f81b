//! What a monitor and its clients say to each other, over a SOCK_SEQPACKET socket: one packet, one message. Bounded,
//! versioned, and parsed totally: any bytes are a message or [`Garbled`].

use thiserror::Error;

/// Both ends are mostly the same binary; after an upgrade an old monitor may meet a new client, and says so.
pub const VERSION: u8 = 1;

/// The most bytes of output or input in one message.
pub const CHUNK: usize = 32 * 1024;

/// Version, kind and stream: what stands before the bytes of an [`ToClient::Output`].
pub const HEADER: usize = 3;

/// The longest packet.
pub const PACKET: usize = HEADER + CHUNK;

/// Where output comes from and goes to. A terminal has [`Stream::Stdout`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// From the monitor. The order of declaration is the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToClient<'a> {
    Output {
        stream: Stream,
        bytes: &'a [u8],
    },
    /// The container has ended and everything of it is cleared away. The last message.
    Exited {
        /// The program's, or 128 and the signal's number.
        code: i32,
        oom_killed: bool,
    },
    /// The monitor hangs up. The last message.
    Refused {
        why: &'a str,
    },
    /// The last [`ToMonitor::Stdin`] has reached the container: there is room for the next.
    StdinTaken,
    /// To a [`ToMonitor::Ask`].
    Answer(&'a [u8]),
}

/// From a client. The order of declaration is the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToMonitor<'a> {
    /// The first message. Who wants neither only waits for the end.
    Hello {
        wants_output: bool,
        wants_stdin: bool,
    },
    /// One at a time: the next only after [`ToClient::StdinTaken`]. So signals never queue up behind input that the
    /// container does not read.
    Stdin(&'a [u8]),
    StdinEnd,
    Resize {
        rows: u16,
        columns: u16,
    },
    /// For the container's first process.
    Signal(i32),
    /// The client leaves, and the container's input stays open.
    DetachMe,
    /// Something about the container's networks is to be done: JSON, as is the answer.
    Ask(&'a [u8]),
}

/// A packet that is no message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Garbled {
    #[error("the other side speaks version {0} of the attach protocol, this one version {VERSION}")]
    Version(u8),
    #[error("garbled attach message")]
    Message,
}

/// The bytes before the output of `stream`, for those who have the output in place already.
pub fn output_header(stream: Stream) -> [u8; HEADER] {
    [VERSION, 0, stream as u8]
}

impl<'a> ToClient<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            ToClient::Output { stream, bytes } => [&output_header(stream), bytes].concat(),
            ToClient::Exited { code, oom_killed } => {
                [&[VERSION, 1, u8::from(oom_killed)], &code.to_le_bytes()[..]].concat()
            }
            ToClient::Refused { why } => [&[VERSION, 2], why.as_bytes()].concat(),
            ToClient::StdinTaken => vec![VERSION, 3],
            ToClient::Answer(text) => [&[VERSION, 4], text].concat(),
        }
    }

    pub fn parse(packet: &'a [u8]) -> Result<ToClient<'a>, Garbled> {
        let (kind, body) = open(packet)?;
        Ok(match (kind, body) {
            (0, [stream @ 0..=1, bytes @ ..]) if bytes.len() <= CHUNK => {
                ToClient::Output { stream: if *stream == 0 { Stream::Stdout } else { Stream::Stderr }, bytes }
            }
            (1, [oom @ 0..=1, a, b, c, d]) => {
                ToClient::Exited { code: i32::from_le_bytes([*a, *b, *c, *d]), oom_killed: *oom == 1 }
            }
            (2, why) if why.len() <= CHUNK => {
                ToClient::Refused { why: std::str::from_utf8(why).map_err(|_| Garbled::Message)? }
            }
            (3, []) => ToClient::StdinTaken,
            (4, text) if text.len() <= CHUNK => ToClient::Answer(text),
            _ => return Err(Garbled::Message),
        })
    }
}

impl<'a> ToMonitor<'a> {
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            ToMonitor::Hello { wants_output, wants_stdin } => {
                vec![VERSION, 0, u8::from(wants_output) | u8::from(wants_stdin) << 1]
            }
            ToMonitor::Stdin(bytes) => [&[VERSION, 1], bytes].concat(),
            ToMonitor::StdinEnd => vec![VERSION, 2],
            ToMonitor::Resize { rows, columns } => {
                let ([a, b], [c, d]) = (rows.to_le_bytes(), columns.to_le_bytes());
                vec![VERSION, 3, a, b, c, d]
            }
            ToMonitor::Signal(signal) => vec![VERSION, 4, signal.clamp(0, 255) as u8],
            ToMonitor::DetachMe => vec![VERSION, 5],
            ToMonitor::Ask(text) => [&[VERSION, 6], text].concat(),
        }
    }

    pub fn parse(packet: &'a [u8]) -> Result<ToMonitor<'a>, Garbled> {
        let (kind, body) = open(packet)?;
        Ok(match (kind, body) {
            (0, [wants @ 0..=3]) => {
                ToMonitor::Hello { wants_output: wants & 1 != 0, wants_stdin: wants & 2 != 0 }
            }
            (1, bytes) if (1..=CHUNK).contains(&bytes.len()) => ToMonitor::Stdin(bytes),
            (2, []) => ToMonitor::StdinEnd,
            (3, [a, b, c, d]) => ToMonitor::Resize {
                rows: u16::from_le_bytes([*a, *b]),
                columns: u16::from_le_bytes([*c, *d]),
            },
            (4, [signal @ 1..=64]) => ToMonitor::Signal(i32::from(*signal)),
            (5, []) => ToMonitor::DetachMe,
            (6, text) if text.len() <= CHUNK => ToMonitor::Ask(text),
            _ => return Err(Garbled::Message),
        })
    }
}

fn open(packet: &[u8]) -> Result<(u8, &[u8]), Garbled> {
    match packet {
        [VERSION, kind, body @ ..] => Ok((*kind, body)),
        [version, _, ..] => Err(Garbled::Version(*version)),
        _ => Err(Garbled::Message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_comes_back_as_it_was() {
        for message in [
            ToClient::Output { stream: Stream::Stdout, bytes: b"a\0\xff" },
            ToClient::Output { stream: Stream::Stderr, bytes: b"" },
            ToClient::Exited { code: -1, oom_killed: true },
            ToClient::Refused { why: "too slow" },
            ToClient::StdinTaken,
            ToClient::Answer(b"{}"),
        ] {
            assert_eq!(ToClient::parse(&message.encode()), Ok(message));
        }
        for message in [
            ToMonitor::Hello { wants_output: true, wants_stdin: false },
            ToMonitor::Hello { wants_output: false, wants_stdin: true },
            ToMonitor::Stdin(&[7; CHUNK]),
            ToMonitor::StdinEnd,
            ToMonitor::Resize { rows: 24, columns: 65535 },
            ToMonitor::Signal(64),
            ToMonitor::DetachMe,
            ToMonitor::Ask(b"{}"),
        ] {
            assert_eq!(ToMonitor::parse(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = [&[VERSION, 1][..], &[0; CHUNK + 1]].concat();
        for bytes in
            [&b""[..], &[VERSION], &[VERSION, 1], &[VERSION, 9], &[VERSION, 4, 0], &[VERSION, 4, 65], &long]
        {
            assert_eq!(ToMonitor::parse(bytes), Err(Garbled::Message));
        }
        assert_eq!(ToMonitor::parse(&[9, 5]), Err(Garbled::Version(9)));
        assert_eq!(ToClient::parse(&[VERSION, 2, 0xff]), Err(Garbled::Message));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_garbled(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), ours in any::<bool>()) {
            if ours && bytes.len() > 1 {
                bytes[0] = VERSION;
                bytes[1] %= 8;
            }
            if let Ok(message) = ToMonitor::parse(&bytes) {
                prop_assert_eq!(message.encode(), bytes.clone());
            }
            if let Ok(message) = ToClient::parse(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
