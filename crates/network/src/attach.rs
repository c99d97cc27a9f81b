//! From a network, a lease and ports to the steps that make them: a pure function, but for one look whether the kernel
//! has IPv6.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use serde::{Deserialize, Serialize};
use steps::{
    ConfigureLinks, Configured, CreateVeth, EnsureBridge, EnsureSysctl, Forward, Publish, Step, Text,
};

use crate::lease::{Lease, link, mac};
use crate::{Network, PublishedPort, firewall};

/// The container's link: its name and its index are the same in every container.
pub const LINK: &str = "eth0";
pub const LINK_INDEX: u32 = 10;

/// What is to be done for a container's network, in the lists of a plan.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attachment {
    pub host: Vec<Step>,
    pub joined: Vec<Step>,
    pub inside: Vec<Step>,
    /// Kernel parameters of the container's network namespace, dotted, to be set after [`Attachment::joined`].
    pub sysctls: Vec<(String, String)>,
}

/// A running container, as the firewall knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub ports: Vec<PublishedPort>,
}

impl Endpoint {
    pub(crate) fn forwards(&self) -> impl Iterator<Item = Forward> {
        self.ports.iter().map(|port| port.forward(IpAddr::V4(self.address)))
    }
}

/// Plugs a container into a network.
///
/// `start` is as in [`link`]. `others` are the running containers with published ports: needed only when
/// [`firewall::intact`] says no, to put back what somebody deleted; otherwise empty.
pub fn attach(
    network: &Network,
    lease: &Lease,
    container: &str,
    start: u64,
    ports: &[PublishedPort],
    others: &[Endpoint],
) -> Attachment {
    let bridge = Text::from(network.bridge.as_str());
    let (host, host_index) = link(container, start);
    let sysctl = |key: String, value: &str| EnsureSysctl { key: key.into(), value: value.into() };
    let mut attachment = Attachment::default();
    attachment.host.extend([
        Step::from(EnsureBridge {
            name: bridge.clone(),
            address: network.gateway,
            prefix: network.subnet.prefix,
            mac: mac(network.gateway),
            mtu: network.mtu,
        }),
        sysctl("net/ipv4/ip_forward".into(), "1").into(),
        // 127.0.0.1 of the host may reach published ports; the firewall keeps everybody else from it
        sysctl(format!("net/ipv4/conf/{}/route_localnet", network.bridge), "1").into(),
        firewall::ensure(network, others).into(),
    ]);
    if !ports.is_empty() {
        let endpoint = Endpoint { address: lease.address, ports: ports.to_vec() };
        let table = network.table.as_str().into();
        attachment.host.push(Publish { table, ports: endpoint.forwards().collect() }.into());
    }
    attachment.joined.push(Step::from(CreateVeth {
        host: host.into(),
        host_index,
        bridge,
        inner: LINK.into(),
        inner_index: LINK_INDEX,
        mac: lease.mac,
        mtu: network.mtu,
    }));
    attachment.inside.push(Step::from(ConfigureLinks::new(Some(Configured {
        name: LINK.into(),
        index: LINK_INDEX,
        address: lease.address,
        prefix: lease.prefix,
        gateway: Some(lease.gateway),
    }))));
    // no IPv6 by the back door of link-local addresses in a network that has none (CVE-2024-32473)
    if Path::new("/proc/sys/net/ipv6").exists() {
        attachment.sysctls.push((format!("net.ipv6.conf.{LINK}.disable_ipv6"), "1".into()));
    }
    attachment
}

/// `--network none`: a namespace with nothing but its own loopback.
pub fn alone() -> Attachment {
    Attachment { inside: vec![Step::from(ConfigureLinks::new(None))], ..Attachment::default() }
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
        let address = Ipv4Addr::new(10, 77, 0, 2);
        let lease = Lease { address, prefix: 16, gateway: network.gateway, mac: mac(address) };
        let port =
            PublishedPort { host_ip: None, host_port: 8080, container_port: 80, protocol: Protocol::Tcp };
        let other = Endpoint {
            address: Ipv4Addr::new(10, 77, 0, 9),
            ports: vec![PublishedPort { host_ip: Some([127, 0, 0, 1].into()), ..port.clone() }],
        };
        attach(&network, &lease, "4f3c", 0, &[port], &[other])
    }

    #[test]
    fn it_is_said_in_shell() {
        let attachment = example();
        insta::assert_snapshot!(say(&attachment.host), @r#"
        ip link show corten0 >/dev/null 2>&1 || ip link add corten0 address 02:42:0a:4d:00:01 type bridge
        ip address replace 10.77.0.1/16 brd + dev corten0
        ip link set corten0 up
        sysctl -qw net.ipv4.ip_forward=1
        sysctl -qw net.ipv4.conf.corten0.route_localnet=1
        nft list table inet corten >/dev/null 2>&1 || nft -f - <<'NFT'
        table inet corten {
        	comment "corten firewall 1"
        	set bridges {
        		type ifname
        		elements = { "corten0" }
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
        		dnat ip to ip daddr . meta l4proto . th dport map @published4
        		dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6
        		fib daddr type local dnat ip to meta l4proto . th dport map @published_any4
        		fib daddr type local dnat ip6 to meta l4proto . th dport map @published_any6
        	}
        	chain postrouting {
        		type nat hook postrouting priority 100; policy accept;
        		iifname @bridges oifname != @bridges masquerade
        		ip saddr @subnets4 oifname @bridges ct status dnat masquerade
        		ip saddr 127.0.0.0/8 oifname @bridges masquerade
        	}
        	chain forward {
        		type filter hook forward priority 0; policy accept;
        		oifname @bridges jump inward
        	}
        	chain inward {
        		ct state established,related accept
        		ct status dnat accept
        		iifname . oifname @neighbours accept
        		drop
        	}
        }
        NFT
        nft add element inet corten published_any4 '{ tcp . 8080 : 10.77.0.2 . 80 }'
        "#);
        insta::assert_snapshot!(say(&attachment.joined), @r#"
        ip link add eth0 index 10 address 02:42:0a:4d:00:02 numtxqueues 1 numrxqueues 1 netns $PID up type veth peer name veth490f22a index 345043498 numtxqueues 1 numrxqueues 1
        ip link set veth490f22a master corten0 up
        ip link set veth490f22a type bridge_slave hairpin on
        "#);
        insta::assert_snapshot!(say(&attachment.inside), @r#"
        ip link set lo up
        ip address add 10.77.0.2/16 brd + dev eth0
        ip route add default via 10.77.0.1 dev eth0 proto static
        "#);
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
