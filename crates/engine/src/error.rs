//! What can go wrong, in Docker's words where scripts look for them.

use std::io;
use std::path::Path;
use steps::Near;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("No such container: {0}{1}")]
    NoSuchContainer(String, Near),
    #[error("Multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse { name: String, id: String },
    #[error("Container {0} is not running")]
    NotRunning(String),
    #[error(
        "cannot remove container \"{0}\": container is running: stop the container before removing or force remove"
    )]
    Running(String),
    #[error("{what} '{object}': {}", words(cause))]
    Io { what: &'static str, object: String, cause: io::Error },
    #[error("no such volume: {0}{1}")]
    NoSuchVolume(String, Near),
    #[error("remove {name}: volume is in use - [{users}]")]
    VolumeInUse { name: String, users: String },
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Network(#[from] network::Error),
    #[error(transparent)]
    Start(#[from] runtime::StartError),
    #[error(transparent)]
    Attach(#[from] crate::attach::AttachError),
}

impl Error {
    /// A container that is gone meanwhile.
    pub(crate) fn no_container(word: &str) -> Error {
        Error::NoSuchContainer(word.to_owned(), Near::default())
    }

    pub fn io(what: &'static str, object: impl AsRef<Path>, cause: impl Into<io::Error>) -> Error {
        Error::Io { what, object: object.as_ref().display().to_string(), cause: cause.into() }
    }

    /// Nothing has the name that was asked for.
    pub fn is_not_found(&self) -> bool {
        match self {
            Error::NoSuchContainer(..) | Error::NoSuchVolume(..) => true,
            Error::Image(error) => error.is_not_found(),
            Error::Network(network::Error::NotFound(..)) => true,
            _ => false,
        }
    }

    /// The exit code of `run` and `start`: 125, or 126 and 127 for a program that cannot run or is not there.
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Start(error) => error.code,
            _ => 125,
        }
    }
}

/// An error of the system in our words: lower case, without "(os error 28)".
pub(crate) fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        // An abbreviation keeps its capitals.
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}
