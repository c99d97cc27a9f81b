//! Removing all images of a kind at once.

use super::{Removed, Store, Summary, usage};
use crate::error::Result;

/// What [`Store::prune`] has removed.
#[derive(Debug, Default)]
pub struct Pruned {
    pub removed: Vec<Removed>,
    /// Bytes of the disk that are free again.
    pub bytes: u64,
}

impl Store {
    /// Remove the images that `unwanted` says, all their names, and the layers and blobs that nobody has then.
    pub fn prune(&self, unwanted: &dyn Fn(&Summary) -> bool) -> Result<Pruned> {
        self.prepare()?;
        let mut lock = self.lock()?;
        lock.begin()?;
        let mut pruned = Pruned::default();
        let mut chains = Vec::new();
        for summary in self.list()? {
            if !unwanted(&summary) {
                continue;
            }
            let record = format!("images/{}.json", summary.image.id);
            pruned.bytes += usage::below(&self.fd, &record);
            for name in summary.tags.iter().chain(&summary.digests) {
                pruned.bytes += self.tag_usage(name);
                self.remove_tag(name)?;
                pruned.removed.push(Removed::Untagged(name.familiar()));
            }
            self.unlink(&record)?;
            pruned.removed.push(Removed::Deleted(format!("sha256:{}", summary.image.id)));
            chains.extend(summary.image.layers.into_iter().rev().map(|l| l.chain));
        }
        self.sync_dir("tags")?;
        self.sync_dir("images")?;
        let mut gone = self.collect()?;
        lock.end()?;
        pruned.bytes += gone.bytes;
        chains.retain(|chain| gone.layers.remove(chain));
        pruned.removed.extend(chains.into_iter().map(|chain| Removed::Deleted(format!("sha256:{chain}"))));
        Ok(pruned)
    }
}
