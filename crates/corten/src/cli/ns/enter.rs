//! `corten ns enter`: nsenter(1) with the names of containers.

use super::super::args::Shape;
use super::super::{Context, ENGINE, Failure, Outcome, parse, print};
use super::kinds::{SpaceArgs, flag};
use engine::look::spaces;
use runtime::spaces::{Error, Spaces, run};
use rustix::fd::AsFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    about: "Run a command in some namespaces of a container, or in all, and with your own rights in the rest:\n\
            `ns enter --net web ip address` asks this machine's ip about the container's addresses.\n\
            For a program of the container's with the container's rights there is `exec`.",
    words: (1, usize::MAX),
};

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: SpaceArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let Some((name, command)) = args.words.split_first() else { return Ok(1) };
    let engine = context.engine()?;
    let running = engine.find_running(name)?;
    let kinds = args.chosen();
    let command = super::run::command(command);
    if args.explain {
        let flags: Vec<String> = kinds.iter().map(flag).collect();
        let words: Vec<String> = command.iter().map(|word| steps::quote(word)).collect();
        print(&format!("nsenter --target {} {} {}\n", running.pid, flags.join(" "), words.join(" ")))?;
        return Ok(0);
    }
    if running.container.id_base == 0 {
        // What enters a container of the host's ids can be seen by it.
        engine::seal()?;
    }
    let gone =
        |e| Failure { code: ENGINE, ..Failure::new(format!("process {} of {name}: {e}", running.pid)) };
    let (own, theirs) = spaces::of(std::process::id().cast_signed())
        .and_then(|own| Ok((own, spaces::of(running.pid)?)))
        .map_err(|e| gone(e.to_string()))?;
    let differs = |kind: &&spaces::Kind| {
        let index = spaces::KINDS.iter().position(|one| one == *kind);
        index.is_some_and(|index| own[index] != theirs[index])
    };
    let flags = kinds.iter().filter(differs).fold(0, |all, kind| all | kind.flag);
    let pid = Pid::from_raw(running.pid).ok_or_else(|| gone("is gone".into()))?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|e| gone(e.to_string()))?;
    run(&Spaces::Join { pidfd: pidfd.as_fd(), flags }, &command).map_err(failure)
}

/// 126 and 127 where the program cannot be run or is not there, else 125.
pub fn failure(error: Error) -> Failure {
    let code = match &error {
        Error::Exec { why: rustix::io::Errno::NOENT, .. } => 127,
        Error::Exec { .. } => 126,
        Error::Failed { .. } => ENGINE,
    };
    Failure { code, ..Failure::new(error.to_string()) }
}
