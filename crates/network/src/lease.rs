//! Addresses: each is leased to one container by exclusive creation of `leases/<address>`; there is no lock.
//!
//! A lease is a symbolic link that points to the container's id, so that making it and saying whose it is are one
//! system call. `leases/.last-<network>` is a hint where to look next; nothing breaks when it is wrong.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Network, Result};

/// What a container has on its network, from `create` to `rm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    /// Locally administered, derived from the address: whoever gets the address next is found at once.
    pub mac: [u8; 6],
}

/// Leases `wanted`, or the next free address of the network, to `container` under the data root.
///
/// The order is round robin, so that an address just given back rests as long as possible.
pub fn lease(root: &Path, network: &Network, container: &str, wanted: Option<Ipv4Addr>) -> Result<Lease> {
    let leases = root.join("leases");
    let hosts = network.subnet.hosts();
    if let Some(address) = wanted {
        if !hosts.contains(&u32::from(address)) || address == network.gateway {
            return Err(Error::ForeignAddress(address, network.subnet));
        }
        return match claim(&leases, address, container)? {
            true => Ok(describe(network, address)),
            false => Err(Error::AddressInUse(address, holder(&leases, address))),
        };
    }
    let hint = leases.join(format!(".last-{}", network.name));
    let last =
        fs::read_to_string(&hint).ok().and_then(|text| text.trim().parse::<Ipv4Addr>().ok()).map(u32::from);
    let (first, end) = (*hosts.start(), *hosts.end());
    let start = last.filter(|last| hosts.contains(last)).map_or(first, |last| last + 1);
    for number in (start..=end).chain(first..start) {
        let address = Ipv4Addr::from(number);
        if address != network.gateway && claim(&leases, address, container)? {
            remember(&hint, address);
            return Ok(describe(network, address));
        }
    }
    Err(Error::Exhausted(network.name.clone(), network.subnet))
}

/// Gives an address back. Releasing what is not leased, or is another container's, does nothing.
pub fn release(root: &Path, address: Ipv4Addr, container: &str) -> Result<()> {
    let path = root.join("leases").join(address.to_string());
    if fs::read_link(&path).is_ok_and(|target| target == Path::new(container)) {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::File(path, error)),
            _ => {}
        }
    }
    Ok(())
}

/// Leases of containers that no longer exist: what a kill between two lines left behind, to be released.
pub fn stale(root: &Path, exists: impl Fn(&str) -> bool) -> Result<Vec<(Ipv4Addr, String)>> {
    let leases = all(root)?;
    Ok(leases.into_iter().filter(|(_, container)| !exists(container)).collect())
}

/// Every lease and its container, in no order.
pub fn all(root: &Path) -> Result<Vec<(Ipv4Addr, String)>> {
    let leases = root.join("leases");
    let entries = match fs::read_dir(&leases) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::File(leases, error)),
    };
    let parse = |entry: fs::DirEntry| {
        let address = entry.file_name().to_str()?.parse().ok()?;
        Some((address, fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
    };
    Ok(entries.flatten().filter_map(parse).collect())
}

/// The name of the host's end of a container's cable, and its index. They differ from start to start: the cable of
/// the last run may still be dying. `start` is any number that no other start of the container had, such as a time.
pub fn link(container: &str, start: u64) -> (String, u32) {
    // FNV-1a
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let hash = container.bytes().chain(start.to_ne_bytes()).fold(0xcbf2_9ce4_8422_2325, mix);
    let bits = (hash ^ hash >> 28) as u32 & 0x0fff_ffff;
    // above everything that the kernel gives out by itself, and within its signed 32 bits
    (format!("veth{bits:07x}"), 0x1000_0000 + bits)
}

/// The MAC address that goes with an IPv4 address.
pub fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

fn describe(network: &Network, address: Ipv4Addr) -> Lease {
    Lease { address, prefix: network.subnet.prefix, gateway: network.gateway, mac: mac(address) }
}

/// Only a hint: not synced, and two writers at once do no harm. It is overwritten in place, because a file that is cut and
/// written anew goes to the disk when it is closed (ext4's auto_da_alloc).
fn remember(hint: &Path, address: Ipv4Addr) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(hint);
    let _ = file.and_then(|file| file.write_all_at(format!("{address:<15}\n").as_bytes(), 0));
}

/// True when the address is this container's now.
fn claim(leases: &Path, address: Ipv4Addr, container: &str) -> Result<bool> {
    let path = leases.join(address.to_string());
    let mut made = std::os::unix::fs::symlink(container, &path);
    if matches!(&made, Err(error) if error.kind() == ErrorKind::NotFound) {
        make_directory(leases)?;
        made = std::os::unix::fs::symlink(container, &path);
    }
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::File(path, error)),
    }
}

fn make_directory(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error: io::Error| Error::File(PathBuf::from(path), error))
}

fn holder(leases: &Path, address: Ipv4Addr) -> String {
    let target = fs::read_link(leases.join(address.to_string())).unwrap_or_default();
    target.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    struct Root(PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let root = std::env::temp_dir().join(format!("corten-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            Root(root)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn small() -> Network {
        let subnet = "10.9.0.0/29".parse().unwrap();
        Network { subnet, gateway: Ipv4Addr::new(10, 9, 0, 1), ..Network::default() }
    }

    #[test]
    fn addresses_go_round() {
        let root = Root::new("lease-round");
        let next = |id: &str| lease(&root.0, &small(), id, None).map(|lease| lease.address.octets()[3]);
        assert_eq!((next("a").unwrap(), next("b").unwrap()), (2, 3));
        release(&root.0, Ipv4Addr::new(10, 9, 0, 2), "a").unwrap();
        assert_eq!((next("c").unwrap(), next("d").unwrap(), next("e").unwrap()), (4, 5, 6));
        assert_eq!(next("f").unwrap(), 2);
        assert_eq!(next("g").unwrap_err().to_string(), "no free address in network bridge (10.9.0.0/29)");
    }

    #[test]
    fn a_lease_is_given_back_by_its_holder_only() {
        let root = Root::new("lease-holder");
        let wanted = Ipv4Addr::new(10, 9, 0, 4);
        let got = lease(&root.0, &small(), "a", Some(wanted)).unwrap();
        assert_eq!((got.address, got.mac), (wanted, [2, 66, 10, 9, 0, 4]));
        release(&root.0, wanted, "b").unwrap();
        let refused = lease(&root.0, &small(), "b", Some(wanted)).unwrap_err();
        assert_eq!(refused.to_string(), "address 10.9.0.4 is already in use by container a");
        assert!(lease(&root.0, &small(), "b", Some(Ipv4Addr::new(10, 9, 0, 1))).is_err());
        assert_eq!(stale(&root.0, |id| id == "x").unwrap(), [(wanted, "a".to_owned())]);
        assert_eq!(stale(&root.0, |id| id == "a").unwrap(), []);
        release(&root.0, wanted, "a").unwrap();
        release(&root.0, wanted, "a").unwrap();
        assert_eq!(all(&root.0).unwrap(), []);
    }

    #[test]
    fn nobody_gets_an_address_twice() {
        let root = Root::new("lease-race");
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let root = root.0.clone();
                std::thread::spawn(move || {
                    let one = |i| lease(&root, &Network::default(), &format!("{thread}-{i}"), None).unwrap();
                    (0..100).map(|i| one(i).address).collect::<Vec<_>>()
                })
            })
            .collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 800);
    }

    #[test]
    fn links_differ_from_start_to_start() {
        let (name, index) = link("4f3c", 1);
        assert_eq!((name.len(), name.starts_with("veth")), (11, true));
        assert_eq!(name[4..], format!("{:07x}", index - 0x1000_0000));
        assert_ne!(link("4f3c", 2).0, name);
        let names: HashSet<_> = (0..1000u64).map(|start| link("4f3c", start).0).collect();
        assert!(names.len() >= 999);
    }
}
