//! Reading a tar stream: ustar, GNU and PAX headers, sparse maps and xattrs, within bounds. It touches no file system.
//!
//! The `tar` crate supplies the layout of the headers. Its own iterator isn't used: it reads extended headers of any length
//! into memory, splits binary xattrs at line ends, and loses PAX sparse maps.

use super::pax::{self, Pax};
use crate::error::{Error, Result, invalid, words};
use crate::limits::Limits;
use std::io::{self, BufRead};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

/// A source of bytes that can pass over some without looking.
pub trait Stream: BufRead {
    /// Skip `n` bytes; fewer are left → `UnexpectedEof`.
    fn skip(&mut self, mut n: u64) -> io::Result<()> {
        while n > 0 {
            let have = self.fill_buf()?.len();
            if have == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = n.min(have as u64);
            self.consume(step as usize);
            n -= step;
        }
        Ok(())
    }

    /// The next `length` bytes that are [passed](Self::pass) are the content of the file at this path of the tree: all of it, or the
    /// extents (offset, length) that it has. Gives the number that the file gets in the record of the stream, if there is one.
    fn content(&mut self, _path: &[u8], _length: u64, _extents: Option<&[(u64, u64)]>) -> Option<u32> {
        None
    }

    /// Consume bytes that [`Self::content`] spoke of.
    fn pass(&mut self, n: usize) {
        self.consume(n);
    }
}

impl Stream for &[u8] {}

/// One member of the archive.
#[derive(Debug, Clone, Default)]
pub struct Member {
    pub kind: Kind,
    /// As the archive has it, not yet cleaned.
    pub path: Vec<u8>,
    /// Target of a symbolic or hard link.
    pub link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    /// Bytes of data that follow in the archive.
    pub size: u64,
    /// Where the data starts in the stream.
    pub offset: u64,
    /// Major and minor of a device.
    pub device: (u32, u32),
    /// Names and values as given, not yet judged.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub sparse: Option<Sparse>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    File,
    HardLink,
    Symlink,
    CharDevice,
    BlockDevice,
    Directory,
    Fifo,
}

/// A file with holes: extents (offset, length) in order, and the apparent size.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sparse {
    pub extents: Vec<(u64, u64)>,
    pub size: u64,
}

pub struct TarReader<'a, R> {
    input: R,
    limits: &'a Limits,
    /// Bytes taken from the stream so far.
    offset: u64,
    /// Bytes of the present member's data and padding not yet taken.
    data: u64,
    padding: u64,
    entries: u64,
    name: Vec<u8>,
    /// False when the stream ended without its two zero blocks.
    pub finished: bool,
}

const BLOCK: u64 = 512;

impl<'a, R: Stream> TarReader<'a, R> {
    pub fn new(input: R, limits: &'a Limits) -> Self {
        TarReader {
            input,
            limits,
            offset: 0,
            data: 0,
            padding: 0,
            entries: 0,
            name: Vec::new(),
            finished: false,
        }
    }

    /// The next member, or None at the end. What is left of the present one is skipped.
    pub fn member(&mut self) -> Result<Option<Member>> {
        let rest = self.data + self.padding;
        self.input.skip(rest).map_err(|e| self.failed(e))?;
        self.offset += rest;
        (self.data, self.padding) = (0, 0);
        let mut member = Member::default();
        let mut pax = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        loop {
            let Some(header) = self.header()? else {
                if long_path.is_some() || long_link.is_some() || !pax.is_empty() {
                    return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
                }
                return Ok(None);
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return invalid(format!("more than {} entries", self.limits.entries));
            }
            let own_name = header_path(&header);
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.extension(&header, "PAX header")?;
                    pax = Pax::parse(&bytes).map_err(|cause| self.bad(&own_name, &cause))?;
                }
                EntryType::XGlobalHeader => drop(self.extension(&header, "global PAX header")?),
                EntryType::GNULongName => long_path = Some(self.long_name(&header)?),
                EntryType::GNULongLink => long_link = Some(self.long_name(&header)?),
                kind => {
                    self.name = pax.path.take().or(long_path).unwrap_or(own_name);
                    member.path = self.name.clone();
                    member.link = pax.link.take().or(long_link).unwrap_or_else(|| header_link(&header));
                    self.fill(&mut member, &header, kind, pax)?;
                    return Ok(Some(member));
                }
            }
        }
    }

    /// The next bytes of the present member's data; empty at its end.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        // The borrow checker wants the error path apart from the returned slice.
        let have = match self.input.fill_buf() {
            Ok(bytes) => bytes.len(),
            Err(e) => return Err(self.failed(e)),
        };
        if have == 0 {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        let n = (have as u64).min(self.data) as usize;
        let bytes = self.input.fill_buf().map_err(|e| Error::Invalid(words(&e)))?;
        Ok(&bytes[..n])
    }

    /// See [`Stream::content`].
    pub fn content(&mut self, path: &[u8], length: u64, extents: Option<&[(u64, u64)]>) -> Option<u32> {
        self.input.content(path, length, extents)
    }

    /// Mark `n` bytes of [`Self::data`] as used.
    pub fn consume(&mut self, n: usize) {
        self.input.pass(n);
        self.data -= n as u64;
        self.offset += n as u64;
    }

    /// Interpret a header of a real member and what extends it.
    fn fill(&mut self, member: &mut Member, header: &Header, kind: EntryType, mut pax: Pax) -> Result<()> {
        let old = header.as_old();
        member.kind = match kind {
            EntryType::Link => Kind::HardLink,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Char => Kind::CharDevice,
            EntryType::Block => Kind::BlockDevice,
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            // In the oldest archives a directory is a file whose name ends in a slash.
            EntryType::Regular if member.path.last() == Some(&b'/') => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            other => {
                let cause = format!("entry type '{}' is unknown", other.as_byte().escape_ascii());
                return Err(self.bad(&member.path, &cause));
            }
        };
        let number = |field: &[u8], what: &str| {
            pax::number(field)
                .ok_or_else(|| Error::Invalid(format!("entry '{}': bad {what}", show(&member.path))))
        };
        member.mode = number(&old.mode, "mode")? as u32 & 0o7777;
        let id = |pax: Option<u64>, field: &[u8], what| {
            let id = match pax {
                Some(id) => id as i128,
                None => number(field, what)?,
            };
            // u32::MAX means "leave the owner alone" to chown(2).
            u32::try_from(id)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| Error::Invalid(format!("entry '{}': {what} out of range", show(&member.path))))
        };
        member.uid = id(pax.uid, &old.uid, "uid")?;
        member.gid = id(pax.gid, &old.gid, "gid")?;
        member.mtime = match pax.mtime {
            Some(time) => time,
            None => (i64::try_from(number(&old.mtime, "time")?).unwrap_or(0), 0),
        };
        let mut size = match pax.size {
            Some(size) => size,
            None => u64::try_from(number(&old.size, "size")?).unwrap_or(u64::MAX),
        };
        if matches!(member.kind, Kind::CharDevice | Kind::BlockDevice) {
            let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
                (Some(h), _) => (&h.dev_major, &h.dev_minor),
                (_, Some(h)) => (&h.dev_major, &h.dev_minor),
                _ => return Err(self.bad(&member.path, "device without numbers")),
            };
            let part = |field: &[u8]| u32::try_from(number(field, "device number").ok()?).ok();
            // Linux has 12 bits of major and 20 of minor.
            match (part(major), part(minor)) {
                (Some(major @ ..0x1000), Some(minor @ ..0x10_0000)) => member.device = (major, minor),
                _ => return Err(self.bad(&member.path, "device number out of range")),
            }
        }
        if member.kind != Kind::File {
            // Only files have data; some archivers leave a size in the header of a link or directory, without data.
            size = 0;
        }
        if size > i64::MAX as u64 / 2 {
            return Err(self.bad(&member.path, "size out of range"));
        }
        member.xattrs = std::mem::take(&mut pax.xattrs);
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK) - size;
        self.sparse(member, header, kind, pax)?;
        member.size = self.data;
        member.offset = self.offset;
        self.check_names(member)
    }

    /// The sparse map, from wherever this format keeps it.
    fn sparse(&mut self, member: &mut Member, header: &Header, kind: EntryType, mut pax: Pax) -> Result<()> {
        let max = self.limits.extents;
        let mut extents = Vec::new();
        let size;
        if kind == EntryType::GNUSparse {
            let Some(gnu) = header.as_gnu() else {
                return Err(self.bad(&member.path, "sparse, but not in GNU format"));
            };
            size = pax::number(&gnu.realsize).and_then(|n| u64::try_from(n).ok());
            let mut blocks = Vec::new();
            let mut more = gnu.isextended[0] != 0;
            self.gnu_extents(&gnu.sparse, &mut extents)?;
            while more {
                let mut block = GnuExtSparseHeader::new();
                self.block(block.as_mut_bytes())?;
                more = block.isextended[0] != 0;
                self.gnu_extents(&block.sparse, &mut extents)?;
                blocks.push(());
                if extents.len() > max || blocks.len() > max {
                    return Err(self.bad(&member.path, "too many extents"));
                }
            }
        } else if let Some(name) = pax.sparse_name.take() {
            // Format 1.0: the map is text at the beginning of the data.
            member.path = name;
            self.name = member.path.clone();
            size = pax.sparse_size;
            extents = self.text_map(&member.path)?;
        } else if pax.sparse_size.is_some() || !pax.extents.is_empty() {
            // Formats 0.0 and 0.1: the map came in the PAX header.
            size = pax.sparse_size;
            extents = pax.extents;
        } else {
            return Ok(());
        }
        if member.kind != Kind::File {
            return Err(self.bad(&member.path, "sparse, but not a file"));
        }
        let Some(size) = size.filter(|s| *s <= self.limits.sparse_bytes) else {
            return Err(self.bad(&member.path, "size of the sparse file is missing or out of range"));
        };
        let (mut at, mut sum) = (0u64, 0u64);
        for (offset, length) in &extents {
            let end = offset.checked_add(*length).filter(|end| *end <= size && *offset >= at);
            let Some(end) = end else {
                return Err(self.bad(&member.path, "extents overlap or exceed the file"));
            };
            (at, sum) = (end, sum + length);
        }
        if sum != self.data {
            return Err(self.bad(&member.path, "extents do not add up to the data"));
        }
        member.sparse = Some(Sparse { extents, size });
        Ok(())
    }

    fn gnu_extents(&self, raw: &[GnuSparseHeader], extents: &mut Vec<(u64, u64)>) -> Result<()> {
        for extent in raw.iter().take_while(|e| e.offset[0] != 0 && e.numbytes[0] != 0) {
            let part = |field| pax::number(field).and_then(|n| u64::try_from(n).ok());
            match (part(&extent.offset), part(&extent.numbytes)) {
                (Some(offset), Some(length)) => extents.push((offset, length)),
                _ => return Err(self.bad(&self.name, "bad sparse map")),
            }
        }
        Ok(())
    }

    /// The map of PAX sparse format 1.0: decimal numbers in lines, the count first, padded to a block.
    fn text_map(&mut self, name: &[u8]) -> Result<Vec<(u64, u64)>> {
        let (mut numbers, mut wanted) = (Vec::new(), 1);
        let mut digits = Vec::new();
        let mut block = [0; BLOCK as usize];
        while numbers.len() < wanted {
            if self.data < BLOCK {
                return Err(self.bad(name, "bad sparse map"));
            }
            self.block(&mut block)?;
            self.data -= BLOCK;
            for byte in block {
                if numbers.len() == wanted {
                    break;
                }
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        return Err(self.bad(name, "bad sparse map"));
                    }
                    continue;
                }
                let number = std::str::from_utf8(&digits).ok().and_then(|d| d.parse::<u64>().ok());
                let Some(number) = number else { return Err(self.bad(name, "bad sparse map")) };
                digits.clear();
                numbers.push(number);
                if numbers.len() == 1 {
                    if number > self.limits.extents as u64 {
                        return Err(self.bad(name, "too many extents"));
                    }
                    wanted = 1 + 2 * number as usize;
                }
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// The next header, checked; None at two zero blocks or at the end of the stream.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        match self.input.fill_buf() {
            Ok([]) => return Ok(None),
            Ok(_) => {}
            Err(e) => return Err(self.failed(e)),
        }
        self.block(header.as_mut_bytes())?;
        if header.as_bytes().iter().all(|b| *b == 0) {
            self.finished = true;
            return Ok(None);
        }
        let bytes = header.as_bytes();
        let sum = |f: fn(u8) -> i128| {
            let blank = 8 * i128::from(b' ');
            bytes[..148].iter().chain(&bytes[156..]).map(|b| f(*b)).sum::<i128>() + blank
        };
        let stored = pax::number(&header.as_old().cksum);
        if stored != Some(sum(|b| b.into())) && stored != Some(sum(|b| (b as i8).into())) {
            return match self.entries {
                0 => invalid("it is not a tar archive"),
                _ => invalid(format!("bad header checksum after entry '{}'", show(&self.name))),
            };
        }
        Ok(Some(header))
    }

    fn block(&mut self, block: &mut [u8]) -> Result<()> {
        self.input.read_exact(block).map_err(|e| self.failed(e))?;
        self.offset += block.len() as u64;
        Ok(())
    }

    /// The data of an extension header, within bounds.
    fn extension(&mut self, header: &Header, what: &str) -> Result<Vec<u8>> {
        let size = pax::number(&header.as_old().size).and_then(|n| u64::try_from(n).ok());
        let Some(size) = size.filter(|s| *s <= self.limits.header) else {
            let cause = format!("{what} is longer than {} bytes", self.limits.header);
            return Err(self.bad(&header_path(header), &cause));
        };
        let mut bytes = vec![0; size.next_multiple_of(BLOCK) as usize];
        self.block(&mut bytes)?;
        bytes.truncate(size as usize);
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header) -> Result<Vec<u8>> {
        let mut bytes = self.extension(header, "long name")?;
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        Ok(bytes)
    }

    fn check_names(&self, member: &Member) -> Result<()> {
        for name in [&member.path, &member.link] {
            if name.len() >= self.limits.path {
                return Err(
                    self.bad(&member.path, &format!("name is longer than {} bytes", self.limits.path - 1))
                );
            }
            if name.contains(&0) {
                return Err(self.bad(&member.path, "name contains a zero byte"));
            }
        }
        Ok(())
    }

    fn failed(&self, e: io::Error) -> Error {
        match e.kind() {
            io::ErrorKind::UnexpectedEof if self.name.is_empty() => {
                Error::Invalid("archive is truncated".into())
            }
            io::ErrorKind::UnexpectedEof => {
                Error::Invalid(format!("archive is truncated in entry '{}'", show(&self.name)))
            }
            _ if self.name.is_empty() => Error::Invalid(words(&e)),
            _ => Error::Invalid(format!("entry '{}': {}", show(&self.name), words(&e))),
        }
    }

    fn bad(&self, name: &[u8], cause: &str) -> Error {
        Error::Invalid(format!("entry '{}': {cause}", show(name)))
    }
}

/// A name from an archive, fit for one line of a message.
pub fn show(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text.chars().take(200).flat_map(char::escape_debug).collect();
    if text.chars().count() > 200 {
        shown.push('…');
    }
    shown
}

fn until_zero(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

fn header_path(header: &Header) -> Vec<u8> {
    match header.as_ustar() {
        Some(ustar) if ustar.prefix[0] != 0 => {
            [until_zero(&ustar.prefix), b"/", until_zero(&ustar.name)].concat()
        }
        _ => until_zero(&header.as_old().name).to_vec(),
    }
}

fn header_link(header: &Header) -> Vec<u8> {
    until_zero(&header.as_old().linkname).to_vec()
}
