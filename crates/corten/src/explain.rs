//! `--explain`: a plan as something to read (text), to run (sh) or to work on (json).

mod acts;
mod brief;

pub use acts::{ExplainArg, show as show_acts};

use serde_json::{Value, json};
use std::fmt::Write;
use std::io::IsTerminal;
use steps::{Fidelity, Phase, Plan, Shell};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Sh,
    Json,
}

impl Form {
    pub fn parse(word: &str) -> Result<Form, String> {
        match word {
            "text" => Ok(Form::Text),
            "sh" | "shell" | "bash" => Ok(Form::Sh),
            "json" => Ok(Form::Json),
            _ => Err(format!("invalid argument \"{word}\" for \"--explain\" flag: use text, sh or json")),
        }
    }
}

fn paint() -> &'static Paint {
    let colours =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if colours { &COLOURED } else { &PLAIN }
}

/// The plan in that form, with colours where a person sees them.
pub fn show(plan: &Plan, form: Form) -> String {
    match form {
        Form::Sh => steps::script(plan),
        Form::Json => format!("{:#}\n", as_json(plan)),
        Form::Text => as_text(plan, paint()),
    }
}

/// The end of one life and the beginning of the next.
pub fn show_restart(title: &str, stop: &[Shell], plan: &Plan, form: Form) -> String {
    match form {
        Form::Json => format!("{:#}\n", json!({ "stop": acts::as_json(stop), "start": as_json(plan) })),
        form => format!("{}\n{}", acts::show(title, stop, form), show(plan, form)),
    }
}

/// Escape sequences, or nothing.
struct Paint {
    heading: &'static str,
    why: &'static str,
    number: &'static str,
    command: &'static str,
    note: &'static str,
    end: &'static str,
}

const PLAIN: Paint = Paint { heading: "", why: "", number: "", command: "", note: "", end: "" };
const COLOURED: Paint = Paint {
    heading: "\x1b[1m",
    why: "\x1b[0m",
    number: "\x1b[2m",
    command: "\x1b[36m",
    note: "\x1b[33m",
    end: "\x1b[0m",
};

/// Where a shell keeps mounts that have no place yet, and what its two sides wait for each other by.
pub const KEPT: &str = "T=$(mktemp -d); mkdir $T/t; mkfifo $T/go1 $T/go2";

fn as_text(plan: &Plan, p: &Paint) -> String {
    let (mut names, steps) = brief::shorten(&steps_as_text(plan, p));
    if steps.contains("$T/") {
        names.push(KEPT.to_owned());
    }
    let mut out = format!(
        "{}The container '{}' in {} steps.{} Nothing of this has been done.\n",
        p.heading,
        printable(&plan.name),
        plan.len(),
        p.end
    );
    out.push_str(&name_lines(&names, p));
    out + &steps
}

/// What stands for long ids, and their values, as a shell takes them.
fn name_lines(names: &[String], p: &Paint) -> String {
    let mut out = String::new();
    if !names.is_empty() {
        let _ = writeln!(out, "\n{}names, in what follows{}", p.heading, p.end);
    }
    names.iter().for_each(|name| _ = writeln!(out, "     {}{name}{}", p.command, p.end));
    out
}

fn steps_as_text(plan: &Plan, p: &Paint) -> String {
    let mut out = String::new();
    let total = plan.len();
    let mut phase = None;
    for (number, of, _, shell) in steps::numbered(plan) {
        if phase != Some(of) {
            if of == Phase::Inside || (phase == Some(Phase::Host) && of != Phase::Host) {
                clone_line(&mut out, plan, p, phase);
            }
            let _ = writeln!(out, "\n{}{}{}", p.heading, heading(of), p.end);
            phase = Some(of);
        }
        step(&mut out, number, &shell, p);
    }
    let _ = writeln!(out, "\n{}{}{}", p.heading, heading(Phase::Exec), p.end);
    step(&mut out, total, &program_shell(plan), p);
    out
}

/// The clone stands between the host's two lists; it is no step, because it makes the process that takes the others.
fn clone_line(out: &mut String, plan: &Plan, p: &Paint, before: Option<Phase>) {
    if before == Some(Phase::Host) || before.is_none() {
        let shell = clone_shell(plan);
        let _ = writeln!(out, "\n{}the clone{}", p.heading, p.end);
        let _ = writeln!(out, "     {}{}{}  {}{}{}", p.why, shell.why, p.end, p.number, shell.man, p.end);
        let _ = writeln!(out, "     {}{}{}", p.command, shell.brief(), p.end);
    }
}

pub fn clone_shell(plan: &Plan) -> Shell {
    let command = format!("{}unshare {}", steps::nsenter(plan), steps::unshare_flags(plan));
    let why = "the container's first process is born into new namespaces";
    Shell::exact(command, why, "clone(2) namespaces(7)")
}

pub fn program_shell(plan: &Plan) -> Shell {
    Shell::exact(plan.exec.shell_line(), "become the program", "execve(2)")
}

pub fn heading(phase: Phase) -> &'static str {
    match phase {
        Phase::Host => "on the host, before the container exists",
        Phase::Joined => "on the host, as soon as its first process is there",
        Phase::Inside => "inside the container",
        Phase::Exec => "at last",
    }
}

fn step(out: &mut String, number: usize, shell: &Shell, p: &Paint) {
    let why = printable(&shell.why);
    let _ = write!(out, "{}{number:>4}{} {}{why}{}", p.number, p.end, p.why, p.end);
    let man =
        if shell.man.is_empty() { String::new() } else { format!("  {}{}{}", p.number, shell.man, p.end) };
    let _ = writeln!(out, "{man}");
    if let Some(command) = shell.wrap {
        let _ = writeln!(out, "     {}{command} …{}", p.command, p.end);
    }
    for line in shell.lines.iter().flat_map(|lines| lines.lines()) {
        let _ = writeln!(out, "     {}{}{}", p.command, printable(line), p.end);
    }
    if !shell.note.is_empty() {
        let word = if shell.fidelity == Fidelity::Near { "near" } else { "note" };
        let _ = writeln!(out, "     {}# {word}: {}{}", p.note, shell.note, p.end);
    }
}

/// What comes from an image or a flag must not speak to the terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '?' } else { c }).collect()
}

pub fn as_json(plan: &Plan) -> Value {
    let steps: Vec<Value> = steps::numbered(plan)
        .into_iter()
        .map(|(number, phase, step, shell)| {
            json!({
                "number": number,
                "phase": phase_name(phase),
                "name": step.name(),
                "shell": shell.lines,
                "wrap": shell.wrap,
                "why": shell.why,
                "man": shell.man,
                "fidelity": shell.fidelity,
                "note": shell.note,
            })
        })
        .chain([json!({
            "number": plan.len(),
            "phase": "exec",
            "name": "Exec",
            "shell": [plan.exec.shell_line()],
            "wrap": null,
            "why": "become the program",
            "man": "execve(2)",
            "fidelity": "exact",
            "note": "",
        })])
        .collect();
    json!({ "name": plan.name, "clone": format!("unshare {}", steps::unshare_flags(plan)), "steps": steps })
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Host => "host",
        Phase::Joined => "joined",
        Phase::Inside => "inside",
        Phase::Exec => "exec",
    }
}
