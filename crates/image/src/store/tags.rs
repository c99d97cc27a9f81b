//! Names of images: one small file each, so that a lookup is one read and a change one rename.

use super::{Image, Store};
use crate::digest::{Digest, is_hex64};
use crate::error::{Result, io};
use crate::reference::Reference;
use std::io::ErrorKind;

impl Store {
    /// Give an image one more name; what had the name loses it. `source` is anything that [`Store::resolve`] takes.
    pub fn tag(&self, source: &str, target: &str) -> Result<()> {
        let image = self.resolve(source)?;
        let target = Reference::parse(target)?.tagged();
        let refuse =
            |cause: &str| Err(crate::Error::Reference { name: target.familiar(), cause: cause.into() });
        if image.host {
            return refuse("the built-in image can have no other name");
        }
        if target.digest.is_some() {
            return refuse("a name with a digest can't be given");
        }
        self.prepare()?;
        let _lock = self.lock()?;
        // Removed meanwhile?
        let image: Image = self.image(&image.id)?;
        self.write_tag(&target, &image.id)?;
        self.sync_dir("tags")
    }

    /// The id behind a full name.
    pub(crate) fn tagged_id(&self, reference: &Reference) -> Result<Option<String>> {
        // `name:tag@digest`: the digest decides.
        let reference = match (&reference.digest, &reference.tag) {
            (Some(_), Some(_)) => &Reference { tag: None, ..reference.clone() },
            _ => reference,
        };
        let bytes = match self.read(&format!("tags/{}", file_name(reference))) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(format!("read the tag '{}'", reference.familiar()))(e)),
        };
        Ok(parse(&bytes).map(|(id, _)| id))
    }

    /// Every name with the id that it leads to.
    pub(crate) fn all_tags(&self) -> Result<Vec<(Reference, String)>> {
        let mut tags = Vec::new();
        for name in self.names_in("tags")? {
            if name.starts_with('.') {
                continue;
            }
            let bytes = match self.read(&format!("tags/{name}")) {
                Ok(bytes) => bytes,
                // Removed meanwhile.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                // Who takes away what has no name any more has to know all of them.
                Err(e) => return Err(io(format!("read the tag '{name}'"))(e)),
            };
            if let Some((id, reference)) = parse(&bytes) {
                tags.push((reference, id));
            }
        }
        Ok(tags)
    }

    /// Where a name is kept, and what is in its file when it leads to `id`.
    pub fn tag_file(&self, reference: &Reference, id: &str) -> (std::path::PathBuf, String) {
        let path = self.root.join("tags").join(file_name(reference));
        (path, format!("sha256:{id}\n{reference}\n"))
    }

    /// Under the lock. The caller syncs the directory.
    pub(crate) fn write_tag(&self, reference: &Reference, id: &str) -> Result<()> {
        self.write(
            &format!("tags/{}", file_name(reference)),
            format!("sha256:{id}\n{reference}\n").as_bytes(),
        )
    }

    /// Bytes that a name takes on the disk.
    pub(crate) fn tag_usage(&self, reference: &Reference) -> u64 {
        super::usage::below(&self.fd, &format!("tags/{}", file_name(reference)))
    }

    /// Under the lock.
    pub(crate) fn remove_tag(&self, reference: &Reference) -> Result<()> {
        self.unlink(&format!("tags/{}", file_name(reference)))
    }
}

pub(super) fn parse(bytes: &[u8]) -> Option<(String, Reference)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let id = lines.next()?.strip_prefix("sha256:").filter(|id| is_hex64(id))?;
    Some((id.to_string(), Reference::parse(lines.next()?).ok()?))
}

/// The full name, percent-encoded so that it is one component: `docker.io%2Flibrary%2Fbusybox:latest`. One that would be too long for a
/// file name (255 bytes) goes by its digest.
fn file_name(reference: &Reference) -> String {
    let name = reference.to_string().replace('/', "%2F");
    match name.len() {
        // Room for the ending of temporary names.
        ..=230 => name,
        _ => format!("%{}", Digest::of(name.as_bytes()).hex()),
    }
}
