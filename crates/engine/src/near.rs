//! What was probably meant by a name that nothing has.

use crate::Engine;
use std::path::Path;
use steps::Near;

/// What a file of this directory is nearly called.
pub(crate) fn near(word: &str, dir: &Path) -> Near {
    Near::of(word, names(dir))
}

fn names(dir: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

impl Engine {
    /// The container, image, network or volume whose name is nearly this one.
    pub fn near_anything(&self, word: &str) -> Near {
        let images = self.images().list().unwrap_or_default();
        let images = images.iter().flat_map(|image| &image.tags).flat_map(|tag| {
            let full = tag.familiar();
            let short = full.rsplit_once(':').map(|(name, _)| name.to_owned());
            short.into_iter().chain([full])
        });
        let networks = self.networks().names().unwrap_or_default();
        let files = ["names", "volumes"].map(|dir| self.root.join(dir));
        let files = files.iter().flat_map(|dir| names(dir));
        Near::of(word, files.chain(images).chain(networks))
    }
}
