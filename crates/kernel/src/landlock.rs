//! Landlock: a thread that gives up the file system but for some directories, and TCP altogether (landlock(7)).

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::io::Errno;

/// `struct landlock_ruleset_attr`; a kernel that knows less takes zeros at the end.
#[repr(C)]
#[derive(Default)]
struct RulesetAttr {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: u32 = 1;

// LANDLOCK_ACCESS_FS_*: bits by the version of the interface that brought them.
const EXECUTE: u64 = 1 << 0;
const ALL_V2: u64 = (1 << 14) - 1;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP.
const TCP: u64 = 3;
/// LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and SIGNAL.
const SCOPES: u64 = 3;

/// The version of the interface that the kernel has. `ENOSYS` or `EOPNOTSUPP`: none, or turned off.
pub fn version() -> Result<u32, Errno> {
    // SAFETY: asks for a number; no memory is passed.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    if version < 0 { Err(last_errno()) } else { Ok(version as u32) }
}

/// From here on the calling thread, and the threads and processes that it starts, open, make, link and remove files below `roots` only;
/// they execute nothing, and bind or connect nothing by TCP (version 4). Descriptors that are open stay as they are.
///
/// It sets no_new_privs. `EOPNOTSUPP`: the kernel has no Landlock, or one that can't allow links between directories (version 1).
pub fn confine(roots: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let version = version()?;
    if version < 2 {
        return Err(Errno::OPNOTSUPP);
    }
    let mut files = ALL_V2;
    if version >= 3 {
        files |= TRUNCATE;
    }
    if version >= 5 {
        files |= IOCTL_DEV;
    }
    let attr = RulesetAttr {
        handled_access_fs: files,
        handled_access_net: if version >= 4 { TCP } else { 0 },
        scoped: if version >= 6 { SCOPES } else { 0 },
    };
    // SAFETY: `attr` is valid and of the given size; the result is a new descriptor or -1.
    let ruleset = unsafe {
        let fd =
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0u32);
        if fd < 0 {
            return Err(last_errno());
        }
        OwnedFd::from_raw_fd(fd as i32)
    };
    for root in roots {
        let rule = PathBeneathAttr {
            allowed_access: files & !(EXECUTE | IOCTL_DEV),
            parent_fd: root.as_fd().as_raw_fd(),
        };
        // SAFETY: `rule` is valid, and the kernel only reads it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                ruleset.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const rule,
                0u32,
            )
        };
        if result < 0 {
            return Err(last_errno());
        }
    }
    crate::caps::no_new_privs()?;
    // SAFETY: takes a descriptor and flags.
    match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0u32) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat, unlinkat};

    #[test]
    fn a_thread_keeps_its_directory_only() {
        if version().is_err() {
            return;
        }
        let path = std::env::temp_dir().join(format!("landlock-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let root = openat(CWD, &path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        std::thread::spawn(move || {
            confine(&[root.as_fd()]).unwrap();
            mkdirat(&root, "inside", Mode::RWXU).unwrap();
            unlinkat(&root, "inside", rustix::fs::AtFlags::REMOVEDIR).unwrap();
            assert_eq!(mkdirat(&root, "../outside", Mode::RWXU), Err(Errno::ACCESS));
            assert_eq!(openat(CWD, "/etc/passwd", OFlags::RDONLY, Mode::empty()).unwrap_err(), Errno::ACCESS);
        })
        .join()
        .unwrap();
        // This thread isn't concerned.
        assert!(std::fs::read("/etc/passwd").is_ok());
        std::fs::remove_dir(&path).unwrap();
    }
}
