//! The container's side of its network: links up, address, default route. See ip-address(8), ip-route(8).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// The loopback device up and, unless the container is alone, its end of the cable with an address and the way out.
///
/// All of it is one batch of netlink messages, encoded while planning: the container's process only sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigureLinks {
    pub link: Option<Configured>,
    batch: Vec<u8>,
}

/// A link of the container and what it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Configured {
    pub name: Text,
    pub index: u32,
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// None: a network without a way out.
    pub gateway: Option<Ipv4Addr>,
}

/// What each message of the batch is for, in its order; the last settles the link.
const MESSAGES: [&str; 4] = ["loopback up", "address", "default route", "carrier"];

impl ConfigureLinks {
    pub fn new(link: Option<Configured>) -> ConfigureLinks {
        let mut batch = Batch::new();
        route::set_link_up(&mut batch, route::LOOPBACK);
        if let Some(link) = &link {
            route::add_address(&mut batch, link.index, IpAddr::V4(link.address), link.prefix);
            if let Some(gateway) = link.gateway {
                route::add_default_route(&mut batch, link.index, IpAddr::V4(gateway));
            }
            // without this the container's first packet may be lost, and its sender waits a second
            route::settle(&mut batch, link.index);
        }
        // only an attribute of 64 KiB makes this fail, and none here is variable; an empty batch fails when performed
        ConfigureLinks { link, batch: batch.finish().unwrap_or_default() }
    }

    pub fn perform(&self, _: &Live) -> Outcome {
        if self.batch.is_empty() {
            return Err(Errno::INVAL.into());
        }
        Socket::route()?.send(&self.batch).map_err(|failure| {
            let message = failure.message.and_then(|message| MESSAGES.get(message as usize));
            Failure::new(failure.errno, message.copied().unwrap_or(""))
        })
    }

    pub fn shell(&self) -> Shell {
        let mut lines = vec!["ip link set lo up".to_owned()];
        let Some(link) = &self.link else {
            return Shell::exact(
                lines.remove(0),
                "no network but the container's own loopback",
                "ip-link(8)",
            );
        };
        let name = quote(link.name.as_str());
        lines.push(format!("ip address add {}/{} brd + dev {name}", link.address, link.prefix));
        if let Some(gateway) = link.gateway {
            lines.push(format!("ip route add default via {gateway} dev {name} proto static"));
        }
        Shell::lines(lines, "the container's address, and its way out", "ip-address(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        if let Some(link) = &self.link {
            picture.add(
                "network",
                link.name.as_str(),
                format!("{}/{} in the container", link.address, link.prefix),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_it_sends() {
        let step = ConfigureLinks::new(Some(Configured {
            name: "eth0".into(),
            index: 10,
            address: Ipv4Addr::new(10, 77, 0, 2),
            prefix: 16,
            gateway: Some(Ipv4Addr::new(10, 77, 0, 1)),
        }));
        assert_eq!(kernel::netlink::Messages(&step.batch).count(), MESSAGES.len());
        assert_eq!(
            step.shell().brief(),
            "ip link set lo up; ip address add 10.77.0.2/16 brd + dev eth0; \
             ip route add default via 10.77.0.1 dev eth0 proto static"
        );
        let alone = ConfigureLinks::new(None);
        assert_eq!(kernel::netlink::Messages(&alone.batch).count(), 1);
        assert_eq!(alone.shell().brief(), "ip link set lo up");
    }
}
