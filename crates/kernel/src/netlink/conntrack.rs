//! The connections that the kernel tracks: listed, and forgotten one by one. See conntrack(8); message shapes are those of
//! linux/netfilter/nfnetlink_conntrack.h.

use std::net::IpAddr;

use rustix::io::Errno;

use super::dump::ip;
use super::{Attributes, Batch, Failure, Message, NLA_F_NESTED, NLM_F_DUMP, Socket};

const SUBSYSTEM: u16 = libc::NFNL_SUBSYS_CTNETLINK as u16;
const GET: u16 = SUBSYSTEM << 8 | 1;
const DELETE: u16 = SUBSYSTEM << 8 | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Of `CTA_FILTER_ORIG_FLAGS`: protocol and destination port count.
const BY_PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;
/// A bit of `enum ip_conntrack_status`.
const STATUS_DNAT: u32 = 1 << 5;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuple {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: u8,
    pub source_port: u16,
    pub destination_port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// As its first packet was sent, and as answers come back.
    pub original: Tuple,
    pub reply: Tuple,
    /// Its destination was changed.
    pub dnat: bool,
    raw: Vec<u8>,
}

/// The flows of a protocol to a port, over IPv4 or IPv6.
pub fn flows(socket: &Socket, ipv4: bool, protocol: u8, port: u16) -> Result<Vec<Flow>, Failure> {
    let mut batch = Batch::new();
    batch.control(GET, NLM_F_DUMP, |m| {
        m.raw(&header(ipv4));
        // A kernel before 5.8 knows no filter and tells all.
        m.nest(CTA_TUPLE_ORIG, |m| {
            m.nest(CTA_TUPLE_PROTO, |m| {
                m.u8(CTA_PROTO_NUM, protocol);
                m.bytes(CTA_PROTO_DST_PORT, &port.to_be_bytes());
            });
        });
        m.nest(CTA_FILTER, |m| m.u32(CTA_FILTER_ORIG_FLAGS, BY_PROTOCOL_AND_PORT));
    });
    let mut found = Vec::new();
    socket.ask(&batch.finish()?, |message| found.extend(parse(message)))?;
    let wanted = |flow: &Flow| flow.original.protocol == protocol && flow.original.destination_port == port;
    found.retain(wanted);
    Ok(found)
}

/// Forgets flows; one that has ended by itself is forgotten already.
pub fn forget(socket: &Socket, flows: &[Flow]) -> Result<(), Failure> {
    for flow in flows {
        let mut batch = Batch::new();
        batch.message(DELETE, 0, |m| {
            m.raw(&header(flow.original.source.is_ipv4()));
            m.bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, &flow.raw);
        });
        match socket.send(&batch.finish()?) {
            Err(failure) if failure.errno != Errno::NOENT => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// `struct nfgenmsg`
fn header(ipv4: bool) -> [u8; 4] {
    [if ipv4 { libc::AF_INET } else { libc::AF_INET6 } as u8, 0, 0, 0]
}

fn parse(message: &Message) -> Option<Flow> {
    let find = |wanted| message.attributes(4).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let raw = find(CTA_TUPLE_ORIG)?;
    let status = find(CTA_STATUS).and_then(|value| value.first_chunk()).map_or(0, |b| u32::from_be_bytes(*b));
    let reply = tuple(find(CTA_TUPLE_REPLY)?)?;
    Some(Flow { original: tuple(raw)?, reply, dnat: status & STATUS_DNAT != 0, raw: raw.to_vec() })
}

fn tuple(value: &[u8]) -> Option<Tuple> {
    let find = |list, wanted| Attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let (address, protocol) = (find(value, CTA_TUPLE_IP)?, find(value, CTA_TUPLE_PROTO)?);
    // Source and destination: 1 and 2 with IPv4, 3 and 4 with IPv6.
    let at = |four, six| ip(find(address, four).or_else(|| find(address, six))?);
    let port =
        |kind| find(protocol, kind).and_then(|value| value.first_chunk()).map(|b| u16::from_be_bytes(*b));
    Some(Tuple {
        source: at(1, 3)?,
        destination: at(2, 4)?,
        protocol: *find(protocol, CTA_PROTO_NUM)?.first()?,
        source_port: port(CTA_PROTO_SRC_PORT).unwrap_or(0),
        destination_port: port(CTA_PROTO_DST_PORT).unwrap_or(0),
    })
}
