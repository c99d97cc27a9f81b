//! `corten images`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use engine::Time;
use image::{Image, Reference};
use std::collections::BTreeMap;
use std::time::Duration;

const SHAPE: Shape = Shape { usage: "[OPTIONS] [REPOSITORY[:TAG]]", about: "List images", words: (0, 1) };

#[derive(Debug, Args)]
struct ImagesArgs {
    /// Accepted: there are no intermediate images
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Only some (reference=nginx*, label=a=b, dangling=true, before=, since=)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    words: Vec<String>,
}

const TITLES: &[(&str, &str)] = &[
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("VirtualSize", "SIZE"),
];
const COLUMNS: &[&str] = &["Repository", "Tag", "ID", "CreatedSince", "Size"];
const COLUMNS_WITH_DIGEST: &[&str] = &["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ImagesArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let mut rows = Vec::new();
    let list = engine.images().list()?;
    let keep = Filters::parse(&args.filter, &list)?;
    for summary in &list {
        if !keep.accepts(&summary.image) {
            continue;
        }
        let untagged = summary.tags.is_empty();
        let names: Vec<Option<&Reference>> =
            if untagged { vec![summary.digests.first()] } else { summary.tags.iter().map(Some).collect() };
        if keep.dangling.is_some_and(|wanted| wanted != untagged) {
            continue;
        }
        for name in names {
            let digest =
                summary.digests.iter().find(|d| name.is_some_and(|n| n.repository() == d.repository()));
            let line = Line {
                image: &summary.image,
                name,
                digest: digest.and_then(|d| d.digest.as_deref()),
                whole: args.no_trunc,
            };
            if args.words.first().is_none_or(|pattern| line.is_called(pattern)) && keep.is_called(&line) {
                rows.push(line);
            }
        }
    }
    let shape =
        list::Shape { titles: TITLES, columns: if args.digests { COLUMNS_WITH_DIGEST } else { COLUMNS } };
    let text = match &args.format {
        None if args.quiet => {
            let mut seen = Vec::new();
            rows.retain(|row| {
                !seen.contains(&row.image.id) && {
                    seen.push(row.image.id.clone());
                    true
                }
            });
            rows.iter().map(|row| row.cell("ID") + "\n").collect()
        }
        format => list::render(&shape, &rows, format.as_deref()).map_err(Failure::new)?,
    };
    print(&text)?;
    Ok(0)
}

struct Line<'a> {
    image: &'a Image,
    name: Option<&'a Reference>,
    digest: Option<&'a str>,
    whole: bool,
}

impl Row for Line<'_> {
    fn cell(&self, field: &str) -> String {
        let none = || "<none>".to_owned();
        match field {
            "ID" if self.whole => format!("sha256:{}", self.image.id),
            "ID" => self.image.id.chars().take(12).collect(),
            "Repository" => self.name.map_or_else(none, Reference::familiar_repository),
            "Tag" => self.name.and_then(|n| n.tag.clone()).unwrap_or_else(none),
            "Digest" => self.digest.map_or_else(none, str::to_owned),
            "CreatedSince" => match created(self.image) {
                Some(seconds) => format!("{} ago", words::duration(since(seconds))),
                None => "N/A".to_owned(),
            },
            "CreatedAt" => created(self.image).map_or_else(String::new, words::date),
            "Size" | "VirtualSize" => words::size(self.image.size),
            _ => "N/A".to_owned(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.image.config.labels.clone()
    }
}

impl Line<'_> {
    /// `nginx`, `nginx:1`, `*/nginx*`.
    fn is_called(&self, pattern: &str) -> bool {
        let Some(name) = self.name else { return false };
        let (repository, tag) = match pattern.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (pattern, None),
        };
        let full = name.repository();
        let repository_fits = glob(repository, &name.familiar_repository())
            || glob(repository, &full)
            || glob(&format!("docker.io/{repository}"), &full);
        repository_fits && tag.is_none_or(|tag| name.tag.as_deref().is_some_and(|t| glob(tag, t)))
    }
}

/// `*` is any letters but `/`, `?` is one.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    p.dedup_by(|a, b| *a == '*' && *b == '*');
    // Which beginnings of the text the pattern so far can be.
    let mut fits = vec![false; t.len() + 1];
    fits[0] = true;
    for c in p {
        let mut next = vec![false; t.len() + 1];
        for i in 0..=t.len() {
            next[i] = match c {
                '*' => fits[i] || (i > 0 && next[i - 1] && t[i - 1] != '/'),
                '?' => i > 0 && fits[i - 1] && t[i - 1] != '/',
                c => i > 0 && fits[i - 1] && t[i - 1] == c,
            };
        }
        fits = next;
    }
    fits[t.len()]
}

struct Filters {
    labels: Vec<String>,
    references: Vec<String>,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
}

impl Filters {
    fn parse(words: &[String], all: &[image::Summary]) -> Result<Filters, Failure> {
        let mut filters =
            Filters { labels: Vec::new(), references: Vec::new(), dangling: None, before: None, since: None };
        for word in words {
            let bad = |cause: &str| {
                Failure::flag(format!("invalid argument \"{word}\" for \"-f, --filter\" flag: {cause}"))
            };
            let (key, value) =
                word.split_once('=').ok_or_else(|| bad("bad format of filter (expected name=value)"))?;
            let moment = || {
                let reference = Reference::parse(value).ok().map(Reference::tagged);
                let found = all.iter().find(|s| {
                    s.image.id.starts_with(value) || reference.as_ref().is_some_and(|r| s.tags.contains(r))
                });
                found
                    .map(|s| created(&s.image))
                    .ok_or_else(|| Failure::new(format!("No such image: {value}")))
            };
            match key {
                "label" => filters.labels.push(value.to_owned()),
                "reference" => filters.references.push(value.to_owned()),
                "dangling" => filters.dangling = Some(super::args::go_bool(value).map_err(|e| bad(&e))?),
                "before" => filters.before = moment()?,
                "since" => filters.since = moment()?,
                _ => return Err(Failure::new(format!("invalid filter '{key}'"))),
            }
        }
        Ok(filters)
    }

    fn accepts(&self, image: &Image) -> bool {
        let at = created(image).unwrap_or(0);
        let labelled = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => image.config.labels.get(key).is_some_and(|v| v == value),
            None => image.config.labels.contains_key(wanted),
        };
        self.before.is_none_or(|t| at < t)
            && self.since.is_none_or(|t| at > t)
            && self.labels.iter().all(labelled)
    }

    fn is_called(&self, line: &Line) -> bool {
        self.references.is_empty() || self.references.iter().any(|pattern| line.is_called(pattern))
    }
}

/// Seconds after 1970; builders write RFC 3339.
fn created(image: &Image) -> Option<i64> {
    crate::resolve::parse_time(image.created.as_deref()?).map(|t| (t.0 / 1_000_000_000) as i64)
}

fn since(seconds: i64) -> Duration {
    Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000)).age()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(
            glob("nginx", "nginx") && glob("ng*", "nginx") && glob("*", "nginx") && glob("n?inx", "nginx")
        );
        assert!(
            !glob("*", "peers/nginx") && glob("*/nginx", "peers/nginx") && !glob("", "x") && glob("", "")
        );
    }
}
