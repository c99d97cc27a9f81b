//! Commands for a container: this binary again, as if they had been typed.

use crate::cli::Context;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};

/// The file that was started, whatever its name leads to by now.
const SELF: &str = "/proc/self/exe";

/// Those that run beside the dashboard.
#[derive(Debug)]
pub struct Commands {
    directories: [std::path::PathBuf; 2],
    running: Vec<(String, Child)>,
}

impl Commands {
    pub fn of(context: &Context) -> Commands {
        Commands { directories: [context.root.clone(), context.state.clone()], running: Vec::new() }
    }

    fn command(&self, words: &[String]) -> Command {
        let [root, state] = &self.directories;
        let mut command = Command::new(SELF);
        command.arg("--root").arg(root).arg("--state").arg(state).args(words);
        command
    }

    pub fn start(&mut self, words: &[String]) -> io::Result<()> {
        let mut command = self.command(words);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        self.running.push((words.join(" "), child));
        Ok(())
    }

    /// Gives one the terminal until it ends; what is to be said of it then.
    pub fn enter(&self, words: &[String]) -> io::Result<String> {
        let status = self.command(words).status()?;
        Ok(match status.code() {
            Some(0) | None => String::new(),
            Some(code) => format!("{} exited with {code}", words.join(" ")),
        })
    }

    /// What one that has ended says, if one has: its error, or that it is done.
    pub fn ended(&mut self) -> Option<String> {
        let at = self.running.iter_mut().position(|(_, child)| !matches!(child.try_wait(), Ok(None)))?;
        let (words, mut child) = self.running.swap_remove(at);
        let mut error = String::new();
        let failed = !child.wait().is_ok_and(|status| status.success());
        if failed && let Some(mut stderr) = child.stderr.take() {
            // It has ended: nothing is to come.
            let _ = stderr.read_to_string(&mut error);
        }
        let line = error.lines().next().unwrap_or("it failed").to_owned();
        Some(if failed { line } else { format!("{words}: done") })
    }

    /// Those that still run are not left half-way.
    pub fn wait(&mut self) {
        for (_, child) in &mut self.running {
            let _ = child.wait();
        }
    }
}
