//! An image as the parts that an archive or a registry takes: manifest, config, layers.

use super::{Image, Store};
use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::layer::compress::Compression;
use crate::manifest::{Checked, DOCKER_MANIFEST, Descriptor, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, check};
use serde::{Deserialize, Serialize};
use std::io::Read;

/// The whole image, every part of it at hand.
#[derive(Debug, Clone)]
pub struct Parts {
    pub manifest: Digest,
    /// The manifest itself.
    pub document: Vec<u8>,
    pub media_type: String,
    pub config: Digest,
    /// The config itself.
    pub config_document: Vec<u8>,
    /// Lowest first.
    pub layers: Vec<Part>,
}

/// One layer, in the form that the manifest lists.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// The layer's chain id, 64 hexadecimal digits.
    pub chain: String,
    /// As it came; plain is the tar stream, made again from the layer's tree.
    pub compression: Compression,
}

/// What [`Store::parts`] writes where there is no manifest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Store {
    /// The image by the manifest that it came with, as long as all that this lists is still there to the bit; else
    /// [`Self::plain_parts`].
    pub fn parts(&self, image: &Image) -> Result<Parts> {
        if image.host {
            return invalid(format!(
                "{} is this machine's own root, not an image of layers",
                crate::host::NAME
            ));
        }
        match self.original(image) {
            Some((manifest, document, layers)) => {
                let media_type = media_type(&document);
                let (config, config_document) = self.config(image)?;
                Ok(Parts { manifest, document, media_type, config, config_document, layers })
            }
            None => self.plain_parts(image),
        }
    }

    fn config(&self, image: &Image) -> Result<(Digest, Vec<u8>)> {
        let digest = Digest::parse(&format!("sha256:{}", image.id))?;
        let document = self.document(&digest)?;
        Ok((digest, document))
    }

    /// The image by a new manifest, whose layers are plain tar streams. The same image always gives the same.
    pub fn plain_parts(&self, image: &Image) -> Result<Parts> {
        let (config, config_document) = self.config(image)?;
        let mut layers = Vec::new();
        for layer in &image.layers {
            let digest = Digest::parse(&format!("sha256:{}", layer.diff_id))?;
            let Some(record) = self.layer_record(&layer.chain) else {
                return invalid(format!("layer {digest} is missing"));
            };
            layers.push(Part {
                digest,
                size: record.tar_size,
                chain: layer.chain.clone(),
                compression: Compression::Plain,
            });
        }
        let descriptor = |media_type: &str, digest: &Digest, size: u64| Descriptor {
            media_type: media_type.into(),
            digest: digest.to_string(),
            size,
            ..Descriptor::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: OCI_MANIFEST,
            config: descriptor(OCI_CONFIG, &config, config_document.len() as u64),
            layers: layers.iter().map(|l| descriptor(OCI_LAYER, &l.digest, l.size)).collect(),
        };
        let document = serde_json::to_vec(&manifest).map_err(|e| Error::Invalid(e.to_string()))?;
        let (manifest, media_type) = (Digest::of(&document), OCI_MANIFEST.to_string());
        Ok(Parts { manifest, document, media_type, config, config_document, layers })
    }

    /// None where something that the image's manifest lists isn't there any more, or isn't what it was.
    fn original(&self, image: &Image) -> Option<(Digest, Vec<u8>, Vec<Part>)> {
        let manifest = Digest::parse(&format!("sha256:{}", image.manifest.as_ref()?)).ok()?;
        let document = self.document(&manifest).ok()?;
        let Ok(Checked::Manifest { config, layers }) = check(manifest.hex(), &document, "") else {
            return None;
        };
        if config.digest != format!("sha256:{}", image.id) || layers.len() != image.layers.len() {
            return None;
        }
        let mut parts = Vec::new();
        for (listed, layer) in layers.iter().zip(&image.layers) {
            let digest = Digest::parse(&listed.digest).ok()?;
            let (size, compression) = if digest.hex() == layer.diff_id {
                (self.layer_record(&layer.chain)?.tar_size, Compression::Plain)
            } else {
                let blob = self.blob(&digest).ok()??;
                (blob.size, blob.compression()?)
            };
            if size != listed.size {
                return None;
            }
            parts.push(Part { digest, size, chain: layer.chain.clone(), compression });
        }
        Some((manifest, document, parts))
    }

    /// The bytes of a layer, checked while they are read.
    pub fn open_part(&self, part: &Part) -> Result<Box<dyn Read + Send>> {
        if part.compression == Compression::Plain {
            return Ok(Box::new(self.layer_tar(&part.chain)?));
        }
        match self.blob(&part.digest)? {
            Some(blob) => Ok(Box::new(blob)),
            None => invalid(format!("blob {} is missing", part.digest)),
        }
    }
}

/// What a manifest says that it is. Only Docker's must, and does.
pub(crate) fn media_type(document: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        #[serde(default)]
        media_type: String,
    }
    match serde_json::from_slice::<Typed>(document) {
        Ok(typed) if typed.media_type == DOCKER_MANIFEST => DOCKER_MANIFEST.into(),
        _ => OCI_MANIFEST.into(),
    }
}
