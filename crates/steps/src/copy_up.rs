//! What an image has at a place goes into the file system that will cover it. Allocates nothing.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RawDir, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::CStr;
use std::mem::MaybeUninit;

/// Directories in directories: a tree of an image, which could be made to be endless.
const DEPTH: usize = 40;

/// Copies directories, files and links from one directory into another, with owners, modes and times. Devices, FIFOs
/// and sockets stay behind. Nothing is followed.
pub(crate) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, c".", flags, Mode::empty())?;
    copy_entries(from.as_fd(), to, DEPTH)?;
    let stat = rustix::fs::fstat(&from)?;
    dress(to, c".", &stat)
}

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
            copy_one(from, to, name, depth)?;
        }
    }
    Ok(())
}

fn copy_one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> Result<(), Errno> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU)?;
            let below = rustix::fs::openat(from, name, directory, Mode::empty())?;
            let made = rustix::fs::openat(to, name, directory, Mode::empty())?;
            copy_entries(below.as_fd(), made.as_fd(), depth - 1)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let source = rustix::fs::openat(from, name, flags, Mode::empty())?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let copy = rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
            while rustix::fs::sendfile(&copy, &source, None, 1 << 20)? > 0 {}
        }
        FileType::Symlink => {
            let mut space = [MaybeUninit::uninit(); 4096];
            let (target, _) = rustix::fs::readlinkat_raw(from, name, &mut space)?;
            let n = target.len();
            let mut text = [0u8; 4097];
            text[..n].copy_from_slice(target);
            rustix::fs::symlinkat(CStr::from_bytes_until_nul(&text).map_err(|_| Errno::INVAL)?, to, name)?;
        }
        _ => return Ok(()),
    }
    dress(to, name, &stat)
}

/// Owner, mode and times, in this order: a change of the owner clears bits of the mode.
fn dress(dir: BorrowedFd<'_>, name: &CStr, stat: &rustix::fs::Stat) -> Result<(), Errno> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        rustix::fs::chmodat(dir, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)
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
        copy_tree(open(&from).as_fd(), open(&to).as_fd()).unwrap();
        assert_eq!(std::fs::read(to.join("a/b/file")).unwrap(), vec![7; 100_000]);
        assert_eq!(std::fs::metadata(to.join("a/b/file")).unwrap().permissions().mode() & 0o7777, 0o4750);
        assert_eq!(std::fs::read_link(to.join("a/link")).unwrap().to_str(), Some("/etc/passwd"));
        std::fs::remove_dir_all(&base).unwrap();
    }
}
