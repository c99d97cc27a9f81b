//! Compression of layers and archives: known by the first bytes, never by the name.

use std::io::{self, BufRead, Read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstd,
}

/// Bytes that [`Compression::detect`] wants to see.
pub const MAGIC: usize = 6;

impl Compression {
    /// By the first bytes; formats that we can't read are named.
    pub fn detect(first: &[u8]) -> Result<Compression, &'static str> {
        match first {
            [0x1f, 0x8b, 8, ..] => Ok(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Compression::Zstd),
            // A skippable frame may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Compression::Zstd),
            [b'B', b'Z', b'h', ..] => Err("bzip2 compression is not supported"),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Err("xz compression is not supported"),
            _ => Ok(Compression::Plain),
        }
    }

    /// The decompressed bytes. Concatenated gzip members and zstd frames are read to the end.
    pub fn reader<'a, R: BufRead + 'a>(self, input: R) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::Plain => Box::new(input),
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            // zstd itself refuses windows above 128 MiB.
            Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        })
    }
}
