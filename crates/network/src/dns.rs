//! Messages of the domain name system, as far as names of containers need them: one question is read, an answer is
//! written, and everything else is somebody else's. See RFC 1035.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest datagram that a client without EDNS takes.
pub const DATAGRAM: usize = 512;
const HEADER: usize = 12;
/// Seconds: containers come and go.
const TTL: u32 = 5;

const A: u16 = 1;
const PTR: u16 = 12;
const AAAA: u16 = 28;
const OPT: u16 = 41;
const ANY: u16 = 255;
const IN: u16 = 1;

/// How a question ends without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Good = 0,
    Malformed = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
}

/// What is known here.
pub trait Zone {
    /// The addresses of a name, in lower case; none where it is not one of ours.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// The name of an address. `None`: the address is not ours; `Some(None)`: it is, and nobody has it.
    fn name(&self, address: IpAddr) -> Option<Option<String>>;
}

/// What is to be done with a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Send this.
    Answer(Vec<u8>),
    /// Ask somebody else.
    Forward,
    /// It is no question, and an answer could only do harm.
    Silence,
}

/// The question of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Question {
    /// In lower case, without the final dot; none where it has other letters than names of containers have.
    name: Option<String>,
    kind: u16,
    class: u16,
    /// Where the question ends.
    end: usize,
}

/// Answers a question from `zone`, in a message of at most `most` bytes, or of as many as the client says that it takes (EDNS,
/// RFC 6891), to 4096. `turn` tells which of several addresses is first.
pub fn answer(query: &[u8], zone: &dyn Zone, most: usize, turn: usize) -> Reply {
    let Some(header) = query.first_chunk::<HEADER>() else { return Reply::Silence };
    let (response, opcode) = (header[2] & 0x80 != 0, header[2] >> 3 & 0xf);
    if response {
        return Reply::Silence;
    }
    if opcode != 0 {
        return Reply::Answer(short(query, Code::NotImplemented));
    }
    let question = match (number(query, 4), parse(query)) {
        (1, Some(question)) => question,
        _ => return Reply::Answer(short(query, Code::Malformed)),
    };
    let (Some(name), IN) = (&question.name, question.class) else { return Reply::Forward };
    if let Some(address) = pointer(name) {
        let Some(found) = zone.name(address) else { return Reply::Forward };
        let mut message = begin(query, question.end, Code::Good);
        match found {
            Some(name) if matches!(question.kind, PTR | ANY) => {
                add(&mut message, PTR, &encode(&name));
            }
            Some(_) => {}
            None => message = begin(query, question.end, Code::NoSuchName),
        }
        return Reply::Answer(message);
    }
    let Some(mut addresses) = zone.addresses(name) else { return Reply::Forward };
    let most = most.max(edns_size(query, question.end).min(most.max(4096)));
    let mut message = begin(query, question.end, Code::Good);
    if !addresses.is_empty() {
        let turn = turn % addresses.len();
        addresses.rotate_left(turn);
    }
    for address in addresses {
        let (kind, data) = match address {
            IpAddr::V4(address) => (A, address.octets().to_vec()),
            IpAddr::V6(address) => (AAAA, address.octets().to_vec()),
        };
        // A part of many addresses is as good as all.
        if matches!(question.kind, ANY) || question.kind == kind {
            if message.len() + 12 + data.len() > most {
                break;
            }
            add(&mut message, kind, &data);
        }
    }
    Reply::Answer(message)
}

/// An answer without one: the header and the question, where it can be read.
pub fn refuse(query: &[u8], code: Code) -> Option<Vec<u8>> {
    let question = (query.len() >= HEADER).then(|| parse(query)).flatten();
    question.map(|question| begin(query, question.end, code))
}

/// Whether `reply` answers `query`, which was sent with the id `id`: what a stranger guesses must match all of it.
pub fn answers(reply: &[u8], query: &[u8], id: u16) -> bool {
    let (Some(asked), Some(told)) = (parse(query), parse(reply)) else { return false };
    reply.len() >= HEADER
        && reply[2] & 0x80 != 0
        && number(reply, 0) == id
        && number(reply, 4) == 1
        && reply[HEADER..told.end].eq_ignore_ascii_case(&query[HEADER..asked.end])
}

/// Gives a message another id.
pub fn set_id(message: &mut [u8], id: u16) {
    if let Some(place) = message.first_chunk_mut::<2>() {
        *place = id.to_be_bytes();
    }
}

pub fn id(message: &[u8]) -> u16 {
    number(message, 0)
}

/// Two bytes as a number; 0 behind the end.
fn number(message: &[u8], at: usize) -> u16 {
    match message.get(at..at + 2) {
        Some(bytes) => u16::from_be_bytes([bytes[0], bytes[1]]),
        None => 0,
    }
}

/// Reads the first question. A question is the first name of a message: nothing in it can point back.
fn parse(message: &[u8]) -> Option<Question> {
    let (mut at, mut name, mut plain) = (HEADER, String::new(), true);
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        if length > 63 {
            return None;
        }
        let label = message.get(at..at + length)?;
        at += length;
        if at - HEADER > 254 {
            return None;
        }
        plain &= label.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
    }
    let (kind, class) = (message.get(at..at + 2)?, message.get(at + 2..at + 4)?);
    let two = |bytes: &[u8]| u16::from_be_bytes([bytes[0], bytes[1]]);
    let name = (plain && !name.is_empty()).then_some(name);
    Some(Question { name, kind: two(kind), class: two(class), end: at + 4 })
}

/// The size of datagrams that the client takes, where it says so behind its question (RFC 6891); 0 where it does not.
fn edns_size(query: &[u8], end: usize) -> usize {
    let record = (query.get(end) == Some(&0)).then_some(end + 1);
    match record {
        Some(at) if number(query, at) == OPT => usize::from(number(query, at + 2)),
        _ => 0,
    }
}

/// The address that a name below `in-addr.arpa` or `ip6.arpa` stands for.
fn pointer(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let mut bytes = digits.split('.').map(|part| part.parse::<u8>().ok());
        let mut octets = [0; 4];
        for octet in octets.iter_mut().rev() {
            *octet = bytes.next()??;
        }
        return bytes.next().is_none().then(|| Ipv4Addr::from(octets).into());
    }
    let mut nibbles =
        name.strip_suffix(".ip6.arpa")?.split('.').map(|part| u128::from_str_radix(part, 16).ok());
    let mut value = 0u128;
    for at in 0..32 {
        value |= nibbles.next()?.filter(|nibble| *nibble < 16)? << (4 * at);
    }
    nibbles.next().is_none().then(|| Ipv6Addr::from(value).into())
}

/// Header and question of an answer.
fn begin(query: &[u8], end: usize, code: Code) -> Vec<u8> {
    let mut message = query[..end].to_vec();
    // A response, recursion as it was asked for and available, and one question.
    message[2] = 0x80 | query[2] & 0x79;
    message[3] = 0x80 | code as u8;
    message[4..HEADER].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    message
}

/// The header alone, for a question that could not be read.
fn short(query: &[u8], code: Code) -> Vec<u8> {
    let mut message = query[..HEADER].to_vec();
    message[2] = 0x80 | query[2] & 0x79;
    message[3] = 0x80 | code as u8;
    message[4..].fill(0);
    message
}

/// Appends a record of the name that was asked for.
fn add(message: &mut Vec<u8>, kind: u16, data: &[u8]) {
    const QUESTION: u16 = 0xc000 | HEADER as u16;
    for number in [QUESTION, kind, IN] {
        message.extend_from_slice(&number.to_be_bytes());
    }
    message.extend_from_slice(&TTL.to_be_bytes());
    message.extend_from_slice(&(data.len() as u16).to_be_bytes());
    message.extend_from_slice(data);
    let count = number(message, 6) + 1;
    message[6..8].copy_from_slice(&count.to_be_bytes());
}

/// A name as labels. What is too long for one is cut.
fn encode(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        if bytes.len() + label.len() > 250 {
            break;
        }
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label);
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests;
