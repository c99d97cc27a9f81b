//! A container that stands still while we look at it, and goes on whatever becomes of us.

use crate::pause::Frozen;
use crate::{Container, Error, Result};
use kernel::process::{self, Side};
use rustix::fd::{AsFd, OwnedFd};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs::File;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use steps::Journal;

/// A process that keeps the container frozen. It ends, and lets the container go on, with the pipe to us: when this is dropped, and when
/// we are killed.
#[derive(Debug)]
pub(crate) struct Still {
    keeper: OwnedFd,
    /// Taken when it ends.
    pipe: Option<OwnedFd>,
}

impl Still {
    /// `journal`: where that of the container's run is.
    pub fn new(container: &Container, journal: &Path) -> Result<Still> {
        let failed = |e| Error::io("cannot pause", &container.name, e);
        let (held, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        let (report, reporter) = pipe_with(PipeFlags::CLOEXEC).map_err(failed)?;
        match process::clone(0, None).map_err(failed)? {
            Side::Child => {
                drop((pipe, report));
                keep(container, journal, held, reporter)
            }
            Side::Parent { pidfd, .. } => {
                drop((held, reporter));
                let still = Still { keeper: pidfd, pipe: Some(pipe) };
                let mut said = String::new();
                let _ = File::from(report).read_to_string(&mut said);
                match said.as_str() {
                    "frozen" => Ok(still),
                    "" => Err(Error::Invalid(format!("cannot pause {}", container.name))),
                    cause => Err(Error::Invalid(cause.to_owned())),
                }
            }
        }
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ =
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.keeper.as_fd()), WaitIdOptions::EXITED));
    }
}

/// The process' life. A signal to the terminal's group is not its end.
fn keep(container: &Container, journal: &Path, held: OwnedFd, reporter: OwnedFd) -> ! {
    let kept = catch_unwind(AssertUnwindSafe(|| {
        let _ = rustix::process::setsid();
        process::block_all_signals(true);
        // Who finds it frozen, and the lock free, knows that we were killed.
        let held_journal = Journal::open(journal).and_then(|journal| journal.try_lock().map(|_| journal));
        let frozen = held_journal
            .map_err(|e| Error::io("cannot open", journal, e))
            .and_then(|mut journal| Ok((Frozen::new(container, &mut journal)?, journal)));
        let said = match &frozen {
            Ok(_) => "frozen".to_owned(),
            Err(error) => error.to_string(),
        };
        let _ = File::from(reporter).write_all(said.as_bytes());
        let _ = File::from(held).read(&mut [0]);
        drop(frozen);
    }));
    process::exit(i32::from(kept.is_err()))
}
