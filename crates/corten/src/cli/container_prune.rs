//! `corten container prune`

use super::args::Shape;
use super::prune::{Filters, PruneArgs, report};
use super::{Context, Failure, Outcome, parse, say};
use engine::{Container, Engine, Event, State};
use steps::Shell;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove all containers that do not run", words: (0, 0) };

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter)?;
    let engine = context.engine()?;
    let acts = || by_hand(&engine, &filters);
    if let Some(outcome) = args.explain.instead("corten container prune", acts) {
        return outcome;
    }
    args.ask(context, "This will remove all stopped containers.")?;
    let (removed, bytes) = prune(&engine, &filters)?;
    report("Containers", &removed, bytes)?;
    Ok(0)
}

fn idle(engine: &Engine, filters: &Filters) -> Result<Vec<Container>, Failure> {
    let all = engine.list()?.into_iter();
    let idle = all.filter(|(_, state)| matches!(state, State::Created | State::Exited { .. }));
    let wanted = |container: &Container| filters.accept(container.created, &container.settings.labels);
    Ok(idle.map(|(container, _)| container).filter(wanted).collect())
}

pub fn by_hand(engine: &Engine, filters: &Filters) -> Result<Vec<Shell>, Failure> {
    let each = idle(engine, filters)?.into_iter().map(|c| engine.remove_by_hand(&c, false, false));
    Ok(each.collect::<engine::Result<Vec<_>>>()?.concat())
}

/// The ids of those that were removed, and the bytes that they had written.
pub fn prune(engine: &Engine, filters: &Filters) -> Result<(Vec<String>, u64), Failure> {
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for container in idle(engine, filters)? {
        let size = engine.size(&container).0;
        match engine.remove(&container, false, false) {
            Ok(()) => {
                removed.push(container.id);
                bytes += size;
            }
            // Started or removed since it was looked at.
            Err(engine::Error::Running(_) | engine::Error::NoSuchContainer(..)) => {}
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    engine.tell(&[Event::new("container", "prune", "").with("reclaimed", bytes)]);
    Ok((removed, bytes))
}
