//! The engine's nftables table, described once: what is sent to the kernel and what `--explain` prints are this value.
//!
//! Rules are few and never grow: networks and published ports are elements of sets and maps. What another table drops
//! stays dropped: a verdict of `accept` ends only our own chain. So a host whose forward policy is `drop` (Docker sets
//! it, ufw does) has to let the bridge through in its own rules: `iptables -I FORWARD -i corten0 -j ACCEPT` and
//! `-o corten0`.

use kernel::netlink::{Failure, Socket};
use kernel::nft::expression::{Conntrack, Header, Meta, Operator, Verdict};
use kernel::nft::{Chain, Element, Expression, Field, Hook, HookPoint, Kind, Rule, Set, Table, ifname, kept};
use steps::nft::{PUBLISHED, PUBLISHED_ANY};
use steps::{EnsureFirewall, Forward};

use crate::{Endpoint, Error, Network, Result};

/// Says which rules a standing table has. Raise it with every change of the rules: the next run replaces the table.
const VERSION: &str = "corten firewall 1";

/// The bridges of all networks.
const BRIDGES: &str = "bridges";
/// Pairs of bridges, from and to, whose containers may talk to each other: each with itself.
const NEIGHBOURS: &str = "neighbours";

/// The subnets of all networks.
const SUBNETS: &str = "subnets4";

/// Values of NFPROTO_….
const IPV4: u32 = 2;
const IPV6: u32 = 10;
/// Bits of `enum ip_conntrack_status` and of nft's connection states.
const STATUS_DNAT: u32 = 1 << 5;
const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
const TYPE_LOCAL: u32 = 2;

/// The table of `network`, with the published ports of `endpoints` in its maps.
pub fn table(network: &Network, endpoints: &[Endpoint]) -> Table {
    let set = |name, key, elements| Set { name, key, data: &[], interval: false, elements };
    let forwards: Vec<Forward> = endpoints.iter().flat_map(Endpoint::forwards).collect();
    let map = |name, key, data| {
        let mine = forwards.iter().filter(|forward| forward.map() == name);
        Set { name, key, data, interval: false, elements: mine.map(Forward::element).collect() }
    };
    let [bridge, neighbour, subnet] = members(network).map(|(_, element)| element);
    use Field::{Ifname, Ipv4, Ipv6, Port, Protocol};
    Table {
        name: network.table.clone(),
        comment: VERSION.into(),
        sets: vec![
            set(BRIDGES, &[Ifname], vec![bridge]),
            set(NEIGHBOURS, &[Ifname, Ifname], vec![neighbour]),
            Set { interval: true, ..set(SUBNETS, &[Ipv4], vec![subnet]) },
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
            forward(),
            inward(),
        ],
    }
}

/// The step that makes the table be there.
pub fn ensure(network: &Network, endpoints: &[Endpoint]) -> EnsureFirewall {
    EnsureFirewall { table: Some(table(network, endpoints)), members: members(network).into() }
}

/// Whether the table stands and knows the network. If it does not, [`crate::attach`] needs to be told the published
/// ports of all running containers, to put them back. About 15 µs.
pub fn intact(network: &Network) -> Result<bool> {
    let ask = |socket: &Socket| steps::nft::intact(socket, &table(network, &[]), &members(network));
    let answer = kept::with(ask).map_err(Failure::of).flatten();
    answer.map_err(|failure| Error::Kernel("the firewall table", failure))
}

fn members(network: &Network) -> [(&'static str, Element); 3] {
    let name = ifname(&network.bridge);
    let (first, end) = network.subnet.range();
    [
        (BRIDGES, Element::new(&[&name], &[])),
        (NEIGHBOURS, Element::new(&[&name, &name], &[])),
        (SUBNETS, Element::range(&first.octets(), &end.octets())),
    ]
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

/// Published ports, for what arrives and for what the machine itself sends.
fn nat(name: &'static str, hook: HookPoint) -> Chain {
    Chain {
        name,
        hook: Some(Hook { kind: Kind::Nat, hook, priority: -100 }),
        rules: vec![
            rule(
                "dnat ip to ip daddr . meta l4proto . th dport map @published4",
                published(IPV4, PUBLISHED[0]),
            ),
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
        ],
    }
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
    let mut rule = vec![Expression::DestinationType { to: 1 }, equal(TYPE_LOCAL.to_ne_bytes().to_vec())];
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
    let from_bridge = || [meta(Meta::Iifname), lookup(BRIDGES)];
    let from_subnet = [
        meta(Meta::Nfproto),
        equal(vec![IPV4 as u8]),
        Expression::Payload { header: Header::Network, offset: 12, length: 4, to: 1 },
        lookup(SUBNETS),
    ];
    let to_bridge = || [meta(Meta::Oifname), lookup(BRIDGES)];
    let leaving = Expression::Lookup { set: BRIDGES, from: 1, data: None, inverted: true };
    let dnat = status(Conntrack::Status, STATUS_DNAT);
    let masquerade = || [Expression::Masquerade];
    Chain {
        name: "postrouting",
        hook: Some(Hook { kind: Kind::Nat, hook: HookPoint::Postrouting, priority: 100 }),
        rules: vec![
            // out into the world
            rule(
                "iifname @bridges oifname != @bridges masquerade",
                join([&from_bridge(), &[meta(Meta::Oifname), leaving], &masquerade()]),
            ),
            // From a container to a published port: the answer must come back through here, not over the bridge. Where
            // the bridge itself calls the hooks (br_netfilter), there is no iifname.
            rule(
                "ip saddr @subnets4 oifname @bridges ct status dnat masquerade",
                join([&from_subnet, &to_bridge(), &dnat, &masquerade()]),
            ),
            // from 127.0.0.1 of the host to a published port: the container cannot answer that address
            rule(
                "ip saddr 127.0.0.0/8 oifname @bridges masquerade",
                join([&ipv4_byte(12, 127), &to_bridge(), &masquerade()]),
            ),
        ],
    }
}

fn forward() -> Chain {
    Chain {
        name: "forward",
        hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Forward, priority: 0 }),
        rules: vec![rule(
            "oifname @bridges jump inward",
            vec![meta(Meta::Oifname), lookup(BRIDGES), verdict(Verdict::Jump("inward"))],
        )],
    }
}

/// What may reach a container: answers, published ports, its neighbours. Its address alone opens nothing.
fn inward() -> Chain {
    let accept = || [verdict(Verdict::Accept)];
    let pair = [meta(Meta::Iifname), Expression::Meta { key: Meta::Oifname, to: 2 }, lookup(NEIGHBOURS)];
    Chain {
        name: "inward",
        hook: None,
        rules: vec![
            rule(
                "ct state established,related accept",
                join([&status(Conntrack::State, ESTABLISHED_OR_RELATED), &accept()]),
            ),
            rule("ct status dnat accept", join([&status(Conntrack::Status, STATUS_DNAT), &accept()])),
            rule("iifname . oifname @neighbours accept", join([&pair, &accept()])),
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

/// Any of the bits in `mask`.
fn status(key: Conntrack, mask: u32) -> [Expression; 3] {
    [Expression::Conntrack { key, to: 1 }, Expression::Mask { register: 1, mask }, not_equal(vec![0; 4])]
}
