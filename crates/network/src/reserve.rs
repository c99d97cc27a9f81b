//! Holding the host's ports: a bound socket for each, so that no other program, and no other container, takes it.
//!
//! The sockets carry nothing: the firewall turns packets away before they get here. They are bound and do not listen;
//! should the firewall be lost, a client is refused at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
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

/// Chooses and holds a port of the host for each specification, all or none, in the network namespace we are in.
pub fn reserve(specs: &[PortSpec]) -> Result<Reserved> {
    let mut reserved = Reserved::default();
    for spec in specs {
        let (host_port, held) = reserve_one(spec)?;
        reserved.held.extend(held);
        reserved.ports.push(PublishedPort {
            host_ip: spec.host_ip.filter(|ip| !ip.is_unspecified()),
            host_port,
            container_port: spec.container_port,
            protocol: spec.protocol,
        });
    }
    Ok(reserved)
}

fn reserve_one(spec: &PortSpec) -> Result<(u16, Option<OwnedFd>)> {
    let address = spec.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if address.is_ipv6() {
        return Err(Error::NoIpv6 { address, port: spec.container_port });
    }
    let (first, last) = spec.host_ports.unwrap_or((0, 0));
    for port in first..=last {
        match hold(SocketAddr::new(address, port), spec.protocol) {
            Ok(held) => return Ok(held),
            Err(Errno::ADDRINUSE) => {}
            Err(errno) => {
                let cause = io::Error::from(errno);
                return Err(Error::Bind { address, port, protocol: spec.protocol, cause });
            }
        }
    }
    Err(match first == last {
        true => Error::PortInUse(address, first),
        false => Error::RangeInUse(address, first, last),
    })
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
    fn ipv6_needs_a_container_with_ipv6() {
        let refused = reserve(&specs("[::1]:8080:80")).unwrap_err();
        assert_eq!(refused.to_string(), "cannot publish port 80 on ::1: the container has no IPv6 address");
    }
}
