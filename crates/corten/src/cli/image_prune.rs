//! `corten image prune`

use super::args::Shape;
use super::images::filter::{self, Filters};
use super::prune::{PruneArgs, report};
use super::rmi::event;
use super::{Context, Failure, Outcome, parse};
use clap::Args;
use engine::{Container, Engine, Event, State};
use image::Removed;
use steps::Shell;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "Remove images that nothing uses", words: (0, 0) };

#[derive(Debug, Args)]
struct ImageArgs {
    /// All that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ImageArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.prune.filter, filter::PRUNE, &[])?;
    let all = args.all || filters.dangling == Some(false);
    let engine = context.engine()?;
    if let Some(outcome) =
        args.prune.explain.instead("corten image prune", || by_hand(&engine, &filters, all))
    {
        return outcome;
    }
    let warning = match all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    args.prune.ask(context, warning)?;
    let (removed, bytes) = prune(&engine, &filters, all)?;
    report("Images", &removed, bytes)?;
    Ok(0)
}

/// Without `all`, only what has no name.
pub fn by_hand(engine: &Engine, filters: &Filters, all: bool) -> Result<Vec<Shell>, Failure> {
    let containers = engine.list()?;
    let used = used(&containers);
    let images = engine.images().list()?;
    let gone = images.iter().filter(|summary| {
        (all || summary.tags.is_empty())
            && !used.contains(&summary.image.id.as_str())
            && filters.accepts(&summary.image)
    });
    let each = gone.map(|summary| engine.remove_image_by_hand(&summary.image.id));
    Ok(each.collect::<engine::Result<Vec<_>>>()?.concat())
}

/// Ids of the images that containers are made of.
fn used(containers: &[(Container, State)]) -> Vec<&str> {
    containers.iter().flat_map(|(container, _)| container.image_ids()).collect()
}

/// What was removed, a line each, and the bytes that it had. Without `all`, only what has no name.
pub fn prune(engine: &Engine, filters: &Filters, all: bool) -> Result<(Vec<String>, u64), Failure> {
    // No container is made of an image that goes at this moment.
    let _still = engine.hold_containers(engine::check::Holding::Still)?;
    let containers = engine.list_for_removal()?;
    let used = used(&containers);
    let pruned = engine.images().prune(&|summary| {
        let id = &summary.image.id;
        (all || summary.tags.is_empty()) && !used.contains(&id.as_str()) && filters.accepts(&summary.image)
    })?;
    let mut events: Vec<Event> = pruned.removed.iter().map(event).collect();
    events.push(Event::new("image", "prune", "").with("reclaimed", pruned.bytes));
    engine.tell(&events);
    let line = |removed: &Removed| match removed {
        Removed::Untagged(name) => format!("untagged: {name}"),
        Removed::Deleted(id) => format!("deleted: {id}"),
    };
    Ok((pruned.removed.iter().map(line).collect(), pruned.bytes))
}
