//! `corten oci pause` and `corten oci resume`

use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use clap::Args;
use runtime::group::{freeze, thaw};
use runtime::oci::Status;

const PAUSE: Shape = Shape { usage: "ID", about: "Stop all processes of a container", words: (1, 1) };
const RESUME: Shape = Shape { usage: "ID", about: "Let a paused container go on", words: (1, 1) };

#[derive(Debug, Args)]
struct PauseArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PauseArgs = match parse(context, &PAUSE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    match context.containers.status(&record) {
        Status::Created | Status::Running => freeze(&record.groups)?,
        Status::Paused | Status::Creating | Status::Stopped => {
            return Err(Failure::new("container not running"));
        }
    }
    Ok(0)
}

pub fn resume(context: &Context, words: Vec<String>) -> Outcome {
    let args: PauseArgs = match parse(context, &RESUME, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    if context.containers.status(&record) != Status::Paused {
        return Err(Failure::new("container not paused"));
    }
    thaw(&record.groups)?;
    Ok(0)
}
