//! `corten network prune`

use super::super::args::Shape;
use super::super::prune::{Filters, PruneArgs};
use super::super::{Context, Failure, Outcome, parse, print, say};
use super::ls;
use engine::{Engine, Event, Time};
use steps::Shell;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove all networks that no container is in", words: (0, 0) };

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter)?;
    let engine = context.engine()?;
    if let Some(outcome) = args.explain.instead("corten network prune", || by_hand(&engine, &filters)) {
        return outcome;
    }
    args.ask(context, "This will remove all custom networks not used by at least one container.")?;
    let removed = prune(&engine, &filters)?;
    if !removed.is_empty() {
        print(&format!("Deleted Networks:\n{}\n\n", removed.join("\n")))?;
    }
    Ok(0)
}

fn idle(engine: &Engine, filters: &Filters) -> Result<Vec<network::Network>, Failure> {
    let used = ls::users(engine)?;
    let mut all = engine.networks().list().map_err(engine::Error::from)?;
    all.retain(|network| {
        let in_use = network.is_default() || used.contains(&network.name);
        !in_use && filters.accept(Time(network.created), &network.labels)
    });
    Ok(all)
}

pub fn by_hand(engine: &Engine, filters: &Filters) -> Result<Vec<Shell>, Failure> {
    let each = idle(engine, filters)?.into_iter().map(|network| engine.remove_network_by_hand(&network));
    Ok(each.collect::<engine::Result<Vec<_>>>()?.concat())
}

/// The names of those that were removed.
pub fn prune(engine: &Engine, filters: &Filters) -> Result<Vec<String>, Failure> {
    let mut removed = Vec::new();
    for network in idle(engine, filters)? {
        match engine.remove_network(&network) {
            Ok(()) => removed.push(network.name),
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    engine.tell(&[Event::new("network", "prune", "").with("reclaimed", 0)]);
    Ok(removed)
}
