//! Pushing: from an image in the store to a name in a registry.

use super::upload::Way;
use super::{Client, Event, Listener, Session, State, sessions, short};
use crate::digest::Digest;
use crate::error::{Error, Result, invalid, io};
use crate::layer::squeeze::squeeze;
use crate::manifest::{Checked, Descriptor, OCI_CONFIG, OCI_MANIFEST, check};
use crate::reference::Reference;
use crate::store::parts::{Part, media_type};
use crate::store::tmp::Tmp;
use crate::store::{Image, Store};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

/// Layers that are sent at once.
const PARALLEL: usize = 3;
/// Repositories of the same registry that are asked whether they have a layer.
const REPOSITORIES: usize = 4;
const OCI_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image that was pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Pushed {
    /// `sha256:…` of the manifest.
    pub digest: String,
    /// Bytes of the manifest.
    pub size: u64,
}

/// Push the image that `reference` names in the store to where it names in the world.
pub fn push(store: &Store, client: &Client, reference: &Reference, listener: &Listener) -> Result<Pushed> {
    let failed = |e: Error| Error::Push { name: format!("'{}'", reference.familiar()), cause: Box::new(e) };
    let image = store.resolve(&reference.to_string())?;
    inner(store, client, reference, &image, listener).map_err(failed)
}

fn inner(
    store: &Store,
    client: &Client,
    reference: &Reference,
    image: &Image,
    listener: &Listener,
) -> Result<Pushed> {
    let Some(tag) = reference.tag.as_deref().filter(|_| reference.digest.is_none()) else {
        return invalid("only a name with a tag can be pushed");
    };
    let all = sessions(client, reference, true, listener)?;
    let Some(session) = all.first() else { return invalid("there is no place to push to") };
    let push = Push { store, session, image, from: neighbours(store, client, session, reference)? };
    let config = Digest::parse(&format!("sha256:{}", image.id))?;
    let config_document = store.document(&config)?;
    let (document, kind) = match push.as_it_came()? {
        Some(done) => done,
        None => push.compressed(&config, config_document.len() as u64)?,
    };
    session.upload_small(&config, &config_document)?;
    session.put_manifest(tag, &kind, &document)?;
    let digest = Digest::of(&document);
    note(store, reference, image, &digest, &document)?;
    Ok(Pushed { digest: digest.to_string(), size: document.len() as u64 })
}

struct Push<'a> {
    store: &'a Store,
    session: &'a Session<'a>,
    image: &'a Image,
    /// Repositories at the same registry that may have its layers.
    from: Vec<String>,
}

/// One layer to bring there.
struct Piece<'a> {
    diff_id: &'a str,
    digest: Digest,
    size: u64,
    /// Where its bytes are; None: they are not here, and it has to be there already, or somewhere beside.
    source: Option<Source<'a>>,
}

enum Source<'a> {
    Part(&'a Store, Part),
    File(Arc<File>),
}

impl Source<'_> {
    fn open(&self) -> Result<Box<dyn Read + Send>> {
        match self {
            Source::Part(store, part) => store.open_part(part),
            Source::File(file) => Ok(Box::new(FromStart { file: file.clone(), at: 0 })),
        }
    }
}

/// Reads a file that others may read, too.
struct FromStart {
    file: Arc<File>,
    at: u64,
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.file.read_at(buffer, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Push<'_> {
    fn event(&self, diff_id: &str, state: State) {
        (self.session.listener)(&Event::Layer { layer: short(diff_id), state });
    }

    /// By a manifest that the image is known by, if all of its layers are here, or there. None: they are not.
    fn as_it_came(&self) -> Result<Option<(Vec<u8>, String)>> {
        let parts = self.store.parts(self.image)?;
        let original = self.image.manifest.as_deref() == Some(parts.manifest.hex());
        if original {
            let pieces: Vec<Piece> = self
                .image
                .layers
                .iter()
                .zip(&parts.layers)
                .map(|(layer, part)| Piece {
                    diff_id: &layer.diff_id,
                    digest: part.digest.clone(),
                    size: part.size,
                    source: Some(Source::Part(self.store, part.clone())),
                })
                .collect();
            self.bring(&pieces)?;
            return Ok(Some((parts.document, parts.media_type)));
        }
        for document in self.known_manifests()? {
            let Ok(Checked::Manifest { config, layers }) = check("manifest", &document, "") else { continue };
            if config.digest != format!("sha256:{}", self.image.id) || layers.len() != self.image.layers.len()
            {
                continue;
            }
            let pieces = self.image.layers.iter().zip(&layers).map(|(layer, listed)| {
                let (digest, size) = (Digest::parse(&listed.digest)?, listed.size);
                let kept = self.store.blob(&digest)?.and_then(|blob| blob.compression());
                let part = kept.map(|compression| Part {
                    digest: digest.clone(),
                    size,
                    chain: layer.chain.clone(),
                    compression,
                });
                let source = part.map(|part| Source::Part(self.store, part));
                Ok(Piece { diff_id: &layer.diff_id, digest, size, source })
            });
            let pieces = pieces.collect::<Result<Vec<_>>>()?;
            match self.bring(&pieces) {
                Ok(()) => {
                    let kind = media_type(&document);
                    return Ok(Some((document, kind)));
                }
                Err(Error::NotThere { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(None)
    }

    /// The manifests that the store has of this image: the one that it came with, and those of names with digests.
    fn known_manifests(&self) -> Result<Vec<Vec<u8>>> {
        let mut digests: BTreeSet<String> =
            self.image.manifest.iter().map(|hex| format!("sha256:{hex}")).collect();
        for (name, id) in self.store.all_tags()? {
            if id == self.image.id {
                digests.extend(name.digest);
            }
        }
        let digests = digests.iter().filter_map(|digest| Digest::parse(digest).ok());
        Ok(digests.filter_map(|digest| self.store.document(&digest).ok()).collect())
    }

    /// By a new manifest, its layers compressed now.
    fn compressed(&self, config: &Digest, config_size: u64) -> Result<(Vec<u8>, String)> {
        self.store.prepare()?;
        let tmp = Tmp::new(self.store)?;
        let layers = std::thread::scope(|scope| {
            // One layer is sent while the next one is compressed.
            let (ready, pieces) = sync_channel::<Piece>(1);
            let send = || pieces.into_iter().try_for_each(|piece| self.bring(std::slice::from_ref(&piece)));
            let sending = scope.spawn(send);
            let layers = self.squeeze(&tmp, ready);
            // Where that has failed, the compression has ended early.
            sending.join().unwrap_or_else(|_| invalid("the upload panicked")).and(layers)
        })?;
        let config = Descriptor {
            media_type: OCI_CONFIG.into(),
            digest: config.to_string(),
            size: config_size,
            ..Descriptor::default()
        };
        let document =
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
        let document = serde_json::to_vec(&document).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok((document, OCI_MANIFEST.into()))
    }

    /// Compress the layers, each into a file of its own, as long as somebody takes them.
    fn squeeze<'a>(&'a self, tmp: &Tmp, ready: SyncSender<Piece<'a>>) -> Result<Vec<Descriptor>> {
        let mut layers = Vec::new();
        for layer in &self.image.layers {
            self.event(&layer.diff_id, State::Compressing);
            let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            let fd = rustix::fs::openat(tmp.fd(), ".", flags, mode).map_err(io("make a temporary file"))?;
            let mut file = File::from(fd);
            let mut tar = self.store.layer_tar(&layer.chain)?;
            let what = format!("compress layer sha256:{}", layer.diff_id);
            let (digest, size) = squeeze(&mut tar, &mut file).map_err(io(what))?;
            layers.push(Descriptor {
                media_type: OCI_GZIP.into(),
                digest: digest.to_string(),
                size,
                ..Descriptor::default()
            });
            let source = Some(Source::File(Arc::new(file)));
            if ready.send(Piece { diff_id: &layer.diff_id, digest, size, source }).is_err() {
                break;
            }
        }
        Ok(layers)
    }

    /// Bring all of these there, several at once. The first failure ends them.
    fn bring(&self, pieces: &[Piece]) -> Result<()> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(pieces.len()) {
                scope.spawn(|| {
                    while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        match self.bring_one(piece) {
                            Ok(Way::There) => self.event(piece.diff_id, State::There),
                            Ok(Way::Mounted) => self.event(piece.diff_id, State::Mounted),
                            Ok(Way::Sent) => self.event(piece.diff_id, State::Pushed),
                            Err(e) => {
                                stop.store(true, Ordering::Relaxed);
                                super::locked(&failure).get_or_insert(e);
                            }
                        }
                    }
                });
            }
        });
        let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }

    fn bring_one(&self, piece: &Piece) -> Result<Way> {
        if self.session.has_blob(&piece.digest)? {
            return Ok(Way::There);
        }
        let mut begun = None;
        for from in &self.from {
            match self.session.mount(&piece.digest, from)? {
                Ok(()) => return Ok(Way::Mounted),
                Err(upload) => begun = upload.or(begun),
            }
        }
        let Some(source) = &piece.source else {
            return Err(Error::NotThere {
                host: self.session.endpoint.host.clone(),
                what: format!("layer {}", piece.digest),
                cause: "it is not here either".into(),
            });
        };
        let progress = |done| self.event(piece.diff_id, State::Pushing { done, total: piece.size });
        progress(0);
        self.session.upload(&piece.digest, piece.size, begun, &|| source.open(), &progress)?;
        Ok(Way::Sent)
    }
}

/// Other repositories at the same registry that names in the store speak of: theirs may have the same layers.
fn neighbours(
    store: &Store,
    client: &Client,
    session: &Session,
    reference: &Reference,
) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for (name, _) in store.all_tags()? {
        // Only what came from there, or went there, is known to be there.
        if name.digest.is_none() || name.repository() == reference.repository() {
            continue;
        }
        let Ok(endpoints) = client.config.endpoints(&name, true) else { continue };
        found.extend(endpoints.into_iter().filter(|e| e.host == session.endpoint.host).map(|e| e.repository));
    }
    found.remove(&session.endpoint.repository);
    Ok(found.into_iter().take(REPOSITORIES).collect())
}

/// From now on the image is known by the digest, too.
fn note(store: &Store, reference: &Reference, image: &Image, digest: &Digest, document: &[u8]) -> Result<()> {
    let _lock = store.lock()?;
    // Removed meanwhile?
    let Ok(mut image) = store.image(&image.id) else { return Ok(()) };
    store.write(&format!("blobs/sha256/{}", digest.hex()), document)?;
    if image.manifest.is_none() {
        image.manifest = Some(digest.hex().into());
        let mut record = serde_json::to_vec(&image).map_err(|e| Error::Invalid(e.to_string()))?;
        record.push(b'\n');
        store.write(&format!("images/{}.json", image.id), &record)?;
    }
    let digested = Reference { tag: None, digest: Some(digest.to_string()), ..reference.clone() };
    store.write_tag(&digested, &image.id)?;
    store.sync_dir("tags")
}
