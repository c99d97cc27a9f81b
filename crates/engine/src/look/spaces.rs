//! Namespaces as the kernel numbers them. See namespaces(7) and lsns(8).

use super::Running;
use kernel::process as ns;
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// A kind of namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As in `/proc/PID/ns`.
    pub name: &'static str,
    /// `CLONE_NEW…`
    pub flag: u64,
    /// What it sets apart.
    pub what: &'static str,
}

/// All eight, by name.
pub const KINDS: [Kind; 8] = [
    Kind { name: "cgroup", flag: ns::CLONE_NEWCGROUP, what: "the root of the control groups that it sees" },
    Kind { name: "ipc", flag: ns::CLONE_NEWIPC, what: "System V IPC and POSIX message queues" },
    Kind { name: "mnt", flag: ns::CLONE_NEWNS, what: "mounts: the file system that it sees" },
    Kind { name: "net", flag: ns::CLONE_NEWNET, what: "links, addresses, routes, ports, firewall" },
    Kind { name: "pid", flag: ns::CLONE_NEWPID, what: "the numbers of processes" },
    Kind { name: "time", flag: ns::CLONE_NEWTIME, what: "the clocks since boot" },
    Kind { name: "user", flag: ns::CLONE_NEWUSER, what: "users, groups and capabilities" },
    Kind { name: "uts", flag: ns::CLONE_NEWUTS, what: "the names of host and domain" },
];

/// The inode numbers of a process's namespaces, in the order of [`KINDS`].
///
/// Errors: no such process; not ours to look at.
pub fn of(pid: i32) -> io::Result<[u64; 8]> {
    let mut numbers = [0; 8];
    for (number, kind) in numbers.iter_mut().zip(KINDS) {
        let link = fs::read_link(format!("/proc/{pid}/ns/{}", kind.name))?;
        *number = inode(&link.to_string_lossy()).unwrap_or(0);
    }
    Ok(numbers)
}

/// `net:[4026531840]`
fn inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// One namespace, and who is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Space {
    pub kind: &'static str,
    pub inode: u64,
    pub processes: usize,
    /// The lowest pid in it, on the host.
    pub pid: i32,
    pub command: String,
    /// Names of the containers whose first process is in it.
    pub containers: Vec<String>,
    /// It is the one that we are in.
    pub host: bool,
}

/// The namespaces of all processes that we may look at, by kind and then by pid.
pub fn all(running: &[Running]) -> io::Result<Vec<Space>> {
    let own = of(std::process::id().cast_signed())?;
    let mut spaces: BTreeMap<(&str, u64), Space> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // It may end while we look.
        let Ok(numbers) = of(pid) else { continue };
        for ((kind, inode), own) in KINDS.iter().zip(numbers).zip(own) {
            let space = spaces.entry((kind.name, inode)).or_insert_with(|| Space {
                kind: kind.name,
                inode,
                processes: 0,
                pid,
                command: String::new(),
                containers: Vec::new(),
                host: inode == own,
            });
            space.processes += 1;
            space.pid = space.pid.min(pid);
        }
    }
    for Running { container, pid } in running {
        let Ok(numbers) = of(*pid) else { continue };
        for (kind, inode) in KINDS.iter().zip(numbers) {
            if let Some(space) = spaces.get_mut(&(kind.name, inode)) {
                space.containers.push(container.name.clone());
            }
        }
    }
    let mut all: Vec<Space> = spaces.into_values().collect();
    all.iter_mut().for_each(|space| space.command = command(space.pid));
    all.sort_by_key(|space| (space.kind, space.pid));
    Ok(all)
}

/// The words that a process was started with; a kernel thread's name in brackets.
pub fn command(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words);
    let line = words.trim_end_matches('\0').replace('\0', " ");
    if !line.is_empty() {
        return line;
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("[{}]", name.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_numbers() {
        assert_eq!(inode("net:[4026531840]"), Some(4_026_531_840));
        assert_eq!(inode("net:4026531840"), None);
    }

    #[test]
    fn we_are_in_eight_of_the_host() {
        let spaces = all(&[]).unwrap();
        let own: Vec<&str> = spaces.iter().filter(|s| s.host).map(|s| s.kind).collect();
        assert_eq!(own, KINDS.map(|kind| kind.name));
        assert!(spaces.iter().all(|s| s.processes > 0 && !s.command.is_empty()));
    }
}
