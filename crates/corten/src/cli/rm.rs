//! `corten rm`

use super::args::Shape;
use super::stop::all;
use super::{Context, Outcome, for_each, parse};
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

/// What `network rm` and `volume rm` take.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// Don't mind those that aren't there
    #[arg(short, long)]
    force: bool,
    words: Vec<String>,
}

impl NamedArgs {
    /// `remove` with every name.
    pub fn each(&self, remove: impl Fn(&str) -> engine::Result<()>) -> Outcome {
        for_each(&self.words, |name| match remove(name) {
            Err(error) if self.force && error.is_not_found() => Ok(()),
            removed => Ok(removed?),
        })
    }
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RmArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let remove = |name: &str| Ok(engine.remove(&engine.find(name)?, args.force, args.volumes)?);
    if !args.force {
        return for_each(&args.words, remove);
    }
    // As in Docker, what is not there is removed already.
    let there = |name: &String| !engine.find(name).is_err_and(|error| error.is_not_found());
    let words: Vec<String> = args.words.iter().filter(|name| there(name)).cloned().collect();
    if words.is_empty() { Ok(0) } else { all(&words, remove) }
}
