//! Changing the store: the lock, atomic writes, and the one place where a load becomes visible.

use super::tmp::{Tmp, random_name};
use super::{DIR, Image, LayerRecord, Store};
use crate::digest::Digest;
use crate::error::{Error, Result, io};
use crate::reference::Reference;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, fstat, fsync, ftruncate, mkdirat, openat, renameat, statat,
    syncfs, unlinkat,
};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};

/// A layer that was unpacked into the temporary directory.
#[derive(Debug, Clone)]
pub struct NewLayer {
    pub diff_id: Digest,
    pub size: u64,
    pub tar_size: u64,
}

/// An image to be written. Sizes of its layers are filled in here.
pub struct NewImage<'a> {
    pub image: Image,
    pub config: &'a [u8],
    pub manifest: Option<&'a [u8]>,
    pub names: &'a [Reference],
    /// What the repositories of the names get besides them, as `name@sha256:…`: the digest that it was found by. None: that of the manifest.
    pub found_by: Option<&'a Digest>,
}

/// The lock, while it lives. Its file isn't empty while a change is being made that takes several steps: whoever finds it so cleans up.
pub(crate) struct Lock {
    fd: OwnedFd,
}

impl Lock {
    /// From here on something may be left over.
    pub fn begin(&mut self) -> Result<()> {
        rustix::io::pwrite(&self.fd, b"unfinished\n", 0).map(drop).map_err(io("write the lock of the store"))
    }

    pub fn end(&mut self) -> Result<()> {
        ftruncate(&self.fd, 0).map_err(io("write the lock of the store"))
    }
}

/// What has become visible, to be taken back should the rest fail.
#[derive(Default)]
struct Journal {
    layers: Vec<String>,
    files: Vec<String>,
    /// Names with what they led to before.
    tags: Vec<(Reference, Option<String>)>,
}

impl Store {
    /// Make the directories of the store.
    pub(crate) fn prepare(&self) -> Result<()> {
        for dir in ["blobs", "blobs/sha256", "layers", "images", "tags", "tmp"] {
            match mkdirat(&self.fd, dir, Mode::RWXU) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(io(format!("make '{}'", self.root.join(dir).display()))(e)),
            }
        }
        Ok(())
    }

    /// Wait for the lock of everything that changes the store. What a killed process left half done is cleaned up first.
    pub(crate) fn lock(&self) -> Result<Lock> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let fail = || io(format!("lock '{}'", self.root.join("lock").display()));
        let fd = openat(&self.fd, "lock", flags, Mode::RUSR | Mode::WUSR).map_err(fail())?;
        rustix::io::retry_on_intr(|| flock(&fd, FlockOperation::LockExclusive)).map_err(fail())?;
        let mut lock = Lock { fd };
        // A store that can't be cleaned (a damaged record) is no reason to do nothing any more.
        if fstat(&lock.fd).is_ok_and(|stat| stat.st_size > 0) && self.collect().is_ok() {
            lock.end()?;
        }
        Ok(lock)
    }

    /// Make layers, blobs that were kept, and images visible, all or none, and durable. False: a layer that was to be shared has
    /// gone, unpack it and try again.
    pub(crate) fn commit(
        &self,
        tmp: &Tmp,
        fresh: &HashMap<String, NewLayer>,
        kept: &HashSet<String>,
        images: &[NewImage],
    ) -> Result<bool> {
        // Content must be on disk before a record speaks of it. One syncfs instead of an fsync for each of ten thousand files;
        // outside of the lock, since it takes longest.
        for (chain, layer) in fresh {
            self.write_record(tmp, chain, layer)?;
        }
        if !fresh.is_empty() || !kept.is_empty() {
            syncfs(&self.fd).map_err(io("sync the store"))?;
        }
        let mut lock = self.lock()?;
        let shared = images.iter().flat_map(|i| &i.image.layers);
        if shared.clone().any(|l| !fresh.contains_key(&l.chain) && self.layer_record(&l.chain).is_none()) {
            return Ok(false);
        }
        let mut journal = Journal::default();
        lock.begin()?;
        let published = self.publish(tmp, fresh, kept, images, &mut journal);
        // What could not be taken back is for the next one who has the lock.
        if published.is_ok() || self.take_back(journal) {
            let _ = twice(|| lock.end());
        }
        published.map(|()| true)
    }

    /// The record of a layer that was unpacked into the temporary directory.
    pub(crate) fn write_record(&self, tmp: &Tmp, chain: &str, layer: &NewLayer) -> Result<()> {
        let (diff_id, size, tar_size) = (layer.diff_id.hex().to_string(), layer.size, layer.tar_size);
        let record = to_json(&LayerRecord { diff_id, size, tar_size })?;
        let path = format!("{}/{chain}/layer.json", tmp.path);
        std::fs::write(self.root.join(&path), record).map_err(io(format!("write '{path}'")))
    }

    fn publish(
        &self,
        tmp: &Tmp,
        fresh: &HashMap<String, NewLayer>,
        kept: &HashSet<String>,
        images: &[NewImage],
        journal: &mut Journal,
    ) -> Result<()> {
        for chain in fresh.keys() {
            let from = format!("{}/{chain}", tmp.path);
            match renameat(&self.fd, &from, &self.fd, format!("layers/{chain}")) {
                Ok(()) => journal.layers.push(chain.clone()),
                // Somebody else loaded the same layer meanwhile; ours goes with the temporary directory.
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Err(e) => return Err(io(format!("publish layer sha256:{chain}"))(e)),
            }
        }
        for hex in kept {
            let path = format!("blobs/sha256/{hex}");
            self.note_new(&path, journal)?;
            renameat(&self.fd, format!("{}/kept/{hex}", tmp.path), &self.fd, path)
                .map_err(io(format!("publish blob sha256:{hex}")))?;
        }
        for new in images {
            self.publish_blob(&new.image.id, new.config, journal)?;
            if let (Some(digest), Some(bytes)) = (&new.image.manifest, new.manifest) {
                self.publish_blob(digest, bytes, journal)?;
            }
        }
        for dir in ["layers", "blobs/sha256"] {
            self.sync_dir(dir)?;
        }
        for new in images {
            let mut image = new.image.clone();
            for layer in &mut image.layers {
                layer.size = match fresh.get(&layer.chain) {
                    Some(fresh) => fresh.size,
                    None => self.layer_record(&layer.chain).map_or(0, |r| r.size),
                };
            }
            image.size = image.layers.iter().map(|l| l.size).sum();
            let path = format!("images/{}.json", image.id);
            self.note_new(&path, journal)?;
            if let Ok(old) = self.image(&image.id) {
                // The same image again: keep the manifest that it may have come with.
                image.manifest = image.manifest.or(old.manifest);
            }
            self.write(&path, &to_json(&image)?)?;
        }
        self.sync_dir("images")?;
        for new in images {
            for name in new.names {
                journal.tags.push((name.clone(), self.tagged_id(name)?));
                self.write_tag(name, &new.image.id)?;
                let found_by = new.found_by.map(Digest::hex).or(new.image.manifest.as_deref());
                if let Some(hex) = found_by {
                    let digest = Some(format!("sha256:{hex}"));
                    let digested = Reference { tag: None, digest, ..name.clone() };
                    journal.tags.push((digested.clone(), self.tagged_id(&digested)?));
                    self.write_tag(&digested, &new.image.id)?;
                }
            }
        }
        self.sync_dir("tags")
    }

    fn publish_blob(&self, hex: &str, bytes: &[u8], journal: &mut Journal) -> Result<()> {
        let path = format!("blobs/sha256/{hex}");
        if self.read(&path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        self.note_new(&path, journal)?;
        self.write(&path, bytes)
    }

    /// Notes that a file is ours to take back, unless it is there already.
    fn note_new(&self, path: &str, journal: &mut Journal) -> Result<()> {
        match statat(&self.fd, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(Errno::NOENT) => journal.files.push(path.to_owned()),
            // To be taken for ours, and removed, would be worse.
            Err(e) => return Err(io(format!("look for '{path}'"))(e)),
        }
        Ok(())
    }

    /// As far as it goes, and whether it went all the way: the failure that led here is the one to report.
    fn take_back(&self, journal: Journal) -> bool {
        let tags = journal.tags.iter().rev().map(|(name, old)| {
            twice(|| match old {
                Some(id) => self.write_tag(name, id),
                None => self.remove_tag(name),
            })
            .is_ok()
        });
        let files = journal.files.iter().map(|file| twice(|| self.unlink(file)).is_ok());
        let layers = journal.layers.iter().map(|layer| twice(|| self.delete_layer(layer)).is_ok());
        // All of them, whatever became of the first.
        tags.chain(files).chain(layers).fold(true, |all, done| all & done)
    }

    pub(crate) fn has_blob(&self, hex: &str) -> bool {
        statat(&self.fd, format!("blobs/sha256/{hex}"), AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Write a file under another name, sync it, rename it.
    pub(crate) fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let what = format!("write '{}'", self.root.join(path).display());
        // All temporary names are in tmp/, where the next load sweeps.
        let new = format!("tmp/{}", random_name()?);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = openat(&self.fd, &new, flags, Mode::RUSR | Mode::WUSR).map_err(io(what.as_str()))?;
        let mut file = std::fs::File::from(fd);
        let written = std::io::Write::write_all(&mut file, bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| renameat(&self.fd, &new, &self.fd, path).map_err(Into::into));
        if written.is_err() {
            let _ = twice(|| unlinkat(&self.fd, &new, AtFlags::empty()));
        }
        written.map_err(io(what))
    }

    /// Remove a file; it need not be there.
    pub(crate) fn unlink(&self, path: &str) -> Result<()> {
        match unlinkat(&self.fd, path, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(io(format!("remove '{}'", self.root.join(path).display()))(e)),
        }
    }

    pub(crate) fn sync_dir(&self, dir: &str) -> Result<()> {
        let fail = || io(format!("sync '{}'", self.root.join(dir).display()));
        let fd = openat(&self.fd, dir, DIR, Mode::empty()).map_err(fail())?;
        fsync(fd).map_err(fail())
    }
}

/// Once more where it failed: an error that comes once is no reason to leave anything.
pub(crate) fn twice<T, E>(
    mut attempt: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    attempt().or_else(|_| attempt())
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value).map_err(|e| Error::Invalid(e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
