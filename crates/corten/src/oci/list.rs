//! `corten oci list`

use super::{Context, state};
use crate::cli::{Failure, Outcome, args::Shape, parse, print};
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
    let args: ListArgs = match parse(&context.cli, &SHAPE, words) {
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
            let all: Vec<_> = records.iter().map(|r| state::of(r, status(r))).collect();
            print(&format!("{}\n", serde_json::Value::from(all)))?;
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
        other => return Err(Failure::new(format!("invalid format '{other}': use table or json"))),
    }
    Ok(0)
}
