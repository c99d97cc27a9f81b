//! `corten volume rm`

use super::super::args::Shape;
use super::super::{Context, Outcome, for_each, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove volumes that no container has",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct RmArgs {
    /// Don't mind those that aren't there
    #[arg(short, long)]
    force: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RmArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    for_each(&args.words, |name| match engine.remove_volume(name) {
        Err(error) if args.force && error.is_not_found() => Ok(()),
        removed => Ok(removed?),
    })
}
