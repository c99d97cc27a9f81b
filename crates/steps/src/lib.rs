//! The vocabulary of plans. A [`Step`] is one thing that is done to the kernel, with four faces: it performs itself,
//! says the shell command that does the same, names its own reverse, and draws itself. A [`Plan`] is a list of them.
//!
//! To add a step: one struct in the file of its kernel idea, the four faces, one line in `steps!` below.

mod address;
mod begin;
mod bridge;
mod bundle;
mod cgroup;
mod copy_up;
mod credentials;
pub mod dbus;
mod dev;
mod exec;
mod files;
mod home;
mod hook;
mod identity;
mod journal;
mod limits;
mod live;
mod macvlan;
mod meet;
mod memory;
mod mount;
mod names;
mod nearest;
mod netns;
pub mod nft;
mod overlay;
mod picture;
mod plan;
mod priority;
mod protect;
mod quota;
mod resctrl;
mod shell;
mod sysctl;
pub mod systemd;
mod terminal;
mod text;
pub mod through;
mod tree;
mod uts;
mod veth;

pub use address::{ConfigureLinks, Configured};
pub use begin::{AwaitStart, KEPT, KeepNamespaces, Listen, Visitors};
pub use bridge::EnsureBridge;
pub use bundle::ShowBundle;
pub use cgroup::{
    DelegateCgroup, EnsureCgroup, FilterDevices, InheritCpuset, JoinCgroup, LinkController, MakeCgroup,
    OpenCgroup, PutIntoCgroup, RemoveCgroup, SetCgroup, UnshareCgroup, processes_of, signal_group,
};
pub use copy_up::FillTree;
pub use credentials::{Credentials, Keyring, Label, MemoryPolicy, PER_LINUX32};
pub use dev::{BindNodes, DevTmpfs, MakeNode, Node};
pub use exec::{Affinity, Exec, Ready};
pub use files::{MakeDir, MakeInside, RemoveFile, RemoveTree, WriteFile};
pub use hook::RunHook;
pub use identity::{BecomeRoot, IdRange, OomScore, OpenProc, WriteIdMaps};
pub use journal::Journal;
pub use kernel::mount::Propagation;
pub use limits::{Limit, RaiseLimits};
pub use live::{Failure, HAND_OVER, Live, Outcome, REPORT, Slot, TURN};
pub use macvlan::{CreateMacvlan, MacvlanMode};
pub use meet::{Arrive, Await, Expect, Release};
pub use memory::{Content, MemoryFile};
pub use mount::{EnterRoot, MakeFs, MountFs, PivotRoot, Propagate, Seal};
pub use names::{NAME_SERVER, OpenNameServer, PublishNames, WithdrawNames};
pub use nearest::{Near, nearest};
pub use netns::{NameNamespace, UnnameNamespace};
pub use nft::{EnsureFirewall, Forward, Protocol, Publish, Unpublish};
pub use overlay::{EnterMounts, ImageOverlay, LeaveMounts, Overlay};
pub use picture::Picture;
pub use plan::{Join, Phase, Plan, Spawn, TimeOffset};
pub use priority::{IoPriority, Schedule};
pub use protect::{Mask, ReadOnly};
pub use quota::LimitTree;
pub use resctrl::{MakeResctrl, RemoveResctrl, WriteResctrl};
pub use shell::{Fidelity, Shell, commands, nsenter, numbered, quote, script, unshare_flags};
pub use sysctl::{EnsureForwarding, EnsureSysctl, SetSysctl};
pub use systemd::{StartUnit, StopUnit};
pub use terminal::OpenTerminal;
pub use text::Text;
pub use through::LetThrough;
pub use tree::{AttachAt, AttachBelow, AttachTree, ChangeTree, IdmapTree, IdmapTreeBy, OpenTree};
pub use uts::SetHostname;
pub use veth::{CreateVeth, MoveLink};

use serde::{Deserialize, Serialize};

/// Declares the closed set of steps; every variant must have all four faces, or this does not compile.
macro_rules! steps {
    ($($name:ident),* $(,)?) => {
        /// One thing that is done to the kernel.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum Step { $($name($name)),* }

        impl Step {
            /// Does it: picks the system calls, decides nothing, and (for steps of the `inside` list) allocates nothing.
            pub fn perform(&self, live: &Live) -> Outcome {
                match self { $(Step::$name(step) => step.perform(live)),* }
            }

            /// The shell command that does the same.
            pub fn shell(&self) -> Shell {
                match self { $(Step::$name(step) => step.shell()),* }
            }

            /// What takes it back; `None` where nothing needs to be (an *ensure*, or a thing that dies with its namespace).
            pub fn undo(&self) -> Option<Step> {
                match self { $(Step::$name(step) => step.undo()),* }
            }

            /// Adds what it makes to the picture of a container.
            pub fn draw(&self, picture: &mut Picture) {
                match self { $(Step::$name(step) => step.draw(picture)),* }
            }

            /// The step's name, as it stands in `--explain=json`.
            pub fn name(&self) -> &'static str {
                match self { $(Step::$name(_) => stringify!($name)),* }
            }
        }

        $(impl From<$name> for Step { fn from(step: $name) -> Step { Step::$name(step) } })*
    };
}

steps!(
    // files and directories of the host
    MakeDir,
    MakeInside,
    WriteFile,
    RemoveFile,
    RemoveTree,
    LimitTree,
    MemoryFile,
    // control groups
    EnsureCgroup,
    MakeCgroup,
    RemoveCgroup,
    InheritCpuset,
    DelegateCgroup,
    SetCgroup,
    FilterDevices,
    MakeResctrl,
    RemoveResctrl,
    WriteResctrl,
    StartUnit,
    StopUnit,
    OpenCgroup,
    JoinCgroup,
    PutIntoCgroup,
    UnshareCgroup,
    LinkController,
    // detached mount trees
    OpenTree,
    IdmapTree,
    IdmapTreeBy,
    ChangeTree,
    FillTree,
    AttachAt,
    AttachTree,
    AttachBelow,
    DevTmpfs,
    BindNodes,
    MakeNode,
    // the root file system
    EnterMounts,
    Overlay,
    ImageOverlay,
    LeaveMounts,
    EnterRoot,
    Propagate,
    MountFs,
    Mask,
    ReadOnly,
    PivotRoot,
    // identity
    WriteIdMaps,
    BecomeRoot,
    Await,
    Release,
    Arrive,
    Expect,
    ShowBundle,
    RunHook,
    Listen,
    KeepNamespaces,
    AwaitStart,
    OpenTerminal,
    MakeFs,
    Seal,
    OomScore,
    RaiseLimits,
    Schedule,
    IoPriority,
    OpenProc,
    SetHostname,
    // network
    EnsureBridge,
    EnsureFirewall,
    LetThrough,
    EnsureSysctl,
    EnsureForwarding,
    SetSysctl,
    Publish,
    Unpublish,
    CreateVeth,
    CreateMacvlan,
    OpenNameServer,
    NameNamespace,
    UnnameNamespace,
    PublishNames,
    WithdrawNames,
    ConfigureLinks,
    MoveLink,
);
