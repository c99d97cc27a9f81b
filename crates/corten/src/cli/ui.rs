//! `corten ui`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "A dashboard in the terminal: containers, what they use, their logs",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct UiArgs {
    /// Begin with those that run only
    #[arg(short, long)]
    running: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: UiArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if !rustix::termios::isatty(std::io::stdin()) || !rustix::termios::isatty(std::io::stdout()) {
        return Err(Failure::new("ui needs a terminal: 'corten stats' and 'corten ps' print"));
    }
    crate::ui::run(context, args.running)?;
    Ok(0)
}
