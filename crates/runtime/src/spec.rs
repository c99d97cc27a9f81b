//! What the runtime is asked for: everything resolved, nothing left to look up. An OCI `config.json` and the engine's
//! settings both end here.

mod resources;

pub use resources::*;

use crate::GroupPaths;
use crate::group::Unit;
use kernel::bpf::DeviceRule;
use kernel::mount::{Attr, Propagation};
use kernel::schedule::Scheduler;
use std::collections::BTreeMap;
use steps::{Affinity, Credentials, IdRange, IoPriority, Join, Node, RunHook, ShowBundle, Step, TimeOffset};

/// One container.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    pub name: String,
    pub root: Root,
    pub read_only: bool,
    /// `CLONE_NEW…` of the new namespaces.
    pub namespaces: u64,
    pub join: Vec<Join>,
    /// Of users; empty without a user namespace.
    pub ids: Vec<IdRange>,
    /// Of groups; empty: as for users.
    pub group_ids: Vec<IdRange>,
    pub time_offsets: Vec<TimeOffset>,
    /// How mounts cross between host and container: private, if nothing is said.
    pub propagation: Option<(Propagation, Recursive)>,
    pub hostname: String,
    pub domainname: String,
    /// In this order.
    pub mounts: Vec<Mount>,
    /// Images that are mounted, read-only.
    pub images: Vec<ImageMount>,
    pub masked: Vec<String>,
    pub read_only_paths: Vec<String>,
    /// An empty, unreadable file and directory of the engine's, to cover with.
    pub empty_file: String,
    pub empty_dir: String,
    /// In `/dev`, by their names there.
    pub devices: Vec<Node>,
    /// Elsewhere below the root, by their absolute paths.
    pub nodes: Vec<Node>,
    pub device_rules: Vec<DeviceRule>,
    /// Its control groups; those above them are made, too.
    pub groups: GroupPaths,
    /// The groups above its own may be others': they get what they lack, as far as that goes, and keep what they have.
    pub groups_shared: bool,
    /// The unit of systemd's that its groups belong to.
    pub unit: Option<Unit>,
    /// The user of the host who may divide its group of v2 further.
    pub group_owner: Option<u32>,
    pub resources: Resources,
    /// Keys with dots.
    pub sysctls: BTreeMap<String, String>,
    pub oom_score_adj: Option<i32>,
    /// Files that are made for this start, and ports, links and leases.
    pub host: Vec<Step>,
    pub joined: Vec<Step>,
    pub inside: Vec<Step>,
    /// Run when all is mounted, before the host's tree is left.
    pub hooks: Vec<RunHook>,
    /// What they find, where the container was not made from a bundle.
    pub bundle: Option<ShowBundle>,
    /// The path of a socket: the container is made, and waits there for its start.
    pub begin: Option<String>,
    /// The path of another: who wants to enter before the start is given the container's namespaces there.
    pub visit: Option<String>,
    /// Descriptors from 3 on that the program keeps.
    pub keep_fds: u32,
    pub process: Process,
}

/// Whether a flag of mounts goes for those below, too.
pub type Recursive = bool;

/// Where the root file system comes from.
#[derive(Debug, Clone)]
pub enum Root {
    /// A directory of the host.
    Directory { path: String, idmap: Idmap },
    Overlay {
        /// Topmost first.
        lower: Vec<Lower>,
        /// Holds `upper` and `work`.
        writable: Writable,
        /// Where it is mounted, in the container's mount namespace only.
        merged: String,
    },
}

impl Default for Root {
    fn default() -> Root {
        Root::Directory { path: "/".to_owned(), idmap: Idmap::Yes }
    }
}

/// One read-only layer.
#[derive(Debug, Clone)]
pub struct Lower {
    pub source: String,
    /// Where its mapped copy is attached, in the container's mount namespace only; mostly over itself.
    pub at: String,
}

/// The writable layer.
#[derive(Debug, Clone)]
pub struct Writable {
    /// A directory that has, or in memory will have, `upper` and `work`.
    pub dir: String,
    pub in_memory: bool,
    /// In memory: bytes; 0: as many as a tmpfs takes.
    pub size: u64,
}

/// Whether the owners of files are seen through the container's ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idmap {
    No,
    /// Where the file system knows no mapping its files are nobody's.
    IfPossible,
    /// Of a tree the topmost mount alone.
    Top,
    Yes,
}

#[derive(Debug, Clone)]
pub enum Mount {
    /// A new kernel file system.
    Fs {
        fstype: String,
        source: String,
        options: Vec<(String, String)>,
        attr: Attr,
        target: String,
        extra: Extra,
    },
    /// A directory or file of the host.
    Bind {
        source: String,
        target: String,
        attr: Attr,
        recursive: bool,
        idmap: Idmap,
        file: bool,
        extra: Extra,
    },
    /// `/dev`, filled; the options are those of its tmpfs.
    Dev { attr: Attr, options: Vec<(String, String)> },
    /// The control groups of the container.
    Cgroup { attr: Attr, target: String },
}

/// An image as a read-only directory.
#[derive(Debug, Clone)]
pub struct ImageMount {
    /// Topmost first.
    pub layers: Vec<String>,
    /// A directory or file in it; empty for all of it.
    pub subpath: String,
    pub target: String,
    /// A directory of the engine's, the same for all, where images are put together in the container's mount namespace.
    pub workshop: String,
}

/// What few mounts have.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Flags of the topmost mount of a tree.
    pub top: Attr,
    /// Flags that are cleared, of the topmost mount.
    pub clear: Attr,
    /// Flags that are set and cleared on the mount and all below it.
    pub below: (Attr, Attr),
    pub propagation: Option<(Propagation, Recursive)>,
    /// What the root has at the target is copied into the new file system, or into the tree.
    pub copy_up: bool,
    /// With that, the tree's own owner and mode stay.
    pub keep_owner: bool,
    /// A place below the source, instead of the source itself.
    pub subpath: String,
    /// A mapping of its own instead of the container's.
    pub mapping: Option<Mapping>,
    /// The target must not be reached by a link.
    pub strict: bool,
}

/// Ids on disk, and those of the host that they are seen as.
#[derive(Debug, Clone, Default)]
pub struct Mapping {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
    pub recursive: bool,
}

/// The program.
#[derive(Debug, Clone, Default)]
pub struct Process {
    pub argv: Vec<String>,
    pub env: Vec<String>,
    pub cwd: String,
    pub terminal: bool,
    /// The terminal's first rows and columns.
    pub terminal_size: Option<(u16, u16)>,
    pub init: bool,
    /// `HOME`, where `env` has none, is that of the user in the container's `/etc/passwd`.
    pub home: bool,
    pub credentials: Credentials,
    pub scheduler: Option<Scheduler>,
    pub io_priority: Option<IoPriority>,
    pub affinity: Affinity,
}
