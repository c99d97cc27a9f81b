//! Manifests and indexes, from archives and from registries: read as what they say they are, and as nothing else.

use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::platform::Platform;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const INDEX: &[&str] = &[OCI_INDEX, DOCKER_INDEX];
pub const MANIFEST: &[&str] = &[OCI_MANIFEST, DOCKER_MANIFEST];
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// With `+gzip` or `+zstd` behind it where it is compressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &[&str] = &[OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];

/// What leads from one document to another: a digest, and what is to be found there (image-spec, descriptor.md).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    /// `sha256:<hex>`, not checked yet.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Vec<String>>,
}

impl Descriptor {
    /// The registry or archive doesn't have it; somebody else's server may.
    pub fn is_foreign(&self) -> bool {
        self.urls.as_ref().is_some_and(|urls| !urls.is_empty())
            || self.media_type.contains("foreign")
            || self.media_type.contains("nondistributable")
    }
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

/// A document that is one thing only.
#[derive(Debug)]
pub enum Checked {
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
}

/// Parse a manifest or index, and refuse what could be taken for the other (CVE-2021-41190). `expected` is the media type by which
/// it was found, or empty.
pub fn check(name: &str, bytes: &[u8], expected: &str) -> Result<Checked> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|e| Error::Invalid(format!("'{name}' cannot be read: {e}")))?;
    if document.schema_version == 1 {
        return invalid(format!("'{name}' is a manifest of the first schema, which is not supported"));
    }
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

/// Refuse artifacts: what has a manifest but is no image.
pub fn check_config_type(manifest: &Digest, config: &Descriptor) -> Result<()> {
    if CONFIG.contains(&config.media_type.as_str()) {
        return Ok(());
    }
    let kind = show(config.media_type.as_bytes());
    invalid(format!("manifest {manifest} is not of a container image: its config is of type '{kind}'"))
}

pub fn check_layer_type(layer: &Descriptor) -> Result<()> {
    let kind = layer.media_type.as_str();
    if kind.contains(".layer.") || kind.contains("rootfs") {
        return Ok(());
    }
    let digest = Digest::parse(&layer.digest)?;
    invalid(format!("layer {digest} is of type '{}', not a layer", show(kind.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG_JSON: &str =
        r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:00","size":1}"#;

    #[test]
    fn cve_2021_41190_a_document_is_one_thing() {
        let both = format!(r#"{{"schemaVersion":2,"config":{CONFIG_JSON},"layers":[],"manifests":[]}}"#);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{CONFIG_JSON},"layers":[]}}"#);
        let typed =
            format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","config":{CONFIG_JSON},"layers":[]}}"#);
        let says = |text: &str, expected| check("x", text.as_bytes(), expected).unwrap_err().to_string();
        assert_eq!(says(&both, ""), "'x' could be a manifest or an index");
        assert_eq!(says(&both, OCI_INDEX), "'x' could be a manifest or an index");
        assert_eq!(says(&manifest, OCI_INDEX), "'x' could be a manifest or an index");
        assert_eq!(says(&typed, ""), "'x' could be a manifest or an index");
        assert_eq!(
            says(&typed, OCI_MANIFEST),
            format!("'x' says that it is '{OCI_INDEX}', but is listed as '{OCI_MANIFEST}'")
        );
        assert!(matches!(check("x", manifest.as_bytes(), OCI_MANIFEST), Ok(Checked::Manifest { .. })));
    }

    #[test]
    fn the_first_schema_is_named() {
        for text in [r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"schemaVersion":2,"fsLayers":[]}"#] {
            let e = check("x", text.as_bytes(), "").unwrap_err().to_string();
            assert_eq!(e, "'x' is a manifest of the first schema, which is not supported");
        }
    }

    #[test]
    fn foreign_layers_are_known() {
        let layer = |kind: &str, urls| Descriptor { media_type: kind.into(), urls, ..Descriptor::default() };
        assert!(layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", None).is_foreign());
        assert!(layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", None).is_foreign());
        assert!(layer("application/vnd.oci.image.layer.v1.tar", Some(vec!["x".into()])).is_foreign());
        assert!(!layer("application/vnd.oci.image.layer.v1.tar+zstd", None).is_foreign());
    }
}
