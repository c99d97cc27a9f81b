//! `corten container prune`

use super::args::Shape;
use super::prune::{Filters, PruneArgs, report};
use super::{Context, Failure, Outcome, parse, say};
use engine::{Engine, Event, State};

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove all containers that do not run", words: (0, 0) };

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter)?;
    args.ask(context, "This will remove all stopped containers.")?;
    let engine = context.engine()?;
    let (removed, bytes) = prune(&engine, &filters)?;
    report("Containers", &removed, bytes)?;
    Ok(0)
}

/// The ids of those that were removed, and the bytes that they had written.
pub fn prune(engine: &Engine, filters: &Filters) -> Result<(Vec<String>, u64), Failure> {
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for (container, state) in engine.list()? {
        let idle = matches!(state, State::Created | State::Exited { .. });
        if !idle || !filters.accept(container.created, &container.settings.labels) {
            continue;
        }
        let size = engine.size(&container).0;
        match engine.remove(&container, false, false) {
            Ok(()) => {
                removed.push(container.id);
                bytes += size;
            }
            // Started or removed since it was looked at.
            Err(engine::Error::Running(_) | engine::Error::NoSuchContainer(_)) => {}
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    engine.tell(&[Event::new("container", "prune", "").with("reclaimed", bytes)]);
    Ok((removed, bytes))
}
