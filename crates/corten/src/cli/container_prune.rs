//! `corten container prune`

use super::args::Shape;
use super::confirm::confirm;
use super::{Context, Failure, Outcome, parse, print, say};
use crate::fmt::words;
use crate::resolve::parse_moment;
use clap::Args;
use engine::{Container, State, Time};

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
    let filters: Vec<Filter> = args
        .filter
        .iter()
        .map(|word| Filter::parse(word))
        .collect::<Result<_, _>>()
        .map_err(Failure::flag)?;
    if !args.force {
        confirm(context, "This will remove all stopped containers.")?;
    }
    let engine = context.engine()?;
    let (mut text, mut bytes) = (String::new(), 0);
    for (container, state) in engine.list()? {
        let idle = matches!(state, State::Created | State::Exited { .. });
        if !idle || !filters.iter().all(|filter| filter.accepts(&container)) {
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

enum Filter {
    /// Made before.
    Until(Time),
    Label {
        key: String,
        value: Option<String>,
        wanted: bool,
    },
}

impl Filter {
    fn parse(word: &str) -> Result<Filter, String> {
        match word.split_once('=') {
            Some(("until", value)) => parse_moment(value).map(Filter::Until),
            Some((key @ ("label" | "label!"), text)) => {
                let (name, value) =
                    text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v.to_owned())));
                Ok(Filter::Label { key: name.to_owned(), value, wanted: key == "label" })
            }
            Some((key, _)) => Err(format!("invalid filter '{key}'")),
            None => Err(format!("invalid filter '{word}'")),
        }
    }

    fn accepts(&self, container: &Container) -> bool {
        match self {
            Filter::Until(moment) => container.created < *moment,
            Filter::Label { key, value, wanted } => {
                let label = container.settings.labels.get(key);
                label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label)) == *wanted
            }
        }
    }
}
