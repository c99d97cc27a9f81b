//! The files of a container, from outside: what `cp`, `export`, `diff` and `commit` look at.
//!
//! No path of a container is resolved with the host's rights at hand. A child goes into it first: into the mount and user namespaces of one
//! that runs; else into a mount namespace of its own, where it mounts the container's root and makes it its own root. From there it
//! answers by a pipe, and no link leads anywhere else (CVE-2018-15664, CVE-2019-10152, CVE-2019-14271, CVE-2021-41089).

mod enter;
mod helper;

pub(crate) use enter::{View, drop_rights};
pub(crate) use helper::Helper;

use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, openat, statat};
use rustix::io::Errno;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// No link leads out, neither do those of /proc (rule R1).
pub(crate) const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Something in a tree: the directory that it is in, and its name there.
#[derive(Debug)]
pub(crate) struct Found {
    pub dir: OwnedFd,
    /// `.` for the directory itself.
    pub name: Vec<u8>,
    pub kind: FileType,
}

/// Looks for `path` below `root`. Links on the way are taken inside the root; the last part is only with `follow`, or where a slash behind
/// it says that a directory is meant.
pub(crate) fn find(root: &OwnedFd, path: &[u8], follow: bool) -> rustix::io::Result<Found> {
    let trimmed = trim(path);
    let (parent, name) = split(trimmed);
    let directory = trimmed.len() < path.len() || matches!(name, b"" | b"." | b"..");
    if directory || follow && is_link(root, trimmed)? {
        return at(root, path);
    }
    let dir = open_dir(root, parent)?;
    let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(Found { dir, name: name.to_vec(), kind: FileType::from_raw_mode(stat.st_mode) })
}

/// What all links lead to.
fn at(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<Found> {
    match open_dir(root, path) {
        Ok(dir) => Ok(Found { dir, name: b".".to_vec(), kind: FileType::Directory }),
        Err(Errno::NOTDIR) if path.last() != Some(&b'/') => {
            let (dir, name) = resolve(root, path)?;
            let stat = statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(Found { dir, name, kind: FileType::from_raw_mode(stat.st_mode) })
        }
        Err(e) => Err(e),
    }
}

/// The directory and the name of something that is no directory, link by link.
fn resolve(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<(OwnedFd, Vec<u8>)> {
    let mut path = path.to_vec();
    for _ in 0..40 {
        let (parent, name) = split(&path);
        let dir = open_dir(root, parent)?;
        match rustix::fs::readlinkat(&dir, name, Vec::new()) {
            Err(Errno::INVAL) => return Ok((dir, name.to_vec())),
            Err(e) => return Err(e),
            // A relative target begins where the link is.
            Ok(target) if target.to_bytes().first() == Some(&b'/') => path = target.into_bytes(),
            Ok(target) => path = [parent, b"/", target.to_bytes()].concat(),
        }
    }
    Err(Errno::LOOP)
}

fn is_link(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<bool> {
    let (parent, name) = split(path);
    let stat = statat(open_dir(root, parent)?, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// A directory below `root`, all links taken inside of it.
pub(crate) fn open_dir(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let start = path.iter().position(|b| *b != b'/').unwrap_or(path.len());
    let path = if start == path.len() { b"." } else { &path[start..] };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(root, path, flags, Mode::empty(), IN_ROOT)
}

/// A directory of the host, by a path of the user's.
pub(crate) fn host_dir(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    openat(rustix::fs::CWD, path.as_os_str().as_bytes(), flags, Mode::empty())
}

/// Without slashes at the end.
pub(crate) fn trim(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

/// The path without `.`, `..`, doubled and final slashes, by words alone (Go's path.Clean).
pub fn clean_path(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

/// `a/b/c` → (`a/b`, `c`), without slashes between.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_means() {
        let dir = std::env::temp_dir().join(format!("engine-files-{}", std::process::id()));
        std::fs::create_dir_all(dir.join("a/b")).unwrap();
        std::fs::write(dir.join("a/f"), "f").unwrap();
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, dir.join(name)).unwrap();
        link("/a/b", "to-dir");
        link("a/f", "to-file");
        link("../../../to-file", "a/b/again");
        link("/etc", "out");
        link("nowhere", "dangling");
        link("loop", "loop");
        let root = host_dir(&dir).unwrap();
        let look = |path: &str, follow| {
            let found = find(&root, path.as_bytes(), follow)?;
            Ok((String::from_utf8(found.name).unwrap(), found.kind))
        };
        let is = |name: &str, kind| Ok::<_, Errno>((name.to_owned(), kind));
        assert_eq!(look("/a/f", false), is("f", FileType::RegularFile));
        assert_eq!(look("a", false), is("a", FileType::Directory));
        assert_eq!(look("/", false), is(".", FileType::Directory));
        assert_eq!(look("a/.", false), is(".", FileType::Directory));
        assert_eq!(look("to-dir", false), is("to-dir", FileType::Symlink));
        assert_eq!(look("to-dir/", false), is(".", FileType::Directory));
        assert_eq!(look("to-dir", true), is(".", FileType::Directory));
        assert_eq!(look("to-dir/again", false), is("again", FileType::Symlink));
        assert_eq!(look("to-dir/again", true), is("f", FileType::RegularFile));
        assert_eq!(look("a/f/", false), Err(Errno::NOTDIR));
        assert_eq!(look("dangling", false), is("dangling", FileType::Symlink));
        assert_eq!(look("dangling", true), Err(Errno::NOENT));
        assert_eq!(look("loop", true), Err(Errno::LOOP));
        // The tree's own, which it doesn't have.
        assert_eq!(look("out/passwd", true), Err(Errno::NOENT));
        assert_eq!(look("../../../../../../etc/passwd", true), Err(Errno::NOENT));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
