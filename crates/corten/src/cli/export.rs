//! `corten export`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse};
use clap::Args;
use engine::Event;
use std::io::{IsTerminal, stdout};
use std::os::fd::AsFd;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER",
    about: "Write all files of a container, without its volumes, as a tar archive",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct ExportArgs {
    /// The archive; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ExportArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let name = args.words.first().map_or("", String::as_str);
    let engine = context.engine()?;
    let acts = || Ok(engine.export_by_hand(&engine.find(name)?, args.output.as_deref())?);
    if let Some(outcome) = args.explain.instead(&format!("corten export {name}"), acts) {
        return outcome;
    }
    super::seal_for(&engine, &args.words)?;
    let container = engine.find(name)?;
    let done = match args.output.as_deref() {
        None | Some("-") if stdout().is_terminal() => {
            return Err(Failure::new(
                "cowardly refusing to export to a terminal: use the -o flag or redirect",
            ));
        }
        None | Some("-") => Ok(engine.export(&container, &stdout().as_fd().try_clone_to_owned()?.into())?),
        Some(path) => super::save::to_file(path, |file| Ok(engine.export(&container, file)?)),
    };
    done?;
    engine.tell(&[Event::of(&container, "export")]);
    Ok(0)
}
