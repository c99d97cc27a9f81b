//! Capabilities: their names, sets of them, and the calls by which a thread gives them up (capabilities(7)).

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// A set of capabilities: bit n is the capability with number n. Bits the running kernel does not know are
/// allowed and have no effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct CapSet(pub u64);

impl CapSet {
    pub const EMPTY: CapSet = CapSet(0);

    /// All 41 that this table names (Linux 5.9 and later).
    pub const ALL: CapSet = CapSet((1 << Cap::COUNT) - 1);

    /// The fourteen that a container gets unless it is told otherwise.
    pub const DOCKER_DEFAULT: CapSet = CapSet::of(&[
        Cap::Chown,
        Cap::DacOverride,
        Cap::Fsetid,
        Cap::Fowner,
        Cap::Mknod,
        Cap::NetRaw,
        Cap::Setgid,
        Cap::Setuid,
        Cap::Setfcap,
        Cap::Setpcap,
        Cap::NetBindService,
        Cap::SysChroot,
        Cap::Kill,
        Cap::AuditWrite,
    ]);

    pub const fn of(caps: &[Cap]) -> CapSet {
        let mut bits = 0;
        let mut i = 0;
        while i < caps.len() {
            bits |= 1 << caps[i] as u8;
            i += 1;
        }
        CapSet(bits)
    }

    /// One word of `--cap-add` or `--cap-drop`: `CHOWN`, `cap_chown` or `ALL`, in any case.
    pub fn parse(word: &str) -> Result<CapSet, UnknownCapability> {
        if word.eq_ignore_ascii_case("ALL") || word.eq_ignore_ascii_case("CAP_ALL") {
            return Ok(CapSet::ALL);
        }
        Cap::parse(word).map(CapSet::from)
    }

    pub const fn has(self, cap: Cap) -> bool {
        self.0 & (1 << cap as u8) != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members in the order of their numbers.
    pub fn iter(self) -> impl Iterator<Item = Cap> {
        Cap::NAMES.iter().map(|&(cap, _)| cap).filter(move |&cap| self.has(cap))
    }
}

impl From<Cap> for CapSet {
    fn from(cap: Cap) -> CapSet {
        CapSet(1 << cap as u8)
    }
}

impl FromIterator<Cap> for CapSet {
    fn from_iter<I: IntoIterator<Item = Cap>>(caps: I) -> CapSet {
        caps.into_iter().fold(CapSet::EMPTY, |set, cap| set | cap.into())
    }
}

impl BitOr for CapSet {
    type Output = CapSet;
    fn bitor(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }
}

impl BitAnd for CapSet {
    type Output = CapSet;
    fn bitand(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }
}

/// The members of the left set that are not in the right one.
impl Sub for CapSet {
    type Output = CapSet;
    fn sub(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }
}

/// Space-separated names, as `capsh` and error messages want them.
impl fmt::Display for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, cap) in self.iter().enumerate() {
            write!(f, "{}{}", if i == 0 { "" } else { " " }, cap.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for CapSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CapSet({:#x}: {self})", self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability '{0}'")]
pub struct UnknownCapability(pub String);

/// The highest capability number of the running kernel, 40 since Linux 5.9.
pub fn last_cap() -> Result<u8, Errno> {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    text.trim().parse().map_err(|_| Errno::INVAL)
}

// What follows runs in the child between clone and exec: no allocation, no lock.

/// Takes everything but `keep` out of the bounding set: it cannot be gained by exec any more.
/// Needs CAP_SETPCAP in the user namespace (EPERM).
pub fn drop_bounding(keep: CapSet) -> Result<(), Errno> {
    for number in 0..64 {
        let bit = 1u64 << number;
        if keep.0 & bit != 0 {
            continue;
        }
        match thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(bit)) {
            Ok(()) => {}
            // beyond the last capability of this kernel
            Err(Errno::INVAL) if number > 0 => return Ok(()),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// capset(2) of the calling thread.
pub fn set(effective: CapSet, permitted: CapSet, inheritable: CapSet) -> Result<(), Errno> {
    let raw = |set: CapSet| CapabilitySet::from_bits_retain(set.0);
    let sets = CapabilitySets {
        effective: raw(effective),
        permitted: raw(permitted),
        inheritable: raw(inheritable),
    };
    thread::set_capabilities(None, sets)
}

/// Makes the ambient set exactly `wanted`, which must be within permitted and inheritable (EPERM).
pub fn set_ambient(wanted: CapSet) -> Result<(), Errno> {
    thread::clear_ambient_capability_set()?;
    for number in 0..64 {
        let bit = 1u64 << number;
        if wanted.0 & bit != 0 {
            thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(bit), true)?;
        }
    }
    Ok(())
}

/// Whether the permitted set survives the change from uid 0 to another one. Cleared by exec.
pub fn set_keepcaps(keep: bool) -> Result<(), Errno> {
    thread::set_keep_capabilities(keep)
}

/// From here on exec grants nothing: set-uid bits and file capabilities are ignored. Cannot be undone.
pub fn no_new_privs() -> Result<(), Errno> {
    thread::set_no_new_privs(true)
}

/// The sets of the calling thread: effective, permitted, inheritable.
pub fn current() -> Result<(CapSet, CapSet, CapSet), Errno> {
    let sets = thread::capabilities(None)?;
    Ok((CapSet(sets.effective.bits()), CapSet(sets.permitted.bits()), CapSet(sets.inheritable.bits())))
}

/// One capability; the discriminant is the kernel's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cap {
    Chown = 0,
    DacOverride,
    DacReadSearch,
    Fowner,
    Fsetid,
    Kill,
    Setgid,
    Setuid,
    Setpcap,
    LinuxImmutable,
    NetBindService,
    NetBroadcast,
    NetAdmin,
    NetRaw,
    IpcLock,
    IpcOwner,
    SysModule,
    SysRawio,
    SysChroot,
    SysPtrace,
    SysPacct,
    SysAdmin,
    SysBoot,
    SysNice,
    SysResource,
    SysTime,
    SysTtyConfig,
    Mknod,
    Lease,
    AuditWrite,
    AuditControl,
    Setfcap,
    MacOverride,
    MacAdmin,
    Syslog,
    WakeAlarm,
    BlockSuspend,
    AuditRead,
    Perfmon,
    Bpf,
    CheckpointRestore,
}

impl Cap {
    const COUNT: usize = Cap::CheckpointRestore as usize + 1;

    /// `CAP_CHOWN`
    pub const fn name(self) -> &'static str {
        Cap::NAMES[self as usize].1
    }

    /// `CHOWN` or `CAP_CHOWN`, in any case.
    pub fn parse(word: &str) -> Result<Cap, UnknownCapability> {
        let same = |name: &str| name.eq_ignore_ascii_case(word) || name[4..].eq_ignore_ascii_case(word);
        let found = Cap::NAMES.iter().find(|(_, name)| same(name));
        found.map(|&(cap, _)| cap).ok_or_else(|| UnknownCapability(word.to_string()))
    }

    const NAMES: [(Cap, &'static str); Cap::COUNT] = [
        (Cap::Chown, "CAP_CHOWN"),
        (Cap::DacOverride, "CAP_DAC_OVERRIDE"),
        (Cap::DacReadSearch, "CAP_DAC_READ_SEARCH"),
        (Cap::Fowner, "CAP_FOWNER"),
        (Cap::Fsetid, "CAP_FSETID"),
        (Cap::Kill, "CAP_KILL"),
        (Cap::Setgid, "CAP_SETGID"),
        (Cap::Setuid, "CAP_SETUID"),
        (Cap::Setpcap, "CAP_SETPCAP"),
        (Cap::LinuxImmutable, "CAP_LINUX_IMMUTABLE"),
        (Cap::NetBindService, "CAP_NET_BIND_SERVICE"),
        (Cap::NetBroadcast, "CAP_NET_BROADCAST"),
        (Cap::NetAdmin, "CAP_NET_ADMIN"),
        (Cap::NetRaw, "CAP_NET_RAW"),
        (Cap::IpcLock, "CAP_IPC_LOCK"),
        (Cap::IpcOwner, "CAP_IPC_OWNER"),
        (Cap::SysModule, "CAP_SYS_MODULE"),
        (Cap::SysRawio, "CAP_SYS_RAWIO"),
        (Cap::SysChroot, "CAP_SYS_CHROOT"),
        (Cap::SysPtrace, "CAP_SYS_PTRACE"),
        (Cap::SysPacct, "CAP_SYS_PACCT"),
        (Cap::SysAdmin, "CAP_SYS_ADMIN"),
        (Cap::SysBoot, "CAP_SYS_BOOT"),
        (Cap::SysNice, "CAP_SYS_NICE"),
        (Cap::SysResource, "CAP_SYS_RESOURCE"),
        (Cap::SysTime, "CAP_SYS_TIME"),
        (Cap::SysTtyConfig, "CAP_SYS_TTY_CONFIG"),
        (Cap::Mknod, "CAP_MKNOD"),
        (Cap::Lease, "CAP_LEASE"),
        (Cap::AuditWrite, "CAP_AUDIT_WRITE"),
        (Cap::AuditControl, "CAP_AUDIT_CONTROL"),
        (Cap::Setfcap, "CAP_SETFCAP"),
        (Cap::MacOverride, "CAP_MAC_OVERRIDE"),
        (Cap::MacAdmin, "CAP_MAC_ADMIN"),
        (Cap::Syslog, "CAP_SYSLOG"),
        (Cap::WakeAlarm, "CAP_WAKE_ALARM"),
        (Cap::BlockSuspend, "CAP_BLOCK_SUSPEND"),
        (Cap::AuditRead, "CAP_AUDIT_READ"),
        (Cap::Perfmon, "CAP_PERFMON"),
        (Cap::Bpf, "CAP_BPF"),
        (Cap::CheckpointRestore, "CAP_CHECKPOINT_RESTORE"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree() {
        for (number, &(cap, name)) in Cap::NAMES.iter().enumerate() {
            assert_eq!(cap as usize, number);
            assert_eq!(cap.name(), name);
            assert_eq!(Cap::parse(name), Ok(cap));
            assert_eq!(Cap::parse(&name[4..].to_lowercase()), Ok(cap));
        }
        assert_eq!(Cap::SysAdmin as u8, 21);
        assert_eq!(Cap::CheckpointRestore as u8, 40);
    }

    #[test]
    fn words_as_docker_reads_them() {
        assert_eq!(CapSet::parse("all"), Ok(CapSet::ALL));
        assert_eq!(CapSet::parse("cap_Net_raw"), Ok(CapSet::of(&[Cap::NetRaw])));
        assert_eq!(CapSet::parse("").unwrap_err().to_string(), "unknown capability ''");
        assert_eq!(CapSet::parse("CAP_").unwrap_err().0, "CAP_");
        assert_eq!(CapSet::parse("ROOT").unwrap_err().0, "ROOT");
    }

    #[test]
    fn the_default_set_is_dockers() {
        // CapBnd of a container of dockerd 20 to 29
        assert_eq!(CapSet::DOCKER_DEFAULT.0, 0xa804_25fb);
        assert_eq!(CapSet::DOCKER_DEFAULT.iter().count(), 14);
        let without = CapSet::DOCKER_DEFAULT - CapSet::parse("chown").unwrap();
        assert!(!without.has(Cap::Chown) && without.has(Cap::Kill));
        assert_eq!(CapSet::of(&[Cap::Chown, Cap::Bpf]).to_string(), "CAP_CHOWN CAP_BPF");
    }

    #[test]
    fn the_kernel_knows_no_more_than_we_do() {
        let last = last_cap().unwrap();
        assert!((last as usize) < Cap::COUNT, "this kernel has capability {last}");
    }

    /// In a thread of its own: capabilities belong to threads, and the thread takes them with it.
    #[test]
    fn a_thread_gives_up_what_it_had() {
        let status = std::thread::spawn(|| {
            if !current().unwrap().1.has(Cap::Setpcap) {
                return None; // not root
            }
            let keep = CapSet::of(&[Cap::Chown, Cap::Kill, Cap::Setpcap]);
            drop_bounding(keep).unwrap();
            set(keep, keep, keep).unwrap();
            set_ambient(CapSet::of(&[Cap::Kill])).unwrap();
            assert_eq!(set_ambient(CapSet::of(&[Cap::SysAdmin])), Err(Errno::PERM));
            set_ambient(CapSet::of(&[Cap::Kill])).unwrap();
            set_keepcaps(true).unwrap();
            no_new_privs().unwrap();
            assert_eq!(current().unwrap(), (keep, keep, keep));
            Some(std::fs::read_to_string("/proc/thread-self/status").unwrap())
        });
        let Some(status) = status.join().unwrap() else { return };
        for line in ["CapBnd:\t0000000000000121", "CapAmb:\t0000000000000020", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line} in {status}");
        }
    }
}
