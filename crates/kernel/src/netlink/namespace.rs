//! Moving the calling thread between network namespaces. See network_namespaces(7).

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// Gives the calling thread, and the processes that it starts from now on, a new and empty network namespace.
pub fn unshare() -> Result<(), Errno> {
    // SAFETY: what makes unshare unsafe is CLONE_FILES, which we do not ask for; this changes only which network
    // the thread sees.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// The network namespace of the calling thread.
pub fn current() -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, c"/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// A number that no other living network namespace of this boot has: the inode that stands for it.
pub fn id() -> Result<u64, Errno> {
    Ok(rustix::fs::stat(c"/proc/thread-self/ns/net")?.st_ino)
}

/// Moves the calling thread into `namespace`.
pub fn enter(namespace: impl AsFd) -> Result<(), Errno> {
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

/// The network namespace of a process.
pub fn of(pid: i32) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(CWD, format!("/proc/{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Does something in another namespace, and comes back, see [`crate::process::must_come_back`].
pub fn within<T>(there: impl AsFd, act: impl FnOnce() -> T) -> Result<T, Errno> {
    let home = current()?;
    enter(there)?;
    let done = act();
    crate::process::must_come_back(|| enter(&home));
    Ok(done)
}
