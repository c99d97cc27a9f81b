//! What no image refers to any more, and what killed processes left half done. References are found by reading, never counted.

use super::tmp::sweep;
use super::{Store, usage};
use crate::digest::Digest;
use crate::error::{Result, io};
use crate::manifest::{Checked, check};
use std::collections::HashSet;

/// All that images refer to, by hexadecimal digits.
#[derive(Debug, Default)]
pub(crate) struct InUse {
    /// Chain ids.
    pub layers: HashSet<String>,
    /// Configs, manifests and compressed layers.
    pub blobs: HashSet<String>,
}

/// What [`Store::collect`] has deleted.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub layers: HashSet<String>,
    /// Bytes of the disk that are free again.
    pub bytes: u64,
}

impl Store {
    /// An image whose record can't be read is an error: nobody knows what it needs.
    pub(crate) fn in_use(&self) -> Result<InUse> {
        let mut used = InUse::default();
        for id in self.ids()? {
            let image = self.image(&id)?;
            used.layers.extend(image.layers.into_iter().map(|l| l.chain));
            if let Some(manifest) = image.manifest {
                used.blobs.extend(self.blobs_of(&manifest)?);
                used.blobs.insert(manifest);
            }
            used.blobs.insert(image.id);
        }
        // A name with a digest keeps that manifest, though the image may have come with another since.
        for digest in self.all_tags()?.into_iter().filter_map(|(name, _)| name.digest) {
            if let Ok(digest) = Digest::parse(&digest) {
                used.blobs.extend(self.blobs_of(digest.hex())?);
                used.blobs.insert(digest.hex().to_string());
            }
        }
        Ok(used)
    }

    /// The layers that a manifest lists; none where it is missing or damaged, for then they are of no use.
    pub(super) fn blobs_of(&self, manifest: &str) -> Result<Vec<String>> {
        let bytes = match self.read(&format!("blobs/sha256/{manifest}")) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io(format!("read the manifest sha256:{manifest}"))(e)),
        };
        Ok(match check(manifest, &bytes, "") {
            Ok(Checked::Manifest { layers, .. }) => {
                let digests = layers.iter().filter_map(|l| Digest::parse(&l.digest).ok());
                digests.map(|d| d.hex().to_string()).collect()
            }
            _ => Vec::new(),
        })
    }

    /// Delete layers and blobs that no image refers to, and what killed processes left. Under the lock.
    pub(crate) fn collect(&self) -> Result<Collected> {
        let used = self.in_use()?;
        let mut gone = Collected::default();
        for layer in self.names_in("layers")? {
            if !used.layers.contains(&layer) {
                gone.bytes += usage::below(&self.fd, &format!("layers/{layer}"));
                self.delete_layer(&layer)?;
                gone.layers.insert(layer);
            }
        }
        for blob in self.names_in("blobs/sha256")? {
            if !used.blobs.contains(&blob) {
                let path = format!("blobs/sha256/{blob}");
                gone.bytes += usage::below(&self.fd, &path);
                self.unlink(&path)?;
            }
        }
        for (name, id) in self.all_tags()? {
            if self.image(&id).is_err_and(|e| e.is_not_found()) {
                self.remove_tag(&name)?;
            }
        }
        sweep(self, true);
        Ok(gone)
    }

    /// Out of the way by one rename, so that half a layer is never found; then deleted.
    pub(super) fn delete_layer(&self, chain: &str) -> Result<()> {
        let fail = || io(format!("remove layer sha256:{chain}"));
        let from = self.root.join("layers").join(chain);
        let to = self.root.join("tmp").join(super::tmp::random_name()?);
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(fail())?,
        }
        match std::fs::remove_dir_all(&to) {
            // A load swept it away for us.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            // Nothing of ours.
            Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
                std::fs::remove_file(&to).map_err(fail())
            }
            other => other.map_err(fail()),
        }
    }
}
