//! Building image archives of every format by hand, and a store in a directory of its own.
#![allow(dead_code)]

use image::digest::Digest;
use image::{Error, Input, Loaded, Store};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tar::{EntryType, Header};

/// A directory that goes with the test.
pub struct TempDir(pub PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("image-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub struct Bench {
    pub dir: TempDir,
    pub store: Store,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = TempDir::new();
        let store = Store::open(&dir.0.join("root")).unwrap();
        Bench { dir, store }
    }

    /// Write `bytes` to a file and load it.
    pub fn load(&self, bytes: &[u8]) -> Result<Vec<Loaded>, Error> {
        let path = self.dir.0.join("x.tar");
        std::fs::write(&path, bytes).unwrap();
        self.store.load(Input::Path(&path), &mut |_| {})
    }

    /// Load one layer as an image and give its tree.
    pub fn unpack(&self, layer: &[u8]) -> Result<PathBuf, Error> {
        let loaded = self.load(&docker_archive(&[layer], &["t:1"]))?;
        let image = self.store.resolve(&loaded[0].id)?;
        Ok(self.store.layer_paths(&image).remove(0))
    }

    /// The one line that a load fails with; the store must be as it was.
    pub fn refuse(&self, bytes: &[u8]) -> String {
        let before = snapshot(&self.store.root);
        let message = self.load(bytes).expect_err("this archive must be refused").to_string();
        assert!(!message.contains('\n') && !message.ends_with('.'), "{message}");
        let mut after = snapshot(&self.store.root);
        after.retain(|path| !SKELETON.contains(&path.as_str()));
        assert_eq!(before.into_iter().filter(|p| !SKELETON.contains(&p.as_str())).collect::<Vec<_>>(), after);
        let prefix = format!("cannot load '{}': ", self.dir.0.join("x.tar").display());
        message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{message}")).to_string()
    }
}

const SKELETON: &[&str] = &["blobs", "blobs/sha256", "images", "layers", "lock", "tags", "tmp"];

/// Every path below `root`.
pub fn snapshot(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, root: &Path, out: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).into_iter().flatten() {
            let entry = entry.unwrap();
            out.push(entry.path().strip_prefix(root).unwrap().display().to_string());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), root, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(root, root, &mut out);
    out.sort();
    out
}

/// A tar stream, member by member; names go in unchecked.
#[derive(Default)]
pub struct Tar {
    pub bytes: Vec<u8>,
}

impl Tar {
    pub fn new() -> Tar {
        Tar::default()
    }

    pub fn header(name: &[u8], kind: EntryType, size: usize) -> Header {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_device_major(0).unwrap();
        header.set_device_minor(0).unwrap();
        header.set_cksum();
        header
    }

    pub fn raw(mut self, mut header: Header, data: &[u8]) -> Tar {
        header.set_cksum();
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(data);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    pub fn file(self, name: &str, data: &[u8]) -> Tar {
        self.raw(Tar::header(name.as_bytes(), EntryType::Regular, data.len()), data)
    }

    pub fn mode(self, name: &str, mode: u32, uid: u64, gid: u64) -> Tar {
        let kind = if name.ends_with('/') { EntryType::Directory } else { EntryType::Regular };
        let mut header = Tar::header(name.as_bytes(), kind, 0);
        header.set_mode(mode);
        header.set_uid(uid);
        header.set_gid(gid);
        self.raw(header, b"")
    }

    pub fn dir(self, name: &str) -> Tar {
        self.raw(Tar::header(name.as_bytes(), EntryType::Directory, 0), b"")
    }

    pub fn link(self, kind: EntryType, name: &str, target: &str) -> Tar {
        let mut header = Tar::header(name.as_bytes(), kind, 0);
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        self.raw(header, b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Tar {
        self.link(EntryType::Symlink, name, target)
    }

    pub fn hard_link(self, name: &str, target: &str) -> Tar {
        self.link(EntryType::Link, name, target)
    }

    pub fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Tar {
        let mut header = Tar::header(name.as_bytes(), kind, 0);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.raw(header, b"")
    }

    pub fn pax(self, records: &[(&str, &[u8])]) -> Tar {
        let mut body = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length += 1;
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        self.raw(Tar::header(b"pax", EntryType::XHeader, body.len()), &body)
    }

    pub fn end(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        self.bytes
    }
}

pub fn config(layers: &[&[u8]]) -> Vec<u8> {
    config_with(layers, r#"{"Cmd":["sh"],"Env":["PATH=/bin"],"Labels":{"a":"b"}}"#)
}

pub fn config_with(layers: &[&[u8]], run: &str) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", Digest::of(l))).collect();
    format!(
        r#"{{"architecture":"{}","os":"linux","created":"2024-01-02T03:04:05Z","config":{run},
           "rootfs":{{"type":"layers","diff_ids":[{}]}},"history":[{{"created_by":"t"}}]}}"#,
        image::config::machine_architecture(),
        diff_ids.join(",")
    )
    .into_bytes()
}

/// What skopeo writes: `<hex>.tar`, `<hex>.json`, `manifest.json`.
pub fn docker_archive(layers: &[&[u8]], tags: &[&str]) -> Vec<u8> {
    docker_members(layers, tags).end()
}

pub fn docker_members(layers: &[&[u8]], tags: &[&str]) -> Tar {
    let config = config(layers);
    let mut tar = Tar::new();
    let mut names = Vec::new();
    for layer in layers {
        let name = format!("{}.tar", Digest::of(layer).hex());
        tar = tar.file(&name, layer);
        names.push(name);
    }
    let id = format!("{}.json", Digest::of(&config).hex());
    tar.file(&id, &config).file("manifest.json", manifest_json(&id, tags, &names).as_bytes())
}

/// The `manifest.json` of one image.
pub fn manifest_json(config: &str, tags: &[&str], layers: &[String]) -> String {
    format!("[{}]", manifest_item(config, tags, layers))
}

pub fn manifest_item(config: &str, tags: &[&str], layers: &[String]) -> String {
    format!(r#"{{"Config":"{config}","RepoTags":{tags:?},"Layers":{layers:?}}}"#)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

/// An OCI layout: files by name.
#[derive(Default, Clone)]
pub struct Layout {
    pub files: Vec<(String, Vec<u8>)>,
    /// Descriptors of index.json.
    pub index: Vec<String>,
}

/// Turns a tar stream into a blob.
pub type Pack = fn(&[u8]) -> Vec<u8>;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Layout {
    pub fn blob(&mut self, media_type: &str, bytes: &[u8], more: &str) -> String {
        let digest = Digest::of(bytes);
        self.files.push((format!("blobs/sha256/{}", digest.hex()), bytes.to_vec()));
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{}{more}}}"#, bytes.len())
    }

    /// Add an image whose layers are packed by `pack`; gives its descriptor.
    pub fn image(&mut self, layers: &[&[u8]], pack: Pack, more: &str) -> String {
        let config = self.blob("application/vnd.oci.image.config.v1+json", &config(layers), "");
        let layers: Vec<String> = layers
            .iter()
            .map(|l| self.blob("application/vnd.oci.image.layer.v1.tar+x", &pack(l), ""))
            .collect();
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#,
            layers.join(",")
        );
        self.blob(MANIFEST, manifest.as_bytes(), more)
    }

    pub fn finished(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = self.files.clone();
        files.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.index.join(","));
        files.push(("index.json".into(), index.into_bytes()));
        files
    }

    pub fn tar(&self) -> Vec<u8> {
        self.finished().iter().fold(Tar::new(), |tar, (name, bytes)| tar.file(name, bytes)).end()
    }

    pub fn write(&self, dir: &Path) {
        std::fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
        for (name, bytes) in self.finished() {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

/// A small layer.
pub fn layer(name: &str) -> Vec<u8> {
    Tar::new().dir("etc/").file("etc/name", name.as_bytes()).end()
}
