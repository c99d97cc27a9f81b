//! `corten tag`

use super::args::Shape;
use super::{Context, Outcome, parse};
use clap::Args;
use engine::Event;

const SHAPE: Shape = Shape {
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Give an image another name",
    words: (2, 2),
};

#[derive(Debug, Args)]
struct TagArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: TagArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let [source, target] = args.words.as_slice() else { return Ok(1) };
    let engine = context.engine()?;
    let acts = || Ok(engine.tag_by_hand(source, target)?);
    if let Some(outcome) =
        args.explain.instead(&format!("corten {} {}", context.command, args.words.join(" ")), acts)
    {
        return outcome;
    }
    engine.images().tag(source, target)?;
    if let Ok(image) = engine.images().resolve(target) {
        engine.tell(&[Event::new("image", "tag", format!("sha256:{}", image.id)).with("name", target)]);
    }
    Ok(0)
}
