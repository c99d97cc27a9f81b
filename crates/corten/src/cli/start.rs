//! `corten start`

use super::args::Shape;
use super::run::{attached, detach_keys, engine_failed};
use super::{Context, Failure, Outcome, for_each, parse, print, seal_for};
use clap::Args;
use engine::StartOptions;
use engine::attach::AttachOptions;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start containers that are created or have ended",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct StartArgs {
    /// Show what it writes, pass on signals, and end as it ends
    #[arg(short, long)]
    attach: bool,
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// The keys that leave a container without ending it [ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Print each step and its time while it is done
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    step: crate::step::StepArgs,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: StartArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    args.step.check()?;
    let engine = context.engine()?;
    if let Some(form) = args.explain.form()? {
        for name in &args.words {
            let container = engine.find(name)?;
            if let engine::State::Running { .. } = engine.state(&container)? {
                print(&format!("# '{name}' runs already\n"))?;
                continue;
            }
            print(&crate::explain::show(&engine.plan(&container)?, form))?;
        }
        return Ok(0);
    }
    seal_for(&engine, &args.words)?;
    if !args.attach && !args.interactive {
        let options = || StartOptions { attach: false, trace: args.trace };
        return for_each(&args.words, |name| {
            let container = engine.find(name)?;
            // As in Docker, starting what runs is no mistake.
            let runs = |s| matches!(s, engine::State::Running { .. } | engine::State::Restarting { .. });
            if !runs(engine.state(&container)?) {
                args.step.start(&engine, &container, options())?;
            }
            Ok(())
        });
    }
    let [name] = args.words.as_slice() else {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    };
    let container = engine.find(name)?;
    let options = AttachOptions {
        tty: container.settings.tty,
        interactive: args.interactive && container.settings.interactive,
        sig_proxy: true,
        detach_keys: detach_keys(context, args.detach_keys.as_deref())?,
        resized: None,
    };
    let start = StartOptions { attach: true, trace: args.trace };
    let started = args.step.start(&engine, &container, start).map_err(engine_failed)?;
    match started.connection {
        Some(connection) => attached(&engine, &container, connection, &options),
        None => Ok(0),
    }
}
