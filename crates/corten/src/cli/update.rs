//! `corten update`

use super::args::Shape;
use super::{Context, Failure, Outcome, for_each, parse};
use clap::Args;
use network::PortSpec;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Publish ports of containers, or no longer, while they run or not",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct UpdateArgs {
    /// Publish a port ([[ip:]host:]container[/udp])
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Publish it no longer ([[ip:]host:]container[/udp])
    #[arg(long, value_name = "PORT")]
    unpublish: Vec<String>,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: UpdateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let ports = |words: &[String]| -> Result<Vec<PortSpec>, Failure> {
        let parsed = words.iter().map(|word| network::ports::parse(word));
        let parsed = parsed.collect::<Result<Vec<_>, _>>().map_err(|e| Failure::flag(e.to_string()))?;
        Ok(parsed.into_iter().flatten().collect())
    };
    let (come, gone) = (ports(&args.publish)?, ports(&args.unpublish)?);
    if come.is_empty() && gone.is_empty() {
        return Err(Failure::flag("you must provide one or more flags when using this command"));
    }
    let engine = context.engine()?;
    for_each(&args.words, |name| Ok(engine.update_ports(&engine.find(name)?, &come, &gone)?))
}
