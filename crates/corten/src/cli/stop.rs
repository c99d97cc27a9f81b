//! `corten stop`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print, say};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Ask containers to end; those that don't are killed after a while",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
pub struct StopArgs {
    /// The signal that asks (the container's own, else SIGTERM)
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<String>,
    /// Seconds between the signal and SIGKILL [10]; -1 waits for ever
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    time: Option<i64>,
    #[command(flatten)]
    pub explain: crate::explain::ExplainArg,
    pub words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StopArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    if let Some(outcome) =
        args.explain.instead_of_each(&context.command, &args.words, |name| by_hand(&engine, name, &args))
    {
        return outcome;
    }
    all(&args.words, |name| stop(&engine, name, &args))
}

pub fn stop(engine: &engine::Engine, name: &str, args: &StopArgs) -> Result<(), Failure> {
    Ok(engine.stop(&find(engine, name, args)?, args.time, &say)?)
}

/// What [`stop`] does, as commands.
pub fn by_hand(engine: &engine::Engine, name: &str, args: &StopArgs) -> Result<Vec<steps::Shell>, Failure> {
    Ok(engine.stop_by_hand(&find(engine, name, args)?, args.time)?)
}

fn find(engine: &engine::Engine, name: &str, args: &StopArgs) -> Result<engine::Container, Failure> {
    let mut container = engine.find(name)?;
    if let Some(signal) = &args.signal {
        engine::signal::number(signal).ok_or_else(|| Failure::new(format!("invalid signal: {signal}")))?;
        container.settings.stop_signal = signal.clone();
    }
    Ok(container)
}

/// How many wait at the same time.
const AT_ONCE: usize = 50;

/// `action` with every name, many at once because each may take its ten seconds; said in order.
pub fn all(names: &[String], action: impl Fn(&str) -> Result<(), Failure> + Sync) -> Outcome {
    if let [name] = names {
        action(name)?;
        print(&format!("{name}\n"))?;
        return Ok(0);
    }
    let mut code = 0;
    for names in names.chunks(AT_ONCE) {
        let outcomes: Vec<Result<(), Failure>> = std::thread::scope(|scope| {
            let threads: Vec<_> = names.iter().map(|name| scope.spawn(|| action(name))).collect();
            let join = |t: std::thread::ScopedJoinHandle<'_, _>| {
                t.join().unwrap_or_else(|_| Err(Failure::new("internal error: a thread has panicked")))
            };
            threads.into_iter().map(join).collect()
        });
        for (name, outcome) in names.iter().zip(outcomes) {
            match outcome {
                Ok(()) => print(&format!("{name}\n"))?,
                Err(failure) => {
                    say(&format!("corten: {}", failure.message));
                    code = failure.code;
                }
            }
        }
    }
    Ok(code)
}
