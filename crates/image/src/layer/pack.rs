//! A directory tree, or a file of one, as a tar stream: what `export`, `cp` and `commit` read. Whatever is done to the tree meanwhile, nothing
//! but what lies below the given directory is read, and no link is followed.

use super::dirs::join;
use super::tar::{Kind, Member, Sparse, show};
use super::write::TarWriter;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Statx, StatxFlags, fgetxattr, flistxattr, openat,
    readlinkat, seek, statx,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};

/// What is made of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pack {
    /// Overlayfs' whiteouts and opaque directories become those of layers; without, a whiteout is nothing.
    pub whiteouts: bool,
    /// What is mounted below: nothing of it but the place; or its files, unless they are the kernel's own (`/proc`).
    pub across_mounts: bool,
}

/// No file of the kernel's is longer than anybody wants; some have no end.
const MADE_UP: u64 = 16 << 20;
/// Reads as little as SEEK_HOLE saves at least this many bytes.
const HOLES: u64 = 1 << 20;
/// As many extents as an unpacker takes.
const EXTENTS: usize = 100_000;

const DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// STATX_MNT_ID; the crate's flags don't have it.
const MOUNT_ID: StatxFlags = StatxFlags::from_bits_retain(0x1000);

/// Write `name` of `dir`, with all below it. Its own entry is called `as_name`, others `as_name/…`.
pub fn pack(out: impl Write, dir: impl AsFd, name: &[u8], as_name: &[u8], how: Pack) -> io::Result<()> {
    let mut packer = Packer { tar: TarWriter::new(out), links: HashMap::new(), how };
    let stat = look(&dir, &cstring(name)?)?;
    if kind(&stat) == FileType::Directory {
        let fd = openat(&dir, name, DIR & !OFlags::NOFOLLOW, Mode::empty())?;
        packer.tree(fd, as_name.to_vec(), stat.stx_mnt_id)?;
    } else {
        packer.entry(&dir, &cstring(name)?, &stat, as_name.to_vec())?;
    }
    packer.tar.finish().map(drop)
}

struct Packer<W> {
    tar: TarWriter<W>,
    /// Files with several names: device and inode, and the first name.
    links: HashMap<(u64, u64), Vec<u8>>,
    how: Pack,
}

/// A directory on the way down.
struct Level {
    /// None where it is far above: then it is found again by `..`.
    fd: Option<OwnedFd>,
    /// Its path in the archive.
    path: Vec<u8>,
    inode: u64,
    mount: u64,
    /// What is still to come, the next one last.
    names: Vec<CString>,
}

/// How many directories are kept open on the way down.
const OPEN: usize = 64;

impl Level {
    /// Back from the directory below.
    fn reopen(&mut self, below: &OwnedFd) -> io::Result<()> {
        if self.fd.is_none() {
            let up = openat(below, "..", DIR, Mode::empty())?;
            if look_at(&up)?.stx_ino != self.inode {
                return Err(io::Error::other(format!("'{}' was moved while it was read", show(&self.path))));
            }
            self.fd = Some(up);
        }
        Ok(())
    }
}

impl<W: Write> Packer<W> {
    /// A directory and all below it, whatever its depth.
    fn tree(&mut self, root: OwnedFd, path: Vec<u8>, mount: u64) -> io::Result<()> {
        let mut levels = vec![self.directory(root, path, mount)?];
        while let Some(mut now) = levels.pop() {
            let Some(name) = now.names.pop() else {
                if let (Some(above), Some(here)) = (levels.last_mut(), &now.fd) {
                    above.reopen(here)?;
                }
                continue;
            };
            let depth = levels.len();
            let child = self.step(&now, &name)?;
            levels.push(now);
            if let Some(child) = child {
                levels.push(child);
                if depth >= OPEN {
                    levels[depth - OPEN].fd = None;
                }
            }
        }
        Ok(())
    }

    /// One name of a directory; gives the level below if it is a directory itself.
    fn step(&mut self, now: &Level, name: &CStr) -> io::Result<Option<Level>> {
        let Some(here) = &now.fd else { return Ok(None) };
        let path = join(&now.path, name.to_bytes());
        // Removed meanwhile: it is not there, which is as true as that it was.
        let stat = match look(here, name) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mounted = stat.stx_mnt_id != now.mount;
        if kind(&stat) != FileType::Directory {
            if mounted && !self.how.across_mounts {
                return self.placeholder(&stat, path).map(|()| None);
            }
            return self.entry(here, name, &stat, path).map(|()| None);
        }
        let child = match openat(here, name, DIR, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            other => other?,
        };
        if mounted && (!self.how.across_mounts || is_kernels(&child)) {
            // What is mounted there is no part of the tree, and neither are its owner and mode.
            let place = plain(&stat, slashed(path));
            let member = Member { kind: Kind::Directory, uid: 0, gid: 0, mode: 0o755, ..place };
            return self.tar.member(&member).map(|()| None);
        }
        self.directory(child, path, stat.stx_mnt_id).map(Some)
    }

    /// The entry of a directory, and the names in it.
    fn directory(&mut self, fd: OwnedFd, path: Vec<u8>, mount: u64) -> io::Result<Level> {
        let stat = look_at(&fd)?;
        let member =
            Member { kind: Kind::Directory, xattrs: xattrs(&fd)?, ..plain(&stat, slashed(path.clone())) };
        self.tar.member(&member)?;
        if self.how.whiteouts && is_opaque(&fd, &path)? {
            self.whiteout(join(&path, b".wh..wh..opq"), &stat)?;
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&fd)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        names.sort_by(|a, b| b.cmp(a));
        Ok(Level { fd: Some(fd), path, inode: stat.stx_ino, mount, names })
    }

    /// Something that is no directory.
    fn entry(&mut self, dir: impl AsFd, name: &CStr, stat: &Statx, path: Vec<u8>) -> io::Result<()> {
        if kind(stat) == FileType::CharacterDevice && stat.stx_rdev_major == 0 && stat.stx_rdev_minor == 0 {
            // Many may be one inode, but no links of each other.
            if !self.how.whiteouts {
                return Ok(());
            }
            let (parent, name) = super::dirs::split(&path);
            return self.whiteout(join(parent, &[b".wh.", name].concat()), stat);
        }
        let identity = (device_of(stat), stat.stx_ino);
        if stat.stx_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                let link = Member { kind: Kind::HardLink, link: first.clone(), ..plain(stat, path) };
                return self.tar.member(&link);
            }
            self.links.insert(identity, path.clone());
        }
        let mut member = plain(stat, path);
        match kind(stat) {
            FileType::RegularFile => return self.file(dir, name, member),
            FileType::Symlink => {
                member.kind = Kind::Symlink;
                member.link = readlinkat(dir, name, Vec::new())?.into_bytes();
            }
            FileType::Fifo => member.kind = Kind::Fifo,
            FileType::CharacterDevice | FileType::BlockDevice => {
                let block = kind(stat) == FileType::BlockDevice;
                member.kind = if block { Kind::BlockDevice } else { Kind::CharDevice };
                member.device = (stat.stx_rdev_major, stat.stx_rdev_minor);
            }
            // Sockets are nothing without who listens.
            _ => return Ok(()),
        }
        self.tar.member(&member)
    }

    fn file(&mut self, dir: impl AsFd, name: &CStr, mut member: Member) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(e) => {
                let cause = crate::error::words(&e.into());
                return Err(io::Error::other(format!("cannot open '{}': {cause}", show(&member.path))));
            }
        };
        // It may be another one by now.
        let stat = look_at(&fd)?;
        if kind(&stat) != FileType::RegularFile {
            return Ok(());
        }
        if self.how.whiteouts {
            not_elsewhere(&fd, &member.path)?;
        }
        if matches!(stat.stx_size, 0 | 4096) && is_kernels(&fd) {
            return self.made_up(File::from(fd), member);
        }
        member.xattrs = xattrs(&fd)?;
        member.size = stat.stx_size;
        let mut file = File::from(fd);
        let Some(sparse) = extents(&file, &stat)? else { return self.tar.file(&member, &mut file) };
        member.size = sparse.extents.iter().map(|e| e.1).sum();
        let mut data = Ranges { file: &file, ranges: sparse.extents.clone(), at: 0 };
        member.sparse = Some(sparse);
        self.tar.file(&member, &mut data)
    }

    /// A file of `/proc` or `/sys`: how long it is shows when it is read.
    fn made_up(&mut self, file: File, mut member: Member) -> io::Result<()> {
        let mut text = Vec::new();
        file.take(MADE_UP).read_to_end(&mut text).map_err(|e| {
            io::Error::other(format!("cannot read '{}': {}", show(&member.path), crate::error::words(&e)))
        })?;
        member.size = text.len() as u64;
        self.tar.file(&member, &mut text.as_slice())
    }

    fn whiteout(&mut self, path: Vec<u8>, stat: &Statx) -> io::Result<()> {
        let member = Member { path, mode: 0o600, mtime: plain(stat, Vec::new()).mtime, ..Member::default() };
        self.tar.file(&member, &mut io::empty())
    }

    /// For what something else is mounted on: an empty file.
    fn placeholder(&mut self, stat: &Statx, path: Vec<u8>) -> io::Result<()> {
        if kind(stat) != FileType::RegularFile {
            return Ok(());
        }
        let member = Member { path, mode: 0o644, mtime: plain(stat, Vec::new()).mtime, ..Member::default() };
        self.tar.file(&member, &mut io::empty())
    }
}

/// What all kinds have.
fn plain(stat: &Statx, path: Vec<u8>) -> Member {
    Member {
        path,
        mode: u32::from(stat.stx_mode) & 0o7777,
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        mtime: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        ..Member::default()
    }
}

fn slashed(mut path: Vec<u8>) -> Vec<u8> {
    if path.is_empty() {
        path.push(b'.');
    }
    path.push(b'/');
    path
}

fn look(dir: impl AsFd, name: &CStr) -> rustix::io::Result<Statx> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    statx(dir, name, flags, StatxFlags::BASIC_STATS | MOUNT_ID)
}

fn look_at(fd: &OwnedFd) -> rustix::io::Result<Statx> {
    statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | MOUNT_ID)
}

fn kind(stat: &Statx) -> FileType {
    FileType::from_raw_mode(stat.stx_mode.into())
}

fn device_of(stat: &Statx) -> u64 {
    u64::from(stat.stx_dev_major) << 32 | u64::from(stat.stx_dev_minor)
}

fn cstring(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The attributes that are of use elsewhere.
fn xattrs(fd: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = Vec::with_capacity(64 << 10);
    match flistxattr(fd, rustix::buffer::spare_capacity(&mut names)) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0) {
        if name != b"security.capability" && !name.starts_with(b"user.") || name.starts_with(b"user.overlay.")
        {
            continue;
        }
        let mut value = Vec::with_capacity(64 << 10);
        if fgetxattr(fd, name, rustix::buffer::spare_capacity(&mut value)).is_ok() {
            found.push((name.to_vec(), value));
        }
    }
    found.sort();
    Ok(found)
}

fn is_opaque(fd: &OwnedFd, path: &[u8]) -> io::Result<bool> {
    not_elsewhere(fd, path)?;
    let mut value = Vec::with_capacity(8);
    let opaque = fgetxattr(fd, c"trusted.overlay.opaque", rustix::buffer::spare_capacity(&mut value));
    Ok(opaque.is_ok() && value == b"y")
}

/// Overlayfs may keep a renamed directory, or the content of a file with new attributes, where it was. The engine doesn't ask for that.
fn not_elsewhere(fd: &OwnedFd, path: &[u8]) -> io::Result<()> {
    for name in [c"trusted.overlay.redirect", c"trusted.overlay.metacopy"] {
        let mut value = Vec::with_capacity(4096);
        if fgetxattr(fd, name, rustix::buffer::spare_capacity(&mut value)).is_ok() {
            let cause =
                format!("'{}' is not all in its layer (overlayfs' redirect_dir or metacopy)", show(path));
            return Err(io::Error::other(cause));
        }
    }
    Ok(())
}

/// File systems whose files are the kernel's own, by magic numbers of statfs(2).
fn is_kernels(dir: &OwnedFd) -> bool {
    const KERNEL: [u32; 12] = [
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x1cd1,      // devpts
        0x1980_0202, // mqueue
        0x6462_6720, // debugfs
        0x7472_6163, // tracefs
        0x7363_6673, // securityfs
        0xcafe_4a11, // bpf
        0x4249_4e4d, // binfmt_misc
        0x6e73_6673, // nsfs
    ];
    rustix::fs::fstatfs(dir).is_ok_and(|fs| KERNEL.contains(&(fs.f_type as u32)))
}

/// Where a file has data, if it has holes worth the trouble.
fn extents(file: &File, stat: &Statx) -> io::Result<Option<Sparse>> {
    let size = stat.stx_size;
    if size < HOLES || size - HOLES < stat.stx_blocks * 512 {
        return Ok(None);
    }
    let (mut extents, mut at) = (Vec::new(), 0);
    while at < size {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start.min(size),
            // No data behind this.
            Err(Errno::NXIO) => size,
            Err(_) => return Ok(None),
        };
        if start == size {
            break;
        }
        let end = seek(file, SeekFrom::Hole(start))?.min(size);
        extents.push((start, end - start));
        at = end;
        if extents.len() > EXTENTS {
            seek(file, SeekFrom::Start(0))?;
            return Ok(None);
        }
    }
    seek(file, SeekFrom::Start(0))?;
    Ok(Some(Sparse { extents, size }))
}

/// Reads the extents of a file, one after the other.
struct Ranges<'a> {
    file: &'a File,
    ranges: Vec<(u64, u64)>,
    at: usize,
}

impl Read for Ranges<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some((offset, length)) = self.ranges.get_mut(self.at) else { return Ok(0) };
            if *length == 0 {
                self.at += 1;
                continue;
            }
            let want = buffer.len().min((*length).try_into().unwrap_or(usize::MAX));
            let n = match std::os::unix::fs::FileExt::read_at(self.file, &mut buffer[..want], *offset)? {
                // Cut meanwhile: zeros, and the next extent stays in its place.
                0 => {
                    buffer[..want].fill(0);
                    want
                }
                n => n,
            };
            *offset += n as u64;
            *length -= n as u64;
            return Ok(n);
        }
    }
}
