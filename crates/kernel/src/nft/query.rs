//! What nftables tells: generation, tables, elements. Each question takes about 20 µs.

use rustix::io::Errno;

use super::*;
use crate::netlink::{Attributes, Message, NLM_F_DUMP};

const NFTA_GEN_ID: u16 = 1;
const NFTA_TABLE_USE: u16 = 3;
const NFTA_CHAIN_USE: u16 = 6;

/// What a look at a table shows, enough to see that somebody emptied or replaced it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub comment: String,
    /// Chains and sets in it.
    pub objects: u32,
}

/// A number that changes with every transaction of this network namespace.
pub fn generation(socket: &Socket) -> Result<u32, Failure> {
    let mut generation = 0;
    ask(
        socket,
        libc::NFT_MSG_GETGEN,
        0,
        |_| {},
        |message| {
            generation = find(message, NFTA_GEN_ID).map_or(0, be32);
        },
    )?;
    Ok(generation)
}

pub fn table(socket: &Socket, name: &str) -> Result<Option<Found>, Failure> {
    let mut found = None;
    let answer = ask(
        socket,
        libc::NFT_MSG_GETTABLE,
        0,
        |m| m.text(NFTA_TABLE_NAME, name),
        |message| {
            let comment = find(message, NFTA_TABLE_USERDATA).map(parse_comment).unwrap_or_default();
            found = Some(Found { comment, objects: find(message, NFTA_TABLE_USE).map_or(0, be32) });
        },
    );
    absent_is_none(answer, found)
}

/// How many rules a chain has (jumps to it count as well); none when there is no such chain.
pub fn rules(socket: &Socket, table: &str, chain: &str) -> Result<Option<u32>, Failure> {
    let mut found = None;
    let question = |m: &mut Batch| {
        m.text(NFTA_CHAIN_TABLE, table);
        m.text(NFTA_CHAIN_NAME, chain);
    };
    let answer = ask(socket, libc::NFT_MSG_GETCHAIN, 0, question, |message| {
        found = Some(find(message, NFTA_CHAIN_USE).map_or(0, be32));
    });
    absent_is_none(answer, found)
}

/// The element with this key, with its data; none also when there is no such set or table. Not for ranges.
pub fn element(socket: &Socket, table: &str, set: &str, key: &[u8]) -> Result<Option<Element>, Failure> {
    let wanted = [Element { key: key.to_vec(), end: None, data: Vec::new() }];
    let mut found = None;
    let question = |m: &mut Batch| fill_elements(m, table, set, &wanted, false);
    let answer = ask(socket, libc::NFT_MSG_GETSETELEM, 0, question, |message| {
        found = parse_elements(message).next().map(|(element, _)| element);
    });
    absent_is_none(answer, found)
}

/// All elements of a set, ranges put together from their two ends.
pub fn elements(socket: &Socket, table: &str, set: &str) -> Result<Vec<Element>, Failure> {
    let mut found = Vec::new();
    let question = |m: &mut Batch| {
        m.text(NFTA_SET_ELEM_LIST_TABLE, table);
        m.text(NFTA_SET_ELEM_LIST_SET, set);
    };
    ask(socket, libc::NFT_MSG_GETSETELEM, NLM_F_DUMP, question, |message| {
        found.extend(parse_elements(message))
    })?;
    let (ends, mut elements): (Vec<_>, Vec<_>) = found.into_iter().partition(|(_, is_end)| *is_end);
    for (element, _) in elements.iter_mut().filter(|_| !ends.is_empty()) {
        let behind = ends.iter().map(|(end, _)| &end.key).filter(|key| **key > element.key);
        element.end = behind.min().cloned();
    }
    Ok(elements.into_iter().map(|(element, _)| element).collect())
}

fn ask(
    socket: &Socket,
    kind: i32,
    flags: u16,
    fill: impl FnOnce(&mut Batch),
    each: impl FnMut(&Message),
) -> Result<(), Failure> {
    let mut batch = Batch::new();
    batch.control(kind_of(kind), flags, |m| {
        m.raw(&[INET, 0, 0, 0]);
        fill(m);
    });
    socket.ask(&batch.finish()?, each)
}

pub(super) fn absent_is_none<T>(answer: Result<(), Failure>, found: Option<T>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(()) => Ok(found),
        Err(failure) if failure.errno == Errno::NOENT => Ok(None),
        Err(failure) => Err(failure),
    }
}

pub(super) fn find<'a>(message: &'a Message, wanted: u16) -> Option<&'a [u8]> {
    message.attributes(4).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// Each with whether it is the end of a range.
fn parse_elements<'a>(message: &'a Message) -> impl Iterator<Item = (Element, bool)> + 'a {
    let list = find(message, NFTA_SET_ELEM_LIST_ELEMENTS).unwrap_or(&[]);
    Attributes(list).map(|(_, element)| {
        let value = |wanted| {
            let nested = Attributes(element).find(|(kind, _)| *kind == wanted)?.1;
            Attributes(nested).find(|(kind, _)| *kind == NFTA_DATA_VALUE).map(|(_, value)| value.to_vec())
        };
        let flags =
            Attributes(element).find(|(kind, _)| *kind == NFTA_SET_ELEM_FLAGS).map_or(0, |a| be32(a.1));
        let key = value(NFTA_SET_ELEM_KEY).unwrap_or_default();
        let element = Element { key, end: None, data: value(NFTA_SET_ELEM_DATA).unwrap_or_default() };
        (element, flags & NFT_SET_ELEM_INTERVAL_END != 0)
    })
}

pub(super) fn parse_comment(userdata: &[u8]) -> String {
    match userdata {
        [UDATA_COMMENT, length, text @ ..] => {
            let text = &text[..text.len().min(usize::from(*length))];
            String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()
        }
        _ => String::new(),
    }
}

pub(super) fn be32(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}
