//! `corten network ls`

use super::super::args::Shape;
use super::super::pattern;
use super::super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use engine::Engine;
use network::network::fixed_id;
use regex::Regex;
use std::collections::BTreeMap;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "List networks", words: (0, 0) };

#[derive(Debug, Args)]
struct LsArgs {
    /// Only some (driver=bridge, name=web, id=ab12, label=a=b, type=custom, dangling=true)
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

/// Field and title, in the order of `{{json .}}`.
const TITLES: &[(&str, &str)] = &[
    ("CreatedAt", "CREATED AT"),
    ("Driver", "DRIVER"),
    ("ID", "NETWORK ID"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("Name", "NAME"),
    ("Scope", "SCOPE"),
];
const COLUMNS: &[&str] = &["ID", "Name", "Driver", "Scope"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter).map_err(Failure::flag)?;
    let engine = context.engine()?;
    let mut rows = lines(&engine, args.no_trunc)?;
    let used = if filters.asks_use() { users(&engine)? } else { Vec::new() };
    rows.retain(|line| filters.accept(line, &used));
    let shape = list::Shape { titles: TITLES, columns: COLUMNS };
    let text = match &args.format {
        None if args.quiet => rows.iter().map(|row| row.cell("ID") + "\n").collect(),
        format => list::render(&shape, &rows, format.as_deref()).map_err(Failure::new)?,
    };
    print(&text)?;
    Ok(0)
}

/// The names of networks that containers are in.
pub fn users(engine: &Engine) -> Result<Vec<String>, Failure> {
    let endpoints = engine.list()?.into_iter().flat_map(|(container, _)| container.endpoints);
    Ok(endpoints.map(|endpoint| endpoint.network).collect())
}

#[derive(Debug)]
pub struct Line {
    pub name: String,
    id: String,
    driver: String,
    created: u64,
    internal: bool,
    ipv4: bool,
    ipv6: bool,
    labels: BTreeMap<String, String>,
    whole: bool,
    pub builtin: bool,
}

/// All networks and the two that are none, by name.
fn lines(engine: &Engine, whole: bool) -> Result<Vec<Line>, Failure> {
    let networks = engine.networks().list().map_err(engine::Error::from)?;
    let mut lines: Vec<Line> = networks
        .into_iter()
        .map(|network| Line {
            builtin: network.is_default(),
            ipv4: network.pool(true).is_some(),
            ipv6: network.has_ipv6(),
            name: network.name,
            id: network.id,
            driver: network.driver.name().to_owned(),
            created: network.created,
            internal: network.internal,
            labels: network.labels,
            whole,
        })
        .collect();
    for (name, driver) in [("host", "host"), ("none", "null")] {
        lines.push(Line {
            name: name.to_owned(),
            id: fixed_id(name),
            driver: driver.to_owned(),
            created: 0,
            internal: false,
            ipv4: true,
            ipv6: false,
            labels: BTreeMap::new(),
            whole,
            builtin: true,
        });
    }
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(lines)
}

impl Row for Line {
    fn cell(&self, field: &str) -> String {
        match field {
            "ID" if self.whole => self.id.clone(),
            "ID" => self.id.chars().take(12).collect(),
            "Name" => self.name.clone(),
            "Driver" => self.driver.clone(),
            "Scope" => "local".to_owned(),
            "CreatedAt" => words::date((self.created / 1_000_000_000) as i64),
            "Internal" => self.internal.to_string(),
            "IPv4" => self.ipv4.to_string(),
            "IPv6" => self.ipv6.to_string(),
            "Labels" => self.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(","),
            _ => String::new(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        self.labels.clone()
    }
}

/// The same key twice means either, two keys mean both; labels are all needed. The names once more, as expressions.
struct Filters(BTreeMap<String, Vec<String>>, Vec<Regex>);

impl Filters {
    fn parse(words: &[String]) -> Result<Filters, String> {
        let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("invalid argument \"{word}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"))?;
            let known = ["dangling", "driver", "id", "label", "name", "scope", "type"];
            let bad = || format!("invalid filter '{word}'");
            match (key, value) {
                ("dangling", "true" | "1" | "false" | "0") | ("type", "custom" | "builtin") => {}
                ("dangling" | "type", _) => return Err(bad()),
                _ if known.contains(&key) => {}
                _ => return Err(format!("invalid filter '{key}'")),
            }
            by_key.entry(key.to_owned()).or_default().push(value.to_owned());
        }
        let names = pattern::all(by_key.get("name"))?;
        Ok(Filters(by_key, names))
    }

    fn asks_use(&self) -> bool {
        self.0.contains_key("dangling")
    }

    fn accept(&self, line: &Line, used: &[String]) -> bool {
        let is_label = |value: &str| match value.split_once('=') {
            Some((key, value)) => line.labels.get(key).is_some_and(|v| v == value),
            None => line.labels.contains_key(value),
        };
        self.0.iter().all(|(key, values)| match key.as_str() {
            "label" => values.iter().all(|value| is_label(value)),
            "name" => self.1.iter().any(|name| name.is_match(&line.name)),
            key => values.iter().any(|value| match key {
                "driver" => line.driver == *value,
                "id" => line.id.starts_with(value.as_str()),
                "scope" => value == "local",
                "type" => (value == "builtin") == line.builtin,
                // The engine's own are never in anybody's way.
                _ => matches!(value.as_str(), "true" | "1") == (!line.builtin && !used.contains(&line.name)),
            }),
        })
    }
}
