//! OCI image layout: `index.json` leads by digests to manifests, configs and layers (image-spec, image-layout.md).

use super::source::Source;
use super::{LayerBlob, Parsed};
use crate::config::{ImageConfig, machine_architecture};
use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::limits::Limits;
use crate::reference::Reference;
use serde::Deserialize;
use std::collections::BTreeMap;

const INDEX: &[&str] =
    &["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFEST: &[&str] =
    &["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIG: &[&str] =
    &["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Indexes inside indexes.
const MAX_NESTING: usize = 4;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    urls: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Platform {
    architecture: String,
    os: String,
}

/// A manifest or an index: every field that either may have, so that a document that is both is seen (CVE-2021-41190).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

enum Checked {
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
}

/// The images that `index.json` lists, for this machine's platform.
pub fn parse(source: &Source, document: &[u8], limits: &Limits) -> Result<Vec<Parsed>> {
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
        if many && name.is_none() && group.iter().all(|d| d.platform.as_ref().is_some_and(|p| !is_ours(p))) {
            continue;
        }
        let mut parsed = resolve(source, choose(group)?, limits, 0)?;
        parsed.names = name.map(|n| reference(&n)).transpose()?.flatten().into_iter().collect();
        images.push(parsed);
    }
    if images.is_empty() {
        return invalid(format!("no image for linux/{}", machine_architecture()));
    }
    Ok(images)
}

fn resolve(source: &Source, descriptor: Descriptor, limits: &Limits, depth: usize) -> Result<Parsed> {
    let (digest, bytes) = read(source, &descriptor, limits.manifest)?;
    match check(&digest.to_string(), &bytes, &descriptor.media_type)? {
        Checked::Index(_) if depth == MAX_NESTING => {
            invalid(format!("index {digest}: indexes are nested too deeply"))
        }
        Checked::Index(manifests) => resolve(source, choose(manifests)?, limits, depth + 1),
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
    if !CONFIG.contains(&config.media_type.as_str()) {
        let kind = show(config.media_type.as_bytes());
        return invalid(format!(
            "manifest {digest} is not of a container image: its config is of type '{kind}'"
        ));
    }
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
        let kind = layer.media_type.as_str();
        if !kind.contains(".layer.") && !kind.contains("rootfs") {
            return invalid(format!(
                "layer {layer_digest} is of type '{}', not a layer",
                show(kind.as_bytes())
            ));
        }
        let Some(blob) = source.find(&path(&layer_digest))? else {
            let foreign = layer.urls.as_ref().is_some_and(|u| !u.is_empty()) || kind.contains("foreign");
            let why = if foreign {
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

/// Parse a manifest or index, and refuse what could be taken for the other (CVE-2021-41190).
fn check(name: &str, bytes: &[u8], expected: &str) -> Result<Checked> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| Error::Invalid(format!("'{name}' cannot be read: {e}")))?;
    if document.schema_version != 2 {
        return invalid(format!("'{name}' is of schema version {}, not 2", document.schema_version));
    }
    let kind = if document.media_type.is_empty() { expected } else { &document.media_type };
    if !expected.is_empty() && kind != expected {
        let (kind, expected) = (show(kind.as_bytes()), show(expected.as_bytes()));
        return invalid(format!("'{name}' says that it is '{kind}', but is listed as '{expected}'"));
    }
    let unclear = || invalid(format!("'{name}' could be a manifest or an index"));
    match (document.manifests, document.config, document.layers, document.fs_layers) {
        (Some(manifests), None, None, None) => {
            if !kind.is_empty() && !INDEX.contains(&kind) {
                return unclear();
            }
            Ok(Checked::Index(manifests))
        }
        (None, Some(config), Some(layers), None) => {
            if !kind.is_empty() && !MANIFEST.contains(&kind) {
                return unclear();
            }
            Ok(Checked::Manifest { config, layers })
        }
        (None, None, None, Some(_)) => {
            invalid(format!("'{name}' is a manifest of the first schema, which is not supported"))
        }
        (None, None, None, None) | (None, None, Some(_), None) | (None, Some(_), None, None) => {
            invalid(format!("'{name}' is neither a manifest nor an index"))
        }
        _ => unclear(),
    }
}

/// The manifest for this machine.
fn choose(mut manifests: Vec<Descriptor>) -> Result<Descriptor> {
    if manifests.len() == 1 && manifests[0].platform.is_none() {
        return Ok(manifests.remove(0));
    }
    let ours = manifests.iter().position(|d| d.platform.as_ref().is_some_and(is_ours));
    // Without any platform there is nothing to choose by.
    let only = || {
        let mut plain = manifests.iter().enumerate().filter(|(_, d)| d.platform.is_none());
        plain.next().filter(|_| plain.next().is_none()).map(|(at, _)| at)
    };
    match ours.or_else(only) {
        Some(at) => Ok(manifests.swap_remove(at)),
        None => {
            let have = manifests.iter().filter_map(|d| d.platform.as_ref());
            let have: Vec<String> =
                have.map(|p| show(format!("{}/{}", p.os, p.architecture).as_bytes())).collect();
            let have = if have.is_empty() { "none".into() } else { have.join(", ") };
            invalid(format!("no image for linux/{}; there are: {have}", machine_architecture()))
        }
    }
}

fn is_ours(platform: &Platform) -> bool {
    platform.os == "linux" && platform.architecture == machine_architecture()
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
