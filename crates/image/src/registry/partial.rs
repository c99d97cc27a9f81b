//! Layers that have not come to their end yet: files in `partial/`, by digest, which outlive the process that downloads them, so that the next
//! one goes on where it stopped. Whoever writes to one has it locked.

use crate::digest::{Digest, is_hex64};
use crate::error::{Result, io};
use crate::store::Store;
use crate::store::tmp::Tmp;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What nobody came back for.
const OLD: Duration = Duration::from_secs(7 * 24 * 3600);

/// A layer's file.
#[derive(Debug)]
pub struct Partial {
    pub file: Arc<File>,
    pub path: PathBuf,
    /// Bytes that were there already.
    pub had: u64,
}

/// Open the file of a layer with `size` bytes. Where another process is writing it, we get one of our own: to wait could be to wait for ever.
pub fn open(store: &Store, tmp: &Tmp, digest: &Digest, size: u64) -> Result<Partial> {
    let path = store.root.join("partial").join(digest.hex());
    let fail = || io(format!("write '{}'", path.display()));
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(&path)
        .map_err(fail())?;
    if file.try_lock().is_ok() {
        let here = file.metadata().map_err(fail())?;
        // Still the one by that name: who had it may have just finished.
        if std::fs::symlink_metadata(&path).is_ok_and(|m| (m.dev(), m.ino()) == (here.dev(), here.ino())) {
            if here.len() > size {
                file.set_len(0).map_err(fail())?;
            }
            let had = if here.len() > size { 0 } else { here.len() };
            return Ok(Partial { file: Arc::new(file), path, had });
        }
    }
    drop(tmp.kept_file(digest.hex())?);
    let path = store.root.join(&tmp.path).join("kept").join(digest.hex());
    let file = File::options().read(true).write(true).open(&path).map_err(fail())?;
    Ok(Partial { file: Arc::new(file), path, had: 0 })
}

/// Only one process at a time pulls an image; the others find it there. `waiting` is called where it takes time.
pub fn lock_image(store: &Store, manifest: &Digest, waiting: &dyn Fn()) -> Result<File> {
    let path = store.root.join("partial").join(format!("{}.lock", manifest.hex()));
    let fail = || io(format!("lock '{}'", path.display()));
    loop {
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail())?;
        if file.try_lock().is_err() {
            waiting();
            file.lock().map_err(fail())?;
        }
        let here = file.metadata().map_err(fail())?;
        if std::fs::symlink_metadata(&path).is_ok_and(|m| m.ino() == here.ino()) {
            return Ok(file);
        }
    }
}

/// The lock's file goes while it is held, so that no other process takes it for the lock.
pub fn unlock_image(store: &Store, manifest: &Digest, lock: File) {
    let path = store.root.join("partial").join(format!("{}.lock", manifest.hex()));
    // An error that comes once is no reason to leave it.
    let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_file(&path));
    drop(lock);
}

/// Make the directory.
pub fn prepare(store: &Store) -> Result<()> {
    let path = store.root.join("partial");
    let made = std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path);
    made.map_err(io(format!("make '{}'", path.display())))
}

/// Remove what nobody has touched for a week, and at once the locks of those who were killed. Failures are left for the next time.
pub fn sweep(store: &Store) {
    let Ok(entries) = std::fs::read_dir(store.root.join("partial")) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let lock = name.strip_suffix(".lock");
        if !is_hex64(lock.unwrap_or(&name)) {
            continue;
        }
        let old = || {
            let changed = entry.metadata().and_then(|m| m.modified());
            changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > OLD))
        };
        // Held until it is gone: who waits for it looks whether it is still there.
        let held = || File::open(entry.path()).ok().filter(|file| file.try_lock().is_ok());
        if (lock.is_some() || old())
            && let Some(_held) = held()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
