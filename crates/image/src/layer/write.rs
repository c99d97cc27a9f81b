//! Writing a tar stream: ustar headers, with PAX records for what they can't say.

use super::tar::{Kind, Member, Sparse, show};
use std::io::{self, Read, Write};
use tar::{EntryType, Header};

pub struct TarWriter<W> {
    out: W,
}

const BLOCK: u64 = 512;
/// What eleven and seven octal digits can say.
const MAX_SIZE: u64 = 0o777_7777_7777;
const MAX_ID: u32 = 0o777_7777;
/// What the fields of names take.
const NAME: usize = 100;
/// Bytes that are copied at once.
const CHUNK: usize = 256 << 10;

impl<W: Write> TarWriter<W> {
    pub fn new(out: W) -> TarWriter<W> {
        TarWriter { out }
    }

    /// Write a member that has no data.
    pub fn member(&mut self, member: &Member) -> io::Result<()> {
        self.header(member, 0)
    }

    /// Write a file: `member.size` bytes of `data`; where that ends too early, zeros. A file that changes meanwhile harms itself only.
    /// `member.sparse` is the map of its holes, with as many bytes of data.
    pub fn file(&mut self, member: &Member, data: &mut dyn Read) -> io::Result<()> {
        let map = member.sparse.as_ref().map(map).unwrap_or_default();
        let size = member.size + map.len() as u64;
        self.header(member, size)?;
        self.out.write_all(&map)?;
        let mut buffer = vec![0; CHUNK.min(member.size.try_into().unwrap_or(CHUNK)).max(1)];
        let mut left = member.size;
        while left > 0 {
            let want = buffer.len().min(left.try_into().unwrap_or(usize::MAX));
            match data.read(&mut buffer[..want]) {
                Ok(0) => {
                    io::copy(&mut io::repeat(0).take(left), &mut self.out)?;
                    left = 0;
                }
                Ok(n) => {
                    self.out.write_all(&buffer[..n])?;
                    left -= n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let cause = crate::error::words(&e);
                    return Err(io::Error::other(format!("cannot read '{}': {cause}", show(&member.path))));
                }
            }
        }
        self.pad(size)
    }

    /// The two blocks that end an archive. The output is given back.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let zeros = [0; BLOCK as usize];
        self.out.write_all(&zeros[..(size.next_multiple_of(BLOCK) - size) as usize])
    }

    fn header(&mut self, member: &Member, size: u64) -> io::Result<()> {
        let records = records(member, size);
        if !records.is_empty() {
            let length = records.len() as u64;
            let pax = Member { path: b"PaxHeaders/x".to_vec(), mode: 0o644, ..Member::default() };
            self.out.write_all(block(&pax, EntryType::XHeader, length).as_bytes())?;
            self.out.write_all(&records)?;
            self.pad(length)?;
        }
        let kind = match member.kind {
            Kind::File => EntryType::Regular,
            Kind::HardLink => EntryType::Link,
            Kind::Symlink => EntryType::Symlink,
            Kind::CharDevice => EntryType::Char,
            Kind::BlockDevice => EntryType::Block,
            Kind::Directory => EntryType::Directory,
            Kind::Fifo => EntryType::Fifo,
        };
        self.out.write_all(block(member, kind, size).as_bytes())
    }
}

/// The header proper. What doesn't fit is cut: a PAX record says it whole.
fn block(member: &Member, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(member.mode);
    header.set_uid(member.uid.min(MAX_ID).into());
    header.set_gid(member.gid.min(MAX_ID).into());
    header.set_size(size.min(MAX_SIZE));
    header.set_mtime(u64::try_from(member.mtime.0).unwrap_or(0).min(MAX_SIZE));
    if matches!(member.kind, Kind::CharDevice | Kind::BlockDevice) {
        // Both fit: Linux has twelve and twenty bits.
        let _ =
            header.set_device_major(member.device.0).and_then(|()| header.set_device_minor(member.device.1));
    }
    let old = header.as_old_mut();
    let put = |field: &mut [u8; NAME], text: &[u8]| {
        let n = text.len().min(NAME);
        field[..n].copy_from_slice(&text[..n]);
    };
    put(&mut old.name, &member.path);
    put(&mut old.linkname, &member.link);
    header.set_cksum();
    header
}

/// What the header can't say.
fn records(member: &Member, size: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |key: &str, value: &[u8]| record(&mut out, key.as_bytes(), value);
    if member.path.len() > NAME {
        add("path", &member.path);
    }
    if member.link.len() > NAME {
        add("linkpath", &member.link);
    }
    if member.uid > MAX_ID {
        add("uid", member.uid.to_string().as_bytes());
    }
    if member.gid > MAX_ID {
        add("gid", member.gid.to_string().as_bytes());
    }
    if size > MAX_SIZE {
        add("size", size.to_string().as_bytes());
    }
    let (seconds, nanoseconds) = member.mtime;
    if nanoseconds != 0 || seconds < 0 {
        add("mtime", time(seconds, nanoseconds).as_bytes());
    }
    if let Some(sparse) = &member.sparse {
        add("GNU.sparse.major", b"1");
        add("GNU.sparse.minor", b"0");
        add("GNU.sparse.name", &member.path);
        add("GNU.sparse.realsize", sparse.size.to_string().as_bytes());
    }
    for (name, value) in &member.xattrs {
        record(&mut out, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    out
}

/// `length key=value\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Decimal seconds: -1.5 s before 1970 is kept as (-2, 500000000).
fn time(seconds: i64, nanoseconds: u32) -> String {
    match (seconds < 0, nanoseconds) {
        (_, 0) => seconds.to_string(),
        (false, n) => format!("{seconds}.{n:09}"),
        (true, n) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - n),
    }
}

/// The map of PAX sparse format 1.0, which comes before the data, padded to a block.
fn map(sparse: &Sparse) -> Vec<u8> {
    let mut text = format!("{}\n", sparse.extents.len());
    for (offset, length) in &sparse.extents {
        text += &format!("{offset}\n{length}\n");
    }
    let mut bytes = text.into_bytes();
    bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::tar::TarReader;
    use crate::limits::Limits;

    /// What is written reads as itself.
    #[test]
    fn members_come_back() {
        let long = |c: char| c.to_string().repeat(300).into_bytes();
        let file = Member {
            path: b"d/f".to_vec(),
            mode: 0o4755,
            uid: 5,
            gid: 6,
            mtime: (1_700_000_000, 5),
            size: 700,
            xattrs: vec![(b"user.x".to_vec(), b"1\n2\0=".to_vec())],
            ..Member::default()
        };
        let all = [
            Member { kind: Kind::Directory, path: b"d/".to_vec(), mode: 0o1777, ..Member::default() },
            file.clone(),
            Member {
                path: long('p'),
                link: long('l'),
                kind: Kind::Symlink,
                mtime: (-2, 500_000_000),
                ..Member::default()
            },
            Member {
                path: b"link".to_vec(),
                link: b"d/f".to_vec(),
                kind: Kind::HardLink,
                ..Member::default()
            },
            Member { path: b"null".to_vec(), kind: Kind::CharDevice, device: (1, 3), ..Member::default() },
            Member {
                path: b"fifo".to_vec(),
                kind: Kind::Fifo,
                uid: 3_000_000,
                gid: u32::MAX - 1,
                ..Member::default()
            },
            Member {
                path: b"holes".to_vec(),
                size: 7,
                sparse: Some(Sparse { extents: vec![(0, 3), (8192, 4), (1 << 40, 0)], size: 1 << 40 }),
                ..Member::default()
            },
        ];
        let mut writer = TarWriter::new(Vec::new());
        for member in &all {
            match member.kind {
                Kind::File => writer.file(member, &mut &b"x"[..]).unwrap(),
                _ => writer.member(member).unwrap(),
            }
        }
        let bytes = writer.finish().unwrap();
        let limits = Limits::default();
        let mut reader = TarReader::new(&bytes[..], &limits);
        for member in &all {
            let mut got = reader.member().unwrap().unwrap();
            got.offset = 0;
            assert_eq!(format!("{got:?}"), format!("{member:?}"));
        }
        assert!(reader.member().unwrap().is_none() && reader.finished);
    }
}
