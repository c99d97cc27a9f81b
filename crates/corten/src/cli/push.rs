//! `corten push`

use super::args::Shape;
use super::pull::{Out, progress};
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use engine::Engine;
use image::Reference;
use image::registry::Client;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] NAME[:TAG]", about: "Upload an image to a registry", words: (1, 1) };

#[derive(Debug, Args)]
struct PushArgs {
    /// Upload every tag of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Print the image's full name only
    #[arg(short, long)]
    quiet: bool,
    /// Accepted for old scripts
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = super::args::go_bool, hide = true)]
    disable_content_trust: Option<bool>,
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
    let client = Client::new()?;
    let names = if args.all_tags {
        if reference.tag.is_some() {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        every_tag(&engine, &reference)?
    } else {
        if reference.tag.is_none() && !args.quiet {
            print("Using default tag: latest\n")?;
        }
        vec![reference.clone().tagged()]
    };
    for name in &names {
        push(&engine, &client, name, args.quiet)?;
    }
    if args.quiet {
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
