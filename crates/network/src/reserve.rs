//! Holding the host's ports: a bound socket for each, so that no other program, and no other container, takes it.
//!
//! The sockets carry nothing: the firewall turns packets away before they get here. They are bound and do not listen;
//! should the firewall be lost, a client is refused at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use crate::{Error, PortSpec, Protocol, PublishedPort, Result};

/// The ports that were chosen, and the sockets that hold them. Whoever runs the container keeps them open.
#[derive(Debug, Default)]
pub struct Reserved {
    pub ports: Vec<PublishedPort>,
    pub held: Vec<OwnedFd>,
}

impl Reserved {
    /// Lets go of some ports.
    pub fn release(&mut self, ports: &[PublishedPort]) {
        self.ports.retain(|port| !ports.contains(port));
        // Which socket is for which port the sockets themselves know best.
        self.held.retain(|socket| {
            let Ok(address) = net::getsockname(socket).and_then(SocketAddr::try_from) else { return true };
            !ports.iter().any(|p| {
                (p.host_ip, p.host_port) == (address.ip(), address.port()) && is_for(socket, p.protocol)
            })
        });
    }
}

fn is_for(socket: &OwnedFd, protocol: Protocol) -> bool {
    let number = match protocol {
        Protocol::Tcp => ipproto::TCP,
        Protocol::Udp => ipproto::UDP,
        Protocol::Sctp => ipproto::SCTP,
    };
    sockopt::socket_protocol(socket).is_ok_and(|found| found == Some(number))
}

/// The families that a container's ports can be published for: those of its addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Families {
    pub ipv4: bool,
    pub ipv6: bool,
}

impl Families {
    /// Those of `targets`.
    pub fn of(targets: &[IpAddr]) -> Families {
        let any = |ipv4: bool| targets.iter().any(|target| target.is_ipv4() == ipv4);
        Families { ipv4: any(true), ipv6: any(false) }
    }
}

/// Chooses and holds a port of the host for each specification, all or none, in the network namespace we are in. A
/// specification without an address is for all addresses of all `families`.
pub fn reserve(specs: &[PortSpec], families: Families) -> Result<Reserved> {
    let mut reserved = Reserved::default();
    for spec in specs {
        let (host_port, held) = reserve_one(spec, &addresses(spec, families)?)?;
        for (host_ip, held) in held {
            let published = PublishedPort {
                host_ip,
                host_port,
                container_port: spec.container_port,
                protocol: spec.protocol,
            };
            reserved.ports.push(published);
            reserved.held.extend(held);
        }
    }
    Ok(reserved)
}

fn addresses(spec: &PortSpec, families: Families) -> Result<Vec<IpAddr>> {
    let port = spec.container_port;
    let any = [
        families.ipv4.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        // A kernel without IPv6 has no address of it to publish on.
        (families.ipv6 && kernel_has_ipv6()).then_some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    ];
    match spec.host_ip {
        None => Ok(any.into_iter().flatten().collect()),
        Some(address @ IpAddr::V4(_)) if !families.ipv4 => {
            Err(Error::NoFamilyFor { address, port, family: "IPv4" })
        }
        Some(address @ IpAddr::V6(_)) if !families.ipv6 => {
            Err(Error::NoFamilyFor { address, port, family: "IPv6" })
        }
        Some(address) if address.is_ipv6() && address.is_loopback() => Err(Error::Loopback6 { port }),
        Some(address) => Ok(vec![address]),
    }
}

fn kernel_has_ipv6() -> bool {
    std::path::Path::new("/proc/sys/net/ipv6").exists()
}

type Bound = Vec<(IpAddr, Option<OwnedFd>)>;

/// One port on all of `addresses`: the first of the range that is free on each.
fn reserve_one(spec: &PortSpec, addresses: &[IpAddr]) -> Result<(u16, Bound)> {
    let Some(address) = addresses.first() else { return Ok((0, Vec::new())) };
    // What the kernel chooses for one address may be taken on the next.
    let any = || std::iter::repeat_n(0, 50);
    let (first, last) = spec.host_ports.unwrap_or((0, 0));
    let ports: Box<dyn Iterator<Item = u16>> =
        if first == 0 { Box::new(any()) } else { Box::new(first..=last) };
    for port in ports {
        if let Some(done) = on_all(spec, addresses, port)? {
            return Ok(done);
        }
    }
    Err(match first == last {
        true => Error::PortInUse(*address, first),
        false => Error::RangeInUse(*address, first, last),
    })
}

/// None: it is in use on one of them.
fn on_all(spec: &PortSpec, addresses: &[IpAddr], wanted: u16) -> Result<Option<(u16, Bound)>> {
    let (mut port, mut bound) = (wanted, Vec::new());
    for address in addresses {
        match hold(SocketAddr::new(*address, port), spec.protocol) {
            Ok((chosen, held)) => {
                port = chosen;
                bound.push((*address, held));
            }
            Err(Errno::ADDRINUSE) => return Ok(None),
            Err(errno) => {
                let cause = io::Error::from(errno);
                return Err(Error::Bind { address: *address, port, protocol: spec.protocol, cause });
            }
        }
    }
    Ok(Some((port, bound)))
}

/// Binds a socket, and tells the port that it got. Without SCTP in the kernel nobody can take the port, so nothing is
/// held.
fn hold(address: SocketAddr, protocol: Protocol) -> Result<(u16, Option<OwnedFd>), Errno> {
    match bind(address, protocol, false) {
        Ok(held) => Ok((port_of(&held)?, Some(held))),
        // Connections of a program that has ended linger in TIME_WAIT and are in the way of a plain bind. Who may
        // listen with SO_REUSEADDR had only those against him; then the socket goes back to being just bound, and
        // without the option nobody can bind beside it.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp && address.port() != 0 => {
            let held = bind(address, protocol, true)?;
            net::listen(&held, 1)?;
            net::shutdown(&held, net::Shutdown::Read)?;
            sockopt::set_socket_reuseaddr(&held, false)?;
            Ok((address.port(), Some(held)))
        }
        Err(Errno::PROTONOSUPPORT) if protocol == Protocol::Sctp && address.port() != 0 => {
            Ok((address.port(), None))
        }
        Err(errno) => Err(errno),
    }
}

fn bind(address: SocketAddr, protocol: Protocol, reuse: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}

fn port_of(socket: &OwnedFd) -> Result<u16, Errno> {
    let address: SocketAddr = net::getsockname(socket)?.try_into()?;
    Ok(address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::parse;
    use std::net::{TcpListener, TcpStream};

    const IPV4: Families = Families { ipv4: true, ipv6: false };

    fn reserve(specs: &[PortSpec]) -> Result<Reserved> {
        super::reserve(specs, IPV4)
    }

    fn specs(text: &str) -> Vec<PortSpec> {
        parse(text).unwrap()
    }

    #[test]
    fn a_port_is_held_once() {
        let free = reserve(&specs("127.0.0.1::80")).unwrap();
        let port = free.ports[0].host_port;
        assert_ne!(port, 0);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        let again = reserve(&specs(&format!("127.0.0.1:{port}:80"))).unwrap_err();
        assert_eq!(again.to_string(), format!("Bind for 127.0.0.1:{port} failed: port is already allocated"));
        let any = reserve(&specs(&format!("{port}:80"))).unwrap_err();
        assert_eq!(any.to_string(), format!("Bind for 0.0.0.0:{port} failed: port is already allocated"));
        assert!(reserve(&specs(&format!("127.0.0.1:{port}:80/udp"))).is_ok());
        drop(free);
        assert!(reserve(&specs(&format!("127.0.0.1:{port}:80"))).is_ok());
    }

    #[test]
    fn a_listener_is_in_the_way_and_old_connections_are_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spec = specs(&format!("127.0.0.1:{port}:80"));
        assert!(matches!(reserve(&spec), Err(Error::PortInUse(..))));
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // the side that closes first keeps the port in TIME_WAIT
        drop(listener.accept().unwrap());
        drop(client);
        drop(listener);
        let held = reserve(&spec).unwrap();
        assert!(matches!(reserve(&spec), Err(Error::PortInUse(..))));
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        drop(held);
    }

    #[test]
    fn a_range_gives_its_first_free_port() {
        let taken = reserve(&specs("127.0.0.1::80")).unwrap();
        let port = taken.ports[0].host_port.min(65534);
        let range = format!("127.0.0.1:{port}-{}:80", port + 1);
        let chosen = reserve(&specs(&range));
        assert!(chosen.is_ok_and(|chosen| chosen.ports[0].host_port == port + 1));
    }

    #[test]
    fn each_family_needs_an_address_of_the_container() {
        let refused = reserve(&specs("[::1]:8080:80")).unwrap_err();
        assert_eq!(refused.to_string(), "cannot publish port 80 on ::1: the container has no IPv6 address");
        let both = Families { ipv4: true, ipv6: true };
        let reserved = super::reserve(&specs("80"), both).unwrap();
        let [four, six] = &reserved.ports[..] else { panic!("{reserved:?}") };
        assert_eq!((four.host_ip.to_string(), six.host_ip.to_string()), ("0.0.0.0".into(), "::".into()));
        assert_eq!(four.host_port, six.host_port);
        let port = four.host_port;
        assert!(super::reserve(&specs(&format!("[::]:{port}:80")), both).is_err());
        let refused = super::reserve(&specs("[::1]::80"), both).unwrap_err().to_string();
        assert!(refused.contains("use 127.0.0.1"), "{refused}");
        assert!(reserve(&specs(&format!("127.0.0.1:{port}:80"))).is_err());
        let six = Families { ipv4: false, ipv6: true };
        assert!(super::reserve(&specs("127.0.0.1::80"), six).unwrap_err().to_string().contains("no IPv4"));
    }
}
