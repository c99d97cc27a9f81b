//! `corten stats`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::list::{self, Row};
use crate::fmt::words;
use clap::Args;
use engine::stats::{Counters, Observer};
use engine::{Container, Engine, State};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Show what containers use: CPU, memory, network, disks",
    words: (0, usize::MAX),
};

#[derive(Debug, Args)]
struct StatsArgs {
    /// All, not only those that run
    #[arg(short, long)]
    all: bool,
    /// Print by a template, as a table of one, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Once, and at once: CPU % is that of a tenth of a second
    #[arg(long)]
    no_stream: bool,
    /// Cut nothing short
    #[arg(long)]
    no_trunc: bool,
    /// What memory is used for, and how long processes wait (percent of the last ten seconds)
    #[arg(long)]
    verbose: bool,
    words: Vec<String>,
}

/// Field and title, in the order of `{{json .}}`.
const TITLES: &[(&str, &str)] = &[
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
    ("Anon", "ANON"),
    ("File", "FILE"),
    ("Kernel", "KERNEL"),
    ("Headroom", "HEADROOM"),
    ("MemPressure", "MEM WAIT"),
    ("CPUPressure", "CPU WAIT"),
    ("IOPressure", "I/O WAIT"),
];
const COLUMNS: &[&str] = &["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
const VERBOSE: &[&str] = &[
    "Name",
    "CPUPerc",
    "MemUsage",
    "Anon",
    "File",
    "Kernel",
    "Headroom",
    "MemPressure",
    "CPUPressure",
    "IOPressure",
    "PIDs",
];

/// Between two readings: of the first, and of later ones.
const BRIEF: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(1);

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StatsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let observer = Observer::new();
    let shape = list::Shape { titles: TITLES, columns: if args.verbose { VERBOSE } else { COLUMNS } };
    let plain = matches!(args.format.as_deref(), None | Some("" | "table"));
    let clear = plain && !args.no_stream && rustix::termios::isatty(std::io::stdout());
    let mut chosen = select(&engine, &args)?;
    let cpu = |container: &Container, _| engine.cpu_time(&observer, container);
    let all = |container: &Container, pid| engine.counters(&observer, container, pid);
    let (mut before, mut pause) = (read(&chosen, cpu), BRIEF);
    loop {
        std::thread::sleep(pause);
        if !args.no_stream {
            chosen = select(&engine, &args)?;
        }
        let now = read(&chosen, all);
        let rows: Vec<Line<'_>> = chosen
            .iter()
            .map(|(container, _)| Line {
                container,
                whole: args.no_trunc,
                usage: now.get(&container.id).map(|(usage, at)| {
                    let cpu = before
                        .get(&container.id)
                        .map_or(0.0, |(then, when)| usage.cpu_percent(then, at.duration_since(*when)));
                    (usage.clone(), cpu)
                }),
            })
            .collect();
        let text = list::render(&shape, &rows, args.format.as_deref()).map_err(Failure::new)?;
        print(&if clear { format!("\x1b[H\x1b[2J{text}") } else { text })?;
        if args.no_stream {
            return Ok(0);
        }
        (before, pause) = (now, LONG);
    }
}

type Chosen = Vec<(Container, State)>;

/// The named ones, all that run, or all.
fn select(engine: &Engine, args: &StatsArgs) -> Result<Chosen, Failure> {
    if args.words.is_empty() {
        let mut all = if args.all { engine.list()? } else { engine.list_running()? };
        all.retain(|(_, state)| args.all || matches!(state, State::Running { .. }));
        return Ok(all);
    }
    let find = |name: &String| {
        let container = engine.find(name)?;
        let state = engine.state(&container)?;
        Ok((container, state))
    };
    args.words.iter().map(find).collect()
}

fn read(
    chosen: &Chosen,
    counters: impl Fn(&Container, i32) -> Option<(Counters, Instant)>,
) -> BTreeMap<String, (Counters, Instant)> {
    let usage = |(container, state): &(Container, State)| match state {
        State::Running { pid, .. } => counters(container, *pid).map(|usage| (container.id.clone(), usage)),
        _ => None,
    };
    chosen.iter().filter_map(usage).collect()
}

struct Line<'a> {
    container: &'a Container,
    whole: bool,
    /// And percent of one CPU.
    usage: Option<(Counters, f64)>,
}

impl Row for Line<'_> {
    fn cell(&self, field: &str) -> String {
        let c = self.container;
        match field {
            "ID" | "Container" if self.whole => return c.id.clone(),
            "ID" | "Container" => return c.short_id().to_owned(),
            "Name" => return c.name.clone(),
            _ => {}
        }
        // As Docker shows what does not run.
        let (usage, cpu) = self.usage.clone().unwrap_or_default();
        let waits =
            |which: usize| usage.pressure[which].map_or_else(|| "--".to_owned(), |p| format!("{p:.2}%"));
        match field {
            "CPUPerc" => format!("{cpu:.2}%"),
            "MemUsage" => format!("{} / {}", words::memory(usage.memory), words::memory(usage.memory_limit)),
            "MemPerc" => {
                format!("{:.2}%", usage.memory as f64 * 100.0 / usage.memory_limit.max(1) as f64)
            }
            "NetIO" => format!("{} / {}", words::size(usage.received), words::size(usage.sent)),
            "BlockIO" => format!("{} / {}", words::size(usage.read), words::size(usage.written)),
            "PIDs" => usage.pids.to_string(),
            "Anon" => words::memory(usage.anonymous),
            "File" => words::memory(usage.files),
            "Kernel" => words::memory(usage.kernel),
            "Headroom" => words::memory(usage.memory_limit.saturating_sub(usage.memory)),
            "MemPressure" => waits(0),
            "CPUPressure" => waits(1),
            "IOPressure" => waits(2),
            _ => String::new(),
        }
    }
}
