//! The frame of a layer: what its tar stream is besides the contents of its files. Written while the layer is unpacked, and read by
//! [`super::replay`], which makes the very same stream again from the frame and the unpacked tree.
//!
//! ```text
//! "corten frame 1\n", then records, compressed by zstd:
//! b <length u32> bytes                                   headers, padding, whatever comes after the end
//! f <length u64> <length of path u16> path               the content of a file of the tree
//! s <length of path u16> path <count u32> (<offset u64> <length u64>)…   of one with holes
//! e <length u64>                                         the end: bytes of the whole stream
//! ```
//! Numbers are little-endian. Files are numbered in this order; what a later entry of the layer replaced isn't in the tree but in
//! `lost/<number>` beside it.

use super::tar::Stream;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};

pub const HEAD: &[u8] = b"corten frame 1\n";

/// Longest run of plain bytes in one record.
pub const LITERAL: usize = 64 << 10;

/// A stream that writes down what is read from it, but for what is marked as the content of a file.
pub struct Recorder<R> {
    input: R,
    out: zstd::stream::write::Encoder<'static, File>,
    literal: Vec<u8>,
    files: u32,
    size: u64,
    /// What is passed is the content of a file that was told of.
    told: bool,
    failed: Option<io::Error>,
}

impl<R: Stream> Recorder<R> {
    /// `out` is the empty file of the frame.
    pub fn new(input: R, out: File) -> io::Result<Recorder<R>> {
        let mut out = zstd::stream::write::Encoder::new(out, 1)?;
        out.write_all(HEAD)?;
        let literal = Vec::with_capacity(LITERAL);
        Ok(Recorder { input, out, literal, files: 0, size: 0, told: false, failed: None })
    }

    /// Record the rest of the stream, and the end. An error of the stream is the stream's end.
    pub fn finish(mut self) -> io::Result<()> {
        while let Ok(n @ 1..) = self.input.fill_buf().map(<[u8]>::len) {
            self.consume(n);
        }
        self.flush();
        let size = self.size;
        self.write(&[b"e", &size.to_le_bytes()]);
        match self.failed {
            Some(e) => Err(e),
            None => self.out.finish().map(drop),
        }
    }

    fn flush(&mut self) {
        for part in std::mem::take(&mut self.literal).chunks(LITERAL) {
            self.write(&[b"b", &(part.len() as u32).to_le_bytes(), part]);
        }
    }

    /// An error is kept for the end: [`BufRead::consume`] can't tell of it.
    fn write(&mut self, parts: &[&[u8]]) {
        for part in parts {
            if self.failed.is_none() {
                self.failed = self.out.write_all(part).err();
            }
        }
    }
}

impl<R: Stream> Stream for Recorder<R> {
    fn content(&mut self, path: &[u8], length: u64, extents: Option<&[(u64, u64)]>) -> Option<u32> {
        // A longer path could not be opened.
        let path_length = u16::try_from(path.len()).ok().filter(|n| *n < 4096);
        self.told = path_length.is_some();
        let path_length = path_length?.to_le_bytes();
        self.flush();
        match extents {
            None => self.write(&[b"f", &length.to_le_bytes(), &path_length, path]),
            Some(extents) => {
                self.write(&[b"s", &path_length, path, &(extents.len() as u32).to_le_bytes()]);
                for (offset, length) in extents {
                    self.write(&[&offset.to_le_bytes(), &length.to_le_bytes()]);
                }
            }
        }
        self.files += 1;
        Some(self.files - 1)
    }

    fn pass(&mut self, n: usize) {
        if !self.told {
            return self.consume(n);
        }
        self.size += n as u64;
        self.input.pass(n);
    }
}

impl<R: Stream> Read for Recorder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(buffer.len());
        buffer[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Stream> BufRead for Recorder<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        // What is consumed is in the buffer: this reads nothing.
        if let Ok(bytes) = self.input.fill_buf() {
            self.literal.extend_from_slice(&bytes[..n]);
        }
        self.size += n as u64;
        self.input.consume(n);
        if self.literal.len() >= LITERAL {
            self.flush();
        }
    }
}
