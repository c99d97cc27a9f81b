//! `corten push`

use super::args::Shape;
use super::images::check_platform;
use super::pull::{Common, Out, progress};
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use engine::{Engine, Event};
use image::Reference;
use image::registry::Client;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] NAME[:TAG]", about: "Upload an image to a registry", words: (1, 1) };

#[derive(Debug, Args)]
struct PushArgs {
    #[command(flatten)]
    common: Common,
    /// The platform that the image must be for (linux/arm64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PushArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let reference = Reference::parse(&args.words[0])?;
    if reference.digest.is_some() {
        return Err(Failure::new("cannot push a digest reference"));
    }
    let engine = context.engine()?;
    let names = match args.common.repository(&reference)? {
        Some(repository) => every_tag(&engine, repository)?,
        None => vec![reference.tagged()],
    };
    let acts = || {
        let each = names.iter().map(|name| engine.push_by_hand(name)).collect::<engine::Result<Vec<_>>>();
        Ok(each?.concat())
    };
    if let Some(outcome) = args.explain.instead(&format!("corten push {}", args.words[0]), acts) {
        return outcome;
    }
    let client = Client::new()?;
    for name in &names {
        check_platform(&engine, &name.familiar(), args.platform.as_deref())?;
        push(&engine, &client, name, args.common.quiet)?;
    }
    if args.common.quiet {
        for name in &names {
            print(&format!("{name}\n"))?;
        }
    }
    Ok(0)
}

fn push(engine: &Engine, client: &Client, name: &Reference, quiet: bool) -> Result<(), Failure> {
    // Said before a registry is spoken of.
    if let Err(error) = engine.images().resolve(&name.to_string()) {
        return Err(Failure::new(match error.is_not_found() {
            true => format!("An image does not exist locally with the tag: {}", name.familiar_repository()),
            false => error.to_string(),
        }));
    }
    let progress = progress(quiet, Out::Stdout);
    progress.say(&format!("The push refers to repository [{}]", name.repository()));
    let pushed = image::registry::push(engine.images(), client, name, &|event| progress.hear(event));
    progress.end();
    let pushed = pushed?;
    engine.tell(&[Event::new("image", "push", name.familiar()).with("name", name.familiar_repository())]);
    let tag = name.tag.as_deref().unwrap_or_default();
    progress.say(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size));
    Ok(())
}

fn every_tag(engine: &Engine, repository: &Reference) -> Result<Vec<Reference>, Failure> {
    let list = engine.images().list()?;
    let mut names: Vec<Reference> = list.into_iter().flat_map(|image| image.tags).collect();
    names.retain(|name| name.repository() == repository.repository());
    names.sort();
    if names.is_empty() {
        let repository = repository.familiar_repository();
        return Err(Failure::new(format!("An image does not exist locally with the tag: {repository}")));
    }
    Ok(names)
}
