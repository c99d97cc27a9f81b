//! `corten oci events`

use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape, print};
use clap::Args;
use runtime::group::{OomWatch, Watched, stats};
use runtime::oci::{Record, Status};
use serde_json::json;
use std::time::{Duration, Instant};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] ID",
    about: "Show what a container uses, and when it runs out of memory, as lines of JSON",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct EventsArgs {
    /// Time between two statistics
    #[arg(long, default_value = "5s", value_name = "DURATION", allow_hyphen_values = true)]
    interval: String,
    /// Show statistics once
    #[arg(long)]
    stats: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: EventsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let record = context.containers.load(&args.words[0])?;
    let interval = duration(&args.interval)
        .ok_or_else(|| Failure::new(format!("invalid value for interval: {:?}", args.interval)))?;
    if interval.is_zero() {
        return Err(Failure::new("duration interval must be greater than 0"));
    }
    if matches!(context.containers.status(&record), Status::Creating | Status::Stopped) {
        return Err(Failure::new(format!("container with id {} is not running", record.id)));
    }
    if args.stats {
        print(&statistics(&record)?)?;
        return Ok(0);
    }
    let mut watch = OomWatch::new(&record.groups)?;
    let mut next = Instant::now() + interval;
    loop {
        match watch.next(next.saturating_duration_since(Instant::now()))? {
            Watched::OutOfMemory => print(&event("oom", &record, None))?,
            Watched::Ended => return Ok(0),
            Watched::Nothing => {
                match statistics(&record) {
                    Ok(line) => print(&line)?,
                    Err(failure) => context.tell(&failure.message),
                }
                next += interval;
            }
        }
    }
}

fn statistics(record: &Record) -> Result<String, Failure> {
    let stats = stats(&record.groups)?;
    Ok(event("stats", record, Some(json!(stats))))
}

fn event(kind: &str, record: &Record, data: Option<serde_json::Value>) -> String {
    let mut event = json!({ "type": kind, "id": record.id });
    if let Some(data) = data {
        event["data"] = data;
    }
    format!("{event}\n")
}

/// As Go writes durations: `1m30s`, `100ms`. `None` where it is none, or below zero.
fn duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        seconds += number * factor;
        rest = &rest[letters..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let of = |text| duration(text).map(|d| d.as_millis());
        assert_eq!(
            (of("5s"), of("100ms"), of("1m30s"), of("1.5h"), of("0")),
            (Some(5000), Some(100), Some(90_000), Some(5_400_000), Some(0))
        );
        for wrong in ["", "5", "-5s", "5x", "s", "1.2.3s"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
