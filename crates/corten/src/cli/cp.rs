//! `corten cp`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, say};
use clap::Args;
use engine::Event;
use engine::cp::{Copied, CopyOptions, Outside};
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::AsFd;
use std::path::Path;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n        corten cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files out of a container, or into one; - is a tar archive on standard output or input",
    words: (2, 2),
};

#[derive(Debug, Args)]
struct CpArgs {
    /// Out: owners, set-id bits and devices come along; in: files become those of the container's user
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to, not the link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing of how much was copied
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CpArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let [source, target] = args.words.as_slice() else { return Ok(1) };
    let options = CopyOptions { archive: args.archive, follow: args.follow_link };
    let engine = context.engine()?;
    let acts = || match (split(source), split(target)) {
        (Some((name, path)), None) => Ok(engine.copy_by_hand(&engine.find(name)?, true, path, target)?),
        (None, Some((name, path))) => Ok(engine.copy_by_hand(&engine.find(name)?, false, path, source)?),
        _ => Err(Failure::new("one end must be in a container, and the other not")),
    };
    if let Some(outcome) = args.explain.instead(&format!("corten cp {source} {target}"), acts) {
        return outcome;
    }
    let empty = |word: &str, path: &str| match path {
        "" => Err(Failure::new(format!("'{word}' has no path behind the container's name"))),
        _ => Ok(()),
    };
    let (copied, to) = match (split(source), split(target)) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("copying between containers is not supported"));
        }
        (None, None) => return Err(Failure::new("must specify at least one container source")),
        (Some((name, path)), None) => {
            empty(source, path)?;
            super::seal_for(&engine, &[name.to_owned()])?;
            let container = engine.find(name)?;
            let to = if target == "-" {
                if stdout().is_terminal() {
                    return Err(Failure::new(
                        "cowardly refusing to write an archive to a terminal: redirect it",
                    ));
                }
                Outside::Stream(stdout().as_fd().try_clone_to_owned()?.into())
            } else {
                Outside::Path(Path::new(target))
            };
            let copied = engine.copy_out(&container, path, to, options)?;
            engine.tell(&[Event::of(&container, "archive-path")]);
            (copied, target.clone())
        }
        (None, Some((name, path))) => {
            empty(target, path)?;
            super::seal_for(&engine, &[name.to_owned()])?;
            let container = engine.find(name)?;
            let from = if source == "-" {
                Outside::Stream(stdin().as_fd().try_clone_to_owned()?.into())
            } else {
                Outside::Path(Path::new(source))
            };
            let copied = engine.copy_in(&container, from, path, options)?;
            engine.tell(&[Event::of(&container, "extract-to-dir")]);
            (copied, target.clone())
        }
    };
    report(&args, &copied, &to);
    Ok(0)
}

/// For a person at a terminal.
fn report(args: &CpArgs, copied: &Copied, to: &str) {
    if copied.skipped > 0 {
        let nodes = if copied.skipped == 1 { "device node was" } else { "device nodes were" };
        say(&format!("corten: {} {nodes} not copied", copied.skipped));
    }
    if !args.quiet && to != "-" && stdout().is_terminal() {
        say(&format!("Successfully copied {} to {to}", crate::fmt::words::size(copied.bytes)));
    }
}

/// `container:path`; None for a path of this machine: `/x:y`, `./x:y`, `x`.
fn split(word: &str) -> Option<(&str, &str)> {
    let (container, path) = word.split_once(':')?;
    (!word.starts_with('/') && !container.starts_with('.') && !container.is_empty())
        .then_some((container, path))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn whose_path_it_is() {
        assert_eq!(split("web:/etc/x"), Some(("web", "/etc/x")));
        assert_eq!(split("web:x:y"), Some(("web", "x:y")));
        for local in ["/a:b", "./a:b", "../a:b", "a", "-", ":x"] {
            assert_eq!(split(local), None, "{local}");
        }
    }
}
