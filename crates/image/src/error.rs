//! The one error type of the crate: each message is one line that names the object and the cause.

use std::io;

/// What can go wrong with images. `Display` gives the whole line, without a final period.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a name, an id, a prefix of an id nor a digest of an image in the store.
    #[error("no such image: {0}{1}")]
    NoSuchImage(String, steps::Near),
    /// Not a name by Docker's grammar.
    #[error("invalid reference '{name}': {cause}")]
    Reference { name: String, cause: String },
    /// A prefix that several image ids share.
    #[error("image id '{0}' is ambiguous: several images begin with it")]
    Ambiguous(String),
    /// An image that is in use, or has other names.
    #[error("conflict: {0}")]
    Conflict(String),
    /// A load that failed; the store is as it was before.
    #[error("cannot load {name}: {cause}")]
    Load { name: String, cause: Box<Error> },
    /// A layer that can't be unpacked, or is not what its digest says.
    #[error("layer {digest}: {cause}")]
    Layer { digest: String, cause: Box<Error> },
    /// A pull that failed; what was downloaded stays for the next one.
    #[error("cannot pull {name}: {cause}")]
    Pull { name: String, cause: Box<Error> },
    #[error("cannot push {name}: {cause}")]
    Push { name: String, cause: Box<Error> },
    /// A registry knows us, or this image, not well enough.
    #[error("{host} refuses: {cause}")]
    Unauthorized { host: String, cause: String },
    /// A registry doesn't have it.
    #[error("{host} does not have {what}: {cause}")]
    NotThere { host: String, what: String, cause: String },
    /// Something in an archive, a layer or a document of an image is not as it must be.
    #[error("{0}")]
    Invalid(String),
    /// The machine refused something. `what` reads on from "cannot".
    #[error("cannot {what}: {}", words(.source))]
    Io { what: String, source: io::Error },
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// True where the image is simply not there, so that the caller may want to pull it.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NoSuchImage(..))
    }
}

/// For `.map_err(io("open 'x'"))`.
pub(crate) fn io<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |e| Error::Io { what, source: e.into() }
}

/// Shorthand for an [`Error::Invalid`].
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}

/// An io error in our words: lower case, without "(os error 28)".
pub(crate) fn words(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        // An abbreviation keeps its capitals.
        Some(first) if !chars.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().collect::<String>() + chars.as_str()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_without_os_error() {
        let e: Error = io::<io::Error>("write 'x'")(io::Error::from_raw_os_error(28));
        assert_eq!(e.to_string(), "cannot write 'x': no space left on device");
    }
}
