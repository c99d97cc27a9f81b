//! The executor: performs a plan, and takes it back when a step fails.

mod away;
mod report;
mod watch;

use away::Away;
use kernel::process::{self, Side};
pub use report::Agent;
pub(crate) use report::{Reports, fail, report};
use rustix::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::time::Instant;
use steps::{Failure, Journal, Live, Phase, Plan, Ready, Slot, Step};
pub use watch::{CLONE, Watch, teller};

/// What the program reads from and writes to.
#[derive(Debug)]
pub enum Stdio {
    /// Three descriptors that become 0, 1 and 2.
    Given([OwnedFd; 3]),
    /// A terminal of the container's own.
    Terminal,
}

/// A container whose program runs.
#[derive(Debug)]
pub struct Launched {
    /// Of its first process, as this process sees it.
    pub pid: i32,
    /// When it began, as [`process::start_ticks`] tells it; 0 when it has ended, and for who entered.
    pub start_ticks: u64,
    pub pidfd: OwnedFd,
    /// The master of its terminal.
    pub master: Option<OwnedFd>,
    /// The sockets of [`steps::OpenNameServer`], for datagrams and for connections.
    pub names: Option<[OwnedFd; 2]>,
}

/// A start that failed, after what was done has been taken back.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    pub message: String,
    /// 125, or why the program did not run: 126 cannot be executed, 127 not found. 130: whoever walked through has stopped it.
    pub code: i32,
}

/// Slot 0 of every plan: the socket through which a terminal's master comes out.
pub(crate) const SOCKET: Slot = Slot(0);

/// Performs `plan`: the host's steps, the clone, the joined steps, and waits until the program runs or has failed to.
///
/// The caller must be a process with one thread.
pub fn launch(
    plan: &Plan,
    journal: &mut Journal,
    stdio: Stdio,
    mut watch: Watch<'_>,
    agent: Agent<'_>,
) -> Result<Launched, StartError> {
    let live = Live::new(plan.slots);
    let result = attempt(plan, &live, journal, stdio, &mut watch, agent);
    // Comes home, too, where a step has failed in the container's mount namespace.
    drop(live);
    result.map_err(|(phase, index, failure)| {
        let undone = Journal::replay(journal.path());
        describe(plan, phase, index, failure, undone)
    })
}

type Broken = (Phase, usize, Failure);

fn attempt(
    plan: &Plan,
    live: &Live,
    journal: &mut Journal,
    stdio: Stdio,
    watch: &mut Watch<'_>,
    agent: Agent<'_>,
) -> Result<Launched, Broken> {
    let setup = |e: Errno| (Phase::Exec, 0, Failure::new(e, "prepare the clone"));
    let mut away = Away::go(plan).map_err(|f| (Phase::Exec, 0, f))?;
    perform(&plan.host, Phase::Host, 0, live, journal, watch)?;
    watch.before(CLONE, 0).map_err(|f| (Phase::Exec, 0, f))?;

    let (gate_read, gate_write) = pipe().map_err(setup)?;
    let (report_read, report_write) = pipe().map_err(setup)?;
    if plan.joined.iter().any(|step| matches!(step, Step::Expect(_))) {
        let (read, write) = pipe().map_err(setup)?;
        live.back.set((read.into_raw_fd(), write.into_raw_fd()));
    }
    // One that waits for the host's side, which waits for it, cannot be held as well.
    let held = (watch.is_asked() && live.back.get().0 < 0).then(pipe).transpose().map_err(setup)?;
    let receiver = terminal_socket(&stdio, live).map_err(setup)?;
    let cgroup = plan.spawn.cgroup.map(|slot| live.fd(slot)).transpose().map_err(setup)?;
    let clone_failed = |e: Errno| (Phase::Exec, 0, Failure::new(e, "clone3"));
    let born = away.later().then(pipe).transpose().map_err(setup)?;
    let flags = if away.user.is_some() { 0 } else { plan.spawn.namespaces };
    let (pid, pidfd) = match process::clone(flags, cgroup).map_err(clone_failed)? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => {
            live.gate.set((gate_read.into_raw_fd(), -1));
            live.report.set(report_write.into_raw_fd());
            drop((gate_write, report_read));
            if let Some((read, write)) = held {
                drop(write);
                live.turn.set((read.into_raw_fd(), -1));
            }
            if let Err(failure) = away.move_in(plan.spawn.namespaces) {
                fail(live, Phase::Exec, 0, failure);
            }
            drop(born);
            inside(plan, live, &stdio)
        }
    };
    live.pid.set(pid);
    drop((gate_read, report_write, stdio));
    if let Some((read, write)) = born {
        drop(write);
        // Closed when it is in its namespaces: before, nothing can be done to them.
        let _ = retry_on_intr(|| rustix::io::read(&read, &mut [0u8; 1]));
    }
    live.gate.set((-1, gate_write.into_raw_fd()));
    let before = plan.host.len() + plan.joined.len();
    let held = held.map(|(_, write)| (write, before));
    let mut reports =
        Reports { from: report_read, child: (pid, pidfd.as_fd()), gate: live.gate.get().1, agent, held };
    let outcome = away
        .come_back()
        .map_err(|f| (Phase::Exec, 0, f))
        .and_then(|()| perform(&plan.joined, Phase::Joined, plan.host.len(), live, journal, watch))
        .or_else(|broken| reports.blame(broken))
        .and_then(|()| reports.wait(watch));
    let status = process::status(pid);
    // Whoever is killed reports nothing, and the end of its pipe looks like success.
    let outcome = match status {
        Some(status) if status.ended_unborn => outcome.and(Err(report::KILLED)),
        _ => outcome,
    };
    if let Err(broken) = outcome {
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        reap(pidfd.as_fd());
        return Err(broken);
    }
    let master = receiver
        .map(receive_master)
        .transpose()
        .map_err(|e| (Phase::Exec, 0, Failure::new(e, "terminal")))?;
    let start_ticks = status.filter(|status| !status.ended).map_or(0, |status| status.start_ticks);
    Ok(Launched { pid, start_ticks, pidfd, master, names: live.names.take() })
}

/// The end of a socket at which the master of a terminal will come out; the other one is the new process'.
pub(crate) fn terminal_socket(stdio: &Stdio, live: &Live) -> Result<Option<OwnedFd>, Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    if let Stdio::Given(_) = stdio {
        return Ok(None);
    }
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    live.fill(SOCKET, theirs);
    Ok(Some(ours))
}

pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
}

/// Performs one list on the host's side, noting each step's reverse before.
fn perform(
    list: &[Step],
    phase: Phase,
    before: usize,
    live: &Live,
    journal: &mut Journal,
    watch: &mut Watch<'_>,
) -> Result<(), Broken> {
    for (index, step) in list.iter().enumerate() {
        watch.before(before + index + 1, live.pid.get()).map_err(|failure| (phase, index, failure))?;
        let noted = journal.note(step);
        noted.map_err(|e| {
            (phase, index, Failure::new(Errno::from_io_error(&e).unwrap_or(Errno::IO), "journal"))
        })?;
        let start = watch.is_told().then(Instant::now);
        step.perform(live).map_err(|failure| (phase, index, failure))?;
        if let (Watch::Told(tell), Some(start)) = (&mut *watch, start) {
            tell(before + index + 1, phase, step, start.elapsed());
        }
    }
    Ok(())
}

/// The container's side, until it becomes the program. Allocates nothing: the heap is a copy whose state is unknown.
fn inside(plan: &Plan, live: &Live, stdio: &Stdio) -> ! {
    process::default_signals();
    process::block_all_signals(false);
    let mut ready = None;
    for (index, step) in plan.inside.iter().enumerate() {
        watch::turn(live, index);
        if let Step::AwaitStart(_) = step {
            // What can fail is tried before: it is an error of whoever creates the container.
            ready = Some(prepare(plan, live, stdio));
        }
        if let Err(failure) = step.perform(live) {
            fail(live, Phase::Inside, index, failure);
        }
    }
    let ready = ready.unwrap_or_else(|| {
        watch::turn(live, plan.inside.len());
        prepare(plan, live, stdio)
    });
    let failure = plan.exec.become_program(live, &ready, plan.spawn.keep_fds);
    fail(live, Phase::Exec, 0, failure)
}

/// All of the exec but the program.
fn prepare(plan: &Plan, live: &Live, stdio: &Stdio) -> Ready {
    if let Stdio::Given([stdin, stdout, stderr]) = stdio {
        let placed = rustix::stdio::dup2_stdin(stdin)
            .and_then(|()| rustix::stdio::dup2_stdout(stdout))
            .and_then(|()| rustix::stdio::dup2_stderr(stderr));
        if let Err(e) = placed {
            fail(live, Phase::Exec, 0, Failure::new(e, "standard descriptors"));
        }
        let _ = rustix::process::setsid();
    }
    // Nothing of the host's stays open in the program (CVE-2024-21626).
    if let Err(e) = process::close_on_exec_from(3 + plan.spawn.keep_fds) {
        fail(live, Phase::Exec, 0, Failure::new(e, "close_range"));
    }
    match plan.exec.prepare(live) {
        Ok(ready) => ready,
        Err(failure) => fail(live, Phase::Exec, 0, failure),
    }
}

/// Waits for the end of a child.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {}
}

pub(crate) fn receive_master(socket: OwnedFd) -> Result<OwnedFd, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8; 1];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    retry_on_intr(|| rustix::net::recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut rights, flags))?;
    let fds = rights.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fds.ok_or(Errno::BADF)
}

/// The message of a failed start: what was being done, in words and in shell, what the kernel answered, what was undone.
fn describe(
    plan: &Plan,
    phase: Phase,
    index: usize,
    failure: Failure,
    undone: std::io::Result<Vec<(Step, Failure)>>,
) -> StartError {
    let left = match undone {
        Ok(failed) if failed.is_empty() => "all taken back".to_owned(),
        Ok(failed) => format!("{} steps could not be taken back", failed.len()),
        Err(e) => format!("the journal could not be replayed: {e}"),
    };
    if failure == watch::STOPPED {
        return StartError { message: format!("'{}' is not started: {left}", plan.name), code: 130 };
    }
    if phase == Phase::Exec {
        if (phase, index, failure) == report::KILLED {
            let message = format!(
                "cannot start '{}': it was killed before its program ran; is the memory limit too low?",
                plan.name
            );
            return StartError { message, code: 125 };
        }
        return exec_error(plan.exec.argv.iter().next().unwrap_or_default(), plan.exec.cwd.as_str(), failure);
    }
    let (why, brief) = plan
        .step(phase, index)
        .map(Step::shell)
        .map_or_else(Default::default, |s| (s.why.clone(), s.brief()));
    let note = if failure.note.is_empty() { String::new() } else { format!(" ({})", failure.note) };
    let message = format!(
        "cannot start '{}': {why}: {}{note}{}\n  step {} of {}: {brief}\n  {left}",
        plan.name,
        failure.errno,
        hint(plan, phase, index, failure),
        plan.number(phase, index),
        plan.len(),
    );
    StartError { message, code: 125 }
}

/// What a user can do about it, where that is known.
fn hint(plan: &Plan, phase: Phase, index: usize, failure: Failure) -> &'static str {
    match plan.step(phase, index) {
        Some(Step::IdmapTree(_)) if failure.errno == Errno::INVAL => {
            ": this file system has no idmapped mounts; --userns=host does without"
        }
        Some(Step::AttachTree(_)) if matches!(failure.errno, Errno::INVAL | Errno::NOTDIR) => {
            ": a file can be mounted only over a file, and a directory over a directory"
        }
        Some(Step::EnsureCgroup(_)) if failure.errno == Errno::BUSY => {
            ": processes are in that group itself, move them into one below it first"
        }
        _ => "",
    }
}

/// Docker's words for a program that does not start.
pub(crate) fn exec_error(word: &str, cwd: &str, failure: Failure) -> StartError {
    let error = |code: i32, text: String| StartError { message: text, code };
    match (failure.note, failure.errno) {
        ("exec", Errno::NOENT) if word.contains('/') => {
            error(127, format!("exec: \"{word}\": stat {word}: no such file or directory"))
        }
        ("exec", Errno::NOENT) => error(127, format!("exec: \"{word}\": executable file not found in $PATH")),
        ("exec", Errno::ACCESS | Errno::PERM | Errno::ISDIR) => {
            error(126, format!("exec: \"{word}\": permission denied"))
        }
        ("exec", Errno::NOEXEC) => error(126, format!("exec: \"{word}\": exec format error")),
        ("exec", e) => error(126, format!("exec: \"{word}\": {e}")),
        ("working directory", e) => {
            error(126, format!("chdir to cwd ({cwd:?}) set in config.json failed: {e}"))
        }
        ("apparmor profile", Errno::NOENT) => error(
            125,
            format!(
                "cannot start {word:?}: apparmor profile (process.apparmorProfile): no such profile is loaded"
            ),
        ),
        (note, e) => error(125, format!("cannot start {word:?}: {note}: {e}")),
    }
}
