//! Loading images from archives, and saving them: Docker's own formats and OCI layouts, as a file, a stream or a directory.

mod docker;
mod oci;
pub mod save;
mod source;

pub use save::Format;
pub use source::Input;

use crate::config::ImageConfig;
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result, invalid};
use crate::layer::compress::{Compression, MAGIC};
use crate::layer::{self, Blob, Job, confined, settle_implied};
use crate::limits::Limits;
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::commit::{NewImage, NewLayer};
use crate::store::tmp::Tmp;
use crate::store::{Image, Layer, Store};
use rustix::fd::OwnedFd;
use source::Source;
use std::collections::{HashMap, HashSet};

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

/// Load every image of the archive, or none: after a failure the store is as it was. Of an image for several platforms, the one for
/// `platform` (None: this machine's); an image that is for another one is refused where a platform is given.
pub fn load(
    store: &Store,
    input: Input,
    platform: Option<&Platform>,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    let name = input.name();
    load_inner(store, input, platform, limits, progress).map_err(|e| Error::Load { name, cause: Box::new(e) })
}

fn load_inner(
    store: &Store,
    input: Input,
    platform: Option<&Platform>,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Loaded>> {
    store.prepare()?;
    let tmp = Tmp::new(store)?;
    let source = Source::open(input, tmp.fd(), limits)?;
    let images = parse(&source, &platform.cloned().unwrap_or_else(Platform::machine), limits)?;
    for (platform, image) in platform.iter().flat_map(|p| images.iter().map(move |image| (p, image))) {
        let own = image.image.platform();
        if !platform.accepts(&own) {
            return invalid(format!("no image for {platform}; there is one for {own}"));
        }
    }
    let mut made = Made::default();
    for _ in 0..TRIES {
        unpack_missing(store, &tmp, &images, &mut made, limits, progress)?;
        let new: Vec<NewImage> = images.iter().map(new_image).collect();
        if store.commit(&tmp, &made.layers, &made.blobs, &new)? {
            return Ok(images.iter().map(loaded).collect());
        }
    }
    invalid("other processes keep removing its layers")
}

fn parse(source: &Source, platform: &Platform, limits: &Limits) -> Result<Vec<Parsed>> {
    if let Some(blob) = source.find("manifest.json")? {
        return docker::parse(source, &blob.read("manifest.json", limits.manifest)?, limits);
    }
    if let Some(blob) = source.find("index.json")? {
        return oci::parse(source, &blob.read("index.json", limits.manifest)?, platform, limits);
    }
    if source.is_unfinished() {
        return invalid("archive is truncated: neither 'manifest.json' nor 'index.json' is in it");
    }
    invalid("it is not an image archive: neither 'manifest.json' nor 'index.json' is in it")
}

/// What lies in the temporary directory, ready to be published.
#[derive(Default)]
pub(crate) struct Made {
    /// By chain id.
    pub layers: HashMap<String, NewLayer>,
    /// Compressed layers, by their digests.
    pub blobs: HashSet<String>,
}

/// A layer that is being unpacked: its chain, and those below it, nearest first.
pub(crate) struct Place {
    pub chain: Digest,
    pub diff_id: Digest,
    pub below: Vec<Digest>,
}

/// Unpack the layers that neither the store nor `made` has, into directories of `tmp` named by their chain ids, and keep the blobs of
/// compressed layers: nobody could compress them again to the same digest.
fn unpack_missing(
    store: &Store,
    tmp: &Tmp,
    images: &[Parsed],
    made: &mut Made,
    limits: &Limits,
    progress: &mut dyn FnMut(Progress),
) -> Result<()> {
    let mut jobs = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    let mut blobs = HashSet::new();
    for image in images {
        let mut below: Vec<Digest> = Vec::new();
        for layer in &image.layers {
            let chain = chain_id(below.first(), &layer.diff_id);
            let known = made.layers.contains_key(chain.hex()) || places.iter().any(|p| p.chain == chain);
            let stored = !known && store.layer_record(chain.hex()).is_some();
            if stored {
                progress(Progress::Exists { layer: layer.diff_id.hex() });
            }
            let digest = layer.digest.as_ref().map(|d| d.hex().to_string());
            let keep = digest.filter(|hex| {
                image.manifest.is_some()
                    && !made.blobs.contains(hex)
                    && !blobs.contains(hex)
                    && !store.has_blob(hex)
                    && is_compressed(&layer.blob)
            });
            if keep.is_some() || !(known || stored) {
                jobs.push(Job {
                    source: layer::Source::Blob(layer.blob.clone()),
                    blob_digest: layer.digest.clone(),
                    diff_id: Some(layer.diff_id.clone()),
                    layer: if known || stored { None } else { Some(tmp.layer_dir(chain.hex())?) },
                    keep: keep.as_deref().map(|hex| tmp.kept_file(hex)).transpose()?,
                });
                places.push(Place {
                    chain: chain.clone(),
                    diff_id: layer.diff_id.clone(),
                    below: below.clone(),
                });
                blobs.extend(keep);
            }
            below.insert(0, chain);
        }
    }
    if jobs.is_empty() {
        return Ok(());
    }
    let unpacked: Vec<bool> = jobs.iter().map(|job| job.layer.is_some()).collect();
    let done = confined::unpack(jobs, tmp.fd(), limits, &mut |p| {
        progress(Progress::Layer { layer: places[p.job].diff_id.hex(), done: p.done, total: p.total });
    })?;
    made.blobs.extend(blobs);
    for ((place, done), _) in places.into_iter().zip(done).zip(unpacked).filter(|(_, unpacked)| *unpacked) {
        settle(store, tmp, made, place, done)?;
    }
    Ok(())
}

/// Note a layer as made. Layers come lowest first, so what lies below is settled already.
pub(crate) fn settle(
    store: &Store,
    tmp: &Tmp,
    made: &mut Made,
    place: Place,
    done: layer::Done,
) -> Result<()> {
    let (chain, size) = (place.chain.hex(), done.unpacked.size);
    let new = NewLayer { diff_id: place.diff_id, size, tar_size: done.tar_size };
    made.layers.insert(chain.to_string(), new);
    if done.unpacked.implied.is_empty() {
        return Ok(());
    }
    let open = |chain: &Digest| -> Result<OwnedFd> {
        if made.layers.contains_key(chain.hex()) {
            tmp.open_layer(chain.hex())
        } else {
            store.open_layer(chain.hex())
        }
    };
    let lower = place.below.iter().map(open).collect::<Result<Vec<_>>>()?;
    settle_implied(tmp.open_layer(chain)?, &done.unpacked.implied, &lower)
}

/// Formats that we can't read are refused by who unpacks them.
fn is_compressed(blob: &Blob) -> bool {
    let mut magic = [0; MAGIC];
    let n = blob.size.min(MAGIC as u64) as usize;
    let read = std::os::unix::fs::FileExt::read_exact_at(&*blob.file, &mut magic[..n], blob.offset);
    read.is_ok() && Compression::detect(&magic[..n]) != Ok(Compression::Plain)
}

fn new_image(parsed: &Parsed) -> NewImage<'_> {
    let diff_ids: Vec<Digest> = parsed.layers.iter().map(|l| l.diff_id.clone()).collect();
    NewImage {
        image: Image {
            manifest: parsed.manifest.as_ref().map(|(digest, _)| digest.hex().into()),
            ..record(&parsed.id, &parsed.image, &diff_ids)
        },
        config: &parsed.config,
        manifest: parsed.manifest.as_ref().map(|(_, bytes)| bytes.as_slice()),
        names: &parsed.names,
        found_by: None,
    }
}

/// The record of an image with this config and these layers, lowest first. The commit fills in the sizes.
pub(crate) fn record(id: &Digest, config: &ImageConfig, diff_ids: &[Digest]) -> Image {
    let mut below: Option<Digest> = None;
    let mut layers = Vec::new();
    for diff_id in diff_ids {
        let chain = chain_id(below.as_ref(), diff_id);
        layers.push(Layer { chain: chain.hex().into(), diff_id: diff_id.hex().into(), size: 0 });
        below = Some(chain);
    }
    Image {
        id: id.hex().into(),
        layers,
        created: config.created.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os: if config.os.is_empty() { "linux".into() } else { config.os.clone() },
        config: config.config.clone(),
        ..Image::default()
    }
}

fn loaded(parsed: &Parsed) -> Loaded {
    Loaded { id: parsed.id.hex().into(), names: parsed.names.iter().map(Reference::familiar).collect() }
}
