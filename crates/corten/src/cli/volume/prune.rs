//! `corten volume prune`

use super::super::args::Shape;
use super::super::confirm::confirm;
use super::super::prune::report;
use super::super::{Context, Failure, Outcome, parse, say};
use super::ls::{Filters, PRUNE_KEYS};
use clap::Args;
use engine::{Engine, Error, Event};
use steps::Shell;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS]", about: "Remove volumes that no container has", words: (0, 0) };

#[derive(Debug, Args)]
struct PruneArgs {
    /// Those with names, too, not only anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Only some (label=a=b, label!=a)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PruneArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter, PRUNE_KEYS).map_err(Failure::flag)?;
    let all = args.all || filters.all();
    let engine = context.engine()?;
    let acts = || by_hand(&engine, &filters, all);
    if let Some(outcome) = args.explain.instead("corten volume prune", acts) {
        return outcome;
    }
    if !args.force {
        let kind = if all { "" } else { "anonymous " };
        confirm(
            context,
            &format!("This will remove {kind}local volumes not used by at least one container."),
        )?;
    }
    let (removed, bytes) = prune(&engine, &filters, all)?;
    report("Volumes", &removed, bytes)?;
    Ok(0)
}

pub fn by_hand(engine: &Engine, filters: &Filters, all: bool) -> Result<Vec<Shell>, Failure> {
    let mut shells = Vec::new();
    for volume in filters.keep(engine)?.into_iter().filter(|volume| all || volume.anonymous) {
        match engine.remove_volume_by_hand(&volume.name) {
            Err(Error::VolumeInUse { .. } | Error::NoSuchVolume(..)) => {}
            other => shells.extend(other?),
        }
    }
    Ok(shells)
}

/// The names of those that were removed (without `all`, anonymous ones), and the bytes that they had.
pub fn prune(engine: &Engine, filters: &Filters, all: bool) -> Result<(Vec<String>, u64), Failure> {
    engine.sweep_volumes();
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for volume in filters.keep(engine)?.into_iter().filter(|volume| all || volume.anonymous) {
        let size = match volume.options.contains_key("device") {
            true => 0,
            false => engine::tree_size(&engine.mountpoint(&volume)),
        };
        match engine.remove_volume(&volume.name) {
            Ok(()) => {
                removed.push(volume.name);
                bytes += size;
            }
            Err(Error::VolumeInUse { .. } | Error::NoSuchVolume(..)) => {}
            Err(error) => say(&format!("corten: {error}")),
        }
    }
    engine.tell(&[Event::new("volume", "prune", "").with("reclaimed", bytes)]);
    Ok((removed, bytes))
}
