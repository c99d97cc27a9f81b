//! `corten ns run`: unshare(1).

use super::super::args::Shape;
use super::super::{Context, Outcome, parse, print};
use super::enter::failure;
use super::kinds::{SpaceArgs, flag};
use runtime::spaces::{Spaces, run};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [COMMAND] [ARG...]",
    about: "Run a command in new namespaces of some kinds, or of all, and in this machine's for the rest",
    words: (0, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: SpaceArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let kinds = args.chosen();
    let command = command(&args.words);
    let flags = kinds.iter().fold(0, |all, kind| all | kind.flag);
    if args.explain {
        let has = |name: &str| kinds.iter().any(|kind| kind.name == name);
        let mut words: Vec<String> = kinds.iter().map(flag).collect();
        words.extend(has("user").then(|| "--map-root-user".to_owned()));
        words.extend((has("pid") || has("time")).then(|| "--fork".to_owned()));
        words.extend((has("pid") && has("mnt")).then(|| "--mount-proc".to_owned()));
        words.extend(command.iter().map(|word| steps::quote(word)));
        print(&format!("unshare {}\n", words.join(" ")))?;
        return Ok(0);
    }
    run(&Spaces::New { flags }, &command).map_err(failure)
}

/// What was asked for, else a shell.
pub fn command(words: &[String]) -> Vec<String> {
    match words {
        [] => vec![std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())],
        words => words.to_vec(),
    }
}
