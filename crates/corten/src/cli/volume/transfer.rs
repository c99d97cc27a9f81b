//! `corten volume export`, `corten volume import`

use super::super::args::Shape;
use super::super::{Context, Failure, Outcome, io_words, parse, print, save, say};
use crate::resolve::volume_name;
use clap::Args;
use std::fs::File;
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::AsFd;

const EXPORT: Shape = Shape {
    usage: "[OPTIONS] VOLUME",
    about: "Write all files of a volume as a tar archive, with owners, modes, times, attributes and links",
    words: (1, 1),
};
const IMPORT: Shape = Shape {
    usage: "[OPTIONS] VOLUME [FILE|-]",
    about: "Unpack a tar archive, compressed or not, into a volume, which is made when it is not there",
    words: (1, 2),
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

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn export(context: &Context, words: Vec<String>) -> Outcome {
    let args: ExportArgs = match parse(context, &EXPORT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let volume = engine.volume(args.words.first().map_or("", String::as_str))?;
    let acts = || Ok(engine.export_volume_by_hand(&volume, args.output.as_deref()));
    if let Some(outcome) = args.explain.instead(&format!("corten volume export {}", volume.name), acts) {
        return outcome;
    }
    match args.output.as_deref() {
        None | Some("-") if stdout().is_terminal() => {
            Err(Failure::new("cowardly refusing to export to a terminal: use the -o flag or redirect"))
        }
        None | Some("-") => {
            engine.export_volume(&volume, &stdout().as_fd().try_clone_to_owned()?.into())?;
            Ok(0)
        }
        Some(path) => {
            save::to_file(path, |file| Ok(engine.export_volume(&volume, file)?))?;
            Ok(0)
        }
    }
}

pub fn import(context: &Context, words: Vec<String>) -> Outcome {
    let args: ImportArgs = match parse(context, &IMPORT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let name = args.words.first().map_or("", String::as_str);
    volume_name(name).map_err(Failure::new)?;
    let engine = context.engine()?;
    let acts = || Ok(engine.import_volume_by_hand(name, args.words.get(1).map(String::as_str))?);
    if let Some(outcome) = args.explain.instead(&format!("corten volume import {name}"), acts) {
        return outcome;
    }
    let input: File = match args.words.get(1).map(String::as_str) {
        None | Some("-") if stdin().is_terminal() => {
            return Err(Failure::new(
                "the archive is read from standard input, which is a terminal: redirect it",
            ));
        }
        None | Some("-") => stdin().as_fd().try_clone_to_owned()?.into(),
        Some(path) => {
            let failed = |cause: String| Failure::new(format!("cannot import '{path}': {cause}"));
            let file = File::open(path).map_err(|e| failed(io_words(&e)))?;
            if file.metadata().is_ok_and(|meta| meta.is_dir()) {
                return Err(failed(
                    "it is a directory: use tar -C DIR -c . | corten volume import VOLUME".to_owned(),
                ));
            }
            file
        }
    };
    let copied = engine.import_volume(name, &input)?;
    if copied.skipped > 0 {
        let nodes = if copied.skipped == 1 { "device node was" } else { "device nodes were" };
        say(&format!("corten: {} {nodes} not unpacked", copied.skipped));
    }
    print(&format!("{name}\n"))?;
    Ok(0)
}
