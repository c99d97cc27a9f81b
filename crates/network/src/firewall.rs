//! The engine's nftables table, described once: what is sent to the kernel and what `--explain` prints are this value.
//!
//! Rules are few and never grow: networks and published ports are elements of sets and maps. What another table drops
//! stays dropped: a verdict of `accept` ends only our own chain. So a host whose forward policy is `drop` (Docker sets
//! it, ufw does) has to let the bridge through in its own rules: `iptables -I FORWARD -i corten0 -j ACCEPT` and
//! `-o corten0`.

use kernel::netlink::{Failure, Socket};
use kernel::nft::expression::{Conntrack, Header, Meta, Operator, Verdict};
use kernel::nft::{Chain, Element, Expression, Field, Hook, HookPoint, Kind, Rule, Set, Table, ifname, kept};
use std::net::IpAddr;
use steps::nft::{PUBLISHED, PUBLISHED_ANY};
use steps::{EnsureFirewall, Forward};

use crate::network::Driver;
use crate::{Error, Network, Result};

/// Says which rules a standing table has. Raise it with every change of the rules: the next run replaces the table.
const VERSION: &str = "corten firewall 2";

/// The bridges of all networks.
const BRIDGES: &str = "bridges";
/// Bridges whose containers leave in the name of the host.
const MASQUERADED: &str = "masqueraded";
/// Bridges without a way out or in.
const INTERNAL: &str = "internal";
/// Bridges that reach each other.
const OPEN: &str = "open";
/// Pairs of bridges, from and to, whose containers may talk to each other: each with itself.
const NEIGHBOURS: &str = "neighbours";
/// The subnets of all networks.
const SUBNETS: [&str; 2] = ["subnets4", "subnets6"];

/// Values of NFPROTO_….
const IPV4: u32 = 2;
const IPV6: u32 = 10;
/// Bits of `enum ip_conntrack_status` and of nft's connection states.
const STATUS_DNAT: u32 = 1 << 5;
const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
const TYPE_LOCAL: u32 = 2;

/// The table with these networks, and with these ports in its maps.
pub fn table(networks: &[&Network], forwards: &[Forward]) -> Table {
    let members: Vec<_> = networks.iter().flat_map(|network| members(network)).collect();
    let set = |name, key| {
        let mine = members.iter().filter(|(set, _)| *set == name);
        Set { name, key, data: &[], interval: false, elements: mine.map(|(_, e)| e.clone()).collect() }
    };
    let map = |name, key, data| {
        let mine = forwards.iter().filter(|forward| forward.map() == name);
        Set { name, key, data, interval: false, elements: mine.map(Forward::element).collect() }
    };
    use Field::{Ifname, Ipv4, Ipv6, Port, Protocol};
    Table {
        name: networks.first().map_or("corten", |network| &network.table).to_owned(),
        comment: VERSION.into(),
        sets: vec![
            set(BRIDGES, &[Ifname]),
            set(MASQUERADED, &[Ifname]),
            set(INTERNAL, &[Ifname]),
            set(OPEN, &[Ifname]),
            set(NEIGHBOURS, &[Ifname, Ifname]),
            Set { interval: true, ..set(SUBNETS[0], &[Ipv4]) },
            Set { interval: true, ..set(SUBNETS[1], &[Ipv6]) },
            map(PUBLISHED[0], &[Ipv4, Protocol, Port], &[Ipv4, Port]),
            map(PUBLISHED[1], &[Ipv6, Protocol, Port], &[Ipv6, Port]),
            map(PUBLISHED_ANY[0], &[Protocol, Port], &[Ipv4, Port]),
            map(PUBLISHED_ANY[1], &[Protocol, Port], &[Ipv6, Port]),
        ],
        chains: vec![
            raw(),
            nat("prerouting", HookPoint::Prerouting),
            nat("output", HookPoint::Output),
            postrouting(),
            input(),
            forward(),
            inward(),
        ],
    }
}

/// The step that makes the table be there, and know `networks`. `rest` is what else belongs into it when it has to be
/// made anew: all other networks, and the ports of running containers.
pub fn ensure(networks: &[&Network], rest: &Rest) -> EnsureFirewall {
    let known: Vec<_> = networks.iter().flat_map(|network| members(network)).collect();
    let others = rest.networks.iter().filter(|other| !networks.iter().any(|n| n.name == other.name));
    let all: Vec<&Network> = networks.iter().copied().chain(others).collect();
    EnsureFirewall { table: Some(table(&all, &rest.forwards)), members: known }
}

/// What a table that has to be made anew holds beside the networks at hand; empty while it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rest {
    pub networks: Vec<Network>,
    pub forwards: Vec<Forward>,
}

/// Whether the table stands and knows these networks. If it does not, [`crate::attach`] needs to be told the [`Rest`].
/// About 15 µs.
pub fn intact(networks: &[&Network]) -> Result<bool> {
    let known: Vec<_> = networks.iter().flat_map(|network| members(network)).collect();
    let ask = |socket: &Socket| steps::nft::intact(socket, &table(networks, &[]), &known);
    let answer = kept::with(ask).map_err(Failure::of).flatten();
    answer.map_err(|failure| Error::Kernel("the firewall table", failure))
}

/// What the table knows of a network. A macvlan network is none of its business.
pub fn members(network: &Network) -> Vec<(&'static str, Element)> {
    if network.driver == Driver::Macvlan {
        return Vec::new();
    }
    let name = ifname(&network.link);
    let one = || Element::new(&[&name], &[]);
    let mut members = vec![(BRIDGES, one())];
    if network.internal {
        members.push((INTERNAL, one()));
    } else if network.masquerade {
        members.push((MASQUERADED, one()));
    }
    if !network.isolated && !network.internal {
        members.push((OPEN, one()));
    }
    if network.icc {
        members.push((NEIGHBOURS, Element::new(&[&name, &name], &[])));
    }
    members.extend(network.pools.iter().map(|pool| {
        let (first, end) = pool.subnet.range();
        (SUBNETS[usize::from(!pool.subnet.is_ipv4())], Element::range(&octets(first), &octets(end)))
    }));
    members
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The bridges have route_localnet, so that 127.0.0.1 of the host reaches published ports. Without these rules a
/// container, or a neighbour of the host, would reach what listens on 127.0.0.1 only (CVE-2020-8558), or would be
/// taken for it. It also keeps `-p 127.0.0.1:…` from the outside (CVE-2025-54410).
fn raw() -> Chain {
    let address = |offset| {
        let mut rule = vec![meta(Meta::Iifname), not_equal(ifname("lo").to_vec())];
        rule.extend(ipv4_byte(offset, 127));
        rule.push(verdict(Verdict::Drop));
        rule
    };
    Chain {
        name: "raw",
        hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Prerouting, priority: -300 }),
        rules: vec![
            rule(r#"iifname != "lo" ip daddr 127.0.0.0/8 drop"#, address(16)),
            rule(r#"iifname != "lo" ip saddr 127.0.0.0/8 drop"#, address(12)),
        ],
    }
}

/// Published ports, for what arrives and for what the machine itself sends. What it sends to ::1 stays: an answer to that
/// address is not accepted from another link, whatever one does. So a client hears at once that nobody is there, and tries
/// 127.0.0.1.
fn nat(name: &'static str, hook: HookPoint) -> Chain {
    let mut rules = vec![
        rule("dnat ip to ip daddr . meta l4proto . th dport map @published4", published(IPV4, PUBLISHED[0])),
        rule(
            "dnat ip6 to ip6 daddr . meta l4proto . th dport map @published6",
            published(IPV6, PUBLISHED[1]),
        ),
        rule(
            "fib daddr type local dnat ip to meta l4proto . th dport map @published_any4",
            published_any(IPV4, PUBLISHED_ANY[0]),
        ),
        rule(
            "fib daddr type local dnat ip6 to meta l4proto . th dport map @published_any6",
            published_any(IPV6, PUBLISHED_ANY[1]),
        ),
    ];
    if hook == HookPoint::Output {
        let stays = join([&to_ipv6_loopback(), &[verdict(Verdict::Return)]]);
        rules.insert(0, rule("ip6 daddr ::1 return", stays));
    }
    Chain { name, hook: Some(Hook { kind: Kind::Nat, hook, priority: -100 }), rules }
}

/// Key: address, protocol, port from register 1 on; data, address and port, into register 1 on.
fn published(family: u32, map: &'static str) -> Vec<Expression> {
    let mut rule = vec![meta(Meta::Nfproto), equal(vec![family as u8])];
    let (offset, words) = if family == IPV4 { (16, 1) } else { (24, 4) };
    rule.push(Expression::Payload { header: Header::Network, offset, length: words * 4, to: 1 });
    rule.extend(port_key(wide(words), wide(words + 1)));
    rule.extend(dnat(family, words, map));
    rule
}

fn published_any(family: u32, map: &'static str) -> Vec<Expression> {
    let mut rule =
        vec![Expression::DestinationType { here: false, to: 1 }, equal(TYPE_LOCAL.to_ne_bytes().to_vec())];
    rule.extend(port_key(1, wide(1)));
    rule.extend(dnat(family, if family == IPV4 { 1 } else { 4 }, map));
    rule
}

fn port_key(protocol: u32, port: u32) -> [Expression; 2] {
    [
        Expression::Meta { key: Meta::L4proto, to: protocol },
        Expression::Payload { header: Header::Transport, offset: 2, length: 2, to: port },
    ]
}

/// `words`: the length of an address in registers of four bytes.
fn dnat(family: u32, words: u32, map: &'static str) -> [Expression; 2] {
    [
        Expression::Lookup { set: map, from: 1, data: Some(1), inverted: false },
        Expression::Dnat { family, address: 1, port: wide(words) },
    ]
}

/// The register that is `words` times four bytes after register 1: where it is one of the wide ones, by that name.
fn wide(words: u32) -> u32 {
    if words.is_multiple_of(4) { 1 + words / 4 } else { 8 + words }
}

fn postrouting() -> Chain {
    let from_bridge = || [meta(Meta::Iifname), lookup(MASQUERADED)];
    let from_subnet = |family: u32| {
        let (offset, length, set) = if family == IPV4 { (12, 4, SUBNETS[0]) } else { (8, 16, SUBNETS[1]) };
        [
            meta(Meta::Nfproto),
            equal(vec![family as u8]),
            Expression::Payload { header: Header::Network, offset, length, to: 1 },
            lookup(set),
        ]
    };
    let to_bridge = || [meta(Meta::Oifname), lookup(BRIDGES)];
    let leaving = Expression::Lookup { set: BRIDGES, from: 1, data: None, inverted: true };
    let dnat = || status(Conntrack::Status, STATUS_DNAT);
    let masquerade = || [Expression::Masquerade];
    Chain {
        name: "postrouting",
        hook: Some(Hook { kind: Kind::Nat, hook: HookPoint::Postrouting, priority: 100 }),
        rules: vec![
            // out into the world
            rule(
                "iifname @masqueraded oifname != @bridges masquerade",
                join([&from_bridge(), &[meta(Meta::Oifname), leaving], &masquerade()]),
            ),
            // From a container to a published port: the answer must come back through here, not over the bridge. Where
            // the bridge itself calls the hooks (br_netfilter), there is no iifname.
            rule(
                "ip saddr @subnets4 oifname @bridges ct status dnat masquerade",
                join([&from_subnet(IPV4), &to_bridge(), &dnat(), &masquerade()]),
            ),
            rule(
                "ip6 saddr @subnets6 oifname @bridges ct status dnat masquerade",
                join([&from_subnet(IPV6), &to_bridge(), &dnat(), &masquerade()]),
            ),
            // from 127.0.0.1 of the host to a published port: the container cannot answer that address
            rule(
                "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
                join([&ipv4_byte(12, 127), &to_bridge(), &masquerade()]),
            ),
        ],
    }
}

/// From an internal network the host has one address only: that of the bridge.
fn input() -> Chain {
    let elsewhere = [
        Expression::DestinationType { here: true, to: 1 },
        not_equal(TYPE_LOCAL.to_ne_bytes().to_vec()),
        verdict(Verdict::Drop),
    ];
    // Broadcast and multicast (neighbour discovery) are of the link itself.
    let unicast = [Expression::Meta { key: Meta::Pkttype, to: 1 }, equal(vec![0])];
    Chain {
        name: "input",
        hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Input, priority: 0 }),
        rules: vec![rule(
            "iifname @internal meta pkttype host fib daddr . iif type != local drop",
            join([&[meta(Meta::Iifname), lookup(INTERNAL)], &unicast, &elsewhere]),
        )],
    }
}

fn forward() -> Chain {
    let pair = [meta(Meta::Iifname), Expression::Meta { key: Meta::Oifname, to: 2 }, lookup(NEIGHBOURS)];
    let drop = || [verdict(Verdict::Drop)];
    Chain {
        name: "forward",
        hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Forward, priority: 0 }),
        rules: vec![
            // where the bridge itself calls the hooks
            rule("iifname . oifname @neighbours accept", join([&pair, &[verdict(Verdict::Accept)]])),
            rule("iifname @internal drop", join([&[meta(Meta::Iifname), lookup(INTERNAL)], &drop()])),
            rule("oifname @internal drop", join([&[meta(Meta::Oifname), lookup(INTERNAL)], &drop()])),
            rule(
                "oifname @bridges jump inward",
                vec![meta(Meta::Oifname), lookup(BRIDGES), verdict(Verdict::Jump("inward"))],
            ),
        ],
    }
}

/// What may reach a container: answers, published ports, open networks. Its address alone opens nothing.
fn inward() -> Chain {
    let accept = || [verdict(Verdict::Accept)];
    let both = [meta(Meta::Iifname), lookup(OPEN), meta(Meta::Oifname), lookup(OPEN)];
    Chain {
        name: "inward",
        hook: None,
        rules: vec![
            rule(
                "ct state established,related accept",
                join([&status(Conntrack::State, ESTABLISHED_OR_RELATED), &accept()]),
            ),
            rule("ct status dnat accept", join([&status(Conntrack::Status, STATUS_DNAT), &accept()])),
            rule("iifname @open oifname @open accept", join([&both, &accept()])),
            rule("drop", vec![verdict(Verdict::Drop)]),
        ],
    }
}

fn rule(text: &'static str, expressions: Vec<Expression>) -> Rule {
    Rule { text, expressions }
}

fn join<const N: usize>(parts: [&[Expression]; N]) -> Vec<Expression> {
    parts.concat()
}

fn meta(key: Meta) -> Expression {
    Expression::Meta { key, to: 1 }
}

fn equal(value: Vec<u8>) -> Expression {
    Expression::Compare { operator: Operator::Equal, from: 1, value }
}

fn not_equal(value: Vec<u8>) -> Expression {
    Expression::Compare { operator: Operator::NotEqual, from: 1, value }
}

fn lookup(set: &'static str) -> Expression {
    Expression::Lookup { set, from: 1, data: None, inverted: false }
}

fn verdict(verdict: Verdict) -> Expression {
    Expression::Verdict(verdict)
}

/// The first byte of an IPv4 address in the packet.
fn ipv4_byte(offset: u32, value: u8) -> [Expression; 4] {
    [
        meta(Meta::Nfproto),
        equal(vec![IPV4 as u8]),
        Expression::Payload { header: Header::Network, offset, length: 1, to: 1 },
        equal(vec![value]),
    ]
}

/// The packet is for ::1.
fn to_ipv6_loopback() -> [Expression; 4] {
    [
        meta(Meta::Nfproto),
        equal(vec![IPV6 as u8]),
        Expression::Payload { header: Header::Network, offset: 24, length: 16, to: 1 },
        equal(std::net::Ipv6Addr::LOCALHOST.octets().to_vec()),
    ]
}

/// Any of the bits in `mask`.
fn status(key: Conntrack, mask: u32) -> [Expression; 3] {
    [Expression::Conntrack { key, to: 1 }, Expression::Mask { register: 1, mask }, not_equal(vec![0; 4])]
}
