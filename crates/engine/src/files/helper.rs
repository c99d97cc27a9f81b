//! A child that does one piece of work where it can do no harm, and tells how it went.

use crate::{Error, Result};
use kernel::process::{self, Side};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What it says, a line each; the last is `Done` or `Failed`.
#[derive(Debug, Serialize, Deserialize)]
enum Line<T> {
    Told(T),
    Done,
    Failed(String),
}

/// The child, from outside. Dropped before its end, it is killed.
#[derive(Debug)]
pub(crate) struct Helper {
    pidfd: OwnedFd,
    lines: BufReader<std::io::Take<File>>,
    ended: bool,
}

/// What the child speaks by.
pub(crate) struct Reporter(File);

impl Reporter {
    pub fn tell<T: Serialize>(&mut self, what: T) -> std::result::Result<(), String> {
        self.line(&Line::Told(what))
    }

    fn line<T: Serialize>(&mut self, line: &Line<T>) -> std::result::Result<(), String> {
        let mut text = serde_json::to_vec(line).map_err(|e| e.to_string())?;
        text.push(b'\n');
        self.0.write_all(&text).map_err(|e| e.to_string())
    }
}

/// Longest that is listened to, in bytes: it comes from where the container's files are read.
const MOST: u64 = 64 << 20;

impl Helper {
    /// Starts it. Of all descriptors it keeps `keep` and standard error. Errors of `work` are one line.
    pub fn start(
        keep: &[BorrowedFd<'_>],
        work: impl FnOnce(&mut Reporter) -> std::result::Result<(), String>,
    ) -> Result<Helper> {
        let failed = |e| Error::io("cannot start", "a process beside the container", e);
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
        match process::clone(0, None).map_err(failed)? {
            Side::Child => child(keep, write, work),
            Side::Parent { pidfd, .. } => {
                let lines = BufReader::new(File::from(read).take(MOST));
                Ok(Helper { pidfd, lines, ended: false })
            }
        }
    }

    /// The next thing that it tells; `None` when it is done.
    pub fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Result<Option<T>> {
        let mut line = Vec::new();
        let _ = self.lines.read_until(b'\n', &mut line);
        match serde_json::from_slice(&line) {
            Ok(Line::Told(what)) => Ok(Some(what)),
            Ok(Line::Done) => {
                self.reap();
                Ok(None)
            }
            Ok(Line::Failed(message)) => Err(Error::Invalid(message)),
            Err(_) => Err(Error::Invalid("the process beside the container died".to_owned())),
        }
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Result<()> {
        while self.next::<serde_json::Value>()?.is_some() {}
        Ok(())
    }

    fn reap(&mut self) {
        if !self.ended {
            self.ended = true;
            let _ = rustix::io::retry_on_intr(|| {
                waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED)
            });
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if !self.ended {
            let _ = process::send_signal(&self.pidfd, Signal::KILL.as_raw());
        }
        self.reap();
    }
}

/// Never returns, and never unwinds into what was the parent's stack.
fn child(
    keep: &[BorrowedFd<'_>],
    pipe: OwnedFd,
    work: impl FnOnce(&mut Reporter) -> std::result::Result<(), String>,
) -> ! {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        let mut reporter = Reporter(File::from(pipe));
        let result = prepare(keep, &reporter.0).map_err(|e| e.to_string()).and_then(|()| work(&mut reporter));
        match result {
            Ok(()) => reporter.line(&Line::<()>::Done),
            Err(message) => reporter.line(&Line::<()>::Failed(message)),
        }
    }));
    process::exit(i32::from(!matches!(worked, Ok(Ok(())))))
}

/// No descriptor of the host's goes along, nobody looks in (CVE-2016-9962), and files get the modes that they are given.
fn prepare(keep: &[BorrowedFd<'_>], pipe: &File) -> rustix::io::Result<()> {
    process::die_with_parent(Signal::KILL.as_raw())?;
    process::set_dumpable(false)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    kept.extend([2, pipe.as_raw_fd() as u32]);
    kept.sort_unstable();
    kept.dedup();
    let mut next = 0;
    for fd in kept {
        if fd > next {
            process::close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    process::close_range(next, u32::MAX)
}
