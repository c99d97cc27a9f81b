//! What an image has at a place goes into the file system that will cover it. Allocates nothing.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount::{self, Attr};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Fills a detached tree, a new volume's, with what the root has at the place where it will be attached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FillTree {
    pub slot: Slot,
    /// Absolute, as the container will name it.
    pub target: Text,
    /// The tree's own owner and mode stay; otherwise they become those of the place.
    pub keep_owner: bool,
    /// Afterwards it is read-only.
    pub read_only: bool,
}

impl FillTree {
    pub fn perform(&self, live: &Live) -> Outcome {
        let place = mount::place_in_root(self.target.as_c(), false, false)
            .map_err(|e| Failure::new(e, crate::mount::no_mount_point(e)))?;
        let tree = live.fd(self.slot)?;
        let copy = if self.keep_owner { copy_below } else { copy_tree };
        copy(place.as_fd(), tree.as_fd()).map_err(|e| Failure::new(e, "copy what is there"))?;
        if self.read_only {
            let attr = Attr { read_only: true, ..Attr::default() };
            mount::set_attr(tree, &attr, false).map_err(|e| Failure::new(e, "mount_setattr"))?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let (target, place) = (quote(&format!(".{}", self.target)), format!("$T/t/{}", self.slot.0));
        let mut lines = vec![format!("mkdir -p {target}"), format!("cp -an {target}/. {place}")];
        if self.read_only {
            lines.push(format!("mount -o remount,bind,ro {place}"));
        }
        Shell::lines(
            lines,
            format!("the new volume begins with what the image has at {}", self.target),
            "cp(1)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.target.as_str(), "filled from the image");
    }
}

/// Directories in directories: a tree of an image, which could be made to be endless.
const DEPTH: usize = 100;

/// Copies directories, files and links from one directory into another, with owners, modes and times. Devices, FIFOs
/// and sockets stay behind, and so does what is there already. Nothing is followed: others may be at work in the copy.
pub(crate) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    copy_below(from, to)?;
    dress_directory(to, c".", &rustix::fs::fstat(from)?)
}

/// The same, but the directory itself stays as it is.
pub(crate) fn copy_below(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let from = rustix::fs::openat(from, c".", DIRECTORY, Mode::empty())?;
    copy_entries(from.as_fd(), to, DEPTH)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

fn copy_entries(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> Result<(), Errno> {
    if depth == 0 {
        return Err(Errno::LOOP);
    }
    let mut space = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(from, &mut space);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes() != b"." && name.to_bytes() != b".." {
            match copy_one(from, to, name, depth) {
                Err(Errno::EXIST) => {}
                done => done?,
            }
        }
    }
    Ok(())
}

fn copy_one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let below = rustix::fs::openat(from, name, DIRECTORY, Mode::empty())?;
            let made = rustix::fs::openat(to, name, DIRECTORY, Mode::empty())?;
            copy_entries(below.as_fd(), made.as_fd(), depth - 1)?;
            dress(made.as_fd(), &stat)
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
            while rustix::fs::sendfile(&copy, &source, None, 1 << 20)? > 0 {}
            dress(copy.as_fd(), &stat)
        }
        FileType::Symlink => {
            let mut space = [MaybeUninit::uninit(); 4096];
            let (target, _) = rustix::fs::readlinkat_raw(from, name, &mut space)?;
            let n = target.len();
            let mut text = [0u8; 4097];
            text[..n].copy_from_slice(target);
            rustix::fs::symlinkat(CStr::from_bytes_until_nul(&text).map_err(|_| Errno::INVAL)?, to, name)?;
            let (uid, gid) = owner(&stat);
            rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
        }
        _ => Ok(()),
    }
}

fn dress_directory(dir: BorrowedFd<'_>, name: &CStr, stat: &rustix::fs::Stat) -> Result<(), Errno> {
    dress(rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?.as_fd(), stat)
}

/// Owner, mode and times, in this order: a change of the owner clears bits of the mode. By the descriptor: the name may
/// lead to another file by now.
fn dress(file: BorrowedFd<'_>, stat: &rustix::fs::Stat) -> Result<(), Errno> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(file, Some(uid), Some(gid))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    rustix::fs::futimens(file, &times(stat))
}

fn owner(stat: &rustix::fs::Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_tree_is_copied_and_no_link_is_followed() {
        let base = std::env::temp_dir().join(format!("corten-copy-up-{}", std::process::id()));
        let (from, to) = (base.join("from"), base.join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(from.join("a/b/file"), vec![7; 100_000]).unwrap();
        std::fs::set_permissions(from.join("a/b/file"), std::fs::Permissions::from_mode(0o4750)).unwrap();
        symlink("/etc/passwd", from.join("a/link")).unwrap();
        let open = |p: &std::path::Path| std::fs::File::open(p).unwrap();
        std::fs::write(to.join("mine"), "here before").unwrap();
        std::fs::write(from.join("mine"), "of the image").unwrap();
        copy_tree(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        assert_eq!(std::fs::read(to.join("mine")).unwrap(), b"here before");
        assert_eq!(std::fs::read(to.join("a/b/file")).unwrap(), vec![7; 100_000]);
        assert_eq!(std::fs::metadata(to.join("a/b/file")).unwrap().permissions().mode() & 0o7777, 0o4750);
        assert_eq!(std::fs::read_link(to.join("a/link")).unwrap().to_str(), Some("/etc/passwd"));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
