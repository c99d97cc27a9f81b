//! A container's /etc/hosts. See hosts(5).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The lines that every file has.
const LOCALHOST: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// One `--add-host`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    pub name: String,
    /// None: `host-gateway`, the host as the container sees it.
    pub address: Option<IpAddr>,
}

/// `name:address` or `name=address`; an IPv6 address may stand in brackets.
pub fn parse_extra(text: &str) -> Result<ExtraHost> {
    let bad = || Error::AddHost(text.into());
    let at = text.find(['=', ':']).ok_or_else(bad)?;
    let (name, address) = (&text[..at], &text[at + 1..]);
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '#';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(bad());
    }
    if address == "host-gateway" {
        return Ok(ExtraHost { name: name.into(), address: None });
    }
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| Error::Address(address.into()))?;
    Ok(ExtraHost { name: name.into(), address: Some(address) })
}

/// The names by which a container finds the host. The second is Docker Desktop's, and in many files.
pub const HOST: &str = "host.corten.internal host.docker.internal";

/// The file. `own` are the container's addresses, with its host name and domain; `base` replaces the localhost lines, for
/// a container in the host's network, which has the host's file. `gateways` are the host as the container sees it: what
/// `host-gateway` means.
pub fn hosts(base: Option<&str>, own: (&[IpAddr], &str), extra: &[ExtraHost], gateways: &[IpAddr]) -> String {
    let mut out = base.unwrap_or(LOCALHOST).to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    for host in extra {
        let addresses = host.address.as_ref().map_or(gateways, std::slice::from_ref);
        for address in addresses {
            out.push_str(&format!("{address}\t{}\n", host.name));
        }
    }
    for address in gateways {
        out.push_str(&format!("{address}\t{HOST}\n"));
    }
    let (addresses, name) = own;
    // with a domain, the short name follows the long one
    let short = name.split_once('.').map_or(String::new(), |(short, _)| format!(" {short}"));
    for address in addresses {
        out.push_str(&format!("{address}\t{name}{short}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_localhost_extras_and_itself() {
        let extra = [parse_extra("db:10.0.0.5").unwrap(), parse_extra("up=host-gateway").unwrap()];
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let own = [ip("10.77.0.2"), ip("fd00::2")];
        let text = hosts(None, (&own, "web"), &extra, &[ip("10.77.0.1")]);
        let wanted = "10.0.0.5\tdb\n10.77.0.1\tup\n10.77.0.1\thost.corten.internal host.docker.internal\n\
                      10.77.0.2\tweb\nfd00::2\tweb\n";
        assert_eq!(text.strip_prefix(LOCALHOST), Some(wanted));
        assert_eq!(hosts(Some("1.2.3.4 x"), (&[], ""), &[], &[]), "1.2.3.4 x\n");
        let text = hosts(None, (&own, "web.example.org"), &[], &[]);
        assert!(text.contains("10.77.0.2\tweb.example.org web\n"));
    }

    #[test]
    fn extra_hosts_are_checked() {
        let six = parse_extra("v6:[::2]").unwrap();
        assert_eq!((six.name.as_str(), six.address), ("v6", Some("::2".parse().unwrap())));
        assert_eq!(parse_extra("v6:::2").unwrap(), six);
        assert_eq!(parse_extra("x").unwrap_err().to_string(), "bad format for add-host: \"x\"");
        assert_eq!(parse_extra("x:y").unwrap_err().to_string(), "invalid IP address: y");
        assert!(parse_extra("a\nb:1.2.3.4").is_err());
        assert!(parse_extra(":1.2.3.4").is_err());
    }
}
