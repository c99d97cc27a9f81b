//! Which points of a command are tried: some by chance, with the seed in the output, or all of them; and what is written down of it.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long a sample of one command's points may take; a slow machine tries fewer of them.
const TIME: Duration = Duration::from_millis(500);

/// The points of one command, one after the other.
#[derive(Debug)]
pub struct Points {
    line: String,
    number: usize,
    /// Those that are still to be tried, one after the other; `None`: by chance.
    all: Option<Range<usize>>,
    tried: usize,
    random: u64,
    start: Instant,
    processes: BTreeMap<String, usize>,
}

impl Points {
    /// All of them with `CORTEN_TEST_POINTS=all`, those from 150 to 160 with `150-160`; with a number, some by that seed; else some, by chance.
    pub fn new(line: &str, number: usize) -> Points {
        let wish = std::env::var("CORTEN_TEST_POINTS").unwrap_or_default();
        let chosen = match wish.split_once('-') {
            Some((from, to)) => {
                Some(from.parse().expect("a number")..to.parse::<usize>().expect("a number") + 1)
            }
            None => (wish == "all").then_some(0..number),
        };
        let mut bytes = [0; 8];
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        let random = wish.parse().unwrap_or(u64::from_ne_bytes(bytes) >> 16) | 1;
        // Shown where the test fails.
        println!("`{line}`: {number} points; CORTEN_TEST_POINTS={random} tries the same ones again");
        Points {
            line: line.into(),
            number,
            all: chosen,
            tried: 0,
            random,
            start: Instant::now(),
            processes: BTreeMap::new(),
        }
    }

    /// Told of where the fault was, and of there having been none: the command had fewer points this time.
    pub fn hit(&mut self, what: Option<&str>) {
        let Some(what) = what else { return };
        println!("{}: tried at {what}", self.line);
        let process = what.split(':').next().unwrap_or_default();
        *self.processes.entry(process.into()).or_default() += 1;
    }

    /// At how many points there was a fault.
    pub fn tried(&self) -> usize {
        self.processes.values().sum()
    }

    /// `command 12, monitor 30`.
    pub fn processes(&self) -> String {
        self.processes.iter().map(|(name, n)| format!("{name} {n}")).collect::<Vec<_>>().join(", ")
    }
}

impl Iterator for Points {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.number == 0 {
            return None;
        }
        if let Some(all) = &mut self.all {
            return all.next().filter(|point| *point < self.number);
        }
        if self.tried > 0 && self.start.elapsed() > TIME || self.tried >= 12 {
            return None;
        }
        self.tried += 1;
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        Some((self.random % self.number as u64) as usize)
    }
}

/// Whether one of `number` tests of much the same is tried: one in so many, by chance, where not all points are wanted.
pub fn chosen(number: u32) -> bool {
    let wish = std::env::var("CORTEN_TEST_POINTS").unwrap_or_default();
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let chosen = !wish.is_empty() || u32::from_ne_bytes(bytes) % number == 0;
    if !chosen {
        println!("not tried this time; CORTEN_TEST_POINTS=1 tries it");
    }
    chosen
}

/// A command line as it is on every machine: archives by their names, a registry of the test's by a port of nobody's.
fn shown(line: &str) -> String {
    let archives = crate::images::image("busybox.tar").with_file_name("");
    let line = line.replace(&archives.display().to_string(), "");
    match line.split_once("127.0.0.1:") {
        Some((before, after)) => {
            format!("{before}127.0.0.1:5000{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => line,
    }
}

/// Keeps a row of a table for whoever asked for it by `CORTEN_TEST_TABLES`, a directory.
pub fn row(table: &str, line: &str, rest: &str) {
    note(table, &format!("`{}`", shown(line).replace('|', "\\|")), rest);
}

/// The same, of what is no command.
pub fn note(table: &str, first: &str, rest: &str) {
    println!("{table}: {first} | {rest}");
    let Some(directory) = std::env::var_os("CORTEN_TEST_TABLES") else { return };
    let name: String = first.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let path = std::path::Path::new(&directory).join(format!("{table}-{name}"));
    fs::write(path, format!("| {first} | {rest} |\n")).expect("tables can be written");
}
