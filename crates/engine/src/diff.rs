//! `diff`: what a container has changed in its image's files.

use crate::{Container, Engine, Error, Result};
use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, statat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::path::Path;

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Added,
    Changed,
    Deleted,
}

impl Change {
    /// As Docker shows it.
    pub fn letter(self) -> char {
        match self {
            Change::Added => 'A',
            Change::Changed => 'C',
            Change::Deleted => 'D',
        }
    }
}

pub(crate) const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Paths of the engine's own trees: no link is followed.
pub(crate) const PLAIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

impl Engine {
    /// Paths with a leading slash, sorted.
    pub fn diff(&self, container: &Container) -> Result<Vec<(Vec<u8>, Change)>> {
        let name = &container.name;
        if container.settings.rootfs.is_some() {
            return Err(Error::Invalid(format!("container {name} has no image to compare its files with")));
        }
        if container.upper_in_memory {
            return Err(Error::Invalid(format!(
                "what container {name} writes is in memory: nobody else sees it"
            )));
        }
        let open = |path: &Path| {
            rustix::fs::open(path, DIR, Mode::empty()).map_err(|e| Error::io("cannot open", path, e))
        };
        let upper = open(&self.upper_directory(container))?;
        let lower = container.lower.iter().map(Path::new).filter(|l| l.exists());
        let lower = lower.map(open).collect::<Result<Vec<_>>>()?;
        compare(&upper, &lower).map_err(|e| Error::io("cannot compare the files of", name, e))
    }
}

/// A directory of the upper layer that is still to be compared: its path, and the layers that show through it, topmost first.
struct Pending {
    path: Vec<u8>,
    through: Vec<usize>,
}

fn compare(upper: &OwnedFd, lower: &[OwnedFd]) -> rustix::io::Result<Vec<(Vec<u8>, Change)>> {
    let mut changes = BTreeMap::new();
    let mut pending = vec![Pending { path: Vec::new(), through: (0..lower.len()).collect() }];
    while let Some(Pending { path, through }) = pending.pop() {
        let dir = match open_in(upper, &path) {
            Ok(dir) => dir,
            // Deeper than a path can say, or gone.
            Err(Errno::NAMETOOLONG | Errno::NOENT) => continue,
            Err(e) => return Err(e),
        };
        // What lies below an opaque directory is hidden; it is gone where nothing has taken its name.
        let opaque = is_opaque(&dir);
        if opaque {
            for name in names_through(lower, &through, &path) {
                changes.insert(join(&path, &name), Change::Deleted);
            }
        }
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let below = look_up(lower, &through, &path, name);
            let here = join(&path, name);
            if is_whiteout(&stat) {
                if below.is_some() {
                    changes.insert(here, Change::Deleted);
                }
                continue;
            }
            let directory = kind(&stat) == FileType::Directory;
            match &below {
                None => _ = changes.insert(here.clone(), Change::Added),
                // A directory that is there only because of something below it is told of with that.
                Some(found) if directory && found.directory && same(&stat, &found.stat) => {
                    changes.remove(&here);
                }
                Some(_) => _ = changes.insert(here.clone(), Change::Changed),
            }
            if directory {
                let through = below.filter(|b| b.directory && !opaque).map(|b| b.through).unwrap_or_default();
                pending.push(Pending { path: here, through });
            }
        }
    }
    // All that leads to a change is changed.
    for path in changes.keys().cloned().collect::<Vec<_>>() {
        let mut parent = crate::files::split(&path).0;
        while !parent.is_empty() {
            changes.entry(parent.to_vec()).or_insert(Change::Changed);
            parent = crate::files::split(parent).0;
        }
    }
    Ok(changes.into_iter().map(|(path, change)| ([b"/", &path[..]].concat(), change)).collect())
}

/// What the layers below have under a name.
struct Below {
    stat: Stat,
    directory: bool,
    /// The layers whose directories of this name show.
    through: Vec<usize>,
}

fn look_up(lower: &[OwnedFd], through: &[usize], path: &[u8], name: &[u8]) -> Option<Below> {
    let mut found: Option<Below> = None;
    for index in through {
        let Ok(dir) = open_in(&lower[*index], path) else { continue };
        let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let directory = kind(&stat) == FileType::Directory;
        match &mut found {
            // A whiteout or a file below a directory ends it.
            Some(_) if !directory => break,
            Some(found) => found.through.push(*index),
            None if is_whiteout(&stat) => return None,
            None => found = Some(Below { stat, directory, through: vec![*index] }),
        }
        if !directory || openat2(&dir, name, DIR, Mode::empty(), PLAIN).is_ok_and(|d| is_opaque(&d)) {
            break;
        }
    }
    found
}

/// The names that the layers below show in a directory.
fn names_through(lower: &[OwnedFd], through: &[usize], path: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for index in through {
        let Ok(dir) = open_in(&lower[*index], path) else { continue };
        for entry in Dir::read_from(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") && look_up(lower, through, path, name).is_some() {
                names.push(name.to_vec());
            }
        }
    }
    names
}

fn open_in(root: &OwnedFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    openat2(root, if path.is_empty() { b"." } else { path }, DIR, Mode::empty(), PLAIN)
}

pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

pub(crate) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(crate) fn is_opaque(dir: &OwnedFd) -> bool {
    let mut value = Vec::with_capacity(8);
    let got = fgetxattr(dir, c"trusted.overlay.opaque", rustix::buffer::spare_capacity(&mut value));
    got.is_ok() && value == b"y"
}

fn same(a: &Stat, b: &Stat) -> bool {
    let of = |s: &Stat| (s.st_mode, s.st_uid, s.st_gid, s.st_mtime, s.st_mtime_nsec);
    of(a) == of(b)
}
