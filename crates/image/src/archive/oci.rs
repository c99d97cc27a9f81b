//! OCI image layout: `index.json` leads by digests to manifests, configs and layers (image-spec, image-layout.md).

use super::source::Source;
use super::{LayerBlob, Parsed};
use crate::config::ImageConfig;
use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::limits::Limits;
use crate::manifest::{Checked, Descriptor, check, check_config_type, check_layer_type};
use crate::platform::{Platform, choose};
use crate::reference::Reference;
use serde::Deserialize;
use std::collections::HashSet;

/// Indexes inside indexes.
const MAX_NESTING: usize = 4;

/// The images that `index.json` lists, for this platform.
pub fn parse(source: &Source, document: &[u8], platform: &Platform, limits: &Limits) -> Result<Vec<Parsed>> {
    if let Some(layout) = source.find("oci-layout")? {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Layout {
            image_layout_version: String,
        }
        let bytes = layout.read("oci-layout", limits.manifest)?;
        let layout: Layout = serde_json::from_slice(&bytes)
            .map_err(|e| Error::Invalid(format!("'oci-layout' cannot be read: {e}")))?;
        if !layout.image_layout_version.starts_with("1.") {
            let version = show(layout.image_layout_version.as_bytes());
            return invalid(format!("OCI layout of version '{version}' is not supported"));
        }
    }
    let Checked::Index(descriptors) = check("index.json", document, "")? else {
        return invalid("'index.json' is a manifest, not an index");
    };
    if descriptors.is_empty() {
        return invalid("'index.json' lists no image");
    }
    // One image in several platforms may be listed flat: the same name several times.
    let mut groups: Vec<(Option<String>, Vec<Descriptor>)> = Vec::new();
    for descriptor in descriptors {
        let name = annotated_name(&descriptor);
        match groups.iter_mut().find(|(other, _)| name.is_some() && *other == name) {
            Some((_, group)) => group.push(descriptor),
            None => groups.push((name, vec![descriptor])),
        }
    }
    if groups.len() > limits.images {
        return invalid(format!("more than {} images", limits.images));
    }
    let many = groups.len() > 1;
    let mut images: Vec<Parsed> = Vec::new();
    for (name, group) in groups {
        // Attestations and other platforms that stand alone are passed over where there is something else.
        if many
            && name.is_none()
            && group.iter().all(|d| d.platform.as_ref().is_some_and(|p| !platform.accepts(p)))
        {
            continue;
        }
        let mut parsed = resolve(source, choose(group, platform)?, platform, limits, 0)?;
        parsed.names = name.map(|n| reference(&n)).transpose()?.flatten().into_iter().collect();
        images.push(parsed);
    }
    if images.is_empty() {
        return invalid(format!("no image for {platform}"));
    }
    Ok(images)
}

/// A manifest that an archive has beside Docker's own list.
pub struct Manifest {
    pub digest: Digest,
    pub document: Vec<u8>,
    pub config: Digest,
    pub layers: Vec<Digest>,
}

/// The manifests that an `index.json` leads to, where there is one. Those that are not in the archive are passed over: it may have been
/// made for one platform only.
pub fn manifests(source: &Source, limits: &Limits) -> Result<Vec<Manifest>> {
    let mut found = Vec::new();
    let Some(index) = source.find("index.json")? else { return Ok(found) };
    let Ok(Checked::Index(descriptors)) =
        check("index.json", &index.read("index.json", limits.manifest)?, "")
    else {
        return Ok(found);
    };
    let mut ahead: Vec<(Descriptor, usize)> = descriptors.into_iter().map(|d| (d, 0)).collect();
    let mut seen = HashSet::new();
    while let Some((descriptor, depth)) = ahead.pop() {
        let digest = Digest::parse(&descriptor.digest)?;
        if depth > MAX_NESTING || !seen.insert(digest.clone()) || source.find(&path(&digest))?.is_none() {
            continue;
        }
        if seen.len() > limits.images {
            return invalid(format!("more than {} images", limits.images));
        }
        let (digest, document) = read(source, &descriptor, limits.manifest)?;
        match check(&digest.to_string(), &document, &descriptor.media_type)? {
            Checked::Index(below) => ahead.extend(below.into_iter().map(|d| (d, depth + 1))),
            Checked::Manifest { config, layers } => {
                let config = Digest::parse(&config.digest)?;
                let layers = layers.iter().map(|l| Digest::parse(&l.digest)).collect::<Result<_>>()?;
                found.push(Manifest { digest, document, config, layers });
            }
        }
    }
    Ok(found)
}

fn resolve(
    source: &Source,
    descriptor: Descriptor,
    platform: &Platform,
    limits: &Limits,
    depth: usize,
) -> Result<Parsed> {
    let (digest, bytes) = read(source, &descriptor, limits.manifest)?;
    match check(&digest.to_string(), &bytes, &descriptor.media_type)? {
        Checked::Index(_) if depth == MAX_NESTING => {
            invalid(format!("index {digest}: indexes are nested too deeply"))
        }
        Checked::Index(manifests) => {
            resolve(source, choose(manifests, platform)?, platform, limits, depth + 1)
        }
        Checked::Manifest { config, layers } => manifest(source, (digest, bytes), config, layers, limits),
    }
}

fn manifest(
    source: &Source,
    manifest: (Digest, Vec<u8>),
    config: Descriptor,
    layers: Vec<Descriptor>,
    limits: &Limits,
) -> Result<Parsed> {
    let digest = &manifest.0;
    check_config_type(digest, &config)?;
    let (id, bytes) = read(source, &config, limits.config)?;
    let image = ImageConfig::parse(&id.to_string(), &bytes)?;
    let diff_ids = image.diff_ids()?;
    if layers.len() != diff_ids.len() {
        let (have, want) = (layers.len(), diff_ids.len());
        return invalid(format!("manifest {digest} lists {have} layers, its config {want}"));
    }
    if layers.len() > limits.layers {
        return invalid(format!("more than {} layers", limits.layers));
    }
    let mut blobs = Vec::new();
    for (layer, diff_id) in layers.iter().zip(diff_ids) {
        let layer_digest = Digest::parse(&layer.digest)?;
        check_layer_type(layer)?;
        let Some(blob) = source.find(&path(&layer_digest))? else {
            let why = if layer.is_foreign() {
                "is foreign: it is kept elsewhere and not in this archive"
            } else {
                "is missing"
            };
            return invalid(format!("layer {layer_digest} {why}"));
        };
        if blob.size != layer.size {
            return invalid(format!("layer {layer_digest} has {} bytes, not {}", blob.size, layer.size));
        }
        blobs.push(LayerBlob { blob, digest: Some(layer_digest), diff_id });
    }
    Ok(Parsed { id, config: bytes, image, manifest: Some(manifest), layers: blobs, names: Vec::new() })
}

/// The document behind a descriptor, its digest checked.
fn read(source: &Source, descriptor: &Descriptor, max: u64) -> Result<(Digest, Vec<u8>)> {
    let digest = Digest::parse(&descriptor.digest)?;
    let bytes = source.need(&path(&digest))?.read(&digest.to_string(), max)?;
    let got = Digest::of(&bytes);
    if got != digest {
        return invalid(format!("blob {digest}: digest mismatch: got {got}"));
    }
    if bytes.len() as u64 != descriptor.size {
        return invalid(format!("blob {digest} has {} bytes, not {}", bytes.len(), descriptor.size));
    }
    Ok((digest, bytes))
}

fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// containerd's full name goes before the OCI one, which may be a bare tag.
fn annotated_name(descriptor: &Descriptor) -> Option<String> {
    let annotations = descriptor.annotations.as_ref()?;
    let keys = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
    keys.iter().find_map(|key| annotations.get(*key)).filter(|name| !name.is_empty()).cloned()
}

/// A name; None for a bare tag, which says nothing of the repository.
fn reference(name: &str) -> Result<Option<Reference>> {
    if !name.contains([':', '/']) {
        return Ok(None);
    }
    Reference::parse(name).map(|r| Some(r.tagged()))
}
