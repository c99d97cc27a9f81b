//! One layer as two threads: this one unpacks, the other reads, decompresses and hashes a few chunks ahead.

use super::compress::{Compression, MAGIC};
use super::feed::Tail;
use super::record::Recorder;
use super::tar::Stream;
use super::unpack::{Unpacked, unpack};
use super::{Done, Job, Source};
use crate::digest::Digest;
use crate::error::{Result, invalid, io};
use crate::limits::Limits;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self as stdio, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// Bytes that travel from thread to thread at once, and how many of them may be under way.
const CHUNK: usize = 256 << 10;
const AHEAD: usize = 8;

type Chunk = stdio::Result<Vec<u8>>;

/// Unpack one layer; `read` counts the bytes read of its blob.
pub fn unpack_one(job: &Job, limits: &Limits, umask: u32, read: &AtomicU64) -> Result<Done> {
    let (chunks, receiver) = sync_channel::<Chunk>(AHEAD);
    let (used, empty) = channel::<Vec<u8>>();
    let limit = room(job, limits)?;
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("layer".into())
            .spawn_scoped(scope, || {
                Pump { chunks, empty, read, limit, hash: Sha256::new(), size: 0 }.run(job)
            })
            .map_err(io("start a thread"))?;
        let mut stream = ChunkStream { receiver, used, chunk: Vec::new(), at: 0, failed: false };
        let unpacked = match &job.layer {
            Some(layer) => unpack_recorded(&mut stream, layer, limits, umask),
            None => Ok(Unpacked::default()),
        };
        // What comes after the end of the archive belongs to the digest, too.
        if unpacked.is_ok() {
            stream.drain();
        }
        let failed = stream.failed;
        drop(stream);
        let read = reader.join().unwrap_or_else(|_| invalid("the reader of the layer panicked"));
        match (unpacked, read) {
            (Ok(unpacked), Ok((tar_size, diff_id))) => {
                Ok(Done { unpacked, tar_size, diff_id: diff_id.hex().into() })
            }
            // A failed read is seen by the unpacker, too, which knows the entry; a plain mismatch of digests isn't.
            (Err(e), Ok(_)) => Err(e),
            (Err(e), Err(_)) if failed => Err(e),
            (_, Err(e)) => Err(e),
        }
    })
}

/// Unpack into `layer`, and leave there the record by which the stream can be made again.
fn unpack_recorded(
    stream: &mut ChunkStream,
    layer: &OwnedFd,
    limits: &Limits,
    umask: u32,
) -> Result<Unpacked> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let frame = openat(layer, "frame.zst", flags, Mode::RUSR | Mode::WUSR);
    let frame = frame.map_err(io("write the frame of a layer"))?;
    let mut recorder = Recorder::new(stream, frame.into()).map_err(io("write the frame of a layer"))?;
    let unpacked = unpack(&mut recorder, layer, limits, umask)?;
    // An error of the stream itself is the reader's to tell.
    recorder.finish().map_err(io("write the frame of a layer"))?;
    Ok(unpacked)
}

/// How long the layer's tar stream may get: a bomb ends before it has filled the disk.
fn room(job: &Job, limits: &Limits) -> Result<u64> {
    let Some(layer) = &job.layer else { return Ok(limits.layer_bytes) };
    let stat = rustix::fs::fstatvfs(layer).map_err(io("stat the store"))?;
    Ok(limits.layer_bytes.min(stat.f_bavail.saturating_mul(stat.f_frsize)))
}

/// The reading thread.
struct Pump<'a> {
    chunks: SyncSender<Chunk>,
    empty: Receiver<Vec<u8>>,
    read: &'a AtomicU64,
    limit: u64,
    hash: Sha256,
    size: u64,
}

impl Pump<'_> {
    /// Read the blob to its end and check its digests. Returns the bytes of the tar stream, and its digest.
    fn run(mut self, job: &Job) -> Result<(u64, Digest)> {
        let mut blob = BlobReader::new(&job.source, self.read, job.blob_digest.is_some(), job.keep.as_ref());
        let mut magic = [0; MAGIC];
        let n = fill(&mut blob, &mut magic).map_err(io("read the archive"))?;
        let compression = Compression::detect(&magic[..n]);
        if compression == Ok(Compression::Plain) {
            // The blob is the tar stream: once is enough.
            blob.hash = None;
        }
        let mut buffered = BufReader::with_capacity(CHUNK, (&magic[..n]).chain(&mut blob));
        let result = match compression {
            Err(cause) => Err(stdio::Error::other(cause)),
            Ok(kind) => kind.reader(&mut buffered).and_then(|mut decoder| self.copy(&mut decoder)),
        };
        drop(buffered);
        match result {
            Ok(true) => {}
            // The unpacker has gone, for reasons that it will tell.
            Ok(false) => return Ok((self.size, Digest::finish(self.hash))),
            Err(e) => {
                let message = crate::error::words(&e);
                let _ = self.chunks.send(Err(e));
                return invalid(message);
            }
        }
        let (size, diff_id) = (self.size, Digest::finish(self.hash));
        drop(self.chunks);
        check(job, blob, &diff_id)?;
        Ok((size, diff_id))
    }

    /// Send everything on. False when nobody wants it any more.
    fn copy(&mut self, input: &mut dyn Read) -> stdio::Result<bool> {
        let mut made = 0;
        loop {
            let mut chunk = match self.empty.try_recv() {
                Ok(chunk) => chunk,
                Err(_) if made <= AHEAD + 1 => {
                    made += 1;
                    vec![0; CHUNK]
                }
                Err(_) => match self.empty.recv() {
                    Ok(chunk) => chunk,
                    Err(_) => return Ok(false),
                },
            };
            chunk.resize(CHUNK, 0);
            let n = fill(input, &mut chunk)?;
            if n == 0 {
                return Ok(true);
            }
            chunk.truncate(n);
            self.size += n as u64;
            if self.size > self.limit {
                return Err(stdio::Error::other(format!(
                    "no space left for more than {} bytes unpacked",
                    self.limit
                )));
            }
            self.hash.update(&chunk);
            if self.chunks.send(Ok(chunk)).is_err() {
                return Ok(false);
            }
        }
    }
}

/// Read until the buffer is full or the input at its end.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> stdio::Result<usize> {
    let mut n = 0;
    while n < buffer.len() {
        match input.read(&mut buffer[n..]) {
            Ok(0) => break,
            Ok(got) => n += got,
            Err(e) if e.kind() == stdio::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}

/// Both digests of what was read.
fn check(job: &Job, mut blob: BlobReader, diff_id: &Digest) -> Result<()> {
    if let Some(expected) = &job.blob_digest {
        stdio::copy(&mut blob, &mut stdio::sink()).map_err(io("read the archive"))?;
        let got = blob.hash.map_or_else(|| diff_id.clone(), Digest::finish);
        if got != *expected {
            return invalid(format!("digest mismatch of blob {expected}: got {got}"));
        }
    }
    match &job.diff_id {
        Some(expected) if expected != diff_id => invalid(format!("digest mismatch: got {diff_id}")),
        _ => Ok(()),
    }
}

/// Reads a blob by position, so that several threads can read one file, or from a pipe; counts, hashes if asked, and keeps a copy.
struct BlobReader<'a> {
    source: &'a Source,
    tail: Tail<'a>,
    at: u64,
    read: &'a AtomicU64,
    hash: Option<Sha256>,
    keep: Option<&'a File>,
}

impl<'a> BlobReader<'a> {
    fn new(source: &'a Source, read: &'a AtomicU64, hash: bool, keep: Option<&'a File>) -> Self {
        let feed = match source {
            Source::Growing { feed, .. } => Some(feed.as_fd()),
            _ => None,
        };
        BlobReader { source, tail: Tail::new(feed), at: 0, read, hash: hash.then(Sha256::new), keep }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> stdio::Result<usize> {
        let left = self.source.size().map_or(u64::MAX, |size| size - self.at);
        let want = left.min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let n = match self.source {
            Source::Blob(blob) => blob.file.read_at(&mut buffer[..want], blob.offset + self.at)?,
            Source::Growing { blob, .. } => {
                let there = self.tail.beyond(self.at)? - self.at;
                let want = want.min(usize::try_from(there).unwrap_or(want));
                blob.file.read_at(&mut buffer[..want], blob.offset + self.at)?
            }
            Source::Pipe { pipe, .. } => (&mut &*pipe).read(&mut buffer[..want])?,
        };
        if n == 0 && self.source.size().is_none() {
            return Ok(0);
        }
        if n == 0 {
            // Somebody cut the file while we read it, or the other end of the pipe gave up.
            return Err(stdio::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..n]);
        }
        if let Some(mut keep) = self.keep {
            keep.write_all(&buffer[..n])?;
        }
        self.at += n as u64;
        self.read.store(self.at, Ordering::Relaxed);
        Ok(n)
    }
}

/// The receiving end as a stream.
struct ChunkStream {
    receiver: Receiver<Chunk>,
    used: Sender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    /// True once the reader has sent an error.
    failed: bool,
}

impl ChunkStream {
    fn drain(&mut self) {
        while let Ok(Ok(chunk)) = self.receiver.recv() {
            let _ = self.used.send(chunk);
        }
    }
}

impl Read for ChunkStream {
    fn read(&mut self, buffer: &mut [u8]) -> stdio::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for ChunkStream {
    fn fill_buf(&mut self) -> stdio::Result<&[u8]> {
        if self.at == self.chunk.len() {
            let old = std::mem::take(&mut self.chunk);
            if !old.is_empty() {
                let _ = self.used.send(old);
            }
            self.at = 0;
            // A closed channel is the end of the stream.
            if let Ok(chunk) = self.receiver.recv() {
                self.chunk = chunk.inspect_err(|_| self.failed = true)?;
            }
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
    }
}

impl Stream for ChunkStream {}

impl<S: Stream + ?Sized> Stream for &mut S {
    fn content(&mut self, path: &[u8], length: u64, extents: Option<&[(u64, u64)]>) -> Option<u32> {
        (**self).content(path, length, extents)
    }

    fn pass(&mut self, n: usize) {
        (**self).pass(n);
    }

    fn skip(&mut self, n: u64) -> stdio::Result<()> {
        (**self).skip(n)
    }
}
