//! Port specifications: Docker's grammar of `-p` and `--expose`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use steps::{Forward, Protocol};

use crate::{Error, Result};

/// One container port, as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// None: every address of the host.
    pub host_ip: Option<IpAddr>,
    /// The ports of the host that will do, first and last; none: any free one.
    pub host_ports: Option<(u16, u16)>,
    pub container_port: u16,
    pub protocol: Protocol,
}

/// One container port, with the host's port that leads to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// 0.0.0.0 or ::, every address of the family; or one address.
    pub host_ip: IpAddr,
    pub host_port: u16,
    pub container_port: u16,
    pub protocol: Protocol,
}

impl PublishedPort {
    pub fn forward(&self, address: IpAddr) -> Forward {
        Forward {
            host: Some(self.host_ip).filter(|ip| !ip.is_unspecified()),
            host_port: self.host_port,
            protocol: self.protocol,
            address,
            port: self.container_port,
        }
    }
}

/// As `docker ps` shows it: `0.0.0.0:8080->80/tcp`.
impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host_ip {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        write!(f, ":{}->{}/{}", self.host_port, self.container_port, self.protocol)
    }
}

/// What one `-p` asks for: `80`, `8080:80`, `127.0.0.1::80`, `[::1]:8000-8002:80-82/udp`, or
/// `published=8080,target=80,protocol=tcp`. A range of host ports for one container port means any of them.
pub fn parse(spec: &str) -> Result<Vec<PortSpec>> {
    if spec.contains('=') {
        return parse(&short_form(spec)?);
    }
    let (host_ip, host_port, container) = split(spec);
    let (ports, protocol) = container.split_once('/').unwrap_or((container, "tcp"));
    let protocol = parse_protocol(protocol)?;
    let host_ip = match host_ip {
        "" => None,
        ip => Some(parse_address(ip)?),
    };
    if ports.is_empty() {
        return Err(Error::NoPort(spec.into()));
    }
    let (first, last) = parse_container_range(ports)?;
    let host_ports = match host_port {
        "" => None,
        range => Some(parse_range(range).ok_or_else(|| Error::HostPort(range.into()))?),
    };
    let one = |container_port, host_ports: Option<(u16, u16)>| PortSpec {
        host_ip,
        // 0 is how bind(2) says any
        host_ports: host_ports.filter(|range| range.0 != 0),
        container_port,
        protocol,
    };
    match host_ports {
        Some(_) if first == last => Ok(vec![one(first, host_ports)]),
        Some((from, to)) if to - from == last - first => {
            Ok((0..=last - first).map(|i| one(first + i, Some((from + i, from + i)))).collect())
        }
        Some(_) => Err(Error::Ranges(ports.into(), host_port.into())),
        None => Ok((first..=last).map(|port| one(port, None)).collect()),
    }
}

/// What one `--expose`, or an image's `EXPOSE`, names: `80`, `80/udp`, `8000-8010/tcp`.
pub fn parse_exposed(spec: &str) -> Result<Vec<(u16, Protocol)>> {
    let (ports, protocol) = spec.split_once('/').unwrap_or((spec, "tcp"));
    let protocol = parse_protocol(protocol)?;
    let (first, last) = parse_container_range(ports)?;
    Ok((first..=last).map(|port| (port, protocol)).collect())
}

/// Host address, host port, container port; what is missing is empty. An IPv6 address has colons of its own.
fn split(spec: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = spec.rsplit_once(':') else { return ("", "", spec) };
    match rest.rsplit_once(':') {
        Some((ip, host_port)) => (ip, host_port, container),
        None => ("", rest, container),
    }
}

fn short_form(spec: &str) -> Result<String> {
    let (mut published, mut target, mut protocol) = ("", "", "tcp");
    for part in spec.split(',') {
        match part.split_once('=') {
            Some(("published", value)) => published = value,
            Some(("target", value)) => target = value,
            Some(("protocol", value)) => protocol = value,
            Some(("mode", _)) => {}
            _ => return Err(Error::ContainerPort(spec.into())),
        }
    }
    // whatever stands in a value that is no port is an error there, and never a second '='
    if published.contains('=') || target.contains('=') || protocol.contains('=') {
        return Err(Error::ContainerPort(spec.into()));
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn parse_protocol(text: &str) -> Result<Protocol> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Ok(Protocol::Sctp),
        other => Err(Error::Protocol(other.into())),
    }
}

fn parse_address(text: &str) -> Result<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address: IpAddr = bare.unwrap_or(text).parse().map_err(|_| Error::Address(text.into()))?;
    Ok(address)
}

/// Nothing can listen on port 0.
fn parse_container_range(text: &str) -> Result<(u16, u16)> {
    parse_range(text).filter(|range| range.0 != 0).ok_or_else(|| Error::ContainerPort(text.into()))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| {
        // a plus sign is no digit to us
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten()
    };
    match text.split_once('-') {
        Some((first, last)) => Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last),
        None => port(text).map(|port| (port, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(spec: &str) -> String {
        let one = |port: &PortSpec| {
            let ip = port.host_ip.map_or("*".into(), |ip| ip.to_string());
            let host = port
                .host_ports
                .map_or("any".into(), |(a, b)| if a == b { format!("{a}") } else { format!("{a}-{b}") });
            format!("{ip} {host} {}/{}", port.container_port, port.protocol)
        };
        match parse(spec) {
            Ok(ports) => ports.iter().map(one).collect::<Vec<_>>().join(", "),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn the_grammar_is_dockers() {
        let table = [
            ("80", "* any 80/tcp"),
            ("8080:80", "* 8080 80/tcp"),
            ("0:80", "* any 80/tcp"),
            ("127.0.0.1:8080:80/udp", "127.0.0.1 8080 80/udp"),
            ("127.0.0.1::80", "127.0.0.1 any 80/tcp"),
            ("[::1]:8080:80", "::1 8080 80/tcp"),
            ("::1:8080:80", "::1 8080 80/tcp"),
            ("8000-8002:80-82", "* 8000 80/tcp, * 8001 81/tcp, * 8002 82/tcp"),
            ("80-81/SCTP", "* any 80/sctp, * any 81/sctp"),
            ("8000-8010:80", "* 8000-8010 80/tcp"),
            ("published=8080,target=80", "* 8080 80/tcp"),
            ("target=53,protocol=udp", "* any 53/udp"),
            ("", "error: no port specified: <empty>"),
            ("8080:", "error: no port specified: 8080:<empty>"),
            ("foo", "error: invalid containerPort: foo"),
            ("0", "error: invalid containerPort: 0"),
            ("65536", "error: invalid containerPort: 65536"),
            ("+80", "error: invalid containerPort: +80"),
            ("82-80", "error: invalid containerPort: 82-80"),
            ("foo:80", "error: invalid hostPort: foo"),
            ("localhost:8080:80", "error: invalid IP address: localhost"),
            ("256.0.0.1:8080:80", "error: invalid IP address: 256.0.0.1"),
            ("80/icmp", "error: invalid proto: icmp"),
            ("80/", "error: invalid proto: "),
            (
                "8000-8001:80-82",
                "error: invalid ranges specified for container and host Ports: 80-82 and 8000-8001",
            ),
            ("a=b", "error: invalid containerPort: a=b"),
            ("target=80=81", "error: invalid containerPort: target=80=81"),
        ];
        for (spec, wanted) in table {
            assert_eq!(show(spec), wanted, "{spec}");
        }
    }

    #[test]
    fn exposed_ports() {
        assert_eq!(parse_exposed("80").unwrap(), [(80, Protocol::Tcp)]);
        assert_eq!(parse_exposed("53-54/udp").unwrap(), [(53, Protocol::Udp), (54, Protocol::Udp)]);
        assert!(parse_exposed("8080:80").is_err());
    }

    #[test]
    fn ports_are_shown_as_docker_does() {
        let port = |ip: &str| PublishedPort {
            host_ip: ip.parse().unwrap(),
            host_port: 8080,
            container_port: 80,
            protocol: Protocol::Tcp,
        };
        assert_eq!(port("0.0.0.0").to_string(), "0.0.0.0:8080->80/tcp");
        assert_eq!(port("::1").to_string(), "[::1]:8080->80/tcp");
    }
}
