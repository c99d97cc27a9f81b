//! `corten diff`

use super::args::Shape;
use super::{Context, Outcome, parse};
use clap::Args;
use std::io::Write;

const SHAPE: Shape = Shape {
    usage: "CONTAINER",
    about: "Show what a container has changed in its files: A is new, C has changed, D is gone",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct DiffArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: DiffArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let changes = engine.diff(&engine.find(args.words.first().map_or("", String::as_str))?)?;
    let mut text = Vec::new();
    for (path, change) in changes {
        // A name may hold anything, a newline too.
        let path = String::from_utf8_lossy(&path).replace(|c: char| c.is_control(), "?");
        text.extend_from_slice(format!("{} {path}\n", change.letter()).as_bytes());
    }
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    out.flush()?;
    Ok(0)
}
