//! `process`: what runs, as whom, with which rights; in `config.json` and in the file of `exec --process`.

use super::Config;
use crate::Process;

/// The program of a container or of an `exec`. `seccomp` is `linux.seccomp`, compiled.
pub fn process(from: &oci_spec::runtime::Process) -> Config<Process> {
    Ok(Process {
        argv: from.args().clone().unwrap_or_default(),
        env: from.env().clone().unwrap_or_default(),
        cwd: from.cwd().to_string_lossy().into_owned(),
        terminal: from.terminal().unwrap_or_default(),
        ..Process::default()
    })
}
