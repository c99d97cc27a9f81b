//! `corten rename`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse};
use clap::Args;

const SHAPE: Shape =
    Shape { usage: "CONTAINER NEW_NAME", about: "Give a container another name", words: (2, 2) };

#[derive(Debug, Args)]
struct RenameArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RenameArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let [old, new] = args.words.as_slice() else { return Ok(1) };
    crate::resolve::container_name(new).map_err(Failure::new)?;
    let engine = context.engine()?;
    let acts = || Ok(engine.rename_by_hand(&engine.find(old)?, new)?);
    if let Some(outcome) =
        args.explain.instead(&format!("corten {} {}", context.command, args.words.join(" ")), acts)
    {
        return outcome;
    }
    engine.rename(&engine.find(old)?, new)?;
    Ok(0)
}
