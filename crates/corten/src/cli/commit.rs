//! `corten commit`

use super::args::Shape;
use super::import::new_name;
use super::{Context, Outcome, parse, print};
use clap::Args;
use engine::CommitOptions;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Make an image from what a container has written",
    words: (1, 2),
};

#[derive(Debug, Args)]
struct CommitArgs {
    /// Who made it
    #[arg(short, long, value_name = "AUTHOR")]
    author: Option<String>,
    /// An instruction of a Dockerfile that changes how the image runs (CMD, ENV, EXPOSE, …); may be repeated
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// A comment for the history
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// The container stands still meanwhile (-p=false: it goes on)
    #[arg(
        short,
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        hide_default_value = true,
        value_parser = super::args::go_bool,
        action = clap::ArgAction::Set
    )]
    pause: bool,
    /// The container goes on meanwhile
    #[arg(long)]
    no_pause: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CommitArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let name = args.words.get(1).map(|name| new_name(name)).transpose()?;
    let engine = context.engine()?;
    let container = engine.find(args.words.first().map_or("", String::as_str))?;
    let options = CommitOptions {
        author: args.author.unwrap_or_default(),
        message: args.message.unwrap_or_default(),
        changes: args.change,
        pause: args.pause && !args.no_pause,
        name,
    };
    let acts = || Ok(engine.commit_by_hand(&container, &options)?);
    if let Some(outcome) =
        args.explain.instead(&format!("corten {} {}", context.command, container.name), acts)
    {
        return outcome;
    }
    let id = engine.commit(&container, &options)?;
    print(&format!("sha256:{id}\n"))?;
    Ok(0)
}
