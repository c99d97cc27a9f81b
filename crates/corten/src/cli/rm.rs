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
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

/// What `network rm` and `volume rm` take.
#[derive(Debug, Args)]
pub struct NamedArgs {
    /// Don't mind those that aren't there
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

impl NamedArgs {
    /// `remove` with every name; or `by_hand`, where it shall only be said.
    pub fn each(
        &self,
        context: &Context,
        by_hand: impl Fn(&str) -> engine::Result<Vec<steps::Shell>>,
        remove: impl Fn(&str) -> engine::Result<()>,
    ) -> Outcome {
        let acts = |name: &str| Ok(by_hand(name)?);
        if let Some(outcome) = self.explain.instead_of_each(&context.command, &self.words, acts) {
            return outcome;
        }
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
    let acts = |name: &str| Ok(engine.remove_by_hand(&engine.find(name)?, args.force, args.volumes)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    let remove = |name: &str| Ok(engine.remove(&engine.find(name)?, args.force, args.volumes)?);
    if !args.force {
        return for_each(&args.words, remove);
    }
    // As in Docker, what is not there is removed already.
    let there = |name: &String| !engine.find(name).is_err_and(|error| error.is_not_found());
    let words: Vec<String> = args.words.iter().filter(|name| there(name)).cloned().collect();
    if words.is_empty() { Ok(0) } else { all(&words, remove) }
}
