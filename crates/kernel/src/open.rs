//! Opening by a path that must not lead out. See openat2(2).

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a path as openat2(2) does, and once more where that answers `EAGAIN`: a rename or a mount anywhere on the machine, while it
/// goes through a `..`, makes it unsure whether it is still inside. Allocates nothing.
pub fn openat2(
    base: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        match rustix::fs::openat2(&base, path, flags, mode, resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
