//! What rtnetlink tells: the links, addresses and routes of the network namespace we are in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::{Attributes, Batch, Failure, Message, NLM_F_DUMP, Socket};

const IFA_F_PERMANENT: u8 = 0x80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    pub mtu: u32,
    pub mac: Option<[u8; 6]>,
    /// Index of the bridge that this link is a port of.
    pub master: Option<u32>,
    /// Index of its other end (of a cable, in the other end's namespace) or of what it is a part of.
    pub peer: Option<u32>,
    /// `bridge`, `veth`, …; none for a piece of hardware.
    pub kind: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub link: u32,
    pub address: IpAddr,
    pub prefix: u8,
    /// Given by somebody, for ever, and of use beyond the link.
    pub permanent: bool,
}

/// A route of the main table. A default route has prefix 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub destination: IpAddr,
    pub prefix: u8,
    pub gateway: Option<IpAddr>,
    pub link: Option<u32>,
}

pub fn links() -> Result<Vec<Link>, Failure> {
    dump(libc::RTM_GETLINK, &[0; 16], |message| {
        let header: &[u8; 16] = message.body.first_chunk()?;
        let flags = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let mut link = Link {
            index: u32::from_ne_bytes([header[4], header[5], header[6], header[7]]),
            name: String::new(),
            up: flags & libc::IFF_UP as u32 != 0,
            mtu: 0,
            mac: None,
            master: None,
            peer: None,
            kind: None,
        };
        for (kind, value) in message.attributes(16) {
            match kind {
                libc::IFLA_IFNAME => link.name = text(value),
                libc::IFLA_MTU => link.mtu = number(value)?,
                libc::IFLA_ADDRESS => link.mac = value.try_into().ok(),
                libc::IFLA_MASTER => link.master = number(value),
                libc::IFLA_LINK => link.peer = number(value),
                libc::IFLA_LINKINFO => {
                    link.kind =
                        Attributes(value).find(|(kind, _)| *kind == libc::IFLA_INFO_KIND).map(|a| text(a.1));
                }
                _ => {}
            }
        }
        Some(link)
    })
}

pub fn addresses() -> Result<Vec<Address>, Failure> {
    dump(libc::RTM_GETADDR, &[0; 8], |message| {
        let header: &[u8; 8] = message.body.first_chunk()?;
        let link = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        let found = |wanted| message.attributes(8).find(|(kind, _)| *kind == wanted);
        let (_, value) = found(libc::IFA_LOCAL).or_else(|| found(libc::IFA_ADDRESS))?;
        let permanent = header[2] & IFA_F_PERMANENT != 0 && header[3] < libc::RT_SCOPE_LINK;
        Some(Address { link, address: ip(value)?, prefix: header[1], permanent })
    })
}

pub fn routes() -> Result<Vec<Route>, Failure> {
    dump(libc::RTM_GETROUTE, &[0; 12], |message| {
        let header: &[u8; 12] = message.body.first_chunk()?;
        let destination = match i32::from(header[0]) {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return None,
        };
        if header[4] != libc::RT_TABLE_MAIN {
            return None;
        }
        let mut route = Route { destination, prefix: header[1], gateway: None, link: None };
        for (kind, value) in message.attributes(12) {
            match kind {
                libc::RTA_DST => route.destination = ip(value)?,
                libc::RTA_GATEWAY => route.gateway = ip(value),
                libc::RTA_OIF => route.link = number(value),
                _ => {}
            }
        }
        Some(route)
    })
}

/// A list that changed while the kernel wrote it down is asked for again, a few times.
fn dump<T>(kind: u16, header: &[u8], parse: impl Fn(&Message) -> Option<T>) -> Result<Vec<T>, Failure> {
    let socket = Socket::route()?;
    let mut batch = Batch::new();
    batch.control(kind, NLM_F_DUMP, |m| m.raw(header));
    let request = batch.finish()?;
    let mut attempt = 0;
    loop {
        let mut found = Vec::new();
        match socket.ask(&request, |message| found.extend(parse(message))) {
            Ok(()) => return Ok(found),
            Err(failure) if failure.errno == Errno::INTR && attempt < 10 => attempt += 1,
            Err(failure) => return Err(failure),
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
        _ => None,
    }
}
