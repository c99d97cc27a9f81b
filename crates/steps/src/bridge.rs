//! The bridge: a switch in the host's kernel that the containers of a network are plugged into. See ip-link(8).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::{Batch, Socket, route};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// A bridge, up, with the address that is the containers' gateway. One look at it when it is there; it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureBridge {
    pub name: Text,
    pub address: Ipv4Addr,
    pub prefix: u8,
    /// Fixed: without it a bridge takes the lowest of its ports', and changes it when that port goes.
    pub mac: [u8; 6],
    pub mtu: Option<u32>,
}

impl EnsureBridge {
    pub fn perform(&self, _: &Live) -> Outcome {
        match route::link_state(self.name.as_str()) {
            Ok(link) if link.up && link.address == Some(self.address) => return Ok(()),
            Ok(_) | Err(Errno::NODEV) => {}
            Err(errno) => return Err(errno.into()),
        }
        let socket = Socket::route()?;
        let mut batch = Batch::new();
        route::create_bridge(&mut batch, self.name.as_str(), self.mac, self.mtu);
        socket.send(&batch.finish()?).map_err(|f| Failure::new(f.errno, "create the bridge"))?;
        let index = route::link_index(self.name.as_str())?;
        let mut batch = Batch::new();
        route::add_address(&mut batch, index, IpAddr::V4(self.address), self.prefix);
        socket.send(&batch.finish()?).map_err(|f| Failure::new(f.errno, "the bridge's address"))
    }

    pub fn shell(&self) -> Shell {
        let name = quote(self.name.as_str());
        let mtu = self.mtu.map_or(String::new(), |mtu| format!(" mtu {mtu}"));
        Shell::lines(
            vec![
                format!(
                    "ip link show {name} >/dev/null 2>&1 || ip link add {name} address {}{mtu} type bridge",
                    mac(self.mac)
                ),
                format!("ip address replace {}/{} brd + dev {name}", self.address, self.prefix),
                format!("ip link set {name} up"),
            ],
            "the switch that the containers are plugged into; its address is their gateway",
            "ip-link(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("network", self.name.as_str(), format!("bridge, {}/{}", self.address, self.prefix));
    }
}

/// As ip(8) writes a hardware address.
pub(crate) fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
