//! Blobs and layers as streams: what `save` and `push` read. What is read is checked at its end, always.

use super::{DIR, Store};
use crate::digest::Digest;
use crate::error::{Error, Result, io};
use crate::layer::Blob;
use crate::layer::compress::{Compression, MAGIC};
use crate::layer::replay::TarStream;
use rustix::fs::{Mode, OFlags, openat};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self as stdio, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A blob of the store. Reading it to the end fails where its digest is wrong.
#[derive(Debug)]
pub struct BlobStream {
    file: File,
    /// Bytes.
    pub size: u64,
    hash: Option<Sha256>,
    digest: Digest,
}

impl Store {
    /// A config, a manifest, or a layer as it was pulled or loaded, compressed. None: it isn't kept. Then the layer's tar stream
    /// ([`Store::layer_tar`]) can be compressed anew, with another digest.
    pub fn blob(&self, digest: &Digest) -> Result<Option<BlobStream>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let what = format!("open blob {digest}");
        let file = match openat(&self.fd, format!("blobs/sha256/{}", digest.hex()), flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            other => File::from(other.map_err(io(&*what))?),
        };
        let size = file.metadata().map_err(io(what))?.len();
        Ok(Some(BlobStream { file, size, hash: Some(Sha256::new()), digest: digest.clone() }))
    }

    /// A blob that is kept, to be read by position by who checks it. None: it isn't kept.
    pub fn blob_file(&self, digest: &Digest) -> Result<Option<Blob>> {
        let blob = self.blob(digest)?;
        Ok(blob.map(|b| Blob { file: Arc::new(b.file), offset: 0, size: b.size }))
    }

    /// The bytes of a small blob: a config or a manifest.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let fail = || io(format!("read blob {digest}"));
        let Some(mut blob) = self.blob(digest)? else {
            return Err(Error::Invalid(format!("blob {digest} is missing")));
        };
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(fail())?;
        Ok(bytes)
    }

    /// The tar stream of a layer, bit by bit as it was, made from its tree. `chain` is 64 hexadecimal digits.
    pub fn layer_tar(&self, chain: &str) -> Result<TarStream> {
        let fail = |e: stdio::Error| io(format!("read layer sha256:{chain}"))(e);
        let record = self.layer_record(chain);
        let record = record.ok_or_else(|| Error::Invalid(format!("layer sha256:{chain} is missing")))?;
        let diff_id = Digest::parse(&format!("sha256:{}", record.diff_id))?;
        let layer = openat(&self.fd, format!("layers/{chain}"), DIR, Mode::empty());
        TarStream::open(&layer.map_err(|e| fail(e.into()))?, diff_id).map_err(fail)
    }
}

impl BlobStream {
    /// By its first bytes; None where they can't be read.
    pub fn compression(&self) -> Option<Compression> {
        let mut magic = [0; MAGIC];
        let n = self.file.read_at(&mut magic, 0).ok()?;
        Compression::detect(&magic[..n]).ok()
    }
}

impl Read for BlobStream {
    fn read(&mut self, buffer: &mut [u8]) -> stdio::Result<usize> {
        let n = self.file.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..n]);
        }
        if n == 0
            && !buffer.is_empty()
            && let Some(hash) = self.hash.take()
            && Digest::finish(hash) != self.digest
        {
            return Err(stdio::Error::other(format!("blob {} is damaged: digest mismatch", self.digest)));
        }
        Ok(n)
    }
}
