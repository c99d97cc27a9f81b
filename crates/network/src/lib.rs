//! Networks, address leases, published ports, and the files that make names work. Emits steps; knows no images.
//!
//! Networks are files ([`Networks`]), addresses are leases. The way of a container: [`ports::parse`] what was typed,
//! [`lease`] its addresses, [`reserve`] the host's ports (and keep the sockets while it runs), then [`attach`], a pure
//! function, says what has to be done.

pub mod attach;
pub mod dns;
pub mod firewall;
pub mod hosts;
pub mod lease;
pub mod names;
pub mod network;
pub mod networks;
pub mod pools;
pub mod ports;
pub mod remove;
pub mod reserve;
pub mod resolv;
pub mod subnet;

pub use attach::{Attachment, Endpoint, Plug, Wish, alone, attach};
pub use firewall::Rest;
pub use lease::lease;
pub use network::{Driver, Network, Pool};
pub use networks::{Held, Networks};
pub use ports::{PortSpec, PublishedPort};
pub use reserve::{Families, Reserved, reserve};
pub use steps::Protocol;
pub use subnet::Subnet;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

/// What can go wrong on the way to a network. Each message names the object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    #[error("invalid IP address: {0}")]
    Address(String),
    #[error("invalid proto: {0}")]
    Protocol(String),
    #[error("no port specified: {0}<empty>")]
    NoPort(String),
    #[error("invalid ranges specified for container and host Ports: {0} and {1}")]
    Ranges(String, String),
    #[error("bad format for add-host: \"{0}\"")]
    AddHost(String),
    #[error("Bind for {0}:{1} failed: port is already allocated")]
    PortInUse(IpAddr, u16),
    #[error("Bind for {0} failed: all ports are allocated: {1}-{2}")]
    RangeInUse(IpAddr, u16, u16),
    #[error("cannot bind {address}:{port}/{protocol}: {cause}")]
    Bind { address: IpAddr, port: u16, protocol: Protocol, cause: io::Error },
    #[error("cannot publish port {port} on {address}: the container has no {family} address")]
    NoFamilyFor { address: IpAddr, port: u16, family: &'static str },
    #[error("cannot publish port {port} on ::1: the kernel forwards nothing from there; use 127.0.0.1")]
    Loopback6 { port: u16 },
    #[error("no free address in network {0} ({1})")]
    Exhausted(String, Subnet),
    #[error("network {0} has no {1} subnet")]
    NoFamily(String, &'static str),
    #[error("address {0} is already in use by container {1}")]
    AddressInUse(IpAddr, String),
    #[error("address {0} is not in {1}, or is not for containers")]
    ForeignAddress(IpAddr, Subnet),
    #[error("network {network}: {subnet} overlaps the route to {destination}/{prefix} of {link}")]
    Clash { network: String, subnet: Subnet, destination: IpAddr, prefix: u8, link: String },
    #[error("Pool overlaps with other one on this address space: {subnet} and {other} of network {network}")]
    PoolOverlap { subnet: Subnet, other: Subnet, network: String },
    #[error("all predefined address pools have been fully subnetted")]
    NoPool,
    #[error("network {0} not found{1}")]
    NotFound(String, steps::Near),
    #[error("network {0} is ambiguous")]
    Ambiguous(String),
    #[error("network with name {0} already exists")]
    Exists(String),
    #[error("invalid network name \"{0}\": only [a-zA-Z0-9][a-zA-Z0-9_.-]* is allowed")]
    Name(String),
    #[error("network {0}: {1}")]
    Invalid(String, &'static str),
    #[error("{0}: {1}")]
    File(PathBuf, io::Error),
    #[error("cannot ask the kernel for {0}: {1}")]
    Kernel(&'static str, kernel::netlink::Failure),
}

pub type Result<T, E = Error> = std::result::Result<T, E>;
