//! The bridge: a switch in the host's kernel that the containers of a network are plugged into. See ip-link(8).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, dump, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A bridge, up, with the addresses that are the containers' gateways. One look at it when it is there; it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureBridge {
    pub name: Text,
    /// Each with the length of its subnet's prefix.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Fixed: without it a bridge takes the lowest of its ports', and changes it when that port goes.
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
}

impl EnsureBridge {
    pub fn perform(&self, _: &Live) -> Outcome {
        match route::link_state(self.name.as_str()) {
            Ok(link) if link.up && self.is_complete(&link)? => return Ok(()),
            Ok(_) | Err(Errno::NODEV) => {}
            Err(errno) => return Err(errno.into()),
        }
        let socket = Socket::route()?;
        let mut batch = Batch::new();
        route::create_bridge(&mut batch, self.name.as_str(), self.mac, self.mtu);
        socket.send(&batch.finish()?).map_err(|f| Failure::new(f.errno, "create the bridge"))?;
        let index = route::link_index(self.name.as_str())?;
        let mut batch = Batch::new();
        for (address, prefix) in &self.addresses {
            route::add_address(&mut batch, index, *address, *prefix);
        }
        socket.send(&batch.finish()?).map_err(|f| Failure::new(f.errno, "the bridge's address"))
    }

    /// Whether it has all its addresses. A single IPv4 address, the usual case, is seen without a list.
    fn is_complete(&self, link: &route::LinkState) -> Result<bool, Failure> {
        if let [(IpAddr::V4(address), _)] = self.addresses[..] {
            return Ok(link.address == Some(address));
        }
        let found = dump::addresses().map_err(|f| Failure::new(f.errno, "the bridge's addresses"))?;
        let has =
            |(address, _): &(IpAddr, u8)| found.iter().any(|f| f.link == link.index && f.address == *address);
        Ok(self.addresses.iter().all(has))
    }

    pub fn shell(&self) -> Shell {
        let name = quote(self.name.as_str());
        let mtu = self.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
        let mut lines = vec![format!(
            "ip link show {name} >/dev/null 2>&1 || ip link add {name} address {}{mtu} type bridge mcast_snooping 0",
            mac(self.mac)
        )];
        lines.extend(self.addresses.iter().map(|(address, prefix)| {
            let how = if address.is_ipv4() { "brd +" } else { "nodad" };
            format!("ip address replace {address}/{prefix} {how} dev {name}")
        }));
        lines.push(format!("ip link set {name} up"));
        Shell::lines(
            lines,
            "the switch that the containers are plugged into; its address is their gateway",
            "ip-link(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        let addresses: Vec<_> = self.addresses.iter().map(|(a, prefix)| format!("{a}/{prefix}")).collect();
        picture.add("network", self.name.as_str(), format!("bridge, {}", addresses.join(" and ")));
    }
}

/// As ip(8) writes a hardware address.
pub(crate) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
