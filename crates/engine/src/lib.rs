//! Containers as users know them: create, start, stop, exec, logs, rm. It knows no terminal tables and no HTTP.
#![recursion_limit = "256"]

pub mod attach;
pub mod check;
mod commit;
mod container;
mod control;
pub mod cp;
mod devices;
pub mod df;
pub mod diff;
mod error;
mod exec;
mod files;
mod group;
pub mod inspect;
mod life;
pub mod logs;
pub mod look;
pub mod monitor;
pub mod names;
mod net;
mod pause;
mod seal;
mod settings;
pub mod signal;
mod specify;
mod start;
pub mod stats;
mod still;
mod store;
pub mod top;
mod users;
mod volumes;

pub use commit::CommitOptions;
pub use container::{Container, State, Time};
pub use error::{Error, Result};
pub use exec::ExecSettings;
pub use inspect::tree_size;
pub use net::{NetworkSettings, predefined};
pub use seal::{seal, seal_as_user};
pub use settings::*;
pub use specify::ignored_limits;
pub use start::{StartOptions, Started};
pub use store::Engine;
pub use volumes::{Volume, VolumeWish, volume_names};
