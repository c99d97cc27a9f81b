//! `corten network rm`

use super::super::args::Shape;
use super::super::rm::NamedArgs;
use super::super::{Context, Outcome, parse};

const SHAPE: Shape =
    Shape { usage: "NETWORK [NETWORK...]", about: "Remove networks", words: (1, usize::MAX) };

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: NamedArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let find = |name: &str| engine.networks().find(name);
    args.each(
        context,
        |name| engine.remove_network_by_hand(&find(name)?),
        |name| engine.remove_network(&find(name)?),
    )
}
