//! `corten oci list`

use super::{Context, parse, state};
use crate::cli::{Failure, Outcome, args::Shape, print};
use clap::Args;
use runtime::oci::Status;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "List the containers of this root", words: (0, 0) };

#[derive(Debug, Args)]
struct ListArgs {
    /// table or json
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    format: String,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ListArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let records = context.containers.list()?;
    let status = |r| context.containers.status(r);
    if args.quiet {
        let ids: String = records.iter().map(|r| format!("{}\n", r.id)).collect();
        print(&ids)?;
        return Ok(0);
    }
    match args.format.as_str() {
        "json" => {
            // As Go says of a list that nobody has begun.
            if records.is_empty() {
                print("null\n")?;
                return Ok(0);
            }
            let all = records.iter().map(|r| {
                let mut state = state::of(r, status(r));
                state["owner"] = r.owner.as_str().into();
                state
            });
            print(&format!("{}\n", all.collect::<serde_json::Value>()))?;
        }
        "table" => {
            let mut rows = String::from("ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n");
            for r in &records {
                let status = status(r);
                let pid = if status == Status::Stopped { 0 } else { r.pid };
                let (id, word) = (&r.id, status.word());
                rows.push_str(&format!("{id}\t{pid}\t{word}\t{}\t{}\t{}\n", r.bundle, r.created, r.owner));
            }
            print(&crate::fmt::table::align(&rows, 12, 3))?;
        }
        other => return Err(Failure::new(format!("invalid format option '{other}': use table or json"))),
    }
    Ok(0)
}
