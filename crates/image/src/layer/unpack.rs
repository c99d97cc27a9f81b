//! The extractor: writes the members of one layer below a directory descriptor, exactly, and never outside of it.

use super::beside::Beside;
use super::copy::Copy;
use super::dirs::{Dirs, IN_ROOT, clean, failed, join, split};
use super::tar::{Kind, Member, Stream, TarReader, show};
use super::xattrs;
use crate::error::{Result, invalid};
use crate::limits::Limits;
use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, chmodat, chownat, fchmod,
    fchown, fstat, ftruncate, futimens, linkat, makedev, mkdirat, mknodat, openat, renameat, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a layer turned into.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Bytes of file content, hard links counted once.
    pub size: u64,
    pub entries: u64,
    /// Entries that were not wanted.
    #[serde(default)]
    pub skipped: u64,
    /// Directories that no entry described, parents first. Their attributes are those of the same directory in a lower layer.
    pub implied: Vec<Vec<u8>>,
}

/// Unpack the whole stream into `diff` below `layer`, an empty directory that nobody else can reach.
///
/// What a later entry replaces goes to `lost`, where the stream keeps a record of itself (see [`super::record`]). `umask` is the process's. Whiteouts become what overlayfs takes for them: a character device 0:0, and `trusted.overlay.opaque`.
pub fn unpack<R: Stream>(input: R, layer: &OwnedFd, limits: &Limits, umask: u32) -> Result<Unpacked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(layer, "diff", flags, Mode::empty()).map_err(|e| failed("open", b"diff", e))?;
    Tree::new(layer, root, None, umask).read(input, limits)
}

pub(super) struct Tree<'a> {
    layer: &'a OwnedFd,
    /// None: the stream is a layer, for an empty tree.
    copy: Option<&'a Copy>,
    dirs: Dirs,
    /// Files whose content the record of the stream refers to, by inode, with their numbers there.
    contents: HashMap<u64, u32>,
    /// What directories get at the end, when nothing is written into them any more: path → attributes.
    attributes: BTreeMap<Vec<u8>, DirAttributes>,
    /// Paths that are whiteouts at present.
    whiteouts: BTreeSet<Vec<u8>>,
    /// Symbolic links whose target climbs above the root: harmless to keep, but nothing may be written through them.
    climbing: BTreeSet<Vec<u8>>,
    umask: u32,
    pub(super) out: Unpacked,
}

#[derive(Default)]
struct DirAttributes {
    /// None: no entry described this directory, leave it.
    member: Option<Member>,
    opaque: bool,
}

impl<'a> Tree<'a> {
    /// `layer` is where lost contents go.
    pub(super) fn new(layer: &'a OwnedFd, root: OwnedFd, copy: Option<&'a Copy>, umask: u32) -> Tree<'a> {
        Tree {
            layer,
            copy,
            dirs: Dirs::new(root),
            contents: HashMap::new(),
            attributes: BTreeMap::new(),
            whiteouts: BTreeSet::new(),
            climbing: BTreeSet::new(),
            umask,
            out: Unpacked::default(),
        }
    }

    pub(super) fn read<R: Stream>(mut self, input: R, limits: &Limits) -> Result<Unpacked> {
        let mut tar = TarReader::new(input, limits);
        while let Some(member) = tar.member()? {
            self.out.entries += 1;
            self.member(member, &mut tar, limits)?;
        }
        self.finish()
    }

    fn member<R: Stream>(
        &mut self,
        mut member: Member,
        tar: &mut TarReader<R>,
        limits: &Limits,
    ) -> Result<()> {
        let Some(mut path) = clean(&member.path) else {
            let what = if self.copy.is_some() { "directory" } else { "image" };
            return invalid(format!("entry '{}' climbs out of the {what}", show(&member.path)));
        };
        if let Some(copy) = self.copy {
            path = copy.place(path);
            if !copy.wants(&mut member) {
                self.out.skipped += 1;
                return Ok(());
            }
        }
        if path.split(|b| *b == b'/').count() > limits.depth {
            return invalid(format!(
                "entry '{}' is more than {} directories deep",
                show(&member.path),
                limits.depth
            ));
        }
        let layer = self.copy.is_none();
        let note = |part: &[u8]| part.starts_with(b".wh..wh.") && part != b".wh..wh..opq";
        if layer && path.split(|b| *b == b'/').any(note) {
            // Notes that aufs left for itself; every unpacker passes over them.
            return Ok(());
        }
        if path.is_empty() {
            if member.kind != Kind::Directory {
                return invalid(format!(
                    "entry '{}' replaces the root directory by something else",
                    show(&member.path)
                ));
            }
            // The directory that is copied into stays as it is.
            if layer {
                self.attributes.entry(path).or_default().member = Some(member);
            }
            return Ok(());
        }
        if layer {
            xattrs::judge(&mut member)?;
        }
        let (parent, name) = split(&path);
        if !self.climbing.is_empty() {
            self.refuse_climbing(parent, &member.path)?;
        }
        if let Some(hidden) = name.strip_prefix(b".wh.").filter(|_| layer) {
            return self.whiteout(parent, hidden, &member.path);
        }
        let mut dir = self.dirs.get(parent)?;
        if !self.whiteouts.is_empty() && self.whiteouts.remove(&path) {
            self.remove(&dir.fd, name).map_err(|e| failed("remove", &path, e))?;
            dir = self.dirs.get(parent)?;
            if member.kind == Kind::Directory {
                // The layer removed the name and made a directory: nothing of the old one may shine through.
                self.attributes.entry(path.clone()).or_default().opaque = true;
            }
        }
        let real = join(&dir.path, name);
        let dir = &dir.fd;
        match member.kind {
            Kind::Directory => return self.directory(dir, name, path.clone(), member),
            Kind::File => return self.file(dir, name, (&path, &real), &member, tar),
            Kind::HardLink => return self.hard_link(dir, name, &path, &member),
            Kind::Symlink => self.symlink(dir, name, &path, &member)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.node(dir, name, &path, &member)?,
        }
        // Not a file: its attributes go by name. The name was made by us a moment ago, in a tree that is ours alone.
        let fail = |e| failed("set the attributes of", &path, e);
        chownat(
            dir,
            name,
            Some(Uid::from_raw(member.uid)),
            Some(Gid::from_raw(member.gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(fail)?;
        if member.kind != Kind::Symlink {
            chmodat(dir, name, Mode::from_raw_mode(member.mode), AtFlags::empty()).map_err(fail)?;
        }
        xattrs::set_at(dir, name, &member.xattrs, &path)?;
        utimensat(dir, name, &times(&member), AtFlags::SYMLINK_NOFOLLOW).map_err(fail)
    }

    /// Refuse what would be written through a symbolic link that climbs above the root. The kernel would clamp it to the root,
    /// but such an archive means no good.
    fn refuse_climbing(&self, parent: &[u8], name: &[u8]) -> Result<()> {
        let ends = parent.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        for end in ends.chain([parent.len()]) {
            if self.climbing.contains(&parent[..end]) {
                let link = show(&parent[..end]);
                return invalid(format!(
                    "entry '{}' climbs out of the image by the symbolic link '{link}'",
                    show(name)
                ));
            }
        }
        Ok(())
    }

    fn whiteout(&mut self, parent: &[u8], hidden: &[u8], entry: &[u8]) -> Result<()> {
        if hidden == b".wh..opq" {
            self.dirs.get(parent)?;
            self.attributes.entry(parent.to_vec()).or_default().opaque = true;
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return invalid(format!("entry '{}' is a whiteout of no name", show(entry)));
        }
        let path = join(parent, hidden);
        let dir = match self.dirs.get(parent) {
            // A file of this layer hides all of a directory below; some archivers (umoci) then list what was in that, too.
            Err(_) if self.dirs.is_below_file(parent) => return Ok(()),
            other => other?,
        };
        match mknodat(&dir.fd, hidden, FileType::CharacterDevice, Mode::empty(), makedev(0, 0)) {
            Ok(()) => {
                self.whiteouts.insert(path);
                Ok(())
            }
            // A whiteout hides what lower layers have, never what its own layer brings. A directory of this layer
            // then stands in place of the hidden one, instead of merging with it.
            Err(Errno::EXIST) => {
                let stat = statat(&dir.fd, hidden, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| failed("stat", &path, e))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.attributes.entry(path).or_default().opaque = true;
                }
                Ok(())
            }
            Err(e) => Err(failed("make whiteout", &path, e)),
        }
    }

    fn directory(&mut self, dir: &OwnedFd, name: &[u8], path: Vec<u8>, member: Member) -> Result<()> {
        match mkdirat(dir, name, Mode::RWXU) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat =
                    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| failed("stat", &path, e))?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    if self.copy.is_some() {
                        return invalid(format!(
                            "cannot overwrite non-directory '{}' with a directory",
                            show(&path)
                        ));
                    }
                    self.clear(dir, name, &path)?;
                    mkdirat(dir, name, Mode::RWXU).map_err(|e| failed("make directory", &path, e))?;
                }
            }
            Err(e) => return Err(failed("make directory", &path, e)),
        }
        self.attributes.entry(path).or_default().member = Some(member);
        Ok(())
    }

    fn file<R: Stream>(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        (path, real): (&[u8], &[u8]),
        member: &Member,
        tar: &mut TarReader<R>,
    ) -> Result<()> {
        let (file, beside) = self.create(dir, name, path, Mode::from_raw_mode(member.mode & 0o777))?;
        if member.size > 0 {
            let extents = member.sparse.as_ref().map(|sparse| &*sparse.extents);
            if let Some(number) = tar.content(real, member.size, extents) {
                let inode = fstat(&file).map_err(|e| failed("stat", path, e))?.st_ino;
                self.contents.insert(inode, number);
            }
        }
        let written = match &member.sparse {
            None => write_all(&file, tar, path)?,
            Some(sparse) => {
                ftruncate(&file, sparse.size).map_err(|e| failed("write", path, e))?;
                for (offset, length) in &sparse.extents {
                    write_extent(&file, tar, *offset, *length, path)?;
                }
                member.size
            }
        };
        self.out.size += written;
        let fail = |e| failed("set the attributes of", path, e);
        // Made by root in a directory that isn't setgid (modes of directories come last), so it is 0:0 already.
        if (member.uid, member.gid) != (0, 0) {
            fchown(&file, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid))).map_err(fail)?;
        }
        // chown clears setuid, so the mode comes after; and after both the capabilities.
        if member.mode & (0o7000 | self.umask) != 0 {
            fchmod(&file, Mode::from_raw_mode(member.mode)).map_err(fail)?;
        }
        xattrs::set(&file, &member.xattrs, path)?;
        futimens(&file, &times(member)).map_err(fail)?;
        match beside {
            Some(beside) => self.replace(beside, dir, name, path),
            None => Ok(()),
        }
    }

    /// A new file. In a tree that others see it has a name of its own until it is whole.
    fn create<'d>(
        &mut self,
        dir: &'d OwnedFd,
        name: &[u8],
        path: &[u8],
        mode: Mode,
    ) -> Result<(OwnedFd, Option<Beside<'d>>)> {
        let fail = |e| failed("create", path, e);
        if self.copy.is_some() {
            self.refuse_directory(dir, name, path)?;
            return Beside::create(dir, mode).map(|(file, beside)| (file, Some(beside))).map_err(fail);
        }
        // O_EXCL never follows a link, so a name that was a symbolic link is replaced and not written through.
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(dir, name, flags, mode) {
            Err(Errno::EXIST) => {
                self.clear(dir, name, path)?;
                openat(dir, name, flags, mode)
            }
            other => other,
        };
        file.map(|file| (file, None)).map_err(fail)
    }

    /// The whole file gets its name.
    fn replace(&mut self, beside: Beside<'_>, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        if statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
            self.dirs.forget();
            self.forget(path);
        }
        beside.rename(name).map_err(|e| failed("replace", path, e))
    }

    fn hard_link(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8], member: &Member) -> Result<()> {
        let whole = if self.copy.is_some() { "copy" } else { "image" };
        let Some(mut target) = clean(&member.link).filter(|t| !t.is_empty()) else {
            return invalid(format!(
                "hard link '{}' climbs out of the {whole} to '{}'",
                show(path),
                show(&member.link)
            ));
        };
        if let Some(copy) = self.copy {
            target = copy.place(target);
        }
        let (parent, target_name) = split(&target);
        if !self.climbing.is_empty() {
            self.refuse_climbing(parent, &member.path)?;
        }
        if target == path {
            return Ok(());
        }
        let whole = if self.copy.is_some() { "copy" } else { "layer" };
        let missing = || {
            let link = show(&member.link);
            invalid(format!("hard link '{}' to '{link}', which this {whole} doesn't have", show(path)))
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = match parent {
            b"" => self.dirs.root().try_clone().map_err(|_| failed("open", &target, Errno::MFILE))?,
            parent => match openat2(self.dirs.root(), parent, flags, Mode::empty(), IN_ROOT) {
                Ok(fd) => fd,
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return missing(),
                Err(e) => return Err(failed("open", &target, e)),
            },
        };
        // Without AT_SYMLINK_FOLLOW: a link to a symbolic link is a second name of that link.
        match linkat(&parent, target_name, dir, name, AtFlags::empty()) {
            Err(Errno::EXIST) => {
                // The same file by another way (a linked parent) must not be removed.
                if same_file(&parent, target_name, dir, name) {
                    return Ok(());
                }
                self.clear(dir, name, path)?;
                linkat(&parent, target_name, dir, name, AtFlags::empty()).map_err(|e| failed("link", path, e))
            }
            Err(Errno::NOENT) => missing(),
            Err(Errno::PERM) => {
                invalid(format!("hard link '{}' to the directory '{}'", show(path), show(&member.link)))
            }
            other => other.map_err(|e| failed("link", path, e)),
        }
    }

    fn symlink(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8], member: &Member) -> Result<()> {
        if member.link.is_empty() {
            return invalid(format!("symbolic link '{}' has no target", show(path)));
        }
        let made = match symlinkat(&*member.link, dir, name) {
            Err(Errno::EXIST) => {
                self.clear(dir, name, path)?;
                symlinkat(&*member.link, dir, name)
            }
            other => other,
        };
        made.map_err(|e| failed("make symbolic link", path, e))?;
        // An absolute target is taken from the image's own root; a relative one may climb above it.
        let climbs = match member.link.first() {
            Some(b'/') => clean(&member.link).is_none(),
            _ => clean(&[split(path).0, b"/", &member.link].concat()).is_none(),
        };
        if climbs {
            self.climbing.insert(path.to_vec());
        }
        Ok(())
    }

    fn node(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8], member: &Member) -> Result<()> {
        let kind = match member.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let device = makedev(member.device.0, member.device.1);
        let mode = Mode::from_raw_mode(0o600);
        let made = match mknodat(dir, name, kind, mode, device) {
            Err(Errno::EXIST) => {
                self.clear(dir, name, path)?;
                mknodat(dir, name, kind, mode, device)
            }
            other => other,
        };
        made.map_err(|e| failed("make device", path, e))
    }

    /// Make room: a later entry of the same name wins, as in tar.
    fn clear(&mut self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        if self.copy.is_some() {
            self.refuse_directory(dir, name, path)?;
        }
        self.remove(dir, name).map_err(|e| failed("replace", path, e))?;
        self.forget(path);
        Ok(())
    }

    fn refuse_directory(&self, dir: &OwnedFd, name: &[u8], path: &[u8]) -> Result<()> {
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                invalid(format!("cannot overwrite directory '{}' with a non-directory", show(path)))
            }
            Ok(_) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(failed("stat", path, e)),
        }
    }

    /// Nothing that was known of it, and of what was below, is true any more.
    fn forget(&mut self, path: &[u8]) {
        let below = [path, b"/"].concat();
        let gone = |p: &[u8]| p == path || p.starts_with(&below);
        self.attributes.retain(|p, _| !gone(p));
        self.whiteouts.retain(|p| !gone(p));
        self.climbing.retain(|p| !gone(p));
        self.dirs.implied.retain(|p| !gone(p));
    }

    /// Remove `name` in `dir`, with all below it if it is a directory.
    fn remove(&mut self, dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
        self.dirs.forget();
        self.discard(dir, name, 0)
    }

    fn discard(&self, dir: &OwnedFd, name: &[u8], depth: usize) -> rustix::io::Result<()> {
        if depth > 4096 {
            return Err(Errno::NAMETOOLONG);
        }
        let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if let Some(number) = self.contents.get(&stat.st_ino) {
                return self.lose(dir, name, *number);
            }
            return unlinkat(dir, name, AtFlags::empty());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(dir, name, flags, Mode::empty())?;
        for entry in rustix::fs::Dir::read_from(&fd)? {
            let entry = entry?;
            let child = entry.file_name().to_bytes();
            if child != b"." && child != b".." {
                self.discard(&fd, child, depth + 1)?;
            }
        }
        unlinkat(dir, name, AtFlags::REMOVEDIR)
    }

    /// The file goes, its content is still wanted for the record of the stream.
    fn lose(&self, dir: &OwnedFd, name: &[u8], number: u32) -> rustix::io::Result<()> {
        match mkdirat(self.layer, "lost", Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e),
        }
        renameat(dir, name, self.layer, format!("lost/{number}"))?;
        // Where it was lost before by another name of it, rename(2) has done nothing.
        match unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e),
        }
    }

    /// Directories get their owners, modes, xattrs and times now that nothing is written into them any more.
    fn finish(mut self) -> Result<Unpacked> {
        self.dirs.forget();
        self.dirs.implied.retain(|path| self.attributes.get(path).is_none_or(|a| a.member.is_none()));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for (path, attributes) in &self.attributes {
            let name: &[u8] = if path.is_empty() { b"." } else { path };
            let dir = match openat2(self.dirs.root(), name, flags, Mode::empty(), IN_ROOT) {
                Ok(dir) => dir,
                // A path through a link that was replaced later: the directory has gone with it, or has another name.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(e) => return Err(failed("open directory", path, e)),
            };
            if attributes.opaque {
                xattrs::set_opaque(&dir, path)?;
            }
            if let Some(member) = &attributes.member {
                set_directory(&dir, path, member)?;
            }
        }
        self.out.implied = self.dirs.implied;
        Ok(self.out)
    }
}

fn set_directory(dir: &OwnedFd, path: &[u8], member: &Member) -> Result<()> {
    let fail = |e| failed("set the attributes of", path, e);
    fchown(dir, Some(Uid::from_raw(member.uid)), Some(Gid::from_raw(member.gid))).map_err(fail)?;
    fchmod(dir, Mode::from_raw_mode(member.mode)).map_err(fail)?;
    xattrs::set(dir, &member.xattrs, path)?;
    futimens(dir, &times(member)).map_err(fail)
}

fn write_all<R: Stream>(file: &OwnedFd, tar: &mut TarReader<R>, path: &[u8]) -> Result<u64> {
    let mut written = 0;
    loop {
        let bytes = tar.data()?;
        if bytes.is_empty() {
            return Ok(written);
        }
        let n = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))
            .map_err(|e| failed("write", path, e))?;
        tar.consume(n);
        written += n as u64;
    }
}

fn write_extent<R: Stream>(
    file: &OwnedFd,
    tar: &mut TarReader<R>,
    mut offset: u64,
    mut length: u64,
    path: &[u8],
) -> Result<()> {
    while length > 0 {
        let bytes = tar.data()?;
        let bytes = &bytes[..bytes.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        let n = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, offset))
            .map_err(|e| failed("write", path, e))?;
        tar.consume(n);
        offset += n as u64;
        length -= n as u64;
    }
    Ok(())
}

fn same_file(a: &OwnedFd, a_name: &[u8], b: &OwnedFd, b_name: &[u8]) -> bool {
    match (statat(a, a_name, AtFlags::SYMLINK_NOFOLLOW), statat(b, b_name, AtFlags::SYMLINK_NOFOLLOW)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}

fn times(member: &Member) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: member.mtime.0, tv_nsec: member.mtime.1.into() },
    }
}

/// The process's umask without changing it, which would disturb other threads. All bits if it can't be read: one chmod more.
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("Umask:"));
    line.and_then(|l| u32::from_str_radix(l.trim(), 8).ok()).unwrap_or(0o777)
}
