//! `corten restart`

use super::args::Shape;
use super::stop::{StopArgs, all, stop};
use super::{Context, Outcome, parse, seal_for};
use engine::{Event, StartOptions};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop containers and start them again",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StopArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    seal_for(&engine, &args.words)?;
    all(&args.words, |name| {
        stop(&engine, name, &args)?;
        let container = engine.find(name)?;
        engine.start(&container, StartOptions { attach: false, trace: false })?;
        engine.tell(&[Event::of(&container, "restart")]);
        Ok(())
    })
}
