//! `corten oci ps`

use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape, print};
use clap::Args;
use runtime::group::processes;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] ID [ps OPTIONS]",
    about: "Show the processes of a container (-ef, aux, or -o with columns)",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct PsArgs {
    /// table or json
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    format: String,
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    let pids = processes(&record.groups)?;
    let text = match args.format.as_str() {
        // As Go says of a list that nobody has begun.
        "json" if pids.is_empty() => "null\n".to_owned(),
        "json" => format!("{}\n", serde_json::json!(pids)),
        "table" => {
            runtime::ps::table(&pids, &args.words[1..]).map_err(|e| Failure::new(e.to_string()))?.text()
        }
        _ => return Err(Failure::new("invalid format option")),
    };
    print(&text)?;
    Ok(0)
}
