//! `corten kill`

use super::args::Shape;
use super::{Context, Failure, Outcome, for_each, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Send a signal to containers",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct KillArgs {
    /// The signal (KILL, SIGHUP, 15)
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: KillArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let number =
        signal(&args.signal).ok_or_else(|| Failure::new(format!("invalid signal: {}", args.signal)))?;
    let engine = context.engine()?;
    for_each(&args.words, |name| Ok(engine.kill(&engine.find(name)?, number)?))
}

/// By number, 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// What the C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// `SIGTERM`, `term`, `15`, `RTMIN+3`.
pub fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return Some(at as i32 + 1);
    }
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => {
            let (base, sign, offset) = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
                (Some(offset), _) => (RTMIN, 1, offset),
                (_, Some(offset)) => (RTMAX, -1, offset),
                _ => return None,
            };
            let number = base + sign * i32::from(offset.parse::<u8>().ok()?);
            (RTMIN..=RTMAX).contains(&number).then_some(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, number) in
            [("KILL", 9), ("SIGTERM", 15), ("sighup", 1), ("64", 64), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(signal(text), Some(number), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "NOPE", "RTMIN+31", "RTMAX-", "9 "] {
            assert_eq!(signal(text), None, "{text}");
        }
    }
}
