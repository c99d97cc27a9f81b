//! The commands of lessons, run by bash: what is taught are other people's programs, so this is the one module here that starts some.

use std::process::{Command, ExitStatus, Stdio};

/// What every command of a lesson knows.
#[derive(Debug, Clone)]
pub struct Shell {
    /// The data root and the state directory, for commands of corten's own.
    pub root: std::path::PathBuf,
    pub state: std::path::PathBuf,
}

impl Shell {
    fn bash(&self, script: &str) -> Command {
        // `corten` is this program, wherever it lies and whatever it is called.
        let program = std::env::current_exe().unwrap_or_else(|_| "corten".into());
        let program = program.display().to_string().replace('\'', "'\\''");
        let mut bash = Command::new("bash");
        bash.arg("-c").arg(format!("corten() {{ '{program}' \"$@\"; }}\n{script}"));
        bash.env("CORTEN_ROOT", &self.root).env("CORTEN_STATE", &self.state).stdin(Stdio::null());
        bash
    }

    /// With its output where ours goes.
    pub fn run(&self, script: &str) -> std::io::Result<ExitStatus> {
        self.bash(script).status()
    }

    /// Whether it succeeds; what it says is nobody's business.
    pub fn succeeds(&self, script: &str) -> bool {
        let status = self.bash(script).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }

    /// What it prints.
    pub fn output(&self, script: &str) -> String {
        let output = self.bash(script).stderr(Stdio::null()).output();
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
