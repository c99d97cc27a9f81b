//! `corten why`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::why::{Answer, exited, port, slow};
use clap::Args;

#[derive(Debug, Args)]
struct WhyArgs {
    words: Vec<String>,
}

const PORT: Shape = Shape {
    usage: "PORT[/PROTOCOL]",
    about: "Tell who answers on a port of this machine, which rule decides, and from where it can be reached",
    words: (1, 1),
};

pub fn port(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &PORT, words, port::why)
}

const EXITED: Shape =
    Shape { usage: "CONTAINER", about: "Tell how a container came to its end", words: (1, 1) };

pub fn exited(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &EXITED, words, |engine, name| Ok(vec![exited::why(engine, name)?]))
}

const SLOW: Shape =
    Shape { usage: "CONTAINER", about: "Tell what a running container waits for", words: (1, 1) };

pub fn slow(context: &Context, words: Vec<String>) -> Outcome {
    say(context, &SLOW, words, slow::why)
}

fn say(
    context: &Context,
    shape: &Shape,
    words: Vec<String>,
    why: fn(&engine::Engine, &str) -> Result<Vec<Answer>, Failure>,
) -> Outcome {
    let args: WhyArgs = match parse(context, shape, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some(word) = args.words.first() else { return Ok(1) };
    let answers = why(&context.engine()?, word)?;
    print(&answers.iter().map(Answer::text).collect::<Vec<_>>().join("\n"))?;
    Ok(0)
}
