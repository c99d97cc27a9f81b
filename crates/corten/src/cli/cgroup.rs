//! `corten cgroup`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::{fit, words};
use crate::map::printable;
use clap::Args;
use engine::look::groups::{Branch, Figure, Unit};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

const TREE: Shape = Shape {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show the control groups of containers: their limits, what is used of them, and the file that says so",
    words: (0, usize::MAX),
};

#[derive(Debug, Args)]
struct TreeArgs {
    /// Again every second, with the CPU that is used meanwhile
    #[arg(short, long)]
    watch: bool,
    /// text or json
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: String,
    /// Leave out the files
    #[arg(short, long)]
    quiet: bool,
    words: Vec<String>,
}

const PAUSE: Duration = Duration::from_secs(1);

pub fn tree(context: &Context, words: Vec<String>) -> Outcome {
    let args: TreeArgs = match parse(context, &TREE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if !["text", "json"].contains(&args.format.as_str()) {
        return Err(Failure::flag(format!("unknown form '{}': use text or json", args.format)));
    }
    let engine = context.engine()?;
    let clear = args.watch && rustix::termios::isatty(std::io::stdout());
    let mut before: Option<(BTreeMap<String, f64>, Instant)> = None;
    loop {
        let now = Instant::now();
        let tree = engine.group_tree(&args.words)?;
        let (mut used, mut rates) = (BTreeMap::new(), BTreeMap::new());
        if let Some(tree) = &tree {
            cpu_used(tree, &mut used);
        }
        if let Some((then, at)) = &before {
            let wall = now.duration_since(*at).as_secs_f64().max(1e-3);
            let rate = |(group, seconds): (&String, &f64)| {
                Some((group.clone(), (seconds - then.get(group)?) / wall * 100.0))
            };
            rates.extend(used.iter().filter_map(rate));
        }
        let text = match (&tree, args.format.as_str()) {
            (_, "json") => {
                serde_json::to_string_pretty(&tree).map_err(|e| Failure::new(e.to_string()))? + "\n"
            }
            (None, _) => "no container has run yet: there are no control groups of the engine's\n".to_owned(),
            (Some(tree), _) => {
                fit::with_commands("corten cgroup tree", !args.quiet, |by_hand| text(tree, &rates, by_hand))
            }
        };
        print(&if clear { format!("\x1b[H\x1b[2J{text}") } else { text })?;
        if !args.watch {
            return Ok(0);
        }
        before = Some((used, now));
        std::thread::sleep(PAUSE);
    }
}

fn cpu_used(branch: &Branch, into: &mut BTreeMap<String, f64>) {
    let cpu = branch.figures.iter().find(|figure| figure.what == "cpu");
    if let Some(seconds) = cpu.and_then(|figure| figure.used) {
        into.insert(branch.group.clone(), seconds);
    }
    branch.below.iter().for_each(|below| cpu_used(below, into));
}

/// Percent of one processor, by group.
type Rates = BTreeMap<String, f64>;

fn text(root: &Branch, rates: &Rates, files: bool) -> String {
    let mut lines = Vec::new();
    flatten(root, rates, "", "", &mut lines);
    let width = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (text, by_hand) in lines {
        if files && !by_hand.is_empty() {
            let _ = writeln!(out, "{text:<width$}   # {by_hand}");
        } else {
            let _ = writeln!(out, "{text}");
        }
    }
    out
}

fn flatten(branch: &Branch, rates: &Rates, first: &str, rest: &str, lines: &mut Vec<(String, String)>) {
    let count = branch.processes;
    let own = match count {
        0 => String::new(),
        1 => "  1 process".to_owned(),
        _ => format!("  {count} processes"),
    };
    lines.push((
        format!("{first}{}{own}", printable(&branch.name)),
        format!("G={}", printable(&branch.group)),
    ));
    let bar = if branch.below.is_empty() { "   " } else { "│  " };
    for figure in &branch.figures {
        let by_hand = shorten(&figure.files, &branch.group);
        lines.push((format!("{rest}{bar}{}", figure_words(figure, rates.get(&branch.group))), by_hand));
    }
    for (i, below) in branch.below.iter().enumerate() {
        let last = i + 1 == branch.below.len();
        let (arm, on) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        flatten(below, rates, &format!("{rest}{arm}"), &format!("{rest}{on}"), lines);
    }
}

/// `/sys/fs/cgroup/$G/{memory.current,memory.max}`
fn shorten(files: &[String], group: &str) -> String {
    let split = |file: &String| file.rsplit_once('/').map(|(dir, name)| (dir.to_owned(), name.to_owned()));
    let parts: Vec<(String, String)> = files.iter().filter_map(split).collect();
    let Some((dir, _)) = parts.first() else { return String::new() };
    let dir = dir.strip_suffix(group).map_or_else(|| dir.clone(), |mount| format!("{mount}$G"));
    let names: Vec<&str> = parts.iter().map(|(_, name)| name.as_str()).collect();
    match names[..] {
        [one] => format!("cat {dir}/{one}"),
        _ => format!("cat {dir}/{{{}}}", names.join(",")),
    }
}

fn figure_words(figure: &Figure, rate: Option<&f64>) -> String {
    let number = |value: f64| match figure.unit {
        Unit::Bytes => words::memory(value as u64),
        Unit::Seconds => format!("{value:.2} s"),
        Unit::Percent => format!("{value} %"),
        Unit::Cpus | Unit::Weight | Unit::Count => format!("{value}"),
    };
    let what = figure.what;
    let mut text = match (figure.used, figure.limit) {
        (Some(used), Some(limit)) if what == "throttled" => format!("in {used} of {limit} periods"),
        (Some(used), Some(limit)) => format!("{} of {}  {}", number(used), number(limit), bar(used / limit)),
        (Some(used), None) => number(used),
        (None, Some(limit)) => format!("at most {}", number(limit)),
        (None, None) => String::new(),
    };
    if let Some(rate) = rate.filter(|_| what == "cpu") {
        let _ = write!(text, "  {}", bar(rate / 100.0));
    }
    format!("{what:<10} {text}")
}

/// `███▌      35 %`: ten cells, an eighth at a time.
fn bar(part: f64) -> String {
    let eighths = (part.clamp(0.0, 1.0) * 80.0).round() as usize;
    let full = "█".repeat(eighths / 8);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("▕{:<10}▏{:.0} %", format!("{full}{rest}"), part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_ten_cells_wide() {
        assert_eq!(bar(0.35), "▕███▌      ▏35 %");
        assert_eq!(bar(0.0), "▕          ▏0 %");
        assert_eq!(bar(1.7), "▕██████████▏170 %");
    }

    #[test]
    fn a_tree_with_its_files() {
        let figure = |what, unit, used, limit, files: &[&str]| Figure {
            what,
            unit,
            used,
            limit,
            files: files.iter().map(|file| format!("/sys/fs/cgroup/corten/abc/{file}")).collect(),
        };
        let web = Branch {
            name: "web".into(),
            group: "corten/abc".into(),
            container: Some("abc".into()),
            processes: 2,
            figures: vec![
                figure("memory", Unit::Bytes, Some(32e6), Some(64e6), &["memory.current", "memory.max"]),
                figure("cpu", Unit::Seconds, Some(1.5), None, &["cpu.stat"]),
                figure("cpu limit", Unit::Cpus, None, Some(0.5), &["cpu.max"]),
            ],
            below: vec![],
        };
        let root = Branch {
            name: "corten".into(),
            group: "corten".into(),
            container: None,
            processes: 0,
            figures: vec![],
            below: vec![web],
        };
        let rates = [("corten/abc".to_owned(), 25.0)].into();
        insta::assert_snapshot!(text(&root, &rates, true), @r"
        corten                                                    # G=corten
        └─ web  2 processes                                       # G=corten/abc
              memory     30.52MiB of 61.04MiB  ▕█████     ▏50 %   # cat /sys/fs/cgroup/$G/{memory.current,memory.max}
              cpu        1.50 s  ▕██▌       ▏25 %                 # cat /sys/fs/cgroup/$G/cpu.stat
              cpu limit  at most 0.5                              # cat /sys/fs/cgroup/$G/cpu.max
        ");
    }
}
