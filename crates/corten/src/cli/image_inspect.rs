//! `corten image inspect`

use super::args::Shape;
use super::inspect::{InspectArgs, show};
use super::{Context, Outcome, parse};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Show everything about images, as JSON",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: InspectArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    show(&args, |name| match engine.images().inspect(name) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Err(format!("No such image: {name}")),
        Err(error) => Err(error.to_string()),
    })
}
