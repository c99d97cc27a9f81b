//! `corten import`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use engine::{Event, Time};
use image::{Recipe, Reference, RunConfig};
use std::fs::File;
use std::os::fd::AsFd;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
    about: "Make an image of one layer from a tar archive of a root file system, compressed or not",
    words: (1, 2),
};

#[derive(Debug, Args)]
struct ImportArgs {
    /// An instruction of a Dockerfile that changes how the image runs (CMD, ENV, EXPOSE, …); may be repeated
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A comment for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// What the image is for (linux/amd64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ImportArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let (source, name) = (args.words.first().map_or("-", String::as_str), args.words.get(1));
    let name = name.map(|name| new_name(name)).transpose()?;
    let acts = || Ok(context.engine()?.import_by_hand(source, name.as_ref()));
    if let Some(outcome) = args.explain.instead(&format!("corten import {}", args.words.join(" ")), acts) {
        return outcome;
    }
    let mut config = RunConfig::default();
    image::change::apply(&mut config, &args.change)?;
    let platform = args.platform.as_deref().map(image::platform::Platform::parse).transpose()?;
    let (layer, from) = open(source)?;
    let now = Time::now().rfc3339();
    let recipe = Recipe {
        config,
        created: now,
        comment: args.message.unwrap_or_else(|| format!("Imported from {from}")),
        architecture: platform.map(|p| p.architecture).unwrap_or_default(),
        name,
        ..Recipe::default()
    };
    let engine = context.engine()?;
    let id = engine.images().make(&recipe, layer, &mut || Ok(()));
    let id = id.map_err(|e| Failure::new(format!("cannot import {from}: {e}")))?;
    engine
        .tell(&[Event::new("image", "import", format!("sha256:{id}")).with("name", format!("sha256:{id}"))]);
    print(&format!("sha256:{id}\n"))?;
    Ok(0)
}

/// The name that a new image gets.
pub fn new_name(name: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(name)?;
    if reference.digest.is_some() {
        return Err(Failure::new(format!(
            "invalid reference '{name}': a new image cannot be named by a digest"
        )));
    }
    Ok(reference.tagged())
}

/// What to read, and what to call it.
fn open(source: &str) -> Result<(File, String), Failure> {
    if source == "-" {
        let stdin = std::io::stdin();
        let fd = stdin.as_fd().try_clone_to_owned()?;
        return Ok((fd.into(), "-".to_owned()));
    }
    if source.starts_with("http://") || source.starts_with("https://") {
        return Err(Failure::new(format!("cannot import '{source}': fetch it first, and import the file")));
    }
    let failed = |cause: String| Failure::new(format!("cannot import '{source}': {cause}"));
    let file = File::open(source).map_err(|e| failed(super::io_words(&e)))?;
    if file.metadata().is_ok_and(|m| m.is_dir()) {
        return Err(failed("it is a directory: use tar -C DIR -c . | corten import -".to_owned()));
    }
    Ok((file, source.to_owned()))
}
