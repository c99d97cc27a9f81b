//! `corten system prune`

use super::args::Shape;
use super::images::filter;
use super::prune::{self, PruneArgs};
use super::{Context, Failure, Outcome, container_prune, image_prune, network, parse, print, volume};
use clap::Args;

const SHAPE: Shape = Shape { usage: "[OPTIONS]", about: "Remove all that nothing uses", words: (0, 0) };

#[derive(Debug, Args)]
struct SystemArgs {
    /// All images that no container uses, not only those without a name
    #[arg(short, long)]
    all: bool,
    /// Anonymous volumes, too
    #[arg(long)]
    volumes: bool,
    #[command(flatten)]
    prune: PruneArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: SystemArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let typed = &args.prune.filter;
    if args.volumes && typed.iter().any(|word| word.starts_with("until=")) {
        return Err(Failure::new("the \"until\" filter is not supported with \"--volumes\""));
    }
    let filters = prune::Filters::parse(typed)?;
    let of_images = filter::Filters::parse(typed, filter::PRUNE, &[])?;
    let of_volumes = volume::ls::Filters::parse(typed, volume::ls::PRUNE_KEYS);
    let engine = context.engine()?;
    let acts = || {
        let mut all = container_prune::by_hand(&engine, &filters)?;
        all.extend(network::prune::by_hand(&engine, &filters)?);
        if let (true, Ok(filters)) = (args.volumes, &of_volumes) {
            all.extend(volume::prune::by_hand(&engine, filters, false)?);
        }
        all.extend(image_prune::by_hand(&engine, &of_images, args.all)?);
        Ok(all)
    };
    if let Some(outcome) = args.prune.explain.instead("corten system prune", acts) {
        return outcome;
    }
    args.prune.ask(context, &warning(args.all, args.volumes))?;
    let mut text = String::new();
    let mut list = |what: &str, removed: &[String]| {
        if !removed.is_empty() {
            text.push_str(&format!("Deleted {what}:\n{}\n\n", removed.join("\n")));
        }
    };
    // Containers first: what only they have used goes with them.
    let (containers, mut bytes) = container_prune::prune(&engine, &filters)?;
    list("Containers", &containers);
    list("Networks", &network::prune::prune(&engine, &filters)?);
    if args.volumes {
        let (volumes, size) = volume::prune::prune(&engine, &of_volumes.map_err(Failure::flag)?, false)?;
        list("Volumes", &volumes);
        bytes += size;
    }
    let (images, size) = image_prune::prune(&engine, &of_images, args.all)?;
    list("Images", &images);
    print(&format!("{text}Total reclaimed space: {}\n", crate::fmt::words::size(bytes + size)))?;
    Ok(0)
}

fn warning(all: bool, volumes: bool) -> String {
    let mut lines = vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        lines.push("all anonymous volumes not used by at least one container");
    }
    lines.push(match all {
        true => "all images without at least one container associated to them",
        false => "all dangling images",
    });
    lines.iter().fold("This will remove:\n".to_owned(), |text, line| format!("{text}  - {line}\n"))
}
