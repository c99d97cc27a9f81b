//! What the container's side tells the host's: that it failed, and with what; that it has a descriptor to pass on; and,
//! by the end of the pipe, that its program runs.

use super::{Broken, Watch};
use kernel::process;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use rustix::io::{Errno, retry_on_intr};
use steps::{Failure, HAND_OVER, Live, Phase, REPORT, TURN};

/// Told of the process (as this one sees it) and the listener of its seccomp filter, which is to go to whoever answers
/// system calls for the container, before the process waits for an answer.
pub type Agent<'a> = Option<&'a mut dyn FnMut(i32, OwnedFd) -> Result<(), Failure>>;

/// What is known of a container's side that ended without a report.
pub(super) const KILLED: Broken = (Phase::Exec, 0, Failure { errno: Errno::SRCH, note: "killed" });

/// Tells it, and ends. For the container's side: allocates nothing.
pub(crate) fn fail(live: &Live, phase: Phase, index: usize, failure: Failure) -> ! {
    let mut bytes = [0u8; REPORT];
    bytes[0] = phase as u8;
    bytes[1..5].copy_from_slice(&(index as u32).to_ne_bytes());
    bytes[5..9].copy_from_slice(&failure.errno.raw_os_error().to_ne_bytes());
    let note = &failure.note.as_bytes()[..failure.note.len().min(REPORT - 10)];
    bytes[9] = note.len() as u8;
    bytes[10..10 + note.len()].copy_from_slice(note);
    let _ = retry_on_intr(|| rustix::io::write(process::borrow_raw(live.report.get()), &bytes));
    process::exit(1)
}

/// The host's end.
pub(crate) struct Reports<'c, 'a> {
    pub from: OwnedFd,
    /// Whoever writes.
    pub child: (i32, BorrowedFd<'c>),
    /// Where a process is told that its descriptor was taken.
    pub gate: RawFd,
    pub agent: Agent<'a>,
    /// Where a process that is held before each of its steps is let on, and how many steps there are before its first.
    pub held: Option<(OwnedFd, usize)>,
}

/// What the container's side says, apart from its end.
enum Word {
    /// The number of a descriptor to pass on.
    Descriptor(RawFd),
    /// The step of its list, from 0, that it would do next.
    Turn(usize),
}

impl Reports<'_, '_> {
    /// Waits until the program runs (the pipe closes at the exec) or a failure is told.
    pub fn wait(&mut self, watch: &mut Watch<'_>) -> Result<(), Broken> {
        while let Some(word) = next(self.from.as_fd())? {
            let done = match word {
                Word::Descriptor(number) => self.pass_on(number),
                Word::Turn(index) => self.let_on(index, watch),
            };
            done.map_err(|failure| (Phase::Exec, 0, failure))?;
        }
        Ok(())
    }

    fn let_on(&self, index: usize, watch: &mut Watch<'_>) -> Result<(), Failure> {
        let Some((gate, before)) = &self.held else { return Err(Errno::PROTO.into()) };
        watch.before(before + index + 1, self.child.0)?;
        retry_on_intr(|| rustix::io::write(gate, &[1]))?;
        Ok(())
    }

    /// A joined step that failed because the container's side had failed before: that one is to be named.
    pub fn blame(&mut self, broken: Broken) -> Result<(), Broken> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        if self.held.is_some() {
            // It has done nothing yet.
            return Err(broken);
        }
        let dies = process::status(self.child.0).is_some_and(|status| status.ended_unborn);
        let mut fds = [PollFd::new(&self.from, PollFlags::IN)];
        // A process that is about to end soon closes its end.
        let patience = Timespec { tv_sec: if dies { 5 } else { 0 }, tv_nsec: 0 };
        match retry_on_intr(|| poll(&mut fds, Some(&patience))) {
            Ok(1) => self.wait(&mut Watch::Nobody).and(Err(KILLED)),
            _ => Err(broken),
        }
    }

    fn pass_on(&mut self, number: RawFd) -> Result<(), Failure> {
        let (pid, pidfd) = self.child;
        let listener = process::take_descriptor(pidfd, number)
            .map_err(|e| Failure::new(e, "take the seccomp listener"))?;
        // Not before the agent has it: who has no agent fails closed.
        match &mut self.agent {
            Some(agent) => agent(pid, listener)?,
            None => return Err(Failure::new(Errno::DESTADDRREQ, "nobody listens to the seccomp filter")),
        }
        retry_on_intr(|| rustix::io::write(process::borrow_raw(self.gate), &[HAND_OVER]))?;
        Ok(())
    }
}

/// [`Reports::wait`] for a process that has nothing more to pass on.
pub(crate) fn report(from: BorrowedFd<'_>) -> Result<(), Broken> {
    while next(from)?.is_some() {}
    Ok(())
}

/// `None` when the program runs.
fn next(from: BorrowedFd<'_>) -> Result<Option<Word>, Broken> {
    let mut bytes = [0u8; REPORT];
    let n = loop {
        match rustix::io::read(from, &mut bytes) {
            Err(Errno::INTR) => {}
            other => break other.map_err(|e| (Phase::Exec, 0, Failure::new(e, "report")))?,
        }
    };
    match bytes[0] {
        _ if n == 0 => Ok(None),
        HAND_OVER => Ok(Some(Word::Descriptor(i32::from_ne_bytes(number(&bytes, 1))))),
        TURN => Ok(Some(Word::Turn(u32::from_ne_bytes(number(&bytes, 1)) as usize))),
        phase => Err(failure(phase, &bytes)),
    }
}

fn number(bytes: &[u8; REPORT], at: usize) -> [u8; 4] {
    [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]
}

fn failure(phase: u8, bytes: &[u8; REPORT]) -> Broken {
    let phase = if phase == Phase::Inside as u8 { Phase::Inside } else { Phase::Exec };
    let note = &bytes[10..10 + usize::from(bytes[9]).min(REPORT - 10)];
    let note = leak(std::str::from_utf8(note).unwrap_or_default());
    let errno = Errno::from_raw_os_error(i32::from_ne_bytes(number(bytes, 5)));
    (phase, u32::from_ne_bytes(number(bytes, 1)) as usize, Failure { errno, note })
}

/// Notes are constants of this very binary, a handful; the copy that came through the pipe lives on as one.
fn leak(note: &str) -> &'static str {
    if note.is_empty() { "" } else { Box::leak(note.to_owned().into_boxed_str()) }
}
