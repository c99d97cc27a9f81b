//! Subnets of both families, such as `10.77.0.0/16` and `fd00::/64`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A subnet; its address has no bits of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    pub address: IpAddr,
    pub prefix: u8,
}

impl Subnet {
    /// The subnet of this size that the address is in.
    pub fn around(address: IpAddr, prefix: u8) -> Subnet {
        let family = address.is_ipv4();
        let prefix = prefix.min(bits(family));
        Subnet { address: to_address(family, to_number(address) & !host_bits(family, prefix)), prefix }
    }

    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// The addresses that hosts may have, as numbers: all but the first and, with IPv4, the last.
    pub fn hosts(self) -> std::ops::RangeInclusive<u128> {
        let last = self.last() - u128::from(self.is_ipv4());
        self.first() + 1..=last
    }

    /// All addresses, as numbers.
    pub fn numbers(self) -> std::ops::RangeInclusive<u128> {
        self.first()..=self.last()
    }

    /// The first address, and the one behind the last.
    pub fn range(self) -> (IpAddr, IpAddr) {
        let family = self.is_ipv4();
        (self.address, to_address(family, self.last().wrapping_add(1)))
    }

    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && self.numbers().contains(&to_number(address))
    }

    pub fn overlaps(self, other: Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    fn first(self) -> u128 {
        to_number(self.address)
    }

    fn last(self) -> u128 {
        self.first() | host_bits(self.is_ipv4(), self.prefix)
    }
}

/// An address as a number.
pub fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// A number as an address; what does not fit into an IPv4 one is cut.
pub fn to_address(ipv4: bool, number: u128) -> IpAddr {
    if ipv4 { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() }
}

fn bits(ipv4: bool) -> u8 {
    if ipv4 { 32 } else { 128 }
}

fn host_bits(ipv4: bool, prefix: u8) -> u128 {
    let host = u32::from(bits(ipv4).saturating_sub(prefix));
    1u128.checked_shl(host).map_or(u128::MAX, |above| above - 1)
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
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix: u8 =
            prefix.parse().ok().filter(|p| digits && *p <= bits(address.is_ipv4())).ok_or_else(invalid)?;
        let subnet = Subnet::around(address, prefix);
        match subnet.address == address {
            true => Ok(subnet),
            false => Err(format!("invalid subnet: {text} has bits of a host, it should be {subnet}")),
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

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn subnets_parse_and_overlap() {
        assert_eq!(subnet("192.168.1.0/30").hosts().count(), 2);
        assert_eq!(subnet("fd00::/126").hosts().count(), 3);
        assert!(subnet("10.77.0.0/16").overlaps(subnet("10.0.0.0/8")));
        assert!(subnet("10.77.0.0/16").overlaps(subnet("10.77.3.4/32")));
        assert!(!subnet("10.77.0.0/16").overlaps(subnet("10.78.0.0/16")));
        assert!(subnet("10.77.0.0/16").overlaps(subnet("0.0.0.0/0")));
        assert!(!subnet("10.77.0.0/16").overlaps(subnet("::/0")));
        assert!(subnet("fd00:1::/64").overlaps(subnet("fd00::/16")));
        for bad in
            ["10.77.0.0", "10.77.0.0/33", "10.77.0.1/16", "x/8", "/", "10.0.0.0/+8", "fd00::1/64", "::/129"]
        {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_end_behind_the_last_address() {
        let (first, end) = subnet("fd00:0:0:5::/64").range();
        assert_eq!((first.to_string(), end.to_string()), ("fd00:0:0:5::".into(), "fd00:0:0:6::".into()));
        assert_eq!(subnet("10.77.0.0/16").range().1.to_string(), "10.78.0.0");
        assert_eq!(Subnet::around("10.77.3.4".parse().unwrap(), 24), subnet("10.77.3.0/24"));
        assert!(subnet("fd00::/64").contains("fd00::7".parse().unwrap()));
    }
}
