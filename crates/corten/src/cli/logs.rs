//! `corten logs`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse};
use crate::resolve::parse_moment;
use clap::Args;
use engine::logs::LogQuery;
use std::io::Write;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] CONTAINER", about: "Show what a container has written", words: (1, 1) };

#[derive(Debug, Args)]
struct LogsArgs {
    /// Show what the log's options add to each line (tag, labels, env)
    #[arg(long)]
    details: bool,
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// Only from a time on (2026-11-24T08:15:00Z, 1763972100, or 42m ago)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", hide_default_value = true)]
    tail: String,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Only up to a time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LogsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let moment = |flag: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(|text| {
            parse_moment(text).map_err(|e| Failure::new(format!("invalid value for \"{flag}\": {e}")))
        })
        .transpose()
    };
    let query = LogQuery {
        follow: args.follow,
        // As in Docker, what is no number from 0 on means all.
        tail: args.tail.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok()),
        since: moment("since", &args.since)?,
        until: moment("until", &args.until)?,
        timestamps: args.timestamps,
        details: args.details,
        stdout: true,
        stderr: true,
    };
    let engine = context.engine()?;
    let [name] = args.words.as_slice() else { return Ok(1) };
    let container = engine.find(name)?;
    if container.settings.log.driver == "none" {
        return Err(Failure::new("configured logging driver does not support reading"));
    }
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    engine.logs(&container, &query, &mut out, &mut err)?;
    out.flush()?;
    Ok(0)
}
