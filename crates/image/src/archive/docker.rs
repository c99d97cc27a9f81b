//! Docker's archive: `manifest.json` names a config and layers for each image. Written by `docker save` (with `<id>/layer.tar`, later with
//! `blobs/sha256/<hex>`), skopeo and buildah (`<hex>.tar`).

use super::oci::Manifest;
use super::source::Source;
use super::{LayerBlob, Parsed};
use crate::config::ImageConfig;
use crate::digest::{Digest, is_hex64};
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::limits::Limits;
use crate::reference::Reference;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// The images that `manifest.json` lists.
pub fn parse(source: &Source, document: &[u8], limits: &Limits) -> Result<Vec<Parsed>> {
    let items: Vec<Item> = serde_json::from_slice(document)
        .map_err(|e| Error::Invalid(format!("'manifest.json' cannot be read: {e}")))?;
    if items.is_empty() {
        return invalid("'manifest.json' lists no image");
    }
    if items.len() > limits.images {
        return invalid(format!("more than {} images", limits.images));
    }
    let manifests = super::oci::manifests(source, limits)?;
    items.into_iter().map(|item| image(source, item, &manifests, limits)).collect()
}

fn image(source: &Source, item: Item, manifests: &[Manifest], limits: &Limits) -> Result<Parsed> {
    let name = &item.config;
    let config = source.need(name)?.read(&show(name.as_bytes()), limits.config)?;
    let id = Digest::of(&config);
    if let Some(expected) = digest_in_name(name)
        && id.hex() != expected
    {
        return invalid(format!("config 'sha256:{expected}': digest mismatch: got {id}"));
    }
    let image = ImageConfig::parse(&show(name.as_bytes()), &config)?;
    let diff_ids = image.diff_ids()?;
    let paths = item.layers.unwrap_or_default();
    if paths.len() != diff_ids.len() {
        let (have, want) = (paths.len(), diff_ids.len());
        return invalid(format!("'manifest.json' lists {have} layers, the config of {id} {want}"));
    }
    if paths.len() > limits.layers {
        return invalid(format!("more than {} layers", limits.layers));
    }
    let mut layers = Vec::new();
    for (path, diff_id) in paths.iter().zip(diff_ids) {
        // Only `blobs/sha256/<hex>` is named by the digest of what lies there.
        let digest = path.strip_prefix("blobs/sha256/").filter(|hex| is_hex64(hex));
        let digest = digest.map(|hex| Digest::parse(&format!("sha256:{hex}"))).transpose()?;
        layers.push(LayerBlob { blob: source.need(path)?, digest, diff_id });
    }
    let mut names = Vec::new();
    for tag in item.repo_tags.unwrap_or_default() {
        let reference = Reference::parse(&tag)?;
        if reference.tag.is_none() || reference.digest.is_some() {
            return invalid(format!(
                "'{}' in 'manifest.json' is not a name with a tag",
                show(tag.as_bytes())
            ));
        }
        names.push(reference);
    }
    // An archive of today is an OCI layout, too: what both speak of has the manifest's digest.
    let same = |m: &&Manifest| {
        m.config == id
            && m.layers.iter().map(Some).eq(layers.iter().map(|layer: &LayerBlob| layer.digest.as_ref()))
    };
    let manifest = manifests.iter().find(same).map(|m| (m.digest.clone(), m.document.clone()));
    Ok(Parsed { id, config, image, manifest, layers, names })
}

/// The digest in `<hex>.json` or `blobs/sha256/<hex>`.
fn digest_in_name(name: &str) -> Option<&str> {
    let base = name.rsplit('/').next()?;
    let hex = base.strip_suffix(".json").unwrap_or(base);
    is_hex64(hex).then_some(hex)
}
