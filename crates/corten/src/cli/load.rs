//! `corten load`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use clap::Args;
use engine::Event;
use image::{Input, Platform, Progress};
use std::io::{IsTerminal, Write};
use std::path::Path;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Load images from an archive: docker save's, old and new, or an OCI layout, as a tar file or a directory, compressed or not",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct LoadArgs {
    /// The archive; without it, standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// The platform to load, of an image that is for several (linux/arm64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LoadArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?;
    let input = match args.input.as_deref() {
        None | Some("-") if std::io::stdin().is_terminal() => {
            return Err(Failure::new(
                "requested load from stdin, but stdin is a terminal: use --input FILE or < FILE",
            ));
        }
        None | Some("-") => Input::Stdin,
        Some(path) => Input::Path(Path::new(path)),
    };
    let engine = context.engine()?;
    let acts = || Ok(engine.load_by_hand(args.input.as_deref()));
    if let Some(outcome) = args.explain.instead("corten load", acts) {
        return outcome;
    }
    let mut bar = Bar { shown: !args.quiet && std::io::stderr().is_terminal(), percent: None };
    let loaded = engine.images().load_for(input, platform.as_ref(), &mut |progress| bar.step(&progress));
    bar.clear();
    for image in loaded? {
        let id = format!("sha256:{}", image.id);
        let name = image.names.first().unwrap_or(&id);
        engine.tell(&[Event::new("image", "load", &id).with("name", name)]);
        if image.names.is_empty() {
            print(&format!("Loaded image ID: sha256:{}\n", image.id))?;
        }
        for name in &image.names {
            print(&format!("Loaded image: {name}\n"))?;
        }
    }
    Ok(0)
}

/// One line that is overwritten, for a person at a terminal.
struct Bar {
    shown: bool,
    percent: Option<(String, u64)>,
}

impl Bar {
    fn step(&mut self, progress: &Progress) {
        let Progress::Layer { layer, done, total } = progress else { return };
        if !self.shown {
            return;
        }
        let short: String = layer.chars().take(12).collect();
        let percent = (done * 100).checked_div(*total).unwrap_or(100).min(100);
        if self.percent.as_ref() == Some(&(short.clone(), percent)) {
            return;
        }
        let of = crate::fmt::words::size(*total);
        let _ = write!(std::io::stderr(), "\r\x1b[K{short}: loading {percent:3}% of {of}");
        self.percent = Some((short, percent));
    }

    fn clear(&mut self) {
        if self.percent.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
