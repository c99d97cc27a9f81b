//! Loading images from archives: Docker's own formats and OCI layouts, as a file, a stream or a directory.

mod docker;
mod oci;
mod source;

pub use source::Input;

use crate::config::ImageConfig;
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result, invalid};
use crate::layer::{Blob, Job, confined, settle_implied};
use crate::limits::Limits;
use crate::reference::Reference;
use crate::store::commit::{NewImage, NewLayer};
use crate::store::tmp::Tmp;
use crate::store::{Image, Layer, Store};
use rustix::fd::OwnedFd;
use source::Source;
use std::collections::HashMap;

/// An image that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The names it got, as Docker shows them. Empty: print `Loaded image ID: sha256:<id>`.
    pub names: Vec<String>,
}

/// What happens during a load, for a progress bar.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress<'a> {
    /// Bytes of a layer's blob that have been read, of how many. `layer` is its diff id without `sha256:`.
    Layer { layer: &'a str, done: u64, total: u64 },
    /// A layer that is in the store already.
    Exists { layer: &'a str },
}

/// An image as an archive describes it; documents are checked, layers not yet.
#[derive(Debug)]
struct Parsed {
    id: Digest,
    config: Vec<u8>,
    image: ImageConfig,
    /// The OCI manifest, if the archive has one.
    manifest: Option<(Digest, Vec<u8>)>,
    /// Lowest first.
    layers: Vec<LayerBlob>,
    names: Vec<Reference>,
}

#[derive(Debug)]
struct LayerBlob {
    blob: Blob,
    digest: Option<Digest>,
    diff_id: Digest,
}

/// Tries again when another process removes a layer that we meant to share.
const TRIES: usize = 4;

/// Load every image of the archive, or none: after a failure the store is as it was.
pub fn load(
    store: &Store,
    input: Input,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    let name = input.name();
    load_inner(store, input, limits, progress).map_err(|e| Error::Load { name, cause: Box::new(e) })
}

fn load_inner(
    store: &Store,
    input: Input,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    store.prepare()?;
    let tmp = Tmp::new(store)?;
    let source = Source::open(input, tmp.fd(), limits)?;
    let images = parse(&source, limits)?;
    let mut fresh = HashMap::new();
    for _ in 0..TRIES {
        unpack_missing(store, &tmp, &images, &mut fresh, limits, progress)?;
        let new: Vec<NewImage> = images.iter().map(new_image).collect();
        if store.commit(&tmp, &fresh, &new)? {
            return Ok(images.iter().map(loaded).collect());
        }
    }
    invalid("other processes keep removing its layers")
}

fn parse(source: &Source, limits: &Limits) -> Result<Vec<Parsed>> {
    if let Some(blob) = source.find("manifest.json")? {
        return docker::parse(source, &blob.read("manifest.json", limits.manifest)?, limits);
    }
    if let Some(blob) = source.find("index.json")? {
        return oci::parse(source, &blob.read("index.json", limits.manifest)?, limits);
    }
    if source.is_unfinished() {
        return invalid("archive is truncated: neither 'manifest.json' nor 'index.json' is in it");
    }
    invalid("it is not an image archive: neither 'manifest.json' nor 'index.json' is in it")
}

/// Unpack the layers that neither the store nor `fresh` has, into directories of `tmp` named by their chain ids.
fn unpack_missing(
    store: &Store,
    tmp: &Tmp,
    images: &[Parsed],
    fresh: &mut HashMap<String, NewLayer>,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let mut jobs = Vec::new();
    // What each job makes: its chain, and the chains below it, nearest first.
    let mut made: Vec<(Digest, Digest, Vec<Digest>)> = Vec::new();
    for image in images {
        let mut below: Vec<Digest> = Vec::new();
        for layer in &image.layers {
            let chain = chain_id(below.first(), &layer.diff_id);
            let known = fresh.contains_key(chain.hex()) || made.iter().any(|(c, ..)| *c == chain);
            if !known && store.layer_record(chain.hex()).is_some() {
                progress(Progress::Exists { layer: layer.diff_id.hex() });
            } else if !known {
                let root = tmp.layer_dir(chain.hex())?;
                let (blob, blob_digest) = (layer.blob.clone(), layer.digest.clone());
                jobs.push(Job { blob, blob_digest, diff_id: layer.diff_id.clone(), root });
                made.push((chain.clone(), layer.diff_id.clone(), below.clone()));
            }
            below.insert(0, chain);
        }
    }
    if jobs.is_empty() {
        return Ok(());
    }
    let done = confined::unpack(jobs, limits, &mut |p| {
        progress(Progress::Layer { layer: made[p.job].1.hex(), done: p.done, total: p.total });
    })?;
    for ((chain, diff_id, below), done) in made.iter().zip(&done) {
        let record = NewLayer { diff_id: diff_id.clone(), size: done.unpacked.size, tar_size: done.tar_size };
        fresh.insert(chain.hex().to_string(), record);
        if done.unpacked.implied.is_empty() {
            continue;
        }
        // Layers come lowest first, so what lies below is settled already.
        let open = |chain: &Digest| -> Result<OwnedFd> {
            if fresh.contains_key(chain.hex()) {
                tmp.open_layer(chain.hex())
            } else {
                store.open_layer(chain.hex())
            }
        };
        let lower = below.iter().map(open).collect::<Result<Vec<_>>>()?;
        settle_implied(tmp.open_layer(chain.hex())?, &done.unpacked.implied, &lower)?;
    }
    Ok(())
}

fn new_image(parsed: &Parsed) -> NewImage<'_> {
    let mut chains: Vec<Digest> = Vec::new();
    for layer in &parsed.layers {
        chains.push(chain_id(chains.last(), &layer.diff_id));
    }
    let layers = chains.iter().zip(&parsed.layers);
    let layers = layers.map(|(chain, layer)| Layer {
        chain: chain.hex().into(),
        diff_id: layer.diff_id.hex().into(),
        size: 0,
    });
    let image = &parsed.image;
    NewImage {
        image: Image {
            id: parsed.id.hex().into(),
            manifest: parsed.manifest.as_ref().map(|(digest, _)| digest.hex().into()),
            layers: layers.collect(),
            created: image.created.clone(),
            architecture: image.architecture.clone(),
            variant: image.variant.clone(),
            os: if image.os.is_empty() { "linux".into() } else { image.os.clone() },
            config: image.config.clone(),
            ..Image::default()
        },
        config: &parsed.config,
        manifest: parsed.manifest.as_ref().map(|(_, bytes)| bytes.as_slice()),
        names: &parsed.names,
    }
}

fn loaded(parsed: &Parsed) -> Loaded {
    Loaded { id: parsed.id.hex().into(), names: parsed.names.iter().map(Reference::familiar).collect() }
}
