//! One layer as two threads: this one unpacks, the other reads, decompresses and hashes a few chunks ahead.

use super::compress::{Compression, MAGIC};
use super::tar::Stream;
use super::unpack::unpack;
use super::{Blob, Done, Job};
use crate::digest::Digest;
use crate::error::{Result, invalid, io};
use crate::limits::Limits;
use sha2::{Digest as _, Sha256};
use std::io::{self as stdio, BufRead, BufReader, Read};
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
    let root = job.root.try_clone().map_err(io("unpack a layer"))?;
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("layer".into())
            .spawn_scoped(scope, || {
                Pump { chunks, empty, read, limit, hash: Sha256::new(), size: 0 }.run(job)
            })
            .map_err(io("start a thread"))?;
        let mut stream = ChunkStream { receiver, used, chunk: Vec::new(), at: 0, failed: false };
        let unpacked = unpack(&mut stream, root, limits, umask);
        // What comes after the end of the archive belongs to the digest, too.
        if unpacked.is_ok() {
            stream.drain();
        }
        let failed = stream.failed;
        drop(stream);
        let read = reader.join().unwrap_or_else(|_| invalid("the reader of the layer panicked"));
        match (unpacked, read) {
            (Ok(unpacked), Ok(tar_size)) => Ok(Done { unpacked, tar_size }),
            // A failed read is seen by the unpacker, too, which knows the entry; a plain mismatch of digests isn't.
            (Err(e), Ok(_)) => Err(e),
            (Err(e), Err(_)) if failed => Err(e),
            (_, Err(e)) => Err(e),
        }
    })
}

/// How long the layer's tar stream may get: a bomb ends before it has filled the disk.
fn room(job: &Job, limits: &Limits) -> Result<u64> {
    let stat = rustix::fs::fstatvfs(&job.root).map_err(io("stat the store"))?;
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
    /// Read the blob to its end and check its digests. Returns the bytes of the tar stream.
    fn run(mut self, job: &Job) -> Result<u64> {
        let mut magic = [0; MAGIC];
        let n = job.blob.size.min(MAGIC as u64) as usize;
        job.blob.file.read_exact_at(&mut magic[..n], job.blob.offset).map_err(io("read the archive"))?;
        let compression = Compression::detect(&magic[..n]);
        let blob_hash = job.blob_digest.is_some() && compression != Ok(Compression::Plain);
        let mut blob = BlobReader::new(&job.blob, self.read, blob_hash);
        let result = match compression {
            Err(cause) => Err(stdio::Error::other(cause)),
            Ok(Compression::Plain) => self.copy(&mut blob),
            Ok(kind) => {
                let mut buffered = BufReader::with_capacity(CHUNK, &mut blob);
                kind.reader(&mut buffered).and_then(|mut decoder| self.copy(&mut decoder))
            }
        };
        match result {
            Ok(true) => {}
            // The unpacker has gone, for reasons that it will tell.
            Ok(false) => return Ok(self.size),
            Err(e) => {
                let message = crate::error::words(&e);
                let _ = self.chunks.send(Err(e));
                return invalid(message);
            }
        }
        let (size, diff_id) = (self.size, Digest::finish(self.hash));
        drop(self.chunks);
        if let Some(expected) = &job.blob_digest {
            let got = if blob_hash {
                stdio::copy(&mut blob, &mut stdio::sink()).map_err(io("read the archive"))?;
                Digest::finish(blob.hash.unwrap_or_default())
            } else {
                diff_id.clone()
            };
            if got != *expected {
                return invalid(format!("digest mismatch of blob {expected}: got {got}"));
            }
        }
        if diff_id != job.diff_id {
            return invalid(format!("digest mismatch: got {diff_id}"));
        }
        Ok(size)
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

/// Reads a blob by position, so that several threads can read one file; counts, and hashes if asked.
pub struct BlobReader<'a> {
    blob: &'a Blob,
    at: u64,
    read: &'a AtomicU64,
    hash: Option<Sha256>,
}

impl<'a> BlobReader<'a> {
    pub fn new(blob: &'a Blob, read: &'a AtomicU64, hash: bool) -> Self {
        BlobReader { blob, at: 0, read, hash: hash.then(Sha256::new) }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> stdio::Result<usize> {
        let want = (self.blob.size - self.at).min(buffer.len() as u64) as usize;
        if want == 0 {
            return Ok(0);
        }
        let n = self.blob.file.read_at(&mut buffer[..want], self.blob.offset + self.at)?;
        if n == 0 {
            // Somebody cut the file while we read it.
            return Err(stdio::ErrorKind::UnexpectedEof.into());
        }
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..n]);
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
impl<S: Stream + ?Sized> Stream for &mut S {}
