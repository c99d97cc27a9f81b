//! `corten system check`

use super::args::Shape;
use super::{Context, Outcome, parse, print};
use clap::Args;
use std::fmt::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Read all images, layers and containers, and tell what is not as it should be",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct CheckArgs {
    /// Set right what is wrong; an image that cannot be is removed, so that it can be pulled again
    #[arg(short, long)]
    repair: bool,
    /// Print nothing but faults
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CheckArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = || Ok(engine.check_by_hand(args.repair));
    if let Some(outcome) = args.explain.instead("corten system check", acts) {
        return outcome;
    }
    let checked = engine.check(args.repair)?;
    let faults: Vec<_> = checked.store.faults.iter().chain(&checked.faults).collect();
    let left = faults.iter().filter(|f| f.repaired.is_none()).count();
    let mut text = String::new();
    for fault in &faults {
        let _ = writeln!(text, "{fault}");
    }
    if !args.quiet {
        let count = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
        let store = &checked.store;
        let _ = writeln!(
            text,
            "{}, {}, {}, {}: {}",
            count(store.images, "image"),
            count(store.layers, "layer"),
            count(store.blobs, "blob"),
            count(checked.containers, "container"),
            match (faults.len(), left) {
                (0, _) => "no faults".to_owned(),
                (all, 0) => format!("{}, repaired", count(all, "fault")),
                (all, left) if args.repair => format!("{}, {left} not repaired", count(all, "fault")),
                (all, _) => count(all, "fault"),
            }
        );
    }
    print(&text)?;
    Ok(i32::from(left > 0))
}
