//! Landlock: a thread gives up all of the file system but what it names (landlock(7)). For code that reads what
//! strangers made: whatever an archive talks it into, it cannot reach beyond the directory that it fills.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::process::last_errno;

/// What may be done below a directory: bits of `LANDLOCK_ACCESS_FS_*`.
///
/// Never covered by Landlock, and so always permitted where ordinary rights permit it: stat, chdir, opening with
/// O_PATH, and changes of mode, owner, times and extended attributes.
pub type Access = u64;

pub const EXECUTE: Access = 1 << 0;
pub const WRITE_FILE: Access = 1 << 1;
pub const READ_FILE: Access = 1 << 2;
pub const READ_DIR: Access = 1 << 3;
pub const REMOVE_DIR: Access = 1 << 4;
pub const REMOVE_FILE: Access = 1 << 5;
pub const MAKE_CHAR: Access = 1 << 6;
pub const MAKE_DIR: Access = 1 << 7;
pub const MAKE_REG: Access = 1 << 8;
pub const MAKE_SOCK: Access = 1 << 9;
pub const MAKE_FIFO: Access = 1 << 10;
pub const MAKE_BLOCK: Access = 1 << 11;
pub const MAKE_SYM: Access = 1 << 12;
/// Links and renames from one directory to another (Linux 5.19).
pub const REFER: Access = 1 << 13;
/// Linux 6.2; before, whoever may do it otherwise may do it still.
pub const TRUNCATE: Access = 1 << 14;
/// ioctl on devices; Linux 6.10, else as for `TRUNCATE`.
pub const IOCTL_DEV: Access = 1 << 15;

/// Look, but do not touch.
pub const READ: Access = READ_FILE | READ_DIR;

/// All that it takes to build a tree of files, devices included; not to execute them.
pub const BUILD: Access = READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_CHAR
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | MAKE_FIFO
    | MAKE_BLOCK
    | MAKE_SYM
    | REFER
    | TRUNCATE;

/// Confines the calling thread, and what it starts from here on, to `rules`: each grants its access to everything
/// below its directory (or to its file). Files opened before stay usable. Where the kernel can (6.7, 6.12), TCP
/// sockets, and signals and abstract Unix sockets to the outside, are closed as well. Sets no-new-privileges.
///
/// Returns the version of the kernel's Landlock, or None, with nothing confined, where there is none or it is too
/// old to grant what the rules ask for: whether that will do is the caller's to decide. Allocates nothing.
///
/// Errors: E2BIG under 16 such domains, EINVAL for directory rights on a file.
pub fn restrict(rules: &[(BorrowedFd, Access)]) -> Result<Option<u32>, Errno> {
    let Some(abi) = version() else { return Ok(None) };
    let attr = handled(abi);
    if abi == 1 && rules.iter().any(|(_, access)| access & REFER != 0) {
        return Ok(None);
    }
    let ruleset = create(&attr, abi)?;
    for (fd, access) in rules {
        match access & attr.access_fs {
            0 => {}
            access => add(&ruleset, *fd, access)?,
        }
    }
    rustix::thread::set_no_new_privs(true)?;
    let fd = c_long::from(ruleset.as_raw_fd());
    // SAFETY: takes numbers only.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd, 0) })?;
    Ok(Some(abi))
}

/// [`restrict`] for who builds trees of files: nothing but [`BUILD`] below `roots`. EOPNOTSUPP where it is not enforced.
pub fn confine(roots: &[BorrowedFd]) -> Result<(), Errno> {
    const MOST: usize = 16;
    let mut rules = [(rustix::fs::CWD, 0); MOST]; // a rule without access is none
    for (rule, root) in rules.iter_mut().zip(roots) {
        *rule = (*root, BUILD);
    }
    if roots.len() > MOST {
        return Err(Errno::TOOBIG);
    }
    restrict(&rules)?.map(|_| ()).ok_or(Errno::OPNOTSUPP)
}

/// The version of the kernel's Landlock; None if it has none, or it was turned off when it booted.
pub fn version() -> Option<u32> {
    const VERSION: c_long = 1;
    // SAFETY: with this flag there are no attributes to point to.
    let answer = check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, VERSION) });
    answer.ok().map(|version| version as u32)
}

/// The attributes of a ruleset that forbids all this version knows.
fn handled(abi: u32) -> RulesetAttr {
    let access_fs = match abi {
        1 => (1 << 13) - 1,
        2 => (1 << 14) - 1,
        3 | 4 => (1 << 15) - 1,
        _ => (1 << 16) - 1,
    };
    let access_net = if abi >= 4 { BIND_TCP | CONNECT_TCP } else { 0 };
    let scoped = if abi >= 6 { ABSTRACT_UNIX_SOCKET | SIGNAL } else { 0 };
    RulesetAttr { access_fs, access_net, scoped }
}

fn create(attr: &RulesetAttr, abi: u32) -> Result<OwnedFd, Errno> {
    // the structure as this version knows it
    let size: usize = match abi {
        1..4 => 8,
        4 | 5 => 16,
        _ => size_of::<RulesetAttr>(),
    };
    // SAFETY: `attr` is as long as `size` says, or longer, and is only read.
    let fd = check(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, attr as *const RulesetAttr, size, 0)
    })?;
    // SAFETY: a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

fn add(ruleset: &OwnedFd, fd: BorrowedFd, access: Access) -> Result<(), Errno> {
    const PATH_BENEATH: c_long = 1;
    let attr = PathBeneath { access, fd: fd.as_fd().as_raw_fd() };
    let ruleset = c_long::from(ruleset.as_raw_fd());
    // SAFETY: `attr` has the layout of struct landlock_path_beneath_attr, and is only read.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const attr, 0) };
    check(result).map(|_| ())
}

fn check(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(result) }
}

// linux/landlock.h
const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;
const ABSTRACT_UNIX_SOCKET: u64 = 1 << 0;
const SIGNAL: u64 = 1 << 1;

#[repr(C)]
struct RulesetAttr {
    access_fs: u64,
    access_net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    access: u64,
    fd: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

    #[test]
    fn only_the_thread_is_confined() {
        if version().is_none() {
            return;
        }
        let path = std::env::temp_dir().join(format!("landlock-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let root = openat(CWD, &path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap();
        std::thread::spawn(move || {
            confine(&[root.as_fd()]).unwrap();
            mkdirat(&root, "inside", Mode::RWXU).unwrap();
            assert_eq!(mkdirat(&root, "../outside", Mode::RWXU), Err(Errno::ACCESS));
            assert_eq!(openat(CWD, "/etc/passwd", OFlags::RDONLY, Mode::empty()).unwrap_err(), Errno::ACCESS);
        })
        .join()
        .unwrap();
        assert!(std::fs::read("/etc/passwd").is_ok());
        std::fs::remove_dir_all(&path).unwrap();
    }
}
