//! Layers: from a blob (tar, perhaps compressed) to a directory tree, hashed while it streams.

pub mod beside;
pub mod compress;
pub mod confined;
pub mod copy;
pub mod dirs;
pub mod feed;
pub mod pack;
pub mod pax;
pub mod pipe;
pub mod record;
pub mod replay;
pub mod squeeze;
pub mod tar;
pub mod unpack;
pub mod write;
pub mod xattrs;

use crate::digest::Digest;
use crate::error::{Error, Result, invalid, io};
use crate::limits::Limits;
use dirs::{IN_ROOT, failed};
use kernel::open::openat2;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Gid, Uid, fgetxattr, flistxattr, syncfs};
use rustix::fs::{
    Mode, OFlags, Timespec, Timestamps, XattrFlags, fchmod, fchown, fsetxattr, fstat, futimens,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use unpack::Unpacked;

/// A range of a regular file: where the bytes of a layer or document lie.
#[derive(Debug, Clone)]
pub struct Blob {
    pub file: Arc<File>,
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// Where a layer comes from, perhaps compressed.
#[derive(Debug)]
pub enum Source {
    Blob(Blob),
    /// A blob that is still being written; `feed` tells how far it is. See [`feed`].
    Growing {
        blob: Blob,
        feed: OwnedFd,
    },
    /// Something that is still arriving, from where it is read now. So many bytes will come; None: to its end.
    Pipe {
        pipe: File,
        size: Option<u64>,
    },
}

impl Source {
    /// Bytes, where that is known.
    pub fn size(&self) -> Option<u64> {
        match self {
            Source::Blob(blob) | Source::Growing { blob, .. } => Some(blob.size),
            Source::Pipe { size, .. } => *size,
        }
    }

    fn fds(&self) -> [Option<BorrowedFd<'_>>; 2] {
        match self {
            Source::Blob(blob) => [Some(blob.file.as_fd()), None],
            Source::Growing { blob, feed } => [Some(blob.file.as_fd()), Some(feed.as_fd())],
            Source::Pipe { pipe, .. } => [Some(pipe.as_fd()), None],
        }
    }
}

/// One layer to unpack.
#[derive(Debug)]
pub struct Job {
    pub source: Source,
    /// The digest of the blob as it comes, where something names it.
    pub blob_digest: Option<Digest>,
    /// The digest of the tar stream in it; None where nobody knows it yet.
    pub diff_id: Option<Digest>,
    /// A directory with the empty directory `diff`, in which the tree is made; beside it appear `frame.zst` and perhaps `lost`.
    /// None: only the digests are checked.
    pub layer: Option<OwnedFd>,
    /// An empty file that gets a copy of the blob.
    pub keep: Option<File>,
}

impl Job {
    /// For messages.
    fn name(&self) -> String {
        let digest = self.diff_id.as_ref().or(self.blob_digest.as_ref());
        digest.map_or_else(|| "of the archive".into(), Digest::to_string)
    }

    /// All descriptors that it takes.
    fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let layer = self.layer.as_ref().map(AsFd::as_fd);
        let keep = self.keep.as_ref().map(AsFd::as_fd);
        self.source.fds().into_iter().chain([layer, keep]).flatten()
    }
}

/// What became of a job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Done {
    pub unpacked: Unpacked,
    /// Bytes of the tar stream.
    pub tar_size: u64,
    /// Its digest, 64 hexadecimal digits.
    pub diff_id: String,
}

/// How far a layer is: bytes read of its blob.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerProgress {
    /// Which job.
    pub job: usize,
    pub done: u64,
    pub total: u64,
}

/// Unpack several layers at once: each has its own tree, so their order doesn't matter. The first failure ends all.
///
/// It needs nothing but the descriptors in `jobs`, so that it can run confined; so `umask` is given, too.
pub fn unpack_all(
    jobs: Vec<Job>,
    limits: &Limits,
    umask: u32,
    progress: &mut dyn FnMut(LayerProgress),
) -> Result<Vec<Done>> {
    let counters: Vec<AtomicU64> = jobs.iter().map(|_| AtomicU64::new(0)).collect();
    let totals: Vec<u64> = jobs.iter().map(|j| j.source.size().unwrap_or(0)).collect();
    // The longest first, so that no core ends up alone with it.
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(totals[*at]));
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 16).min(jobs.len());
    let next = AtomicUsize::new(0);
    let (report, reports) = mpsc::channel::<(usize, Result<Done>)>();
    let mut done: Vec<Option<Done>> = jobs.iter().map(|_| None).collect();
    let mut failure = None;
    std::thread::scope(|scope| {
        let mut working = 0;
        for _ in 0..threads {
            let report = report.clone();
            let (jobs, order, next, counters) = (&jobs, &order, &next, &counters);
            let work = move || {
                while let Some(job) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = pipe::unpack_one(&jobs[*job], limits, umask, &counters[*job]);
                    if result.is_err() {
                        next.store(order.len(), Ordering::Relaxed);
                    }
                    if report.send((*job, result)).is_err() {
                        return;
                    }
                }
            };
            match std::thread::Builder::new().spawn_scoped(scope, work) {
                Ok(_) => working += 1,
                // Fewer do it too.
                Err(_) if working > 0 => {}
                Err(e) => failure = Some((0, crate::error::io("start a thread")(e))),
            }
        }
        if working > 0 {
            failure = None;
        }
        drop(report);
        let store = jobs.iter().find_map(|job| job.layer.as_ref()?.try_clone().ok());
        let (flushing, stop) = mpsc::channel();
        let _ = std::thread::Builder::new().spawn_scoped(scope, || flush(store, stop));
        let mut shown = vec![0; jobs.len()];
        loop {
            let message = reports.recv_timeout(Duration::from_millis(100));
            for (job, counter) in counters.iter().enumerate() {
                let now = counter.load(Ordering::Relaxed);
                if now != shown[job] {
                    shown[job] = now;
                    progress(LayerProgress { job, done: now, total: totals[job] });
                }
            }
            match message {
                Ok((job, Ok(result))) => done[job] = Some(result),
                Ok((job, Err(e))) => _ = failure.get_or_insert((job, e)),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(flushing);
    });
    if let Some((job, e)) = failure {
        return Err(Error::Layer { digest: jobs[job].name(), cause: Box::new(e) });
    }
    match done.into_iter().collect() {
        Some(done) => Ok(done),
        None => invalid("a layer was not unpacked"),
    }
}

/// Keep the disk busy while the layers unpack, so that little is left to wait for when the load is acknowledged:
/// a fifth less wall time for the same work. Ends when the other end of `stop` is dropped. Whether it succeeds doesn't matter, the
/// commit syncs again.
fn flush(store: Option<OwnedFd>, stop: mpsc::Receiver<()>) {
    let Some(store) = store else { return };
    // Small loads are over by then.
    let mut pause = REST;
    while stop.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
        let start = Instant::now();
        if syncfs(&store).is_err() {
            return;
        }
        // Nobody makes files while the journal is written: where that takes long, it shall be seldom.
        pause = REST.max(start.elapsed() * 4);
    }
}

/// Least time between two such flushes.
const REST: Duration = Duration::from_millis(30);

/// Give directories that a layer has but doesn't describe the attributes of the same directory in the nearest lower layer:
/// a layer with `tmp/x` and no `tmp/` must not turn `/tmp` into a private directory. Without one they are 0755.
///
/// `lower` is nearest first.
pub fn settle_implied(root: impl AsFd, implied: &[Vec<u8>], lower: &[OwnedFd]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for path in implied {
        let fail = |e| failed("set the attributes of", path, e);
        let dir = openat2(&root, path, flags, Mode::empty(), IN_ROOT).map_err(fail)?;
        let model = lower.iter().find_map(|l| openat2(l, path, flags, Mode::empty(), IN_ROOT).ok());
        let Some(model) = model else {
            fchmod(&dir, Mode::from_raw_mode(0o755)).map_err(fail)?;
            continue;
        };
        let stat = fstat(&model).map_err(fail)?;
        fchown(&dir, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))).map_err(fail)?;
        fchmod(&dir, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(fail)?;
        let mut names = Vec::with_capacity(64 << 10);
        flistxattr(&model, rustix::buffer::spare_capacity(&mut names)).map_err(fail)?;
        for name in names.split(|b| *b == 0).filter(|n| !n.is_empty() && !n.starts_with(b"trusted.overlay."))
        {
            let mut value = Vec::with_capacity(64 << 10);
            fgetxattr(&model, name, rustix::buffer::spare_capacity(&mut value)).map_err(fail)?;
            fsetxattr(&dir, name, &value, XattrFlags::empty()).map_err(fail)?;
        }
        let time = |sec, nsec: u64| Timespec { tv_sec: sec, tv_nsec: nsec as _ };
        let times = Timestamps {
            last_access: time(stat.st_atime as _, stat.st_atime_nsec as _),
            last_modification: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
        };
        futimens(&dir, &times).map_err(fail)?;
    }
    Ok(())
}

impl Blob {
    /// The whole blob in memory, if it is not longer than `max` bytes.
    pub fn read(&self, name: &str, max: u64) -> Result<Vec<u8>> {
        if self.size > max {
            return invalid(format!("'{name}' is longer than {max} bytes"));
        }
        let mut bytes = vec![0; self.size as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*self.file, &mut bytes, self.offset)
            .map_err(io(format!("read '{name}'")))?;
        Ok(bytes)
    }
}
