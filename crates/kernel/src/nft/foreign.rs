//! The forward chain that iptables-nft(8) makes, and Docker, ufw and people fill: whether it drops what nobody speaks for,
//! and a word for our own bridges in it. Rules of ours are known by their comment.

use rustix::io::Errno;

use super::query::{absent_is_none, be32, find, parse_comment};
use super::*;
use crate::netlink::NLM_F_DUMP;

const TABLE: &str = "filter";
const FORWARD: &str = "FORWARD";
/// Docker asks this chain first, and leaves it to others.
const DOCKER_USER: &str = "DOCKER-USER";
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_USERDATA: u16 = 7;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ip = 2,
    Ip6 = 10,
}

/// The chain to speak in; none where nothing is dropped by default.
pub fn dropping(socket: &Socket, family: Family) -> Result<Option<&'static str>, Failure> {
    match policy(socket, family, FORWARD)? {
        Some(Some(policy)) if policy == libc::NF_DROP as u32 => {}
        _ => return Ok(None),
    }
    Ok(Some(if policy(socket, family, DOCKER_USER)?.is_some() { DOCKER_USER } else { FORWARD }))
}

/// `None` without such a chain; a chain that others jump to has no policy.
fn policy(socket: &Socket, family: Family, chain: &str) -> Result<Option<Option<u32>>, Failure> {
    let mut found = None;
    let question = |m: &mut Batch| {
        m.text(NFTA_CHAIN_TABLE, TABLE);
        m.text(NFTA_CHAIN_NAME, chain);
    };
    let answer = ask(socket, family, libc::NFT_MSG_GETCHAIN, 0, question, |message| {
        found = Some(find(message, NFTA_CHAIN_POLICY).map(be32));
    });
    absent_is_none(answer, found)
}

/// Handles of the rules with these comments, in both chains.
pub fn rules(
    socket: &Socket,
    family: Family,
    comments: &[String],
) -> Result<Vec<(&'static str, u64, String)>, Failure> {
    let mut all = Vec::new();
    for chain in [FORWARD, DOCKER_USER] {
        let mut found = Vec::new();
        let question = |m: &mut Batch| {
            m.text(NFTA_RULE_TABLE, TABLE);
            m.text(NFTA_RULE_CHAIN, chain);
        };
        let answer = ask(socket, family, libc::NFT_MSG_GETRULE, NLM_F_DUMP, question, |message| {
            let comment = find(message, NFTA_RULE_USERDATA).map(parse_comment).unwrap_or_default();
            let handle = find(message, NFTA_RULE_HANDLE).and_then(|value| value.first_chunk());
            // A kernel that does not sort by chain tells of all.
            if let (true, Some(handle)) = (comments.contains(&comment), handle) {
                found.push((chain, u64::from_be_bytes(*handle), comment));
            }
        });
        if absent_is_none(answer, Some(()))?.is_some() {
            all.append(&mut found);
        }
    }
    Ok(all)
}

/// Puts a rule before all others.
pub fn insert(
    socket: &Socket,
    family: Family,
    chain: &str,
    text: &str,
    expressions: &[Expression],
) -> Result<(), Failure> {
    let mut transaction = Transaction::new(None);
    transaction.0.message(kind_of(libc::NFT_MSG_NEWRULE), NLM_F_CREATE, |m| {
        m.raw(&[family as u8, 0, 0, 0]);
        m.text(NFTA_RULE_TABLE, TABLE);
        m.text(NFTA_RULE_CHAIN, chain);
        m.nest(NFTA_RULE_EXPRESSIONS, |m| {
            for expression in expressions {
                m.nest(NFTA_LIST_ELEM, |m| expression.encode(m));
            }
        });
        m.bytes(NFTA_RULE_USERDATA, &comment(text));
    });
    socket.send(&transaction.finish()?)
}

pub fn delete(socket: &Socket, family: Family, chain: &str, handle: u64) -> Result<(), Failure> {
    let mut transaction = Transaction::new(None);
    transaction.0.message(kind_of(libc::NFT_MSG_DELRULE), 0, |m| {
        m.raw(&[family as u8, 0, 0, 0]);
        m.text(NFTA_RULE_TABLE, TABLE);
        m.text(NFTA_RULE_CHAIN, chain);
        m.bytes(NFTA_RULE_HANDLE, &handle.to_be_bytes());
    });
    match socket.send(&transaction.finish()?) {
        Err(failure) if failure.errno != Errno::NOENT => Err(failure),
        _ => Ok(()),
    }
}

fn ask(
    socket: &Socket,
    family: Family,
    kind: i32,
    flags: u16,
    fill: impl FnOnce(&mut Batch),
    each: impl FnMut(&crate::netlink::Message),
) -> Result<(), Failure> {
    let mut batch = Batch::new();
    batch.control(kind_of(kind), flags, |m| {
        m.raw(&[family as u8, 0, 0, 0]);
        fill(m);
    });
    socket.ask(&batch.finish()?, each)
}
