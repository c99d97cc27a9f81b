//! The new mount API (open_tree, move_mount, fsopen, mount_setattr), and resolving paths so that nothing leads out.
//!
//! Functions that the container's side calls take C strings and allocate nothing.

use crate::open::openat2;
use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use serde::{Deserialize, Serialize};
use std::ffi::CStr;

/// Flags of one mount. See mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Attr {
    pub read_only: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
    pub noatime: bool,
    pub strictatime: bool,
    pub relatime: bool,
    pub nodiratime: bool,
    pub nosymfollow: bool,
}

impl Attr {
    pub const NO_SUID_DEV_EXEC: Attr = Attr {
        read_only: false,
        nosuid: true,
        nodev: true,
        noexec: true,
        noatime: false,
        strictatime: false,
        relatime: false,
        nodiratime: false,
        nosymfollow: false,
    };

    fn flags(self) -> MountAttrFlags {
        let pick = |on: bool, flag: MountAttrFlags| if on { flag } else { MountAttrFlags::empty() };
        pick(self.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY)
            | pick(self.nosuid, MountAttrFlags::MOUNT_ATTR_NOSUID)
            | pick(self.nodev, MountAttrFlags::MOUNT_ATTR_NODEV)
            | pick(self.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC)
            | pick(self.noatime, MountAttrFlags::MOUNT_ATTR_NOATIME)
            | pick(self.strictatime, MountAttrFlags::MOUNT_ATTR_STRICTATIME)
            | pick(self.nodiratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME)
            | pick(self.nosymfollow, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW)
    }

    /// One of the three ways to keep access times is asked for.
    fn has_atime(self) -> bool {
        self.noatime || self.strictatime || self.relatime
    }

    /// As mount(8) takes them after `-o`.
    pub fn options(self) -> String {
        let names = [
            (self.read_only, "ro"),
            (self.nosuid, "nosuid"),
            (self.nodev, "nodev"),
            (self.noexec, "noexec"),
            (self.noatime, "noatime"),
            (self.strictatime, "strictatime"),
            (self.relatime, "relatime"),
            (self.nodiratime, "nodiratime"),
            (self.nosymfollow, "nosymfollow"),
        ];
        names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

impl Attr {
    /// The words that clear these flags, as mount(8) takes them after `-o`.
    pub fn cleared(self) -> String {
        let names = [
            (self.read_only, "rw"),
            (self.nosuid, "suid"),
            (self.nodev, "dev"),
            (self.noexec, "exec"),
            (self.noatime, "atime"),
            (self.strictatime, "nostrictatime"),
            (self.relatime, "norelatime"),
            (self.nodiratime, "diratime"),
            (self.nosymfollow, "symfollow"),
        ];
        names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect::<Vec<_>>().join(",")
    }
}

/// `struct mount_attr`.
#[repr(C)]
#[derive(Default)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
const MOUNT_ATTR_ATIME: u64 = 0x70;
const AT_RECURSIVE: u32 = 0x8000;

fn mount_setattr(fd: BorrowedFd<'_>, path: &CStr, flags: u32, attr: &MountAttr) -> Result<(), Errno> {
    // SAFETY: the path is terminated and `attr` is a valid mount_attr of the given size.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const *attr,
            size_of::<MountAttr>(),
        )
    };
    if r < 0 { Err(last_errno()) } else { Ok(()) }
}

/// A detached copy of the mount at `source`; the last part may be a link of the host's.
pub fn open_tree(source: &CStr, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, source, flags)
}

/// Copies the mount of a place below `base`: links are followed as long as they stay below it.
pub fn open_tree_below(base: &CStr, below: &CStr) -> Result<OwnedFd, Errno> {
    copy(find_below(base, below)?)
}

/// The same of what is mounted on `name` in a tree, and of a place in there: no link leads out of what is mounted there.
pub fn copy_below(tree: impl AsFd, name: &CStr, below: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let base = openat2(&tree, name, flags | OFlags::DIRECTORY, Mode::empty(), resolve)?;
    if below.is_empty() {
        return copy(base);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    copy(openat2(&base, below, flags, Mode::empty(), resolve)?)
}

/// Opens a place below `base`, without rights to read it.
pub fn find_below(base: &CStr, below: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let base = rustix::fs::open(base, flags | OFlags::DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    openat2(&base, below, flags, Mode::empty(), resolve)
}

/// Sets flags on a detached tree.
pub fn set_attr(tree: impl AsFd, attr: &Attr, recursive: bool) -> Result<(), Errno> {
    change_attr(tree, attr, &Attr::default(), recursive)
}

/// Sets and clears flags on a detached tree.
pub fn change_attr(tree: impl AsFd, set: &Attr, clear: &Attr, recursive: bool) -> Result<(), Errno> {
    let bits = |flags: MountAttrFlags| u64::from(flags.bits());
    // The way to keep access times is a field of several bits: it is cleared whole, then set.
    let mut all = MountAttr {
        set: bits(set.flags()),
        clear: bits(clear.flags()) & !MOUNT_ATTR_ATIME,
        ..MountAttr::default()
    };
    if set.has_atime() || clear.has_atime() {
        all.clear |= MOUNT_ATTR_ATIME;
    }
    mount_setattr(tree.as_fd(), c"", at_flags(recursive), &all)
}

/// Of the tree that a descriptor holds.
fn at_flags(recursive: bool) -> u32 {
    AtFlags::EMPTY_PATH.bits() | if recursive { AT_RECURSIVE } else { 0 }
}

/// Maps owners of a detached tree through a user namespace. `EINVAL`: the file system cannot.
pub fn idmap(tree: impl AsFd, user_namespace: impl AsFd, recursive: bool) -> Result<(), Errno> {
    let attr = MountAttr {
        set: MOUNT_ATTR_IDMAP,
        userns_fd: user_namespace.as_fd().as_raw_fd() as u64,
        ..MountAttr::default()
    };
    mount_setattr(tree.as_fd(), c"", at_flags(recursive), &attr)
}

/// Whether mounts on a mount are seen by its peers. See mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    Private,
    Slave,
    Shared,
    Unbindable,
}

impl Propagation {
    /// As in `mount --make-WORD`.
    pub fn word(self) -> &'static str {
        match self {
            Propagation::Private => "private",
            Propagation::Slave => "slave",
            Propagation::Shared => "shared",
            Propagation::Unbindable => "unbindable",
        }
    }
}

/// Changes the propagation of the mount that a descriptor holds, and with `recursive` of all below it.
pub fn set_propagation(mount: impl AsFd, to: Propagation, recursive: bool) -> Result<(), Errno> {
    let propagation = match to {
        Propagation::Unbindable => 1 << 17,
        Propagation::Private => 1 << 18,
        Propagation::Slave => 1 << 19,
        Propagation::Shared => 1 << 20,
    };
    let attr = MountAttr { propagation, ..MountAttr::default() };
    mount_setattr(mount.as_fd(), c"", at_flags(recursive), &attr)
}

/// A new detached file system.
pub fn new_fs(
    fstype: &CStr,
    source: &CStr,
    options: &[(&CStr, &CStr)],
    attr: Attr,
) -> Result<OwnedFd, Errno> {
    new_fs_texts(fstype, source, options.iter().copied(), attr)
}

/// A new detached file system; an option with an empty value is a flag.
pub fn new_fs_texts<'a>(
    fstype: &CStr,
    source: &CStr,
    options: impl Iterator<Item = (&'a CStr, &'a CStr)>,
    attr: Attr,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(fstype, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if !source.is_empty() {
        fsconfig_set_string(context.as_fd(), c"source", source)?;
    }
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(context.as_fd(), key)?;
        } else {
            fsconfig_set_string(context.as_fd(), key, value)?;
        }
    }
    fsconfig_create(context.as_fd())?;
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attr.flags())
}

/// Mounts an overlay at a path of the engine's own; `lower` is topmost first.
///
/// By mount(2), whose options are a page: fsconfig(2) takes 255 bytes for a value, which is less than a long data root, and
/// knows layers one by one only from Linux 6.7 on. Where the paths do not fit they are told as descriptors.
pub fn overlay(lower: &[&CStr], upper: &CStr, work: &CStr, at: &CStr) -> Result<(), Errno> {
    layers(lower, Some((upper, work)), at)
}

/// The same without an upper layer: nothing can be written. `lower` has at least two.
pub fn overlay_to_read(lower: &[&CStr], at: &CStr) -> Result<(), Errno> {
    layers(lower, None, at)
}

fn layers(lower: &[&CStr], writable: Option<(&CStr, &CStr)>, at: &CStr) -> Result<(), Errno> {
    const PAGE: usize = 4096;
    let writable = writable.map(|(upper, work)| (upper.to_bytes(), work.to_bytes()));
    let paths: Vec<&[u8]> = lower.iter().map(|l| l.to_bytes()).collect();
    let mut options = overlay_options(&paths, writable);
    let mut held = Vec::new();
    if options.len() >= PAGE {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for path in lower {
            held.push(rustix::fs::open(*path, flags, Mode::empty())?);
        }
        let paths: Vec<String> = held.iter().map(|fd| format!("/proc/self/fd/{}", fd.as_raw_fd())).collect();
        let paths: Vec<&[u8]> = paths.iter().map(String::as_bytes).collect();
        options = overlay_options(&paths, writable);
    }
    if options.len() >= PAGE {
        return Err(Errno::NAMETOOLONG);
    }
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(c"overlay", at, c"overlay", MountFlags::empty(), &*options)
}

/// The options in the words of overlayfs, which splits at colons and commas that have no backslash before them.
fn overlay_options(lower: &[&[u8]], writable: Option<(&[u8], &[u8])>) -> Vec<u8> {
    let mut text = Vec::new();
    let put = |text: &mut Vec<u8>, path: &[u8], special: &[u8]| {
        for byte in path {
            if special.contains(byte) {
                text.push(b'\\');
            }
            text.push(*byte);
        }
    };
    for (index, path) in lower.iter().enumerate() {
        text.extend_from_slice(if index == 0 { b"lowerdir=" } else { b":" });
        put(&mut text, path, b"\\:,");
    }
    let writable = writable.map(|(upper, work)| [("upperdir", upper), ("workdir", work)]);
    for (name, path) in writable.into_iter().flatten() {
        text.extend_from_slice(format!(",{name}=").as_bytes());
        put(&mut text, path, b"\\,");
    }
    text
}

/// Attaches a detached tree at a path of the engine's own.
pub fn attach_at(tree: impl AsFd, path: &CStr) -> Result<(), Errno> {
    rustix::mount::move_mount(tree.as_fd(), c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Attaches a detached tree on a place that is held by a descriptor.
pub fn attach(tree: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(tree.as_fd(), c"", place.as_fd(), c"", flags)
}

/// Attaches a copy of the mount that `tree` holds, which stays usable.
pub fn attach_copy(tree: impl AsFd, place: impl AsFd) -> Result<(), Errno> {
    attach(copy(tree)?, place)
}

/// A detached copy of what a descriptor holds (a tree, or a single file such as a pty's slave).
pub fn copy(of: impl AsFd) -> Result<OwnedFd, Errno> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    rustix::mount::open_tree(of.as_fd(), c"", flags)
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Opens what `path` (absolute, as the container names it) leads to below the present directory, following links as
/// the container would, and never out of it (rule R1).
pub fn find_in_root(path: &CStr) -> Result<OwnedFd, Errno> {
    openat2(CWD, relative(path), OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), INSIDE)
}

/// Takes away what is mounted at `path` below the present directory, with what is mounted in there; who still uses it keeps it. No part of
/// the path may be a link: somebody would say what else is taken away. Afterwards the present directory is the one above.
///
/// `EINVAL`: nothing is mounted there. See umount2(2).
pub fn detach_in_root(path: &CStr) -> Result<(), Errno> {
    use rustix::mount::{UnmountFlags, unmount};
    let path = relative(path).to_bytes();
    let (parent, name) = match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&b"."[..], path),
    };
    if matches!(name, b"" | b"." | b"..") {
        return Err(Errno::INVAL);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = openat2(CWD, parent, flags, Mode::empty(), INSIDE | ResolveFlags::NO_SYMLINKS)?;
    rustix::process::fchdir(parent)?;
    unmount(name, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
}

/// `""` of `/` is the present directory itself.
fn relative(path: &CStr) -> &CStr {
    let mut rest = path;
    while rest.to_bytes().first() == Some(&b'/') {
        rest = tail(rest, 1);
    }
    if rest.is_empty() { c"." } else { rest }
}

fn tail(s: &CStr, from: usize) -> &CStr {
    let bytes = &s.to_bytes_with_nul()[from..];
    CStr::from_bytes_with_nul(bytes).unwrap_or(c".")
}

/// Whether a descriptor holds a directory.
pub fn is_dir(fd: impl AsFd) -> Result<bool, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// Opens the place below the present directory where something will be mounted, making what is missing: directories,
/// and at the end a directory or an empty file. `strict` refuses a target that is itself a link.
pub fn place_in_root(path: &CStr, file: bool, strict: bool) -> Result<OwnedFd, Errno> {
    if strict {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat2(CWD, relative(path), flags, Mode::empty(), INSIDE) {
            Ok(fd) if FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) == FileType::Symlink => {
                return Err(Errno::LOOP);
            }
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    } else {
        match find_in_root(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
    }
    make_in_root(relative(path), file)
}

/// Makes `path` part by part, each found or made under the descriptor of the one before, so that a link in the way is
/// followed inside the root and a missing part is made where it leads (never by a path string, CVE-2024-45310).
fn make_in_root(path: &CStr, file: bool) -> Result<OwnedFd, Errno> {
    let bytes = path.to_bytes();
    let mut prefix = [0u8; 4096];
    if bytes.len() >= prefix.len() {
        return Err(Errno::NAMETOOLONG);
    }
    let mut parent =
        openat2(CWD, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), INSIDE)?;
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes[at..].iter().position(|b| *b == b'/').map_or(bytes.len(), |i| at + i);
        let name = &bytes[at..end];
        let last = bytes[end..].iter().all(|b| *b == b'/');
        at = end + 1;
        if name.is_empty() || name == b"." {
            continue;
        }
        if name == b".." {
            return Err(Errno::INVAL);
        }
        // The whole prefix is resolved anew from the root, so that links in it cannot step out.
        prefix[..end].copy_from_slice(&bytes[..end]);
        prefix[end] = 0;
        let so_far = CStr::from_bytes_until_nul(&prefix).map_err(|_| Errno::INVAL)?;
        parent = match openat2(CWD, so_far, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), INSIDE) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => make_one(&parent, name, file && last)?,
            Err(e) => return Err(e),
        };
    }
    Ok(parent)
}

fn make_one(parent: &OwnedFd, name: &[u8], file: bool) -> Result<OwnedFd, Errno> {
    let mut buffer = [0u8; 256];
    if name.len() >= buffer.len() {
        return Err(Errno::NAMETOOLONG);
    }
    buffer[..name.len()].copy_from_slice(name);
    let name = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::INVAL)?;
    if file {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
        rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
    } else {
        rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(parent, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Makes a device (or FIFO) below the present directory, with the directories on its way; one that is there is kept.
pub fn make_node_in_root(
    path: &CStr,
    kind: FileType,
    mode: Mode,
    device: u64,
    owner: (u32, u32),
) -> Result<(), Errno> {
    let bytes = relative(path).to_bytes();
    let cut = bytes.iter().rposition(|b| *b == b'/');
    let (parent, name) = cut.map_or((&b""[..], bytes), |i| (&bytes[..i], &bytes[i + 1..]));
    let mut buffer = [0u8; 4096];
    if bytes.len() >= buffer.len() || name.is_empty() || name == b".." {
        return Err(Errno::INVAL);
    }
    buffer[..parent.len()].copy_from_slice(parent);
    let parent = CStr::from_bytes_until_nul(&buffer).map_err(|_| Errno::INVAL)?;
    let parent = place_in_root(parent, false, false)?;
    let name = tail(relative(path), bytes.len() - name.len());
    match rustix::fs::mknodat(&parent, name, kind, mode, device) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    let (uid, gid) = (rustix::fs::Uid::from_raw(owner.0), rustix::fs::Gid::from_raw(owner.1));
    rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
}

/// Binds the host's device of that path to the same path below the present directory, unless it is there already.
pub fn bind_device(path: &CStr, kind: FileType, device: u64) -> Result<(), Errno> {
    let is_it = |fd: &OwnedFd| {
        let stat = rustix::fs::fstat(fd)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == device)
    };
    let place = place_in_root(path, true, true)?;
    if is_it(&place)? {
        return Ok(());
    }
    let tree = open_tree(path, false)?;
    if is_it(&tree)? { attach(tree, place) } else { Err(Errno::NODEV) }
}

/// Makes what is at `path` read-only, with the mounts below it: a copy of the tree is attached over itself.
pub fn make_read_only(path: &CStr) -> Result<(), Errno> {
    let place = find_in_root(path)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = rustix::mount::open_tree(place.as_fd(), c"", flags)?;
    set_attr(&tree, &Attr { read_only: true, ..Attr::NO_SUID_DEV_EXEC }, true)?;
    attach(tree, place)
}

/// The present directory, a mount, becomes the root; the old one is let go. See pivot_root(2).
pub fn pivot_here() -> Result<(), Errno> {
    rustix::process::pivot_root(c".", c".")?;
    // The old root lies on the new one now, at the same place.
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

/// The root's own mount becomes read-only; what is mounted below keeps its flags.
pub fn remount_read_only_root() -> Result<(), Errno> {
    let attr = MountAttr { set: u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits()), ..MountAttr::default() };
    mount_setattr(CWD, c"/", 0, &attr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn in_directory(name: &str, test: impl FnOnce(&std::path::Path)) {
        let base = std::env::temp_dir().join(format!("corten-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let old = std::env::current_dir().unwrap();
        std::env::set_current_dir(&base).unwrap();
        test(&base);
        std::env::set_current_dir(old).unwrap();
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn options_of_an_overlay_keep_colons_and_commas() {
        let text = overlay_options(&[b"/a:b", b"/c,d"], Some((br"/u\:", b"/w")));
        assert_eq!(String::from_utf8_lossy(&text), r"lowerdir=/a\:b:/c\,d,upperdir=/u\\:,workdir=/w");
        assert_eq!(overlay_options(&[b"/a", b"/b"], None), b"lowerdir=/a:/b");
    }

    // One test, because the working directory is the process's.
    #[test]
    fn places_are_made_inside_and_links_stay_inside() {
        in_directory("place", |base| {
            place_in_root(c"/a/b/c", false, false).unwrap();
            assert!(base.join("a/b/c").is_dir());
            place_in_root(c"/a/file", true, false).unwrap();
            assert!(base.join("a/file").is_file());
            // A link to outside leads to the same name inside.
            symlink("/etc", base.join("link")).unwrap();
            std::fs::create_dir(base.join("etc")).unwrap();
            place_in_root(c"/link/made", false, false).unwrap();
            assert!(base.join("etc/made").is_dir());
            // CVE-2026-41579: /dev as a link is refused.
            symlink("/tmp", base.join("dev")).unwrap();
            assert_eq!(place_in_root(c"/dev", false, true).unwrap_err(), Errno::LOOP);
            assert_eq!(find_in_root(c"/nothing").unwrap_err(), Errno::NOENT);
            find_in_root(c"/../../../a").unwrap();
        });
    }
}
