//! The way through a chapter: say, wait, do, show, check; and take everything away, however it ends.

use super::measure::measure;
use super::page::{self, Answer};
use super::shell::Shell;
use super::{Chapter, Step};
use crate::cli::{Failure, Outcome, print, width, wrapped};
use crate::map::printable;
use kernel::process::{self, Side};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

const SIGNALS: [Signal; 3] = [Signal::HUP, Signal::INT, Signal::TERM];
/// So long a check may take to become true: processes begin, namespaces end.
const PATIENCE: Duration = Duration::from_secs(60);

/// One chapter after the other. The lesson runs in a process of its own; this one waits, and takes away what it has made.
pub fn run(chapters: &[&Chapter], shell: &Shell, yes: bool) -> Outcome {
    for (nth, chapter) in chapters.iter().enumerate() {
        if nth > 0 {
            print("\n")?;
        }
        missing(chapter, shell)?;
        // Of a lesson that was killed.
        shell.succeeds(chapter.undo);
        let code = watched(|| match lesson(chapter, shell, yes) {
            Ok(()) => 0,
            Err(failure) => {
                if !failure.message.is_empty() {
                    crate::cli::say(&format!("corten: {}", failure.message));
                }
                failure.code
            }
        });
        shell.succeeds(chapter.undo);
        let left = shell.output(chapter.left);
        if !left.is_empty() {
            let what = left.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(Failure::new(format!("the chapter {} has left something: {what}", chapter.name)));
        }
        let code = code?;
        print(match code {
            0 => "All of it is taken away again.\n",
            _ => "\nWhat the chapter had made is taken away again.\n",
        })?;
        if code != 0 {
            return Ok(code);
        }
    }
    Ok(0)
}

fn missing(chapter: &Chapter, shell: &Shell) -> Result<(), Failure> {
    let needs = chapter.needs.iter().filter(|(program, _)| !shell.succeeds(&format!("type {program}")));
    let missing: Vec<String> = needs.map(|(program, package)| format!("{program} ({package})")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (name, missing) = (chapter.name, missing.join(", "));
    Err(Failure::new(format!("the chapter {name} needs programs that are not here: {missing}")))
}

/// Does `work` in a child, whose exit code it answers; a signal to us ends the child.
fn watched(work: impl FnOnce() -> i32) -> Outcome {
    let failed = |what: &'static str| move |e| Failure::new(format!("cannot {what}: {e}"));
    let numbers = SIGNALS.map(|signal| signal.as_raw());
    let signals = process::signal_fd(&numbers).map_err(failed("wait for signals"))?;
    let pidfd = match process::fork().map_err(failed("make a process"))? {
        Side::Parent { pidfd, .. } => pidfd,
        Side::Child => {
            process::block_all_signals(false);
            let _ = process::die_with_parent(Signal::TERM.as_raw());
            process::exit(work())
        }
    };
    let mut stopped = None;
    loop {
        let mut waits = [PollFd::new(&signals, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut waits, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(failed("wait")(error)),
        }
        let ended = waits[1].revents().contains(PollFlags::IN);
        while let Some(signal) = process::next_signal(&signals) {
            stopped = Some(signal);
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::TERM);
        }
        if ended {
            break;
        }
    }
    let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
    process::block_all_signals(false);
    let status = status.map_err(failed("wait"))?;
    let code = status.and_then(|status| status.exit_status());
    Ok(stopped.map(|signal| 128 + signal).or(code).unwrap_or(130))
}

fn lesson(chapter: &Chapter, shell: &Shell, yes: bool) -> Result<(), Failure> {
    let count = chapter.steps.len();
    print(&format!("== {}: {} ==\n\n", chapter.name, chapter.about))?;
    for (number, step) in chapter.steps.iter().enumerate() {
        page::heading(&format!("{}/{count}", number + 1), step.say)?;
        let goes_on = |line: &str| line.starts_with(' ') || line == "done";
        page::commands(step.run.lines().map(|line| (goes_on(line), line)))?;
        one(step, shell, yes)?;
    }
    print(&format!("{}\n", wrapped(chapter.end, 0, width())))
}

fn one(step: &Step, shell: &Shell, yes: bool) -> Result<(), Failure> {
    let before = lines(shell, step.show);
    let by_reader = !yes && wait(step, shell)?;
    if let Some(what) = &step.measure {
        print("\n")?;
        let kept = measure(what)?;
        return if kept {
            print("\n     ✓ each gets what it was promised\n\n")
        } else {
            fail("the shares are not kept")
        };
    }
    print("\n")?;
    if by_reader {
        print("     (done in another terminal)\n")?;
    } else {
        let status = shell.run(step.run).map_err(|e| Failure::new(format!("cannot run bash: {e}")))?;
        if status.code().is_none() {
            return fail("the command was killed");
        }
    }
    let done = step.check.is_empty() || holds(step, shell);
    changes(step, &before, &lines(shell, step.show))?;
    match (done, step.check.is_empty(), step.else_say) {
        (_, true, _) => print("\n"),
        (true, ..) => print("\n     ✓ as it should be\n\n"),
        (false, _, "") => fail(&format!("the check fails: {}", step.check)),
        (false, _, instead) => print(&format!("\n     ✗ {instead}\n\n")),
    }
}

fn fail<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::new(message.to_owned()))
}

fn holds(step: &Step, shell: &Shell) -> bool {
    let start = Instant::now();
    // What may fail need not be waited for.
    let patience = if step.else_say.is_empty() { PATIENCE } else { Duration::ZERO };
    loop {
        if shell.succeeds(step.check) {
            return true;
        }
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits for Enter (false), or until the check sees that the reader has done the step elsewhere (true).
fn wait(step: &Step, shell: &Shell) -> Result<bool, Failure> {
    // What holds already says nothing.
    let watch = !step.check.is_empty() && !shell.succeeds(step.check);
    let hint = if watch { ", or type it in another terminal" } else { "" };
    let holds = || shell.succeeds(step.check);
    let done: Option<&dyn Fn() -> bool> = if watch { Some(&holds) } else { None };
    match page::ask(&format!("[Enter] runs it{hint}; q ends the lesson"), None, done)? {
        Answer::Quit => Err(Failure { code: 130, message: String::new(), usage: false }),
        answer => Ok(answer == Answer::Done),
    }
}

fn lines(shell: &Shell, show: &str) -> Vec<String> {
    if show.is_empty() { Vec::new() } else { shell.output(show).lines().map(printable).collect() }
}

/// What a command says now and did not before, and the other way round.
fn changes(step: &Step, before: &[String], after: &[String]) -> Result<(), Failure> {
    let (old, new): (BTreeSet<&String>, BTreeSet<&String>) =
        (before.iter().collect(), after.iter().collect());
    let gone: Vec<String> = before.iter().filter(|line| !new.contains(line)).cloned().collect();
    let come: Vec<String> = after.iter().filter(|line| !old.contains(line)).cloned().collect();
    page::changes(step.show, &gone, &come)
}
