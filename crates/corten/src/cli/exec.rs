//! `corten exec`

use super::args::Shape;
use super::run::{detach_keys, engine_failed};
use super::{Context, Failure, Outcome, parse, seal_for};
use clap::Args;
use engine::ExecSettings;
use std::io::IsTerminal;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Run a command in a running container",
    words: (2, usize::MAX),
};

#[derive(Debug, Args)]
struct ExecArgs {
    /// Run it in the background
    #[arg(short, long)]
    detach: bool,
    /// The keys that leave it without ending it [ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    /// Set an environment variable (NAME=value; NAME alone copies yours)
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<String>,
    /// Keep standard input open
    #[arg(short, long)]
    interactive: bool,
    /// With all capabilities
    #[arg(long)]
    privileged: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// The command's user, and group (name or number, user:group)
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Directory in which the command starts
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ExecArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some((name, argv)) = args.words.split_first() else { return Ok(1) };
    if args.tty && args.interactive && !args.detach && !std::io::stdin().is_terminal() {
        return Err(Failure::new(
            "cannot attach stdin to a TTY-enabled container because stdin is not a terminal",
        ));
    }
    let settings = ExecSettings {
        argv: argv.to_vec(),
        env: crate::resolve::exec_environment(&args.env_file, &args.env).map_err(Failure::flag)?,
        workdir: args.workdir.unwrap_or_default(),
        user: args.user.unwrap_or_default(),
        tty: args.tty,
        interactive: args.interactive,
        detach: args.detach,
        privileged: args.privileged,
        detach_keys: detach_keys(context, args.detach_keys.as_deref())?,
    };
    let engine = context.engine()?;
    let container = engine.find(name)?;
    seal_for(&engine, std::slice::from_ref(name))?;
    let title = format!("corten exec {}", args.words.join(" "));
    if let Some(outcome) = args.explain.instead(&title, || Ok(engine.exec_by_hand(&container, &settings)?)) {
        return outcome;
    }
    engine.exec(&container, &settings).map_err(engine_failed_in_exec)
}

/// 126 and 127 as for `run`; everything else is an error of this command.
fn engine_failed_in_exec(error: engine::Error) -> Failure {
    let failure = engine_failed(error);
    Failure { code: if failure.code == super::ENGINE { 1 } else { failure.code }, ..failure }
}
