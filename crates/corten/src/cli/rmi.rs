//! `corten rmi`

use super::args::Shape;
use super::images::check_platform;
use super::{Context, Failure, Outcome, parse, print, say};
use clap::Args;
use engine::{Event, State};
use image::Removed;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] IMAGE [IMAGE...]", about: "Remove images", words: (1, usize::MAX) };

#[derive(Debug, Args)]
struct RmiArgs {
    /// Remove an image that has other names or that a container uses, and don't mind one that isn't there
    #[arg(short, long)]
    force: bool,
    /// Keep what lies below the image (nothing that is used is ever removed)
    #[arg(long)]
    no_prune: bool,
    /// Only if it is for this platform (os/architecture[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RmiArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let acts = |name: &str| Ok(engine.remove_image_by_hand(name)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    // No container is made of an image that goes at this moment.
    let _still = engine.hold_containers(engine::check::Holding::Still)?;
    let containers = engine.list_for_removal()?;
    let used_by = |id: &str| {
        let mut users = containers.iter().filter(|(c, _)| c.image_ids().any(|used| used == id));
        let running = |s: &State| matches!(s, State::Running { .. } | State::Restarting { .. });
        let first = users.clone().find(|(_, s)| running(s)).or_else(|| users.next())?;
        Some(image::User { container: first.0.short_id().to_owned(), running: running(&first.1) })
    };
    let mut code = 0;
    for name in &args.words {
        if let Err(failure) = check_platform(&engine, name, args.platform.as_deref()) {
            say(&format!("corten: {}", failure.message));
            code = 1;
            continue;
        }
        match engine.images().remove(name, args.force, &used_by) {
            Ok(removed) => {
                let lines: String = removed.iter().map(|line| format!("{line}\n")).collect();
                engine.tell(&removed.iter().map(event).collect::<Vec<_>>());
                print(&lines)?;
            }
            Err(error) => {
                if !args.force || !error.is_not_found() {
                    code = 1;
                }
                say(&format!("corten: {}", Failure::from(error).message));
            }
        }
    }
    Ok(code)
}

/// What happens to an image that loses a name, or goes.
pub fn event(removed: &Removed) -> Event {
    match removed {
        Removed::Untagged(name) => Event::new("image", "untag", name).with("name", name),
        Removed::Deleted(id) => Event::new("image", "delete", id).with("name", id),
    }
}
