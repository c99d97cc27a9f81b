//! `corten rm`

use super::args::Shape;
use super::stop::all;
use super::{Context, Outcome, parse, print};
use clap::Args;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] CONTAINER [CONTAINER...]", about: "Remove containers", words: (1, usize::MAX) };

#[derive(Debug, Args)]
struct RmArgs {
    /// Kill those that run, and don't mind those that aren't there
    #[arg(short, long)]
    force: bool,
    /// Remove their anonymous volumes, too
    #[arg(short, long)]
    volumes: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RmArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let remove = |name: &str| Ok(engine.remove(&engine.find(name)?, args.force)?);
    if args.words.len() == 1 || !args.force {
        return super::for_each(&args.words, remove);
    }
    let _ = print;
    all(&args.words, remove)
}
