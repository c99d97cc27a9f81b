//! What a load has not committed yet: a locked directory, removed when the load fails, and by the next one if its process was killed.

use super::{DIR, Store};
use crate::error::{Result, invalid, io};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    FlockOperation, Mode, OFlags, fchmod, flock, fstat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;

pub(crate) struct Tmp<'a> {
    store: &'a Store,
    /// `tmp/<random>`.
    pub path: String,
    fd: OwnedFd,
}

impl<'a> Tmp<'a> {
    pub fn new(store: &'a Store) -> Result<Tmp<'a>> {
        sweep(store, false);
        Tmp::within_lock(store)
    }

    /// The same for one who holds the lock of the store; nothing is swept.
    pub fn within_lock(store: &'a Store) -> Result<Tmp<'a>> {
        for _ in 0..64 {
            let path = format!("tmp/{}", random_name()?);
            match mkdirat(&store.fd, &path, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(e) => return Err(io("make a temporary directory")(e)),
            }
            // Until it is locked, a sweeper takes it for a dead one.
            match held(store, &path) {
                Ok(Some(fd)) => return Ok(Tmp { store, path, fd }),
                failed => {
                    let _ = unlinkat(&store.fd, &path, rustix::fs::AtFlags::REMOVEDIR);
                    failed.map_err(io("open a temporary directory"))?;
                }
            }
        }
        invalid("cannot make a temporary directory")
    }

    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Make `<chain>` with `diff`, the empty tree of a layer, in it.
    pub fn layer_dir(&self, chain: &str) -> Result<OwnedFd> {
        let fail = || io("make the directory of a layer");
        mkdirat(&self.fd, chain, Mode::RWXU).map_err(fail())?;
        mkdirat(&self.fd, format!("{chain}/diff"), Mode::RWXU).map_err(fail())?;
        let root = self.open_layer(chain)?;
        // The root of an image that doesn't describe it; mkdir's mode went through the umask.
        fchmod(&root, Mode::from_raw_mode(0o755)).map_err(fail())?;
        openat(&self.fd, chain, DIR, Mode::empty()).map_err(fail())
    }

    /// Make `kept/<hex>`, the empty file of a blob that the store shall keep.
    pub fn kept_file(&self, hex: &str) -> Result<File> {
        let fail = || io("make the file of a blob");
        match mkdirat(&self.fd, "kept", Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(fail()(e)),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let fd = openat(&self.fd, format!("kept/{hex}"), flags, Mode::RUSR | Mode::WUSR);
        fd.map(File::from).map_err(fail())
    }

    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        renameat(&self.fd, from, &self.fd, to).map_err(io("name a layer"))
    }

    pub fn open_layer(&self, chain: &str) -> Result<OwnedFd> {
        openat(&self.fd, format!("{chain}/diff"), DIR, Mode::empty())
            .map_err(io("open the directory of a layer"))
    }
}

/// A directory with a lock on it; none where a sweeper was faster.
fn held(store: &Store, path: &str) -> rustix::io::Result<Option<OwnedFd>> {
    let fd = match openat(&store.fd, path, DIR, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        fd => fd?,
    };
    match rustix::io::retry_on_intr(|| flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let here = fstat(&fd)?;
    let there = statat(&store.fd, path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
    Ok(there.is_ok_and(|stat| stat.st_ino == here.st_ino).then_some(fd))
}

impl Drop for Tmp<'_> {
    fn drop(&mut self) {
        let path = self.store.root.join(&self.path);
        let _ = super::commit::twice(|| std::fs::remove_dir_all(&path));
    }
}

/// Remove what killed processes left: directories that nobody holds locked. Failures are left for the next time. `locked`: the caller
/// holds the lock of the store.
pub(crate) fn sweep(store: &Store, locked: bool) {
    for name in store.names_in("tmp").unwrap_or_default() {
        let path = format!("tmp/{name}");
        match openat(&store.fd, &path, DIR, Mode::empty()) {
            Ok(fd) => {
                if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
                    let _ = std::fs::remove_dir_all(store.root.join(&path));
                }
            }
            // A file: half a write of somebody who holds the lock, or did when it died.
            Err(_) => {
                let lock = if locked { None } else { store.lock().ok() };
                if locked || lock.is_some() {
                    let _ = unlinkat(&store.fd, &path, rustix::fs::AtFlags::empty());
                }
            }
        }
    }
}

pub(crate) fn random_name() -> Result<String> {
    let mut bytes = [0u8; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(io("get random bytes"))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
