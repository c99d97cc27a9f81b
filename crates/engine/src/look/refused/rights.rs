//! Which right a system call would have needed: capabilities(7), owners and modes (path_resolution(7)), devices.

use super::paths::words;
use super::{Mount, Rule};
use kernel::bpf::{DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use kernel::caps::{Cap, CapSet};
use kernel::open::openat2;
use kernel::seccomp::Call;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, Stat};
use std::fs;

/// Of a process, at this moment.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// As it is known for files, on the host.
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub effective: CapSet,
    pub bounding: CapSet,
    /// Of a security module that confines it.
    pub label: Option<String>,
}

impl Rights {
    pub fn of(pid: i32) -> Rights {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| kernel::process::status_field(&status, name).unwrap_or_default();
        let numbers = |name: &str| -> Vec<u32> {
            field(name).split_whitespace().filter_map(|word| word.parse().ok()).collect()
        };
        let set = |name: &str| CapSet(u64::from_str_radix(field(name), 16).unwrap_or(0));
        let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
        let label = label.trim_end_matches(['\0', '\n']).to_owned();
        Rights {
            uid: numbers("Uid").get(3).copied().unwrap_or(0),
            gid: numbers("Gid").get(3).copied().unwrap_or(0),
            groups: numbers("Groups"),
            effective: set("CapEff"),
            bounding: set("CapBnd"),
            label: Some(label).filter(|label| !label.is_empty() && label != "unconfined"),
        }
    }

    pub fn lacks(&self, cap: Cap) -> Rule {
        Rule::Capability { cap, within_bounds: self.bounding.has(cap) }
    }

    /// With ids as the container has them.
    pub fn inside(mut self, base: u32) -> Rights {
        let map = |id: u32| mapped(id, base).unwrap_or(NOBODY);
        (self.uid, self.gid) = (map(self.uid), map(self.gid));
        self.groups = self.groups.iter().map(|id| map(*id)).collect();
        self
    }
}

/// Who is not known in a user namespace.
const NOBODY: u32 = 65534;

/// An id of the host's in the container, which has 65,536 from `base` on; none where it has no such user.
fn mapped(id: u32, base: u32) -> Option<u32> {
    if base == 0 { Some(id) } else { id.checked_sub(base).filter(|id| *id < 65536) }
}

/// The file, as the process would find it.
fn stat(pid: i32, path: &str) -> Option<Stat> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty()).ok()?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&root, path, flags, Mode::empty(), resolve).ok()?;
    rustix::fs::fstat(file).ok()
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

/// What owner, mode, devices and mounts say of a call with a path; None where they allow it.
#[allow(clippy::too_many_arguments, reason = "facts of one moment, each from elsewhere")]
pub fn of_file(
    pid: i32,
    name: &str,
    call: &Call,
    path: &str,
    mount: &Mount,
    rights: &Rights,
    devices: &[DeviceRule],
    base: u32,
) -> Option<Rule> {
    let target = stat(pid, path);
    let opens = matches!(name, "open" | "openat" | "openat2" | "creat");
    if let Some(stat) = target.filter(|_| opens) {
        let access = wanted(pid, name, call);
        if let Some(rule) = of_device(&stat, access, devices, mount, base) {
            return Some(rule);
        }
    }
    let owner = |stat: &Stat, path: &str| match (mapped(stat.st_uid, base), mapped(stat.st_gid, base)) {
        (Some(owner), Some(group)) => {
            Rule::Owner { path: path.to_owned(), owner, group, mode: stat.st_mode & 0o7777, user: rights.uid }
        }
        _ => Rule::NotMapped { path: path.to_owned() },
    };
    // Those who may change owner and mode.
    if name.contains("chown") || name.contains("chmod") || name.starts_with("utim") {
        let stat = target?;
        let mine = mapped(stat.st_uid, base) == Some(rights.uid);
        return match () {
            () if mapped(stat.st_uid, base).is_none() => Some(owner(&stat, path)),
            () if name.contains("chown") && !rights.effective.has(Cap::Chown) => {
                Some(rights.lacks(Cap::Chown))
            }
            () if !mine && !rights.effective.has(Cap::Fowner) => Some(owner(&stat, path)),
            () => None,
        };
    }
    // All directories on the way, then the file or the directory that is written to.
    let changes_parent = ["mkdir", "mknod", "unlink", "rmdir", "rename", "link", "symlink"];
    let changes_parent =
        changes_parent.iter().any(|verb| name.starts_with(verb)) || target.is_none() && opens;
    let mut at = String::new();
    for part in parent(path).split('/') {
        at = if part.is_empty() { at } else { format!("{at}/{part}") };
        let directory = if at.is_empty() { "/" } else { &at };
        let stat = stat(pid, directory)?;
        if !may(&stat, 1, rights, base) {
            return Some(owner(&stat, directory));
        }
    }
    let (object, bits) = match name {
        _ if changes_parent => (parent(path), 3),
        "execve" | "execveat" => (path, 1),
        "chdir" | "chroot" => (path, 1),
        "truncate" => (path, 2),
        _ if opens => (path, wanted(pid, name, call)),
        _ => return None,
    };
    let stat = stat(pid, object)?;
    (!may(&stat, bits, rights, base)).then(|| owner(&stat, object))
}

/// What an open is for: 4 to read, 2 to write.
fn wanted(pid: i32, name: &str, call: &Call) -> u32 {
    let flags = match name {
        "open" => call.args[1],
        "creat" => 1,
        "openat2" => words::<1>(pid, call.args[2]).map_or(0, |[flags]| flags),
        _ => call.args[2],
    };
    match flags & 3 {
        0 => 4,
        1 => 2,
        _ => 6,
    }
}

/// Whether owner, group and mode allow all of `bits` (4 read, 2 write, 1 search or execute).
fn may(stat: &Stat, bits: u32, rights: &Rights, base: u32) -> bool {
    let (owner, group) = (mapped(stat.st_uid, base), mapped(stat.st_gid, base));
    let has = |cap: Cap| rights.effective.has(cap) && owner.is_some() && group.is_some();
    let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let executable = directory || stat.st_mode & 0o111 != 0;
    if has(Cap::DacOverride) && (bits & 1 == 0 || executable) {
        return true;
    }
    if has(Cap::DacReadSearch) && (bits == 4 || directory && bits & 2 == 0) {
        return true;
    }
    let of_group = |group: u32| group == rights.gid || rights.groups.contains(&group);
    let class = match () {
        () if owner == Some(rights.uid) => stat.st_mode >> 6,
        () if group.is_some_and(of_group) => stat.st_mode >> 3,
        () => stat.st_mode,
    };
    class & bits == bits
}

fn of_device(stat: &Stat, bits: u32, rules: &[DeviceRule], mount: &Mount, base: u32) -> Option<Rule> {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => DeviceKind::Char,
        FileType::BlockDevice => DeviceKind::Block,
        _ => return None,
    };
    if mount.options.split(',').any(|option| option == "nodev") {
        return Some(Rule::NoDevices(mount.clone()));
    }
    let access = if bits & 4 != 0 { READ } else { 0 } | if bits & 2 != 0 { WRITE } else { 0 };
    let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
    if !allowed(rules, kind, major, minor, access) {
        return Some(Rule::Device { numbers: numbers(kind, major, minor) });
    }
    // What lies in a file system that was mounted in a user namespace opens no device.
    (base != 0 && mount.kind == "tmpfs" && !mount.at.starts_with("/dev")).then_some(Rule::DeviceInNamespace)
}

fn numbers(kind: DeviceKind, major: u32, minor: u32) -> String {
    format!("{} {major}:{minor}", if kind == DeviceKind::Block { 'b' } else { 'c' })
}

/// Of several lines the last one counts, for each kind of access.
fn allowed(rules: &[DeviceRule], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    let one = |bit: u8| {
        let matches = |rule: &&DeviceRule| {
            rule.kind == DeviceKind::All
                || rule.kind == kind
                    && rule.major.is_none_or(|m| m == major)
                    && rule.minor.is_none_or(|m| m == minor)
                    && rule.access & bit != 0
        };
        rules.iter().rfind(matches).is_none_or(|rule| rule.allow)
    };
    [READ, WRITE, MKNOD].into_iter().filter(|bit| access & bit != 0).all(one)
}

pub fn of_mknod(name: &str, call: &Call, rights: &Rights, rules: &[DeviceRule], base: u32) -> Rule {
    let at = usize::from(name == "mknodat");
    let (mode, device) = (call.args[at + 1] as u32, call.args[at + 2]);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::BlockDevice => DeviceKind::Block,
        _ => DeviceKind::Char,
    };
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    match () {
        () if !rights.effective.has(Cap::Mknod) => rights.lacks(Cap::Mknod),
        () if base != 0 => Rule::DeviceInNamespace,
        () if !allowed(rules, kind, major, minor, MKNOD) => {
            Rule::Device { numbers: numbers(kind, major, minor) }
        }
        () => Rule::Unknown,
    }
}

/// The capability that a call asks for when it is refused, by capabilities(7); none where that depends on a file's owner.
pub fn needed(pid: i32, name: &str, call: &Call) -> Option<Cap> {
    Some(match name {
        "mount" | "umount2" | "pivot_root" | "swapon" | "swapoff" | "sethostname" | "setdomainname"
        | "setns" | "unshare" | "clone" | "clone3" | "quotactl" | "fsopen" | "fsconfig" | "fsmount"
        | "fspick" | "move_mount" | "open_tree" | "mount_setattr" | "lookup_dcookie" | "fanotify_init"
        | "setxattr" | "lsetxattr" | "fsetxattr" => Cap::SysAdmin,
        "bpf" => Cap::Bpf,
        "perf_event_open" => Cap::Perfmon,
        "chroot" => Cap::SysChroot,
        "chown" | "fchown" | "lchown" | "fchownat" => Cap::Chown,
        "setuid" | "setreuid" | "setresuid" | "setfsuid" => Cap::Setuid,
        "setgid" | "setregid" | "setresgid" | "setgroups" | "setfsgid" => Cap::Setgid,
        "kill" | "tkill" | "tgkill" | "pidfd_send_signal" | "rt_sigqueueinfo" => Cap::Kill,
        "reboot" | "kexec_load" | "kexec_file_load" => Cap::SysBoot,
        "init_module" | "finit_module" | "delete_module" => Cap::SysModule,
        "settimeofday" | "clock_settime" | "adjtimex" | "clock_adjtime" | "stime" => Cap::SysTime,
        "setpriority" | "sched_setscheduler" | "sched_setparam" | "sched_setattr" | "sched_setaffinity"
        | "ioprio_set" | "mbind" | "migrate_pages" | "move_pages" | "nice" => Cap::SysNice,
        "setrlimit" | "prlimit64" => Cap::SysResource,
        "ptrace" | "process_vm_readv" | "process_vm_writev" | "kcmp" | "pidfd_getfd" => Cap::SysPtrace,
        "syslog" => Cap::Syslog,
        "iopl" | "ioperm" => Cap::SysRawio,
        "capset" => Cap::Setpcap,
        "acct" => Cap::SysPacct,
        "vhangup" => Cap::SysTtyConfig,
        "mlock" | "mlock2" | "mlockall" | "shmctl" => Cap::IpcLock,
        "open_by_handle_at" => Cap::DacReadSearch,
        "socket" => Cap::NetRaw,
        "bind" => Cap::NetBindService,
        "setsockopt" | "sendto" | "sendmsg" => Cap::NetAdmin,
        "ioctl" => match call.args[1] {
            // SIOC…: links, addresses, routes.
            0x8900..=0x89ff => Cap::NetAdmin,
            // FS_IOC_SETFLAGS
            0x4008_6602 => Cap::LinuxImmutable,
            _ => Cap::SysAdmin,
        },
        "chmod" | "fchmod" | "fchmodat" | "unlink" | "unlinkat" | "rename" | "renameat" | "renameat2"
        | "rmdir" => Cap::Fowner,
        // A switch of the kernel's: who may, depends on which.
        "write" | "openat" | "open" => return sysctl(pid, name, call),
        _ => return None,
    })
}

fn sysctl(pid: i32, name: &str, call: &Call) -> Option<Cap> {
    let path = match name {
        "write" => fs::read_link(format!("/proc/{pid}/fd/{}", call.args[0])).ok()?.display().to_string(),
        _ => super::paths::of_call(pid, name, call)?,
    };
    match path.strip_prefix("/proc/sys/") {
        Some(rest) if rest.starts_with("net/") => Some(Cap::NetAdmin),
        Some(_) => Some(Cap::SysAdmin),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_devices_counts() {
        let rule = |allow, major, access| DeviceRule {
            allow,
            kind: DeviceKind::Char,
            major: Some(major),
            minor: None,
            access,
        };
        let rules = [DeviceRule::all(false), rule(true, 1, READ | WRITE), rule(false, 1, WRITE)];
        assert!(allowed(&rules, DeviceKind::Char, 1, 3, READ));
        assert!(!allowed(&rules, DeviceKind::Char, 1, 3, READ | WRITE));
        assert!(!allowed(&rules, DeviceKind::Char, 10, 200, READ));
        assert!(!allowed(&rules, DeviceKind::Block, 1, 3, READ));
    }

    #[test]
    fn ids_of_the_host_in_the_container() {
        assert_eq!(mapped(100_007, 100_000), Some(7));
        assert_eq!(mapped(7, 100_000), None);
        assert_eq!(mapped(165_536, 100_000), None);
        assert_eq!(mapped(7, 0), Some(7));
    }
}
