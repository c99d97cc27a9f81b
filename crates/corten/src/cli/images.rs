//! `corten images`

pub mod filter;

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use engine::Time;
use filter::Filters;
use image::{Image, Platform, Reference};
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
    /// Only some (reference=nginx*, label=a=b, dangling=true, before=, since=, until=)
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
    let keep = Filters::parse(&args.filter, filter::LIST, &list)?;
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
            let pattern = args.words.first();
            if pattern.is_none_or(|pattern| filter::is_called(name, pattern)) && keep.is_called(name) {
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

/// What `--platform` asks of an image that is here: that it is for that one.
pub fn check_platform(engine: &engine::Engine, name: &str, wanted: Option<&str>) -> Result<(), Failure> {
    let Some(wanted) = wanted.map(Platform::parse).transpose()? else { return Ok(()) };
    match engine.images().resolve(name) {
        Ok(image) if !wanted.accepts(&image.platform()) => Err(Failure::new(format!(
            "image '{name}' is for {}, and does not provide the platform {wanted}",
            image.platform()
        ))),
        // What does not exist is said by whoever wants it.
        _ => Ok(()),
    }
}

/// Seconds after 1970; builders write RFC 3339.
pub fn created(image: &Image) -> Option<i64> {
    crate::resolve::parse_time(image.created.as_deref()?).map(|t| (t.0 / 1_000_000_000) as i64)
}

pub fn since(seconds: i64) -> Duration {
    Time(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000)).age()
}
