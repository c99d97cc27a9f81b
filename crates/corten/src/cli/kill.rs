//! `corten kill`

use super::args::Shape;
use super::{Context, Failure, Outcome, for_each, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send a signal to containers",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct KillArgs {
    /// The signal (KILL, SIGHUP, 15)
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: KillArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let number = engine::signal::number(&args.signal)
        .ok_or_else(|| Failure::new(format!("invalid signal: {}", args.signal)))?;
    let engine = context.engine()?;
    let acts = |name: &str| Ok(engine.kill_by_hand(&engine.find(name)?, number)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    for_each(&args.words, |name| Ok(engine.kill(&engine.find(name)?, number)?))
}
