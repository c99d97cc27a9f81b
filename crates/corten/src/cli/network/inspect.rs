//! `corten network inspect`

use super::super::args::Shape;
use super::super::inspect::{InspectArgs, show};
use super::super::{Context, Outcome, parse};
use engine::Engine;
use serde_json::Value;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Show everything about networks, as JSON",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: InspectArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    show(&args, |name| object(&engine, name))
}

/// The network of that name, as it is shown.
pub fn object(engine: &Engine, name: &str) -> Result<Value, String> {
    if matches!(name, "host" | "none") {
        return Ok(engine::predefined(name));
    }
    let network = engine.networks().find(name).map_err(|e| e.to_string())?;
    engine.inspect_network(&network).map_err(|e| e.to_string())
}
