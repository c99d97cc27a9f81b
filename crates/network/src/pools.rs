//! Subnets for networks that ask for none: a /24 each, and a /64 of a unique local prefix, away from all routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kernel::netlink::dump;

use crate::{Error, Result, Subnet};

/// Where automatic IPv4 subnets come from: first and second byte. Docker's and Podman's first choices are elsewhere.
const IPV4: &[(u8, u8)] = &[(10, 78), (10, 79), (10, 80), (172, 30), (192, 168)];

/// What is taken already: live routes and addresses, and the subnets of other networks.
#[derive(Debug, Default)]
pub struct Used {
    routes: Vec<dump::Route>,
    subnets: Vec<Subnet>,
}

impl Used {
    /// The machine's routes and addresses.
    pub fn read() -> Result<Used> {
        let routes = dump::routes().map_err(|failure| Error::Kernel("the routes", failure))?;
        let addresses = dump::addresses().map_err(|failure| Error::Kernel("the addresses", failure))?;
        let subnets = addresses.into_iter().map(|a| Subnet::around(a.address, a.prefix));
        let subnets = subnets.filter(|s| !s.address.is_loopback() && !is_link_local(s.address)).collect();
        Ok(Used { routes, subnets })
    }

    pub fn add(&mut self, subnet: Subnet) {
        self.subnets.push(subnet);
    }

    /// The live route that the subnet would hide.
    pub fn route(&self, subnet: Subnet) -> Option<&dump::Route> {
        // A default route is everywhere, and those of link-local and multicast addresses are no network's.
        let counts =
            |r: &&dump::Route| r.prefix > 0 && !is_link_local(r.destination) && !r.destination.is_multicast();
        let overlaps = |r: &&dump::Route| subnet.overlaps(Subnet::around(r.destination, r.prefix));
        self.routes.iter().filter(counts).find(overlaps)
    }

    fn is_free(&self, subnet: Subnet) -> bool {
        self.route(subnet).is_none() && !self.subnets.iter().any(|taken| taken.overlaps(subnet))
    }

    /// A free subnet of these, each with the size that is taken out of it, else a /24 of the usual ones; and taken from now on.
    pub fn ipv4(&mut self, pools: &[(Subnet, u8)]) -> Result<Subnet> {
        let usual = IPV4.iter().map(|(a, b)| (Subnet::around(Ipv4Addr::new(*a, *b, 0, 0).into(), 16), 24));
        let pools: Vec<(Subnet, u8)> = if pools.is_empty() { usual.collect() } else { pools.to_vec() };
        let mut all = pools.into_iter().flat_map(|(base, prefix)| parts(base, prefix));
        let free = all.find(|subnet| self.is_free(*subnet)).ok_or(Error::NoPool)?;
        self.add(free);
        Ok(free)
    }

    /// A free /64 of the prefix that RFC 4193 sets aside, with 40 bits of chance for the machine to begin with.
    pub fn ipv6(&mut self, random: [u8; 5]) -> Result<Subnet> {
        for number in 0..=u16::MAX {
            let [a, b, c, d, e] = random;
            let [f, g] = number.to_be_bytes();
            let address = Ipv6Addr::from([0xfd, a, b, c, d, e, f, g, 0, 0, 0, 0, 0, 0, 0, 0]);
            let subnet = Subnet { address: address.into(), prefix: 64 };
            if self.is_free(subnet) {
                self.add(subnet);
                return Ok(subnet);
            }
        }
        Err(Error::NoPool)
    }
}

/// The subnets of this size that a larger one of IPv4 has, in order.
fn parts(base: Subnet, prefix: u8) -> impl Iterator<Item = Subnet> {
    let first = match base.address {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(_) => 1 << 32,
    };
    let size = 1u64 << 32u8.saturating_sub(prefix);
    let end = (first + (1u64 << 32u8.saturating_sub(base.prefix))).min(1 << 32);
    (first..end)
        .step_by(size as usize)
        .map(move |address| Subnet { address: Ipv4Addr::from(address as u32).into(), prefix })
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_avoid_routes_and_each_other() {
        let destination = "10.78.0.0".parse().unwrap();
        let route = dump::Route { destination, prefix: 23, gateway: None, link: None };
        let default = dump::Route { destination: Ipv4Addr::UNSPECIFIED.into(), prefix: 0, ..route.clone() };
        let mut used = Used { routes: vec![default, route], subnets: vec!["10.78.2.0/25".parse().unwrap()] };
        assert_eq!(used.ipv4(&[]).unwrap().to_string(), "10.78.3.0/24");
        assert_eq!(used.ipv4(&[]).unwrap().to_string(), "10.78.4.0/24");
        assert_eq!(used.ipv6([1, 2, 3, 4, 5]).unwrap().to_string(), "fd01:203:405::/64");
        assert_eq!(used.ipv6([1, 2, 3, 4, 5]).unwrap().to_string(), "fd01:203:405:1::/64");
        let pool = ("10.200.0.0/20".parse().unwrap(), 22);
        let some: Vec<String> = (0..4).map(|_| used.ipv4(&[pool]).unwrap().to_string()).collect();
        assert_eq!(some, ["10.200.0.0/22", "10.200.4.0/22", "10.200.8.0/22", "10.200.12.0/22"]);
        assert!(used.ipv4(&[pool]).is_err());
        used.add("0.0.0.0/0".parse().unwrap());
        assert!(used.ipv4(&[]).is_err());
    }
}
