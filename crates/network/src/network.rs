//! What a network is: a bridge, a subnet, a gateway. The default one needs no file.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::str::FromStr;

use kernel::netlink::{dump, route};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// One network, as its JSON file describes it; what the file leaves out is as in the default network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    pub name: String,
    /// The bridge's link, at most 15 bytes.
    pub bridge: String,
    pub subnet: Subnet,
    /// The bridge's own address in the subnet.
    pub gateway: Ipv4Addr,
    /// Bytes; none leaves the kernel's 1,500.
    pub mtu: Option<u32>,
    /// The nftables table of family `inet`.
    pub table: String,
}

impl Default for Network {
    fn default() -> Network {
        Network {
            name: "bridge".into(),
            bridge: "corten0".into(),
            subnet: Subnet { address: Ipv4Addr::new(10, 77, 0, 0), prefix: 16 },
            gateway: Ipv4Addr::new(10, 77, 0, 1),
            mtu: None,
            table: "corten".into(),
        }
    }
}

impl Network {
    /// The network that the file describes, or the default one when there is no file.
    pub fn load(path: &Path) -> Result<Network> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Network::default()),
            Err(error) => return Err(Error::File(path.to_owned(), error)),
        };
        let network: Network =
            serde_json::from_slice(&text).map_err(|error| Error::File(path.to_owned(), error.into()))?;
        network.check()?;
        Ok(network)
    }

    fn check(&self) -> Result<()> {
        let invalid = |why| Err(Error::Invalid(self.name.clone(), why));
        let word =
            |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if self.bridge.len() > route::NAME_MAX || !word(&self.bridge) || self.bridge.starts_with('.') {
            return invalid("the bridge's name must be 1 to 15 letters, digits, '-', '_' or '.'");
        }
        if !word(&self.table) || self.table.len() > 100 {
            return invalid("the table's name must be of letters, digits, '-', '_' or '.'");
        }
        if !(8..=30).contains(&self.subnet.prefix) {
            return invalid("the subnet's prefix must be from 8 to 30");
        }
        if !self.subnet.hosts().contains(&u32::from(self.gateway)) {
            return invalid("the gateway must be a host's address in the subnet");
        }
        Ok(())
    }

    /// Refuses a subnet that the machine already reaches by another link, and names the route. Free of cost once the
    /// bridge is there.
    pub fn check_clash(&self) -> Result<()> {
        if route::link_index(&self.bridge).is_ok() {
            return Ok(());
        }
        let routes = dump::routes().map_err(|failure| Error::Kernel("the routes", failure))?;
        let overlaps = |destination: IpAddr, prefix: u8| match destination {
            IpAddr::V4(address) => prefix > 0 && self.subnet.overlaps(Subnet { address, prefix }),
            IpAddr::V6(_) => false,
        };
        let Some(found) = routes.into_iter().find(|route| overlaps(route.destination, route.prefix)) else {
            return Ok(());
        };
        let links = dump::links().map_err(|failure| Error::Kernel("the links", failure))?;
        let link = links.into_iter().find(|link| Some(link.index) == found.link);
        Err(Error::Clash {
            network: self.name.clone(),
            subnet: self.subnet,
            destination: found.destination,
            prefix: found.prefix,
            link: link.map_or("another link".into(), |link| link.name),
        })
    }
}

/// An IPv4 subnet, such as `10.77.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    pub address: Ipv4Addr,
    pub prefix: u8,
}

impl Subnet {
    /// The addresses that hosts may have, as numbers: all but the first and the last.
    pub fn hosts(self) -> std::ops::RangeInclusive<u32> {
        let first = u32::from(self.address) & self.mask();
        first + 1..=(first | !self.mask()) - 1
    }

    /// The first address, and the one behind the last.
    pub fn range(self) -> (Ipv4Addr, Ipv4Addr) {
        let first = u32::from(self.address) & self.mask();
        (Ipv4Addr::from(first), Ipv4Addr::from((first | !self.mask()).wrapping_add(1)))
    }

    pub fn overlaps(self, other: Subnet) -> bool {
        let mask = self.mask() & other.mask();
        u32::from(self.address) & mask == u32::from(other.address) & mask
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = String;

    fn from_str(text: &str) -> Result<Subnet, String> {
        let invalid = || format!("invalid subnet: {text}");
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let subnet = Subnet {
            address: address.parse().map_err(|_| invalid())?,
            prefix: prefix.parse().ok().filter(|prefix| *prefix <= 32).ok_or_else(invalid)?,
        };
        match u32::from(subnet.address) & !subnet.mask() {
            0 => Ok(subnet),
            _ => Err(format!("invalid subnet: {text} has bits of a host")),
        }
    }
}

impl Serialize for Subnet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Subnet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Subnet, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_parse_and_overlap() {
        let subnet = |text: &str| text.parse::<Subnet>().unwrap();
        assert_eq!(subnet("10.77.0.0/16"), Network::default().subnet);
        assert_eq!(subnet("192.168.1.0/30").hosts().count(), 2);
        assert!(subnet("10.77.0.0/16").overlaps(subnet("10.0.0.0/8")));
        assert!(subnet("10.77.0.0/16").overlaps(subnet("10.77.3.4/32")));
        assert!(!subnet("10.77.0.0/16").overlaps(subnet("10.78.0.0/16")));
        assert!(subnet("10.77.0.0/16").overlaps(subnet("0.0.0.0/0")));
        for bad in ["10.77.0.0", "10.77.0.0/33", "10.77.0.1/16", "x/8", "/"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_overrides_the_default_and_is_checked() {
        let load = |text: &str| {
            let path = std::env::temp_dir().join(format!("corten-network-{}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            let network = Network::load(&path);
            std::fs::remove_file(&path).unwrap();
            network
        };
        assert_eq!(Network::load(Path::new("/nonexistent")).unwrap(), Network::default());
        let network = load(r#"{"subnet":"192.168.7.0/24","gateway":"192.168.7.1"}"#).unwrap();
        assert_eq!((network.bridge.as_str(), network.subnet.prefix), ("corten0", 24));
        let said = |text| load(text).unwrap_err().to_string();
        assert!(said(r#"{"subnet":"192.168.7.0/24"}"#).contains("the gateway must be"));
        assert!(said(r#"{"bridge":"a/b"}"#).contains("the bridge's name"));
        assert!(said(r#"{"bridgge":"x"}"#).contains("unknown field"));
    }
}
