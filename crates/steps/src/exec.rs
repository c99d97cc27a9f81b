//! The last step: the process becomes the container's program.

use crate::shell::quote;
use crate::{Credentials, Failure, Live, Slot, Text};
use kernel::process::Strings;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What the container's process becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    pub credentials: Credentials,
    pub cwd: Text,
    /// With `init`: its own name and `--` first.
    pub argv: Strings,
    pub env: Strings,
    /// The paths to try in turn: the word itself when it has a slash, else one for each directory of `PATH`.
    pub candidates: Vec<Text>,
    /// The slave that becomes the controlling terminal and the three standard descriptors.
    pub terminal: Option<Slot>,
    /// A descriptor of a small init that runs the program and reaps orphans (`--init`).
    pub init: Option<Slot>,
}

impl Exec {
    /// Rights, directory, program; returns only when something failed. Allocates nothing.
    pub fn perform(&self, live: &Live) -> Failure {
        let failed = |r: Result<(), Failure>| r.err();
        if let Some(f) = self.terminal.and_then(|slave| take_terminal(live, slave).err()) {
            return f;
        }
        if let Some(f) = failed(self.credentials.apply_limits()) {
            return f;
        }
        if let Some(f) = failed(self.credentials.apply()) {
            return f;
        }
        // As the user, so that a directory it may not enter is refused; and after the root is changed, so that a
        // descriptor of the host is not a directory (CVE-2024-21626).
        if let Err(e) = kernel::process::enter_directory(self.cwd.as_c()) {
            return Failure::new(e, "working directory");
        }
        if let Some(init) = self.init {
            return self.become_init(live, init);
        }
        let mut answer = Errno::NOENT;
        for path in &self.candidates {
            let e = kernel::process::execve(path.as_c(), &self.argv, &self.env);
            // As execvp(3): what is not there is passed over, what is there but may not run is remembered.
            match e {
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => answer = e,
                _ => return Failure::new(e, "exec"),
            }
        }
        Failure::new(answer, "exec")
    }

    fn become_init(&self, live: &Live, init: Slot) -> Failure {
        // A signal that comes before it listens would be lost: nothing stops a process 1 that has no handler.
        kernel::process::block_all_signals(true);
        match live.fd(init) {
            Ok(init) => Failure::new(kernel::process::execveat(init, &self.argv, &self.env), "exec the init"),
            Err(e) => Failure::new(e, "the init"),
        }
    }

    /// The command line that does the same.
    pub fn shell_line(&self) -> String {
        let env: Vec<String> = self.env.iter().map(quote).collect();
        let mut argv: Vec<String> = self.argv.iter().map(quote).collect();
        if let (Some(_), Some(name)) = (self.init, argv.first_mut()) {
            *name = format!("/proc/self/fd/{}", crate::memory::SHELL_FD);
        }
        let c = &self.credentials;
        let umask = c.umask.map_or(String::new(), |u| format!("umask {u:04o}; "));
        let host = |words: String| match words.split_once(' ') {
            Some((program, rest)) => format!("$(command -v {program}) {rest} "),
            None => String::new(),
        };
        // The user comes last: whoever is not root may not change the root.
        let user = if c.uid == 0 { String::new() } else { format!(" --setuid={}", c.uid) };
        // The host's programs go by their paths: the container's PATH is for the last word.
        format!(
            "{umask}exec env -i {} {}{}$(command -v unshare) --root=. --wd={}{user} {}",
            env.join(" "),
            host(c.prlimit().trim_end().to_owned()),
            host(c.setpriv()),
            quote(self.cwd.as_str()),
            argv.join(" ")
        )
    }
}

fn take_terminal(live: &Live, slave: Slot) -> Result<(), Failure> {
    let slave = live.fd(slave)?;
    kernel::pty::take_terminal(slave).map_err(|e| Failure::new(e, "controlling terminal"))?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    rustix::stdio::dup2_stderr(slave).map_err(Failure::from)
}
