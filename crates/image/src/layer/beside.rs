//! A file that appears as a whole: it is written under a name of its own, beside the one that it is to have, and then renamed.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

/// Dropped before it has its name, it is gone.
pub struct Beside<'a> {
    dir: &'a OwnedFd,
    name: String,
    renamed: bool,
}

impl<'a> Beside<'a> {
    /// A new, empty file in `dir`, which nobody else has had in their hands.
    pub fn create(dir: &'a OwnedFd, mode: Mode) -> Result<(OwnedFd, Beside<'a>), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Whoever else may write there can only guess.
        let mut random = [0; 8];
        getrandom(&mut random, GetRandomFlags::empty())?;
        let name = format!(".corten-{:016x}", u64::from_ne_bytes(random));
        let file = openat(dir, &*name, flags, mode)?;
        Ok((file, Beside { dir, name, renamed: false }))
    }

    /// Takes the place of whatever is called so, but a directory. A link is replaced, not followed.
    pub fn rename(mut self, name: &[u8]) -> Result<(), Errno> {
        renameat(self.dir, &*self.name, self.dir, name)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            let _ = unlinkat(self.dir, &*self.name, AtFlags::empty());
        }
    }
}
