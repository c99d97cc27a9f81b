//! `corten map`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::fit;
use crate::map::{page, serve, svg, text};
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
    /// Keep the page live on loopback, at this address and port [127.0.0.1:7070]
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true, default_missing_value = "7070")]
    serve: Option<String>,
    /// With --serve: let it be an address that other machines reach
    #[arg(long)]
    anywhere: bool,
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
    if let Some(word) = &args.serve {
        return live(context, &args, word);
    }
    let map = context.engine()?.map(&args.words)?;
    print(&match form {
        "html" => page::page(&map, false),
        "svg" => svg::svg(&map),
        "json" => {
            let text = serde_json::to_string_pretty(&map).map_err(|e| Failure::new(e.to_string()))?;
            text + "\n"
        }
        _ => fit::with_commands("corten map", !args.quiet, |by_hand| text::text(&map, by_hand)),
    })?;
    Ok(0)
}

/// Until it is ended. What is drawn is asked of the kernel for each answer.
fn live(context: &Context, args: &MapArgs, word: &str) -> Outcome {
    let address = serve::address(word, args.anywhere).map_err(Failure::flag)?;
    let engine = context.engine()?;
    // What can't be drawn now is an error now.
    engine.map(&args.words)?;
    let listener = std::net::TcpListener::bind(address)
        .map_err(|e| Failure::new(format!("cannot listen on {address}: {e}")))?;
    let at = listener.local_addr()?;
    print(&format!("the map is at http://{at}/ and stays live; Ctrl-C ends it\n"))?;
    let map = || engine.map(&args.words).map_err(|e| e.to_string());
    let pages = serve::Pages {
        page: &|| map().map(|map| page::page(&map, true)),
        picture: &|| map().map(|map| svg::svg(&map)),
    };
    serve::serve(&listener, &pages)?;
    Ok(0)
}
