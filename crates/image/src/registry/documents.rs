//! Manifests, indexes and configs, from the store where it has them, from a registry otherwise; each checked against what led to it.

use super::http::Call;
use super::{Answer, Session};
use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::manifest::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::store::Store;
use ureq::http::Method;

/// A manifest or an index.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    /// As which it was given; empty where the registry says nothing useful.
    pub kind: String,
}

impl Session<'_> {
    /// The digest behind a tag, without the document: it doesn't count for rate limits. None where the registry doesn't say.
    pub fn head(&self, which: &str) -> Result<Option<Digest>> {
        let call =
            Call::new(Method::HEAD, self.url(&format!("manifests/{which}"))?).header("accept", accepted());
        let answer = self.send(&call, "the manifest")?;
        if !answer.is_success() {
            return Err(self.refusal(answer, &self.named(which)));
        }
        Ok(answer.header("docker-content-digest").and_then(|text| Digest::parse(text).ok()))
    }

    /// The manifest or index of a tag, or of a digest.
    pub fn manifest(&self, which: &str, max: u64) -> Result<Fetched> {
        let call = Call::get(self.url(&format!("manifests/{which}"))?).header("accept", accepted());
        let mut answer = self.send(&call, "the manifest")?;
        if answer.status != 200 {
            return Err(self.refusal(answer, &self.named(which)));
        }
        let kind = kind(&answer);
        let bytes = answer.read("the manifest", max)?;
        let digest = Digest::of(&bytes);
        if let Ok(wanted) = Digest::parse(which)
            && wanted != digest
        {
            return invalid(format!("manifest {wanted}: digest mismatch: got {digest}"));
        }
        // One that lies about its own digest means no good; other algorithms say nothing to us.
        if let Some(Ok(said)) = answer.header("docker-content-digest").map(Digest::parse)
            && said != digest
        {
            return invalid(format!("{} says manifest {said}, but gives {digest}", self.endpoint.host));
        }
        Ok(Fetched { digest, bytes, kind })
    }

    fn named(&self, which: &str) -> String {
        let separator = if which.contains(':') { '@' } else { ':' };
        format!("{}{separator}{which}", self.endpoint.repository)
    }

    /// A small blob, digest and size checked.
    pub fn small_blob(&self, descriptor: &Descriptor, what: &str, max: u64) -> Result<Vec<u8>> {
        let digest = Digest::parse(&descriptor.digest)?;
        if descriptor.size > max {
            return invalid(format!("{what} {digest} is longer than {max} bytes"));
        }
        let call = Call::get(self.url(&format!("blobs/{digest}"))?);
        let mut answer = self.send(&call, what)?;
        if answer.status != 200 {
            return Err(self.refusal(answer, &format!("{what} {digest}")));
        }
        let bytes = answer.read(&format!("{what} {digest}"), descriptor.size)?;
        check(&digest, descriptor.size, &bytes, what)?;
        Ok(bytes)
    }
}

/// Right by size and digest.
pub fn check(digest: &Digest, size: u64, bytes: &[u8], what: &str) -> Result<()> {
    if bytes.len() as u64 != size {
        return invalid(format!("{what} {digest} has {} bytes, not {size}", bytes.len()));
    }
    let got = Digest::of(bytes);
    if got != *digest {
        return invalid(format!("{what} {digest}: digest mismatch: got {got}"));
    }
    Ok(())
}

/// A document of the store that is what a descriptor says.
pub fn stored(store: &Store, descriptor: &Descriptor, what: &str) -> Option<Vec<u8>> {
    let digest = Digest::parse(&descriptor.digest).ok()?;
    let bytes = store.document(&digest).ok()?;
    check(&digest, descriptor.size, &bytes, what).ok()?;
    Some(bytes)
}

/// The media type of an answer. Servers that know nothing of images give types that say nothing; all others are taken by their word.
fn kind(answer: &Answer) -> String {
    let kind = answer.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/json" | "text/plain" | "application/octet-stream" | "binary/octet-stream" => {
            String::new()
        }
        _ => kind,
    }
}

/// Refuse what is neither a manifest nor an index by its type.
pub fn check_kind(fetched: &Fetched) -> Result<()> {
    let kind = fetched.kind.as_str();
    if kind.is_empty() || INDEX.contains(&kind) || MANIFEST.contains(&kind) {
        return Ok(());
    }
    let shown = show(kind.as_bytes());
    if kind.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        return Err(Error::Invalid(
            "its manifest is of the first schema, which is not supported: whoever owns it has to push it again".into(),
        ));
    }
    invalid(format!("it is not a container image, but of type '{shown}'"))
}

fn accepted() -> String {
    [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].join(", ")
}
