//! `corten lab`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::lab;
use clap::Args;
use runtime::{Cgroups, Host};
use std::fmt::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [CHAPTER...|all]",
    about: "Learn what a container is made of, step by step, on this machine: each step shows its command, runs it, and takes itself away at the end",
    words: (0, usize::MAX),
};

#[derive(Debug, Args)]
struct LabArgs {
    /// Run through, without waiting for Enter
    #[arg(short, long)]
    yes: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LabArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let v2 = matches!(Host::read().cgroups, Cgroups::V2 { .. });
    let all = lab::all(v2);
    if args.words.is_empty() {
        let mut text =
            String::from("The chapters; each takes a few minutes, and needs nothing but this machine:\n\n");
        for (number, chapter) in all.iter().enumerate() {
            let _ = writeln!(text, "  {}  {:<11} {}", number + 1, chapter.name, chapter.about);
        }
        text.push_str("\n'corten lab namespaces' (or 'corten lab 1') begins; --yes runs through without waiting for Enter.\n");
        print(&text)?;
        return Ok(0);
    }
    let mut chosen = Vec::new();
    for word in &args.words {
        let by_number = word.parse::<usize>().ok().and_then(|number| all.get(number.checked_sub(1)?));
        match by_number.or_else(|| all.iter().find(|chapter| chapter.name == *word)) {
            Some(chapter) => chosen.push(*chapter),
            None if word == "all" => chosen.extend(all),
            None => {
                let near = super::help::nearest(word, all.iter().map(|chapter| chapter.name));
                return Err(Failure::flag(format!("no chapter is called '{word}'{near}")));
            }
        }
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new(
            "the lab makes namespaces, mounts and control groups by hand: it has to be run as root",
        ));
    }
    let shell = lab::Shell { root: context.root.clone(), state: context.state.clone() };
    lab::run(&chosen, &shell, args.yes)
}
