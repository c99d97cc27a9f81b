//! Networks, address leases, published ports. It knows no images and no processes.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One `-p`: who reaches `host_port` on the host reaches `container_port` in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// `None`: every address of the host.
    pub host_ip: Option<IpAddr>,
    /// `None`: one that is free.
    pub host_port: Option<u16>,
    pub container_port: u16,
    pub protocol: Protocol,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}
