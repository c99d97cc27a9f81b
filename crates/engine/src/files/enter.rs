//! The way into a container's root, for a child that works there.

use crate::ids::ID_COUNT;
use crate::{Container, Engine, Error, MountKind, Result};
use kernel::caps::{self, Cap, CapSet};
use kernel::mount::{self, Attr};
use kernel::process::{self, CLONE_NEWNS, CLONE_NEWUSER};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use std::ffi::CString;
use std::path::PathBuf;

/// What is wanted of a container that does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Its own files, to be read.
    Own,
    /// With its volumes, to be read.
    Whole,
    /// With its volumes, to be written as far as its program could.
    Write,
}

/// Where a container's root is to be found, worked out by the parent.
pub(crate) struct Place {
    way: Way,
    /// Nodes of devices can be made in it.
    pub devices: bool,
    /// Ids that there are in it begin at 0 and end before this one.
    pub ids: u32,
    /// Held while it is mounted by us, so that nobody starts it.
    _lock: Option<OwnedFd>,
}

enum Way {
    /// Its first process.
    Running {
        pidfd: OwnedFd,
        user_namespace: bool,
    },
    Stopped(Stopped),
}

struct Stopped {
    root: Root,
    volumes: Vec<Volume>,
}

struct Volume {
    source: CString,
    subpath: CString,
    target: CString,
    read_only: bool,
}

enum Root {
    Directory(CString),
    Overlay { lower: Vec<CString>, upper: CString, work: CString, merged: CString, writable: bool },
}

impl Engine {
    /// Looks up what a child will enter.
    pub(crate) fn place(&self, container: &Container, view: View) -> Result<Place> {
        let ids = if container.id_base == 0 { u32::MAX } else { ID_COUNT };
        if let Some(place) = self.running_place(container, ids)? {
            return Ok(place);
        }
        let lock = self.lock_files(container)?;
        // It may have been started before the lock was ours.
        if let Some(place) = self.running_place(container, ids)? {
            return Ok(place);
        }
        let stopped = self.stopped_place(container, view)?;
        Ok(Place { way: Way::Stopped(stopped), devices: true, ids, _lock: Some(lock) })
    }

    fn running_place(&self, container: &Container, ids: u32) -> Result<Option<Place>> {
        let Some((_, pidfd)) = self.handle(container)? else { return Ok(None) };
        crate::seal::check(container)?;
        let way = Way::Running { pidfd, user_namespace: container.id_base != 0 };
        Ok(Some(Place { way, devices: container.id_base == 0, ids, _lock: None }))
    }

    /// The lock that a start takes too: on where the root is mounted. It ends with the descriptor.
    pub(crate) fn lock_files(&self, container: &Container) -> Result<OwnedFd> {
        let dir = self.directory(container).join("merged");
        let failed = |e: Errno| match e {
            Errno::NOENT => Error::no_container(&container.name),
            e => Error::io("cannot lock", &dir, e),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&dir, flags, Mode::empty()).map_err(failed)?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, FlockOperation::LockExclusive))
            .map_err(failed)?;
        Ok(fd)
    }

    /// The same, where nobody has it.
    pub(crate) fn try_lock_files(&self, container: &Container) -> Result<Option<OwnedFd>> {
        let dir = self.directory(container).join("merged");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(fd) = rustix::fs::open(&dir, flags, Mode::empty()) else { return Ok(None) };
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(fd)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::io("cannot lock", &dir, e)),
        }
    }

    fn stopped_place(&self, container: &Container, view: View) -> Result<Stopped> {
        if container.upper_in_memory {
            return Err(Error::Invalid(format!(
                "container {} does not run: what it wrote was in memory and is gone",
                container.name
            )));
        }
        let text = |path: PathBuf| {
            use std::os::unix::ffi::OsStringExt;
            CString::new(path.into_os_string().into_vec())
                .map_err(|_| Error::Invalid("a path has a zero byte".to_owned()))
        };
        let dir = self.directory(container);
        let writable = view == View::Write && !container.settings.read_only;
        let root = match &container.settings.rootfs {
            Some(rootfs) => Root::Directory(text(rootfs.into())?),
            None => {
                // The layer of mount points comes with the first start.
                let lower = container.lower.iter().map(PathBuf::from).filter(|l| l.exists());
                Root::Overlay {
                    lower: lower.map(text).collect::<Result<_>>()?,
                    upper: text(dir.join("rw/upper"))?,
                    work: text(dir.join("rw/work"))?,
                    merged: text(dir.join("merged"))?,
                    writable,
                }
            }
        };
        let mut mounts: Vec<&crate::Mount> = container.settings.mounts.iter().collect();
        mounts.retain(|m| view != View::Own && !matches!(m.kind, MountKind::Tmpfs | MountKind::Image));
        mounts.sort_by_key(|m| m.target.matches('/').count());
        let mut volumes = Vec::new();
        for m in mounts {
            let source = match m.kind {
                MountKind::Volume => self.volume_path(m),
                _ => PathBuf::from(&m.source),
            };
            // One that has never been made has nothing to show.
            if source.exists() {
                let (source, target) = (text(source)?, text(m.target.clone().into())?);
                let subpath = text(m.subpath.clone().into())?;
                volumes.push(Volume {
                    source,
                    subpath,
                    target,
                    read_only: m.read_only || view == View::Whole,
                });
            }
        }
        Ok(Stopped { root, volumes })
    }
}

impl Place {
    /// Descriptors that the child needs for the way.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match &self.way {
            Way::Running { pidfd, .. } => vec![pidfd.as_fd()],
            Way::Stopped(_) => Vec::new(),
        }
    }

    /// Goes in, for good, and gives the root. What can be done there without being root of the machine can be done afterwards.
    pub fn enter(&self) -> std::result::Result<OwnedFd, String> {
        let failed = |what: &str, e: Errno| {
            let cause = crate::error::words(&e.into());
            format!("cannot {what}: {cause}")
        };
        match &self.way {
            Way::Running { pidfd, user_namespace } => {
                let user = if *user_namespace { CLONE_NEWUSER } else { 0 };
                process::set_namespace(pidfd, CLONE_NEWNS | user)
                    .map_err(|e| failed("enter the container", e))?;
                if *user_namespace {
                    let root = process::set_groups(&[]).and_then(|()| process::set_ids(0, 0));
                    root.map_err(|e| failed("become the container's root", e))?;
                }
            }
            Way::Stopped(stopped) => {
                stopped.assemble().map_err(|e| failed("mount the container's root", e))?
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(c"/", flags, Mode::empty())
            .map_err(|e| failed("open the container's root", e))?;
        drop_rights().map_err(|e| failed("give up rights", e))?;
        Ok(root)
    }
}

impl Stopped {
    /// In a mount namespace of this process' own, which ends with it.
    fn assemble(&self) -> std::result::Result<(), Errno> {
        process::unshare(CLONE_NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        let place = match &self.root {
            Root::Directory(path) => path,
            Root::Overlay { lower, upper, work, merged, writable } => {
                let mut all: Vec<&std::ffi::CStr> = lower.iter().map(CString::as_c_str).collect();
                if *writable {
                    mount::overlay(&all, upper, work, merged)?;
                    merged
                } else if all.is_empty() {
                    upper
                } else {
                    all.insert(0, upper);
                    mount::overlay_to_read(&all, merged)?;
                    merged
                }
            }
        };
        // Trees of the host's are taken while its paths mean what they say.
        let mut trees = Vec::new();
        for volume in &self.volumes {
            let tree = match volume.subpath.is_empty() {
                true => mount::open_tree(&volume.source, true),
                false => mount::open_tree_below(&volume.source, &volume.subpath),
            };
            trees.push((tree?, volume));
        }
        rustix::process::chdir(&**place)?;
        for (tree, volume) in trees {
            let attr = Attr { read_only: volume.read_only, nosuid: true, ..Attr::default() };
            mount::set_attr(&tree, &attr, true)?;
            let file = !mount::is_dir(&tree)?;
            match mount::place_in_root(&volume.target, file, false).and_then(|at| mount::attach(&tree, at)) {
                // In a root that can't be written and has no place for it.
                Ok(()) | Err(Errno::ROFS) => {}
                Err(e) => return Err(e),
            }
        }
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    }
}

/// What handling files of all owners takes; the rest goes, and doesn't come back.
pub(crate) fn drop_rights() -> std::result::Result<(), Errno> {
    const KEPT: CapSet =
        CapSet::of(&[Cap::Chown, Cap::DacOverride, Cap::Fowner, Cap::Fsetid, Cap::Setfcap, Cap::Mknod]);
    let (_, permitted, _) = caps::current()?;
    let kept = permitted & KEPT;
    caps::set(kept, kept, CapSet::EMPTY)?;
    caps::no_new_privs()
}
