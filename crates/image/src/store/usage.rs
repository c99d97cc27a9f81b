//! How much of the disk is taken: what `du` says of a tree, and of all images.

use super::{Image, Store, Summary};
use crate::error::Result;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What all images take, in bytes of blocks.
#[derive(Debug)]
pub struct Disk {
    /// All directories of the store, with what is being loaded and what was downloaded in part.
    pub bytes: u64,
    /// What would be free again without those images that nobody uses.
    pub reclaimable: u64,
    pub images: Vec<ImageUsage>,
}

#[derive(Debug)]
pub struct ImageUsage {
    pub summary: Summary,
    /// Layers that other images have too.
    pub shared: u64,
    /// Its other layers, its documents, and its record.
    pub unique: u64,
    pub used: bool,
}

impl Store {
    /// `used`: whether a container uses an image, by its id.
    pub fn disk(&self, used: &dyn Fn(&str) -> bool) -> Result<Disk> {
        let mut sizes: HashMap<String, u64> = HashMap::new();
        let mut size = |path: String| *sizes.entry(path).or_insert_with_key(|path| below(&self.fd, path));
        let list = self.list()?;
        let mut needed: HashMap<String, usize> = HashMap::new();
        let mut parts = Vec::new();
        for summary in &list {
            let own: HashSet<String> = self.paths_of(&summary.image).into_iter().collect();
            for path in &own {
                *needed.entry(path.clone()).or_default() += 1;
            }
            parts.push(own);
        }
        let (mut images, mut kept) = (Vec::new(), HashSet::new());
        for (summary, own) in list.into_iter().zip(parts) {
            let mut usage = ImageUsage { used: used(&summary.image.id), shared: 0, unique: 0, summary };
            for path in &own {
                let bytes = size(path.clone());
                if needed[path] > 1 { usage.shared += bytes } else { usage.unique += bytes }
            }
            let names = usage.summary.tags.iter().chain(&usage.summary.digests);
            usage.unique += names.map(|name| self.tag_usage(name)).sum::<u64>();
            if usage.used {
                kept.extend(own);
            }
            images.push(usage);
        }
        let dirs = ["blobs", "layers", "images", "tags", "partial", "tmp"];
        let bytes = dirs.iter().map(|dir| below(&self.fd, dir)).sum();
        let reclaimable = needed.keys().filter(|path| !kept.contains(*path)).map(|path| size(path.clone()));
        let names =
            images.iter().filter(|i| !i.used).flat_map(|i| i.summary.tags.iter().chain(&i.summary.digests));
        let reclaimable = reclaimable.sum::<u64>() + names.map(|name| self.tag_usage(name)).sum::<u64>();
        Ok(Disk { bytes, reclaimable, images })
    }

    /// All that an image needs: paths below the data root.
    fn paths_of(&self, image: &Image) -> Vec<String> {
        let mut paths = vec![format!("images/{}.json", image.id)];
        paths.extend(image.layers.iter().map(|l| format!("layers/{}", l.chain)));
        let manifest = image.manifest.iter();
        let blobs =
            manifest.clone().flat_map(|m| self.blobs_of(m).unwrap_or_default()).chain(manifest.cloned());
        paths.extend(blobs.chain([image.id.clone()]).map(|hex| format!("blobs/sha256/{hex}")));
        paths
    }
}

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
