//! The program, its environment, and where it is looked for.

use super::Lists;
use crate::{Process, Spec};
use kernel::process::Strings;
use steps::{Content, Credentials, Exec, MemoryFile, OpenProc, RaiseLimits, Schedule, Slot, Text};

/// Used where the environment has no `PATH`.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The init of `--init`, from init/init.rs. Called by a path that ends in [`WAIT`], it only waits to be looked at.
pub const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

pub const WAIT: &str = "/.corten-wait";

pub(super) fn plan(lists: &mut Lists, spec: &Spec, slave: Option<Slot>) -> Exec {
    let process = &spec.process;
    let init = process.init.then(|| lists.slot());
    if let Some(slot) = init {
        let (name, content) = ("corten-init".into(), Content(INIT.into()));
        let instead = "tini-static docker-init".into();
        lists.host.push(MemoryFile { slot, name, content, instead }.into());
    }
    let proc = labelled(&process.credentials).then(|| lists.slot());
    if let Some(slot) = proc {
        lists.host.push(OpenProc { slot }.into());
    }
    Exec { terminal: slave, init, proc, ..exec(process) }
}

/// The command line that becomes that process, from the directory that will be its root.
pub fn program_by_hand(process: &Process) -> String {
    exec(process).shell_line()
}

/// What a process becomes that needs nothing of the plan.
pub(crate) fn exec(process: &Process) -> Exec {
    // Where Docker's stands, so that a list of processes reads the same.
    let before: &[&str] = if process.init { &["/sbin/corten-init", "--"] } else { &[] };
    let no_home = process.env.iter().all(|e| !e.starts_with("HOME="));
    Exec {
        credentials: process.credentials.clone(),
        cwd: if process.cwd.is_empty() { "/".into() } else { process.cwd.as_str().into() },
        candidates: candidates(&process.argv, &process.env),
        argv: Strings::new(before.iter().copied().chain(process.argv.iter().map(String::as_str))),
        env: Strings::new(&process.env),
        home: (process.home && no_home).then_some(process.credentials.uid),
        affinity: process.affinity.clone(),
        ..Exec::default()
    }
}

/// Whether something is written through the host's proc.
pub(crate) fn labelled(credentials: &Credentials) -> bool {
    !credentials.labels.is_empty() || credentials.keyring.as_ref().is_some_and(|k| k.label.is_some())
}

/// What only the host's side may give the first process: by the time when it is told to go on.
pub(super) fn privileges(lists: &mut Lists, spec: &Spec) {
    let process = &spec.process;
    let own_user = !spec.ids.is_empty() || super::joins_user(spec);
    if own_user && !process.credentials.limits.is_empty() {
        lists.joined.push(RaiseLimits { limits: process.credentials.limits.clone() }.into());
    }
    if let Some(scheduler) = process.scheduler {
        lists.joined.push(Schedule { scheduler }.into());
    }
    if let Some(priority) = &process.io_priority {
        lists.joined.push(priority.clone().into());
    }
}

/// As execvp(3): a word with a slash is a path, any other is looked for in `PATH`.
pub(crate) fn candidates(argv: &[String], env: &[String]) -> Vec<Text> {
    let Some(word) = argv.first().filter(|w| !w.is_empty()) else { return Vec::new() };
    if word.contains('/') {
        return vec![word.as_str().into()];
    }
    let path = env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(PATH);
    let join = |dir: &str| Text::from(if dir.is_empty() { word.clone() } else { format!("{dir}/{word}") });
    path.split(':').map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn programs_are_looked_for_as_a_shell_does() {
        let of = |word: &str, env: &[&str]| {
            let env: Vec<String> = env.iter().map(|s| (*s).to_owned()).collect();
            candidates(&[word.to_owned()], &env).iter().map(|t| t.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("./x", &["PATH=/bin"]), ["./x"]);
        assert_eq!(of("sh", &["PATH=/a:/b"]), ["/a/sh", "/b/sh"]);
        assert_eq!(of("sh", &[])[5], "/bin/sh");
        assert!(candidates(&[], &[]).is_empty());
    }

    #[test]
    fn the_init_ends_as_its_program() {
        let path = std::env::temp_dir().join(format!("corten-init-{}", std::process::id()));
        std::fs::write(&path, INIT).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let run = |words: &[&str]| {
            let output = Command::new(&path).arg("--").args(words).env("PATH", "/no:/bin").output().unwrap();
            (output.status.into_raw() >> 8, String::from_utf8(output.stderr).unwrap())
        };
        assert_eq!(run(&["sh", "-c", "exit 7"]).0, 7);
        assert_eq!(run(&["sh", "-c", "kill -9 $$"]).0, 137);
        let (code, said) = run(&["nosuch"]);
        assert_eq!(
            (code, said.as_str()),
            (127, "corten-init: cannot run nosuch: no such file or directory\n")
        );
        assert_eq!(run(&["/no/such"]).0, 127);
        assert_eq!(run(&["/etc"]).0, 126);
        // A signal of any kind goes to the program.
        let mut child = Command::new(&path).args(["--", "sleep", "100"]).spawn().unwrap();
        let comm = format!("/proc/{}/task/{0}/children", child.id());
        while std::fs::read_to_string(&comm).unwrap().is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::USR2).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + 12));
        std::fs::remove_file(&path).unwrap();
    }
}
