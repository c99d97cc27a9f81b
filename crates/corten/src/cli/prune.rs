//! What the prunes share: their flags, the question, which of the things that nothing uses are removed (`--filter until=24h`,
//! `label=a=b`, `label!=a`: all are needed), and what is told at the end.

use super::confirm::confirm;
use super::{Context, Failure, print};
use crate::fmt::words;
use clap::Args;
use engine::Time;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only some (until=24h, label=a=b, label!=a)
    #[arg(long, value_name = "NAME=VALUE")]
    pub filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    pub force: bool,
    #[command(flatten)]
    pub explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

impl PruneArgs {
    /// Docker's question, unless it is answered already.
    pub fn ask(&self, context: &Context, warning: &str) -> Result<(), Failure> {
        if self.force { Ok(()) } else { confirm(context, warning) }
    }
}

/// What was removed, a line each, and the bytes that it had.
pub fn report(what: &str, removed: &[String], bytes: u64) -> Result<(), Failure> {
    let list = match removed {
        [] => String::new(),
        lines => format!("Deleted {what}:\n{}\n\n", lines.join("\n")),
    };
    print(&format!("{list}Total reclaimed space: {}\n", words::size(bytes)))
}

#[derive(Debug)]
pub struct Filters(Vec<Filter>);

#[derive(Debug)]
enum Filter {
    /// Made before.
    Until(Time),
    Label {
        key: String,
        value: Option<String>,
        wanted: bool,
    },
}

impl Filters {
    pub fn parse(words: &[String]) -> Result<Filters, Failure> {
        words
            .iter()
            .map(|word| Filter::parse(word))
            .collect::<Result<_, _>>()
            .map(Filters)
            .map_err(Failure::flag)
    }

    /// Whether something that was made then, with these labels, is meant.
    pub fn accept(&self, created: Time, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|filter| match filter {
            Filter::Until(moment) => created < *moment,
            Filter::Label { key, value, wanted } => {
                let label = labels.get(key);
                label.is_some_and(|label| value.as_ref().is_none_or(|value| value == label)) == *wanted
            }
        })
    }
}

impl Filter {
    fn parse(word: &str) -> Result<Filter, String> {
        match word.split_once('=') {
            Some(("until", value)) => crate::resolve::parse_moment(value).map(Filter::Until),
            Some((key @ ("label" | "label!"), text)) => {
                let (name, value) =
                    text.split_once('=').map_or((text, None), |(k, v)| (k, Some(v.to_owned())));
                Ok(Filter::Label { key: name.to_owned(), value, wanted: key == "label" })
            }
            Some((key, _)) => Err(format!("invalid filter '{key}'")),
            None => Err(format!("invalid filter '{word}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant() {
        let filters =
            |words: &[&str]| Filters::parse(&words.iter().map(|w| w.to_string()).collect::<Vec<_>>());
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let accepts = |words: &[&str]| filters(words).unwrap().accept(Time(5_000_000_000), &labels);
        assert!(accepts(&[]) && accepts(&["label=a"]) && accepts(&["label=a=b", "label!=c"]));
        assert!(!accepts(&["label=a=c"]) && !accepts(&["label!=a"]) && !accepts(&["label=a", "label=c"]));
        assert!(accepts(&["until=10"]) && !accepts(&["until=1"]));
        assert!(filters(&["label"]).is_err() && filters(&["x=y"]).is_err());
    }
}
