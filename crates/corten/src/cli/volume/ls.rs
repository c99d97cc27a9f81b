//! `corten volume ls`

use super::super::args::Shape;
use super::super::pattern;
use super::super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use clap::Args;
use engine::{Engine, Volume};
use regex::Regex;
use std::collections::BTreeMap;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "List volumes", words: (0, 0) };

#[derive(Debug, Args)]
struct LsArgs {
    /// Only some (dangling=true, driver=local, label=a=b, name=data)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only the names
    #[arg(short, long)]
    quiet: bool,
    words: Vec<String>,
}

/// Field and title, in the order of `{{json .}}`.
const TITLES: &[(&str, &str)] = &[
    ("Availability", "AVAILABILITY"),
    ("Driver", "DRIVER"),
    ("Group", "GROUP"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Name", "VOLUME NAME"),
    ("Scope", "SCOPE"),
    ("Size", "SIZE"),
    ("Status", "STATUS"),
];
const COLUMNS: &[&str] = &["Driver", "Name"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter, KEYS).map_err(Failure::flag)?;
    let engine = context.engine()?;
    let volumes = filters.keep(&engine)?;
    let rows: Vec<Line> = volumes
        .into_iter()
        .map(|volume| Line { path: engine.mountpoint(&volume).display().to_string(), volume })
        .collect();
    let shape = list::Shape { titles: TITLES, columns: COLUMNS };
    let text = match &args.format {
        None if args.quiet => rows.iter().map(|row| format!("{}\n", row.volume.name)).collect(),
        format => list::render(&shape, &rows, format.as_deref()).map_err(Failure::new)?,
    };
    print(&text)?;
    Ok(0)
}

struct Line {
    volume: Volume,
    path: String,
}

impl Row for Line {
    fn cell(&self, field: &str) -> String {
        match field {
            "Name" => self.volume.name.clone(),
            "Driver" | "Scope" => "local".to_owned(),
            "Mountpoint" => self.path.clone(),
            "Labels" => {
                let pairs: Vec<String> = self.volume.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                pairs.join(",")
            }
            // Docker knows these of cluster volumes, or when it has measured.
            _ => "N/A".to_owned(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.volume.labels.clone()
    }
}

const KEYS: &[&str] = &["dangling", "driver", "label", "name"];
pub const PRUNE_KEYS: &[&str] = &["all", "label", "label!"];

/// The same key twice means either, two keys mean both; labels are all needed. The names once more, as expressions.
pub struct Filters(BTreeMap<String, Vec<String>>, Vec<Regex>);

impl Filters {
    pub fn parse(words: &[String], keys: &[&str]) -> Result<Filters, String> {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("invalid argument \"{word}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"))?;
            if !keys.contains(&key) {
                return Err(format!("invalid filter '{key}'"));
            }
            if matches!(key, "dangling" | "all") && truth(value).is_none() {
                return Err(format!("invalid filter '{word}'"));
            }
            by_key.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let names = pattern::all(by_key.get("name"))?;
        Ok(Filters(by_key, names))
    }

    /// What `all=` says.
    pub fn all(&self) -> bool {
        self.0.get("all").and_then(|values| truth(values.last()?)).unwrap_or(false)
    }

    /// The volumes that are meant.
    pub fn keep(&self, engine: &Engine) -> Result<Vec<Volume>, Failure> {
        let used = if self.0.contains_key("dangling") { engine.volume_users()? } else { BTreeMap::new() };
        let mut volumes = engine.volumes()?;
        volumes.retain(|volume| {
            self.0.iter().all(|(key, values)| match key.as_str() {
                "label" => values.iter().all(|value| has_label(volume, value)),
                "label!" => !values.iter().any(|value| has_label(volume, value)),
                "dangling" => values.iter().any(|v| truth(v) == Some(!used.contains_key(&volume.name))),
                "driver" => values.iter().any(|value| value == "local"),
                "name" => self.1.iter().any(|name| name.is_match(&volume.name)),
                _ => true,
            })
        });
        Ok(volumes)
    }
}

fn has_label(volume: &Volume, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => volume.labels.get(key).is_some_and(|v| v == value),
        None => volume.labels.contains_key(wanted),
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
