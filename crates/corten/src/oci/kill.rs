//! `corten oci kill`

use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use clap::Args;
use runtime::oci;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] ID [SIGNAL]", about: "Send a signal to a container (TERM)", words: (1, 2) };

#[derive(Debug, Args)]
struct KillArgs {
    /// To all of its processes
    #[arg(short, long)]
    all: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: KillArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let word = args.words.get(1).map_or("TERM", String::as_str);
    // 0 only asks whether there is somebody: see kill(2).
    let signal = if word == "0" { Some(0) } else { engine::signal::number(word) };
    let signal = signal.ok_or_else(|| Failure::new(format!("unknown signal \"{word}\"")))?;
    let record = context.containers.load(&args.words[0])?;
    if args.all {
        return runtime::group::signal_all(&record.groups, signal)
            .map(|()| 0)
            .map_err(|e| Failure::new(format!("container '{}': {e}", record.id)));
    }
    oci::kill(&context.containers, &record, signal)?;
    Ok(0)
}
