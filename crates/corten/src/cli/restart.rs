//! `corten restart`

use super::args::Shape;
use super::stop::{self, StopArgs, all, stop};
use super::{Context, Outcome, parse, print, seal_for};
use crate::explain;
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
    if let Some(form) = args.explain.form()? {
        for name in &args.words {
            let stop = stop::by_hand(&engine, name, &args)?;
            let plan = engine.plan(&engine.find(name)?)?;
            print(&explain::show_restart(&format!("corten restart {name}"), &stop, &plan, form))?;
        }
        return Ok(0);
    }
    seal_for(&engine, &args.words)?;
    all(&args.words, |name| {
        stop(&engine, name, &args)?;
        let container = engine.find(name)?;
        engine.start(&container, StartOptions { attach: false, trace: false })?;
        engine.tell(&[Event::of(&container, "restart")]);
        Ok(())
    })
}
