//! `corten port`

use super::args::Shape;
use super::ps::ports_of;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::ports::joined;
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "CONTAINER [PORT[/PROTO]]",
    about: "Show the published ports of a container",
    words: (1, 2),
};

#[derive(Debug, Args)]
struct PortArgs {
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PortArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let container = engine.find(&args.words[0])?;
    let mut ports = ports_of(&engine, &container, &engine.state(&container)?);
    ports.sort_by(|a, b| (a.private, &a.protocol, a.host).cmp(&(b.private, &b.protocol, b.host)));
    let wanted = args.words.get(1).map(|word| {
        let (port, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        (port.to_owned(), protocol.to_lowercase())
    });
    let mut text = String::new();
    for port in &ports {
        let Some((address, public)) = port.host else { continue };
        let host = joined(address, &public.to_string());
        match &wanted {
            None => text.push_str(&format!("{}/{} -> {host}\n", port.private, port.protocol)),
            Some((number, protocol)) if port.private.to_string() == *number && port.protocol == *protocol => {
                text.push_str(&format!("{host}\n"));
            }
            Some(_) => {}
        }
    }
    if let (Some((port, protocol)), true) = (wanted, text.is_empty()) {
        return Err(Failure::new(format!(
            "no public port '{port}/{protocol}' published for {}",
            args.words[0]
        )));
    }
    print(&text)?;
    Ok(0)
}
