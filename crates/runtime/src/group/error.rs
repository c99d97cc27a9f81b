//! What the kernel refused, of which group.

use rustix::io::Errno;
use std::fmt::Display;

/// Something that could not be done to a container's groups: one line that names the file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct GroupError {
    pub message: String,
    /// The kernel's answer, where there was one.
    pub errno: Option<Errno>,
}

impl GroupError {
    pub(super) fn new(message: impl Display) -> GroupError {
        GroupError { message: message.to_string(), errno: None }
    }

    pub(super) fn io(doing: &str, path: impl Display, e: &std::io::Error) -> GroupError {
        GroupError { message: format!("cannot {doing} {path}: {e}"), errno: Errno::from_io_error(e) }
    }
}

pub(super) type Result<T> = std::result::Result<T, GroupError>;

/// Whether the group, or the kernel, lacks the file.
pub(super) fn is_missing(e: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(e), Some(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP))
}

pub(super) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| GroupError::io("read", path, &e))
}

/// `None` where there is no such file.
pub(super) fn read_if_there(path: &str) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_missing(&e) => Ok(None),
        Err(e) => Err(GroupError::io("read", path, &e)),
    }
}

pub(super) fn write(path: &str, value: &str) -> Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|e| GroupError::io(&format!("write {value:?} to"), path, &e))
}
