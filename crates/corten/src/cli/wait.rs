//! `corten wait`

use super::args::Shape;
use super::{Context, Outcome, parse, print, say};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "CONTAINER [CONTAINER...]",
    about: "Wait until containers have ended, and print their exit codes",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct WaitArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: WaitArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let mut code = 0;
    for name in &args.words {
        match engine.find(name).and_then(|container| engine.wait(&container)) {
            Ok(exit) => print(&format!("{exit}\n"))?,
            Err(error) => {
                say(&format!("corten: {error}"));
                code = 1;
            }
        }
    }
    Ok(code)
}
