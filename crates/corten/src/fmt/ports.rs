//! The PORTS column: `0.0.0.0:80-82->80-82/tcp, [::]:80-82->80-82/tcp, 9000/tcp`.

use std::collections::HashMap;
use std::net::IpAddr;

/// One port of a container; `host` where it is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub private: u16,
    pub protocol: String,
    pub host: Option<(IpAddr, u16)>,
}

/// Ports that follow one another and are the same on both sides are one group; others follow one by one.
pub fn column(ports: &[Port]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_by(|a, b| {
        // Docker sorts an unpublished port, whose address is no address, before all others.
        (a.private, a.host, &a.protocol).cmp(&(b.private, b.host, &b.protocol))
    });
    let mut groups: HashMap<String, (u16, u16)> = HashMap::new();
    let mut order: Vec<(String, Option<IpAddr>, String)> = Vec::new();
    let (mut result, mut single) = (Vec::new(), Vec::new());
    for port in &ports {
        let address = match port.host {
            Some((address, public)) if public != port.private => {
                single.push(format!(
                    "{}->{}/{}",
                    joined(address, &public.to_string()),
                    port.private,
                    port.protocol
                ));
                continue;
            }
            host => host.map(|(address, _)| address),
        };
        let key = format!("{address:?}/{}", port.protocol);
        match groups.get_mut(&key) {
            None => {
                groups.insert(key.clone(), (port.private, port.private));
                order.push((key, address, port.protocol.clone()));
            }
            Some((_, last)) if port.private == last.saturating_add(1) => *last = port.private,
            Some(range) => {
                result.push(group(address, &port.protocol, *range));
                *range = (port.private, port.private);
            }
        }
    }
    for (key, address, protocol) in order {
        if let Some(range) = groups.get(&key) {
            result.push(group(address, &protocol, *range));
        }
    }
    result.extend(single);
    result.join(", ")
}

fn group(address: Option<IpAddr>, protocol: &str, (first, last): (u16, u16)) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match address {
        Some(address) => format!("{}->{range}/{protocol}", joined(address, &range)),
        None => format!("{range}/{protocol}"),
    }
}

/// Go's net.JoinHostPort.
pub fn joined(address: IpAddr, port: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(private: u16, host: Option<(&str, u16)>) -> Port {
        let host = host.map(|(address, public)| (address.parse().unwrap(), public));
        Port { private, protocol: "tcp".to_owned(), host }
    }

    #[test]
    fn published_and_exposed() {
        let both = [port(80, Some(("0.0.0.0", 8080))), port(80, Some(("::", 8080)))];
        assert_eq!(column(&both), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        assert_eq!(column(&[port(80, None)]), "80/tcp");
        assert_eq!(column(&[]), "");
    }

    #[test]
    fn consecutive_equal_ports_are_one_group() {
        let mut ports: Vec<Port> = [82, 80, 81].map(|p| port(p, Some(("0.0.0.0", p)))).to_vec();
        assert_eq!(column(&ports), "0.0.0.0:80-82->80-82/tcp");
        ports.push(port(90, Some(("0.0.0.0", 90))));
        ports.push(port(443, Some(("0.0.0.0", 8443))));
        ports.push(port(9000, None));
        assert_eq!(
            column(&ports),
            "0.0.0.0:80-82->80-82/tcp, 0.0.0.0:90->90/tcp, 9000/tcp, 0.0.0.0:8443->443/tcp"
        );
    }
}
