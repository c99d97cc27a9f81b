//! An OCI bundle's `config.json` as a [`crate::Spec`]. See the runtime specification, config.md and config-linux.md.
//!
//! The file is trusted, the root file system that it names is not.

mod devices;
pub mod process;
mod resources;
mod seccomp;

pub use process::process;
pub use resources::{check, limits, resources};
pub use seccomp::{Listener, listener, seccomp};

/// What is wrong with a `config.json`, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("config.json: {field}: {why}")]
pub struct ConfigError {
    /// As a path: `linux.resources.pids.limit`, `mounts[3].options`.
    pub field: String,
    pub why: String,
}

impl ConfigError {
    pub fn new(field: impl Into<String>, why: impl std::fmt::Display) -> ConfigError {
        ConfigError { field: field.into(), why: why.to_string() }
    }
}

/// What converting a part of a `config.json` answers.
pub type Config<T> = std::result::Result<T, ConfigError>;
