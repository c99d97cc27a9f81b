//! `corten top`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::table;
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "CONTAINER [ps OPTIONS]",
    about: "Show the processes of a container (-ef, aux, or -o with columns)",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct TopArgs {
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: TopArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some((name, options)) = args.words.split_first() else { return Ok(1) };
    let engine = context.engine()?;
    let container = engine.find(name)?;
    let engine::State::Running { pid, .. } = engine.state(&container)? else {
        return Err(Failure::new(format!("container {} is not running", container.id)));
    };
    let processes = engine::top::top(pid, options).map_err(|e| Failure::new(e.to_string()))?;
    engine.tell(&[engine::Event::of(&container, "top")]);
    let rows = std::iter::once(&processes.titles).chain(&processes.rows);
    let text: String = rows.map(|row| row.join("\t") + "\n").collect();
    print(&table::align(&text, 20, 3))?;
    Ok(0)
}
