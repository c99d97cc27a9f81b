//! `corten volume rm`

use super::super::args::Shape;
use super::super::rm::NamedArgs;
use super::super::{Context, Outcome, parse};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove volumes that no container has",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: NamedArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    args.each(context, |name| engine.remove_volume_by_hand(name), |name| engine.remove_volume(name))
}
