//! `corten create`: everything that `run` does before the start.

use super::args::Shape;
use super::run::{CidFile, engine_failed, settings};
use super::{ContainerArgs, Context, Outcome, parse, print, say};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a container from an image without starting it, and print its id",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    #[command(flatten)]
    container: ContainerArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let line = words.clone();
    let mut args: CreateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine().map_err(engine_failed)?;
    let (mut settings, notes) =
        settings(context, &engine, &mut args.container, args.explain.form()?.is_none())?;
    notes.iter().for_each(|note| say(note));
    settings.attach = true;
    settings.command_line = ["corten", "create"].iter().map(|w| (*w).to_owned()).chain(line).collect();
    if let Some(form) = args.explain.form()? {
        let container = engine.draft(settings, args.container.name.as_deref()).map_err(engine_failed)?;
        let all: Vec<_> = engine.create_by_hand(&container);
        print(&crate::explain::show_acts(
            &format!("corten create {}", container.settings.image),
            &all,
            form,
        ))?;
        return Ok(0);
    }
    let cid_file = args.container.cidfile.as_deref().map(CidFile::claim).transpose()?;
    let container = engine.create(settings, args.container.name.as_deref()).map_err(engine_failed)?;
    if let Some(file) = cid_file {
        file.write(&container.id)?;
    }
    print(&format!("{}\n", container.id))?;
    Ok(0)
}
