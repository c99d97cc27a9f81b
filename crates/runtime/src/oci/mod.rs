//! An OCI bundle's `config.json` as a [`crate::Spec`]. See the runtime specification, config.md and config-linux.md.
//!
//! The file is trusted, the root file system that it names is not.

mod config;
mod container;
mod devices;
mod document;
mod exec;
mod gvariant;
pub mod hooks;
mod mounts;
pub mod process;
mod rdt;
mod record;
pub mod resources;
pub mod rootless;
mod seccomp;
mod systemd;

pub use config::{Bundle, Options, Understood, parse, spec};
pub use container::{Create, create, delete, explain, go, kept, kill, kill_all, start};
pub use document::Document;
pub use exec::{Exec, SubGroup, exec};
pub use mounts::mount_options;
pub use process::process;
pub use record::{Containers, Record, Status};
pub use resources::{check, limits, resources};
pub use seccomp::{Listener, listener, seccomp};
pub use systemd::unit;

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
        ConfigError { field: one_line(field.into()), why: one_line(why.to_string()) }
    }
}

/// Words of the file's stand in messages about it: what would end the line, or drive a terminal, is escaped.
fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    text.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
    })
}

/// What converting a part of a `config.json` answers.
pub type Config<T> = std::result::Result<T, ConfigError>;

/// Why an operation was not done: one line.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub message: String,
    /// There is no such container.
    pub missing: bool,
}

/// What an operation answers.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(message: impl Into<String>) -> Error {
        Error { message: one_line(message.into()), missing: false }
    }

    fn missing(message: String) -> Error {
        Error { message: one_line(message), missing: true }
    }

    fn io(what: &str, path: &std::path::Path, why: impl Into<std::io::Error>) -> Error {
        Error::new(format!("{what} {}: {}", path.display(), mounts::reason(&why.into())))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Error {
        Error::new(error.to_string())
    }
}

impl From<crate::StartError> for Error {
    fn from(error: crate::StartError) -> Error {
        // Steps and their undoing stand on lines of their own; here there is one.
        Error::new(error.message.replace("\n  ", "; "))
    }
}
