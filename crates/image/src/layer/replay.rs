//! The tar stream of an unpacked layer, made again bit by bit from its frame ([`super::record`]) and its tree; at the end its digest is
//! checked against the layer's.

use super::record::{HEAD, LITERAL};
use super::tar::show;
use crate::digest::Digest;
use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

/// The stream. Reading it fails where the tree is not what was unpacked: at the latest at the end, which is only reached by a stream
/// whose digest is right.
pub struct TarStream {
    frame: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    tree: OwnedFd,
    /// What later entries replaced.
    lost: Option<OwnedFd>,
    /// The directory of the file before: the next one is often beside it.
    parent: Option<(Vec<u8>, OwnedFd)>,
    part: Part,
    files: u32,
    size: u64,
    hash: Sha256,
    diff_id: Digest,
}

enum Part {
    /// So many plain bytes of the frame.
    Plain(usize),
    /// Ranges of a file: offset and length.
    Content {
        file: File,
        path: Vec<u8>,
        ranges: VecDeque<(u64, u64)>,
    },
    End,
}

/// More extents than any layer is let in with.
const MAX_EXTENTS: u32 = 1 << 24;

impl TarStream {
    /// `layer` is the directory that has `frame.zst`, `diff` and perhaps `lost`.
    pub fn open(layer: &OwnedFd, diff_id: Digest) -> io::Result<TarStream> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = |name| openat(layer, name, flags | OFlags::DIRECTORY, Mode::empty());
        let frame = match openat(layer, "frame.zst", flags, Mode::empty()) {
            Err(Errno::NOENT) => return Err(io::Error::other("what its tar stream was is not recorded")),
            other => File::from(other?),
        };
        let mut frame = BufReader::with_capacity(LITERAL, zstd::stream::read::Decoder::new(frame)?);
        let mut head = [0; HEAD.len()];
        frame.read_exact(&mut head)?;
        if head != HEAD {
            return Err(io::Error::other("its frame is of an unknown version"));
        }
        let lost = match dir("lost") {
            Err(Errno::NOENT) => None,
            other => Some(other?),
        };
        Ok(TarStream {
            frame,
            tree: dir("diff")?,
            lost,
            parent: None,
            part: Part::Plain(0),
            files: 0,
            size: 0,
            hash: Sha256::new(),
            diff_id,
        })
    }

    /// Go on to the next record.
    fn next(&mut self) -> io::Result<()> {
        let mut tag = [0];
        self.frame.read_exact(&mut tag)?;
        self.part = match &tag {
            b"b" => Part::Plain(u32::from_le_bytes(self.array()?) as usize),
            b"f" => {
                let length = u64::from_le_bytes(self.array()?);
                let path = self.path()?;
                let file = self.file(&path)?;
                let now = file.metadata()?.len();
                if now != length {
                    return Err(io::Error::other(format!(
                        "'{}' is of {now} bytes, not {length}",
                        show(&path)
                    )));
                }
                Part::Content { file, path, ranges: [(0, length)].into() }
            }
            b"s" => {
                let path = self.path()?;
                let count = u32::from_le_bytes(self.array()?);
                if count > MAX_EXTENTS {
                    return Err(damaged());
                }
                let mut ranges = VecDeque::new();
                for _ in 0..count {
                    ranges.push_back((u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?)));
                }
                Part::Content { file: self.file(&path)?, path, ranges }
            }
            b"e" => {
                let length = u64::from_le_bytes(self.array()?);
                let got = Digest::finish(std::mem::take(&mut self.hash));
                if length != self.size || got != self.diff_id {
                    let changed =
                        format!("its files are not those that were unpacked: digest mismatch: got {got}");
                    return Err(io::Error::other(changed));
                }
                Part::End
            }
            _ => return Err(damaged()),
        };
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.frame.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn path(&mut self) -> io::Result<Vec<u8>> {
        let mut path = vec![0; u16::from_le_bytes(self.array()?).into()];
        self.frame.read_exact(&mut path)?;
        Ok(path)
    }

    /// Open the next file of the tree: nothing outside of it, and nothing that blocks.
    fn file(&mut self, path: &[u8]) -> io::Result<File> {
        let number = self.files;
        self.files += 1;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Some(lost) = &self.lost {
            match openat(lost, number.to_string(), flags, Mode::empty()) {
                Err(Errno::NOENT) => {}
                other => return regular(other?.into(), path),
            }
        }
        let (parent, name) = super::dirs::split(path);
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let missing =
            |e: Errno| io::Error::other(format!("'{}': {}", show(path), crate::error::words(&e.into())));
        let file = match &self.parent {
            _ if parent.is_empty() => openat2(&self.tree, name, flags, Mode::empty(), resolve),
            Some((known, dir)) if known == parent => openat2(dir, name, flags, Mode::empty(), resolve),
            _ => {
                let dir_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = openat2(&self.tree, parent, dir_flags, Mode::empty(), resolve).map_err(missing)?;
                let file = openat2(&dir, name, flags, Mode::empty(), resolve);
                self.parent = Some((parent.to_vec(), dir));
                file
            }
        };
        regular(file.map_err(missing)?.into(), path)
    }
}

fn regular(file: File, path: &[u8]) -> io::Result<File> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("'{}' is not a file any more", show(path))));
    }
    Ok(file)
}

fn damaged() -> io::Error {
    io::Error::other("its frame is damaged")
}

impl Read for TarStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let n = loop {
            match &mut self.part {
                Part::End => return Ok(0),
                Part::Plain(0) => self.next()?,
                Part::Plain(left) => {
                    let bytes = self.frame.fill_buf()?;
                    let n = bytes.len().min(*left).min(buffer.len());
                    if n == 0 {
                        return Err(damaged());
                    }
                    buffer[..n].copy_from_slice(&bytes[..n]);
                    self.frame.consume(n);
                    *left -= n;
                    break n;
                }
                Part::Content { file, path, ranges } => {
                    while ranges.front().is_some_and(|range| range.1 == 0) {
                        ranges.pop_front();
                    }
                    let Some((offset, length)) = ranges.front_mut() else {
                        self.part = Part::Plain(0);
                        continue;
                    };
                    let want = usize::try_from(*length).unwrap_or(usize::MAX).min(buffer.len());
                    let n = file.read_at(&mut buffer[..want], *offset)?;
                    if n == 0 {
                        return Err(io::Error::other(format!("'{}' is shorter than it was", show(path))));
                    }
                    *offset += n as u64;
                    *length -= n as u64;
                    break n;
                }
            }
        };
        self.hash.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}
