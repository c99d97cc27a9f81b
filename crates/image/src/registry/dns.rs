//! Names of hosts to addresses: /etc/hosts and DNS. The C library's way would load code of the machine's into a static binary.

use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Longest file of names that is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// Longest answer by UDP (RFC 6891's usual size) and addresses that are taken.
const MAX_DATAGRAM: usize = 1232;
const MAX_ADDRESSES: usize = 16;

/// The resolver that agents get.
#[derive(Debug)]
pub struct Names;

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        _: &ureq::config::Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        let mut addresses = self.empty();
        for address in look_up(host)?.into_iter().take(MAX_ADDRESSES) {
            addresses.push(SocketAddr::new(address, port));
        }
        if addresses.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(addresses) }
    }
}

/// All addresses of a host, IPv4 first; none where there is no such host.
fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let host = host.to_ascii_lowercase();
    if host == "localhost" || host.ends_with(".localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let known = in_hosts(&read("/etc/hosts"), &host);
    if !known.is_empty() {
        return Ok(known);
    }
    let servers = Servers::parse(&read("/etc/resolv.conf"));
    let mut failure = None;
    for name in servers.names(&host) {
        match servers.ask(&name) {
            Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
            Ok(_) => {}
            Err(e) => failure = Some(e),
        }
    }
    failure.map_or(Ok(Vec::new()), Err)
}

fn read(path: &str) -> String {
    let mut text = Vec::new();
    let file = std::fs::File::open(path);
    let _ = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// hosts(5).
fn in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// resolv.conf(5).
#[derive(Debug, PartialEq)]
struct Servers {
    addresses: Vec<IpAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: usize,
}

impl Servers {
    fn parse(text: &str) -> Servers {
        let mut servers = Servers {
            addresses: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // An interface after a % is for link-local addresses, which nobody asks by number alone.
                    let address: Option<IpAddr> =
                        words.next().and_then(|w| w.split('%').next()?.parse().ok());
                    if servers.addresses.len() < 3 {
                        servers.addresses.extend(address);
                    }
                }
                Some("search" | "domain") => {
                    servers.search = words.map(|w| w.trim_end_matches('.').to_ascii_lowercase()).collect();
                }
                Some("options") => {
                    for word in words {
                        let number = |name: &str, most: u64| -> Option<u64> {
                            word.strip_prefix(name)?.parse().ok().map(|n: u64| n.min(most))
                        };
                        if let Some(n) = number("ndots:", 15) {
                            servers.ndots = n as usize;
                        } else if let Some(n) = number("timeout:", 30) {
                            servers.timeout = Duration::from_secs(n.max(1));
                        } else if let Some(n) = number("attempts:", 5) {
                            servers.attempts = n.max(1) as usize;
                        }
                    }
                }
                _ => {}
            }
        }
        if servers.addresses.is_empty() {
            servers.addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        servers
    }

    /// What to ask for, in order.
    fn names(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let searched = self.search.iter().filter(|d| !d.is_empty()).map(|domain| format!("{host}.{domain}"));
        let mut names: Vec<String> = searched.collect();
        let dots = host.matches('.').count();
        let at = if dots >= self.ndots { 0 } else { names.len() };
        names.insert(at, host.to_owned());
        names
    }

    /// Ask the servers in turn.
    fn ask(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let Some(name) = encode(name) else { return Ok(Vec::new()) };
        let mut failure = io::Error::new(io::ErrorKind::TimedOut, "the name servers don't answer");
        for _ in 0..self.attempts {
            for server in &self.addresses {
                match ask(SocketAddr::new(*server, 53), &name, self.timeout) {
                    Ok(addresses) => return Ok(addresses),
                    Err(e) => failure = e,
                }
            }
        }
        Err(io::Error::new(
            failure.kind(),
            format!("cannot look up the host: {}", crate::error::words(&failure)),
        ))
    }
}

const A: u16 = 1;
const AAAA: u16 = 28;

/// The name as DNS has it: labels with their lengths.
fn encode(name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.') {
        let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if label.is_empty() || label.len() > 63 || !label.bytes().all(fine) {
            return None;
        }
        bytes.push(label.len() as u8);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    (bytes.len() <= 255).then_some(bytes)
}

fn query(id: u16, name: &[u8], kind: u16) -> Vec<u8> {
    // One question, recursion desired; and a size of datagrams that get through (EDNS).
    let mut bytes = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 1], name].concat();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1, 0, 0, 41]);
    bytes.extend((MAX_DATAGRAM as u16).to_be_bytes());
    bytes.extend([0; 6]);
    bytes
}

/// One server: both kinds of addresses at once.
fn ask(server: SocketAddr, name: &[u8], timeout: Duration) -> io::Result<Vec<IpAddr>> {
    let local: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(local)?;
    // Only this server's answers get in, to a port that the kernel chose.
    socket.connect(server)?;
    let mut random = [0; 4];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let [a, b, c, d] = random;
    let mut open = vec![(u16::from_be_bytes([a, b]), A), (u16::from_be_bytes([c, d]) ^ 1, AAAA)];
    if open[0].0 == open[1].0 {
        open[1].0 = open[1].0.wrapping_add(1);
    }
    for (id, kind) in &open {
        socket.send(&query(*id, name, *kind))?;
    }
    let end = Instant::now() + timeout;
    let mut found = Vec::new();
    let mut failure = None;
    while !open.is_empty() {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            // One kind is enough: some servers never answer for the other.
            return if found.is_empty() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(found) };
        }
        socket.set_read_timeout(Some(rest))?;
        let mut buffer = [0; MAX_DATAGRAM];
        let n = match socket.recv(&mut buffer) {
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            other => other?,
        };
        let Some(at) = open.iter().position(|(id, kind)| answers(&buffer[..n], *id, name, *kind)) else {
            continue;
        };
        let (id, kind) = open.remove(at);
        let mut reply = buffer[..n].to_vec();
        if reply[2] & 2 != 0 {
            reply = by_tcp(server, &query(id, name, kind), timeout)?;
            if !answers(&reply, id, name, kind) {
                continue;
            }
        }
        match reply[3] & 15 {
            // No error, or no such name.
            0 | 3 => found.extend(addresses(&reply, 12 + name.len() + 4, kind)),
            code => failure = Some(io::Error::other(format!("the name server failed (code {code})"))),
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    match failure {
        Some(e) if found.is_empty() => Err(e),
        _ => Ok(found),
    }
}

/// The answer was cut short: ask again where there is room.
fn by_tcp(server: SocketAddr, query: &[u8], timeout: Duration) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes()[..], query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// Is this a reply to our question?
fn answers(reply: &[u8], id: u16, name: &[u8], kind: u16) -> bool {
    let question = [name, &kind.to_be_bytes(), &[0, 1]].concat();
    reply.len() >= 12 + question.len()
        && reply[..2] == id.to_be_bytes()
        && reply[2] & 0x80 != 0
        && reply[4..6] == [0, 1]
        && reply[12..12 + question.len()].eq_ignore_ascii_case(&question)
}

/// The addresses among the answers. What aliases lead to what isn't looked at: the server followed them, and is trusted with the rest too.
fn addresses(reply: &[u8], mut at: usize, kind: u16) -> Vec<IpAddr> {
    let mut found = HashSet::new();
    let count = u16::from_be_bytes([reply[6], reply[7]]);
    for _ in 0..count {
        let Some(after) = skip_name(reply, at) else { break };
        let Some(fixed) = reply.get(after..after + 10) else { break };
        let length = usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        let Some(data) = reply.get(after + 10..after + 10 + length) else { break };
        if fixed[..4] == [&kind.to_be_bytes()[..], &[0, 1]].concat() {
            if let Ok(four) = <[u8; 4]>::try_from(data) {
                found.insert(IpAddr::from(four));
            } else if let Ok(sixteen) = <[u8; 16]>::try_from(data) {
                found.insert(IpAddr::from(sixteen));
            }
        }
        at = after + 10 + length;
    }
    let mut found: Vec<IpAddr> = found.into_iter().collect();
    found.sort();
    found
}

/// Where a name ends: after its empty label, or after a pointer to another name.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length if length & 0xc0 == 0 => at += 1 + usize::from(length),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_literals() {
        let text =
            "127.0.0.1 localhost\n# 1.2.3.4 reg\n::5 reg.example.org\n10.0.0.5\treg.example.org Reg # x\n";
        let found: Vec<String> = in_hosts(text, "reg.example.org").iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.5", "::5"]);
        assert_eq!(in_hosts(text, "reg").len(), 1);
        assert!(in_hosts(text, "nobody").is_empty());
        assert_eq!(look_up("[::1]").unwrap(), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
        assert_eq!(look_up("10.1.2.3").unwrap(), [IpAddr::from([10, 1, 2, 3])]);
        assert_eq!(look_up("x.localhost").unwrap().len(), 2);
    }

    #[test]
    fn servers_and_search() {
        let text = "nameserver 10.0.0.1\nnameserver fe80::1%eth0\nsearch a.org. b.org\noptions ndots:2 timeout:1 rotate\n";
        let servers = Servers::parse(text);
        assert_eq!(servers.addresses.len(), 2);
        assert_eq!(servers.names("x"), ["x.a.org", "x.b.org", "x"]);
        assert_eq!(servers.names("x.y.z"), ["x.y.z", "x.y.z.a.org", "x.y.z.b.org"]);
        assert_eq!(servers.names("x.y."), ["x.y"]);
        assert_eq!(Servers::parse("").addresses, [IpAddr::from([127, 0, 0, 1])]);
        assert_eq!(encode("a-b.c").unwrap(), b"\x03a-b\x01c\0");
        assert_eq!(encode("a..b"), None);
        assert_eq!(encode(&"a".repeat(64)), None);
    }

    /// A name server that answers A by one address behind an alias, and AAAA by nothing.
    fn serve(socket: UdpSocket, questions: usize) {
        for _ in 0..questions {
            let mut buffer = [0; 512];
            let (n, from) = socket.recv_from(&mut buffer).unwrap();
            // Without the EDNS record.
            let question = &buffer[12..n - 11];
            let is_a = question[question.len() - 4..question.len() - 2] == [0, 1];
            let mut reply =
                [&buffer[..2], &[0x81, 0x80, 0, 1, 0, if is_a { 2 } else { 0 }, 0, 0, 0, 0], question]
                    .concat();
            if is_a {
                reply.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01y\xc0\x0c");
                reply.extend(b"\xc0\x2a\0\x01\0\x01\0\0\0\x3c\0\x04\x0a\x01\x02\x03");
            }
            // A stranger's datagram first: another id.
            let mut wrong = reply.clone();
            wrong[0] ^= 0xff;
            socket.send_to(&wrong, from).unwrap();
            socket.send_to(&reply, from).unwrap();
        }
    }

    #[test]
    fn a_server_is_asked() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let server = std::thread::spawn(move || serve(socket, 2));
        let found = ask(address, &encode("reg.example.org").unwrap(), Duration::from_secs(5)).unwrap();
        assert_eq!(found, [IpAddr::from([10, 1, 2, 3])]);
        server.join().unwrap();
    }

    #[test]
    fn answers_of_any_bytes() {
        let name = encode("a.b").unwrap();
        let good = [&[0, 1, 0x80, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0][..], &name, &[0, 1, 0, 1]].concat();
        for length in 0..good.len() {
            assert!(!answers(&good[..length], 1, &name, A));
        }
        assert!(answers(&good, 1, &name, A) && addresses(&good, good.len(), A).is_empty());
        for junk in [&[0xc0][..], &[63], &[0xc0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 1], &[0x80]] {
            assert!(addresses(&[&good, junk].concat(), good.len(), A).is_empty());
        }
    }
}
