//! The expressions that nftables rules are made of, as `nft --debug=netlink` prints them.

use crate::netlink::Batch;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFT_REG_VERDICT: u32 = 0;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_PAYLOAD_CSUM_INET: u32 = 1;
const NFTA_FIB_F_DADDR: u32 = 2;
const NFTA_FIB_F_IIF: u32 = 8;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFT_NAT_DNAT: u32 = 1;

/// A register: 1 to 4 are 16 bytes wide, 8 to 23 are the same memory in pieces of 4 (8 is where 1 begins).
pub type Register = u32;

/// One instruction of a rule. A comparison or a lookup that fails ends the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    Meta {
        key: Meta,
        to: Register,
    },
    /// `length` bytes of the packet.
    Payload {
        header: Header,
        offset: u32,
        length: u32,
        to: Register,
    },
    Compare {
        operator: Operator,
        from: Register,
        value: Vec<u8>,
    },
    /// Keeps the bits of `mask`.
    Mask {
        register: Register,
        mask: u32,
    },
    /// In a set, or in a map when there is a register for its data.
    Lookup {
        set: &'static str,
        from: Register,
        data: Option<Register>,
        inverted: bool,
    },
    Conntrack {
        key: Conntrack,
        to: Register,
    },
    /// The type (RTN_…) of the packet's destination address, as the routing table sees it; with `here` only the link
    /// counts that the packet came in by.
    DestinationType {
        here: bool,
        to: Register,
    },
    /// Destination NAT to an address and a port. `family`: NFPROTO_IPV4 or NFPROTO_IPV6.
    Dnat {
        family: u32,
        address: Register,
        port: Register,
    },
    Masquerade,
    /// Counts what comes so far.
    Counter,
    /// A constant into a register.
    Immediate {
        to: Register,
        value: Vec<u8>,
    },
    /// Bytes of the transport header, and the checksum with them.
    SetTransport {
        from: Register,
        offset: u32,
        length: u32,
        checksum_offset: u32,
    },
    Verdict(Verdict),
}

/// Values of `enum nft_meta_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meta {
    Iifname = 6,
    Oifname = 7,
    Nfproto = 15,
    L4proto = 16,
    Pkttype = 19,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Network,
    Transport,
}

/// Values of `enum nft_cmp_ops`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal = 0,
    NotEqual = 1,
}

/// Values of `enum nft_ct_keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conntrack {
    State = 0,
    Status = 2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(&'static str),
}

impl Expression {
    pub(super) fn encode(&self, m: &mut Batch) {
        match self {
            Expression::Meta { key, to } => data(m, "meta", |m| numbers(m, &[(2, *key as u32), (1, *to)])),
            Expression::Payload { header, offset, length, to } => data(m, "payload", |m| {
                let base = match header {
                    Header::Network => NFT_PAYLOAD_NETWORK_HEADER,
                    Header::Transport => NFT_PAYLOAD_TRANSPORT_HEADER,
                };
                numbers(m, &[(1, *to), (2, base), (3, *offset), (4, *length)]);
            }),
            Expression::Compare { operator, from, value } => data(m, "cmp", |m| {
                numbers(m, &[(1, *from), (2, *operator as u32)]);
                m.nest(3, |m| m.bytes(NFTA_DATA_VALUE, value));
            }),
            Expression::Mask { register, mask } => data(m, "bitwise", |m| {
                numbers(m, &[(1, *register), (2, *register), (3, 4)]);
                m.nest(4, |m| m.u32(NFTA_DATA_VALUE, *mask));
                m.nest(5, |m| m.u32(NFTA_DATA_VALUE, 0));
            }),
            Expression::Lookup { set, from, data: to, inverted } => data(m, "lookup", |m| {
                m.text(1, set);
                m.be32(2, *from);
                if let Some(to) = to {
                    m.be32(3, *to);
                }
                if *inverted {
                    m.be32(5, 1);
                }
            }),
            Expression::Conntrack { key, to } => data(m, "ct", |m| numbers(m, &[(2, *key as u32), (1, *to)])),
            Expression::DestinationType { here, to } => data(m, "fib", |m| {
                let flags = if *here { NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF } else { NFTA_FIB_F_DADDR };
                numbers(m, &[(3, flags), (2, NFT_FIB_RESULT_ADDRTYPE), (1, *to)]);
            }),
            Expression::Dnat { family, address, port } => data(m, "nat", |m| {
                numbers(m, &[(1, NFT_NAT_DNAT), (2, *family), (3, *address), (5, *port)]);
            }),
            Expression::Masquerade => data(m, "masq", |_| {}),
            Expression::Counter => data(m, "counter", |m| {
                m.bytes(1, &0u64.to_be_bytes());
                m.bytes(2, &0u64.to_be_bytes());
            }),
            Expression::Immediate { to, value } => data(m, "immediate", |m| {
                m.be32(1, *to);
                m.nest(2, |m| m.bytes(NFTA_DATA_VALUE, value));
            }),
            Expression::SetTransport { from, offset, length, checksum_offset } => data(m, "payload", |m| {
                numbers(m, &[(2, NFT_PAYLOAD_TRANSPORT_HEADER), (3, *offset), (4, *length), (5, *from)]);
                numbers(m, &[(6, NFT_PAYLOAD_CSUM_INET), (7, *checksum_offset)]);
            }),
            Expression::Verdict(verdict) => data(m, "immediate", |m| {
                m.be32(1, NFT_REG_VERDICT);
                m.nest(2, |m| m.nest(NFTA_DATA_VERDICT, |m| verdict.encode(m)));
            }),
        }
    }
}

impl Verdict {
    fn encode(self, m: &mut Batch) {
        match self {
            Verdict::Accept => m.be32(NFTA_VERDICT_CODE, libc::NF_ACCEPT as u32),
            Verdict::Drop => m.be32(NFTA_VERDICT_CODE, libc::NF_DROP as u32),
            Verdict::Return => m.be32(NFTA_VERDICT_CODE, libc::NFT_RETURN as u32),
            Verdict::Jump(chain) => {
                m.be32(NFTA_VERDICT_CODE, libc::NFT_JUMP as u32);
                m.text(NFTA_VERDICT_CHAIN, chain);
            }
        }
    }
}

fn data(m: &mut Batch, name: &str, fill: impl FnOnce(&mut Batch)) {
    m.text(NFTA_EXPR_NAME, name);
    m.nest(NFTA_EXPR_DATA, fill);
}

fn numbers(m: &mut Batch, attributes: &[(u16, u32)]) {
    for (kind, value) in attributes {
        m.be32(*kind, *value);
    }
}
