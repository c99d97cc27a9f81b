//! A place in which a container can be made and nothing else notices: a network and a mount namespace of its own, and a data
//! root that shares nothing but the images.

use crate::cli::Failure;
use engine::Engine;
use kernel::mount::{self, Attr, Propagation};
use kernel::netlink::{Batch, Socket, route};
use kernel::process;
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The directories of images in a data root.
const IMAGES: [&str; 4] = ["blobs", "images", "layers", "tags"];

/// Two sandboxes, one after the other, at the same path: nothing that they tell differs by it.
pub struct Sandbox {
    root: PathBuf,
    base: PathBuf,
    /// As long as it lives, nobody takes the directory for one that a killed process left.
    lock: OwnedFd,
}

/// One of them, as seen from inside.
pub struct Side {
    pub engine: Engine,
    pub base: PathBuf,
}

impl Sandbox {
    pub fn make(engine: &Engine) -> Result<Sandbox, Failure> {
        let base = engine.root.join("tmp").join(format!("verify-{}", std::process::id()));
        let failed = |e: std::io::Error| Failure::new(format!("cannot make {}: {e}", base.display()));
        make_dir(&base).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let lock = rustix::fs::open(&base, flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| failed(e.into()))?;
        let sandbox = Sandbox { root: engine.root.clone(), base, lock };
        let mut program = fs::OpenOptions::new();
        let mut program = program.write(true).create(true).truncate(true).mode(0o755).open(sandbox.program());
        program.as_mut().map_err(|e| Failure::new(e.to_string())).and_then(|file| {
            use std::io::Write;
            file.write_all(runtime::INIT).map_err(|e| Failure::new(e.to_string()))
        })?;
        Ok(sandbox)
    }

    /// The program that waits, for containers to mount.
    pub fn program(&self) -> PathBuf {
        self.base.join("wait")
    }

    /// Does something in a new sandbox, which is gone afterwards.
    pub fn within<T>(&self, act: impl FnOnce(&Side) -> Result<T, Failure>) -> Result<T, Failure> {
        let failed = |e: std::io::Error| Failure::new(format!("cannot make a sandbox: {e}"));
        for name in ["root", "state"] {
            let dir = self.base.join(name);
            let _ = fs::remove_dir_all(&dir);
            make_dir(&dir).map_err(failed)?;
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let here = rustix::fs::open(".", flags, Mode::empty()).map_err(|e| failed(e.into()))?;
        let home = ["mnt", "net"].map(process::open_own_namespace);
        let [Ok(mounts), Ok(network)] = home else { return Err(Failure::new("cannot open /proc/self/ns")) };
        process::unshare(process::CLONE_NEWNS | process::CLONE_NEWNET).map_err(|e| failed(e.into()))?;
        let outcome = self.furnish().map_err(failed).and_then(|()| {
            let engine = Engine::open(&self.base.join("root"), &self.base.join("state"))?;
            act(&Side { engine, base: self.base.clone() })
        });
        let back = process::set_namespace(&mounts, process::CLONE_NEWNS)
            .and_then(|()| process::set_namespace(&network, process::CLONE_NEWNET))
            .and_then(|()| rustix::process::fchdir(&here));
        if back.is_err() {
            // It would go on in the wrong place.
            process::exit(125);
        }
        outcome
    }

    /// What is there: images to read, networks as they are defined, no names of other namespaces, a loopback link.
    fn furnish(&self) -> std::io::Result<()> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let top = rustix::fs::open("/", flags, Mode::empty())?;
        mount::set_propagation(top, Propagation::Private, true)?;
        let root = self.base.join("root");
        for name in IMAGES {
            let (from, to) = (self.root.join(name), root.join(name));
            make_dir(&to)?;
            if from.exists() {
                let tree = mount::open_tree(&text(&from), true)?;
                mount::set_attr(&tree, &Attr { read_only: true, ..Attr::default() }, true)?;
                mount::attach_at(&tree, &text(&to))?;
            }
        }
        make_dir(&root.join("networks"))?;
        for entry in fs::read_dir(self.root.join("networks")).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "json") {
                fs::copy(entry.path(), root.join("networks").join(entry.file_name()))?;
            }
        }
        if Path::new("/run/netns").is_dir() {
            let none = mount::new_fs(c"tmpfs", c"tmpfs", &[], Attr::default())?;
            mount::attach_at(&none, c"/run/netns")?;
        }
        let mut batch = Batch::new();
        route::set_link_up(&mut batch, route::LOOPBACK);
        Socket::route()?.send(&batch.finish()?).map_err(|failure| failure.errno.into())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn make_dir(path: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap_or_default()
}
