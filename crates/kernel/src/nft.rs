//! nftables over nfnetlink: tables of family `inet`, made and changed by atomic transactions; no external program.
//!
//! A transaction is finished into bytes like any [`Batch`] and sent by [`Socket::send`]: all of it takes effect, or
//! nothing. The expressions that rules are made of are in [`expression`], questions to the kernel in [`query`].
//! See nft(8); message shapes are those of linux/netfilter/nf_tables.h.

pub mod expression;
pub mod foreign;
pub mod kept;
pub mod query;

pub use expression::Expression;

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use crate::netlink::{Batch, Failure, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, Socket};

const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_NFTABLES as u16;
const INET: u8 = libc::NFPROTO_INET as u8;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFT_SET_INTERVAL: u32 = 4;
const NFT_SET_MAP: u32 = 8;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFNL_BATCH_GENID: u16 = 1;
/// The type byte of a comment in a table's user data, libnftnl's NFTNL_UDATA_TABLE_COMMENT.
const UDATA_COMMENT: u8 = 0;
/// User data that nft(8) keeps with a set: the order of the bytes in its keys, where it is the machine's.
const UDATA_KEY_BYTE_ORDER: u8 = 0;
const HOST_ORDER: u8 = 1;
/// Elements in one message: far from the 64 KiB that a list may have.
const ELEMENTS_PER_MESSAGE: usize = 400;

/// A whole table of family `inet`, described once: bytes for the kernel and text for people come from the same value.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    pub name: String,
    /// Up to 126 bytes. Two tables with the same comment are taken to be equal.
    pub comment: String,
    pub sets: Vec<Set>,
    pub chains: Vec<Chain>,
}

/// A set, or a map when it has `data`. A key of several fields is a concatenation.
#[derive(Debug, Clone, PartialEq)]
pub struct Set {
    pub name: &'static str,
    pub key: &'static [Field],
    pub data: &'static [Field],
    /// Its elements are ranges: see [`Element::range`].
    pub interval: bool,
    pub elements: Vec<Element>,
}

/// Key and data as the kernel lays them out: see [`Element::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub key: Vec<u8>,
    /// The first key behind a range that begins with `key`; none: just the one key.
    pub end: Option<Vec<u8>>,
    /// Empty in a set.
    pub data: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    pub name: &'static str,
    /// None: a chain that others jump to.
    pub hook: Option<Hook>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hook {
    pub kind: Kind,
    pub hook: HookPoint,
    pub priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Filter,
    Nat,
}

/// Values of `enum nf_inet_hooks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// A rule in nft's words and in the kernel's. A test asks nft whether both say the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub text: &'static str,
    pub expressions: Vec<Expression>,
}

/// A type of nft's type system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    Ipv4,
    Ipv6,
    Protocol,
    Port,
    Ifname,
}

impl Field {
    /// nft's number for the type. The kernel only keeps it, nft needs it to print an element.
    fn number(self) -> u32 {
        match self {
            Field::Ipv4 => 7,
            Field::Ipv6 => 8,
            Field::Protocol => 12,
            Field::Port => 13,
            Field::Ifname => 41,
        }
    }

    /// Bytes of a value; in a concatenation each is filled up to a multiple of four.
    pub fn length(self) -> usize {
        match self {
            Field::Ipv4 => 4,
            Field::Ipv6 | Field::Ifname => 16,
            Field::Protocol => 1,
            Field::Port => 2,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Field::Ipv4 => "ipv4_addr",
            Field::Ipv6 => "ipv6_addr",
            Field::Protocol => "inet_proto",
            Field::Port => "inet_service",
            Field::Ifname => "ifname",
        }
    }
}

impl Field {
    /// A value in nft's words; more bytes than the value has are padding, fewer are shown as they are.
    pub fn show(self, value: &[u8]) -> String {
        match (self, value) {
            (Field::Ipv4, [a, b, c, d, ..]) => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
            (Field::Protocol, [6, ..]) => "tcp".into(),
            (Field::Protocol, [17, ..]) => "udp".into(),
            (Field::Protocol, [132, ..]) => "sctp".into(),
            (Field::Port, [high, low, ..]) => u16::from_be_bytes([*high, *low]).to_string(),
            (Field::Ifname, name) => {
                let name = name.split(|byte| *byte == 0).next().unwrap_or(name);
                format!("\"{}\"", String::from_utf8_lossy(name))
            }
            (Field::Ipv6, value) if let Some(octets) = value.first_chunk::<16>() => {
                Ipv6Addr::from(*octets).to_string()
            }
            (_, value) => format!("{value:?}"),
        }
    }
}

impl Element {
    /// `key` and `data` are lists of values in network byte order; each is filled up to a multiple of four bytes.
    pub fn new(key: &[&[u8]], data: &[&[u8]]) -> Element {
        Element { key: concatenate(key), end: None, data: concatenate(data) }
    }

    /// The keys from `first` to the one before `end`, for a set with `interval`.
    pub fn range(first: &[u8], end: &[u8]) -> Element {
        Element { key: first.to_vec(), end: Some(end.to_vec()), data: Vec::new() }
    }
}

/// An interface name as a value of [`Field::Ifname`]: 16 bytes with zeros behind.
pub fn ifname(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let length = name.len().min(15);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    bytes
}

/// Changes that happen together or not at all.
#[derive(Debug)]
pub struct Transaction(Batch);

impl Transaction {
    /// With `generation` the transaction fails with `ERESTART` when any table of the namespace changed since
    /// [`query::generation`] gave that number.
    pub fn new(generation: Option<u32>) -> Transaction {
        let mut batch = Batch::new();
        batch.control(libc::NFNL_MSG_BATCH_BEGIN as u16, 0, |m| {
            m.raw(&mark());
            if let Some(generation) = generation {
                m.be32(NFNL_BATCH_GENID, generation);
            }
        });
        Transaction(batch)
    }

    /// The bytes for [`Socket::send`]. Errors: `EMSGSIZE`.
    pub fn finish(mut self) -> Result<Vec<u8>, Errno> {
        self.0.ask_acknowledgement();
        self.0.control(libc::NFNL_MSG_BATCH_END as u16, 0, |m| m.raw(&mark()));
        self.0.finish()
    }

    /// Everything that `table` describes. Fails with `EEXIST` when there is a table of that name.
    pub fn create(&mut self, table: &Table) {
        self.message(libc::NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |m| {
            m.text(NFTA_TABLE_NAME, &table.name);
            m.bytes(NFTA_TABLE_USERDATA, &comment(&table.comment));
        });
        for (id, set) in (1..).zip(&table.sets) {
            self.create_set(&table.name, id, set);
        }
        for chain in &table.chains {
            self.create_chain(&table.name, chain);
        }
        for chain in &table.chains {
            for rule in &chain.rules {
                self.create_rule(&table.name, chain.name, &rule.expressions);
            }
        }
        for set in &table.sets {
            self.add_elements(&table.name, set.name, &set.elements);
        }
    }

    /// Fails with `ENOENT` when there is none.
    pub fn delete_table(&mut self, name: &str) {
        self.message(libc::NFT_MSG_DELTABLE, 0, |m| m.text(NFTA_TABLE_NAME, name));
    }

    /// Fails with `EEXIST` when the key is there with other data, with `ENOENT` without such a set.
    pub fn add_elements(&mut self, table: &str, set: &str, elements: &[Element]) {
        self.elements(libc::NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, set, elements);
    }

    /// Goes by the key alone. Fails with `ENOENT` when one of them is not there.
    pub fn delete_elements(&mut self, table: &str, set: &str, elements: &[Element]) {
        self.elements(libc::NFT_MSG_DELSETELEM, 0, table, set, elements);
    }

    fn elements(&mut self, kind: i32, flags: u16, table: &str, set: &str, elements: &[Element]) {
        let with_data = kind == libc::NFT_MSG_NEWSETELEM;
        for elements in elements.chunks(ELEMENTS_PER_MESSAGE) {
            self.message(kind, flags, |m| fill_elements(m, table, set, elements, with_data));
        }
    }

    fn create_set(&mut self, table: &str, id: u32, set: &Set) {
        self.message(libc::NFT_MSG_NEWSET, NLM_F_CREATE, |m| {
            m.text(NFTA_SET_TABLE, table);
            m.text(NFTA_SET_NAME, set.name);
            let map = if set.data.is_empty() { 0 } else { NFT_SET_MAP };
            m.be32(NFTA_SET_FLAGS, map | if set.interval { NFT_SET_INTERVAL } else { 0 });
            let (kind, length) = concatenation(set.key);
            m.be32(NFTA_SET_KEY_TYPE, kind);
            m.be32(NFTA_SET_KEY_LEN, length);
            if !set.data.is_empty() {
                let (kind, length) = concatenation(set.data);
                m.be32(NFTA_SET_DATA_TYPE, kind);
                m.be32(NFTA_SET_DATA_LEN, length);
            }
            m.be32(NFTA_SET_ID, id);
            if set.key == [Field::Ifname] {
                // a name is read from its start: without this note nft prints it from its end
                m.bytes(NFTA_SET_USERDATA, &[UDATA_KEY_BYTE_ORDER, 4, HOST_ORDER, 0, 0, 0]);
            }
        });
    }

    fn create_chain(&mut self, table: &str, chain: &Chain) {
        self.message(libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE, |m| {
            m.text(NFTA_CHAIN_TABLE, table);
            m.text(NFTA_CHAIN_NAME, chain.name);
            let Some(hook) = chain.hook else { return };
            m.text(NFTA_CHAIN_TYPE, hook.kind.name());
            m.be32(NFTA_CHAIN_POLICY, libc::NF_ACCEPT as u32);
            m.nest(NFTA_CHAIN_HOOK, |m| {
                m.be32(NFTA_HOOK_HOOKNUM, hook.hook as u32);
                m.be32(NFTA_HOOK_PRIORITY, hook.priority as u32);
            });
        });
    }

    fn create_rule(&mut self, table: &str, chain: &str, expressions: &[Expression]) {
        self.message(libc::NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |m| {
            m.text(NFTA_RULE_TABLE, table);
            m.text(NFTA_RULE_CHAIN, chain);
            m.nest(NFTA_RULE_EXPRESSIONS, |m| {
                for expression in expressions {
                    m.nest(NFTA_LIST_ELEM, |m| expression.encode(m));
                }
            });
        });
    }

    fn message(&mut self, kind: i32, flags: u16, fill: impl FnOnce(&mut Batch)) {
        self.0.message(kind_of(kind), flags, |m| {
            m.raw(&[INET, 0, 0, 0]);
            fill(m);
        });
    }
}

/// Sends one finished transaction.
pub fn commit(transaction: &[u8]) -> Result<(), Failure> {
    kept::with(|socket| socket.send(transaction))?
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        }
    }
}

impl HookPoint {
    pub fn name(self) -> &'static str {
        match self {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
        }
    }
}

fn fill_elements(m: &mut Batch, table: &str, set: &str, elements: &[Element], with_data: bool) {
    m.text(NFTA_SET_ELEM_LIST_TABLE, table);
    m.text(NFTA_SET_ELEM_LIST_SET, set);
    m.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |m| {
        for element in elements {
            m.nest(NFTA_LIST_ELEM, |m| {
                m.nest(NFTA_SET_ELEM_KEY, |m| m.bytes(NFTA_DATA_VALUE, &element.key));
                if with_data && !element.data.is_empty() {
                    m.nest(NFTA_SET_ELEM_DATA, |m| m.bytes(NFTA_DATA_VALUE, &element.data));
                }
            });
            if let Some(end) = &element.end {
                m.nest(NFTA_LIST_ELEM, |m| {
                    m.nest(NFTA_SET_ELEM_KEY, |m| m.bytes(NFTA_DATA_VALUE, end));
                    m.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
                });
            }
        }
    });
}

fn kind_of(kind: i32) -> u16 {
    SUBSYSTEM << 8 | kind as u16
}

/// `struct nfgenmsg` of the messages around a transaction: it names the subsystem in network byte order.
fn mark() -> [u8; 4] {
    [libc::AF_UNSPEC as u8, 0, 0, SUBSYSTEM as u8]
}

fn comment(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(126)];
    [&[UDATA_COMMENT, text.len() as u8 + 1], text, &[0]].concat()
}

fn concatenation(fields: &[Field]) -> (u32, u32) {
    match fields {
        [one] => (one.number(), one.length() as u32),
        _ => fields.iter().fold((0, 0), |(kind, length), field| {
            (kind << 6 | field.number(), length + field.length().next_multiple_of(4) as u32)
        }),
    }
}

fn concatenate(values: &[&[u8]]) -> Vec<u8> {
    if let [one] = values {
        return one.to_vec();
    }
    let mut bytes = Vec::with_capacity(36);
    for value in values {
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_concatenations_are_nfts() {
        assert_eq!(concatenation(&[Field::Ifname]), (0x29, 16));
        assert_eq!(concatenation(&[Field::Ifname, Field::Ifname]), (0xa69, 32));
        assert_eq!(concatenation(&[Field::Ipv4, Field::Protocol, Field::Port]), (0x730d, 12));
        assert_eq!(concatenation(&[Field::Ipv4, Field::Port]), (0x1cd, 8));
    }

    #[test]
    fn elements_are_filled_to_four_bytes() {
        let element = Element::new(&[&[6], &8080u16.to_be_bytes()], &[&[10, 77, 0, 2], &80u16.to_be_bytes()]);
        assert_eq!(element.key, [6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(element.data, [10, 77, 0, 2, 0, 80, 0, 0]);
        assert_eq!(comment("ab"), [0, 3, b'a', b'b', 0]);
    }
}
