//! `corten pull`, and the pull before a `run`.

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::progress::Progress;
use clap::Args;
use engine::{Engine, Event};
use image::registry::{Client, Pulled};
use image::{Platform, Reference};
use rustix::termios::{isatty, tcgetwinsize};
use std::io::Write;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct PullArgs {
    #[command(flatten)]
    common: Common,
    /// The platform that the image must be for (linux/arm64)
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

/// What `pull` and `push` have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// Every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Print the image's full name only
    #[arg(short, long)]
    pub quiet: bool,
    /// Accepted for old scripts
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = super::args::go_bool, hide = true)]
    disable_content_trust: Option<bool>,
}

impl Common {
    /// The repository whose tags are all meant; None: it is one image.
    pub fn repository<'a>(&self, reference: &'a Reference) -> Result<Option<&'a Reference>, Failure> {
        if self.all_tags && (reference.tag.is_some() || reference.digest.is_some()) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        if !self.all_tags && !self.quiet && reference.tag.is_none() && reference.digest.is_none() {
            print("Using default tag: latest\n")?;
        }
        Ok(self.all_tags.then_some(reference))
    }
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: PullArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let acts = |name: &str| Ok(context.engine()?.pull_by_hand(name)?);
    if let Some(outcome) = args.explain.instead_of_each(&context.command, &args.words, acts) {
        return outcome;
    }
    let reference = Reference::parse(&args.words[0])?;
    let platform = args.platform.as_deref().map(Platform::parse).transpose()?;
    let engine = context.engine()?;
    let client = Client::new()?;
    let Some(repository) = args.common.repository(&reference)? else {
        let reference = reference.tagged();
        pull(&engine, &client, &reference, platform.as_ref(), args.common.quiet, Out::Stdout)?;
        print(&format!("{reference}\n"))?;
        return Ok(0);
    };
    let tags = image::registry::tags(&client, repository, &|_| {})?;
    for tag in &tags {
        let reference = Reference { tag: Some(tag.clone()), ..repository.clone() };
        pull(&engine, &client, &reference, platform.as_ref(), args.common.quiet, Out::Stdout)?;
    }
    print(&format!("{repository}\n"))?;
    Ok(0)
}

/// Where progress is shown: `run` has its program's output on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Out {
    Stdout,
    Stderr,
}

/// Pull with Docker's words.
pub fn pull(
    engine: &Engine,
    client: &Client,
    reference: &Reference,
    platform: Option<&Platform>,
    quiet: bool,
    out: Out,
) -> Result<Pulled, Failure> {
    let progress = progress(quiet, out);
    let pulled =
        image::registry::pull(engine.images(), client, reference, platform, &|event| progress.hear(event));
    progress.end();
    let pulled = pulled?;
    let event = Event::new("image", "pull", reference.familiar());
    engine.tell(&[event.with("name", reference.familiar_repository())]);
    progress.say(&format!("Digest: {}", pulled.digest));
    let name = reference.familiar();
    progress.say(&if pulled.up_to_date {
        format!("Status: Image is up to date for {name}")
    } else {
        format!("Status: Downloaded newer image for {name}")
    });
    Ok(pulled)
}

/// Lines and bars on one of our outputs.
pub fn progress(quiet: bool, out: Out) -> Progress {
    let (writer, terminal): (Box<dyn Write + Send>, _) = match out {
        Out::Stdout => (Box::new(std::io::stdout()), window(std::io::stdout())),
        Out::Stderr => (Box::new(std::io::stderr()), window(std::io::stderr())),
    };
    Progress::new(writer, terminal, quiet)
}

fn window(output: impl std::os::fd::AsFd) -> Option<(usize, usize)> {
    if !isatty(&output) || std::env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return None;
    }
    match tcgetwinsize(&output) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => Some((size.ws_row.into(), size.ws_col.into())),
        _ => Some((24, 80)),
    }
}

/// The pull of `run` and `create`: its words go to standard error, and `quiet` to nowhere.
pub fn for_run(
    engine: &Engine,
    reference: &Reference,
    platform: Option<&str>,
    quiet: bool,
) -> Result<(), Failure> {
    let platform = platform.map(Platform::parse).transpose()?;
    pull(engine, &Client::new()?, reference, platform.as_ref(), quiet, Out::Stderr).map(drop)
}
