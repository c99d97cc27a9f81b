//! A container's resolv.conf: the host's, without the servers that only the host can reach. See resolv.conf(5).

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// `--dns`, `--dns-search`, `--dns-option`. What is given replaces the host's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dns {
    pub servers: Vec<IpAddr>,
    /// A single `.` means: none.
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// The host's files, as far as they are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `/etc/resolv.conf`
    pub resolv: String,
    /// What systemd-resolved asks itself: `/run/systemd/resolve/resolv.conf`
    pub upstream: String,
}

impl Host {
    /// Reads what there is; a machine without the files has no name servers.
    pub fn read() -> Host {
        let read = |path| fs::read_to_string(Path::new(path)).unwrap_or_default();
        let resolv = read("/etc/resolv.conf");
        let local = servers(&resolv).next().is_some() && servers(&resolv).all(is_local);
        let upstream = if local { read("/run/systemd/resolve/resolv.conf") } else { String::new() };
        Host { resolv, upstream }
    }
}

/// The file of a container with a name server of its own at `server`, which asks the others. The host's domains are
/// searched, but not before a name as it stands: another container's has no dots.
pub fn with_own_server(host: &Host, dns: &Dns, server: IpAddr) -> String {
    let own = Dns { servers: vec![server], ..dns.clone() };
    let mut text = resolv_conf(host, &own, true);
    let ndots = |line: &str| line.starts_with("options ") && line.contains("ndots:");
    if !text.lines().any(ndots) {
        match text.find("options ") {
            Some(at) => text.insert_str(at + "options ".len(), "ndots:0 "),
            None => text.push_str("options ndots:0\n"),
        }
    }
    text
}

/// The file for a container. With `own_network` it has a loopback of its own, so that the host's is out of its reach.
pub fn resolv_conf(host: &Host, dns: &Dns, own_network: bool) -> String {
    let (base, mut found) = match reachable(&host.resolv, own_network) {
        found if found.is_empty() => (&host.upstream, reachable(&host.upstream, own_network)),
        found => (&host.resolv, found),
    };
    let base = if base.is_empty() { &host.resolv } else { base };
    let given: Vec<String> = dns.servers.iter().map(IpAddr::to_string).collect();
    if !given.is_empty() {
        found = given.iter().map(String::as_str).collect();
    }
    let mut out = String::new();
    if found.is_empty() {
        out.push_str("# no name server of the host can be reached from here; see --dns\n");
    }
    for server in found {
        out.push_str(&format!("nameserver {server}\n"));
    }
    let list = |given: &[String], names: &[&str]| match given {
        [] => words(base, names).map(str::to_owned).collect::<Vec<_>>(),
        [dot] if dot == "." => Vec::new(),
        given => given.to_vec(),
    };
    for (name, words) in
        [("search", list(&dns.search, &["search", "domain"])), ("options", list(&dns.options, &["options"]))]
    {
        if !words.is_empty() {
            out.push_str(&format!("{name} {}\n", words.join(" ")));
        }
    }
    out
}

fn reachable(text: &str, own_network: bool) -> Vec<&str> {
    servers(text).filter(|server| !own_network || !is_local(server)).collect()
}

/// The name servers that a resolv.conf names, in its order.
pub fn servers(text: &str) -> impl Iterator<Item = &str> {
    words(text, &["nameserver"])
}

/// What stands behind any of the keywords, line by line; the last `search` wins in resolv.conf(5), and so few files
/// have two that all are taken.
fn words<'a>(text: &'a str, keywords: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    text.lines().flat_map(move |line| {
        let mut words = line.split_whitespace();
        let known = words.next().is_some_and(|first| keywords.contains(&first));
        words.filter(move |_| known)
    })
}

fn is_local(server: &str) -> bool {
    // an address with a zone, fe80::1%eth0, is of a link that the container does not have
    server.contains('%') || server.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(resolv: &str, upstream: &str) -> Host {
        Host { resolv: resolv.into(), upstream: upstream.into() }
    }

    #[test]
    fn the_hosts_servers_are_copied() {
        let host = host("# hi\nnameserver 10.0.0.1\nnameserver 127.0.0.1\nsearch a b\noptions ndots:2\n", "");
        let dns = Dns::default();
        assert_eq!(resolv_conf(&host, &dns, true), "nameserver 10.0.0.1\nsearch a b\noptions ndots:2\n");
        let all = "nameserver 10.0.0.1\nnameserver 127.0.0.1\nsearch a b\noptions ndots:2\n";
        assert_eq!(resolv_conf(&host, &dns, false), all);
    }

    #[test]
    fn systemd_resolved_is_asked_past() {
        let host =
            host("nameserver 127.0.0.53\noptions edns0\nsearch x\n", "nameserver 10.0.0.1\nsearch y\n");
        assert_eq!(resolv_conf(&host, &Dns::default(), true), "nameserver 10.0.0.1\nsearch y\n");
        assert!(resolv_conf(&host, &Dns::default(), false).starts_with("nameserver 127.0.0.53\n"));
    }

    #[test]
    fn options_replace_the_hosts() {
        let host = host("nameserver 10.0.0.1\nsearch a\n", "");
        let dns = Dns {
            servers: vec!["9.9.9.9".parse().unwrap(), "::1".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:1".into(), "rotate".into()],
        };
        let wanted = "nameserver 9.9.9.9\nnameserver ::1\noptions ndots:1 rotate\n";
        assert_eq!(resolv_conf(&host, &dns, true), wanted);
    }

    #[test]
    fn a_server_of_its_own_comes_alone() {
        let server = "127.0.0.11".parse().unwrap();
        let file = host("nameserver 10.0.0.1\nsearch a\noptions edns0\n", "");
        let text = with_own_server(&file, &Dns::default(), server);
        assert_eq!(text, "nameserver 127.0.0.11\nsearch a\noptions ndots:0 edns0\n");
        assert!(with_own_server(&host("", ""), &Dns::default(), server).ends_with("options ndots:0\n"));
        let dns = Dns { options: vec!["ndots:2".into()], ..Dns::default() };
        assert!(with_own_server(&file, &dns, server).ends_with("options ndots:2\n"));
    }

    #[test]
    fn without_a_server_it_says_so() {
        let text = resolv_conf(&host("nameserver 127.0.0.1\n", ""), &Dns::default(), true);
        assert_eq!(text, "# no name server of the host can be reached from here; see --dns\n");
    }
}
