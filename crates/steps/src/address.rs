//! The container's side of its networks: links up, addresses, the way out. See ip-address(8), ip-route(8).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, namespace, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The loopback device up and, unless the container is alone, its ends of the cables with addresses and the way out.
///
/// All of it is one batch of netlink messages, encoded while planning: the container's process only sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigureLinks {
    pub links: Vec<Configured>,
    batch: Vec<u8>,
}

/// A link of the container and what it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    pub name: Text,
    pub index: u32,
    /// Each with the length of its subnet's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The way out, at most one for each family; another link may have it.
    pub gateways: Vec<IpAddr>,
    /// Neighbours with a fixed hardware address: who else tells that it has the gateway's is not believed.
    pub neighbours: Vec<(IpAddr, [u8; 6])>,
}

/// A link in the network namespace of `pid` gets no link-local address of the kernel's making. Nothing to do without IPv6.
pub(crate) fn no_address(pid: u32, index: u32) -> Outcome {
    let there = namespace::of(pid.cast_signed())?;
    let socket = namespace::within(there, Socket::route)??;
    let mut batch = Batch::new();
    route::make_up_no_address(&mut batch, index);
    match socket.send(&batch.finish()?) {
        Err(failure) if failure.errno != Errno::AFNOSUPPORT => Err(failure.errno.into()),
        _ => Ok(()),
    }
}

/// [`no_address`] of a link by its name.
pub(crate) fn no_address_shell(name: &str) -> String {
    format!("nsenter -t $PID -n ip link set {name} addrgenmode none")
}

impl ConfigureLinks {
    pub fn new(links: Vec<Configured>) -> ConfigureLinks {
        let mut batch = Batch::new();
        route::set_link_up(&mut batch, route::LOOPBACK);
        for link in &links {
            // A cable's end is up already, and this is nothing.
            route::set_link_up(&mut batch, link.index);
            for (address, prefix) in &link.addresses {
                route::add_address(&mut batch, link.index, *address, *prefix);
            }
            for (address, mac) in &link.neighbours {
                route::add_neighbour(&mut batch, link.index, *address, *mac);
            }
            for gateway in &link.gateways {
                route::add_default_route(&mut batch, link.index, *gateway);
            }
            // without this the container's first packet may be lost, and its sender waits a second
            route::settle(&mut batch, link.index);
        }
        // only an attribute of 64 KiB makes this fail, and none here is variable; an empty batch fails when performed
        ConfigureLinks { links, batch: batch.finish().unwrap_or_default() }
    }

    pub fn perform(&self, _: &Live) -> Outcome {
        if self.batch.is_empty() {
            return Err(Errno::INVAL.into());
        }
        Socket::route()?.send(&self.batch).map_err(|failure| {
            Failure::new(failure.errno, failure.message.map_or("", |message| self.purpose(message as usize)))
        })
    }

    /// What a message of the batch is for, counted from 0. Allocates nothing.
    fn purpose(&self, message: usize) -> &'static str {
        let Some(mut rest) = message.checked_sub(1) else { return "loopback up" };
        for link in &self.links {
            let parts = [
                (1, "link up"),
                (link.addresses.len(), "address"),
                (link.neighbours.len(), "the gateway's hardware address"),
                (link.gateways.len(), "default route"),
                (1, "carrier"),
            ];
            for (count, what) in parts {
                match rest.checked_sub(count) {
                    None => return what,
                    Some(left) => rest = left,
                }
            }
        }
        ""
    }

    pub fn shell(&self) -> Shell {
        let mut lines = vec!["ip link set lo up".to_owned()];
        if self.links.is_empty() {
            return Shell::exact(
                lines.remove(0),
                "no network but the container's own loopback",
                "ip-link(8)",
            );
        }
        for link in &self.links {
            let name = quote(link.name.as_str());
            lines.push(format!("ip link set {name} up"));
            for (address, prefix) in &link.addresses {
                let how = if address.is_ipv4() { "brd +" } else { "nodad" };
                lines.push(format!("ip address add {address}/{prefix} {how} dev {name}"));
            }
            for (address, mac) in &link.neighbours {
                let mac = crate::bridge::mac(*mac);
                lines.push(format!("ip neighbour replace {address} lladdr {mac} nud permanent dev {name}"));
            }
            for gateway in &link.gateways {
                lines.push(format!("ip route add default via {gateway} dev {name} proto static"));
            }
        }
        Shell::lines(lines, "the container's addresses, and its way out", "ip-address(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        for link in &self.links {
            let addresses: Vec<_> =
                link.addresses.iter().map(|(a, prefix)| format!("{a}/{prefix}")).collect();
            let about = format!("{} in the container", addresses.join(" and "));
            picture.add("network", link.name.as_str(), about);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_sends() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let step = ConfigureLinks::new(vec![Configured {
            name: "eth0".into(),
            index: 10,
            addresses: vec![(ip("10.77.0.2"), 16), (ip("fd00::2"), 64)],
            gateways: vec![ip("10.77.0.1"), ip("fd00::1")],
            neighbours: vec![(ip("10.77.0.1"), [2, 0x42, 10, 77, 0, 1])],
        }]);
        let count = kernel::netlink::Messages(&step.batch).count();
        assert_eq!((step.purpose(count - 1), step.purpose(count)), ("carrier", ""));
        assert_eq!(
            step.shell().lines,
            [
                "ip link set lo up",
                "ip link set eth0 up",
                "ip address add 10.77.0.2/16 brd + dev eth0",
                "ip address add fd00::2/64 nodad dev eth0",
                "ip neighbour replace 10.77.0.1 lladdr 02:42:0a:4d:00:01 nud permanent dev eth0",
                "ip route add default via 10.77.0.1 dev eth0 proto static",
                "ip route add default via fd00::1 dev eth0 proto static",
            ]
        );
        let alone = ConfigureLinks::new(Vec::new());
        assert_eq!(kernel::netlink::Messages(&alone.batch).count(), 1);
        assert_eq!(alone.shell().brief(), "ip link set lo up");
    }
}
