//! `corten attach`

use super::args::{Shape, go_bool};
use super::run::{attached, detach_keys};
use super::{Context, Failure, Outcome, parse};
use clap::{ArgAction, Args};
use engine::attach::AttachOptions;
use engine::{Event, State};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER",
    about: "Show what a running container writes from now on, and type into it; several may do so at once",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct AttachArgs {
    /// The keys that leave a container without ending it [ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Only watch
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals to the program
    #[arg(long, action = ArgAction::Set, value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value = "true", value_parser = go_bool)]
    sig_proxy: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: AttachArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let keys = detach_keys(context, args.detach_keys.as_deref())?;
    let engine = context.engine()?;
    let [name] = args.words.as_slice() else { return Ok(1) };
    let container = engine.find(name)?;
    let refused = |why: &str| Err(Failure::new(format!("cannot attach to {name}: {why}")));
    match engine.state(&container)? {
        State::Running { paused: false, .. } => {}
        State::Running { .. } => return refused("it is paused, unpause it first"),
        State::Restarting { .. } => return refused("it is restarting, wait until it runs"),
        State::Created | State::Exited { .. } => return refused("it is stopped, start it first"),
    }
    let s = &container.settings;
    let options = AttachOptions {
        tty: s.tty,
        interactive: s.interactive && !args.no_stdin,
        sig_proxy: args.sig_proxy && !s.tty,
        detach_keys: keys,
        resized: None,
    };
    let connection = engine.attach(&container)?;
    engine.tell(&[Event::of(&container, "attach")]);
    attached(&engine, &container, connection, &options)
}
