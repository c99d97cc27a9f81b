//! What `history` and `image tree` tell of an image.

use super::{Image, Store};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::Result;

/// One line of an image's history, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryLine {
    /// The image's for the newest line. Older ones were images once, on the machine that built it.
    pub id: Option<String>,
    /// RFC 3339, as the builder wrote it.
    pub created: Option<String>,
    pub created_by: String,
    pub comment: String,
    /// Bytes of the layer; 0 where there is none.
    pub size: u64,
}

impl Store {
    /// `name` is anything that [`Store::resolve`] takes.
    pub fn history(&self, name: &str) -> Result<Vec<HistoryLine>> {
        let image = self.resolve(name)?;
        let config = self.config_of(&image)?;
        let mut layers = image.layers.iter();
        let mut lines = Vec::new();
        for step in config.history {
            let size = if step.empty_layer { 0 } else { layers.next().map_or(0, |l| l.size) };
            let (created, created_by, comment) = (step.created, step.created_by, step.comment);
            lines.push(HistoryLine { id: None, created, created_by, comment, size });
        }
        // Some builders write less history than layers.
        for layer in layers {
            let (created_by, comment) = (String::new(), String::new());
            lines.push(HistoryLine { id: None, created: None, created_by, comment, size: layer.size });
        }
        lines.reverse();
        if let Some(newest) = lines.first_mut() {
            newest.id = Some(image.id);
        }
        Ok(lines)
    }

    /// The config document of an image.
    pub fn config_of(&self, image: &Image) -> Result<ImageConfig> {
        if image.host {
            return Ok(ImageConfig::default());
        }
        let digest = Digest::parse(&format!("sha256:{}", image.id))?;
        ImageConfig::parse(&image.id, &self.document(&digest)?)
    }
}
