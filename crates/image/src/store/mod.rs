//! The store: images and their unpacked layers under the data root, as files that a person can read.
//!
//! ```text
//! blobs/sha256/<hex>        configs, manifests, and layers that came compressed, by digest
//! layers/<chain id>/diff    one unpacked layer, owners as in the image
//! layers/<chain id>/frame.zst   what its tar stream is besides the contents of its files
//! layers/<chain id>/lost/   contents that later entries of the same layer replaced, if there are any
//! layers/<chain id>/layer.json
//! images/<image id>.json    what `run` needs of an image
//! tags/<name>               one name of an image: its id, then the name
//! partial/<hex>             a layer that has not been downloaded to its end yet
//! tmp/<random>/             what a load has not committed yet; locked while its process lives
//! lock                      taken by what changes the store
//! ```
//! Everything is written under another name and renamed. Looking something up takes no lock. What refers to what is found by reading,
//! never counted. A layer's tar stream isn't kept: [`Store::layer_tar`] makes it again, bit by bit, from the frame and the tree. A layer that
//! came compressed is kept as it came, too ([`Store::blob`]): compressing it again would give another digest.

mod blobs;
mod check;
mod collect;
pub mod commit;
mod history;
mod inspect;
pub mod parts;
mod prune;
mod remove;
pub(crate) mod tags;
pub(crate) mod tmp;
pub mod usage;

pub use blobs::BlobStream;
pub use check::{Fault, Report};
pub use history::HistoryLine;
pub use prune::Pruned;
pub use remove::{Removed, User};

use crate::archive::{self, Format, Input, Loaded, Progress};
use crate::config::RunConfig;
use crate::digest::is_hex64;
use crate::error::{Error, Result, io};
use crate::host;
use crate::limits::Limits;
use crate::platform::Platform;
use crate::reference::Reference;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// An image as `run` wants it: read from one small file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// 64 hexadecimal digits: the digest of the config.
    pub id: String,
    /// The name it was asked for by, in familiar form; None if by id.
    #[serde(skip)]
    pub reference: Option<String>,
    /// True for the built-in image `@host`: its one lower layer is the machine's `/`, and what a container writes belongs on a tmpfs.
    #[serde(skip)]
    pub host: bool,
    /// Digest of the manifest it came with, 64 hexadecimal digits.
    pub manifest: Option<String>,
    /// Lowest first.
    pub layers: Vec<Layer>,
    /// RFC 3339, as the builder wrote it.
    pub created: Option<String>,
    /// Bytes of all layers.
    pub size: u64,
    pub architecture: String,
    pub variant: String,
    pub os: String,
    pub config: RunConfig,
}

impl Image {
    pub fn platform(&self) -> Platform {
        Platform::of(&self.os, &self.architecture, &self.variant)
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    /// 64 hexadecimal digits; the name of its directory.
    pub chain: String,
    /// Digest of its tar stream, 64 hexadecimal digits.
    pub diff_id: String,
    /// Bytes of file content.
    pub size: u64,
}

/// One line of `images`: an image with one of its names.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub image: Image,
    /// Full names, sorted; those with a digest are apart.
    pub tags: Vec<Reference>,
    pub digests: Vec<Reference>,
}

/// `layers/<chain>/layer.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerRecord {
    pub diff_id: String,
    /// Bytes of file content.
    pub size: u64,
    /// Bytes of the tar stream it was.
    pub tar_size: u64,
}

/// A handle on the data root. Cheap to open; several processes may have one.
#[derive(Debug)]
pub struct Store {
    pub root: PathBuf,
    fd: OwnedFd,
    pub limits: Limits,
}

const DIR: OFlags = OFlags::DIRECTORY.union(OFlags::RDONLY).union(OFlags::CLOEXEC);
/// Longest image record or tag file that is read, in bytes.
const MAX_RECORD: u64 = 16 << 20;

impl Store {
    /// Open the data root, making it (mode 0700) if there is none.
    pub fn open(root: &Path) -> Result<Store> {
        let open = || openat(rustix::fs::CWD, root, DIR, Mode::empty());
        let fd = match open() {
            Err(rustix::io::Errno::NOENT) => {
                let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
                made.map_err(io(format!("make '{}'", root.display())))?;
                open()
            }
            other => other,
        };
        let fd = fd.map_err(io(format!("open '{}'", root.display())))?;
        Ok(Store { root: root.to_path_buf(), fd, limits: Limits::default() })
    }

    /// The image that a user means by `name`: `@host`, a name, a name with a digest, an id, or the beginning of one.
    /// A name goes before an id of the same letters.
    pub fn resolve(&self, name: &str) -> Result<Image> {
        if name == host::NAME {
            return Ok(host::image());
        }
        let reference = Reference::parse(name);
        if let Ok(reference) = &reference {
            let reference = reference.clone().tagged();
            if let Some(id) = self.tagged_id(&reference)? {
                let mut image = self.image(&id)?;
                image.reference = Some(reference.familiar());
                return Ok(image);
            }
        }
        let id = name.strip_prefix("sha256:").unwrap_or(name);
        if let Some(id) = self.find_id(id)? {
            return self.image(&id);
        }
        match reference {
            Ok(reference) => {
                let name = reference.tagged().familiar();
                let near = self.near(&name);
                Err(Error::NoSuchImage(name, near))
            }
            Err(_) if is_id_prefix(id) => Err(Error::NoSuchImage(name.to_string(), steps::Near::default())),
            Err(e) => Err(e),
        }
    }

    /// The image whose name is nearly this one, tag included.
    pub fn near(&self, name: &str) -> steps::Near {
        let tags = self.all_tags().unwrap_or_default();
        steps::Near::of(name, tags.iter().map(|(tag, _)| tag.familiar()))
    }

    /// The directories of the image's layers, topmost first, as overlayfs' `lowerdir` wants them. `@host`: `/`.
    pub fn layer_paths(&self, image: &Image) -> Vec<PathBuf> {
        if image.host {
            return vec![PathBuf::from("/")];
        }
        image.layers.iter().rev().map(|layer| self.layer_path(&layer.chain)).collect()
    }

    /// `<root>/layers/<chain>/diff`.
    pub fn layer_path(&self, chain: &str) -> PathBuf {
        self.root.join("layers").join(chain).join("diff")
    }

    /// Load every image of an archive, or none. See [`archive::load`].
    pub fn load(&self, input: Input, progress: &mut dyn FnMut(Progress)) -> Result<Vec<Loaded>> {
        archive::load(self, input, None, &self.limits, progress)
    }

    /// The same for one platform. See [`archive::load`].
    pub fn load_for(
        &self,
        input: Input,
        platform: Option<&Platform>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>> {
        archive::load(self, input, platform, &self.limits, progress)
    }

    /// Write images to an archive. See [`archive::save::save`].
    pub fn save(&self, names: &[String], format: Format, out: &mut dyn std::io::Write) -> Result<()> {
        archive::save::save(self, names, format, out)
    }

    /// Every image, the newest first, with its names.
    pub fn list(&self) -> Result<Vec<Summary>> {
        let mut names = self.all_tags()?;
        names.sort();
        let mut list = Vec::new();
        for id in self.ids()? {
            // It may have been removed since.
            let Ok(image) = self.image(&id) else { continue };
            let own = names.iter().filter(|(_, to)| *to == id).map(|(name, _)| name.clone());
            let (digests, tags) = own.partition(|name| name.digest.is_some());
            list.push(Summary { image, tags, digests });
        }
        list.sort_by(|a, b| b.image.created.cmp(&a.image.created).then_with(|| a.tags.cmp(&b.tags)));
        Ok(list)
    }

    /// The record of an image by its full id.
    pub fn image(&self, id: &str) -> Result<Image> {
        let bytes = match self.read(&format!("images/{id}.json")) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::NoSuchImage(format!("sha256:{id}"), steps::Near::default()));
            }
            Err(e) => return Err(io(format!("read the record of image {id}"))(e)),
        };
        let damaged =
            |e: serde_json::Error| Error::Invalid(format!("the record of image {id} is damaged: {e}"));
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// The one image whose id begins with `prefix`.
    fn find_id(&self, prefix: &str) -> Result<Option<String>> {
        if !is_id_prefix(prefix) {
            return Ok(None);
        }
        let mut ids = self.ids()?.into_iter().filter(|id| id.starts_with(prefix));
        match (ids.next(), ids.next()) {
            (Some(_), Some(_)) => Err(Error::Ambiguous(prefix.into())),
            (found, _) => Ok(found),
        }
    }

    /// The ids of all images.
    pub fn ids(&self) -> Result<Vec<String>> {
        let names = self.names_in("images")?;
        Ok(names
            .iter()
            .filter_map(|n| n.strip_suffix(".json"))
            .filter(|id| is_hex64(id))
            .map(String::from)
            .collect())
    }

    /// The record of a layer; None if there is no such layer.
    pub fn layer_record(&self, chain: &str) -> Option<LayerRecord> {
        let read = || self.read(&format!("layers/{chain}/layer.json"));
        // A layer that is taken for missing is fetched and unpacked once more.
        let bytes = read().or_else(|e| if e.kind() == ErrorKind::NotFound { Err(e) } else { read() }).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(crate) fn open_layer(&self, chain: &str) -> Result<OwnedFd> {
        openat(&self.fd, format!("layers/{chain}/diff"), DIR, Mode::empty())
            .map_err(io(format!("open layer sha256:{chain}")))
    }

    /// The file names in a directory of the store; none if the directory isn't there yet.
    fn names_in(&self, dir: &str) -> Result<Vec<String>> {
        let what = || format!("read '{}'", self.root.join(dir).display());
        let fd = match openat(&self.fd, dir, DIR, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(Vec::new()),
            Err(e) => return Err(io(what())(e)),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(fd).map_err(io(what()))? {
            let entry = entry.map_err(io(what()))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_string()),
            }
        }
        Ok(names)
    }

    /// A small file of the store.
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let fd = openat(&self.fd, path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        let mut bytes = Vec::new();
        let mut file = std::io::Read::take(std::fs::File::from(fd), MAX_RECORD);
        std::io::Read::read_to_end(&mut file, &mut bytes)?;
        Ok(bytes)
    }
}

/// Could be the beginning of an image id.
fn is_id_prefix(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
