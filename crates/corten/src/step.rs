//! `--step`: a start that the reader walks through as through a lesson of `corten lab`. Each step of the real plan shows its command,
//! waits for Enter, is performed by the engine, and shows what the kernel has then that it had not before.

use crate::cli::{Failure, print};
use crate::explain::{KEPT, clone_shell, heading, printable, program_shell};
use crate::lab::{Answer, page};
use clap::Args;
use engine::look::facts::{Fact, Pair, pairs};
use engine::walk::{self, PATHS};
use engine::{Container, Engine, StartOptions, Started};
use kernel::process;
use runtime::CLONE;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::Signal;
use steps::{Fidelity, Phase, Plan, Shell, Step};

/// The flags.
#[derive(Debug, Default, Args)]
pub struct StepArgs {
    /// Walk through the start: each step shows its command, waits for Enter, and shows what has changed
    #[arg(long)]
    pub step: bool,
    /// With --step: go through it without waiting
    #[arg(long)]
    yes: bool,
}

impl StepArgs {
    pub fn check(&self) -> Result<(), Failure> {
        match self.yes && !self.step {
            true => Err(Failure::flag("--yes is for --step")),
            false => Ok(()),
        }
    }

    /// Starts the container, step by step where that was asked for.
    pub fn start(
        &self,
        engine: &Engine,
        container: &Container,
        options: StartOptions,
    ) -> Result<Started, Failure> {
        if !self.step {
            return Ok(engine.start(container, options)?);
        }
        let numbers = [Signal::HUP, Signal::INT, Signal::TERM].map(|signal| signal.as_raw());
        let signals = process::signal_fd(&numbers)
            .map_err(|e| Failure::new(format!("cannot wait for signals: {e}")))?;
        let mut walk = Walk {
            asks: !self.yes,
            signals,
            at: None,
            phase: None,
            facts: Vec::new(),
            failure: None,
            id: container.id.clone(),
        };
        let started = engine.walk(container, options, &mut |plan, number, pid| {
            walk.next(plan, number, pid).unwrap_or_else(|failure| {
                walk.failure = Some(failure);
                false
            })
        });
        let ended = match (&started, walk.failure.take()) {
            (_, Some(failure)) => Err(failure),
            (Ok(Started { pid, plan: Some(plan), .. }), None) => walk.end(plan, *pid),
            _ => Ok(()),
        };
        // What came meanwhile was an answer, and ends nothing more.
        while process::next_signal(&walk.signals).is_some() {}
        process::block_all_signals(false);
        let started = started?;
        ended?;
        Ok(started)
    }
}

/// Whether a start came to nothing because the reader wanted it so.
pub fn is_stopped(failure: &Failure) -> bool {
    failure.code == 130
}

/// Lines of one kind that are shown of what has changed: a new root makes some hundred.
const MOST: usize = 8;

struct Walk {
    asks: bool,
    /// What would end this process is an answer, too.
    signals: OwnedFd,
    /// The step that was let on last.
    at: Option<usize>,
    phase: Option<Phase>,
    /// What was to be seen before it.
    facts: Vec<Fact>,
    failure: Option<Failure>,
    id: String,
}

impl Walk {
    /// Shows what the last step did, then the next; whether it may be done.
    fn next(&mut self, plan: &Plan, number: usize, pid: i32) -> Result<bool, Failure> {
        if self.at.is_none() {
            self.facts = walk::seen(plan, pid);
            let name = printable(&plan.name);
            print(&format!(
                "The container '{name}' in {} steps. What a shell would need first:\n\n",
                plan.len()
            ))?;
            print(&format!("     $ ID={}\n     $ {}\n", self.id, KEPT))?;
        } else {
            self.show(walk::seen(plan, pid), pid, plan)?;
            if self.at == Some(CLONE) {
                print(&format!("\n     $ PID={pid}\n"))?;
            }
        }
        self.at = Some(number);
        let (phase, shell) = part(plan, number);
        if phase != self.phase {
            self.phase = phase;
            print(&format!("\n== {} ==\n", phase.map_or("the clone", heading)))?;
        }
        let count = if number == CLONE { String::new() } else { format!("{number}/{}", plan.len()) };
        self.say(&count, &shell)?;
        if !self.asks {
            let mut wait = [rustix::event::PollFd::new(&self.signals, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            return Ok(!matches!(rustix::event::poll(&mut wait, Some(&now)), Ok(1)));
        }
        let hint = "[Enter] does it; c does all the rest; q takes back what was done";
        match page::ask(hint, Some(self.signals.as_fd()), None)? {
            Answer::Quit => return Ok(false),
            Answer::Rest => self.asks = false,
            Answer::Enter | Answer::Done => {}
        }
        Ok(true)
    }

    /// One side of what has changed, a line each.
    fn lines(&self, pairs: &[Pair], value: fn(&Pair) -> &String) -> Vec<String> {
        let one = |pair: &Pair| match pair.fact.group {
            PATHS => value(pair).clone(),
            _ => format!("{}: {}", pair.fact.name, value(pair)),
        };
        let all = pairs.iter().filter(|pair| !value(pair).is_empty());
        let mut all: Vec<String> = all.map(|pair| self.short(&printable(&one(pair)))).collect();
        let more = all.len().saturating_sub(MOST);
        if more > 1 {
            all.truncate(MOST);
            all.push(format!("… and {more} more"));
        }
        all
    }

    /// With the container's id as a variable: 64 digits say nothing.
    fn short(&self, text: &str) -> String {
        text.replace(&self.id, "$ID")
    }

    fn say(&self, count: &str, shell: &Shell) -> Result<(), Failure> {
        let man = if shell.man.is_empty() { String::new() } else { format!("  ({})", shell.man) };
        print("\n")?;
        page::heading(count, &self.short(&format!("{}{man}", printable(&shell.why))))?;
        let mut lines: Vec<(bool, String)> = Vec::new();
        lines.extend(shell.wrap.map(|command| (false, format!("{command} …"))));
        // The end of what a command is given as its input.
        let mut end: Option<String> = None;
        for line in shell.lines.iter().flat_map(|text| text.lines()) {
            let goes_on = end.is_some() || line.starts_with(' ') || line == "done";
            if end.as_deref() == Some(line) {
                end = None;
            } else if let Some((_, word)) = line.split_once("<<'") {
                end = word.split('\'').next().map(str::to_owned);
            }
            lines.push((goes_on, self.short(&printable(line))));
        }
        page::commands(lines.iter().map(|(goes_on, line)| (*goes_on, line.as_str())))?;
        if !shell.note.is_empty() {
            let word = if shell.fidelity == Fidelity::Near { "near" } else { "note" };
            print(&format!("     # {word}: {}\n", shell.note))?;
        }
        match shell.fidelity == Fidelity::Comment && shell.wrap.is_none() {
            true => print("     # no command does this\n"),
            false => Ok(()),
        }
    }

    /// The program runs.
    fn end(&mut self, plan: &Plan, pid: i32) -> Result<(), Failure> {
        let facts = walk::seen(plan, pid);
        // Of one that is waited for, nothing is left to read.
        match std::fs::read_link(format!("/proc/{pid}/exe")) {
            Ok(_) => self.show(facts, pid, plan)?,
            Err(_) => print("\n     (it has ended already: nothing of it can be seen)\n")?,
        }
        print(&format!("\nThe program is process {pid} of this machine.\n\n"))
    }

    fn show(&mut self, mut now: Vec<Fact>, pid: i32, plan: &Plan) -> Result<(), Failure> {
        let mut before = std::mem::replace(&mut self.facts, now.clone());
        if self.at == Some(CLONE) {
            // All of it is new. What is worth seeing is where it is apart from us.
            let ours = engine::look::facts::of(std::process::id().cast_signed()).unwrap_or_default();
            before = ours;
            for facts in [&mut before, &mut now] {
                facts.retain(|fact| fact.group == "namespaces");
            }
        }
        let mut changed: Vec<_> = pairs(before, now).into_iter().filter(|pair| !pair.is_equal()).collect();
        let nothing = changed.is_empty();
        while let Some(first) = changed.first().map(|pair| pair.fact.clone()) {
            let same = |pair: &Pair| {
                pair.fact.group == first.group && (first.group != PATHS || pair.fact.name == first.name)
            };
            let (these, others): (Vec<_>, Vec<_>) = changed.into_iter().partition(same);
            let more = if these.iter().any(|pair| pair.fact.by_hand != first.by_hand) { ", …" } else { "" };
            let how = format!("{}{more}", first.by_hand.replace("$PID", &pid.to_string()));
            let lines = |value: fn(&Pair) -> &String| self.lines(&these, value);
            page::changes(&self.short(&how), &lines(|pair| &pair.left), &lines(|pair| &pair.right))?;
            changed = others;
        }
        if nothing {
            let later = self.at.is_some_and(|at| part(plan, at).1.later);
            print(match later {
                true => "\n     (nothing to be seen yet: a mount without a place has no name)\n",
                false => "\n     (nothing has changed that can be seen from outside)\n",
            })?;
        }
        Ok(())
    }
}

/// What is done at that number of the plan. The clone is in none of the lists.
fn part(plan: &Plan, number: usize) -> (Option<Phase>, Shell) {
    if number == CLONE {
        return (None, clone_shell(plan));
    }
    let step: Option<(Phase, &Step)> = plan.steps().nth(number - 1);
    step.map_or_else(|| (Some(Phase::Exec), program_shell(plan)), |(phase, step)| (Some(phase), step.shell()))
}
