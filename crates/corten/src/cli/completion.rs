//! `corten completion`: what a shell needs in order to ask us, while somebody types, what could come next.

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "bash|zsh|fish",
    about: "Print a script that lets a shell complete commands, flags, and the names of containers, images, volumes and networks",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct CompletionArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CompletionArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let script = match args.words.first().map_or("", String::as_str) {
        "bash" => include_str!("completion/corten.bash"),
        "zsh" => include_str!("completion/corten.zsh"),
        "fish" => include_str!("completion/corten.fish"),
        other => {
            return Err(Failure::flag(format!(
                "there is no completion for '{other}': it is bash, zsh or fish"
            )));
        }
    };
    print(script)?;
    Ok(0)
}
