//! `corten volume create`

use super::super::args::Shape;
use super::super::{Context, Failure, Outcome, parse, print};
use crate::resolve::volume_name;
use clap::Args;
use engine::VolumeWish;
use std::collections::BTreeMap;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] [VOLUME]",
    about: "Make a volume: a directory that outlives the containers it is mounted in",
    words: (0, 1),
};

#[derive(Debug, Args)]
struct CreateArgs {
    /// Accepted: there is only 'local'
    #[arg(short, long, value_name = "DRIVER", default_value = "local", hide_default_value = true)]
    driver: String,
    /// The group that its directory belongs to, as the container counts groups
    #[arg(long, value_name = "NUMBER")]
    gid: Option<u32>,
    /// Give it a label (key=value)
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// The mode of its directory, in octal [755]
    #[arg(long, value_name = "MODE")]
    mode: Option<String>,
    /// Its name, for old scripts
    #[arg(long, value_name = "NAME", hide = true)]
    name: Option<String>,
    /// A directory of the host in its place: type=none, o=bind, device=DIR
    #[arg(short, long, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// The user that its directory belongs to, as the container counts users
    #[arg(long, value_name = "NUMBER")]
    uid: Option<u32>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: CreateArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if args.driver != "local" {
        return Err(Failure::new(format!("volume driver '{}' is not there: only 'local' is", args.driver)));
    }
    let name = args.words.first().or(args.name.as_ref()).cloned().unwrap_or_default();
    if !name.is_empty() {
        volume_name(&name).map_err(Failure::new)?;
    }
    let mode = |text: &String| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
        mode.ok_or_else(|| {
            Failure::flag(format!(
                "invalid argument \"{text}\" for \"--mode\" flag: it must be an octal number"
            ))
        })
    };
    let wish = VolumeWish {
        anonymous: name.is_empty(),
        name,
        labels: pairs(&args.label),
        options: pairs(&args.opt),
        uid: args.uid,
        gid: args.gid,
        mode: args.mode.as_ref().map(mode).transpose()?,
    };
    let engine = context.engine()?;
    let title = format!("corten volume create {}", wish.name);
    if let Some(outcome) = args.explain.instead(&title, || Ok(engine.create_volume_by_hand(&wish)?)) {
        return outcome;
    }
    let (volume, _) = engine.create_volume(&wish)?;
    print(&format!("{}\n", volume.name))?;
    Ok(0)
}

fn pairs(words: &[String]) -> BTreeMap<String, String> {
    let pair = |word: &String| {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        (key.to_owned(), value.to_owned())
    };
    words.iter().map(pair).collect()
}
