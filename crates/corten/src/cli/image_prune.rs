//! `corten image prune`

use super::args::Shape;
use super::confirm::confirm;
use super::images::filter::{self, Filters};
use super::{Context, Outcome, parse, print};
use clap::Args;
use image::Removed;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "Remove images that nothing uses", words: (0, 0) };

#[derive(Debug, Args)]
struct PruneArgs {
    /// All that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Only some (until=24h, label=a=b, label!=a)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter, filter::PRUNE, &[])?;
    let all = args.all || filters.dangling == Some(false);
    if !args.force {
        confirm(
            context,
            if all {
                "This will remove all images without at least one container associated to them."
            } else {
                "This will remove all dangling images."
            },
        )?;
    }
    let engine = context.engine()?;
    // No container is made of an image that goes at this moment.
    let _still = engine.hold_containers(engine::check::Holding::Still)?;
    let used: Vec<String> = engine.list()?.into_iter().map(|(container, _)| container.image_id).collect();
    let pruned = engine.images().prune(&|summary| {
        let id = &summary.image.id;
        (all || summary.tags.is_empty())
            && !used.iter().any(|u| u.trim_start_matches("sha256:") == id)
            && filters.accepts(&summary.image)
    })?;
    let mut text = String::new();
    if !pruned.removed.is_empty() {
        text.push_str("Deleted Images:\n");
    }
    for line in &pruned.removed {
        text += &match line {
            Removed::Untagged(name) => format!("untagged: {name}\n"),
            Removed::Deleted(id) => format!("deleted: {id}\n"),
        };
    }
    if !pruned.removed.is_empty() {
        text.push('\n');
    }
    print(&format!("{text}Total reclaimed space: {}\n", crate::fmt::words::size(pruned.bytes)))?;
    Ok(0)
}
