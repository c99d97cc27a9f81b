//! The OCI runtime: a resolved specification and the host's facts make a [`steps::Plan`] (pure); the executor performs
//! it. It knows no images, no networks' configuration, and no asynchronous runtime.

mod enter;
mod execute;
pub mod group;
mod host;
pub mod oci;
mod plan;
pub mod ps;
pub mod spaces;
mod spec;

pub use enter::{Enter, enter};
pub use execute::{Agent, CLONE, Launched, StartError, Stdio, Watch, launch, teller};
pub use group::{GroupPath, GroupPaths};
pub use host::{Cgroups, Hierarchy, Host, PROCESSORS, thermal_counters};
pub use plan::{INIT, MoreMounts, WAIT, ignored_limits, more_mounts, plan, program_by_hand};
pub use spec::*;
