//! `corten history`

use super::args::Shape;
use super::images::{check_platform, since};
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use image::HistoryLine;

const SHAPE: Shape = Shape { usage: "[OPTIONS] IMAGE", about: "Show how an image came about", words: (1, 1) };

#[derive(Debug, Args)]
struct HistoryArgs {
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and times for people (-H=false: for programs)
    #[arg(
        short = 'H',
        long,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        hide_default_value = true,
        value_parser = super::args::go_bool,
        action = clap::ArgAction::Set
    )]
    human: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// The platform that the image must be for (linux/arm64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    words: Vec<String>,
}

const TITLES: &[(&str, &str)] = &[
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];
const HUMAN: &[&str] = &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];
const NOT_HUMAN: &[&str] = &["ID", "CreatedAt", "CreatedBy", "Size", "Comment"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: HistoryArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let name = args.words.first().map_or("", String::as_str);
    check_platform(&engine, name, args.platform.as_deref())?;
    let history = engine.images().history(name)?;
    let rows: Vec<Line> = history.iter().map(|line| Line { line, args: &args }).collect();
    let shape = list::Shape { titles: TITLES, columns: if args.human { HUMAN } else { NOT_HUMAN } };
    let text = match &args.format {
        None if args.quiet => rows.iter().map(|row| row.cell("ID") + "\n").collect(),
        format => list::render(&shape, &rows, format.as_deref()).map_err(Failure::new)?,
    };
    print(&text)?;
    Ok(0)
}

struct Line<'a> {
    line: &'a HistoryLine,
    args: &'a HistoryArgs,
}

impl Row for Line<'_> {
    fn cell(&self, field: &str) -> String {
        let Line { line, args } = self;
        let seconds = line
            .created
            .as_deref()
            .and_then(crate::resolve::parse_time)
            .map(|t| (t.0 / 1_000_000_000) as i64);
        match field {
            "ID" => match &line.id {
                None => "<missing>".to_owned(),
                Some(id) if args.no_trunc => format!("sha256:{id}"),
                Some(id) => id.chars().take(12).collect(),
            },
            "CreatedSince" if args.human => {
                seconds.map_or_else(|| "N/A".to_owned(), |s| format!("{} ago", words::duration(since(s))))
            }
            "CreatedAt" | "CreatedSince" => seconds.map_or_else(|| "N/A".to_owned(), words::rfc3339),
            "CreatedBy" => {
                let text = line.created_by.replace(['\t', '\n'], " ");
                if args.no_trunc { text } else { words::ellipsis(&text, 45) }
            }
            "Size" if args.human => words::size(line.size),
            "Size" => line.size.to_string(),
            "Comment" => line.comment.replace(['\t', '\n'], " "),
            _ => String::new(),
        }
    }
}
