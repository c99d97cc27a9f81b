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

    /// A free /24, and taken from now on.
    pub fn ipv4(&mut self) -> Result<Subnet> {
        let thirds = IPV4.iter().flat_map(|(a, b)| (0..=255).map(move |c| Ipv4Addr::new(*a, *b, c, 0)));
        let mut all = thirds.map(|address| Subnet { address: address.into(), prefix: 24 });
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
        assert_eq!(used.ipv4().unwrap().to_string(), "10.78.3.0/24");
        assert_eq!(used.ipv4().unwrap().to_string(), "10.78.4.0/24");
        assert_eq!(used.ipv6([1, 2, 3, 4, 5]).unwrap().to_string(), "fd01:203:405::/64");
        assert_eq!(used.ipv6([1, 2, 3, 4, 5]).unwrap().to_string(), "fd01:203:405:1::/64");
        used.add("0.0.0.0/0".parse().unwrap());
        assert!(used.ipv4().is_err());
    }
}
