//! `corten compare`: what makes this a container. Two of them, or one and this machine, fact by fact.

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::{fit, table};
use clap::Args;
use engine::Engine;
use engine::look::deep;
use engine::look::facts::{self, Fact, Pair, pairs};
use serde_json::{Value, json};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER]",
    about: "Show what the kernel treats differently in two containers, or in one and on this machine (@host)",
    words: (1, 2),
};

#[derive(Debug, Args)]
struct CompareArgs {
    /// What is equal, too
    #[arg(short, long)]
    all: bool,
    /// Each mount, file of a control group, device, link, route and kernel parameter, too
    #[arg(short, long)]
    deep: bool,
    /// Add the commands that show each fact by hand
    #[arg(long)]
    by_hand: bool,
    /// table or json
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CompareArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let left = &args.words[0];
    let right = args.words.get(1).map_or("@host", String::as_str);
    let pids = (pid(&engine, left)?, pid(&engine, right)?);
    let pairs = pairs(of(left, pids.0, args.deep)?, of(right, pids.1, args.deep)?);
    let (equal, all) = (pairs.iter().filter(|pair| pair.is_equal()).count(), pairs.len());
    let shown: Vec<&Pair> = pairs.iter().filter(|pair| args.all || !pair.is_equal()).collect();
    let text = match args.format.as_str() {
        "json" => format!("{:#}\n", as_json(&shown, left, right)),
        "table" => {
            let mut text = as_table(&shown, left, right, args.by_hand);
            text.push_str(&format!("\n{} of {all} facts differ\n", all - equal));
            if args.by_hand {
                text.push_str(&format!("$PID is {} for {left} and {} for {right}\n", pids.0, pids.1));
            }
            text
        }
        other => return Err(Failure::flag(format!("unknown format '{other}': use table or json"))),
    };
    print(&text)?;
    Ok(0)
}

/// The first process of a container, or this one for the machine.
fn pid(engine: &Engine, name: &str) -> Result<i32, Failure> {
    if name == "@host" {
        return Ok(std::process::id().cast_signed());
    }
    Ok(engine.find_running(name)?.pid)
}

fn of(name: &str, pid: i32, in_depth: bool) -> Result<Vec<Fact>, Failure> {
    let facts = if in_depth { deep::of(pid) } else { facts::of(pid) };
    facts.map_err(|e| Failure::new(format!("cannot look at {name}, process {pid}: {e}")))
}

fn as_table(pairs: &[&Pair], left: &str, right: &str, by_hand: bool) -> String {
    let last = by_hand.then(|| "BY HAND".to_owned());
    let mut rows =
        vec![["", "FACT", left, right].map(str::to_owned).into_iter().chain(last).collect::<Vec<_>>()];
    // Two columns of values, beside those of groups and facts.
    let room =
        fit::columns().filter(|_| !by_hand).map_or(44, |all| (all.saturating_sub(42) / 2).clamp(18, 44));
    let mut group = "";
    for pair in pairs {
        let title = if pair.fact.group == group { "" } else { pair.fact.group };
        group = pair.fact.group;
        let none = |value: &str| if value.is_empty() { "-".to_owned() } else { value.to_owned() };
        let (mut left, mut right) = (wrap(&none(&pair.left), room), wrap(&none(&pair.right), room));
        let lines = left.len().max(right.len());
        left.resize(lines, String::new());
        right.resize(lines, String::new());
        for (line, (left, right)) in left.into_iter().zip(right).enumerate() {
            let first = |word: &str| if line == 0 { word.to_owned() } else { String::new() };
            let mut row = vec![first(title), first(&pair.fact.name), left, right];
            row.extend(by_hand.then(|| first(&pair.fact.by_hand)));
            rows.push(row);
        }
    }
    table::columns(&rows)
}

/// A long list as several lines of one cell; an id as what tells it from others.
fn wrap(value: &str, room: usize) -> Vec<String> {
    let short = |word: &str| {
        let parts = word.split('/').map(|part| {
            let is_id = part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit());
            if is_id { format!("{}…", &part[..12]) } else { part.to_owned() }
        });
        parts.collect::<Vec<_>>().join("/")
    };
    let mut lines = vec![String::new()];
    for word in value.split(' ').map(short) {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(&word),
            Some(line) if line.len() + word.len() < room => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

fn as_json(pairs: &[&Pair], left: &str, right: &str) -> Value {
    pairs
        .iter()
        .map(|pair| {
            json!({
                "Group": pair.fact.group,
                "Fact": pair.fact.name,
                "Values": { left: pair.left, right: pair.right },
                "ByHand": pair.fact.by_hand,
            })
        })
        .collect()
}
