//! `corten oci state`

use super::{Context, parse};
use crate::cli::{Outcome, args::Shape, print};
use clap::Args;
use runtime::oci::{Record, Status};
use serde_json::json;

const SHAPE: Shape = Shape { usage: "ID", about: "Show the state of a container", words: (1, 1) };

#[derive(Debug, Args)]
struct StateArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    let state = of(&record, context.containers.status(&record));
    print(&format!("{state:#}\n"))?;
    Ok(0)
}

/// In the words of the specification, and the further ones of runc. A pid of 0: it is gone.
pub fn of(record: &Record, status: Status) -> serde_json::Value {
    let gone = status == Status::Stopped;
    let mut state = json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "pid": if gone { 0 } else { record.pid },
        "status": status.word(),
        "bundle": record.bundle,
        "rootfs": record.rootfs,
        "created": record.created,
        "owner": if record.owner == "root" { "" } else { &record.owner },
    });
    if !record.annotations.is_empty() {
        state["annotations"] = json!(record.annotations);
    }
    state
}
