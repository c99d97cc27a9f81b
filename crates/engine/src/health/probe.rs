//! One probe: a process of its own, a child of the monitor, runs the check's program in the container and reports.
//!
//! The monitor can't do that itself: whoever has joined the container's pid namespace has its children there from then on.

use super::{Check, OUTPUT};
use crate::{Container, Engine, Error, ExecSettings, Result};
use kernel::process::{self, Side};
use runtime::Stdio;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A probe that is on its way.
#[derive(Debug)]
pub(super) struct Running {
    helper: OwnedFd,
    /// Its one message comes here; when it is closed the helper kills the program and ends.
    pub report: OwnedFd,
}

/// The program's exit code and what it wrote; −1 and the cause when there is none.
type Said = (i32, String);

/// How long the helper and a killed program may take to end.
const END: Duration = Duration::from_secs(5);

impl Running {
    pub fn start(
        engine: &Engine,
        container: &Container,
        check: &Check,
    ) -> std::result::Result<Running, Errno> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        match process::fork()? {
            Side::Parent { pidfd, .. } => Ok(Running { helper: pidfd, report: ours }),
            Side::Child => {
                // The container's ports, its log, its terminal: all of the monitor's hands but this one.
                let _ = process::close_all_but(3, [theirs.as_raw_fd(), -1]);
                process::set_name(c"corten-health");
                let done = catch_unwind(AssertUnwindSafe(|| help(engine, container, check, &theirs)));
                process::exit(i32::from(done.is_err()))
            }
        }
    }

    /// What it says; to be asked when `report` can be read.
    pub fn finish(self) -> Said {
        let mut buffer = vec![0; 4 + OUTPUT + 256];
        let said = match rustix::net::recv(&self.report, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((n, _)) if n >= 4 => {
                let code = i32::from_le_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
                (code, String::from_utf8_lossy(&buffer[4..n]).into_owned())
            }
            _ => (-1, "the health check ended without a word".to_owned()),
        };
        self.stop();
        said
    }

    /// Ends it, when it has not; nothing of it is left.
    pub fn stop(self) {
        drop(self.report);
        if !ends(&self.helper, END + Duration::from_secs(1)) {
            let _ = process::send_signal(&self.helper, 9);
        }
        let _ = waitid(WaitId::PidFd(self.helper.as_fd()), WaitIdOptions::EXITED);
    }
}

/// The helper's life.
fn help(engine: &Engine, container: &Container, check: &Check, report: &OwnedFd) {
    let (code, text) = match run(engine, container, check, report) {
        Ok(said) => said,
        Err(error) => (-1, error.to_string()),
    };
    let mut message = code.to_le_bytes().to_vec();
    message.extend_from_slice(text.as_bytes());
    message.truncate(4 + OUTPUT + 256);
    let _ = rustix::net::send(report, &message, SendFlags::NOSIGNAL);
}

fn run(engine: &Engine, container: &Container, check: &Check, report: &OwnedFd) -> Result<Said> {
    let what = ExecSettings { argv: check.argv.clone(), ..ExecSettings::default() };
    let (read, launched) = engine.enter(container, &what, |enter, owner, agent| {
        let failed = |e: Errno| Error::io("cannot make a", "pipe", e);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
        let _ = rustix::fs::fchown(&write, Some(rustix::fs::Uid::from_raw(owner)), None);
        let second = rustix::io::fcntl_dupfd_cloexec(&write, 3).map_err(failed)?;
        let stdio = Stdio::Given([crate::exec::null()?, write, second]);
        Ok((read, runtime::enter(enter, stdio, agent)?))
    })?;
    let _ = rustix::io::ioctl_fionbio(&read, true);
    Ok(follow(&read, &launched.pidfd, check.timeout, report))
}

/// The program's output until it has ended, but no longer than its time, and no longer than the monitor wants to know.
fn follow(output: &OwnedFd, program: &OwnedFd, time: Duration, report: &OwnedFd) -> Said {
    let deadline = Instant::now() + time;
    let mut text = Output::default();
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = crate::monitor::timespec(left);
        let mut fds = vec![PollFd::new(program, PollFlags::IN), PollFd::new(report, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        let ready = match poll(&mut fds, Some(&limit)) {
            Err(Errno::INTR) => continue,
            Err(_) => 0,
            Ok(n) => n,
        };
        let [ended, gone] = [0, 1].map(|at: usize| !fds[at].revents().is_empty());
        open = open && text.read(output);
        if ended {
            return (exit_code(program), text.end());
        }
        if ready == 0 || gone {
            let _ = process::send_signal(program, 9);
            ends(program, END);
            let mut said = format!("Health check exceeded timeout ({})", go_duration(time));
            let wrote = text.end();
            if !wrote.is_empty() {
                said = format!("{said}: {wrote}");
            }
            return (-1, said);
        }
    }
}

/// The beginning of a program's output.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    more: bool,
}

impl Output {
    /// All that is there now; `false` at its end.
    fn read(&mut self, from: &OwnedFd) -> bool {
        let mut buffer = [0; 4096];
        // One who writes without an end is cut short by its time.
        for _ in 0..64 {
            match rustix::io::read(from, &mut buffer) {
                Ok(0) => return false,
                Ok(n) => {
                    let taken = n.min(OUTPUT - self.bytes.len());
                    self.bytes.extend_from_slice(&buffer[..taken]);
                    self.more |= taken < n;
                }
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
        }
        true
    }

    fn end(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.more {
            text.push_str("...");
        }
        text
    }
}

fn exit_code(program: &OwnedFd) -> i32 {
    match waitid(WaitId::PidFd(program.as_fd()), WaitIdOptions::EXITED) {
        Ok(Some(status)) => {
            status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0))
        }
        _ => -1,
    }
}

/// Whether a process ends within this time.
fn ends(pidfd: &OwnedFd, time: Duration) -> bool {
    let limit = crate::monitor::timespec(time);
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok_and(|n| n > 0),
        }
    }
}

/// As Go prints durations: `1m30s`, `2.5s`, `300ms`.
fn go_duration(time: Duration) -> String {
    let nanos = time.as_nanos();
    if nanos < 1_000_000_000 {
        return format!("{}ms", time.as_secs_f64() * 1e3);
    }
    let seconds = (nanos % 60_000_000_000) as f64 / 1e9;
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (millis, text) in
            [(300, "300ms"), (2500, "2.5s"), (30_000, "30s"), (90_000, "1m30s"), (3_600_000, "1h0m0s")]
        {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }
}
