//! What the dashboard shows: containers, their counters of the last minutes, the log of the chosen one.

use engine::logs::LogQuery;
use engine::stats::{Counters, Observer};
use engine::{Container, Engine, Result, State};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::Instant;

/// How many readings are kept of each container.
const KEPT: usize = 300;
/// How many lines of the log are read.
const LINES: u64 = 200;

#[derive(Debug)]
pub struct Row {
    pub container: Container,
    pub state: State,
    pub health: Option<engine::Health>,
}

/// One reading, and what is known from the one before.
#[derive(Debug, Clone)]
pub struct Reading {
    pub counters: Counters,
    at: Instant,
    /// Percent of one CPU.
    pub cpu: f64,
    /// Bytes a second, in and out.
    pub traffic: u64,
}

/// What the line at the bottom asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Prompt {
    #[default]
    None,
    /// Whether the container is to be removed.
    Remove(String),
    Find,
}

#[derive(Debug)]
pub struct Model {
    engine: Engine,
    observer: Observer,
    all: Vec<Row>,
    readings: BTreeMap<String, VecDeque<Reading>>,
    /// The chosen container's id: it stays the chosen one when others come and go.
    chosen: String,
    /// Only those that run.
    pub running: bool,
    /// Only those with this in their name or image.
    pub find: String,
    pub prompt: Prompt,
    pub message: String,
    pub log: Vec<String>,
}

impl Model {
    pub fn new(engine: Engine, running: bool) -> Model {
        Model {
            engine,
            observer: Observer::new(),
            all: Vec::new(),
            readings: BTreeMap::new(),
            chosen: String::new(),
            running,
            find: String::new(),
            prompt: Prompt::None,
            message: String::new(),
            log: Vec::new(),
        }
    }

    /// Reads everything anew.
    pub fn read(&mut self) -> Result<()> {
        let list = self.engine.list()?;
        self.readings.retain(|id, _| list.iter().any(|(container, _)| container.id == *id));
        for (container, state) in &list {
            let State::Running { pid, .. } = state else { continue };
            if let Some((counters, at)) = self.engine.counters(&self.observer, container, *pid) {
                let kept = self.readings.entry(container.id.clone()).or_default();
                kept.push_back(reading(kept.back(), counters, at));
                if kept.len() > KEPT {
                    kept.pop_front();
                }
            }
        }
        let health = |container: &Container, state: &State| self.engine.health(container, state);
        let row = |(container, state): (Container, State)| Row {
            health: health(&container, &state),
            container,
            state,
        };
        self.all = list.into_iter().map(row).collect();
        self.read_log();
        Ok(())
    }

    fn read_log(&mut self) {
        let Some(container) = self.chosen().map(|row| row.container.clone()) else { return self.log.clear() };
        let query = LogQuery {
            follow: false,
            tail: Some(LINES),
            since: None,
            until: None,
            timestamps: false,
            details: false,
            stdout: true,
            stderr: true,
        };
        let text = RefCell::new(Vec::new());
        let (mut out, mut err) = (Both(&text), Both(&text));
        self.log = match self.engine.logs(&container, &query, &mut out, &mut err) {
            Ok(()) => String::from_utf8_lossy(&text.borrow()).lines().map(plain).collect(),
            Err(error) => vec![error.to_string()],
        };
    }

    /// Those that are shown, in the order of `ps`.
    pub fn rows(&self) -> Vec<&Row> {
        let fits = |row: &&Row| {
            let runs = matches!(row.state, State::Running { .. } | State::Restarting { .. });
            let texts = [&row.container.name, &row.container.settings.image];
            (runs || !self.running) && texts.iter().any(|text| text.contains(&self.find))
        };
        self.all.iter().filter(fits).collect()
    }

    /// Where the chosen one is among [`Model::rows`]; the first where it is not among them.
    pub fn position(&self) -> usize {
        self.rows().iter().position(|row| row.container.id == self.chosen).unwrap_or(0)
    }

    pub fn chosen(&self) -> Option<&Row> {
        self.rows().get(self.position()).copied()
    }

    /// Chooses the one so many lines below.
    pub fn step(&mut self, lines: isize) {
        let last = self.rows().len().saturating_sub(1);
        let to = self.position().saturating_add_signed(lines).min(last);
        self.chosen = self.rows().get(to).map(|row| row.container.id.clone()).unwrap_or_default();
        self.read_log();
    }

    /// The readings of a container, the newest last; none when it does not run.
    pub fn readings(&self, row: &Row) -> Option<&VecDeque<Reading>> {
        let runs = matches!(row.state, State::Running { .. });
        self.readings.get(&row.container.id).filter(|_| runs)
    }

    /// How many run, what they use together: percent of one CPU, and bytes.
    pub fn sum(&self) -> (usize, f64, u64) {
        let newest = self.all.iter().filter_map(|row| self.readings(row)?.back());
        newest.fold((0, 0.0, 0), |(n, cpu, memory), r| (n + 1, cpu + r.cpu, memory + r.counters.memory))
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }
}

fn reading(before: Option<&Reading>, counters: Counters, at: Instant) -> Reading {
    let (cpu, traffic) = before.map_or((0.0, 0), |then| {
        let wall = at.duration_since(then.at);
        let bytes = |c: &Counters| c.received + c.sent;
        let moved = bytes(&counters).saturating_sub(bytes(&then.counters)) as f64;
        (counters.cpu_percent(&then.counters, wall), (moved / wall.as_secs_f64().max(1e-6)) as u64)
    });
    Reading { counters, at, cpu, traffic }
}

/// Standard output and error in the order in which they were written.
struct Both<'a>(&'a RefCell<Vec<u8>>);

impl Write for Both<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A line of the log without what would move the cursor: escape sequences and control characters.
fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.next_if_eq(&'[').is_some() => {
                // up to the letter that ends it
                while rest.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                rest.next();
            }
            '\t' => text.push_str("    "),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn logs_cannot_move_the_cursor() {
        assert_eq!(super::plain("\x1b[31mred\x1b[0m\tx\x07\x1b[2J\r"), "red    x");
        assert_eq!(super::plain("\x1bcä\x1b["), "cä");
    }
}
