//! The OCI runtime: a resolved specification and the host's facts make a [`steps::Plan`] (pure); the executor performs
//! it. It knows no images, no networks' configuration, and no asynchronous runtime.

mod enter;
mod execute;
mod host;
pub mod oci;
mod plan;
mod spec;

pub use enter::{Enter, enter};
pub use execute::{Launched, StartError, Stdio, Trace, launch};
pub use host::{Cgroups, Host};
pub use plan::{cgroup_paths, ignored_limits, plan};
pub use spec::*;
