//! `corten network prune`

use super::super::args::Shape;
use super::super::{Context, Failure, Outcome, parse, print, say};
use super::ls;
use clap::Args;
use engine::Time;
use std::io::{BufRead, Write};

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove all networks that no container is in", words: (0, 0) };

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
    let filters = args.filter.iter().map(|word| Filter::parse(word)).collect::<Result<Vec<_>, _>>();
    let filters = filters.map_err(Failure::flag)?;
    if !args.force && !confirmed()? {
        return Ok(0);
    }
    let engine = context.engine()?;
    let used = ls::users(&engine)?;
    let mut removed = Vec::new();
    for network in engine.networks().list().map_err(engine::Error::from)? {
        let in_use = network.is_default() || used.contains(&network.name);
        if in_use || !filters.iter().all(|filter| filter.accepts(&network)) {
            continue;
        }
        match engine.remove_network(&network) {
            Ok(()) => removed.push(network.name),
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    if !removed.is_empty() {
        print(&format!("Deleted Networks:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}

fn confirmed() -> Result<bool, Failure> {
    print(
        "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] ",
    )?;
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
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
        let (key, value) = word.split_once('=').ok_or_else(|| format!("invalid filter '{word}'"))?;
        match key {
            "until" => crate::resolve::parse_moment(value).map(Filter::Until),
            "label" | "label!" => {
                let (key_, value) = match value.split_once('=') {
                    Some((key, value)) => (key, Some(value.to_owned())),
                    None => (value, None),
                };
                Ok(Filter::Label { key: key_.to_owned(), value, wanted: key == "label" })
            }
            _ => Err(format!("invalid filter '{key}'")),
        }
    }

    fn accepts(&self, network: &network::Network) -> bool {
        match self {
            Filter::Until(moment) => Time(network.created) < *moment,
            Filter::Label { key, value, wanted } => {
                let has =
                    network.labels.get(key).is_some_and(|v| value.as_ref().is_none_or(|value| v == value));
                has == *wanted
            }
        }
    }
}
