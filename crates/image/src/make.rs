//! New images: a layer on top of another image, or alone, with a config of its own. What `commit` and `import` end in.

use crate::config::{RunConfig, machine_architecture};
use crate::digest::{Digest, chain_id};
use crate::error::{Error, Result, io};
use crate::layer::{Job, Source, confined, settle_implied};
use crate::reference::Reference;
use crate::store::commit::{NewImage, NewLayer};
use crate::store::tmp::Tmp;
use crate::store::{Image, Layer, Store};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::File;

/// What the new image shall be.
#[derive(Debug, Clone, Default)]
pub struct Recipe {
    /// What lies below; its history goes on in the new image.
    pub base: Option<Image>,
    pub config: RunConfig,
    /// RFC 3339.
    pub created: String,
    /// For the history: how the layer came about.
    pub created_by: String,
    pub author: String,
    pub comment: String,
    /// Empty: this machine's, or the base's.
    pub architecture: String,
    pub name: Option<Reference>,
}

/// The name of the one layer that is unpacked here, until its chain is known.
const NEW: &str = "new";

impl Store {
    /// Make an image. The new layer's tar stream, perhaps compressed, is read from `layer`; where that is a pipe, `feed` writes to the
    /// other end, and must close it. A stream without a single entry makes no layer. Gives the image's id.
    pub fn make(
        &self,
        recipe: &Recipe,
        layer: File,
        feed: &mut dyn FnMut() -> std::result::Result<(), String>,
    ) -> Result<String> {
        self.prepare()?;
        let tmp = Tmp::new(self)?;
        let job = Job {
            source: Source::Pipe { pipe: layer, size: None },
            blob_digest: None,
            diff_id: None,
            layer: Some(tmp.layer_dir(NEW)?),
            keep: None,
        };
        let unpacking = confined::start(vec![job], tmp.fd(), &self.limits)?;
        let fed = feed();
        let done = unpacking.finish(&mut |_| {});
        // Where the unpacking failed, that is why the other end of the pipe broke.
        let mut done = match (done, fed) {
            (Err(e), _) => return Err(e),
            (Ok(_), Err(cause)) => return Err(Error::Invalid(cause)),
            (Ok(done), Ok(())) => done,
        };
        let Some(done) = done.pop().filter(|done| done.tar_size > 0) else {
            return Err(Error::Invalid("there is nothing in it".into()));
        };
        let mut layers = recipe.base.as_ref().map_or_else(Vec::new, |base| base.layers.clone());
        let mut fresh = HashMap::new();
        if done.unpacked.entries > 0 || recipe.base.is_none() {
            let diff_id = Digest::parse(&format!("sha256:{}", done.diff_id))?;
            let below = layers.last().map(|l| Digest::parse(&format!("sha256:{}", l.chain))).transpose()?;
            let chain = chain_id(below.as_ref(), &diff_id);
            let lower = layers.iter().rev().map(|l| self.open_layer(&l.chain)).collect::<Result<Vec<_>>>()?;
            settle_implied(tmp.open_layer(NEW)?, &done.unpacked.implied, &lower)?;
            tmp.rename(NEW, chain.hex())?;
            layers.push(Layer { chain: chain.hex().into(), diff_id: diff_id.hex().into(), size: 0 });
            // Also where the store has it already: what a killed command left there is swept when the next one takes the lock.
            let new = NewLayer { diff_id, size: done.unpacked.size, tar_size: done.tar_size };
            fresh.insert(chain.hex().to_string(), new);
        }
        let empty = layers.len() == recipe.base.as_ref().map_or(0, |base| base.layers.len());
        let document = self.config_document(recipe, &layers, empty)?;
        let id = Digest::of(&document);
        let image = Image {
            id: id.hex().into(),
            layers,
            created: Some(recipe.created.clone()),
            architecture: architecture(recipe),
            variant: recipe.base.as_ref().map(|b| b.variant.clone()).unwrap_or_default(),
            os: "linux".into(),
            config: recipe.config.clone(),
            ..Image::default()
        };
        let names: Vec<Reference> = recipe.name.iter().cloned().collect();
        let new = NewImage { image, config: &document, manifest: None, names: &names, found_by: None };
        if !self.commit(&tmp, &fresh, &HashSet::new(), &[new])? {
            return Err(Error::Invalid("its base was removed meanwhile".into()));
        }
        Ok(id.hex().into())
    }

    /// The config as Docker writes it: the base's history, and one line more.
    fn config_document(&self, recipe: &Recipe, layers: &[Layer], empty: bool) -> Result<Vec<u8>> {
        let mut history = match &recipe.base {
            Some(base) => {
                let old = self.document(&Digest::parse(&format!("sha256:{}", base.id))?)?;
                let old: Value = serde_json::from_slice(&old).unwrap_or_default();
                old.get("history").and_then(Value::as_array).cloned().unwrap_or_default()
            }
            None => Vec::new(),
        };
        let mut line = json!({ "created": recipe.created });
        let texts =
            [("author", &recipe.author), ("created_by", &recipe.created_by), ("comment", &recipe.comment)];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            line[key] = json!(text);
        }
        if empty {
            line["empty_layer"] = json!(true);
        }
        history.push(line);
        let diff_ids: Vec<String> = layers.iter().map(|l| format!("sha256:{}", l.diff_id)).collect();
        let mut document = json!({
            "architecture": architecture(recipe),
            "config": recipe.config,
            "created": recipe.created,
            "history": history,
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        });
        if let Some(base) = recipe.base.as_ref().filter(|base| !base.variant.is_empty()) {
            document["variant"] = json!(base.variant);
        }
        if !recipe.author.is_empty() {
            document["author"] = json!(recipe.author);
        }
        serde_json::to_vec(&document).map_err(|e| Error::Invalid(e.to_string()))
    }
}

fn architecture(recipe: &Recipe) -> String {
    match &recipe.base {
        _ if !recipe.architecture.is_empty() => recipe.architecture.clone(),
        Some(base) => base.architecture.clone(),
        None => machine_architecture().into(),
    }
}

/// Both ends of a pipe: for [`Store::make`], and for who writes.
pub fn pipe() -> Result<(File, File)> {
    let (read, write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io("make a pipe"))?;
    Ok((read.into(), write.into()))
}
