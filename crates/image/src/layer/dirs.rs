//! Directories of the tree being unpacked, as descriptors: every path is resolved by the kernel below the tree's root (rule R1).

use super::tar::show;
use crate::error::{Error, Result, invalid};
use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::rc::Rc;

/// A cache of directory descriptors by cleaned path; `""` is the root.
///
/// A path is resolved with RESOLVE_IN_ROOT, so a symbolic link of the image leads nowhere but into the image
/// (CVE-2018-15664, CVE-2021-32760 and their many cousins). A descriptor in the cache stays right because only we write to the tree,
/// and [`Dirs::forget`] is called before anything is removed.
pub struct Dirs {
    root: Rc<Dir>,
    open: HashMap<Vec<u8>, Rc<Dir>>,
    /// Directories that no entry named but that had to be made, by path.
    pub implied: Vec<Vec<u8>>,
}

/// An open directory.
pub struct Dir {
    pub fd: OwnedFd,
    /// Where it is in the tree, with no link on the way; `""` is the root.
    pub path: Vec<u8>,
}

/// Descriptors kept open for each layer; sixteen layers at once stay well below the usual limit of 1,024.
const OPEN: usize = 32;

pub const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
const DIR: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Dirs {
    pub fn new(root: OwnedFd) -> Dirs {
        let root = Dir { fd: root, path: Vec::new() };
        Dirs { root: Rc::new(root), open: HashMap::new(), implied: Vec::new() }
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root.fd
    }

    /// The directory at `path`, made with its parents if there is none. Symbolic links on the way are followed inside the root.
    pub fn get(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if path.is_empty() {
            return Ok(self.root.clone());
        }
        if let Some(dir) = self.open.get(path) {
            return Ok(dir.clone());
        }
        let dir = Rc::new(self.open_or_make(path)?);
        if self.open.len() >= OPEN {
            // Archives go depth first: what is above this directory will be wanted again.
            self.open
                .retain(|other, _| path.strip_prefix(&**other).is_some_and(|rest| rest.starts_with(b"/")));
            if self.open.len() >= OPEN {
                self.open.clear();
            }
        }
        self.open.insert(path.to_vec(), dir.clone());
        Ok(dir)
    }

    /// `path`, or something on the way to it, is there and no directory.
    pub fn is_below_file(&self, path: &[u8]) -> bool {
        let found = openat2(self.root(), path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), IN_ROOT);
        match found {
            Ok(fd) => fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) != FileType::Directory),
            Err(e) => e == Errno::NOTDIR,
        }
    }

    fn open_or_make(&mut self, path: &[u8]) -> Result<Dir> {
        let (parent, name) = split(path);
        if let Some(parent) = self.open.get(parent) {
            // One component below a known directory, and not a link: no need to walk from the root.
            if let Ok(fd) = openat(&parent.fd, name, DIR | OFlags::NOFOLLOW, Mode::empty()) {
                return Ok(Dir { fd, path: join(&parent.path, name) });
            }
        }
        let plain = IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let opened = match openat2(self.root(), path, DIR, Mode::empty(), plain) {
            Ok(fd) => return Ok(Dir { fd, path: path.to_vec() }),
            Err(Errno::LOOP) => openat2(self.root(), path, DIR, Mode::empty(), IN_ROOT),
            Err(e) => Err(e),
        };
        match opened {
            Ok(fd) => {
                let path = real_path(self.root(), path).map_err(|e| failed("open directory", path, e))?;
                Ok(Dir { fd, path })
            }
            Err(Errno::NOENT) => {
                let parent = self.get(parent)?;
                // The final mode is set at the end; until then nobody but us gets in.
                match mkdirat(&parent.fd, name, Mode::RWXU) {
                    Ok(()) => self.implied.push(path.to_vec()),
                    Err(Errno::EXIST) => {
                        return invalid(format!(
                            "'{}' is a symbolic link to nowhere, and entries lie below it",
                            show(path)
                        ));
                    }
                    Err(e) => return Err(failed("make directory", path, e)),
                }
                let fd = openat(&parent.fd, name, DIR | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(|e| failed("open directory", path, e))?;
                Ok(Dir { fd, path: join(&parent.path, name) })
            }
            Err(Errno::NOTDIR) => {
                invalid(format!("'{}' is not a directory, and entries lie below it", show(path)))
            }
            Err(Errno::LOOP) => invalid(format!("'{}' is a loop of symbolic links", show(path))),
            Err(e) => Err(failed("open directory", path, e)),
        }
    }

    /// Drop every descriptor: something that may be a directory, or lead to one, is about to go.
    pub fn forget(&mut self) {
        self.open.clear();
    }
}

/// Where a path leads to in the tree, links taken; all of it must be there.
fn real_path(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let mut real = Vec::new();
    let mut links = 0;
    let mut ahead: Vec<Vec<u8>> = path.split(|b| *b == b'/').rev().map(<[u8]>::to_vec).collect();
    while let Some(part) = ahead.pop() {
        match &*part {
            b"" | b"." => {}
            b".." => real.truncate(split(&real).0.len()),
            part => {
                let here = join(&real, part);
                match readlinkat(root, &*here, Vec::new()) {
                    Ok(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP);
                        }
                        if target.to_bytes().first() == Some(&b'/') {
                            real.clear();
                        }
                        ahead.extend(target.to_bytes().split(|b| *b == b'/').rev().map(<[u8]>::to_vec));
                    }
                    Err(Errno::INVAL) => real = here,
                    Err(e) => return Err(e),
                }
            }
        }
    }
    Ok(real)
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// `name` below `dir`, which may be the root `""`.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

/// `usr/bin/env` → (`usr/bin`, `env`).
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// A path of an archive as components below the root: leading slashes, `.` and inner `..` are taken out as Docker does.
/// None if it climbs out, `""` for the root itself.
pub fn clean(path: &[u8]) -> Option<Vec<u8>> {
    let mut clean = Vec::with_capacity(path.len());
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if clean.is_empty() {
                    return None;
                }
                clean.truncate(split(&clean).0.len());
            }
            part => {
                if !clean.is_empty() {
                    clean.push(b'/');
                }
                clean.extend_from_slice(part);
            }
        }
    }
    Some(clean)
}

pub fn failed(what: &str, path: &[u8], e: Errno) -> Error {
    Error::Io { what: format!("{what} '{}'", show(path)), source: e.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning() {
        let table: &[(&[u8], Option<&[u8]>)] = &[
            (b"./", Some(b"")),
            (b"/", Some(b"")),
            (b"a", Some(b"a")),
            (b"./a//b/", Some(b"a/b")),
            (b"/etc/passwd", Some(b"etc/passwd")),
            (b"a/../b", Some(b"b")),
            (b"a/b/../../c", Some(b"c")),
            (b"..", None),
            (b"../x", None),
            (b"a/../../x", None),
            (b"/../x", None),
            (b"...", Some(b"...")),
        ];
        for (path, expected) in table {
            assert_eq!(clean(path).as_deref(), *expected, "{}", path.escape_ascii());
        }
    }
}
