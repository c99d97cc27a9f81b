//! `corten wait`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print, say};
use clap::Args;
use engine::{Container, Engine, Error, State};
use std::time::Duration;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Wait until containers have ended, and print their exit codes",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct WaitArgs {
    /// For what: not-running, next-exit, removed, created, running, paused, restarting, exited, healthy, unhealthy
    #[arg(long, value_name = "CONDITION", default_value = "not-running", hide_default_value = true)]
    condition: String,
    words: Vec<String>,
}

/// How often a state is looked at that nobody tells of.
const OFTEN: Duration = Duration::from_millis(50);

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: WaitArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let condition = args.condition.as_str();
    let known = [
        "not-running",
        "next-exit",
        "removed",
        "created",
        "running",
        "paused",
        "restarting",
        "exited",
        "healthy",
        "unhealthy",
    ];
    if !known.contains(&condition) {
        return Err(Failure::flag(format!(
            "invalid condition: \"{condition}\": use one of {}",
            known.join(", ")
        )));
    }
    let engine = context.engine()?;
    let mut code = 0;
    for name in &args.words {
        match engine.find(name).and_then(|container| wait(&engine, &container, condition)) {
            Ok(exit) => print(&format!("{exit}\n"))?,
            Err(error) => {
                say(&format!("corten: {error}"));
                code = 1;
            }
        }
    }
    Ok(code)
}

fn wait(engine: &Engine, container: &Container, condition: &str) -> Result<i32, Error> {
    if condition == "not-running" {
        return engine.wait(container);
    }
    if matches!(condition, "healthy" | "unhealthy") {
        return wait_for_health(engine, container, condition);
    }
    let mut code = 0;
    let mut was_running = false;
    loop {
        let state = match engine.state(container) {
            Err(error) if error.is_not_found() && condition == "removed" => return Ok(code),
            state => state?,
        };
        let runs = matches!(state, State::Running { .. });
        if let State::Exited { code: last, .. } | State::Restarting { code: last, .. } = state {
            code = last;
        }
        let now = match condition {
            "next-exit" => was_running && !runs,
            "removed" => false,
            "running" => matches!(state, State::Running { paused: false, .. }),
            word => crate::cli::ps::state_word(&state) == word,
        };
        if now {
            return Ok(code);
        }
        match runs && matches!(condition, "next-exit" | "removed" | "exited") {
            true => code = engine.wait_once(container)?,
            false => std::thread::sleep(OFTEN),
        }
        was_running |= runs;
    }
}

/// One that ends, or that nobody checks, will not be as it is wanted: that is an error.
fn wait_for_health(engine: &Engine, container: &Container, condition: &str) -> Result<i32, Error> {
    let never = |why: &str| Error::Invalid(format!("container {} {why}", container.name));
    if !container.settings.is_checked() {
        return Err(never("has no health check"));
    }
    loop {
        let state = engine.state(container)?;
        let runs = matches!(state, State::Running { .. });
        if runs && engine.health(container, &state).is_some_and(|h| h.status.word() == condition) {
            return Ok(0);
        }
        if let State::Exited { code, started: Some(_), .. } = state {
            return Err(never(&format!("has ended with code {code} and was not {condition}")));
        }
        std::thread::sleep(OFTEN);
    }
}
