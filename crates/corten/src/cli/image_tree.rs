//! `corten image tree`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::words::size;
use clap::Args;
use image::{Layer, Reference, Summary};
use std::collections::BTreeMap;
use std::fmt::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE",
    about: "Show the layers of an image, lowest first, and which images end in them",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct TreeArgs {
    /// Show what lies on top of the image instead
    #[arg(long)]
    whatrequires: bool,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: TreeArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let engine = context.engine()?;
    let all = engine.images().list()?;
    let image = engine.images().resolve(args.words.first().map_or("", String::as_str))?;
    let Some(summary) = all.iter().find(|s| s.image.id == image.id) else {
        return Err(Failure::new(format!("No such image: {}", args.words.concat())));
    };
    let mut text = String::new();
    let short: String = image.id.chars().take(12).collect();
    let tags: Vec<String> = summary.tags.iter().map(Reference::familiar).collect();
    let _ = writeln!(text, "Image ID: {short}\nTags:     [{}]", tags.join(" "));
    let _ = writeln!(text, "Size:     {}\nImage Layers", size(image.size));
    if args.whatrequires {
        let mut above: BTreeMap<&str, Vec<&Layer>> = BTreeMap::new();
        for other in &all {
            for pair in other.image.layers.windows(2) {
                let children = above.entry(&pair[0].chain).or_default();
                if !children.iter().any(|l| l.chain == pair[1].chain) {
                    children.push(&pair[1]);
                }
            }
        }
        if let Some(top) = image.layers.last() {
            branch(&mut text, &all, &above, top, "", true);
        }
    } else {
        for (at, layer) in image.layers.iter().enumerate() {
            let end = at + 1 == image.layers.len();
            let _ = writeln!(text, "{}{}", if end { "└── " } else { "├── " }, line(&all, layer));
        }
    }
    print(&text)?;
    Ok(0)
}

fn branch(
    text: &mut String,
    all: &[Summary],
    above: &BTreeMap<&str, Vec<&Layer>>,
    layer: &Layer,
    indent: &str,
    end: bool,
) {
    let (arm, next) = if end { ("└── ", "    ") } else { ("├── ", "│   ") };
    let _ = writeln!(text, "{indent}{arm}{}", line(all, layer));
    let children = above.get(layer.chain.as_str()).map_or(&[][..], Vec::as_slice);
    for (at, child) in children.iter().enumerate() {
        branch(text, all, above, child, &format!("{indent}{next}"), at + 1 == children.len());
    }
}

/// `ID: 8d3ac3489996 Size: 5.86MB Top Layer of: [alpine:latest]`
fn line(all: &[Summary], layer: &Layer) -> String {
    let tops = all.iter().filter(|s| s.image.layers.last().is_some_and(|l| l.chain == layer.chain));
    let names: Vec<String> = tops.flat_map(|s| s.tags.iter().map(Reference::familiar)).collect();
    let short: String = layer.chain.chars().take(12).collect();
    let mut line = format!("ID: {short} Size: {:>7}", size(layer.size));
    if !names.is_empty() {
        let _ = write!(line, " Top Layer of: [{}]", names.join(" "));
    }
    line
}
