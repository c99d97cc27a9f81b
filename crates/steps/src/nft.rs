//! The firewall: one nftables table of the engine's own, and the published ports, which are elements of its maps. See nft(8).

use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::netlink::conntrack::{self, Flow};
use kernel::netlink::{Socket, dump};
use kernel::nft::{self, Element, Set, Table, Transaction, kept, query};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::net::IpAddr;

/// Maps of ports that are published on one address of the host, for IPv4 and IPv6.
pub const PUBLISHED: [&str; 2] = ["published4", "published6"];
/// Maps of ports that are published on all of its addresses.
pub const PUBLISHED_ANY: [&str; 2] = ["published_any4", "published_any6"];

/// How often a transaction is tried again when another process changed a table meanwhile.
const ATTEMPTS: usize = 20;

/// The table is there, is the one this engine wants, and knows the network. One question when so; it stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureFirewall {
    /// Not part of the serialised form: an ensure has no undo, and is never read back.
    #[serde(skip)]
    pub table: Option<Table>,
    /// Sets whose elements must be there also when the table is.
    #[serde(skip)]
    pub members: Vec<(&'static str, Element)>,
}

impl EnsureFirewall {
    pub fn perform(&self, _: &Live) -> Outcome {
        let table = self.table.as_ref().ok_or(Errno::INVAL)?;
        // somebody else changed tables, or made this one, at this moment: look again
        kept::with(|socket| again(&[Errno::RESTART, Errno::EXIST], || self.attempt(socket, table)))?
    }

    fn attempt(&self, socket: &Socket, table: &Table) -> Result<(), kernel::netlink::Failure> {
        if intact(socket, table, &self.members)? {
            return Ok(());
        }
        let generation = query::generation(socket)?;
        let found = query::table(socket, &table.name)?;
        let mut transaction = Transaction::new(Some(generation));
        match found {
            Some(found) if same(&found, table) && rules_stand(socket, table)? => {
                for (set, element) in &self.members {
                    transaction.add_elements(&table.name, set, std::slice::from_ref(element));
                }
            }
            Some(_) => {
                let table = inherit(socket, table);
                transaction.delete_table(&table.name);
                transaction.create(&table);
            }
            None => transaction.create(table),
        }
        socket.send(&transaction.finish()?)
    }

    pub fn shell(&self) -> Shell {
        let Some(table) = &self.table else { return Shell::comment("the firewall table", "nft(8)") };
        let mut lines =
            vec![format!("nft list table inet {} >/dev/null 2>&1 || nft -f - <<'NFT'", table.name)];
        lines.extend(script(table).lines().map(str::to_owned));
        lines.push("NFT".to_owned());
        Shell::lines(lines, "the engine's own firewall table: published ports in, masquerade out", "nft(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        if let Some(table) = &self.table {
            picture.add("network", format!("table inet {}", table.name), "firewall");
        }
    }
}

/// Tries an attempt again while it fails in a way that a look at the tables can heal.
fn again(healed: &[Errno], attempt: impl Fn() -> Result<(), kernel::netlink::Failure>) -> Outcome {
    for _ in 0..ATTEMPTS {
        match attempt() {
            Err(failure) if healed.contains(&failure.errno) => {}
            outcome => return outcome.map_err(|failure| failure.errno.into()),
        }
    }
    Err(Failure::new(Errno::RESTART, "the tables never stand still"))
}

/// Whether the table stands as described, with these members; about 15 µs.
pub fn intact(
    socket: &Socket,
    table: &Table,
    members: &[(&'static str, Element)],
) -> Result<bool, kernel::netlink::Failure> {
    let Some(found) = query::table(socket, &table.name)? else { return Ok(false) };
    if !same(&found, table) || !rules_stand(socket, table)? {
        return Ok(false);
    }
    // a range goes into its set together with what is asked after here
    for (set, element) in members.iter().filter(|(_, element)| element.end.is_none()) {
        if query::element(socket, &table.name, set, &element.key)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `table` with what the standing table of that name has in the same sets: other containers' ports.
fn inherit(socket: &Socket, table: &Table) -> Table {
    let mut table = table.clone();
    for set in &mut table.sets {
        // a set that is missing or of another shape has nothing to give
        for element in query::elements(socket, &table.name, set.name).unwrap_or_default() {
            let shaped = element.key.len() == length(set.key) && element.data.len() == length(set.data);
            if shaped && !set.elements.iter().any(|known| known.key == element.key) {
                set.elements.push(element);
            }
        }
    }
    table
}

fn length(fields: &[nft::Field]) -> usize {
    match fields {
        [one] => one.length(),
        _ => fields.iter().map(|field| field.length().next_multiple_of(4)).sum(),
    }
}

fn same(found: &query::Found, table: &Table) -> bool {
    found.comment == table.comment && found.objects as usize == table.sets.len() + table.chains.len()
}

/// Looks at one chain for all: `nft flush table` empties them together.
fn rules_stand(socket: &Socket, table: &Table) -> Result<bool, kernel::netlink::Failure> {
    let Some(chain) = table.chains.iter().find(|chain| chain.hook.is_some()) else { return Ok(true) };
    Ok(query::rules(socket, &table.name, chain.name)? == Some(chain.rules.len() as u32))
}

/// A transport protocol that has ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// The number of protocols(5).
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What arrives for a port of the host goes to a port of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// None: every address of the host.
    pub host: Option<IpAddr>,
    pub host_port: u16,
    pub protocol: Protocol,
    pub address: IpAddr,
    pub port: u16,
}

impl Forward {
    pub fn map(&self) -> &'static str {
        let maps = if self.host.is_some() { PUBLISHED } else { PUBLISHED_ANY };
        maps[usize::from(self.address.is_ipv6())]
    }

    pub fn element(&self) -> Element {
        let (protocol, port) = ([self.protocol.number()], self.host_port.to_be_bytes());
        let (address, target) = (octets(self.address), self.port.to_be_bytes());
        match self.host {
            Some(host) => Element::new(&[&octets(host), &protocol, &port], &[&address, &target]),
            None => Element::new(&[&protocol, &port], &[&address, &target]),
        }
    }

    fn key(&self) -> String {
        let host = self.host.map_or(String::new(), |host| format!("{host} . "));
        format!("{host}{} . {}", self.protocol, self.host_port)
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Ports of the host that lead to the container from now on, all at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    pub table: Text,
    pub ports: Vec<Forward>,
}

impl Publish {
    pub fn perform(&self, _: &Live) -> Outcome {
        let outcome = kept::with(|socket| match self.attempt(socket, false) {
            // An element of a container whose engine was killed: the ports are bound by us now, so it is stale.
            Err(failure) if failure.errno == Errno::EXIST => self.attempt(socket, true),
            outcome => outcome,
        })?;
        // Flows of datagrams that began before go on past the port as long as anything is sent.
        forget(&self.ports, |port, flow, addresses| {
            !flow.dnat
                && port
                    .host
                    .map_or_else(|| is_local(flow, addresses), |host| flow.original.destination == host)
        });
        outcome.map_err(|failure| failure.errno.into())
    }

    fn attempt(&self, socket: &Socket, replace: bool) -> Result<(), kernel::netlink::Failure> {
        let table = self.table.as_str();
        let mut transaction = Transaction::new(None);
        for port in &self.ports {
            let element = port.element();
            if replace && query::element(socket, table, port.map(), &element.key)?.is_some() {
                transaction.delete_elements(table, port.map(), std::slice::from_ref(&element));
            }
            transaction.add_elements(table, port.map(), &[element]);
        }
        socket.send(&transaction.finish()?)
    }

    pub fn shell(&self) -> Shell {
        let line = |port: &Forward| {
            let (map, key) = (port.map(), port.key());
            format!(
                "nft add element inet {} {map} '{{ {key} : {} . {} }}'",
                self.table, port.address, port.port
            )
        };
        let why = "published ports: what comes for them goes to the container";
        Shell::lines(self.ports.iter().map(line).collect(), why, "nft(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        Some(Unpublish { table: self.table.clone(), ports: self.ports.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        for port in &self.ports {
            let host = port.host.map_or("0.0.0.0".to_owned(), |host| host.to_string());
            let name = format!("{host}:{}/{}", port.host_port, port.protocol);
            picture.add("network", name, format!("to {}:{}", port.address, port.port));
        }
    }
}

/// The reverse of [`Publish`]. A port that leads elsewhere by now is another container's, and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unpublish {
    pub table: Text,
    pub ports: Vec<Forward>,
}

impl Unpublish {
    pub fn perform(&self, _: &Live) -> Outcome {
        let outcome = kept::with(|socket| again(&[Errno::RESTART, Errno::NOENT], || self.attempt(socket)))?;
        // Nor do they end with it.
        forget(&self.ports, |port, flow, _| {
            (flow.reply.source, flow.reply.source_port) == (port.address, port.port)
        });
        outcome
    }

    fn attempt(&self, socket: &Socket) -> Result<(), kernel::netlink::Failure> {
        let table = self.table.as_str();
        // the transaction holds only when nothing changed since we looked
        let generation = query::generation(socket)?;
        let mut transaction = Transaction::new(Some(generation));
        let mut any = false;
        for port in &self.ports {
            let element = port.element();
            if query::element(socket, table, port.map(), &element.key)?.as_ref() == Some(&element) {
                transaction.delete_elements(table, port.map(), &[element]);
                any = true;
            }
        }
        if any { socket.send(&transaction.finish()?) } else { Ok(()) }
    }

    pub fn shell(&self) -> Shell {
        let line = |port: &Forward| {
            format!("nft delete element inet {} {} '{{ {} }}'", self.table, port.map(), port.key())
        };
        let lines = self.ports.iter().map(line).collect();
        Shell::lines(lines, "the ports lead nowhere any more", "nft(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Makes the kernel forget flows of datagrams to some ports. What is not forgotten runs out by itself.
fn forget(ports: &[Forward], choose: impl Fn(&Forward, &Flow, &[IpAddr]) -> bool) {
    let ports: Vec<_> = ports.iter().filter(|port| port.protocol == Protocol::Udp).collect();
    if ports.is_empty() {
        return;
    }
    let addresses = dump::addresses().unwrap_or_default();
    let addresses: Vec<IpAddr> = addresses.into_iter().map(|address| address.address).collect();
    for port in ports {
        let attempt = |socket: &Socket| {
            let mut flows =
                conntrack::flows(socket, port.address.is_ipv4(), port.protocol.number(), port.host_port)?;
            flows.retain(|flow| choose(port, flow, &addresses));
            conntrack::forget(socket, &flows)
        };
        let _ = kept::with(attempt);
    }
}

fn is_local(flow: &Flow, addresses: &[IpAddr]) -> bool {
    let destination = flow.original.destination;
    destination.is_loopback() || addresses.contains(&destination)
}

/// The table in nft's language.
pub fn script(table: &Table) -> String {
    let mut out = format!("table inet {} {{\n\tcomment \"{}\"\n", table.name, table.comment);
    for set in &table.sets {
        let fields = |fields: &[nft::Field]| fields.iter().map(|f| f.name()).collect::<Vec<_>>().join(" . ");
        let (kind, data) = match set.data {
            [] => ("set", String::new()),
            data => ("map", format!(" : {}", fields(data))),
        };
        let _ = writeln!(out, "\t{kind} {} {{\n\t\ttype {}{data}", set.name, fields(set.key));
        if set.interval {
            out.push_str("\t\tflags interval\n");
        }
        if !set.elements.is_empty() {
            let elements: Vec<_> = set.elements.iter().map(|element| words(set, element)).collect();
            let _ = writeln!(out, "\t\telements = {{ {} }}", elements.join(", "));
        }
        out.push_str("\t}\n");
    }
    for chain in &table.chains {
        let _ = writeln!(out, "\tchain {} {{", chain.name);
        if let Some(hook) = chain.hook {
            let (kind, point) = (hook.kind.name(), hook.hook.name());
            let _ = writeln!(out, "\t\ttype {kind} hook {point} priority {}; policy accept;", hook.priority);
        }
        for rule in &chain.rules {
            let _ = writeln!(out, "\t\t{}", rule.text);
        }
        out.push_str("\t}\n");
    }
    out.push_str("}\n");
    out
}

/// An element in nft's language.
fn words(set: &Set, element: &Element) -> String {
    let key = match &element.end {
        Some(end) => range(set.key, &element.key, end),
        None => values(set.key, &element.key),
    };
    if set.data.is_empty() { key } else { format!("{key} : {}", values(set.data, &element.data)) }
}

/// A range as a prefix: those of the engine are subnets.
fn range(fields: &[nft::Field], first: &[u8], end: &[u8]) -> String {
    let number = |bytes: &[u8]| bytes.iter().fold(0u128, |sum, byte| sum << 8 | u128::from(*byte));
    let size = number(end).wrapping_sub(number(first));
    format!("{}/{}", values(fields, first), (8 * first.len() as u32).saturating_sub(size.trailing_zeros()))
}

fn values(fields: &[nft::Field], mut bytes: &[u8]) -> String {
    let mut words = Vec::new();
    for field in fields {
        let (value, rest) = bytes.split_at(field.length().next_multiple_of(4).min(bytes.len()));
        bytes = rest;
        words.push(field.show(value));
    }
    words.join(" . ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::nft::Field;

    fn forward(host: Option<&str>, host_port: u16, address: &str) -> Forward {
        let (host, address) = (host.map(|h| h.parse().unwrap()), address.parse().unwrap());
        Forward { host, host_port, protocol: Protocol::Tcp, address, port: 80 }
    }

    #[test]
    fn publishing_says_nft() {
        let ports = vec![forward(None, 8080, "10.77.0.2"), forward(Some("127.0.0.1"), 81, "10.77.0.2")];
        let step = Publish { table: "corten".into(), ports };
        assert_eq!(
            step.shell().lines,
            [
                "nft add element inet corten published_any4 '{ tcp . 8080 : 10.77.0.2 . 80 }'",
                "nft add element inet corten published4 '{ 127.0.0.1 . tcp . 81 : 10.77.0.2 . 80 }'",
            ]
        );
        assert_eq!(
            step.undo().unwrap().shell().lines[0],
            "nft delete element inet corten published_any4 '{ tcp . 8080 }'"
        );
    }

    #[test]
    fn elements_are_told_in_words() {
        let set = |key, data| Set { name: "s", key, data, interval: false, elements: Vec::new() };
        let port = forward(Some("::1"), 8080, "fd00::2");
        let map = set(&[Field::Ipv6, Field::Protocol, Field::Port], &[Field::Ipv6, Field::Port]);
        assert_eq!(words(&map, &port.element()), "::1 . tcp . 8080 : fd00::2 . 80");
        let name = Element::new(&[&nft::ifname("corten0")], &[]);
        assert_eq!(words(&set(&[Field::Ifname], &[]), &name), "\"corten0\"");
        let subnet = Element::range(&[10, 77, 0, 0], &[10, 78, 0, 0]);
        assert_eq!(words(&set(&[Field::Ipv4], &[]), &subnet), "10.77.0.0/16");
    }
}
