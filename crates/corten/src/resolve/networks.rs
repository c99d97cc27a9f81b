//! `--network` and the flags beside it: which networks, and what is wished for in each.

use super::Result;
use super::texts::bad_flag;
use crate::cli::ContainerArgs;
use engine::Network;
use network::Wish;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whose network it has, and where it is plugged in.
pub fn networks(args: &ContainerArgs) -> Result<(Network, Vec<Wish>)> {
    let mut modes = args.network.iter().map(|word| mode(word)).collect::<Result<Vec<_>>>()?;
    let predefined = modes.iter().position(|mode| matches!(mode, Mode::Predefined(_)));
    if let (Some(at), true) = (predefined, modes.len() > 1) {
        return Err(format!("conflicting options: {} and other networks", args.network[at]));
    }
    if let Some(Mode::Predefined(_)) = modes.first() {
        let given = [
            ("--ip", args.ip.is_some() || args.ip6.is_some()),
            ("--network-alias", !args.network_alias.is_empty()),
            ("--mac-address", args.mac_address.is_some()),
            ("--link", !args.link.is_empty()),
        ];
        if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
            return Err(format!("conflicting options: {flag} and --network {}", args.network[0]));
        }
        let Some(Mode::Predefined(mode)) = modes.pop() else { return Ok((Network::Bridge, Vec::new())) };
        return Ok((mode, Vec::new()));
    }
    let mut wishes: Vec<Wish> = modes.into_iter().filter_map(Mode::wish).collect();
    if wishes.is_empty() {
        wishes.push(Wish { network: "bridge".to_owned(), ..Wish::default() });
    }
    let flags = Connection {
        network: "",
        ip: args.ip.as_deref(),
        ip6: args.ip6.as_deref(),
        mac: args.mac_address.as_deref(),
        aliases: &args.network_alias,
        links: &args.link,
    };
    flags.add_to(&mut wishes[0])?;
    if let Some(wish) = wishes.iter().find(|w| w.network == "bridge" && !w.aliases.is_empty()) {
        return Err(format!(
            "network-scoped alias {} is supported only for containers in user defined networks",
            wish.aliases[0]
        ));
    }
    Ok((Network::Bridge, wishes))
}

/// Flags about one connection, as they were typed.
#[derive(Debug, Clone, Copy)]
pub struct Connection<'a> {
    pub network: &'a str,
    pub ip: Option<&'a str>,
    pub ip6: Option<&'a str>,
    pub mac: Option<&'a str>,
    pub aliases: &'a [String],
    pub links: &'a [String],
}

impl Connection<'_> {
    pub fn wish(&self) -> Result<Wish> {
        let mut wish = Wish { network: self.network.to_owned(), ..Wish::default() };
        self.add_to(&mut wish)?;
        Ok(wish)
    }

    fn add_to(&self, wish: &mut Wish) -> Result<()> {
        if let Some(ip) = self.ip {
            wish.ipv4 = Some(ip.parse().map_err(|_| bad_flag("--ip", ip, "invalid IPv4 address"))?);
        }
        if let Some(ip) = self.ip6 {
            wish.ipv6 = Some(ip.parse().map_err(|_| bad_flag("--ip6", ip, "invalid IPv6 address"))?);
        }
        if let Some(address) = self.mac {
            wish.mac = Some(mac(address).ok_or_else(|| format!("{address} is not a valid mac address"))?);
        }
        for alias in self.aliases {
            wish.aliases.push(name("--network-alias", alias)?);
        }
        for link in self.links {
            wish.links.push(self::link(link)?);
        }
        Ok(())
    }
}

enum Mode {
    Predefined(Network),
    Wish(Box<Wish>),
}

impl Mode {
    fn wish(self) -> Option<Wish> {
        match self {
            Mode::Wish(wish) => Some(*wish),
            Mode::Predefined(_) => None,
        }
    }
}

fn mode(word: &str) -> Result<Mode> {
    match (word, word.split_once(':')) {
        ("", _) => Err("no name set for network".to_owned()),
        ("none", _) => Ok(Mode::Predefined(Network::None)),
        ("host", _) => Ok(Mode::Predefined(Network::Host)),
        (_, Some(("container", other))) if !other.is_empty() => {
            Ok(Mode::Predefined(Network::Container(other.to_owned())))
        }
        (_, Some(("container", _))) => Err("invalid container format container:<name|id>".to_owned()),
        _ => wish(word).map(|wish| Mode::Wish(Box::new(wish))),
    }
}

/// `NAME`, `NAME:ip=10.1.2.3,alias=db`, or `name=NAME,ip=10.1.2.3,alias=db`.
fn wish(word: &str) -> Result<Wish> {
    let (first, options) = match word.split_once(':') {
        Some((first, options)) if !first.contains('=') => (first, options),
        _ if word.contains('=') => ("", word),
        _ => (word, ""),
    };
    let mut wish = Wish { network: first.to_owned(), ..Wish::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let invalid = |cause: &str| bad_flag("--network", word, cause);
        let (key, value) = option
            .split_once('=')
            .ok_or_else(|| invalid(&format!("invalid field {option}: must be key=value")))?;
        match key {
            "name" => wish.network = value.to_owned(),
            "alias" => wish.aliases.push(name("--network", value)?),
            "ip" | "ip4" => match (value.parse::<Ipv4Addr>(), value.parse::<Ipv6Addr>()) {
                (Ok(address), _) => wish.ipv4 = Some(address),
                (_, Ok(address)) if key == "ip" => wish.ipv6 = Some(address),
                _ => return Err(invalid(&format!("invalid address {value}"))),
            },
            "ip6" => {
                wish.ipv6 = Some(value.parse().map_err(|_| invalid(&format!("invalid address {value}")))?);
            }
            "mac" | "mac-address" => {
                wish.mac = Some(mac(value).ok_or_else(|| invalid(&format!("invalid mac address {value}")))?);
            }
            "gw-priority" => {
                wish.priority = value.parse().map_err(|_| invalid(&format!("invalid priority {value}")))?;
            }
            _ => return Err(invalid(&format!("unknown field {key}"))),
        }
    }
    match wish.network.as_str() {
        "" => Err("no name set for network".to_owned()),
        "default" => Ok(Wish { network: "bridge".to_owned(), ..wish }),
        _ => Ok(wish),
    }
}

/// A name that DNS can carry.
fn name(flag: &str, text: &str) -> Result<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !text.is_empty() && text.len() <= 253 && text.chars().all(plain) && !text.starts_with('.');
    if good { Ok(text.to_owned()) } else { Err(bad_flag(flag, text, "invalid name")) }
}

/// `container`, or `container:name`.
pub fn link(text: &str) -> Result<(String, String)> {
    let (container, alias) = text.split_once(':').unwrap_or((text, text));
    if container.is_empty() || alias.is_empty() || alias.contains(':') {
        return Err(format!("bad format for links: {text}"));
    }
    let alias = name("--link", alias.trim_start_matches('/'))?;
    Ok((container.trim_start_matches('/').to_owned(), alias))
}

/// Six pairs of hexadecimal digits, for one host and not for a group.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let mut bytes = [0; 6];
    if parts.len() != 6 {
        return None;
    }
    for (byte, part) in bytes.iter_mut().zip(parts) {
        *byte = u8::from_str_radix(part, 16).ok().filter(|_| part.len() == 2 && !part.starts_with('+'))?;
    }
    (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_of_networks() {
        let wish = wish("web:ip=10.1.2.3,alias=db,alias=sql,mac=02:00:00:00:00:01").unwrap();
        assert_eq!((wish.network.as_str(), wish.ipv4), ("web", Some(Ipv4Addr::new(10, 1, 2, 3))));
        assert_eq!((wish.aliases.join(" "), wish.mac), ("db sql".to_owned(), Some([2, 0, 0, 0, 0, 1])));
        let docker = super::wish("name=web,ip6=fd00::5,mac-address=02:00:00:00:00:01,gw-priority=5").unwrap();
        assert_eq!((docker.ipv6, docker.priority), (Some("fd00::5".parse().unwrap()), 5));
        assert_eq!(super::wish("web:ip=fd00::5").unwrap().ipv6, docker.ipv6);
        for bad in
            ["web:x", "web:x=1", "web:ip=1", ":ip=1.2.3.4", "web:mac=01:00:00:00:00:01", "web:alias=a b", ""]
        {
            assert!(super::wish(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn links_and_addresses() {
        assert_eq!(link("/db:sql").unwrap(), ("db".to_owned(), "sql".to_owned()));
        assert_eq!(link("db").unwrap(), ("db".to_owned(), "db".to_owned()));
        assert!(link("db:").is_err() && link("a:b:c").is_err());
        assert_eq!(mac("02-42-AC-11-00-02"), Some([2, 0x42, 0xac, 0x11, 0, 2]));
        for bad in
            ["", "02:42", "02:42:ac:11:00:0g", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "2:42:ac:11:00:02"]
        {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}
