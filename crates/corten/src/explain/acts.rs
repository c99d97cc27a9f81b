//! `--explain` of commands that are no plans: what they do, one act after another.

use super::{Form, brief, name_lines, paint, step};
use crate::cli::{Failure, Outcome, print};
use clap::Args;
use serde_json::{Value, json};
use std::fmt::Write;
use steps::Shell;

/// The flag, for every command that changes something.
#[derive(Debug, Default, Args)]
pub struct ExplainArg {
    /// Print what would be done and do nothing: text, sh (a script) or json
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<String>,
}

impl ExplainArg {
    pub fn form(&self) -> Result<Option<Form>, Failure> {
        self.explain.as_deref().map(Form::parse).transpose().map_err(Failure::flag)
    }

    /// Says what a command would do, if that was asked for; `None` where it shall be done.
    pub fn instead(
        &self,
        title: &str,
        acts: impl FnOnce() -> Result<Vec<Shell>, Failure>,
    ) -> Option<Outcome> {
        let form = match self.form() {
            Ok(form) => form?,
            Err(failure) => return Some(Err(failure)),
        };
        Some(acts().and_then(|shells| print(&show(title, &shells, form))).map(|()| 0))
    }

    /// The same for a command that does something with each of its words.
    pub fn instead_of_each(
        &self,
        command: &str,
        words: &[String],
        acts: impl Fn(&str) -> Result<Vec<Shell>, Failure>,
    ) -> Option<Outcome> {
        let title = format!("corten {command} {}", words.join(" "));
        self.instead(&title, || {
            let all: Vec<Vec<Shell>> = words.iter().map(|word| acts(word)).collect::<Result<_, _>>()?;
            Ok(all.concat())
        })
    }
}

pub fn show(title: &str, shells: &[Shell], form: Form) -> String {
    match form {
        Form::Sh => steps::commands(title, shells),
        Form::Json => format!("{:#}\n", json!({ "command": title, "steps": as_json(shells) })),
        Form::Text => {
            let p = paint();
            let (mut out, mut all) = (String::new(), String::new());
            shells.iter().enumerate().for_each(|(index, shell)| step(&mut all, index + 1, shell, p));
            let (names, all) = brief::shorten(&all);
            let steps = if shells.len() == 1 { "step" } else { "steps" };
            let _ = writeln!(
                out,
                "{}'{}' in {} {steps}.{} Nothing of this has been done.",
                p.heading,
                super::printable(title),
                shells.len(),
                p.end
            );
            out + &name_lines(&names, p) + "\n" + &all
        }
    }
}

pub fn as_json(shells: &[Shell]) -> Vec<Value> {
    let one = |(index, shell): (usize, &Shell)| {
        json!({
            "number": index + 1,
            "shell": shell.lines,
            "why": shell.why,
            "man": shell.man,
            "fidelity": shell.fidelity,
            "note": shell.note,
        })
    };
    shells.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use crate::cli::every_command;

    /// Those that only look, or ask; and those whose work is to show and to do at once what is done by hand.
    const LOOK: &[&str] = &[
        "attach",
        "cgroup tree",
        "compare",
        "completion",
        "container attach",
        "container diff",
        "container inspect",
        "container logs",
        "container ls",
        "container port",
        "container stats",
        "container top",
        "container wait",
        "diff",
        "events",
        "explain",
        "history",
        "image history",
        "image inspect",
        "image ls",
        "image tree",
        "images",
        "info",
        "inspect",
        "lab",
        "layers",
        "logs",
        "manifest inspect",
        "map",
        "network inspect",
        "network ls",
        "ns ls",
        "port",
        "ps",
        "search",
        "stats",
        "system df",
        "system events",
        "system info",
        "system ui",
        "top",
        "ui",
        "version",
        "volume inspect",
        "volume ls",
        "wait",
        "why denied",
        "why exited",
        "why port",
        "why slow",
    ];

    #[test]
    fn every_command_that_changes_something_says_how() {
        let mut looks = Vec::new();
        for (name, definition) in every_command() {
            let long = |wanted: &str| definition.flags.get_arguments().any(|a| a.get_long() == Some(wanted));
            match (long("explain"), LOOK.contains(&name.as_str())) {
                (true, true) => panic!("'{name}' has --explain: it is no command that only looks"),
                (false, false) => panic!("'{name}' changes something and has no --explain"),
                (false, true) => looks.push(name),
                (true, false) => {}
            }
        }
        // Nobody is excused who is not there.
        assert_eq!(looks.len(), LOOK.len(), "{looks:?}");
    }
}
