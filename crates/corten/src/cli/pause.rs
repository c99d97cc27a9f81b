//! `corten pause`, `corten unpause`

use super::args::Shape;
use super::{Context, Outcome, for_each, parse};
use clap::Args;

const PAUSE: Shape = Shape {
    usage: "CONTAINER [CONTAINER...]",
    about: "Let all processes of containers stand still",
    words: (1, usize::MAX),
};
const UNPAUSE: Shape =
    Shape { usage: "CONTAINER [CONTAINER...]", about: "Let paused containers go on", words: (1, usize::MAX) };

#[derive(Debug, Args)]
struct PauseArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn pause(context: &Context, words: Vec<String>) -> Outcome {
    let args: PauseArgs = match parse(context, &PAUSE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = |name: &str| Ok(engine.pause_by_hand(&engine.find(name)?)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    for_each(&args.words, |name| Ok(engine.pause(&engine.find(name)?)?))
}

pub fn unpause(context: &Context, words: Vec<String>) -> Outcome {
    let args: PauseArgs = match parse(context, &UNPAUSE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = |name: &str| Ok(engine.unpause_by_hand(&engine.find(name)?)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    for_each(&args.words, |name| Ok(engine.unpause(&engine.find(name)?)?))
}
