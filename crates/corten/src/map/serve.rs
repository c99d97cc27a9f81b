//! `map --serve`: the page, kept live. As little of HTTP as that takes: GET of two paths, one request a connection, one at a time.
//!
//! Whoever can reach it sees what runs here: so it listens on loopback unless it is told otherwise, and answers there only who calls
//! it by a loopback name, since a page of elsewhere could make a browser ask (by a name of its own that leads here).

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// What is answered with.
pub struct Pages<'a> {
    pub page: &'a dyn Fn() -> Result<String, String>,
    pub picture: &'a dyn Fn() -> Result<String, String>,
}

/// No request of a browser's for these pages is longer, or takes longer to come.
const LONGEST: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(3);

/// `7070`, `127.0.0.1:7070`, `[::1]:7070`.
pub fn address(word: &str, anywhere: bool) -> Result<SocketAddr, String> {
    let whole = if word.contains(':') { word.to_owned() } else { format!("127.0.0.1:{word}") };
    let whole = whole.strip_prefix("localhost:").map_or(whole.clone(), |port| format!("127.0.0.1:{port}"));
    let address: SocketAddr =
        whole.parse().map_err(|_| format!("'{word}' is no address to listen on: 127.0.0.1:7070"))?;
    if !address.ip().is_loopback() && !anywhere {
        return Err(format!(
            "{} can be reached from other machines, and the map tells all about this one: --anywhere if that is meant",
            address.ip()
        ));
    }
    Ok(address)
}

/// Answers until the process is ended.
pub fn serve(listener: &TcpListener, pages: &Pages<'_>) -> io::Result<()> {
    let guarded = listener.local_addr()?.ip().is_loopback();
    for stream in listener.incoming() {
        // Who does not ask properly is no reason to end.
        let _ = stream.and_then(|stream| one(stream, guarded, pages));
    }
    Ok(())
}

fn one(mut stream: TcpStream, guarded: bool, pages: &Pages<'_>) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    let Some(head) = head(&mut stream)? else { return Ok(()) };
    let (status, kind, body) = match path(&head, guarded) {
        Err(status) => (status, "text/plain", format!("{status}\n")),
        Ok(path) => {
            let (kind, made) = match path.as_str() {
                "/" => ("text/html; charset=utf-8", (pages.page)()),
                _ => ("image/svg+xml", (pages.picture)()),
            };
            match made {
                Ok(body) => ("200 OK", kind, body),
                Err(error) => ("500 Internal Server Error", "text/plain; charset=utf-8", error + "\n"),
            }
        }
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\nReferrer-Policy: no-referrer\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())
}

/// Up to the empty line; None where it does not come, or is too long.
fn head(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let start = Instant::now();
    let mut bytes = Vec::new();
    let mut piece = [0; 2048];
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        let Some(left) = PATIENCE.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) else {
            return Ok(None);
        };
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut piece)?;
        bytes.extend_from_slice(&piece[..count]);
        if count == 0 || bytes.len() > LONGEST {
            return Ok(None);
        }
    }
    Ok(String::from_utf8(bytes).ok())
}

/// What is asked for, or how it is refused.
fn path(head: &str, guarded: bool) -> Result<String, &'static str> {
    let mut lines = head.split("\r\n");
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, path, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return Err("400 Bad Request") };
    let hosts: Vec<&str> = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("host"))
        .map(|(_, value)| value.trim())
        .collect();
    if guarded && !(hosts.len() == 1 && is_loopback(hosts[0])) {
        return Err("421 Misdirected Request");
    }
    if method != "GET" {
        return Err("405 Method Not Allowed");
    }
    match path.split('?').next() {
        Some(path @ ("/" | "/map.svg")) => Ok(path.to_owned()),
        _ => Err("404 Not Found"),
    }
}

/// `localhost`, `127.0.0.1` or `[::1]`, with a port or without.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_unless_asked() {
        assert_eq!(address("7070", false).unwrap().to_string(), "127.0.0.1:7070");
        assert_eq!(address("localhost:1", false).unwrap().to_string(), "127.0.0.1:1");
        assert_eq!(address("[::1]:7", false).unwrap().to_string(), "[::1]:7");
        assert!(address("0.0.0.0:7", false).unwrap_err().contains("--anywhere"));
        assert!(address("0.0.0.0:7", true).is_ok());
        assert!(address("nonsense", false).unwrap_err().contains("nonsense"));
    }

    #[test]
    fn requests_are_taken_strictly() {
        let ask = |line: &str, host: &str| path(&format!("{line}\r\nHost: {host}\r\n\r\n"), true);
        assert_eq!(ask("GET / HTTP/1.1", "localhost:7070").unwrap(), "/");
        assert_eq!(ask("GET /map.svg?x=1 HTTP/1.1", "[::1]:7070").unwrap(), "/map.svg");
        assert_eq!(ask("GET / HTTP/1.1", "evil.example"), Err("421 Misdirected Request"));
        assert_eq!(ask("GET / HTTP/1.1", "127.0.0.1.evil.example:7070"), Err("421 Misdirected Request"));
        assert_eq!(ask("GET / HTTP/1.1", "a\r\nHost: localhost"), Err("421 Misdirected Request"));
        assert_eq!(ask("POST / HTTP/1.1", "localhost"), Err("405 Method Not Allowed"));
        assert_eq!(ask("GET /../etc/passwd HTTP/1.1", "localhost"), Err("404 Not Found"));
        assert_eq!(ask("GET  / HTTP/1.1", "localhost"), Err("400 Bad Request"));
        assert_eq!(path("GET / HTTP/1.1\r\n\r\n", true), Err("421 Misdirected Request"));
        assert_eq!(path("GET / HTTP/1.1\r\n\r\n", false).unwrap(), "/");
    }
}
