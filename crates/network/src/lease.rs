//! Addresses: each is leased to one container by exclusive creation of `leases/<address>`; there is no lock.
//!
//! A lease is a symbolic link that points to the container's id, so that making it and saying whose it is are one
//! system call. `leases/.last-<network>` is a hint where to look next; nothing breaks when it is wrong.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::network::Pool;
use crate::{Error, Network, Result, subnet};

/// Leases `wanted`, or the next free address of the network in a family, to `container` under the data root.
///
/// The order is round robin, so that an address just given back rests as long as possible.
pub fn lease(
    root: &Path,
    network: &Network,
    container: &str,
    ipv4: bool,
    wanted: Option<IpAddr>,
) -> Result<IpAddr> {
    let leases = root.join("leases");
    if let Some(address) = wanted {
        return lease_wanted(&leases, network, container, address);
    }
    let hint = hint(root, &network.name, ipv4);
    let last = fs::read_to_string(&hint).ok().and_then(|text| text.trim().parse::<IpAddr>().ok());
    let pools = network.pools.iter().filter(|pool| pool.subnet.is_ipv4() == ipv4);
    for pool in pools {
        if let Some(address) = lease_of(&leases, pool, container, last)? {
            remember(&hint, address);
            return Ok(address);
        }
    }
    match network.pool(ipv4) {
        Some(pool) => Err(Error::Exhausted(network.name.clone(), pool.range.unwrap_or(pool.subnet))),
        None => Err(Error::NoFamily(network.name.clone(), if ipv4 { "IPv4" } else { "IPv6" })),
    }
}

fn lease_wanted(leases: &Path, network: &Network, container: &str, address: IpAddr) -> Result<IpAddr> {
    let Some(pool) = network.pool_of(address).or_else(|| network.pool(address.is_ipv4())) else {
        let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
        return Err(Error::NoFamily(network.name.clone(), family));
    };
    if !pool.is_for_containers(address) {
        return Err(Error::ForeignAddress(address, pool.subnet));
    }
    match claim(leases, address, container)? {
        true => Ok(address),
        false => Err(Error::AddressInUse(address, holder(leases, address))),
    }
}

/// The next free address of one pool; none when there is none.
fn lease_of(leases: &Path, pool: &Pool, container: &str, last: Option<IpAddr>) -> Result<Option<IpAddr>> {
    let hosts = pool.subnet.hosts();
    let part = pool.range.map_or(hosts.clone(), |range| {
        let numbers = range.numbers();
        *numbers.start().max(hosts.start())..=*numbers.end().min(hosts.end())
    });
    let (first, end) = (*part.start(), *part.end());
    let last = last.filter(|last| pool.subnet.contains(*last)).map(subnet::to_number);
    let start = last.filter(|last| part.contains(last)).map_or(first, |last| last + 1);
    for number in (start..=end).chain(first..start.min(end + 1)) {
        let address = subnet::to_address(pool.subnet.is_ipv4(), number);
        if pool.is_for_containers(address) && claim(leases, address, container)? {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// Gives an address back. Releasing what is not leased, or is another container's, does nothing.
pub fn release(root: &Path, address: IpAddr, container: &str) -> Result<()> {
    let path = root.join("leases").join(address.to_string());
    match fs::read_link(&path).and_then(|target| match target == Path::new(container) {
        true => fs::remove_file(&path),
        false => Ok(()),
    }) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => {
            Err(Error::File(path, error))
        }
        _ => Ok(()),
    }
}

/// Forgets all of a network that is no more.
pub fn forget(root: &Path, network: &Network) -> Result<()> {
    for (address, container) in all(root)? {
        if network.pool_of(address).is_some() {
            release(root, address, &container)?;
        }
    }
    for ipv4 in [true, false] {
        let _ = fs::remove_file(hint(root, &network.name, ipv4));
    }
    Ok(())
}

/// Releases the leases of containers that no longer exist: what a kill between two lines left behind. How many.
pub fn collect(root: &Path, exists: impl Fn(&str) -> bool) -> Result<usize> {
    let stale: Vec<_> = all(root)?.into_iter().filter(|(_, container)| !exists(container)).collect();
    for (address, container) in &stale {
        release(root, *address, container)?;
    }
    Ok(stale.len())
}

/// Every lease and its container, in no order.
pub fn all(root: &Path) -> Result<Vec<(IpAddr, String)>> {
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

/// The container that has an address; empty when nobody has.
pub fn of(root: &Path, address: IpAddr) -> String {
    holder(&root.join("leases"), address)
}

/// The name of the host's end of a container's cable to a network, and its index. They differ from start to start: the
/// cable of the last run may still be dying. `start` is any number that no other start had, such as a time.
pub fn link(container: &str, network: &str, start: u64) -> (String, u32) {
    // FNV-1a
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let bytes = container.bytes().chain(network.bytes()).chain(start.to_ne_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, mix);
    let bits = (hash ^ hash >> 28) as u32 & 0x0fff_ffff;
    // above everything that the kernel gives out by itself, and within its signed 32 bits
    (format!("veth{bits:07x}"), 0x1000_0000 + bits)
}

/// The MAC address that goes with an address: locally administered, so that whoever gets the address next is found at
/// once.
pub fn mac(address: IpAddr) -> [u8; 6] {
    let number = subnet::to_number(address) as u32;
    let [a, b, c, d] = number.to_be_bytes();
    [0x02, 0x42, a, b, c, d]
}

fn hint(root: &Path, network: &str, ipv4: bool) -> PathBuf {
    root.join("leases").join(format!(".last{}-{network}", if ipv4 { "" } else { "6" }))
}

/// Only a hint: not synced, and two writers at once do no harm. It is overwritten in place, because a file that is cut and
/// written anew goes to the disk when it is closed (ext4's auto_da_alloc).
fn remember(hint: &Path, address: IpAddr) {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(hint);
    let _ = file.and_then(|file| file.write_all_at(format!("{:<39}\n", address.to_string()).as_bytes(), 0));
}

/// True when the address is this container's now.
fn claim(leases: &Path, address: IpAddr, container: &str) -> Result<bool> {
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

fn holder(leases: &Path, address: IpAddr) -> String {
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

    fn network(subnets: &[&str]) -> Network {
        let pools = subnets.iter().map(|subnet| Pool::new(subnet.parse().unwrap())).collect();
        Network { pools, ..Network::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_go_round() {
        let root = Root::new("lease-round");
        let small = network(&["10.9.0.0/29"]);
        let next = |id: &str| lease(&root.0, &small, id, true, None).map(|a| subnet::to_number(a) & 0xff);
        assert_eq!((next("a").unwrap(), next("b").unwrap()), (2, 3));
        release(&root.0, ip("10.9.0.2"), "a").unwrap();
        assert_eq!((next("c").unwrap(), next("d").unwrap(), next("e").unwrap()), (4, 5, 6));
        assert_eq!(next("f").unwrap(), 2);
        assert_eq!(next("g").unwrap_err().to_string(), "no free address in network bridge (10.9.0.0/29)");
        let larger = network(&["10.9.0.0/29", "10.9.1.0/29"]);
        assert_eq!(lease(&root.0, &larger, "g", true, None).unwrap(), ip("10.9.1.2"));
        assert_eq!(all(&root.0).unwrap().len(), 6);
        forget(&root.0, &larger).unwrap();
        assert_eq!(all(&root.0).unwrap(), []);
    }

    #[test]
    fn a_lease_is_given_back_by_its_holder_only() {
        let root = Root::new("lease-holder");
        let small = network(&["10.9.0.0/29"]);
        let wanted = ip("10.9.0.4");
        let get = |id: &str, wanted: IpAddr| lease(&root.0, &small, id, true, Some(wanted));
        assert_eq!((get("a", wanted).unwrap(), mac(wanted)), (wanted, [2, 66, 10, 9, 0, 4]));
        release(&root.0, wanted, "b").unwrap();
        let refused = get("b", wanted).unwrap_err();
        assert_eq!(refused.to_string(), "address 10.9.0.4 is already in use by container a");
        for not_ours in ["10.9.0.1", "10.9.0.0", "10.9.0.7", "10.10.0.3", "fd00::5"] {
            assert!(get("b", ip(not_ours)).is_err(), "{not_ours}");
        }
        assert_eq!(collect(&root.0, |id| id == "a").unwrap(), 0);
        assert_eq!(collect(&root.0, |id| id == "x").unwrap(), 1);
        release(&root.0, wanted, "a").unwrap();
        assert_eq!(all(&root.0).unwrap(), []);
    }

    #[test]
    fn ranges_reservations_and_ipv6() {
        let root = Root::new("lease-range");
        let mut part = network(&["10.9.0.0/24", "fd00:9::/64"]);
        part.pools[0].range = Some("10.9.0.128/30".parse().unwrap());
        part.pools[0].reserved.insert("printer".into(), ip("10.9.0.129"));
        let next = |id: &str, ipv4| lease(&root.0, &part, id, ipv4, None);
        for wanted in ["10.9.0.128", "10.9.0.130", "10.9.0.131"] {
            assert_eq!(next("a", true).unwrap(), ip(wanted));
        }
        assert!(next("a", true).unwrap_err().to_string().ends_with("(10.9.0.128/30)"));
        assert_eq!(lease(&root.0, &part, "a", true, Some(ip("10.9.0.5"))).unwrap(), ip("10.9.0.5"));
        assert_eq!(next("a", false).unwrap(), ip("fd00:9::2"));
        assert_eq!(next("a", false).unwrap(), ip("fd00:9::3"));
        assert_eq!(mac(ip("fd00:9::3")), [2, 66, 0, 0, 0, 3]);
    }

    #[test]
    fn nobody_gets_an_address_twice() {
        let root = Root::new("lease-race");
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let root = root.0.clone();
                std::thread::spawn(move || {
                    let network = Network::default();
                    let one = |i| lease(&root, &network, &format!("{thread}-{i}"), true, None).unwrap();
                    (0..100).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 800);
    }

    #[test]
    fn links_differ_from_start_to_start() {
        let (name, index) = link("4f3c", "bridge", 1);
        assert_eq!((name.len(), name.starts_with("veth")), (11, true));
        assert_eq!(name[4..], format!("{:07x}", index - 0x1000_0000));
        assert_ne!(link("4f3c", "bridge", 2).0, name);
        assert_ne!(link("4f3c", "web", 1).0, name);
        let names: HashSet<_> = (0..1000u64).map(|start| link("4f3c", "bridge", start).0).collect();
        assert!(names.len() >= 999);
    }
}
