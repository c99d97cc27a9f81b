//! `corten oci delete`

use super::{Context, parse};
use crate::cli::{Outcome, args::Shape};
use clap::Args;
use runtime::oci;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] ID", about: "Remove a container that has ended", words: (1, 1) };

#[derive(Debug, Args)]
struct DeleteArgs {
    /// End it first when it runs; one that is not there is no error
    #[arg(short, long)]
    force: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: DeleteArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = match context.containers.load(&args.words[0]) {
        Err(e) if e.missing && args.force => return Ok(0),
        record => record?,
    };
    oci::delete(&context.containers, &record, args.force, &|line| context.warn(line))?;
    Ok(0)
}
