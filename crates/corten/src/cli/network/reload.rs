//! `corten network reload`

use super::super::args::Shape;
use super::super::{Context, Outcome, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Put back what somebody has taken away: bridges, firewall table, published ports",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct ReloadArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ReloadArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = || Ok(engine.reload_networks_by_hand()?);
    if let Some(outcome) = args.explain.instead("corten network reload", acts) {
        return outcome;
    }
    engine.reload_networks()?;
    Ok(0)
}
