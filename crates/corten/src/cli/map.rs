//! `corten map`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::map::{page, svg, text};
use clap::Args;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Draw what there is now: containers with their namespaces, processes, limits and layers, and how they hang together",
    words: (0, usize::MAX),
};

#[derive(Debug, Args)]
struct MapArgs {
    /// text, svg, html or json
    #[arg(long, value_name = "FORM", default_value = "text")]
    format: String,
    /// As one self-contained page
    #[arg(long)]
    html: bool,
    /// As a picture
    #[arg(long)]
    svg: bool,
    /// Leave out the commands that show each thing by hand
    #[arg(short, long)]
    quiet: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: MapArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let form = match (args.html, args.svg) {
        (true, _) => "html",
        (_, true) => "svg",
        _ => args.format.as_str(),
    };
    if !["text", "svg", "html", "json"].contains(&form) {
        return Err(Failure::flag(format!("unknown form '{form}': use text, svg, html or json")));
    }
    let map = context.engine()?.map(&args.words)?;
    print(&match form {
        "html" => page::page(&map),
        "svg" => svg::svg(&map),
        "json" => {
            let text = serde_json::to_string_pretty(&map).map_err(|e| Failure::new(e.to_string()))?;
            text + "\n"
        }
        _ => text::text(&map, !args.quiet),
    })?;
    Ok(0)
}
