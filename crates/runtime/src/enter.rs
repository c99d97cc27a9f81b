//! A further program in a running container: `exec`. See setns(2).

use crate::execute::{
    Agent, Launched, Reports, SOCKET, StartError, Stdio, Watch, exec_error, fail, pipe, reap, receive_master,
    report, terminal_socket,
};
use crate::{GroupPaths, Process, plan};
use kernel::process::{self, CLONE_NEWPID, CLONE_NEWUSER, Side};
use kernel::schedule::{self, BitSet};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use steps::{Exec, Failure, Live, OpenProc, OpenTerminal, Phase, RaiseLimits, Schedule, Slot, Step, Text};

/// What to run, and where.
#[derive(Debug)]
pub struct Enter<'a> {
    /// The container's first process.
    pub pidfd: BorrowedFd<'a>,
    /// `CLONE_NEW…` of the namespaces to join.
    pub namespaces: u64,
    /// These themselves, with their kinds, where they cannot be had by the process.
    pub held: &'a [(u64, OwnedFd)],
    /// Its control groups.
    pub groups: GroupPaths,
    /// `tasks` of its groups of resctrl.
    pub classes: &'a [String],
    pub process: &'a Process,
    /// See proc_pid_oom_score_adj(5).
    pub oom_score_adj: Option<i32>,
    /// The processors on which the engine itself goes on, and the program begins its way into the container's groups.
    pub first_cpus: Option<BitSet>,
    /// Descriptors from 3 on that the program keeps.
    pub keep_fds: u32,
}

impl Enter<'_> {
    /// Joins those of its namespaces that are of these kinds.
    fn join(&self, kinds: u64) -> Result<(), Errno> {
        if self.held.is_empty() {
            return process::set_namespace(self.pidfd, kinds & self.namespaces);
        }
        let mut wanted = self.held.iter().filter(|(kind, _)| kind & kinds != 0);
        wanted.try_for_each(|(kind, fd)| process::set_namespace(fd, *kind))
    }
}

const DEVPTS: Slot = Slot(1);
const SLAVE: Slot = Slot(2);
const PROC: Slot = Slot(3);
const SLOTS: u16 = 4;

/// Runs a program in the namespaces and groups of a container. The caller must have one thread; its own children are
/// born in the container's pid namespace from then on.
pub fn enter(what: &Enter<'_>, stdio: Stdio, agent: Agent<'_>) -> Result<Launched, StartError> {
    let word = what.process.argv.first().map_or("", String::as_str);
    attempt(what, stdio, agent).map_err(|failure| exec_error(word, &what.process.cwd, failure))
}

/// All that the new process needs, made before it is born.
struct Ready<'a> {
    what: &'a Enter<'a>,
    exec: Exec,
    live: Live,
    stdio: Stdio,
    /// `tasks` or `cgroup.procs` of the groups that it is not born in.
    groups: Vec<OwnedFd>,
    /// What only a process of the host's may have, before it joins a user namespace.
    privileges: Vec<Step>,
    oom_score_adj: Option<Text>,
}

fn attempt(what: &Enter<'_>, stdio: Stdio, agent: Agent<'_>) -> Result<Launched, Failure> {
    let labelled = plan::labelled(&what.process.credentials) || what.oom_score_adj.is_some();
    let exec = Exec {
        terminal: matches!(stdio, Stdio::Terminal).then_some(SLAVE),
        proc: labelled.then_some(PROC),
        ..plan::exec(what.process)
    };
    let live = Live::new(SLOTS);
    if labelled {
        OpenProc { slot: PROC }.perform(&live)?;
    }
    let receiver = terminal_socket(&stdio, &live)?;
    let gate = exec.credentials.notifies().then(pipe).transpose()?;
    let (report_read, report_write) = pipe()?;
    let (groups, born) = open_groups(&what.groups, what.classes)?;
    let oom_score_adj = what.oom_score_adj.map(|adjust| adjust.to_string().into());
    let mut ready =
        Ready { what, exec, live, stdio, groups, privileges: privileges(what.process), oom_score_adj };
    if let Some(cpus) = &what.first_cpus {
        schedule::set_affinity(0, cpus).map_err(|e| Failure::new(e, "first cpu affinity"))?;
    }
    // One with the host's processes has no namespace of its own to join.
    if what.namespaces & CLONE_NEWPID != 0 {
        what.join(CLONE_NEWPID).map_err(|e| Failure::new(e, "join the pid namespace"))?;
    }
    let (pid, pidfd) = match birth(&mut ready, born.as_ref())? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => {
            ready.live.report.set(report_write.into_raw_fd());
            if let Some((read, write)) = gate {
                drop(write);
                ready.live.gate.set((read.into_raw_fd(), -1));
            }
            inside(&ready)
        }
    };
    drop((report_write, ready));
    let outcome = match &gate {
        None => report(report_read.as_fd()),
        Some((_, write)) => {
            let (child, gate) = ((pid, pidfd.as_fd()), write.as_raw_fd());
            Reports { from: report_read, child, gate, agent, held: None }.wait(&mut Watch::Nobody)
        }
    };
    if let Err((_, _, failure)) = outcome {
        // It has told its failure and is on its way out, or waits for an answer that nobody will give.
        let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
        reap(pidfd.as_fd());
        return Err(failure);
    }
    let master = receiver.map(receive_master).transpose()?;
    Ok(Launched { pid, start_ticks: 0, pidfd, master, names: None })
}

/// Files to enter the groups by, and the directory of v2's.
fn open_groups(paths: &GroupPaths, classes: &[String]) -> Result<(Vec<OwnedFd>, Option<OwnedFd>), Failure> {
    let (mut groups, mut born) = (Vec::new(), None);
    for group in paths.iter() {
        let (path, flags) = if group.is_v2() {
            (group.dir(), OFlags::PATH | OFlags::DIRECTORY)
        } else {
            (format!("{}/tasks", group.dir()), OFlags::WRONLY)
        };
        let opened = rustix::fs::open(&*path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Failure::new(e, "open its control group"))?;
        if group.is_v2() { born = Some(opened) } else { groups.push(opened) }
    }
    for tasks in classes {
        let opened = rustix::fs::open(&**tasks, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        groups.push(opened.map_err(|e| Failure::new(e, "open its group of resctrl"))?);
    }
    Ok((groups, born))
}

fn privileges(process: &Process) -> Vec<Step> {
    let mut list = Vec::new();
    if !process.credentials.limits.is_empty() {
        list.push(RaiseLimits { limits: process.credentials.limits.clone() }.into());
    }
    if let Some(scheduler) = process.scheduler {
        list.push(Schedule { scheduler }.into());
    }
    list.extend(process.io_priority.clone().map(Step::from));
    list
}

/// The clone, into the group of v2; where that is refused it enters the group like any other.
fn birth(ready: &mut Ready<'_>, born: Option<&OwnedFd>) -> Result<Side, Failure> {
    let failed = |e| Failure::new(e, "clone3");
    match (process::clone(0, born.map(AsFd::as_fd)), born) {
        (Err(Errno::BUSY | Errno::OPNOTSUPP | Errno::ACCESS | Errno::INVAL), Some(born)) => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(born, c"cgroup.procs", flags, Mode::empty())
                .map_err(|e| Failure::new(e, "open its control group"))?;
            ready.groups.push(file);
            process::clone(0, None).map_err(failed)
        }
        (side, _) => side.map_err(failed),
    }
}

/// The new process, until it becomes the program. Allocates nothing.
fn inside(ready: &Ready<'_>) -> ! {
    process::default_signals();
    process::block_all_signals(false);
    let failure = match join(ready).and_then(|()| ready.exec.prepare(&ready.live)) {
        Ok(program) => ready.exec.become_program(&ready.live, &program, ready.what.keep_fds),
        Err(failure) => failure,
    };
    fail(&ready.live, Phase::Exec, 0, failure)
}

fn join(ready: &Ready<'_>) -> Result<(), Failure> {
    let (what, live) = (ready.what, &ready.live);
    // Whoever is in the container may not look into this process while host memory is in it (CVE-2016-9962).
    process::set_dumpable(false)?;
    for group in &ready.groups {
        rustix::io::write(group, b"0").map_err(|e| Failure::new(e, "enter its control group"))?;
    }
    for step in &ready.privileges {
        step.perform(live)?;
    }
    if let Some(adjust) = &ready.oom_score_adj {
        process::write_own(live.fd(PROC)?, c"oom_score_adj", adjust.as_bytes())
            .map_err(|e| Failure::new(e, "oom_score_adj"))?;
    }
    // All at once: the kernel takes the user namespace first.
    what.join(!CLONE_NEWPID).map_err(|e| Failure::new(e, "join its namespaces"))?;
    if what.namespaces & CLONE_NEWUSER != 0 {
        become_root()?;
    }
    match &ready.stdio {
        Stdio::Given([stdin, stdout, stderr]) => {
            rustix::stdio::dup2_stdin(stdin)?;
            rustix::stdio::dup2_stdout(stdout)?;
            rustix::stdio::dup2_stderr(stderr)?;
            rustix::process::setsid().map(drop).map_err(Failure::from)?;
        }
        Stdio::Terminal => {
            open_terminal(live, ready.exec.credentials.uid, what.process.terminal_size)?;
        }
    }
    process::close_on_exec_from(3 + what.keep_fds).map_err(|e| Failure::new(e, "close_range"))
}

/// Root of the user namespace, as far as it has one: all rights over it are there since it was joined.
fn become_root() -> Result<(), Failure> {
    match process::set_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => {}
        Err(e) => return Err(Failure::new(e, "setgroups")),
    }
    match process::set_ids(0, 0) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(e) => Err(Failure::new(e, "setuid")),
    }
}

/// A terminal of the container's devpts. Its mount is found by a path, so its kind is checked before it is trusted.
fn open_terminal(live: &Live, uid: u32, size: Option<(u16, u16)>) -> Result<(), Failure> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let devpts =
        rustix::fs::open(c"/dev/pts", flags, Mode::empty()).map_err(|e| Failure::new(e, "open /dev/pts"))?;
    if rustix::fs::fstatfs(&devpts)?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Failure::new(Errno::NOTTY, "/dev/pts is not a devpts"));
    }
    live.fill(DEVPTS, devpts);
    OpenTerminal { devpts: DEVPTS, socket: SOCKET, slave: SLAVE, uid, console: false, size }.perform(live)
}
