//! `corten network reload`

use super::super::args::Shape;
use super::super::{Context, Outcome, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "",
    about: "Put back what somebody has taken away: bridges, firewall table, published ports",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct NoArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let _args: NoArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    context.engine()?.reload_networks()?;
    Ok(0)
}
