//! Everything that the kernel tells of a process and of what is around it: each mount, each file of its control groups, each
//! device, link, route and kernel parameter. For who wants to know whether two are the same.

use super::facts::{self, Fact, Facts, read};
use super::spaces::KINDS;
use kernel::netlink::{dump, namespace};
use kernel::process as ns;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Files of a group that tell of the past, or who is in it, and not how it is set up.
const COUNTERS: [&str; 12] = [
    "cgroup.procs",
    "cgroup.threads",
    "tasks",
    "cpu.pressure",
    "io.pressure",
    "memory.pressure",
    "irq.pressure",
    "memory.peak",
    "memory.swap.peak",
    "cpuacct.usage",
    // One line for each link of whoever reads it.
    "net_prio.ifpriomap",
    "cgroup.clone_children",
];

/// Kernel parameters of a network namespace that are random, or that only a driver sets.
const RANDOM: [&str; 3] = ["tcp_fastopen_key", "stable_secret", "netdev_rss_key"];

/// Signals 32 and 33 are the C library's own, and a program can neither set them nor rely on them.
const LIBRARY: u64 = 3 << 31;

/// Of System V and POSIX IPC, which each IPC namespace has its own.
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shm_rmid_forced", "shmall", "shmmax", "shmmni"];

/// All facts about a process, those of [`facts::of`] first.
///
/// Errors: no such process; not ours to look at.
pub fn of(pid: i32) -> io::Result<Vec<Fact>> {
    let mut facts = Facts(facts::of(pid)?);
    process(pid, &mut facts)?;
    environment(pid, &mut facts)?;
    mounts(pid, &mut facts)?;
    groups(pid, &mut facts)?;
    files(pid, &mut facts)?;
    names(pid, &mut facts)?;
    network(pid, &mut facts)?;
    Ok(facts.0)
}

/// See proc_pid_status(5).
fn process(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let status = read(pid, "status")?;
    for line in status.lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        let name = match field {
            "Uid" => "user, effective, saved, of files",
            "Gid" => "group, effective, saved, of files",
            "Groups" => "more groups",
            "Umask" => "umask",
            "CapInh" => "capabilities to pass on",
            "CapPrm" => "capabilities in reserve",
            "CapAmb" => "capabilities that stay",
            "SigBlk" => "signals that wait",
            "SigIgn" => "signals ignored",
            _ => continue,
        };
        let value = match field {
            "SigBlk" | "SigIgn" => {
                format!("{:016x}", u64::from_str_radix(value.trim(), 16).unwrap_or_default() & !LIBRARY)
            }
            _ => value.split_whitespace().collect::<Vec<_>>().join(" "),
        };
        facts.add("rights", name, value, format!("grep {field} /proc/$PID/status"));
    }
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let inside = inside.split_whitespace().last().unwrap_or_default().to_owned();
    facts.add("process", "number inside", inside, "grep NSpid /proc/$PID/status");
    let words = fs::read(format!("/proc/{pid}/cmdline"))?;
    let words: Vec<String> =
        words.strip_suffix(&[0]).unwrap_or(&words).split(|b| *b == 0).map(quoted).collect();
    facts.add("process", "command", words.join(" "), "tr '\\0' ' ' </proc/$PID/cmdline");
    for (name, file) in [("personality", "personality"), ("core dumps have", "coredump_filter")] {
        let by_hand = format!("cat /proc/$PID/{file}");
        facts.add("process", name, read(pid, file).unwrap_or_default().trim().to_owned(), by_hand);
    }
    let clocks = read(pid, "timens_offsets").unwrap_or_default();
    for line in clocks.lines() {
        let mut words = line.split_whitespace();
        let clock = words.next().unwrap_or_default();
        let offset = words.collect::<Vec<_>>().join(" ");
        facts.add("process", format!("clock {clock}"), offset, "cat /proc/$PID/timens_offsets");
    }
    let stat = read(pid, "stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    // Counted from the third, the state. See proc_pid_stat(5).
    for (name, field) in [("nice", 19), ("real-time priority", 40), ("scheduling policy", 41)] {
        let value = fields.get(field - 3).copied().unwrap_or_default().to_owned();
        facts.add("process", name, value, format!("cut -d' ' -f{field} /proc/$PID/stat"));
    }
    let mut open: Vec<u32> = fs::read_dir(format!("/proc/{pid}/fd"))?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    open.sort_unstable();
    let open: Vec<String> = open.iter().map(u32::to_string).collect();
    facts.add("process", "open descriptors", open.join(" "), "ls /proc/$PID/fd");
    Ok(())
}

fn quoted(word: &[u8]) -> String {
    steps::quote(&String::from_utf8_lossy(word))
}

/// See proc_pid_environ(5).
fn environment(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let text = fs::read(format!("/proc/{pid}/environ"))?;
    for line in text.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let (name, value) = line.split_once('=').unwrap_or((&line, ""));
        facts.add("environment", name, value.to_owned(), "tr '\\0' '\\n' </proc/$PID/environ");
    }
    Ok(())
}

/// See proc_pid_mountinfo(5). Numbers of mounts, devices and peer groups are the kernel's, and left out.
fn mounts(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let mut found = Vec::new();
    for line in read(pid, "mountinfo")?.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = head.split(' ').collect();
        let [_, _, _, root, place, options, propagation @ ..] = &fields[..] else { continue };
        let kinds = propagation.iter().map(|word| word.split(':').next().unwrap_or(word));
        let kinds: Vec<&str> = kinds.filter(|kind| *kind != "propagate_from").collect();
        let kinds = if kinds.is_empty() { "private".to_owned() } else { kinds.join(" ") };
        found.push(((*place).to_owned(), format!("{root} of {tail}, {options}, {kinds}")));
    }
    // The order of the table is the kernel's affair.
    found.sort();
    for (place, value) in found {
        facts.add_again("mounts", &place, value, "findmnt -N $PID --output-all");
    }
    Ok(())
}

/// See cgroups(7).
fn groups(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let table = read(std::process::id().cast_signed(), "mountinfo")?;
    for line in read(pid, "cgroup")?.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let Some(mount) = hierarchy(&table, controllers) else { continue };
        let mut names: Vec<(String, PathBuf)> = fs::read_dir(format!("{mount}{path}"))
            .map(|entries| entries.flatten().map(|e| (e.file_name().to_string_lossy().into(), e.path())))
            .map(Iterator::collect)
            .unwrap_or_default();
        names.sort();
        for (name, path) in names {
            let ends = [".max_usage_in_bytes", ".failcnt", ".events", ".force_empty"];
            if COUNTERS.contains(&name.as_str()) || ends.iter().any(|end| name.ends_with(end)) {
                continue;
            }
            if let Some(value) = setting(&path, name == "devices.list") {
                // Of that name there is one in each hierarchy.
                let common = !name.contains('.') || name.starts_with("cgroup.");
                let name =
                    if common && !controllers.is_empty() { format!("{controllers}: {name}") } else { name };
                facts.add("groups", name, value, format!("cat {}", path.display()));
            }
        }
    }
    Ok(())
}

/// Where the hierarchy with these controllers is mounted; without any it is the one of v2.
fn hierarchy(table: &str, controllers: &str) -> Option<String> {
    table.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let place = head.split(' ').nth(4)?;
        let words: Vec<&str> = tail.split(' ').collect();
        let first = controllers.split(',').next()?;
        let found = match *words.first()? {
            "cgroup2" => controllers.is_empty(),
            "cgroup" => !controllers.is_empty() && words.last()?.split(',').any(|word| word == first),
            _ => false,
        };
        found.then(|| place.to_owned())
    })
}

/// The content of a file that somebody may write, its lines as one; `None` for what only tells.
fn setting(path: &Path, always: bool) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let both = meta.permissions().mode() & 0o600 == 0o600;
    if !both && !always {
        return None;
    }
    let text = fs::read_to_string(path).ok()?;
    Some(
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
            .join("; "),
    )
}

/// What is in `/dev`, what the engine gives it in `/etc`, and the rights of the places that every program knows.
fn files(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?;
    for place in ["/", "/etc", "/tmp", "/proc", "/proc/sys", "/proc/acpi", "/sys", "/sys/firmware", "/dev"] {
        if let Ok(fd) = within_root(&root, place, OFlags::PATH) {
            let value = rights(&rustix::fs::fstat(fd)?);
            facts.add("files", place, value, format!("stat -L /proc/$PID/root{place}"));
        }
    }
    for name in ["hosts", "hostname", "resolv.conf"] {
        let place = format!("/etc/{name}");
        // Somebody may have put a pipe there, which has nobody at its other end.
        let Ok(fd) = within_root(&root, &place, OFlags::RDONLY | OFlags::NONBLOCK) else { continue };
        let mut text = String::new();
        if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::RegularFile {
            let _ = fs::File::from(fd).take(1 << 16).read_to_string(&mut text);
        }
        let text = text.lines().collect::<Vec<_>>().join("; ");
        facts.add("files", place.clone(), text, format!("cat /proc/$PID/root{place}"));
    }
    if let Ok(dev) = within_root(&root, "/dev", OFlags::RDONLY | OFlags::DIRECTORY) {
        devices(&dev, "/dev", facts);
    }
    Ok(())
}

/// Opens what a process finds there; its links lead to nothing of ours.
fn within_root(root: impl AsFd, place: &str, flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, place, flags | OFlags::CLOEXEC, Mode::empty(), resolve)?)
}

fn devices(dir: &OwnedFd, path: &str, facts: &mut Facts) {
    let Ok(entries) = Dir::read_from(dir) else { return };
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_owned()).collect();
    names.sort();
    for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
        let place = format!("{path}/{}", name.to_string_lossy());
        let Ok(stat) = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let value = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let to = rustix::fs::readlinkat(dir, name, Vec::new()).unwrap_or_default();
                format!("leads to {}", to.to_string_lossy())
            }
            _ => rights(&stat),
        };
        facts.add("devices", place.clone(), value, format!("ls -ld /proc/$PID/root{place}"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let deep = path.matches('/').count() > 3;
        if let Ok(below) = rustix::fs::openat(dir, name, flags, Mode::empty())
            && !deep
        {
            devices(&below, &place, facts);
        }
    }
}

/// `character 1:3, 666 of 0:0`
fn rights(stat: &Stat) -> String {
    let device = || format!(" {}:{}", rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => "directory".to_owned(),
        FileType::CharacterDevice => format!("character{}", device()),
        FileType::BlockDevice => format!("block{}", device()),
        FileType::Fifo => "pipe".to_owned(),
        FileType::Socket => "socket".to_owned(),
        _ => "file".to_owned(),
    };
    format!("{kind}, {:o} of {}:{}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
}

/// The names and the limits of IPC. See uts_namespaces(7), ipc_namespaces(7).
fn names(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let uts = within(pid, "uts", || {
        ["hostname", "domainname"]
            .map(|name| (name, setting(&Path::new("/proc/sys/kernel").join(name), true)))
    })?;
    for (name, value) in uts {
        facts.add("kernel", name, value.unwrap_or_default(), format!("nsenter -t $PID -u {name}"));
    }
    let ipc = within(pid, "ipc", || {
        let mut found = Vec::new();
        let paths = IPC.iter().map(|name| Path::new("/proc/sys/kernel").join(name));
        let queues = fs::read_dir("/proc/sys/fs/mqueue").into_iter().flatten().flatten().map(|e| e.path());
        for path in paths.chain(queues) {
            found.extend(setting(&path, false).map(|value| (parameter(&path), value)));
        }
        found
    })?;
    for (name, value) in ipc {
        let by_hand = format!("nsenter -t $PID -i sysctl {name}");
        facts.add("kernel", name, value, by_hand);
    }
    Ok(())
}

/// See network_namespaces(7).
fn network(pid: i32, facts: &mut Facts) -> io::Result<()> {
    within(pid, "net", || {
        links(facts)?;
        let mut found = Vec::new();
        parameters(Path::new("/proc/sys/net"), &mut found);
        for (name, value) in found {
            let by_hand = format!("nsenter -t $PID -n sysctl {name}");
            facts.add("kernel", name, value, by_hand);
        }
        Ok(())
    })?
}

/// Links, addresses and routes of the network namespace that we are in. What the kernel gives a link for itself, some time
/// after it is up, is left out.
pub(crate) fn links(facts: &mut Facts) -> io::Result<()> {
    let failed = |e: kernel::netlink::Failure| io::Error::from(e.errno);
    let local = |address: &std::net::IpAddr| match address {
        std::net::IpAddr::V6(address) => address.is_unicast_link_local() || address.is_multicast(),
        std::net::IpAddr::V4(_) => false,
    };
    let links = dump::links().map_err(failed)?;
    let name = |index: Option<u32>| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or("?".to_owned(), |link| link.name.clone())
    };
    for link in &links {
        let mac = link.mac.unwrap_or_default().map(|byte| format!("{byte:02x}")).join(":");
        let kind = link.kind.as_deref().unwrap_or("hardware");
        let up = if link.up { "up" } else { "down" };
        let master = link.master.map_or(String::new(), |_| format!(", port of {}", name(link.master)));
        let value = format!("{kind}, number {}, {up}, mtu {}, {mac}{master}", link.index, link.mtu);
        facts.add("network", format!("link {}", link.name), value, "nsenter -t $PID -n ip -d link");
    }
    for address in dump::addresses().map_err(failed)?.iter().filter(|a| !local(&a.address)) {
        let value = format!("{}/{}", address.address, address.prefix);
        let label = format!("address of {}", name(Some(address.link)));
        facts.add_again("network", &label, value, "nsenter -t $PID -n ip address");
    }
    for route in dump::routes().map_err(failed)?.iter().filter(|r| !local(&r.destination)) {
        let by = route.gateway.map_or("directly".to_owned(), |gateway| format!("by {gateway}"));
        let value = format!("{by}, {}", name(route.link));
        let label = format!("route to {}/{}", route.destination, route.prefix);
        facts.add_again("network", &label, value, "nsenter -t $PID -n ip route");
    }
    Ok(())
}

/// All that can be set below a directory of `/proc/sys`, by name.
fn parameters(dir: &Path, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            parameters(&path, found);
        } else if !RANDOM.iter().any(|name| path.ends_with(name)) {
            found.extend(setting(&path, false).map(|value| (parameter(&path), value)));
        }
    }
}

/// `/proc/sys/net/core/somaxconn` as sysctl(8) calls it.
fn parameter(path: &Path) -> String {
    let below = path.strip_prefix("/proc/sys").unwrap_or(path).display().to_string();
    below.replace('.', "%").replace('/', ".").replace('%', "/")
}

/// Does something in one of the namespaces of a process, and comes back; an error to come back ends this process.
fn within<T>(pid: i32, kind: &str, act: impl FnOnce() -> T) -> io::Result<T> {
    if kind == "net" {
        return Ok(namespace::within(namespace::of(pid)?, act)?);
    }
    let flag = KINDS.iter().find(|known| known.name == kind).map_or(0, |known| known.flag);
    let open = |path: String| rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let (there, home) =
        (open(format!("/proc/{pid}/ns/{kind}"))?, open(format!("/proc/thread-self/ns/{kind}"))?);
    ns::set_namespace(there, flag)?;
    let done = act();
    if ns::set_namespace(home, flag).is_err() {
        ns::exit(125);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_found_by_their_controllers() {
        let table = "30 25 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                     31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(hierarchy(table, "cpu,cpuacct").as_deref(), Some("/sys/fs/cgroup/cpu"));
        assert_eq!(hierarchy(table, "").as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(hierarchy(table, "memory"), None);
    }

    #[test]
    fn parameters_are_called_as_by_sysctl() {
        let name = |path: &str| parameter(Path::new(path));
        assert_eq!(name("/proc/sys/net/ipv4/ip_forward"), "net.ipv4.ip_forward");
        assert_eq!(name("/proc/sys/net/ipv4/conf/eth0.5/forwarding"), "net.ipv4.conf.eth0/5.forwarding");
    }

    #[test]
    fn a_process_is_equal_to_itself() {
        let pid = std::process::id().cast_signed();
        let facts = of(pid).unwrap();
        assert!(facts.len() > 100, "{}", facts.len());
        for (i, fact) in facts.iter().enumerate() {
            let same = |other: &Fact| (other.group, &other.name) == (fact.group, &fact.name);
            assert!(!facts[..i].iter().any(same), "{} {} twice", fact.group, fact.name);
        }
    }
}
