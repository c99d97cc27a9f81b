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
    args.each(|name| engine.remove_network(&engine.networks().find(name)?))
}
