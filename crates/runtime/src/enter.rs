//! A further program in a running container: `exec`. See setns(2).

use crate::GroupPaths;
use crate::execute::{Launched, StartError, Stdio, exec_error, reap, receive_master, report, send};
use kernel::process::{self, Side, Strings};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use steps::{Credentials, Exec, Failure, Live, OpenTerminal, Phase, Slot};

/// What to run, and where.
#[derive(Debug)]
pub struct Enter<'a> {
    /// The container's first process.
    pub pidfd: BorrowedFd<'a>,
    /// `CLONE_NEW…` of the namespaces to join.
    pub namespaces: u64,
    /// Its control groups.
    pub groups: GroupPaths,
    pub argv: &'a [String],
    pub env: &'a [String],
    pub cwd: &'a str,
    pub credentials: Credentials,
    /// Rows and columns of its terminal, when it gets one.
    pub terminal_size: Option<(u16, u16)>,
}

const SOCKET: Slot = Slot(0);
const DEVPTS: Slot = Slot(1);
const SLAVE: Slot = Slot(2);

/// Runs a program in the namespaces and groups of a container. The caller must have one thread; its own children are
/// born in the container's pid namespace from then on.
pub fn enter(what: &Enter<'_>, stdio: Stdio) -> Result<Launched, StartError> {
    attempt(what, stdio)
        .map_err(|failure| exec_error(what.argv.first().map_or("", String::as_str), what.cwd, failure))
}

fn attempt(what: &Enter<'_>, stdio: Stdio) -> Result<Launched, Failure> {
    let exec = Exec {
        credentials: what.credentials.clone(),
        cwd: if what.cwd.is_empty() { "/".into() } else { what.cwd.into() },
        candidates: crate::plan::candidates(what.argv, what.env),
        argv: Strings::new(what.argv),
        env: Strings::new(what.env),
        terminal: matches!(stdio, Stdio::Terminal).then_some(SLAVE),
        init: None,
    };
    let live = Live::new(3);
    let receiver = if exec.terminal.is_some() {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )?;
        live.fill(SOCKET, theirs);
        Some(ours)
    } else {
        None
    };
    let (mut groups, mut born) = (Vec::new(), None);
    for group in what.groups.iter() {
        let (path, flags) = if group.is_v2() {
            (group.dir(), OFlags::PATH | OFlags::DIRECTORY)
        } else {
            (format!("{}/tasks", group.dir()), OFlags::WRONLY)
        };
        let opened = rustix::fs::open(&*path, flags | OFlags::CLOEXEC, Mode::empty())
            .map_err(|e| Failure::new(e, "open its control group"))?;
        if group.is_v2() { born = Some(opened) } else { groups.push(opened) }
    }
    let (report_read, report_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    process::set_namespace(what.pidfd, what.namespaces & process::CLONE_NEWPID)
        .map_err(|e| Failure::new(e, "join the pid namespace"))?;
    let born = born.as_ref().map(AsFd::as_fd);
    let (pid, pidfd) = match process::clone(0, born).map_err(|e| Failure::new(e, "clone3"))? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => inside(what, &exec, &live, &groups, &stdio, report_write.as_fd()),
    };
    drop((report_write, stdio, live));
    if let Err((_, _, failure)) = report(report_read.as_fd()) {
        reap(pidfd.as_fd());
        return Err(failure);
    }
    let master = receiver.map(receive_master).transpose()?;
    Ok(Launched { pid, pidfd, master })
}

/// The new process, until it becomes the program. Allocates nothing.
fn inside(
    what: &Enter<'_>,
    exec: &Exec,
    live: &Live,
    groups: &[OwnedFd],
    stdio: &Stdio,
    to: BorrowedFd<'_>,
) -> ! {
    process::default_signals();
    process::block_all_signals(false);
    if let Err(failure) = join(what, live, groups, stdio, exec) {
        send(to, Phase::Exec, 0, failure);
        process::exit(1);
    }
    let failure = exec.perform(live);
    send(to, Phase::Exec, 0, failure);
    process::exit(1)
}

fn join(
    what: &Enter<'_>,
    live: &Live,
    groups: &[OwnedFd],
    stdio: &Stdio,
    exec: &Exec,
) -> Result<(), Failure> {
    // Whoever is in the container may not look into this process while host memory is in it (CVE-2016-9962).
    process::set_dumpable(false)?;
    for group in groups {
        rustix::io::write(group, b"0").map_err(|e| Failure::new(e, "enter its control group"))?;
    }
    process::set_namespace(what.pidfd, what.namespaces & !process::CLONE_NEWPID)
        .map_err(|e| Failure::new(e, "join its namespaces"))?;
    process::set_groups(&[])?;
    process::set_ids(0, 0)?;
    match stdio {
        Stdio::Given([stdin, stdout, stderr]) => {
            rustix::stdio::dup2_stdin(stdin)?;
            rustix::stdio::dup2_stdout(stdout)?;
            rustix::stdio::dup2_stderr(stderr)?;
            rustix::process::setsid().map(drop).map_err(Failure::from)?;
        }
        Stdio::Terminal => open_terminal(live, exec.credentials.uid, what.terminal_size)?,
    }
    process::close_on_exec_from(3).map_err(|e| Failure::new(e, "close_range"))
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
