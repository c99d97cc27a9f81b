//! Where the members of an image archive are: in a tar file, read by position, or in a directory.

use crate::error::{Error, Result, invalid, io, words};
use crate::layer::Blob;
use crate::layer::compress::{Compression, MAGIC};
use crate::layer::dirs::{clean, split};
use crate::layer::tar::{Kind, Stream, TarReader, show};
use crate::limits::Limits;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self as stdio, BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// What to load from.
pub enum Input<'a> {
    /// A file, a directory, or a FIFO.
    Path(&'a Path),
    /// Standard input: read by position if it is a regular file, else spooled.
    Stdin,
    /// Anything else that can be read; spooled.
    Reader(&'a mut dyn Read),
}

impl Input<'_> {
    /// For messages: "cannot load …".
    pub fn name(&self) -> String {
        match self {
            Input::Path(path) => format!("'{}'", show(path.as_os_str().as_encoded_bytes())),
            Input::Stdin => "standard input".into(),
            Input::Reader(_) => "the archive".into(),
        }
    }
}

/// An archive that can be read in any order.
#[derive(Debug)]
pub enum Source {
    Tar {
        file: Arc<File>,
        members: HashMap<String, Place>,
        /// The stream ended without the mark of its end.
        unfinished: bool,
    },
    Dir(OwnedFd),
}

#[derive(Debug, Clone)]
pub enum Place {
    Data {
        offset: u64,
        size: u64,
    },
    /// A symbolic or hard link, to a cleaned path.
    Link(String),
}

/// Links in a row that are followed.
const MAX_LINKS: usize = 16;
/// Members of the outer archive: a few for each layer and image.
const MAX_MEMBERS: u64 = 200_000;

impl Source {
    /// Open the input. What can't be read by position is copied to a nameless file in `spool`, decompressed.
    pub fn open(input: Input, spool: BorrowedFd, limits: &Limits) -> Result<Source> {
        let file = match input {
            Input::Path(path) => {
                let what = || format!("open '{}'", show(path.as_os_str().as_encoded_bytes()));
                let file = File::open(path).map_err(io(what()))?;
                if file.metadata().map_err(io(what()))?.is_dir() {
                    return Ok(Source::Dir(file.into()));
                }
                file
            }
            Input::Stdin => {
                let stdin = stdio::stdin();
                let fd = stdin.as_fd().try_clone_to_owned().map_err(io("read standard input"))?;
                File::from(fd)
            }
            Input::Reader(reader) => return Source::spool(reader, spool, limits),
        };
        let meta = file.metadata().map_err(io("stat the archive"))?;
        let mut file = file;
        let at_start = meta.is_file() && file.stream_position().is_ok_and(|at| at == 0);
        if !at_start {
            return Source::spool(&mut file, spool, limits);
        }
        let mut magic = [0; MAGIC];
        let n = file.read_at(&mut magic, 0).map_err(io("read it"))?;
        match Compression::detect(&magic[..n]) {
            Ok(Compression::Plain) => Source::index(file, limits),
            Ok(_) => Source::spool(&mut file, spool, limits),
            Err(cause) => invalid(cause),
        }
    }

    fn spool(reader: &mut dyn Read, dir: BorrowedFd, limits: &Limits) -> Result<Source> {
        let mut buffered = BufReader::with_capacity(256 << 10, reader);
        let magic = buffered.fill_buf().map_err(io("read it"))?;
        let compression = Compression::detect(magic).map_err(|cause| Error::Invalid(cause.into()))?;
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, ".", flags, Mode::RUSR | Mode::WUSR)
            .map_err(io("make a temporary file"))?;
        let mut file = File::from(fd);
        let stat = rustix::fs::fstatvfs(&file).map_err(io("stat the store"))?;
        let room = limits.spool_bytes.min(stat.f_bavail.saturating_mul(stat.f_frsize));
        let mut decoder = compression.reader(&mut buffered).map_err(io("decompress it"))?;
        let mut buffer = vec![0; 256 << 10];
        let mut size = 0;
        loop {
            let n = match decoder.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == stdio::ErrorKind::Interrupted => continue,
                Err(e) if e.kind() == stdio::ErrorKind::UnexpectedEof => {
                    return invalid("archive is truncated");
                }
                Err(e) => return invalid(format!("it cannot be read: {}", words(&e))),
            };
            size += n as u64;
            if size > room {
                return invalid(format!("no room for an archive of more than {room} bytes"));
            }
            file.write_all(&buffer[..n]).map_err(io("write a temporary file"))?;
        }
        Source::index(file, limits)
    }

    /// Note where each member lies. The last one of a name counts.
    fn index(file: File, limits: &Limits) -> Result<Source> {
        let size = file.metadata().map_err(io("stat the archive"))?.len();
        let limits = Limits { entries: limits.entries.min(MAX_MEMBERS), ..limits.clone() };
        let reader = PositionReader { file: &file, at: 0, size, buffer: Vec::new(), used: 0 };
        let mut tar = TarReader::new(reader, &limits);
        let mut members = HashMap::new();
        while let Some(member) = tar.member()? {
            let Some(path) = clean(&member.path).filter(|p| !p.is_empty()) else {
                if member.kind == Kind::Directory && !member.path.starts_with(b"..") {
                    continue;
                }
                return invalid(format!("entry '{}' climbs out of the archive", show(&member.path)));
            };
            let target = match member.kind {
                Kind::File if member.sparse.is_none() => {
                    if member.offset + member.size > size {
                        return invalid(format!("archive is truncated in entry '{}'", show(&member.path)));
                    }
                    let place = Place::Data { offset: member.offset, size: member.size };
                    members.insert(String::from_utf8_lossy(&path).into_owned(), place);
                    continue;
                }
                Kind::Symlink if member.link.first() != Some(&b'/') => {
                    clean(&[split(&path).0, b"/", &member.link].concat())
                }
                Kind::HardLink => clean(&member.link),
                Kind::Directory => continue,
                _ => {
                    return invalid(format!(
                        "entry '{}' is neither a file nor a link to one",
                        show(&member.path)
                    ));
                }
            };
            let Some(target) = target else {
                return invalid(format!("link '{}' climbs out of the archive", show(&member.path)));
            };
            let target = String::from_utf8_lossy(&target).into_owned();
            members.insert(String::from_utf8_lossy(&path).into_owned(), Place::Link(target));
        }
        let unfinished = !tar.finished;
        Ok(Source::Tar { file: Arc::new(file), members, unfinished })
    }

    /// The member of this name; None if there is none.
    pub fn find(&self, name: &str) -> Result<Option<Blob>> {
        let Some(path) = clean(name.as_bytes()).filter(|p| !p.is_empty()) else {
            return invalid(format!("'{}' is not the name of a member", show(name.as_bytes())));
        };
        let path = String::from_utf8_lossy(&path).into_owned();
        match self {
            Source::Tar { file, members, .. } => {
                let mut place = members.get(&path);
                for _ in 0..MAX_LINKS {
                    match place {
                        None => return Ok(None),
                        Some(Place::Data { offset, size }) => {
                            return Ok(Some(Blob { file: file.clone(), offset: *offset, size: *size }));
                        }
                        Some(Place::Link(target)) => place = members.get(target),
                    }
                }
                invalid(format!("'{}' is a loop of links", show(path.as_bytes())))
            }
            Source::Dir(dir) => {
                // Nothing outside of the directory, nothing that blocks or has effects when opened (CVE-2024-9676).
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
                let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
                let file = match openat2(dir, &path, flags, Mode::empty(), resolve) {
                    Ok(fd) => File::from(fd),
                    Err(rustix::io::Errno::NOENT) => return Ok(None),
                    Err(rustix::io::Errno::XDEV) => {
                        return invalid(format!("'{path}' leads out of the directory"));
                    }
                    Err(e) => return Err(io(format!("open '{path}'"))(e)),
                };
                let meta = file.metadata().map_err(io(format!("stat '{path}'")))?;
                if !meta.is_file() {
                    return invalid(format!("'{path}' is not a regular file"));
                }
                Ok(Some(Blob { file: Arc::new(file), offset: 0, size: meta.len() }))
            }
        }
    }

    /// Like [`Self::find`], where it must be there.
    pub fn need(&self, name: &str) -> Result<Blob> {
        match self.find(name)? {
            Some(blob) => Ok(blob),
            None if self.is_unfinished() => {
                invalid(format!("archive is truncated: '{}' is missing", show(name.as_bytes())))
            }
            None => invalid(format!("'{}' is missing", show(name.as_bytes()))),
        }
    }

    pub fn is_unfinished(&self) -> bool {
        matches!(self, Source::Tar { unfinished: true, .. })
    }
}

/// Reads a file by position and skips without reading.
struct PositionReader<'a> {
    file: &'a File,
    /// Where the buffer ends in the file.
    at: u64,
    size: u64,
    buffer: Vec<u8>,
    used: usize,
}

/// Headers and small documents fit; what lies between them is skipped.
const WINDOW: usize = 4096;

impl Read for PositionReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> stdio::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for PositionReader<'_> {
    fn fill_buf(&mut self) -> stdio::Result<&[u8]> {
        if self.used == self.buffer.len() {
            self.buffer.resize(WINDOW, 0);
            let n = self.file.read_at(&mut self.buffer, self.at)?;
            self.buffer.truncate(n);
            self.at += n as u64;
            self.used = 0;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }
}

impl Stream for PositionReader<'_> {
    fn skip(&mut self, n: u64) -> stdio::Result<()> {
        let buffered = (self.buffer.len() - self.used) as u64;
        if n <= buffered {
            self.used += n as usize;
            return Ok(());
        }
        let to = self.at.checked_add(n - buffered).filter(|to| *to <= self.size);
        let Some(to) = to else { return Err(stdio::ErrorKind::UnexpectedEof.into()) };
        (self.at, self.used) = (to, 0);
        self.buffer.clear();
        Ok(())
    }
}
