//! What a network is: a switch, subnets, gateways, and what may pass. The default one needs no file.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use kernel::netlink::{dump, route};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Subnet, subnet};

/// The network that containers are in when nothing else is said.
pub const DEFAULT: &str = "bridge";

/// One network, as its JSON file describes it; what the file leaves out is as in the default network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    pub name: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Nanoseconds after 1970.
    pub created: u64,
    pub driver: Driver,
    /// The host's link, at most 15 bytes: the bridge, or what a macvlan network is a part of.
    pub link: String,
    /// IPv4 and IPv6; a container has an address of each family.
    pub pools: Vec<Pool>,
    /// Bytes; none leaves the kernel's 1,500.
    pub mtu: Option<u32>,
    /// No way out and none in.
    pub internal: bool,
    /// `--attachable`, as it was typed: whoever may use the engine may connect containers. Left out where it is not, as every new
    /// field is: monitors of an older build read these files, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub attachable: bool,
    /// Containers of the network may talk to each other.
    pub icc: bool,
    /// What leaves for the world has the host's address.
    pub masquerade: bool,
    /// Other networks are out of reach; two that both are not isolated reach each other.
    pub isolated: bool,
    /// Where ports are published when `-p` names no address.
    pub host_address: Option<IpAddr>,
    /// As they were typed, for people.
    pub options: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// The nftables table of family `inet`.
    pub table: String,
}

/// How containers are plugged in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// By a cable to a switch in the kernel.
    #[default]
    Bridge,
    /// By further hardware addresses on a link of the host.
    Macvlan,
}

impl Driver {
    pub fn name(self) -> &'static str {
        match self {
            Driver::Bridge => "bridge",
            Driver::Macvlan => "macvlan",
        }
    }
}

/// A subnet, and who has which part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub subnet: Subnet,
    /// Of a bridge: its own address. None: a macvlan network without a way out.
    pub gateway: Option<IpAddr>,
    /// Containers that ask for no address get one out of this part.
    #[serde(default)]
    pub range: Option<Subnet>,
    /// Addresses that no container gets, by what they are for.
    #[serde(default)]
    pub reserved: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// With the first address as gateway.
    pub fn new(subnet: Subnet) -> Pool {
        let gateway = subnet::to_address(subnet.is_ipv4(), *subnet.hosts().start());
        Pool { subnet, gateway: Some(gateway), range: None, reserved: BTreeMap::new() }
    }

    /// Whether a container may have this address.
    pub fn is_for_containers(&self, address: IpAddr) -> bool {
        self.subnet.contains(address)
            && self.subnet.hosts().contains(&subnet::to_number(address))
            && self.gateway != Some(address)
            && !self.reserved.values().any(|taken| *taken == address)
    }
}

impl Default for Network {
    fn default() -> Network {
        let address = Ipv4Addr::new(10, 77, 0, 0).into();
        Network {
            name: DEFAULT.into(),
            id: fixed_id(DEFAULT),
            created: 0,
            driver: Driver::Bridge,
            link: "corten0".into(),
            pools: vec![Pool::new(Subnet { address, prefix: 16 })],
            mtu: None,
            internal: false,
            attachable: false,
            icc: true,
            masquerade: true,
            isolated: true,
            host_address: None,
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            table: "corten".into(),
        }
    }
}

/// The id of a network that is there on every machine.
pub fn fixed_id(name: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut word = |salt: u8| {
        // FNV-1a
        for byte in name.bytes().chain([salt]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        // never all digits: it could be taken for a number
        format!("a{:015x}", hash & 0x0fff_ffff_ffff_ffff)
    };
    (0..4).map(&mut word).collect()
}

impl Network {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Network> {
        let text = std::fs::read(path).map_err(|error| Error::File(path.to_owned(), error))?;
        let network: Network =
            serde_json::from_slice(&text).map_err(|error| Error::File(path.to_owned(), error.into()))?;
        network.check()?;
        Ok(network)
    }

    /// Whether it is the one that is always there, where names are not resolved (as in Docker).
    pub fn is_default(&self) -> bool {
        self.name == DEFAULT
    }

    /// The first pool of a family.
    pub fn pool(&self, ipv4: bool) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.is_ipv4() == ipv4)
    }

    /// The pool that an address is out of.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.subnet.contains(address))
    }

    /// The host as the containers see it, the IPv4 address first.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let of = |ipv4: bool| self.pools.iter().filter(move |pool| pool.subnet.is_ipv4() == ipv4);
        of(true).chain(of(false)).filter_map(|pool| pool.gateway)
    }

    pub fn has_ipv6(&self) -> bool {
        self.pool(false).is_some()
    }

    pub fn check(&self) -> Result<()> {
        let invalid = |why| Err(Error::Invalid(self.name.clone(), why));
        let word =
            |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if self.link.len() > route::NAME_MAX || !word(&self.link) || self.link.starts_with('.') {
            return invalid("the link's name must be 1 to 15 letters, digits, '-', '_' or '.'");
        }
        if !word(&self.table) || self.table.len() > 100 {
            return invalid("the table's name must be of letters, digits, '-', '_' or '.'");
        }
        if self.pools.is_empty() {
            return invalid("it has no subnet");
        }
        if self.mtu.is_some_and(|mtu| !(68..=65535).contains(&mtu)) {
            return invalid("the mtu must be from 68 to 65535");
        }
        for (i, pool) in self.pools.iter().enumerate() {
            check_pool(pool).or_else(invalid)?;
            if self.driver == Driver::Bridge && pool.gateway.is_none() {
                return invalid("a bridge needs a gateway in each subnet");
            }
            if self.pools[..i].iter().any(|other| other.subnet.overlaps(pool.subnet)) {
                return invalid("its subnets overlap");
            }
        }
        Ok(())
    }

    /// Refuses a subnet that the machine already reaches by another link, and names the route. Free of cost once the
    /// bridge is there.
    pub fn check_clash(&self) -> Result<()> {
        if self.driver == Driver::Macvlan || route::link_index(&self.link).is_ok() {
            return Ok(());
        }
        let used = crate::pools::Used::read()?;
        match self.pools.iter().find_map(|pool| used.route(pool.subnet).map(|route| (pool, route))) {
            None => Ok(()),
            Some((pool, route)) => {
                let links = dump::links().map_err(|failure| Error::Kernel("the links", failure))?;
                let link = links.into_iter().find(|link| Some(link.index) == route.link);
                Err(Error::Clash {
                    network: self.name.clone(),
                    subnet: pool.subnet,
                    destination: route.destination,
                    prefix: route.prefix,
                    link: link.map_or("another link".into(), |link| link.name),
                })
            }
        }
    }
}

fn check_pool(pool: &Pool) -> Result<(), &'static str> {
    let prefixes = if pool.subnet.is_ipv4() { 8..=30 } else { 8..=126 };
    if !prefixes.contains(&pool.subnet.prefix) {
        return Err("a subnet's prefix must be from 8 to 30, or to 126 with IPv6");
    }
    if let IpAddr::V6(address) = pool.subnet.address
        && (address.is_multicast() || address.is_unicast_link_local())
    {
        return Err("a subnet of IPv6 must not be link-local or multicast");
    }
    if let IpAddr::V4(address) = pool.subnet.address
        && (address.is_multicast()
            || address.is_loopback()
            || address.octets()[0] == 0
            || address.octets()[0] >= 240)
    {
        return Err("a subnet must be of addresses that hosts can have");
    }
    let inside = |address: IpAddr| {
        pool.subnet.contains(address) && pool.subnet.hosts().contains(&subnet::to_number(address))
    };
    if pool.gateway.is_some_and(|gateway| !inside(gateway)) {
        return Err("the gateway must be a host's address in the subnet");
    }
    let within = |range: Subnet| range.prefix >= pool.subnet.prefix && pool.subnet.overlaps(range);
    if pool.range.is_some_and(|range| !within(range)) {
        return Err("the range of addresses must be a part of the subnet");
    }
    if pool.reserved.values().any(|address| !pool.subnet.contains(*address)) {
        return Err("an auxiliary address must be in the subnet");
    }
    Ok(())
}

/// Docker's rule for names of networks.
pub fn check_name(name: &str) -> Result<()> {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if first && name.len() <= 200 && name.chars().all(plain) { Ok(()) } else { Err(Error::Name(name.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_overrides_the_default_and_is_checked() {
        let load = |text: &str| {
            let path = std::env::temp_dir().join(format!("corten-network-{}", std::process::id()));
            std::fs::write(&path, text).unwrap();
            let network = Network::load(&path);
            std::fs::remove_file(&path).unwrap();
            network
        };
        let pool = |subnet: &str, gateway: &str| {
            format!(r#"{{"pools":[{{"subnet":"{subnet}","gateway":"{gateway}"}}]}}"#)
        };
        let network = load(&pool("192.168.7.0/24", "192.168.7.1")).unwrap();
        assert_eq!((network.link.as_str(), network.pools[0].subnet.prefix), ("corten0", 24));
        let said = |text: &str| load(text).unwrap_err().to_string();
        assert!(said(&pool("192.168.7.0/24", "10.0.0.1")).contains("the gateway must be"));
        assert!(said(&pool("192.168.7.0/24", "192.168.7.0")).contains("the gateway must be"));
        assert!(said(&pool("192.168.7.0/31", "192.168.7.0")).contains("prefix must be"));
        assert!(said(&pool("fe80::/64", "fe80::1")).contains("link-local"));
        assert!(said(&pool("224.0.0.0/24", "224.0.0.1")).contains("hosts can have"));
        assert!(said(r#"{"link":"a/b"}"#).contains("the link's name"));
        assert!(said(r#"{"linkk":"x"}"#).contains("unknown field"));
        let back = serde_json::to_string(&Network::default()).unwrap();
        assert_eq!(load(&back).unwrap(), Network::default());
    }

    /// Monitors of an older build read what a newer one writes, and take no field that they do not know.
    #[test]
    fn older_and_newer_builds_read_each_other() {
        let older = r#"{"name":"nn","id":"4fa5","created":17957,"driver":"bridge","link":"br-4fa5","pools":[{"subnet":"10.78.0.0/24",
            "gateway":"10.78.0.1","range":null,"reserved":{}}],"mtu":null,"internal":false,"icc":true,"masquerade":true,
            "isolated":true,"host_address":null,"options":{},"labels":{},"table":"corten"}"#;
        let network: Network = serde_json::from_str(older).unwrap();
        let compact: String = older.split_whitespace().collect();
        assert_eq!(
            serde_json::to_string(&network).unwrap(),
            compact,
            "nothing new is written where nothing new is asked for"
        );
    }

    #[test]
    fn ids_of_fixed_networks_look_like_ids() {
        let id = fixed_id("bridge");
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_ne!(id, fixed_id("host"));
    }

    #[test]
    fn names_are_plain_words() {
        for good in ["a", "web-1", "my.net_2"] {
            check_name(good).unwrap();
        }
        for bad in ["", "-a", "a/b", "..", "a b", "ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
