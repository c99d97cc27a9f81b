//! `corten oci run`

use super::create::{self, MakeArgs};
use super::{Context, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use clap::Args;
use runtime::Stdio;
use runtime::oci;

const SHAPE: Shape =
    Shape { usage: "[OPTIONS] ID", about: "Create a container from a bundle and start it", words: (1, 1) };

#[derive(Debug, Args)]
struct RunArgs {
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Do not remove the container at its end
    #[arg(long)]
    keep: bool,
    /// Taken for runc's sake
    #[arg(long)]
    no_subreaper: bool,
    #[command(flatten)]
    make: MakeArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: RunArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let bundle = create::read(&args.make)?;
    if let Some(form) = args.make.explain {
        return create::explain(context, &bundle, &args.make, form, false);
    }
    let tty = create::terminal(&bundle);
    match (&args.make.console_socket, tty) {
        (None, true) if args.detach => {
            return Err(Failure::new(
                "config.json: process.terminal: --detach needs --console-socket for it",
            ));
        }
        (Some(_), _) if !args.detach => {
            return Err(Failure::new("--console-socket: only with --detach"));
        }
        (Some(_), false) => return Err(Failure::new("--console-socket: config.json asks for no terminal")),
        _ => {}
    }
    let stdio = if tty { Stdio::Terminal } else { create::own_stdio()? };
    let (record, launched, master) = create::make(context, &bundle, &args.make, false, stdio)?;
    if args.detach {
        return Ok(0);
    }
    let code = create::attend(master, launched.pidfd);
    if code.is_err() || !args.keep {
        oci::delete(&context.containers, &record, true, &|line| context.warn(line))?;
    }
    code
}
