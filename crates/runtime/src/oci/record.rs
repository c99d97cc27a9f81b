//! What is kept of a container between two calls of the OCI command line: a directory by its id, with one file.

use super::hooks::Told;
use super::{Error, Result};
use crate::GroupPaths;
use crate::group::Unit;
use kernel::process::start_ticks;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use steps::{MakeDir, Step, WriteFile};

/// One container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    pub oci_version: String,
    pub id: String,
    /// Of its first process, and when it began, in ticks after the machine's start: pids are used again.
    pub pid: i32,
    pub start_ticks: u64,
    pub bundle: String,
    pub rootfs: String,
    /// As RFC 3339 has it.
    pub created: String,
    pub owner: String,
    pub annotations: BTreeMap<String, String>,
    pub groups: GroupPaths,
    /// Its scope with systemd.
    pub unit: Option<Unit>,
    /// It has no pid namespace of its own.
    pub shares_pids: bool,
    /// `CLONE_NEW…` of the namespaces that are not the host's.
    pub namespaces: u64,
    /// Its processes stay in the keyring of whoever starts them.
    pub no_new_keyring: bool,
    /// Files of resctrl that its processes are written into.
    pub rdt: Vec<String>,
}

/// What a container is doing. See runtime.md of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// Where all containers of one `--root` are.
#[derive(Debug, Clone)]
pub struct Containers {
    pub root: PathBuf,
}

const FILE: &str = "state.json";
const BEGIN: &str = "begin";
const VISIT: &str = "visit";

impl Containers {
    /// Claims an id. What is in the directory afterwards is the container's.
    pub fn claim(&self, id: &str) -> Result<PathBuf> {
        check_id(id)?;
        let make = |dir: &Path, all: bool| std::fs::DirBuilder::new().recursive(all).mode(0o700).create(dir);
        let failed = |dir: &Path, e: std::io::Error| Error::io("cannot make", dir, e);
        make(&self.root, true).map_err(|e| failed(&self.root, e))?;
        let dir = self.root.join(id);
        match make(&dir, false) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                Err(Error::new(format!("container with id '{id}' exists already")))
            }
            Err(e) => Err(failed(&dir, e)),
            Ok(()) => Ok(dir),
        }
    }

    /// The directory of a container.
    pub fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    /// A file and a directory, empty, that hidden paths are covered with. They can be read: programs that look at such paths find
    /// nothing, and no error.
    pub fn covers(&self) -> (PathBuf, PathBuf) {
        (self.root.join(".empty"), self.root.join(".empty.d"))
    }

    /// Makes them where missing.
    pub fn make_covers(&self) -> Result<()> {
        let (file, dir) = self.covers();
        let old = rustix::process::umask(rustix::fs::Mode::empty());
        let made = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o444).open(&file).map(drop);
        let both = [(&file, made), (&dir, std::fs::DirBuilder::new().mode(0o555).create(&dir))];
        rustix::process::umask(old);
        for (path, made) in both {
            match made {
                Err(e) if e.kind() != ErrorKind::AlreadyExists => {
                    return Err(Error::io("cannot make", path, e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The same as steps; none where they are there.
    pub fn covers_by_hand(&self) -> Vec<Step> {
        let (file, dir) = self.covers();
        if file.exists() {
            return Vec::new();
        }
        let file = WriteFile { path: file.into(), content: String::new(), mode: 0o444, owner: None };
        vec![MakeDir { path: dir.into(), mode: 0o555, owner: None }.into(), file.into()]
    }

    /// Keeps what is known of a container.
    pub fn save(&self, record: &Record) -> Result<()> {
        let dir = self.directory(&record.id);
        let (new, path) = (dir.join(".state.json"), dir.join(FILE));
        let text = serde_json::to_vec(record).map_err(|e| Error::new(e.to_string()))?;
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|e| Error::io("cannot write", &path, e))
    }

    pub fn load(&self, id: &str) -> Result<Record> {
        check_id(id)?;
        let path = self.directory(id).join(FILE);
        match std::fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|e| Error::new(format!("{} is damaged: {e}", path.display()))),
            Err(e) if e.kind() == ErrorKind::NotFound && self.directory(id).is_dir() => {
                // Somebody is at it, or died while he was.
                Ok(Record { id: id.to_owned(), ..Record::default() })
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {
                Err(Error::missing(format!("container does not exist: {id}")))
            }
            Err(e) => Err(Error::io("cannot read", &path, e)),
        }
    }

    /// All of them, by id.
    pub fn list(&self) -> Result<Vec<Record>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("cannot read", &self.root, e)),
        };
        let mut all = Vec::new();
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|id| check_id(id).is_ok()) else { continue };
            // One that is removed in this moment is not there.
            all.extend(self.load(id).ok());
        }
        all.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(all)
    }

    /// The socket at which a created container waits.
    pub fn begin(&self, id: &str) -> PathBuf {
        self.directory(id).join(BEGIN)
    }

    /// The socket at which it gives its namespaces to an ordinary user until then.
    pub fn visit(&self, id: &str) -> PathBuf {
        self.directory(id).join(VISIT)
    }

    pub fn status(&self, record: &Record) -> Status {
        if record.pid == 0 {
            return Status::Creating;
        }
        if start_ticks(record.pid) != Some(record.start_ticks) {
            return Status::Stopped;
        }
        match crate::group::is_frozen(&record.groups) {
            Ok(true) => Status::Paused,
            _ if self.begin(&record.id).exists() => Status::Created,
            _ => Status::Running,
        }
    }
}

impl Record {
    /// What `state` and hooks are told.
    pub fn told(&self, status: Status) -> Told {
        Told {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status: status.word().to_owned(),
            pid: if status == Status::Stopped { 0 } else { self.pid },
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }

    /// Whether its root is nobody outside.
    pub fn has_own_ids(&self) -> bool {
        self.namespaces & kernel::process::CLONE_NEWUSER != 0
    }

    /// A hold on its first process; `None` when it is gone.
    pub fn handle(&self) -> Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
            Err(e) => return Err(Error::new(format!("cannot hold process {}: {e}", self.pid))),
        };
        // Looked at when it is held: it cannot be another one any more.
        Ok((start_ticks(self.pid) == Some(self.start_ticks)).then_some(fd))
    }
}

/// It becomes a name of a directory: no slash, and nothing that is hidden.
fn check_id(id: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
    if id.is_empty() || id.len() > 1024 || id.starts_with(['.', '-']) || !id.chars().all(good) {
        return Err(Error::new(format!("invalid container id {id:?}")));
    }
    Ok(())
}
