//! A program in chosen namespaces, another's or new ones, with everything else as it is: what nsenter(1) and unshare(1) do.

use crate::plan::candidates;
use kernel::mount::{Propagation, set_propagation};
use kernel::process::{
    self, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, Side, Strings, execve, set_namespace, signal_fd,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};

/// Which namespaces: bits `CLONE_NEW…`.
#[derive(Debug)]
pub enum Spaces<'a> {
    /// Those of the process of the pidfd.
    Join { pidfd: BorrowedFd<'a>, flags: u64 },
    /// New ones. In a new user namespace the program is root, and whoever runs it is who root is outside.
    New { flags: u64 },
}

/// Why it could not be run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what}: {why}")]
    Failed { what: &'static str, why: Errno },
    /// 126 or 127, as shells have it.
    #[error("exec: \"{word}\": {why}")]
    Exec { word: String, why: Errno },
}

fn failed(what: &'static str) -> impl Fn(Errno) -> Error {
    move |why| Error::Failed { what, why }
}

/// Runs `argv` there and waits for it: its exit code, or 128 and the number of the signal that ended it. The caller must have
/// one thread.
pub fn run(spaces: &Spaces<'_>, argv: &[String]) -> Result<i32, Error> {
    let env: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    let programs = candidates(argv, &env);
    let (words, env) = (Strings::new(argv), Strings::new(&env));
    let signals = [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT].map(Signal::as_raw);
    let signals = signal_fd(&signals).map_err(failed("wait for signals"))?;
    let (told, tell) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    if let Spaces::Join { pidfd, flags } = spaces {
        join(*pidfd, *flags)?;
    }
    let new = match spaces {
        Spaces::New { flags } => *flags,
        Spaces::Join { .. } => 0,
    };
    let (report, reported) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed("make a pipe"))?;
    match process::clone(new, None).map_err(failed("make the namespaces"))? {
        Side::Child => {
            drop((tell, report, signals));
            let failure = inside(new, &told, &programs, &words, &env);
            let _ = rustix::io::write(&reported, &failure);
            process::exit(127);
        }
        Side::Parent { pid, pidfd } => {
            drop((told, reported));
            if new & CLONE_NEWUSER != 0 {
                map_root(pid).map_err(failed("map the ids of the user namespace"))?;
            }
            drop(tell);
            answer(&report, argv)?;
            wait(&pidfd, &signals).map_err(failed("wait for the program"))
        }
    }
}

/// What the child was doing when it failed.
const STEPS: [&str; 5] =
    ["wait for the mapping of ids", "become root", "make mounts private", "mount /proc", "exec"];
const EXEC: u8 = 4;

/// What the child says, if it says anything: which of [`STEPS`], and the error number.
fn answer(report: &OwnedFd, argv: &[String]) -> Result<(), Error> {
    let mut said = [0; 5];
    match rustix::io::read(report, &mut said) {
        Ok(5) => {
            let why = Errno::from_raw_os_error(i32::from_le_bytes([said[1], said[2], said[3], said[4]]));
            Err(match said[0] {
                EXEC => Error::Exec { word: argv.first().cloned().unwrap_or_default(), why },
                step => Error::Failed { what: STEPS[usize::from(step) % STEPS.len()], why },
            })
        }
        Ok(_) => Ok(()),
        Err(why) => Err(Error::Failed { what: "hear of the program", why }),
    }
}

fn join(pidfd: BorrowedFd<'_>, flags: u64) -> Result<(), Error> {
    if flags != 0 {
        set_namespace(pidfd, flags).map_err(failed("join the namespaces"))?;
    }
    if flags & CLONE_NEWUSER != 0 {
        // Where a user namespace denies setgroups(2), the groups stay.
        let _ = process::set_groups(&[]);
        process::set_ids(0, 0).map_err(failed("become root of the user namespace"))?;
    }
    Ok(())
}

/// `unshare --map-root-user`. See user_namespaces(7).
fn map_root(pid: i32) -> Result<(), Errno> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    process::write_proc(pid, "setgroups", b"deny")?;
    process::write_proc(pid, "uid_map", format!("0 {uid} 1").as_bytes())?;
    process::write_proc(pid, "gid_map", format!("0 {gid} 1").as_bytes())
}

/// The child's way to its program; returns what to report.
fn inside(new: u64, told: &OwnedFd, programs: &[steps::Text], argv: &Strings, env: &Strings) -> [u8; 5] {
    let failure = |step: u8, why: Errno| {
        let [a, b, c, d] = why.raw_os_error().to_le_bytes();
        [step, a, b, c, d]
    };
    if new & CLONE_NEWUSER != 0 {
        if let Err(why) = rustix::io::read(told, &mut [0; 1]) {
            return failure(0, why);
        }
        if let Err(why) = process::set_ids(0, 0) {
            return failure(1, why);
        }
    }
    if new & CLONE_NEWNS != 0 {
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        if let Err(why) = root.and_then(|root| set_propagation(root, Propagation::Private, true)) {
            return failure(2, why);
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if new & CLONE_NEWPID != 0
            && let Err(why) = mount("proc", "/proc", "proc", flags, None)
        {
            return failure(3, why);
        }
    }
    process::default_signals();
    process::block_all_signals(false);
    let mut why = Errno::NOENT;
    for program in programs {
        match execve(program.as_c(), argv, env) {
            Errno::NOENT | Errno::NOTDIR => {}
            other => why = other,
        }
    }
    failure(EXEC, why)
}

/// Until it ends. What a terminal sends, it sends to the program as well; other signals are passed on.
fn wait(pidfd: &OwnedFd, signals: &OwnedFd) -> Result<i32, Errno> {
    loop {
        let mut ready = [PollFd::new(pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        if !ready[0].revents().is_empty() {
            let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?;
            return Ok(status.map_or(1, |status| {
                status.exit_status().or_else(|| status.terminating_signal().map(|s| 128 + s)).unwrap_or(1)
            }));
        }
        if let Some(signal) = process::next_signal(signals)
            && [Signal::TERM, Signal::HUP].iter().any(|passed| passed.as_raw() == signal)
        {
            process::send_signal(pidfd, signal)?;
        }
    }
}
