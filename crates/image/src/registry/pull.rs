//! Pulling: from a name to an image in the store.

use super::documents::{Fetched, check_kind, stored};
use super::download::{self, Download};
use super::{Client, Event, Listener, Session, State, partial, sessions, short};
use crate::archive::{Made, Place, record, settle};
use crate::config::ImageConfig;
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result, invalid};
use crate::layer::compress::{Compression, MAGIC};
use crate::layer::{self, Blob, Job, confined, feed};
use crate::manifest::{Checked, Descriptor, check, check_config_type, check_layer_type};
use crate::platform::{Platform, choose};
use crate::reference::Reference;
use crate::store::commit::NewImage;
use crate::store::tmp::Tmp;
use crate::store::{Image, Store};
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Indexes inside indexes.
const MAX_NESTING: usize = 4;
/// Tries again when another process removes a layer that we meant to share, or what an earlier process downloaded was wrong.
const TRIES: usize = 4;

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// 64 hexadecimal digits.
    pub id: String,
    /// `sha256:…` of what the name led to: an index, or a manifest.
    pub digest: String,
    /// The name led to the same image before.
    pub up_to_date: bool,
}

/// An image as a registry describes it; documents are checked, layers not yet.
struct Found {
    /// By what it was found.
    digest: Digest,
    manifest: (Digest, Vec<u8>),
    id: Digest,
    config: Vec<u8>,
    image: ImageConfig,
    layers: Vec<Layer>,
}

struct Layer {
    digest: Digest,
    size: u64,
    diff_id: Digest,
}

/// Pull the image that `reference` names, for `platform`. A name without tag and digest means `:latest`.
pub fn pull(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: Option<&Platform>,
    listener: &Listener,
) -> Result<Pulled> {
    let reference = reference.clone().tagged();
    let failed = |e: Error| Error::Pull { name: format!("'{}'", reference.familiar()), cause: Box::new(e) };
    let reference = match &reference.digest {
        // The digest decides.
        Some(_) => Reference { tag: None, ..reference.clone() },
        None => reference.clone(),
    };
    store.prepare()?;
    partial::prepare(store)?;
    partial::sweep(store);
    let sessions = sessions(client, &reference, false, listener)?;
    let which = reference.digest.as_deref().or(reference.tag.as_deref()).unwrap_or_default();
    listener(&Event::Pulling { tag: which, repository: &reference.path });
    inner(store, client, &reference, platform, &sessions, which).map_err(failed)
}

fn inner(
    store: &Store,
    client: &Client,
    reference: &Reference,
    platform: Option<&Platform>,
    sessions: &[Session],
    which: &str,
) -> Result<Pulled> {
    let before = store.tagged_id(reference)?;
    if let (Some(id), Some(_), Some(session)) = (&before, &reference.tag, sessions.first())
        && let Some(pulled) = unchanged(store, reference, id, platform, session, which)
    {
        return Ok(pulled);
    }
    let (found, place) = find(store, sessions, which, platform)?;
    let pulled = Pulled {
        id: found.id.hex().into(),
        digest: found.digest.to_string(),
        up_to_date: before.as_deref() == Some(found.id.hex()),
    };
    // Layers come from where the manifest came from, or else from the others.
    let (front, back) = sessions.split_at(place);
    let listener = back[0].listener;
    let order: Vec<&Session> = back.iter().chain(front).collect();
    let lock = partial::lock_image(store, &found.manifest.0, &|| listener(&Event::Other))?;
    let result = fetch(store, client, reference, &found, &order);
    partial::unlock_image(store, &found.manifest.0, lock);
    result.map(|()| pulled)
}

/// The tag leads to what it led to before: one question, which rate limits don't count. None: look closer.
fn unchanged(
    store: &Store,
    reference: &Reference,
    id: &str,
    platform: Option<&Platform>,
    session: &Session,
    which: &str,
) -> Option<Pulled> {
    let digest = session.head(which).ok()??;
    let digested = Reference { tag: None, digest: Some(digest.to_string()), ..reference.clone() };
    if store.tagged_id(&digested).ok()?.as_deref() != Some(id) {
        return None;
    }
    let image = store.image(id).ok()?;
    let own = image.platform();
    let fits = platform.map_or_else(|| Platform::machine().accepts(&own), |wanted| wanted.accepts(&own));
    let whole = image.layers.iter().all(|layer| store.layer_record(&layer.chain).is_some());
    (fits && whole).then(|| Pulled { id: id.into(), digest: digest.to_string(), up_to_date: true })
}

/// Follow the name to a manifest and a config, at the first place that has them.
fn find(
    store: &Store,
    sessions: &[Session],
    which: &str,
    platform: Option<&Platform>,
) -> Result<(Found, usize)> {
    let mut failure = None;
    for (place, session) in sessions.iter().enumerate() {
        match find_at(store, session, which, platform) {
            Ok(found) => return Ok((found, place)),
            // What the registry itself says is better to hear than what its mirrors do.
            Err(e) => failure = Some(e),
        }
    }
    Err(failure.unwrap_or_else(|| Error::Invalid("there is no place to pull from".into())))
}

fn find_at(store: &Store, session: &Session, which: &str, platform: Option<&Platform>) -> Result<Found> {
    let limits = &store.limits;
    let top = session.manifest(which, limits.manifest)?;
    check_kind(&top)?;
    let machine = Platform::machine();
    let wanted = platform.unwrap_or(&machine);
    let (mut document, mut by_platform) = (top.clone(), false);
    for _ in 0..=MAX_NESTING {
        match check(&document.digest.to_string(), &document.bytes, &document.kind)? {
            Checked::Index(manifests) => {
                by_platform = true;
                document = follow(store, session, choose(manifests, wanted)?)?;
            }
            Checked::Manifest { config, layers } => {
                let found = read(store, session, top.digest, document, &config, layers)?;
                let given = found.image.platform();
                // An index has said what it is for; what stands alone is refused where that was asked for.
                if platform.is_some() && !by_platform && !wanted.accepts(&given) {
                    return invalid(format!("no image for {wanted}; there is one for {given}"));
                }
                return Ok(found);
            }
        }
    }
    invalid(format!("index {}: indexes are nested too deeply", top.digest))
}

/// The document behind a descriptor of an index.
fn follow(store: &Store, session: &Session, descriptor: Descriptor) -> Result<Fetched> {
    let digest = Digest::parse(&descriptor.digest)?;
    if descriptor.size > store.limits.manifest {
        return invalid(format!("manifest {digest} is longer than {} bytes", store.limits.manifest));
    }
    let kind = descriptor.media_type.clone();
    if let Some(bytes) = stored(store, &descriptor, "manifest") {
        return Ok(Fetched { digest, bytes, kind });
    }
    let fetched = session.manifest(&descriptor.digest, descriptor.size)?;
    super::documents::check(&digest, descriptor.size, &fetched.bytes, "manifest")?;
    check_kind(&fetched)?;
    if !fetched.kind.is_empty() && !kind.is_empty() && fetched.kind != kind {
        return invalid(format!("manifest {digest} is listed as '{kind}', but given as '{}'", fetched.kind));
    }
    Ok(Fetched { kind: if kind.is_empty() { fetched.kind.clone() } else { kind }, ..fetched })
}

/// The manifest's config and layers, judged.
fn read(
    store: &Store,
    session: &Session,
    found_by: Digest,
    manifest: Fetched,
    config: &Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Found> {
    let digest = &manifest.digest;
    check_config_type(digest, config)?;
    if layers.len() > store.limits.layers {
        return invalid(format!("more than {} layers", store.limits.layers));
    }
    for layer in &layers {
        let layer_digest = Digest::parse(&layer.digest)?;
        // Never fetched from where a manifest says (CVE-2020-15157).
        if layer.is_foreign() {
            return invalid(format!(
                "layer {layer_digest} is foreign: it is kept elsewhere, and not fetched from there"
            ));
        }
        check_layer_type(layer)?;
        if layer.size > store.limits.spool_bytes {
            return invalid(format!(
                "layer {layer_digest} is longer than {} bytes",
                store.limits.spool_bytes
            ));
        }
    }
    let bytes = match stored(store, config, "config") {
        Some(bytes) => bytes,
        None => session.small_blob(config, "config", store.limits.config)?,
    };
    let id = Digest::of(&bytes);
    let image = ImageConfig::parse(&id.to_string(), &bytes)?;
    let diff_ids = image.diff_ids()?;
    if layers.len() != diff_ids.len() {
        let (have, want) = (layers.len(), diff_ids.len());
        return invalid(format!("manifest {digest} lists {have} layers, its config {want}"));
    }
    let layers = layers.iter().zip(diff_ids).map(|(layer, diff_id)| {
        Ok(Layer { digest: Digest::parse(&layer.digest)?, size: layer.size, diff_id })
    });
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let manifest = (manifest.digest, manifest.bytes);
    Ok(Found { digest: found_by, manifest, id, config: bytes, image, layers })
}

/// Download and unpack what is missing, and publish the image.
fn fetch(
    store: &Store,
    client: &Client,
    reference: &Reference,
    found: &Found,
    sessions: &[&Session],
) -> Result<()> {
    let mut tmp = Tmp::new(store)?;
    let mut made = Made::default();
    let diff_ids: Vec<Digest> = found.layers.iter().map(|l| l.diff_id.clone()).collect();
    let image =
        Image { manifest: Some(found.manifest.0.hex().into()), ..record(&found.id, &found.image, &diff_ids) };
    let new = NewImage {
        image,
        config: &found.config,
        manifest: Some(&found.manifest.1),
        names: std::slice::from_ref(reference),
        found_by: Some(&found.digest),
    };
    for attempt in 0..TRIES {
        match get_missing(store, client, &tmp, found, &mut made, sessions) {
            Ok(()) => {}
            // A layer that an earlier process began: forget what that left, and begin anew.
            Err(Failure { resumed: true, .. }) if attempt == 0 => {
                client.http.reopen();
                (tmp, made) = (Tmp::new(store)?, Made::default());
                continue;
            }
            Err(failure) => return Err(failure.cause),
        }
        if store.commit(&tmp, &made.layers, &made.blobs, std::slice::from_ref(&new))? {
            return Ok(());
        }
    }
    invalid("other processes keep removing its layers")
}

struct Failure {
    cause: Error,
    /// What an earlier process had downloaded was part of it, and is forgotten.
    resumed: bool,
}

impl From<Error> for Failure {
    fn from(cause: Error) -> Failure {
        Failure { cause, resumed: false }
    }
}

/// What has to be done for the layers that are missing.
#[derive(Default)]
struct Work {
    jobs: Vec<Job>,
    places: Vec<Place>,
    /// The layer of each job.
    layers: Vec<usize>,
    downloads: Vec<Download>,
}

fn get_missing(
    store: &Store,
    client: &Client,
    tmp: &Tmp,
    found: &Found,
    made: &mut Made,
    sessions: &[&Session],
) -> std::result::Result<(), Failure> {
    let listener = sessions[0].listener;
    let mut work = plan(store, tmp, found, made, listener)?;
    if work.jobs.is_empty() {
        return Ok(());
    }
    room(store, &work.downloads)?;
    // In the order in which they will be unpacked, or an unpacker would wait for what is not yet on its way.
    work.downloads.sort_by_key(|d| std::cmp::Reverse(d.size));
    let begun: Vec<(Digest, std::path::PathBuf, Arc<std::fs::File>, u64)> = work
        .downloads
        .iter()
        .map(|d| (d.digest.clone(), d.partial.path.clone(), d.partial.file.clone(), d.partial.had))
        .collect();
    let layer_of = |job: usize| short(found.layers[work.layers[job]].digest.hex());
    // Forked before any thread is started.
    let unpacking = confined::start(std::mem::take(&mut work.jobs), tmp.fd(), &store.limits)?;
    let (places, downloads) = (std::mem::take(&mut work.places), std::mem::take(&mut work.downloads));
    let parallel = client.config.parallel.unwrap_or(super::PARALLEL);
    let (unpacked, fetched) = std::thread::scope(|scope| {
        let fetching = scope.spawn(|| download::run(sessions, downloads, parallel));
        let unpacked = unpacking.finish(&mut |p| {
            let state = match p.done == p.total {
                true => State::Pulled,
                false => State::Extracting { done: p.done, total: p.total },
            };
            listener(&Event::Layer { layer: layer_of(p.job), state });
        });
        if unpacked.is_err() {
            client.http.shut_down();
        }
        (unpacked, fetching.join().unwrap_or_else(|_| invalid("the download panicked")))
    });
    let done = match (fetched, unpacked) {
        (Ok(()), Ok(done)) => done,
        (Err(cause), Ok(_)) => return Err(cause.into()),
        (fetched, Err(cause)) => return Err(blame(cause, fetched.err(), found, &begun)),
    };
    for (place, done) in places.into_iter().zip(done) {
        settle(store, tmp, made, place, done)?;
    }
    for (digest, path, file, _) in begun {
        keep(store, tmp, made, &digest, &path, &file)?;
    }
    Ok(())
}

/// Which layers have to be unpacked, and which of them downloaded.
fn plan(store: &Store, tmp: &Tmp, found: &Found, made: &Made, listener: &Listener) -> Result<Work> {
    let mut work = Work::default();
    let mut below: Vec<Digest> = Vec::new();
    // The same layer may come several times: its file is written once, and read by all.
    let mut files: HashMap<Digest, usize> = HashMap::new();
    for (at, layer) in found.layers.iter().enumerate() {
        let chain = chain_id(below.first(), &layer.diff_id);
        let state = |state| listener(&Event::Layer { layer: short(layer.digest.hex()), state });
        if made.layers.contains_key(chain.hex()) {
            // Made in an earlier try.
        } else if store.layer_record(chain.hex()).is_some() {
            state(State::Exists);
        } else {
            state(State::Waiting);
            let source = match store.blob_file(&layer.digest)? {
                Some(blob) if blob.size == layer.size => layer::Source::Blob(blob),
                _ => {
                    let known = files.get(&layer.digest).copied();
                    let known = match known {
                        Some(known) => known,
                        None => {
                            let partial = partial::open(store, tmp, &layer.digest, layer.size)?;
                            let (digest, size) = (layer.digest.clone(), layer.size);
                            work.downloads.push(Download { digest, size, partial, heads: Vec::new() });
                            files.insert(layer.digest.clone(), work.downloads.len() - 1);
                            work.downloads.len() - 1
                        }
                    };
                    let download = &mut work.downloads[known];
                    let (feed, head) = feed::pipe().map_err(crate::error::io("make a pipe"))?;
                    download.heads.push(head);
                    let blob = Blob { file: download.partial.file.clone(), offset: 0, size: layer.size };
                    layer::Source::Growing { blob, feed }
                }
            };
            work.jobs.push(Job {
                source,
                blob_digest: Some(layer.digest.clone()),
                diff_id: Some(layer.diff_id.clone()),
                layer: Some(tmp.layer_dir(chain.hex())?),
                keep: None,
            });
            work.layers.push(at);
            work.places.push(Place {
                chain: chain.clone(),
                diff_id: layer.diff_id.clone(),
                below: below.clone(),
            });
        }
        below.insert(0, chain);
    }
    Ok(work)
}

/// Better said now than after an hour.
fn room(store: &Store, downloads: &[Download]) -> Result<()> {
    let missing: u64 = downloads.iter().map(|d| d.size.saturating_sub(d.partial.had)).sum();
    let stat = rustix::fs::statvfs(&store.root).map_err(crate::error::io("stat the store"))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if missing > free {
        return invalid(format!("{missing} bytes have to be downloaded, and only {free} are free"));
    }
    Ok(())
}

/// Why it failed: the download where that broke off; a wrong digest is the fault of what an earlier process left, if there was something.
fn blame(
    cause: Error,
    download: Option<Error>,
    found: &Found,
    begun: &[(Digest, std::path::PathBuf, Arc<std::fs::File>, u64)],
) -> Failure {
    let message = cause.to_string();
    let wrong = message.contains("digest mismatch") || !message.contains("download ended too early");
    if let (Some(download), false) = (download, wrong) {
        return download.into();
    }
    // What is wrong is no use to anybody, and the next try shall not find it.
    let mut resumed = false;
    for (digest, path, _, had) in begun {
        let diff_id = found.layers.iter().find(|l| l.digest == *digest).map(|l| l.diff_id.to_string());
        if diff_id.is_some_and(|diff_id| message.contains(&diff_id)) {
            let _ = std::fs::remove_file(path);
            resumed |= *had > 0;
        }
    }
    Failure { cause, resumed }
}

/// A compressed layer stays as it came: nobody could compress it again to the same digest. A plain one can be made again from its tree.
fn keep(
    store: &Store,
    tmp: &Tmp,
    made: &mut Made,
    digest: &Digest,
    path: &std::path::Path,
    file: &std::fs::File,
) -> Result<()> {
    let mut magic = [0; MAGIC];
    let n = file.read_at(&mut magic, 0).map_err(crate::error::io("read a layer"))?;
    if Compression::detect(&magic[..n]) == Ok(Compression::Plain) {
        let _ = std::fs::remove_file(path);
        return Ok(());
    }
    let kept = store.root.join(&tmp.path).join("kept").join(digest.hex());
    if path != kept {
        drop(tmp.kept_file(digest.hex())?);
        std::fs::rename(path, &kept).map_err(crate::error::io(format!("keep layer {digest}")))?;
    }
    made.blobs.insert(digest.hex().into());
    Ok(())
}
