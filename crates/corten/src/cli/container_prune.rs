//! `corten container prune`

use super::args::Shape;
use super::confirm::confirm;
use super::prune::Filters;
use super::{Context, Outcome, parse, print, say};
use crate::fmt::words;
use clap::Args;
use engine::State;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove all containers that do not run", words: (0, 0) };

#[derive(Debug, Args)]
struct PruneArgs {
    /// Only some (until=24h, label=a=b, label!=a)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter)?;
    if !args.force {
        confirm(context, "This will remove all stopped containers.")?;
    }
    let engine = context.engine()?;
    let (mut text, mut bytes) = (String::new(), 0);
    for (container, state) in engine.list()? {
        let idle = matches!(state, State::Created | State::Exited { .. });
        if !idle || !filters.accept(container.created, &container.settings.labels) {
            continue;
        }
        let size = engine.size(&container).0;
        match engine.remove(&container, false, false) {
            Ok(()) => (text, bytes) = (text + &container.id + "\n", bytes + size),
            // Started or removed since it was looked at.
            Err(engine::Error::Running(_) | engine::Error::NoSuchContainer(_)) => {}
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    if !text.is_empty() {
        text = format!("Deleted Containers:\n{text}\n");
    }
    print(&format!("{text}Total reclaimed space: {}\n", words::size(bytes)))?;
    Ok(0)
}
