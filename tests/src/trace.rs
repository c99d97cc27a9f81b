//! Runs a command under ptrace(2), with all processes that it starts, until they become programs of a container: counts their system
//! calls, and lets one of them, in whichever process, end in a SIGKILL or in an error.

use crate::{slowness, words};
use kernel::seccomp::{Arch, Syscall};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its process is killed before it is done.
    Kill,
    /// It is not done, and answers this error.
    Errno(i32),
}

/// A system call that is about to be done.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// The process, which stands still.
    pub pid: i32,
    pub name: &'static str,
    pub arguments: [u64; 6],
    /// Of the calls that open files.
    pub open_flags: u64,
    /// Made by a process that ran before the command did, or by a child of one: a monitor, a health check.
    pub others: bool,
}

/// Where a fault is to be: at the `at`th (from 0) of the calls that `counts` counts.
pub struct Injection<'a> {
    pub counts: &'a dyn Fn(&Call) -> bool,
    pub at: Option<(usize, Fault)>,
    /// For how long nobody may have done anything before that is taken for the end.
    pub quiet: Duration,
}

/// Of what goes on without a pause.
pub const QUIET: Duration = Duration::from_millis(25);

/// What a traced command did.
#[derive(Debug)]
pub struct Traced {
    pub line: String,
    /// As a shell tells it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// How many calls counted.
    pub points: usize,
    /// The call that got the fault, by the process that made it: `monitor: mkdir`.
    pub hit: Option<String>,
    /// It did not end in time.
    pub hung: bool,
}

impl std::fmt::Display for Traced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Traced { line, code, stdout, stderr, points, hit, hung } = self;
        let hit = hit.as_deref().unwrap_or("nothing");
        write!(
            f,
            "`{line}`, fault at {hit} ({points} points): exited {code}, hung: {hung}\n{stdout}\n{stderr}"
        )
    }
}

/// A system call that changes nothing that outlives its process.
pub fn harmless(call: &Call) -> bool {
    const HARMLESS: &str = "read pread64 readv close fstat stat lstat newfstatat statx poll ppoll select pselect6 epoll_wait \
        epoll_pwait epoll_pwait2 epoll_create1 epoll_ctl lseek mmap munmap mremap mprotect brk madvise rt_sigaction \
        rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack access faccessat faccessat2 getdents64 readlink readlinkat \
        getpid getppid gettid getuid geteuid getgid getegid getpgid getsid getrandom clock_gettime clock_nanosleep nanosleep \
        futex arch_prctl set_tid_address set_robust_list rseq prlimit64 getrlimit sched_getaffinity sched_yield uname wait4 \
        waitid pidfd_open pidfd_getfd statfs fstatfs fadvise64 dup dup2 dup3 fcntl pipe2 eventfd2 signalfd4 timerfd_create \
        timerfd_settime socket socketpair getsockopt setsockopt getsockname getpeername recvfrom recvmsg close_range getxattr \
        fgetxattr lgetxattr listxattr flistxattr llistxattr sysinfo capget getcwd umask gettimeofday restart_syscall \
        rt_sigpending get_robust_list memfd_create fsopen fspick open_tree";
    let opens_to_read = matches!(call.name, "open" | "openat" | "openat2") && !creates(call);
    opens_to_read || HARMLESS.split_ascii_whitespace().any(|name| name == call.name)
}

/// Whether a call that opens a file may make or cut one.
pub fn creates(call: &Call) -> bool {
    let temporary = libc::O_TMPFILE & !libc::O_DIRECTORY;
    call.open_flags & (libc::O_CREAT | libc::O_TRUNC | temporary) as u64 != 0
}

/// Runs `command`, with `others` (processes that run already) watched as well. Its output goes to files in `dir`.
#[allow(clippy::zombie_processes, reason = "the tracer reaps it")]
pub fn traced(
    command: &Command,
    line: &str,
    dir: &Path,
    others: &[i32],
    injection: &Injection<'_>,
) -> Traced {
    let path = |name: &str| dir.join(format!("traced-{name}"));
    let create = |name: &str| File::create(path(name)).expect("a sandbox can be written to");
    // Stopped, so that it is traced from its first call on.
    let mut stopped = Command::new("sh");
    stopped
        .args(["-c", r#"kill -STOP $$; exec "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            stopped.env(name, value);
        }
    }
    stopped.current_dir(dir).stdin(Stdio::null()).stdout(create("out")).stderr(create("err"));
    let mut child = stopped.spawn().expect("a shell starts");
    let root = Pid::from_raw(child.id().cast_signed());
    let stop = waitpid(root, Some(WaitPidFlag::WUNTRACED | WaitPidFlag::__WALL));
    assert!(matches!(stop, Ok(WaitStatus::Stopped(..))), "{stop:?}");
    let mut tracer = Tracer {
        root,
        injection,
        binary: fs::canonicalize(command.get_program()).expect("the binary exists"),
        tracees: BTreeSet::new(),
        others: others.iter().map(|pid| Pid::from_raw(*pid)).collect(),
        points: 0,
        hit: None,
        fail: BTreeMap::new(),
        code: None,
        exec: false,
    };
    tracer.seize(root);
    others.iter().for_each(|pid| tracer.seize(Pid::from_raw(*pid)));
    kill(root, Signal::SIGCONT).expect("it is ours");
    let hung = !tracer.follow();
    tracer.let_go();
    if hung {
        let _ = kill(root, Signal::SIGKILL);
        let _ = child.wait();
    }
    let read = |name: &str| String::from_utf8_lossy(&fs::read(path(name)).unwrap_or_default()).into_owned();
    let (stdout, stderr) = (read("out"), read("err"));
    for name in ["out", "err"] {
        let _ = fs::remove_file(path(name));
    }
    let code = tracer.code.unwrap_or(-1);
    Traced { line: line.to_owned(), code, stdout, stderr, points: tracer.points, hit: tracer.hit, hung }
}

struct Tracer<'a> {
    root: Pid,
    injection: &'a Injection<'a>,
    binary: PathBuf,
    tracees: BTreeSet<Pid>,
    /// Of them, whoever does not come of the command.
    others: BTreeSet<Pid>,
    points: usize,
    hit: Option<String>,
    /// What a call that was not done shall answer.
    fail: BTreeMap<Pid, i32>,
    code: Option<i32>,
    /// The shell has become the command.
    exec: bool,
}

impl Tracer<'_> {
    fn seize(&mut self, pid: Pid) {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(pid, options).unwrap_or_else(|e| panic!("cannot trace {pid}: {e}"));
        self.tracees.insert(pid);
        if pid != self.root {
            let _ = ptrace::interrupt(pid);
        }
    }

    /// Until the command has ended and nobody else does anything. False: it does not end.
    fn follow(&mut self) -> bool {
        let limit = Duration::from_secs(u64::from(120 * slowness()));
        let quiet = self.injection.quiet * slowness();
        let (start, mut last, mut idle) = (Instant::now(), Instant::now(), 0u32);
        let mut seen = Vec::new();
        loop {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => {
                    idle += 1;
                    if self.code.is_some() && (self.tracees.is_empty() || last.elapsed() > quiet) {
                        // Who has slept all the time is at rest; who has only got no processor is not. After the fault system calls are
                        // not told any more.
                        let now: Vec<String> = self.tracees.iter().map(|pid| activity(*pid)).collect();
                        if now == seen {
                            return true;
                        }
                        (last, seen) = (Instant::now(), now);
                    }
                    if start.elapsed() > limit {
                        return false;
                    }
                    match idle {
                        0..50 => std::thread::yield_now(),
                        _ => std::thread::sleep(Duration::from_micros(100)),
                    }
                    continue;
                }
                Ok(status) => self.resume(status),
                Err(nix::errno::Errno::ECHILD) => return self.code.is_some(),
                // A signal that has no name there.
                Err(_) => {}
            }
            (last, idle) = (Instant::now(), 0);
        }
    }

    fn resume(&mut self, status: WaitStatus) {
        let (pid, signal) = match status {
            WaitStatus::Exited(pid, code) => return self.ended(pid, code),
            WaitStatus::Signaled(pid, signal, _) => return self.ended(pid, 128 + signal as i32),
            WaitStatus::PtraceSyscall(pid) => {
                self.call(pid);
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) if event == libc::PTRACE_EVENT_EXEC => {
                // Its other threads are gone.
                if self.exe(pid) {
                    self.exec |= pid == self.root;
                    (pid, None)
                } else {
                    self.tracees.remove(&pid);
                    let _ = ptrace::detach(pid, None);
                    return;
                }
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.tracees.insert(pid);
                // Whom it has made is traced from birth, and held until that is answered: also when whoever made it is killed first.
                if let (
                    libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK,
                    Ok(born),
                ) = (event, ptrace::getevent(pid))
                {
                    let born = Pid::from_raw(born as i32);
                    self.tracees.insert(born);
                    if self.others.contains(&pid) {
                        self.others.insert(born);
                    }
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => return,
        };
        // All that is left to see after the fault are births and ends.
        let _ = match self.hit.is_some() && self.fail.is_empty() {
            true => ptrace::cont(pid, signal),
            false => ptrace::syscall(pid, signal),
        };
    }

    fn ended(&mut self, pid: Pid, code: i32) {
        self.tracees.remove(&pid);
        if pid == self.root {
            self.code = Some(code);
        }
    }

    /// Whether it is one of the command's own processes.
    fn exe(&self, pid: Pid) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = |path: &Path| fs::metadata(path).map(|m| (m.dev(), m.ino())).ok();
        inode(Path::new(&format!("/proc/{pid}/exe"))) == inode(&self.binary)
    }

    fn call(&mut self, pid: Pid) {
        if !self.exec {
            return;
        }
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        let enters = info.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        if !enters && !self.fail.contains_key(&pid) {
            return;
        }
        let Ok(mut registers) = ptrace::getregs(pid) else { return };
        if !enters {
            if let Some(errno) = self.fail.remove(&pid) {
                registers.rax = i64::from(-errno).cast_unsigned();
                let _ = ptrace::setregs(pid, registers);
            }
            return;
        }
        let r = &registers;
        let mut call = Call {
            pid: pid.as_raw(),
            name: name(r.orig_rax),
            arguments: [r.rdi, r.rsi, r.rdx, r.r10, r.r8, r.r9],
            open_flags: 0,
            others: self.others.contains(&pid),
        };
        call.open_flags = match call.name {
            "open" => r.rsi,
            "openat" => r.rdx,
            "openat2" => ptrace::read(pid, r.rdx as *mut _).unwrap_or_default().cast_unsigned(),
            _ => 0,
        };
        if !(self.injection.counts)(&call) {
            return;
        }
        let number = self.points;
        self.points += 1;
        let Some((_, fault)) = self.injection.at.filter(|(at, _)| *at == number) else { return };
        self.hit = Some(format!("{}: {}", self.role(pid), describe(pid, &call)));
        match fault {
            Fault::Kill => _ = kill(pid, Signal::SIGKILL),
            Fault::Errno(errno) => {
                registers.orig_rax = u64::MAX;
                let _ = ptrace::setregs(pid, registers);
                self.fail.insert(pid, errno);
            }
        }
    }

    fn role(&self, pid: Pid) -> &'static str {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        if field("Tgid:").trim() == self.root.to_string() {
            "command"
        } else if field("NSpid:").split_whitespace().count() > 1 {
            "init"
        } else if field("Name:").trim() == "corten-monitor" {
            "monitor"
        } else {
            "child"
        }
    }

    /// Detaches from all that still run; for that they have to stop.
    fn let_go(&mut self) {
        self.tracees.retain(|pid| kill(*pid, None).is_ok());
        self.tracees.iter().for_each(|pid| _ = ptrace::interrupt(*pid));
        let limit = Instant::now() + Duration::from_secs(u64::from(5 * slowness()));
        while !self.tracees.is_empty() && Instant::now() < limit {
            let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG;
            match waitpid(None, Some(flags)) {
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_micros(100)),
                Ok(WaitStatus::Exited(pid, code)) => self.ended(pid, code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.ended(pid, 128 + signal as i32),
                Ok(status) => {
                    let Some(pid) = status.pid() else { continue };
                    if matches!(status, WaitStatus::PtraceSyscall(_)) && self.fail.contains_key(&pid) {
                        self.call(pid);
                    }
                    let signal =
                        if let WaitStatus::Stopped(_, signal) = status { Some(signal) } else { None };
                    let _ = ptrace::detach(pid, signal);
                    self.tracees.remove(&pid);
                }
                Err(_) => return,
            }
        }
    }
}

/// How often a process has been awake; of one that is awake now, an answer that is never given again.
fn activity(pid: Pid) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let told = |what: &str| status.lines().find(|line| line.starts_with(what)).unwrap_or_default();
    match told("State:").split_whitespace().nth(1) {
        Some("R" | "D") => format!("{:?}", Instant::now()),
        _ => format!("{} {}", told("voluntary_ctxt_switches:"), told("nonvoluntary_ctxt_switches:")),
    }
}

fn name(number: u64) -> &'static str {
    static NAMES: std::sync::OnceLock<BTreeMap<u64, &'static str>> = std::sync::OnceLock::new();
    let all = || {
        let number = |call: Syscall| Some((u64::from(call.number(Arch::X86_64)?), call.name()));
        Syscall::all().filter_map(number).collect()
    };
    NAMES.get_or_init(all).get(&number).copied().unwrap_or("?")
}

/// The call and the path that it names, if any.
fn describe(pid: Pid, call: &Call) -> String {
    let at = match call.name {
        "mkdir" | "rmdir" | "unlink" | "open" | "chmod" | "truncate" | "execve" | "rename" | "chdir"
        | "umount2" => 0,
        "openat" | "openat2" | "mkdirat" | "unlinkat" | "renameat" | "renameat2" | "linkat" | "symlinkat"
        | "fchmodat" | "fchownat" | "mknodat" | "symlink" | "link" | "mount" => 1,
        "write" => 3,
        _ => return call.name.to_owned(),
    };
    if at == 3 {
        let target = fs::read_link(format!("/proc/{pid}/fd/{}", call.arguments[0])).unwrap_or_default();
        return format!("write to {}", target.display());
    }
    let mut text = Vec::new();
    'all: for word in 0..32u64 {
        let Ok(bytes) = ptrace::read(pid, (call.arguments[at] + 8 * word) as *mut _) else { break };
        for byte in bytes.to_ne_bytes() {
            if byte == 0 {
                break 'all;
            }
            text.push(byte);
        }
    }
    format!("{} {}", call.name, String::from_utf8_lossy(&text))
}

/// A command line as [`traced`] wants it, in a sandbox.
pub fn in_sandbox(s: &crate::Sandbox, line: &str, others: &[i32], injection: &Injection<'_>) -> Traced {
    debug_assert!(!words(line).is_empty());
    traced(&s.command(line), line, &s.dir, others, injection)
}
