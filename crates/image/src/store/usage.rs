//! How much of the disk a tree takes: what `du` says.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use std::collections::HashSet;
use std::ffi::CString;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Bytes of the blocks of `path` and all below it on the same file system, files with several names once. What can't be looked at
/// counts nothing. Any depth will do: one directory is open at a time.
pub fn below(dir: impl AsFd, path: &str) -> u64 {
    let Ok(stat) = statat(&dir, path, AtFlags::SYMLINK_NOFOLLOW) else { return 0 };
    let mut walk = Walk { seen: HashSet::new(), bytes: 0, device: stat.st_dev };
    walk.count(&stat);
    if is_dir(&stat)
        && let Ok(fd) = openat(&dir, path, FLAGS, Mode::empty())
    {
        walk.tree(fd);
    }
    walk.bytes
}

struct Walk {
    seen: HashSet<u64>,
    bytes: u64,
    device: u64,
}

/// A directory on the way down: its inode, and the names below it that are still to be looked at.
struct Level {
    inode: u64,
    names: Vec<CString>,
}

impl Walk {
    fn count(&mut self, stat: &Stat) {
        if is_dir(stat) || stat.st_nlink == 1 || self.seen.insert(stat.st_ino) {
            self.bytes += stat.st_blocks.unsigned_abs() * 512;
        }
    }

    fn tree(&mut self, root: OwnedFd) {
        let mut here = root;
        let mut levels = vec![level(&here)];
        while let Some(now) = levels.last_mut() {
            let Some(name) = now.names.pop() else {
                levels.pop();
                let Some(above) = levels.last() else { return };
                let up = openat(&here, "..", FLAGS, Mode::empty());
                match up {
                    // Moved elsewhere while we were in it: what is left can't be found from here.
                    Ok(up) if fstat(&up).is_ok_and(|s| s.st_ino == above.inode) => here = up,
                    _ => return,
                }
                continue;
            };
            let Ok(stat) = statat(&here, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if stat.st_dev != self.device {
                continue;
            }
            self.count(&stat);
            if is_dir(&stat)
                && let Ok(fd) = openat(&here, &name, FLAGS, Mode::empty())
            {
                levels.push(level(&fd));
                here = fd;
            }
        }
    }
}

fn level(dir: &OwnedFd) -> Level {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).into_iter().flatten().flatten() {
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Level { inode: fstat(dir).map_or(0, |s| s.st_ino), names }
}

fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}
