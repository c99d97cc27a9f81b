//! `corten rename`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse};
use clap::Args;

const SHAPE: Shape =
    Shape { usage: "CONTAINER NEW_NAME", about: "Give a container another name", words: (2, 2) };

#[derive(Debug, Args)]
struct RenameArgs {
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
    engine.rename(&engine.find(old)?, new)?;
    Ok(0)
}
