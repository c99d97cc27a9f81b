//! Hooks: programs that the caller wants to be run at a point of a container's life. See the OCI runtime
//! specification, config.md, "POSIX-platform Hooks".

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::process::{self, Side, Strings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Runs a program of the caller's and waits for it; its standard input is the container's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHook {
    /// `createRuntime`, …
    pub kind: Text,
    pub path: Text,
    pub argv: Strings,
    pub env: Strings,
    /// Seconds.
    pub timeout: Option<u64>,
    /// `CLONE_NEW…` of the container's namespaces that it runs in; 0: on the host.
    pub namespaces: u64,
    /// The state as JSON; the process id is filled in.
    pub state: String,
}

impl RunHook {
    pub fn perform(&self, live: &Live) -> Outcome {
        self.run(live.pid.get())
    }

    /// Runs it for the container whose first process is `pid` (0: it is gone).
    pub fn run(&self, pid: i32) -> Outcome {
        self.run_in(pid, &[])
    }

    /// The same, in the namespaces that are held, the user namespace first; where there are none, in those of the process.
    pub fn run_in(&self, pid: i32, held: &[OwnedFd]) -> Outcome {
        let mut state: serde_json::Value =
            serde_json::from_str(&self.state).map_err(|_| Failure::new(Errno::INVAL, "state"))?;
        if pid != 0 {
            state["pid"] = pid.into();
        }
        let stdin = in_memory(state.to_string().as_bytes())?;
        let there = if self.namespaces == 0 {
            None
        } else {
            let pid = rustix::process::Pid::from_raw(pid).ok_or(Errno::SRCH)?;
            Some(pidfd_open(pid, PidfdFlags::empty()).map_err(|e| Failure::new(e, "pidfd_open"))?)
        };
        let child = match process::fork().map_err(|e| Failure::new(e, "fork"))? {
            Side::Parent { pidfd, .. } => pidfd,
            Side::Child => process::exit(self.child(stdin.as_fd(), there.as_ref(), held)),
        };
        self.wait(&child)
    }

    /// In a process of its own; answers its exit code.
    fn child(&self, stdin: BorrowedFd<'_>, there: Option<&OwnedFd>, held: &[OwnedFd]) -> i32 {
        let _ = process::die_with_parent(9);
        process::block_all_signals(false);
        process::default_signals();
        // What it says is the caller's to read, but not the caller's answer.
        if rustix::stdio::dup2_stdin(stdin).is_err()
            || rustix::stdio::dup2_stdout(rustix::stdio::stderr()).is_err()
            || process::close_on_exec_from(3).is_err()
        {
            return 126;
        }
        let Some(there) = there else {
            let errno = process::execve(self.path.as_c(), &self.argv, &self.env);
            return if errno == Errno::NOENT { 127 } else { 126 };
        };
        let join = || match held {
            [] => process::set_namespace(there, self.namespaces),
            held => held.iter().try_for_each(|fd| process::set_namespace(fd, 0)),
        };
        if process::set_dumpable(false).and_then(|()| join()).is_err() {
            return 125;
        }
        if self.namespaces & process::CLONE_NEWUSER != 0
            && process::set_groups(&[]).and_then(|()| process::set_ids(0, 0)).is_err()
        {
            return 125;
        }
        // A pid namespace is that of children only.
        match process::fork() {
            Ok(Side::Parent { pidfd, .. }) => loop {
                match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
                    Ok(Some(status)) => return status.exit_status().unwrap_or(128 + 9),
                    Err(Errno::INTR) => {}
                    _ => return 125,
                }
            },
            Ok(Side::Child) => {
                let _ = process::die_with_parent(9);
                let errno = process::execve(self.path.as_c(), &self.argv, &self.env);
                process::exit(if errno == Errno::NOENT { 127 } else { 126 })
            }
            Err(_) => 125,
        }
    }

    fn wait(&self, child: &OwnedFd) -> Outcome {
        let deadline = self.timeout.map(|s| Instant::now() + Duration::from_secs(s));
        loop {
            let rest = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            let rest = rest.map(|r| Timespec {
                tv_sec: r.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: i64::from(r.subsec_nanos()),
            });
            match poll(&mut [PollFd::new(child, PollFlags::IN)], rest.as_ref()) {
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
                Ok(0) => {
                    let _ = pidfd_send_signal(child, Signal::KILL);
                    let _ = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED);
                    return Err(Failure::new(Errno::TIME, "the hook took too long"));
                }
                Ok(_) => break,
            }
        }
        let status = waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED)?;
        match status.and_then(|s| s.exit_status()) {
            Some(0) => Ok(()),
            Some(127) => Err(Failure::new(Errno::NOENT, "the hook")),
            Some(126) => Err(Failure::new(Errno::ACCESS, "the hook")),
            Some(code) => Err(Failure::new(Errno::CANCELED, leak(format!("exit status {code}")))),
            None => Err(Failure::new(Errno::CANCELED, "the hook was killed")),
        }
    }

    pub fn shell(&self) -> Shell {
        let words: Vec<String> = self.argv.iter().skip(1).map(quote).collect();
        let env: String = self.env.iter().map(|e| format!("{} ", quote(e))).collect();
        let program = format!("env -i {env}{} {}", quote(self.path.as_str()), words.join(" "));
        let program = match (self.timeout, self.namespaces) {
            (Some(seconds), 0) => format!("timeout {seconds} {program}"),
            (None, 0) => program,
            (_, _) => format!("nsenter -t $PID -a {program}"),
        };
        let state = quote(&self.state).replace("\"pid\":0", "\"pid\":'$PID'");
        Shell::exact(
            format!("printf %s {state} | {}", program.trim_end()),
            format!("the {} hook", self.kind),
            "config.md of the OCI runtime specification",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("hook", self.path.as_str(), self.kind.as_str());
    }
}

/// A note of a failure lives as long as the program: there is one of these in the life of a process.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A file of no name, to be read from its beginning: unlike a pipe it never makes anybody wait.
fn in_memory(mut bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = rustix::fs::memfd_create(c"state", rustix::fs::MemfdFlags::CLOEXEC)?;
    while !bytes.is_empty() {
        bytes = &bytes[rustix::io::write(&file, bytes)?..];
    }
    rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(argv: &[&str], timeout: Option<u64>) -> RunHook {
        RunHook {
            kind: "poststop".into(),
            path: argv[0].into(),
            argv: Strings::new(argv),
            env: Strings::new(["PATH=/bin:/usr/bin"]),
            timeout,
            namespaces: 0,
            state: r#"{"id":"x","pid":0}"#.to_owned(),
        }
    }

    #[test]
    fn a_hook_reads_the_state_and_its_end_is_told() {
        let script = r#"read -r line; [ "$line" = '{"id":"x","pid":7}' ]"#;
        // The reader sees the end of the text: `read` fails without a newline, and has the line all the same.
        assert_eq!(hook(&["/bin/sh", "-c", script], None).run(7), Ok(()));
        let failed = hook(&["/bin/sh", "-c", "exit 3"], None).run(7).unwrap_err();
        assert_eq!((failed.errno, failed.note), (Errno::CANCELED, "exit status 3"));
        assert_eq!(hook(&["/no/such"], None).run(7).unwrap_err().errno, Errno::NOENT);
        assert_eq!(hook(&["/bin/true"], Some(5)).run(7), Ok(()));
    }

    #[test]
    fn a_hook_that_takes_too_long_is_ended() {
        let start = Instant::now();
        let failed = hook(&["/bin/sleep", "100"], Some(1)).run(7).unwrap_err();
        assert_eq!(failed.errno, Errno::TIME);
        assert!(start.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_hook_as_a_shell_says_it() {
        assert_eq!(
            hook(&["/bin/sh", "-c", "exit 3"], Some(2)).shell().lines,
            [
                r#"printf %s '{"id":"x","pid":'$PID'}' | timeout 2 env -i PATH=/bin:/usr/bin /bin/sh -c 'exit 3'"#
            ]
        );
    }
}
