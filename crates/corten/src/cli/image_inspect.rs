//! `corten image inspect`

use super::args::Shape;
use super::images::check_platform;
use super::inspect::{InspectArgs, show};
use super::{Context, Outcome, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Show everything about images, as JSON",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct ImageInspectArgs {
    /// Only if it is for this platform (os/architecture[/variant])
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    common: InspectArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ImageInspectArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    show(&args.common, |name| {
        check_platform(&engine, name, args.platform.as_deref()).map_err(|failure| failure.message)?;
        match engine.images().inspect(name) {
            Ok(value) => Ok(value),
            Err(error) if error.is_not_found() => {
                Err(format!("No such image: {name}{}", engine.images().near(name)))
            }
            Err(error) => Err(error.to_string()),
        }
    })
}
