//! `corten oci start`

use super::{Context, parse};
use crate::cli::{Outcome, args::Shape};
use clap::Args;
use runtime::oci;

const SHAPE: Shape = Shape { usage: "ID", about: "Run the program of a created container", words: (1, 1) };

#[derive(Debug, Args)]
struct StartArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StartArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    oci::start(&context.containers, &context.containers.load(&args.words[0])?)?;
    Ok(0)
}
