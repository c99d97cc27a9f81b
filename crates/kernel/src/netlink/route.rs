//! Messages of rtnetlink(7) that make links, addresses and routes. Each function appends to a batch; none sends.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use super::{Batch, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

/// The index that the loopback device has in every network namespace.
pub const LOOPBACK: u32 = 1;
/// The longest name of a link, in bytes (IFNAMSIZ without its zero).
pub const NAME_MAX: usize = 15;

const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_MACVLAN_MODE: u16 = 1;
const RTPROT_STATIC: u8 = 4;
/// Not in libc for glibc targets.
const IFA_F_NODAD: u8 = 0x02;

/// The network namespace that an end of a cable moves into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// That of the process with this pid, seen from the sender's pid namespace.
    Pid(u32),
    /// An open descriptor of it.
    Fd(i32),
}

/// A pair of virtual Ethernet devices: one end here, the other in a namespace.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    pub host: &'a str,
    /// Index of the host's end, free until now.
    pub host_index: u32,
    /// The end in the namespace.
    pub inner: &'a str,
    /// Its index there, so that whoever configures it need not look it up.
    pub inner_index: u32,
    pub inner_mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
    pub namespace: Namespace,
}

/// Makes the pair. The end in the namespace is up as soon as the other is: see [`plug_in`].
pub fn create_veth(batch: &mut Batch, veth: &Veth) {
    batch.message(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, veth.inner_index, true));
        m.text(libc::IFLA_IFNAME, veth.inner);
        match veth.namespace {
            Namespace::Pid(pid) => m.u32(libc::IFLA_NET_NS_PID, pid),
            Namespace::Fd(fd) => m.u32(libc::IFLA_NET_NS_FD, fd as u32),
        }
        one_queue(m);
        if let Some(mtu) = veth.mtu {
            m.u32(libc::IFLA_MTU, mtu);
        }
        if let Some(mac) = veth.inner_mac {
            m.bytes(libc::IFLA_ADDRESS, &mac);
        }
        m.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "veth");
            m.nest(libc::IFLA_INFO_DATA, |m| m.nest(VETH_INFO_PEER, |m| fill_host_end(m, veth)));
        });
    });
}

/// Makes the host's end a port of a bridge, which forwards its first frame.
///
/// The order matters. The end that comes up last has its carrier at once; of the other, and of the bridge's port, the
/// kernel takes notice later, on a queue, and drops until then what is sent. So the host's end comes up last, and
/// a question settles the rest: see [`settle`]. The other end has to be settled in its namespace.
pub fn plug_in(batch: &mut Batch, index: u32, bridge: u32) {
    batch.message(libc::RTM_NEWLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, index, true));
        m.u32(libc::IFLA_MASTER, bridge);
    });
    settle(batch, index);
    settle(batch, bridge);
}

/// A queue for each processor of the machine, the kernel's default, is a directory in sysfs each and an event, and serves
/// programs of XDP only.
fn one_queue(m: &mut Batch) {
    m.u32(libc::IFLA_NUM_TX_QUEUES, 1);
    m.u32(libc::IFLA_NUM_RX_QUEUES, 1);
}

fn fill_host_end(m: &mut Batch, veth: &Veth) {
    m.raw(&link_header(libc::AF_UNSPEC, veth.host_index, false));
    m.text(libc::IFLA_IFNAME, veth.host);
    one_queue(m);
    if let Some(mtu) = veth.mtu {
        m.u32(libc::IFLA_MTU, mtu);
    }
}

/// Keeps the kernel from making up a link-local address when the link gets its carrier. `EAFNOSUPPORT` without IPv6.
pub fn make_up_no_address(batch: &mut Batch, index: u32) {
    batch.message(libc::RTM_NEWLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, index, false));
        m.nest(libc::IFLA_AF_SPEC, |m| {
            m.nest(libc::AF_INET6 as u16, |m| m.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE));
        });
    });
}

/// Makes the kernel take notice of a link's carrier now. It does so before it answers a question about the link, since
/// Linux 6.8; an older one ignores the wish.
pub fn settle(batch: &mut Batch, index: u32) {
    batch.message(libc::RTM_GETLINK, 0, |m| m.raw(&link_header(libc::AF_UNSPEC, index, false)));
}

/// A bridge, up; left as it is when one of that name exists. A fixed `mac` keeps it from changing with its ports.
///
/// It does not snoop who wants which multicast: without a router that asks, all is sent to all anyway; and for each port that
/// comes the kernel would set a timer of every port that is there.
pub fn create_bridge(batch: &mut Batch, name: &str, mac: [u8; 6], mtu: Option<u32>) {
    batch.message(libc::RTM_NEWLINK, NLM_F_CREATE, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, 0, true));
        m.text(libc::IFLA_IFNAME, name);
        m.bytes(libc::IFLA_ADDRESS, &mac);
        if let Some(mtu) = mtu {
            m.u32(libc::IFLA_MTU, mtu);
        }
        m.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "bridge");
            m.nest(libc::IFLA_INFO_DATA, |m| m.u8(IFLA_BR_MCAST_SNOOPING, 0));
        });
    });
}

/// Lets a bridge port, by its index, send a frame back where it came from (hairpin mode), and keeps it from other
/// isolated ports.
pub fn set_port(batch: &mut Batch, port: u32, isolated: bool) {
    batch.message(libc::RTM_NEWLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, port, false));
        m.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_SLAVE_KIND, "bridge");
            m.nest(libc::IFLA_INFO_SLAVE_DATA, |m| {
                m.u8(IFLA_BRPORT_MODE, 1);
                if isolated {
                    m.u8(IFLA_BRPORT_ISOLATED, 1);
                }
            });
        });
    });
}

/// A further hardware address on `parent` (an index), made in the namespace of `pid`, and not up yet.
#[derive(Debug, Clone, Copy)]
pub struct Macvlan<'a> {
    pub parent: u32,
    pub name: &'a str,
    pub index: u32,
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
    /// `enum macvlan_mode`: 1 private, 2 vepa, 4 bridge, 8 passthru.
    pub mode: u32,
    pub pid: u32,
}

pub fn create_macvlan(batch: &mut Batch, macvlan: &Macvlan) {
    batch.message(libc::RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, macvlan.index, false));
        m.text(libc::IFLA_IFNAME, macvlan.name);
        m.u32(libc::IFLA_LINK, macvlan.parent);
        m.u32(libc::IFLA_NET_NS_PID, macvlan.pid);
        m.bytes(libc::IFLA_ADDRESS, &macvlan.mac);
        if let Some(mtu) = macvlan.mtu {
            m.u32(libc::IFLA_MTU, mtu);
        }
        m.nest(libc::IFLA_LINKINFO, |m| {
            m.text(libc::IFLA_INFO_KIND, "macvlan");
            m.nest(libc::IFLA_INFO_DATA, |m| m.u32(IFLA_MACVLAN_MODE, macvlan.mode));
        });
    });
}

/// Moves a link to another network namespace, with a new name there.
pub fn move_link(batch: &mut Batch, index: u32, namespace: &OwnedFd, name: &str) {
    batch.message(libc::RTM_NEWLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, index, false));
        m.u32(libc::IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
        m.text(libc::IFLA_IFNAME, name);
    });
}

pub fn set_link_up(batch: &mut Batch, index: u32) {
    batch.message(libc::RTM_NEWLINK, 0, |m| m.raw(&link_header(libc::AF_UNSPEC, index, true)));
}

/// Makes the link a port of `bridge` (an index); 0 frees it.
pub fn set_master(batch: &mut Batch, index: u32, bridge: u32) {
    batch.message(libc::RTM_NEWLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, index, false));
        m.u32(libc::IFLA_MASTER, bridge);
    });
}

/// Deletes a link by name: `ENODEV` when there is none. A veth takes its peer with it.
pub fn delete_link(batch: &mut Batch, name: &str) {
    batch.message(libc::RTM_DELLINK, 0, |m| {
        m.raw(&link_header(libc::AF_UNSPEC, 0, false));
        m.text(libc::IFLA_IFNAME, name);
    });
}

/// Adds an address to a link, or replaces it when it has it. An IPv6 address is usable at once: no other host can
/// have it, so there is nothing to detect.
pub fn add_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    batch.message(libc::RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, |m| {
        let (family, flags) = match address {
            IpAddr::V4(_) => (libc::AF_INET as u8, 0),
            IpAddr::V6(_) => (libc::AF_INET6 as u8, IFA_F_NODAD),
        };
        let mut header = [family, prefix, flags, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        m.raw(&header);
        match address {
            IpAddr::V4(address) => {
                m.bytes(libc::IFA_LOCAL, &address.octets());
                m.bytes(libc::IFA_ADDRESS, &address.octets());
                if prefix < 31 {
                    let broadcast = u32::from(address) | (u32::MAX >> prefix);
                    m.bytes(libc::IFA_BROADCAST, &broadcast.to_be_bytes());
                }
            }
            IpAddr::V6(address) => m.bytes(libc::IFA_ADDRESS, &address.octets()),
        }
    });
}

/// Deletes an address from a link.
pub fn delete_address(batch: &mut Batch, index: u32, address: IpAddr, prefix: u8) {
    batch.message(libc::RTM_DELADDR, 0, |m| {
        let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
        let mut header = [family, prefix, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        m.raw(&header);
        match address {
            IpAddr::V4(address) => m.bytes(libc::IFA_LOCAL, &address.octets()),
            IpAddr::V6(address) => m.bytes(libc::IFA_LOCAL, &address.octets()),
        }
    });
}

/// Fixes the hardware address of a neighbour, or replaces what is known of it: nothing that others say changes it.
pub fn add_neighbour(batch: &mut Batch, index: u32, address: IpAddr, mac: [u8; 6]) {
    const NUD_PERMANENT: u16 = 0x80;
    const NDA_DST: u16 = 1;
    const NDA_LLADDR: u16 = 2;
    batch.message(libc::RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, |m| {
        // struct ndmsg: family, index, state
        let mut header = [0; 12];
        header[0] = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 } as u8;
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
        m.raw(&header);
        match address {
            IpAddr::V4(address) => m.bytes(NDA_DST, &address.octets()),
            IpAddr::V6(address) => m.bytes(NDA_DST, &address.octets()),
        }
        m.bytes(NDA_LLADDR, &mac);
    });
}

pub fn add_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    default_route(batch, libc::RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, index, gateway);
}

/// `ESRCH` when it is not there.
pub fn delete_default_route(batch: &mut Batch, index: u32, gateway: IpAddr) {
    default_route(batch, libc::RTM_DELROUTE, 0, index, gateway);
}

fn default_route(batch: &mut Batch, kind: u16, flags: u16, index: u32, gateway: IpAddr) {
    batch.message(kind, flags, |m| {
        let family = match gateway {
            IpAddr::V4(_) => libc::AF_INET,
            IpAddr::V6(_) => libc::AF_INET6,
        } as u8;
        // struct rtmsg: lengths of destination and source 0, tos 0, main table, by an administrator, to anywhere
        let (table, scope, unicast) = (libc::RT_TABLE_MAIN, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST);
        m.raw(&[family, 0, 0, 0, table, RTPROT_STATIC, scope, unicast, 0, 0, 0, 0]);
        match gateway {
            IpAddr::V4(gateway) => m.bytes(libc::RTA_GATEWAY, &gateway.octets()),
            IpAddr::V6(gateway) => m.bytes(libc::RTA_GATEWAY, &gateway.octets()),
        }
        m.u32(libc::RTA_OIF, index);
    });
}

/// The index of a link by its name, about 1 µs. `ENODEV` when there is none. See netdevice(7).
pub fn link_index(name: &str) -> Result<u32, Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    rustix::net::netdevice::name_to_index(socket, name)
}

/// The little that tells whether a link needs to be made, at the price of four system calls: about 2 µs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkState {
    pub index: u32,
    pub up: bool,
    /// Its first IPv4 address.
    pub address: Option<Ipv4Addr>,
}

/// Looks at a link by name. `ENODEV` when there is none. See netdevice(7).
pub fn link_state(name: &str) -> Result<LinkState, Errno> {
    let socket = rustix::net::socket_with(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )?;
    let index = rustix::net::netdevice::name_to_index(&socket, name)?;
    // SAFETY: all members of the union are plain numbers, and the kernel fills the one that the request names.
    let flags = unsafe { ask_link(&socket, name, libc::SIOCGIFFLAGS as _)?.ifr_ifru.ifru_flags };
    let address = match ask_link(&socket, name, libc::SIOCGIFADDR as _) {
        // SAFETY: as above; the socket is one of AF_INET, so the address is a sockaddr_in: family, port, address.
        Ok(answer) => Some(unsafe { answer.ifr_ifru.ifru_addr.sa_data }),
        Err(Errno::ADDRNOTAVAIL) => None,
        Err(errno) => return Err(errno),
    };
    let address = address.map(|data| Ipv4Addr::from([2, 3, 4, 5].map(|i| data[i] as u8)));
    Ok(LinkState { index, up: i32::from(flags) & libc::IFF_UP != 0, address })
}

fn ask_link(socket: &OwnedFd, name: &str, request: libc::Ioctl) -> Result<libc::ifreq, Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::NODEV);
    }
    // SAFETY: a structure of plain numbers, for which zeros are a value.
    let mut question: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in question.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: both requests read the name and write the rest of an ifreq, which lives until the call returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut question) } {
        0 => Ok(question),
        _ => Err(crate::process::last_errno()),
    }
}

/// `struct ifinfomsg`; `up` asks for the flag IFF_UP, and leaves the other flags alone.
fn link_header(family: i32, index: u32, up: bool) -> [u8; 16] {
    let flags = if up { libc::IFF_UP as u32 } else { 0 };
    let mut header = [0; 16];
    header[0] = family as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}
