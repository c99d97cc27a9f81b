//! `corten ns ls`: lsns(8) with the names of containers.

use super::super::args::Shape;
use super::super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use engine::look::spaces::{self, Space};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "List namespaces: those of running containers, or of some of them, or all",
    words: (0, usize::MAX),
};

#[derive(Debug, Args)]
struct LsArgs {
    /// All that there are on this machine
    #[arg(short, long)]
    all: bool,
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    words: Vec<String>,
}

/// Field and title, in the order of `{{json .}}`.
const TITLES: &[(&str, &str)] = &[
    ("Command", "COMMAND"),
    ("Containers", "CONTAINERS"),
    ("NS", "NS"),
    ("PID", "PID"),
    ("Processes", "PROCESSES"),
    ("Type", "TYPE"),
];
const COLUMNS: &[&str] = &["NS", "Type", "Processes", "PID", "Containers", "Command"];

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let wanted =
        args.words.iter().map(|word| Ok(engine.find_running(word)?)).collect::<Result<Vec<_>, Failure>>()?;
    let running = engine.all_running()?;
    let all = spaces::all(&running).map_err(|e| Failure::new(format!("cannot read /proc: {e}")))?;
    let shown = |space: &Space| match wanted.is_empty() {
        true => args.all || !space.containers.is_empty(),
        false => wanted.iter().any(|one| space.containers.contains(&one.container.name)),
    };
    let lines: Vec<Line> =
        all.into_iter().filter(shown).map(|space| Line { space, whole: args.no_trunc }).collect();
    let shape = list::Shape { titles: TITLES, columns: COLUMNS };
    print(&list::render(&shape, &lines, args.format.as_deref()).map_err(Failure::new)?)?;
    Ok(0)
}

struct Line {
    space: Space,
    whole: bool,
}

impl Row for Line {
    fn cell(&self, field: &str) -> String {
        let Line { space, whole } = self;
        let cut = |text: String, width| if *whole { text } else { words::ellipsis(&text, width) };
        match field {
            "NS" => space.inode.to_string(),
            "Type" => space.kind.to_owned(),
            "Processes" => space.processes.to_string(),
            "PID" => space.pid.to_string(),
            "Containers" => {
                let host = space.host.then_some("(this one)");
                let names: Vec<&str> =
                    host.into_iter().chain(space.containers.iter().map(String::as_str)).collect();
                cut(names.join(","), 40)
            }
            "Command" => cut(space.command.clone(), 40),
            _ => String::new(),
        }
    }
}
