//! `corten search`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words::ellipsis;
use clap::Args;
use image::registry::{self, Client, Hit};

const SHAPE: Shape = Shape { usage: "[OPTIONS] TERM", about: "Search a registry for images", words: (1, 1) };

#[derive(Debug, Args)]
struct SearchArgs {
    /// Only some (stars=10, is-official=true, is-automated=false)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Most lines [25]
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    words: Vec<String>,
}

const TITLES: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];
const COLUMNS: &[&str] = &["Name", "Description", "StarCount", "IsOfficial"];
/// Letters of a description.
const WIDTH: usize = 45;

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: SearchArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let limit = args.limit.unwrap_or(25);
    if !(1..=100).contains(&limit) {
        return Err(Failure::new(format!("invalid limit {limit}: it must be from 1 to 100")));
    }
    let filters = args.filter.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let mut hits = registry::search(&Client::new()?, &args.words[0], limit, &|_| {})?;
    hits.retain(|hit| filters.iter().all(|filter| filter.accepts(hit)));
    let rows: Vec<Line> = hits.into_iter().map(|hit| Line { hit, whole: args.no_trunc }).collect();
    let shape = list::Shape { titles: TITLES, columns: COLUMNS };
    print(&list::render(&shape, &rows, args.format.as_deref()).map_err(Failure::new)?)?;
    Ok(0)
}

enum Filter {
    Stars(u64),
    Official(bool),
    Automated(bool),
}

impl Filter {
    fn parse(text: &str) -> Result<Filter, Failure> {
        let bad =
            || Failure::new(format!("invalid filter '{text}': use stars=, is-official= or is-automated="));
        let (name, value) = text.split_once('=').ok_or_else(bad)?;
        let truth = || super::args::go_bool(value).map_err(|_| bad());
        match name {
            "stars" => value.parse().map(Filter::Stars).map_err(|_| bad()),
            "is-official" => truth().map(Filter::Official),
            "is-automated" => truth().map(Filter::Automated),
            _ => Err(bad()),
        }
    }

    fn accepts(&self, hit: &Hit) -> bool {
        match self {
            Filter::Stars(least) => hit.star_count >= *least,
            Filter::Official(wanted) => hit.is_official == *wanted,
            Filter::Automated(wanted) => hit.is_automated == *wanted,
        }
    }
}

struct Line {
    hit: Hit,
    whole: bool,
}

impl Row for Line {
    fn cell(&self, field: &str) -> String {
        // What strangers wrote goes on one line, and moves no cursor.
        let clean = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
        };
        let ok = |yes: bool| if yes { "[OK]".to_owned() } else { String::new() };
        match field {
            "Name" => clean(&self.hit.name),
            "Description" if self.whole => clean(&self.hit.description),
            "Description" => ellipsis(&clean(&self.hit.description), WIDTH),
            "StarCount" => self.hit.star_count.to_string(),
            "IsOfficial" => ok(self.hit.is_official),
            "IsAutomated" => ok(self.hit.is_automated),
            _ => "N/A".to_owned(),
        }
    }
}
