//! From networks, addresses and ports to the steps that make them: a pure function, but for one look whether the kernel
//! has IPv6.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use steps::{
    ConfigureLinks, Configured, CreateMacvlan, CreateVeth, EnsureBridge, EnsureForwarding, EnsureSysctl,
    Forward, LetThrough, MacvlanMode, Publish, Step, Text,
};

use crate::firewall::{self, Rest};
use crate::lease::{link, mac};
use crate::network::Driver;
use crate::{Network, PublishedPort, Result};

/// The index of a container's first link; the next has the next one.
pub const LINK_INDEX: u32 = 10;

/// What is to be done for a container's networks, in the lists of a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attachment {
    pub host: Vec<Step>,
    pub joined: Vec<Step>,
    pub inside: Vec<Step>,
    /// Kernel parameters of the container's network namespace, dotted, to be set after [`Attachment::joined`].
    pub sysctls: Vec<(String, String)>,
}

/// A container's place in a network: what it has from `create`, or `connect`, to `rm`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// The network's name, and its id: one of the same name may be made after it.
    pub network: String,
    pub network_id: String,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub mac: [u8; 6],
    pub wish: Wish,
}

/// What was asked for with a network: `--ip`, `--ip6`, `--mac-address`, `--network-alias`, `--link`, and the like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wish {
    /// A network's name or id.
    pub network: String,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub mac: Option<[u8; 6]>,
    /// Other names of the container in this network.
    pub aliases: Vec<String>,
    /// Another container, and what it is called here.
    pub links: Vec<(String, String)>,
    /// The way out is by the network with the greatest.
    pub priority: i32,
    pub options: BTreeMap<String, String>,
}

impl Endpoint {
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// A name that no other endpoint has, as Docker's endpoints have: 64 hexadecimal digits.
    pub fn id(&self, container: &str) -> String {
        crate::network::fixed_id(&format!("{container} {}", self.network_id))
    }
}

/// A container's link into a network.
#[derive(Debug, Clone, Copy)]
pub struct Plug<'a> {
    pub network: &'a Network,
    pub endpoint: &'a Endpoint,
    /// 0 is `eth0`.
    pub number: u32,
}

impl Plug<'_> {
    pub fn name(&self) -> String {
        format!("eth{}", self.number)
    }

    pub fn index(&self) -> u32 {
        LINK_INDEX + self.number
    }

    /// The way out, where the network has one.
    pub fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        let address = self.endpoint.addresses().find(|address| address.is_ipv4() == ipv4)?;
        if self.network.internal { None } else { self.network.pool_of(address)?.gateway }
    }
}

/// The plug that leads to the world, by its place in the list: that of the greatest priority, the first of equals.
pub fn way_out(plugs: &[Plug], ipv4: bool) -> Option<usize> {
    let leads = |i: &usize| plugs[*i].gateway(ipv4).is_some();
    let rank = |i: &usize| (plugs[*i].endpoint.wish.priority, std::cmp::Reverse(*i));
    (0..plugs.len()).filter(leads).max_by_key(rank)
}

/// The addresses that published ports lead to: those of the way out, where that is a bridge.
pub fn targets(plugs: &[Plug]) -> Vec<IpAddr> {
    let target = |ipv4: bool| {
        let plug = plugs[way_out(plugs, ipv4)?];
        let bridge = plug.network.driver == Driver::Bridge;
        plug.endpoint.addresses().find(|address| bridge && address.is_ipv4() == ipv4)
    };
    [true, false].into_iter().filter_map(target).collect()
}

/// Each port to the address of its family.
pub fn forwards(ports: &[PublishedPort], targets: &[IpAddr]) -> Vec<Forward> {
    let one = |port: &PublishedPort| {
        let target = targets.iter().find(|target| target.is_ipv4() == port.host_ip.is_ipv4())?;
        Some(port.forward(*target))
    };
    ports.iter().filter_map(one).collect()
}

/// Plugs a container into its networks.
///
/// `start` is as in [`link`]. `rest` is needed only when [`firewall::intact`] says no, to put back what somebody deleted;
/// otherwise empty.
pub fn attach(
    plugs: &[Plug],
    container: &str,
    start: u64,
    ports: &[PublishedPort],
    rest: &Rest,
) -> Attachment {
    let mut attachment = Attachment::default();
    let bridges: Vec<&Plug> = plugs.iter().filter(|plug| plug.network.driver == Driver::Bridge).collect();
    for plug in &bridges {
        attachment.host.extend(bridge(plug.network));
    }
    if !bridges.is_empty() {
        let networks: Vec<&Network> = bridges.iter().map(|plug| plug.network).collect();
        attachment.host.extend(forwarding(&networks));
        attachment.host.push(firewall::ensure(&networks, rest).into());
        let through = networks.iter().map(|network| LetThrough { link: network.link.as_str().into() });
        attachment.host.extend(through.map(Step::from));
    }
    let forwards = forwards(ports, &targets(plugs));
    if let (false, Some(plug)) = (forwards.is_empty(), bridges.first()) {
        let table = plug.network.table.as_str().into();
        attachment.host.push(Publish { table, ports: forwards }.into());
    }
    attachment.joined.extend(plugs.iter().map(|plug| cable(plug, container, start)));
    let configured = (0..plugs.len()).map(|i| configured(plugs, i)).collect();
    attachment.inside.push(ConfigureLinks::new(configured).into());
    for plug in plugs {
        attachment.sysctls.extend(sysctls(plug));
    }
    attachment
}

/// The hardware address of a network's switch, and so of all its gateways.
fn bridge_mac(network: &Network) -> [u8; 6] {
    let first = network.pools.iter().find_map(|pool| pool.gateway);
    mac(first.unwrap_or(Ipv4Addr::UNSPECIFIED.into()))
}

/// The switch of a network.
pub fn bridge(network: &Network) -> Vec<Step> {
    let gateways = network.pools.iter().filter_map(|pool| Some((pool.gateway?, pool.subnet.prefix)));
    let mut addresses: Vec<_> = gateways.collect();
    if network.has_ipv6() {
        // The bridge asks for its neighbours by this address, and one of the kernel's own is not ready for a second.
        addresses.push((Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(), 64));
    }
    let sysctl = |key: &str, value: &str| {
        Step::from(EnsureSysctl { key: format!("net/{key}").into(), value: value.into() })
    };
    let name = &network.link;
    let mut steps = vec![Step::from(EnsureBridge {
        name: Text::from(name.as_str()),
        mac: bridge_mac(network),
        addresses,
        mtu: network.mtu,
    })];
    if network.pool(true).is_some() && !network.internal {
        // 127.0.0.1 of the host may reach published ports; the firewall keeps everybody else from it
        steps.push(sysctl(&format!("ipv4/conf/{name}/route_localnet"), "1"));
    }
    if has_ipv6() {
        // A container could tell the host of routers (CVE-2020-13401); and where there is no IPv6, there is none.
        steps.push(match network.has_ipv6() {
            true => sysctl(&format!("ipv6/conf/{name}/accept_ra"), "0"),
            false => sysctl(&format!("ipv6/conf/{name}/disable_ipv6"), "1"),
        });
    }
    steps
}

/// The host as a router, for the families that need it.
pub fn forwarding(networks: &[&Network]) -> Vec<Step> {
    let needs = |ipv4: bool| networks.iter().any(|n| !n.internal && n.pool(ipv4).is_some());
    let mut steps = Vec::new();
    if needs(true) {
        steps.push(EnsureSysctl { key: "net/ipv4/ip_forward".into(), value: "1".into() }.into());
    }
    if needs(false) {
        steps.push(EnsureForwarding {}.into());
    }
    steps
}

/// What makes the container's link, once its namespace is there.
pub fn cable(plug: &Plug, container: &str, start: u64) -> Step {
    let network = plug.network;
    let (inner, inner_index) = (Text::from(plug.name()), plug.index());
    let (mac, mtu, ipv6) = (plug.endpoint.mac, network.mtu, plug.endpoint.ipv6.is_some());
    match network.driver {
        Driver::Bridge => {
            let (host, host_index) = link(container, &network.name, start);
            let bridge = Text::from(network.link.as_str());
            let isolated = !network.icc;
            CreateVeth { host: host.into(), host_index, bridge, inner, inner_index, mac, mtu, isolated, ipv6 }
                .into()
        }
        Driver::Macvlan => {
            let named = network.options.get("macvlan_mode").or(network.options.get("mode"));
            let mode = MacvlanMode::ALL.into_iter().find(|mode| named.is_some_and(|n| n == mode.name()));
            let parent = Text::from(network.link.as_str());
            CreateMacvlan { parent, mode: mode.unwrap_or_default(), inner, inner_index, mac, mtu, ipv6 }
                .into()
        }
    }
}

/// What the link of one plug gets; the way out is where all plugs together say.
pub fn configured(plugs: &[Plug], number: usize) -> Configured {
    let plug = &plugs[number];
    let prefix = |address| plug.network.pool_of(address).map(|pool| (address, pool.subnet.prefix));
    let gateways = [true, false].into_iter().filter(|ipv4| way_out(plugs, *ipv4) == Some(number));
    let gateways: Vec<_> = gateways.filter_map(|ipv4| plug.gateway(ipv4)).collect();
    // A container next to this one could tell that it has the gateway's address, and be sent what leaves. Only of a bridge
    // that somebody else may have made the hardware address is not known.
    let named = plug.network.options.keys().any(|key| key.ends_with("bridge.name"));
    let ours = plug.network.driver == Driver::Bridge && !named;
    let fixed = |gateway: &IpAddr| ours.then(|| (*gateway, bridge_mac(plug.network)));
    let neighbours = gateways.iter().filter_map(fixed).collect();
    Configured {
        name: plug.name().into(),
        index: plug.index(),
        addresses: plug.endpoint.addresses().filter_map(prefix).collect(),
        gateways,
        neighbours,
    }
}

/// No IPv6 by the back door of link-local addresses in a network that has none (CVE-2024-32473), and no router that another
/// container makes up (CVE-2020-13401).
pub fn sysctls(plug: &Plug) -> Vec<(String, String)> {
    let key = |what: &str| format!("net.ipv6.conf.{}.{what}", plug.name());
    match (has_ipv6(), plug.endpoint.ipv6.is_some()) {
        (false, _) => Vec::new(),
        (true, false) => vec![(key("disable_ipv6"), "1".into())],
        (true, true) => vec![(key("accept_ra"), "0".into())],
    }
}

fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// `--network none`: a namespace with nothing but its own loopback.
pub fn alone() -> Attachment {
    Attachment { inside: vec![Step::from(ConfigureLinks::new(Vec::new()))], ..Attachment::default() }
}

/// The network of an endpoint, as it is now; an error when it was removed.
pub fn check(endpoint: &Endpoint, network: &Network) -> Result<()> {
    if endpoint.network_id == network.id {
        Ok(())
    } else {
        Err(crate::Error::NotFound(endpoint.network.clone(), steps::Near::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steps::Protocol;

    fn say(steps: &[Step]) -> String {
        steps.iter().flat_map(|step| step.shell().lines).collect::<Vec<_>>().join("\n")
    }

    fn example() -> Attachment {
        let network = Network::default();
        let endpoint = endpoint("10.77.0.2", None);
        let port = PublishedPort {
            host_ip: Ipv4Addr::UNSPECIFIED.into(),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        let other = PublishedPort { host_ip: [127, 0, 0, 1].into(), ..port.clone() };
        let rest = Rest { networks: Vec::new(), forwards: vec![other.forward([10, 77, 0, 9].into())] };
        let plug = Plug { network: &network, endpoint: &endpoint, number: 0 };
        attach(&[plug], "4f3c", 0, &[port], &rest)
    }

    fn endpoint(ipv4: &str, ipv6: Option<&str>) -> Endpoint {
        let ipv4: Ipv4Addr = ipv4.parse().unwrap();
        let ipv6 = ipv6.map(|address| address.parse().unwrap());
        Endpoint { ipv4: Some(ipv4), ipv6, mac: mac(ipv4.into()), ..Endpoint::default() }
    }
    #[test]
    fn it_is_said_in_shell() {
        let attachment = example();
        insta::assert_snapshot!(say(&attachment.host), @r#"
        ip link show corten0 >/dev/null 2>&1 || ip link add corten0 address 02:42:0a:4d:00:01 type bridge mcast_snooping 0
        ip address replace 10.77.0.1/16 brd + dev corten0
        ip link set corten0 up
        sysctl -qw net.ipv4.conf.corten0.route_localnet=1
        sysctl -qw net.ipv6.conf.corten0.disable_ipv6=1
        sysctl -qw net.ipv4.ip_forward=1
        nft list table inet corten >/dev/null 2>&1 || nft -f - <<'NFT'
        table inet corten {
        	comment "corten firewall 2"
        	set bridges {
        		type ifname
        		elements = { "corten0" }
        	}
        	set masqueraded {
        		type ifname
        		elements = { "corten0" }
        	}
        	set internal {
        		type ifname
        	}
        	set open {
        		type ifname
        	}
        	set neighbours {
        		type ifname . ifname
        		elements = { "corten0" . "corten0" }
        	}
        	set subnets4 {
        		type ipv4_addr
        		flags interval
        		elements = { 10.77.0.0/16 }
        	}
        	set subnets6 {
        		type ipv6_addr
        		flags interval
        	}
        	map published4 {
        		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        		elements = { 127.0.0.1 . tcp . 8080 : 10.77.0.9 . 80 }
        	}
        	map published6 {
        		type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
        	}
        	map published_any4 {
        		type inet_proto . inet_service : ipv4_addr . inet_service
        	}
        	map published_any6 {
        		type inet_proto . inet_service : ipv6_addr . inet_service
        	}
        	chain raw {
        		type filter hook prerouting priority -300; policy accept;
        		iifname != "lo" ip daddr 127.0.0.0/8 drop
        		iifname != "lo" ip saddr 127.0.0.0/8 drop
        	}
        	chain prerouting {
        		type nat hook prerouting priority -100; policy accept;
        		dnat ip to ip daddr . meta l4proto . th dport map @published4
        		dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6
        		fib daddr type local dnat ip to meta l4proto . th dport map @published_any4
        		fib daddr type local dnat ip6 to meta l4proto . th dport map @published_any6
        	}
        	chain output {
        		type nat hook output priority -100; policy accept;
        		ip6 daddr ::1 return
        		dnat ip to ip daddr . meta l4proto . th dport map @published4
        		dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6
        		fib daddr type local dnat ip to meta l4proto . th dport map @published_any4
        		fib daddr type local dnat ip6 to meta l4proto . th dport map @published_any6
        	}
        	chain postrouting {
        		type nat hook postrouting priority 100; policy accept;
        		iifname @masqueraded oifname != @bridges masquerade
        		ip saddr @subnets4 oifname @bridges ct status dnat masquerade
        		ip6 saddr @subnets6 oifname @bridges ct status dnat masquerade
        		ip saddr 127.0.0.0/8 oifname @bridges masquerade
        	}
        	chain input {
        		type filter hook input priority 0; policy accept;
        		iifname @internal meta pkttype host fib daddr . iif type != local drop
        	}
        	chain forward {
        		type filter hook forward priority 0; policy accept;
        		iifname . oifname @neighbours accept
        		iifname @internal drop
        		oifname @internal drop
        		oifname @bridges jump inward
        	}
        	chain inward {
        		ct state established,related accept
        		ct status dnat accept
        		iifname @open oifname @open accept
        		drop
        	}
        }
        NFT
        if nft list chain ip filter FORWARD 2>/dev/null | grep -q 'policy drop'; then for i in iifname oifname; do nft insert rule ip filter FORWARD $i corten0 counter accept; done; fi
        if nft list chain ip6 filter FORWARD 2>/dev/null | grep -q 'policy drop'; then for i in iifname oifname; do nft insert rule ip6 filter FORWARD $i corten0 counter accept; done; fi
        nft add element inet corten published_any4 '{ tcp . 8080 : 10.77.0.2 . 80 }'
        "#);
        insta::assert_snapshot!(say(&attachment.joined), @r"
        ip link add eth0 index 10 address 02:42:0a:4d:00:02 numtxqueues 1 numrxqueues 1 netns $PID up type veth peer name veth7dbf8be index 400292030 numtxqueues 1 numrxqueues 1
        nsenter -t $PID -n ip link set eth0 addrgenmode none
        sysctl -qew net.ipv6.conf.veth7dbf8be.disable_ipv6=1
        ip link set veth7dbf8be master corten0 up
        ip link set veth7dbf8be type bridge_slave hairpin on
        ");
        insta::assert_snapshot!(say(&attachment.inside), @r"
        ip link set lo up
        ip link set eth0 up
        ip address add 10.77.0.2/16 brd + dev eth0
        ip neighbour replace 10.77.0.1 lladdr 02:42:0a:4d:00:01 nud permanent dev eth0
        ip route add default via 10.77.0.1 dev eth0 proto static
        ");
    }

    #[test]
    fn only_ports_need_to_be_taken_back() {
        let undo: Vec<Step> = example().host.iter().filter_map(Step::undo).collect();
        assert_eq!(say(&undo), "nft delete element inet corten published_any4 '{ tcp . 8080 }'");
        assert!(example().joined.iter().all(|step| step.undo().is_none()));
    }

    #[test]
    fn alone_has_its_loopback() {
        assert_eq!(say(&alone().inside), "ip link set lo up");
    }
}
