//! Which of the things that nothing uses a `prune` removes: `--filter until=24h`, `label=a=b`, `label!=a`. All are needed.

use super::Failure;
use engine::Time;
use std::collections::BTreeMap;

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
