//! Who listens where. See proc_pid_net(5).

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that waits for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    pub protocol: &'static str,
    pub address: IpAddr,
    pub port: u16,
    inode: u64,
}

const TCP_LISTEN: &str = "0A";
/// A UDP socket that is bound and not connected.
const UDP_UNCONNECTED: &str = "07";

/// The sockets that listen in the network namespace of a process.
pub fn listeners(pid: i32) -> Vec<Listener> {
    let mut found = Vec::new();
    for (protocol, file, state) in [
        ("tcp", "tcp", TCP_LISTEN),
        ("tcp", "tcp6", TCP_LISTEN),
        ("udp", "udp", UDP_UNCONNECTED),
        ("udp", "udp6", UDP_UNCONNECTED),
    ] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{file}")).unwrap_or_default();
        found.extend(table.lines().skip(1).filter_map(|line| listener(line, protocol, state)));
    }
    found
}

/// `  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 …`
fn listener(line: &str, protocol: &'static str, wanted: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != wanted {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listener { protocol, address: self::address(address)?, port, inode: inode.parse().ok()? })
}

/// Words of four bytes, each as a number of this machine's.
fn address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|i| Some(u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect();
    let bytes = words?.concat();
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

/// The processes that have these sockets open, as far as we may look: the lowest pid of each.
pub fn holders(listeners: &[Listener]) -> HashMap<Listener, i32> {
    let mut found: HashMap<Listener, i32> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(descriptor.path()) else { continue };
            let link = link.to_string_lossy();
            let inode =
                link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse::<u64>().ok());
            let Some(listener) = listeners.iter().find(|l| Some(l.inode) == inode) else { continue };
            let lowest = found.entry(listener.clone()).or_insert(pid);
            *lowest = (*lowest).min(pid);
        }
    }
    found
}

impl std::hash::Hash for Listener {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inode.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_tables() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0";
        let found = listener(line, "tcp", TCP_LISTEN).unwrap();
        assert_eq!((found.address, found.port, found.inode), (Ipv4Addr::LOCALHOST.into(), 8080, 12345));
        assert_eq!(listener(&line.replace(" 0A ", " 01 "), "tcp", TCP_LISTEN), None);
        assert_eq!(address("00000000000000000000000001000000"), Some(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(address("00"), None);
    }

    #[test]
    fn our_own_socket_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let me = std::process::id().cast_signed();
        let ours: Vec<Listener> = listeners(me).into_iter().filter(|l| l.port == port).collect();
        assert_eq!(ours.len(), 1, "{ours:?}");
        assert_eq!(holders(&ours).get(&ours[0]), Some(&me));
    }
}
