//! Writing images to an archive that everybody reads: one tar that is an OCI layout, has Docker's `manifest.json` of today beside it, and
//! under each layer's id a `layer.tar` as Docker's archives had it for ten years.
//!
//! ```text
//! blobs/sha256/<hex>       manifests, configs and layers
//! <chain id>/layer.tar     another name of a layer (hard link)
//! index.json, oci-layout   the OCI layout
//! manifest.json            Docker since 1.10
//! repositories             Docker before
//! ```
//! Compressed layers are written as they came, so that they keep their digests. But zstd is beyond the older ones of those who shall read
//! it: what came so is written as plain tar, unless an OCI layout and nothing else is asked for.

use crate::error::{Error, Result, invalid, io};
use crate::layer::compress::Compression;
use crate::manifest::{Descriptor, OCI_INDEX};
use crate::reference::Reference;
use crate::store::parts::Parts;
use crate::store::{Image, Store};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Write};
use tar::{EntryType, Header};

/// Bytes that are copied at once.
const CHUNK: usize = 256 << 10;

/// An image with the names that were asked for.
struct Item {
    image: Image,
    names: Vec<Reference>,
}

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For everybody.
    Docker,
    /// The OCI layout alone.
    Oci,
}

/// Write the images that `names` mean. A name without a tag means all tags of that repository; an id takes no name along.
pub fn save(store: &Store, names: &[String], format: Format, out: &mut dyn Write) -> Result<()> {
    // What can't be saved is found before anything is written.
    let mut items = Vec::new();
    for item in asked(store, names)? {
        let mut parts = store.parts(&item.image)?;
        if format == Format::Docker && parts.layers.iter().any(|l| l.compression == Compression::Zstd) {
            parts = store.plain_parts(&item.image)?;
        }
        items.push((item, parts));
    }
    let mut writer = Writer { out, format, names: HashSet::new() };
    writer.directory("blobs/")?;
    writer.directory("blobs/sha256/")?;
    let (mut index, mut manifest, mut repositories) = (Vec::new(), Vec::new(), BTreeMap::new());
    for (item, parts) in &items {
        writer.image(store, parts)?;
        index.extend(descriptors(item, parts));
        manifest.push(json!({
            "Config": path(parts.config.hex()),
            "RepoTags": item.names.iter().map(Reference::familiar).collect::<Vec<_>>(),
            "Layers": parts.layers.iter().map(|l| path(l.digest.hex())).collect::<Vec<_>>(),
        }));
        for name in &item.names {
            if let (Some(tag), Some(top)) = (&name.tag, parts.layers.last()) {
                let tags: &mut BTreeMap<String, String> =
                    repositories.entry(name.familiar_repository()).or_default();
                tags.insert(tag.clone(), top.chain.clone());
            }
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": index });
    writer.json("index.json", &index)?;
    writer.json("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" }))?;
    if format == Format::Docker {
        writer.json("manifest.json", &Value::Array(manifest))?;
        writer.json("repositories", &json!(repositories))?;
    }
    writer.write(&[0; 1024])?;
    writer.out.flush().map_err(io("write the archive"))
}

fn asked(store: &Store, names: &[String]) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    for name in names {
        let mut found = Vec::new();
        if let Ok(reference) = Reference::parse(name)
            && reference.tag.is_none()
            && reference.digest.is_none()
        {
            let mut tags = store.all_tags()?;
            tags.retain(|(tag, _)| tag.digest.is_none() && tag.repository() == reference.repository());
            tags.sort();
            found.extend(tags.into_iter().map(|(tag, id)| (id, Some(tag))));
        }
        if found.is_empty() {
            let image = store.resolve(name)?;
            let asked = image.reference.as_deref().map(Reference::parse).transpose();
            found.push((image.id, asked.ok().flatten().filter(|r| r.digest.is_none())));
        }
        for (id, tag) in found {
            let at = match items.iter().position(|item| item.image.id == id) {
                Some(at) => at,
                None => {
                    let image =
                        if name == crate::host::NAME { crate::host::image() } else { store.image(&id)? };
                    items.push(Item { image, names: Vec::new() });
                    items.len() - 1
                }
            };
            let names = &mut items[at].names;
            names.extend(tag.filter(|tag| !names.contains(tag)));
        }
    }
    Ok(items)
}

/// One descriptor for each name, as containerd and Docker look for them.
fn descriptors(item: &Item, parts: &Parts) -> Vec<Descriptor> {
    let plain = Descriptor {
        media_type: parts.media_type.clone(),
        digest: parts.manifest.to_string(),
        size: parts.document.len() as u64,
        ..Descriptor::default()
    };
    if item.names.is_empty() {
        return vec![plain];
    }
    let named = item.names.iter().map(|name| {
        let annotations = BTreeMap::from([
            ("io.containerd.image.name".to_string(), name.to_string()),
            ("org.opencontainers.image.ref.name".to_string(), name.tag.clone().unwrap_or_default()),
        ]);
        Descriptor { annotations: Some(annotations), ..plain.clone() }
    });
    named.collect()
}

fn path(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    format: Format,
    /// What the archive has already.
    names: HashSet<String>,
}

impl Writer<'_> {
    fn image(&mut self, store: &Store, parts: &Parts) -> Result<()> {
        for layer in &parts.layers {
            let blob = path(layer.digest.hex());
            if self.names.insert(blob.clone()) {
                let mut stream = store.open_part(layer)?;
                self.stream(&blob, layer.size, &mut *stream)
                    .map_err(|e| Error::Layer { digest: layer.digest.to_string(), cause: Box::new(e) })?;
            }
            let directory = format!("{}/", layer.chain);
            if self.format == Format::Docker && self.names.insert(directory.clone()) {
                self.directory(&directory)?;
                self.header(&format!("{directory}layer.tar"), EntryType::Link, 0, &blob)?;
            }
        }
        self.file(&path(parts.config.hex()), &parts.config_document)?;
        self.file(&path(parts.manifest.hex()), &parts.document)
    }

    fn json(&mut self, name: &str, value: &Value) -> Result<()> {
        let mut bytes = serde_json::to_vec(value).map_err(|e| Error::Invalid(e.to_string()))?;
        bytes.push(b'\n');
        self.file(name, &bytes)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.names.insert(name.to_string()) {
            self.stream(name, bytes.len() as u64, &mut &*bytes)?;
        }
        Ok(())
    }

    fn stream(&mut self, name: &str, size: u64, input: &mut dyn Read) -> Result<()> {
        self.header(name, EntryType::Regular, size, "")?;
        let mut buffer = vec![0; CHUNK];
        let mut written = 0;
        loop {
            let n = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return invalid(crate::error::words(&e)),
            };
            written += n as u64;
            if written > size {
                break;
            }
            self.write(&buffer[..n])?;
        }
        if written != size {
            return invalid(format!("it is not of {size} bytes any more"));
        }
        self.write(&[0; 512][..(size.next_multiple_of(512) - size) as usize])
    }

    fn directory(&mut self, name: &str) -> Result<()> {
        self.header(name, EntryType::Directory, 0, "")
    }

    /// Names are short and links lead to names: nothing needs more than one block. All times are 1970: the same images, the same archive.
    fn header(&mut self, name: &str, kind: EntryType, size: u64, link: &str) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(io("write the archive"))
    }
}
