//! Whether the store is what it says: every digest computed again, every reference followed. What is wrong can be repaired: made again from
//! what is still right, or else removed, so that it can be pulled again.

use super::commit::Lock;
use super::tmp::Tmp;
use super::{Image, Store};
use crate::config::ImageConfig;
use crate::digest::{Digest, chain_id, is_hex64};
use crate::error::{Result, invalid};
use crate::layer::{Job, Source, confined, settle_implied};
use crate::manifest::{Checked, check};
use rustix::fs::{AtFlags, FlockOperation, Mode, flock, openat, statat};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The object and the cause: `layer sha256:…: its frame is damaged`.
    pub what: String,
    /// What was done about it; None: it is still so.
    pub repaired: Option<String>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.repaired {
            Some(done) => write!(f, "{} ({done})", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    pub images: usize,
    pub layers: usize,
    pub blobs: usize,
    pub faults: Vec<Fault>,
}

/// What is wrong, by hexadecimal digits, with the cause.
#[derive(Default)]
struct Bad {
    layers: BTreeMap<String, String>,
    blobs: BTreeMap<String, String>,
}

impl Store {
    /// Looks at everything, under the lock. `in_use`: a layer, by its chain id, that cannot be taken away now.
    pub fn check(&self, repair: bool, in_use: &dyn Fn(&str) -> bool) -> Result<Report> {
        self.prepare()?;
        let mut lock = self.lock()?;
        let mut report = Report::default();
        let mut bad = Bad::default();
        for hex in self.names_in("blobs/sha256")? {
            report.blobs += 1;
            if let Err(cause) = self.check_blob(&hex) {
                bad.blobs.insert(hex, cause);
            }
        }
        for chain in self.names_in("layers")? {
            report.layers += 1;
            if let Err(cause) = self.check_layer(&chain) {
                bad.layers.insert(chain, cause);
            }
        }
        if repair {
            lock.begin()?;
        }
        self.report_blobs(&bad, repair, &mut report)?;
        self.report_layers(&bad, repair, in_use, &mut report)?;
        self.report_images(&bad, repair, &mut report)?;
        self.report_tags(repair, &mut report)?;
        self.report_orphans(repair, in_use, &mut report)?;
        if repair {
            for dir in ["layers", "images", "tags", "blobs/sha256"] {
                self.sync_dir(dir)?;
            }
            lock.end()?;
        }
        drop::<Lock>(lock);
        Ok(report)
    }

    fn check_blob(&self, hex: &str) -> std::result::Result<(), String> {
        let digest =
            Digest::parse(&format!("sha256:{hex}")).map_err(|_| "its name is no digest".to_owned())?;
        let mut blob = self.blob(&digest).map_err(|e| e.to_string())?.ok_or("it is missing")?;
        drain(&mut blob).map_err(|_| "it is damaged: digest mismatch".to_owned())
    }

    /// The tree against the layer's own digest.
    fn check_layer(&self, chain: &str) -> std::result::Result<(), String> {
        if !is_hex64(chain) {
            return Err("its name is no digest".into());
        }
        if self.layer_record(chain).is_none() {
            return Err("its layer.json is missing or damaged".into());
        }
        let mut stream = self.layer_tar(chain).map_err(|e| cause(&e.to_string()))?;
        drain(&mut stream).map_err(|e| cause(&e.to_string()))
    }

    fn report_blobs(&self, bad: &Bad, repair: bool, report: &mut Report) -> Result<()> {
        for (hex, cause) in &bad.blobs {
            let mut fault = Fault { what: format!("blob sha256:{hex}: {cause}"), repaired: None };
            if repair {
                self.unlink(&format!("blobs/sha256/{hex}"))?;
                fault.repaired = Some("removed".into());
            }
            report.faults.push(fault);
        }
        Ok(())
    }

    /// A bad layer is unpacked again where the blob that it came as is kept; else it goes.
    fn report_layers(
        &self,
        bad: &Bad,
        repair: bool,
        in_use: &dyn Fn(&str) -> bool,
        report: &mut Report,
    ) -> Result<()> {
        // Those below come first: what lies above takes attributes of directories from them.
        let mut order: Vec<(usize, &String)> =
            bad.layers.keys().map(|chain| (self.height(chain), chain)).collect();
        order.sort();
        for (_, chain) in order {
            let what = format!("layer sha256:{chain}: {}", bad.layers[chain]);
            let repaired = match repair {
                false => None,
                true if in_use(chain) => {
                    let what = format!("{what} (not repaired: a container that runs uses it)");
                    report.faults.push(Fault { what, repaired: None });
                    continue;
                }
                true if self.unpack_again(chain).is_ok_and(|done| done) => Some("unpacked again".into()),
                true => {
                    self.delete_layer(chain)?;
                    Some("removed".into())
                }
            };
            report.faults.push(Fault { what, repaired });
        }
        Ok(())
    }

    /// How many layers lie below, in the image that says so; without one it doesn't matter.
    fn height(&self, chain: &str) -> usize {
        let images = self.ids().unwrap_or_default().into_iter().filter_map(|id| self.image(&id).ok());
        images
            .flat_map(|i| i.layers.into_iter().enumerate())
            .find(|(_, l)| l.chain == chain)
            .map_or(0, |(at, _)| at)
    }

    /// False: there is nothing to unpack it from.
    fn unpack_again(&self, chain: &str) -> Result<bool> {
        for id in self.ids()? {
            let Ok(image) = self.image(&id) else { continue };
            let Some(at) = image.layers.iter().position(|l| l.chain == chain) else { continue };
            let Some(digest) = self.listed(&image, at) else { continue };
            if let Some(blob) = self.blob_file(&digest)?.filter(|_| self.check_blob(digest.hex()).is_ok()) {
                return self.replace_layer(&image, at, digest, blob).map(|()| true);
            }
        }
        Ok(false)
    }

    /// The digest by which the image's manifest lists a layer.
    fn listed(&self, image: &Image, at: usize) -> Option<Digest> {
        let manifest = Digest::parse(&format!("sha256:{}", image.manifest.as_ref()?)).ok()?;
        let document = self.document(&manifest).ok()?;
        let Ok(Checked::Manifest { layers, .. }) = check(manifest.hex(), &document, "") else { return None };
        Digest::parse(&layers.get(at)?.digest).ok()
    }

    fn replace_layer(
        &self,
        image: &Image,
        at: usize,
        digest: Digest,
        blob: crate::layer::Blob,
    ) -> Result<()> {
        let layer = &image.layers[at];
        let diff_id = Digest::parse(&format!("sha256:{}", layer.diff_id))?;
        let tmp = Tmp::within_lock(self)?;
        let job = Job {
            source: Source::Blob(blob),
            blob_digest: Some(digest),
            diff_id: Some(diff_id.clone()),
            layer: Some(tmp.layer_dir(&layer.chain)?),
            keep: None,
        };
        let Some(done) = confined::unpack(vec![job], tmp.fd(), &self.limits, &mut |_| {})?.pop() else {
            return invalid("nothing was unpacked");
        };
        let lower = image.layers[..at].iter().rev().map(|l| self.open_layer(&l.chain));
        settle_implied(
            tmp.open_layer(&layer.chain)?,
            &done.unpacked.implied,
            &lower.collect::<Result<Vec<_>>>()?,
        )?;
        let new = super::commit::NewLayer { diff_id, size: done.unpacked.size, tar_size: done.tar_size };
        self.write_record(&tmp, &layer.chain, &new)?;
        rustix::fs::syncfs(&self.fd).map_err(crate::error::io("sync the store"))?;
        self.delete_layer(&layer.chain)?;
        std::fs::rename(
            self.root.join(&tmp.path).join(&layer.chain),
            self.root.join("layers").join(&layer.chain),
        )
        .map_err(crate::error::io(format!("publish layer sha256:{}", layer.chain)))
    }

    /// An image is whole when all that it needs is there; without, it can't be run, and is better pulled again.
    fn report_images(&self, bad: &Bad, repair: bool, report: &mut Report) -> Result<()> {
        for file in self.names_in("images")? {
            let Some(id) = file.strip_suffix(".json").filter(|id| is_hex64(id)) else {
                let mut fault = Fault {
                    what: format!("images/{}: no image has this name", file.escape_debug()),
                    repaired: None,
                };
                if repair {
                    self.unlink(&format!("images/{file}"))?;
                    fault.repaired = Some("removed".into());
                }
                report.faults.push(fault);
                continue;
            };
            report.images += 1;
            let wrong = match self.image(id) {
                Err(e) => Some(e.to_string()),
                Ok(image) => {
                    let wrong = self
                        .check_image(&image, id, bad, repair)
                        .err()
                        .map(|cause| format!("image sha256:{id}: {cause}"));
                    if wrong.is_none() {
                        self.report_manifest(image, repair, report)?;
                    }
                    wrong
                }
            };
            let Some(what) = wrong else { continue };
            let mut fault = Fault { what, repaired: None };
            if repair {
                let names = self.all_tags()?.into_iter().filter(|(_, to)| to == id).map(|(name, _)| name);
                let names: Vec<_> = names.collect();
                self.unlink(&format!("images/{id}.json"))?;
                for name in &names {
                    self.remove_tag(name)?;
                }
                let again = names.iter().find(|n| n.digest.is_none()).or(names.first());
                fault.repaired = Some(match again {
                    Some(name) => format!("removed: pull or load {} again", name.familiar()),
                    None => "removed".into(),
                });
            }
            report.faults.push(fault);
        }
        Ok(())
    }

    fn check_image(
        &self,
        image: &Image,
        id: &str,
        bad: &Bad,
        repaired: bool,
    ) -> std::result::Result<(), String> {
        if image.id != id {
            return Err("its record is of another image".into());
        }
        if !self.has_blob(id) || bad.blobs.contains_key(id) {
            return Err("its config is missing or damaged".into());
        }
        let digest = Digest::parse(&format!("sha256:{id}")).map_err(|e| e.to_string())?;
        let document = self.document(&digest).map_err(|e| e.to_string())?;
        let config = ImageConfig::parse(id, &document).map_err(|e| e.to_string())?;
        let listed: Vec<&str> =
            config.rootfs.diff_ids.iter().map(|d| d.trim_start_matches("sha256:")).collect();
        let own: Vec<&str> = image.layers.iter().map(|l| l.diff_id.as_str()).collect();
        if listed != own {
            return Err("its record has other layers than its config".into());
        }
        let mut below: Option<Digest> = None;
        for layer in &image.layers {
            let diff_id = Digest::parse(&format!("sha256:{}", layer.diff_id)).map_err(|e| e.to_string())?;
            let chain = chain_id(below.as_ref(), &diff_id);
            if chain.hex() != layer.chain {
                return Err(format!("its record calls layer {chain} by another name"));
            }
            match self.layer_record(chain.hex()) {
                None => return Err(format!("layer {chain} is missing")),
                Some(record) if record.diff_id != layer.diff_id => {
                    return Err(format!("layer {chain} is of another content"));
                }
                // One that was repaired is right by now.
                Some(_) if bad.layers.contains_key(chain.hex()) && !repaired => {
                    return Err(format!("layer {chain} is damaged"));
                }
                Some(_) => {}
            }
            below = Some(chain);
        }
        Ok(())
    }

    /// Without its manifest an image runs, but is not pushed as it came.
    fn report_manifest(&self, image: Image, repair: bool, report: &mut Report) -> Result<()> {
        let Some(manifest) = image.manifest.clone().filter(|m| self.check_blob(m).is_err()) else {
            return Ok(());
        };
        let what = format!("image sha256:{}: its manifest sha256:{manifest} is missing or damaged", image.id);
        let mut fault = Fault { what, repaired: None };
        if repair {
            let path = format!("images/{}.json", image.id);
            self.write(&path, &super::commit::to_json(&Image { manifest: None, ..image })?)?;
            fault.repaired = Some("it goes on without".into());
        }
        report.faults.push(fault);
        Ok(())
    }

    fn report_tags(&self, repair: bool, report: &mut Report) -> Result<()> {
        for file in self.names_in("tags")? {
            let read = self.read(&format!("tags/{file}")).unwrap_or_default();
            let what = match super::tags::parse(&read) {
                Some((id, name)) if self.image(&id).is_err() => {
                    format!("name {}: it leads to image sha256:{id}, which is missing", name.familiar())
                }
                Some(_) => continue,
                None => format!("tags/{}: it is damaged", file.escape_debug()),
            };
            let mut fault = Fault { what, repaired: None };
            if repair {
                self.unlink(&format!("tags/{file}"))?;
                fault.repaired = Some("removed".into());
            }
            report.faults.push(fault);
        }
        Ok(())
    }

    /// What nothing refers to. References are counted again, by reading.
    fn report_orphans(&self, repair: bool, busy: &dyn Fn(&str) -> bool, report: &mut Report) -> Result<()> {
        let known: BTreeSet<String> = report.faults.iter().map(|f| f.what.clone()).collect();
        let reported = |start: &str| known.iter().any(|what| what.starts_with(start));
        let Ok(used) = self.in_use() else { return Ok(()) };
        let done = repair.then(|| "removed".to_owned());
        for chain in self.names_in("layers")? {
            let start = format!("layer sha256:{chain}:");
            if !used.layers.contains(&chain) && !reported(&start) && !busy(&chain) {
                report
                    .faults
                    .push(Fault { what: format!("{start} no image has it"), repaired: done.clone() });
                if repair {
                    self.delete_layer(&chain)?;
                }
            }
        }
        for hex in self.names_in("blobs/sha256")? {
            let start = format!("blob sha256:{hex}:");
            if !used.blobs.contains(&hex) && !reported(&start) {
                report
                    .faults
                    .push(Fault { what: format!("{start} no image has it"), repaired: done.clone() });
                if repair {
                    self.unlink(&format!("blobs/sha256/{hex}"))?;
                }
            }
        }
        for name in self.names_in("tmp")? {
            if self.is_left_over(&name) {
                let what = format!("tmp/{name}: a process that was killed left it");
                report.faults.push(Fault { what, repaired: done.clone() });
            }
        }
        if repair {
            super::tmp::sweep(self, true);
        }
        Ok(())
    }

    /// Nobody holds it: directories are locked by who fills them, files are written under the lock, which is ours.
    fn is_left_over(&self, name: &str) -> bool {
        let path = format!("tmp/{name}");
        match openat(&self.fd, &path, super::DIR, Mode::empty()) {
            Ok(fd) => flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(_) => statat(&self.fd, &path, AtFlags::SYMLINK_NOFOLLOW).is_ok(),
        }
    }
}

/// `cannot read layer sha256:…: cause` → `cause`; the object is named already.
fn cause(text: &str) -> String {
    text.split_once("sha256:")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(text, |(_, cause)| cause)
        .to_owned()
}

fn drain(from: &mut impl Read) -> std::io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    while from.read(&mut buffer)? > 0 {}
    Ok(())
}
