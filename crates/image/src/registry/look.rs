//! Looking at what a registry has, without taking it.

use super::documents::Fetched;
use super::{Client, Listener, Session, sessions};
use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::manifest::{Checked, Descriptor, check};
use crate::reference::Reference;

/// A manifest or an index as it is there.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `sha256:…`
    pub digest: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
    /// What an index lists; None for a manifest.
    pub manifests: Option<Vec<Descriptor>>,
}

/// The manifest or index that a name leads to.
pub fn look(client: &Client, reference: &Reference, listener: &Listener) -> Result<Seen> {
    let reference = reference.clone().tagged();
    let which = reference.digest.as_deref().or(reference.tag.as_deref()).unwrap_or_default();
    let mut failure = None;
    for session in sessions(client, &reference, false, listener)? {
        match look_at(&session, which) {
            Ok(seen) => return Ok(seen),
            Err(e) => failure = Some(e),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Invalid("there is no place to look at".into())))
}

fn look_at(session: &Session, which: &str) -> Result<Seen> {
    let fetched = session.manifest(which, Limits::default().manifest)?;
    super::documents::check_kind(&fetched)?;
    let Fetched { digest, bytes, kind } = fetched;
    let manifests = match check(&digest.to_string(), &bytes, &kind)? {
        Checked::Index(manifests) => Some(manifests),
        Checked::Manifest { .. } => None,
    };
    Ok(Seen { digest: digest.to_string(), media_type: kind, bytes, manifests })
}
