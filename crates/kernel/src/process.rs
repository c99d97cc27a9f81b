//! Processes and namespaces: clone3, setns, execve, ids, limits, and descriptors by number.

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::time::Duration;

mod program;

pub use program::{Strings, execve, execve_with, execveat, execveat_with};

/// Namespace bits of clone3(2), unshare(2) and setns(2). 64 bits wide: libc's `CLONE_INTO_CGROUP` overflows a C int.
pub const CLONE_NEWTIME: u64 = 0x80;
pub const CLONE_NEWNS: u64 = 0x0002_0000;
pub const CLONE_NEWCGROUP: u64 = 0x0200_0000;
pub const CLONE_NEWUTS: u64 = 0x0400_0000;
pub const CLONE_NEWIPC: u64 = 0x0800_0000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const CLONE_NEWPID: u64 = 0x2000_0000;
pub const CLONE_NEWNET: u64 = 0x4000_0000;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The argument of clone3(2), `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Which side of a clone this is.
#[derive(Debug)]
pub enum Side {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// Makes a child in new namespaces, born in the cgroup (v2) that `cgroup` is a directory of. See clone3(2).
///
/// The caller must have one thread only: the child goes on with a copy of the heap whose locks nobody else may hold.
pub fn clone(namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Side, Errno> {
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: namespaces | CLONE_PIDFD,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the given size, and without CLONE_VM the child has its own memory and
    // goes on with a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(last_errno()),
        0 => Ok(Side::Child),
        // SAFETY: with CLONE_PIDFD the kernel stored a new descriptor, which nobody else owns.
        pid => Ok(Side::Parent { pid: pid as i32, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// A plain fork(2) with a pidfd.
pub fn fork() -> Result<Side, Errno> {
    clone(0, None)
}

pub(crate) fn last_errno() -> Errno {
    // SAFETY: errno is a thread's own.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}

pub(crate) fn done(result: i64) -> Result<(), Errno> {
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Leaves shared namespaces for new ones. See unshare(2).
pub fn unshare(namespaces: u64) -> Result<(), Errno> {
    // SAFETY: takes flags only.
    done(unsafe { libc::syscall(libc::SYS_unshare, namespaces) })
}

/// Joins the namespace (or, with a pidfd, several namespaces). See setns(2).
pub fn set_namespace(fd: impl AsFd, namespaces: u64) -> Result<(), Errno> {
    // SAFETY: takes a descriptor and flags only.
    done(unsafe { libc::syscall(libc::SYS_setns, fd.as_fd().as_raw_fd(), namespaces) })
}

/// Tries the way back to namespaces of one's own, and once more where that fails; ends the process with 125 where it fails again: all that
/// followed would be done in the wrong place.
pub fn must_come_back<E>(mut attempt: impl FnMut() -> Result<(), E>) {
    if attempt().is_err() && attempt().is_err() {
        exit(125);
    }
}

/// Which kind of namespace a descriptor is of, as its bit; `ENOTTY` when of none. See ioctl_nsfs(2).
pub fn namespace_kind(fd: impl AsFd) -> Result<u64, Errno> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request takes no argument and answers a number.
    match unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), NS_GET_NSTYPE) } {
        -1 => Err(last_errno()),
        flag => Ok(u64::from(flag.cast_unsigned())),
    }
}

/// When a process began, in clock ticks after the machine's start; `None` when it is not there or only waits to be
/// reaped. With it a pid names one process for ever. See proc_pid_stat(5).
pub fn start_ticks(pid: i32) -> Option<u64> {
    status(pid).filter(|status| !status.ended).map(|status| status.start_ticks)
}

/// How long ago that moment was, by CLOCK_BOOTTIME: nobody sets it, and it goes on while the machine sleeps. See time_namespaces(7).
pub fn since_ticks(start_ticks: u64) -> Duration {
    // USER_HZ: what /proc calls a clock tick is a hundredth of a second on every Linux.
    let started = Duration::from_millis(start_ticks.saturating_mul(10));
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32).saturating_sub(started)
}

/// What `/proc/PID/stat` tells. See proc_pid_stat(5).
#[derive(Debug, Clone, Copy)]
pub struct ProcessStatus {
    /// When it began, in clock ticks after the machine's start.
    pub start_ticks: u64,
    /// It only waits to be reaped.
    pub ended: bool,
    /// It is about to end, or has ended, and never called execve(2).
    pub ended_unborn: bool,
}

/// `None` when there is no such process.
pub fn status(pid: i32) -> Option<ProcessStatus> {
    use std::io::ErrorKind;
    let path = format!("/proc/{pid}/stat");
    let read = || std::fs::read_to_string(&path);
    let text = match read() {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => return None,
        // To be taken for dead would be a mistake that others act on.
        Err(_) => read().ok()?,
    };
    parse_status(&text)
}

/// A field of the text of `/proc/PID/status`, without the space around it. See proc_pid_status(5).
pub fn status_field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn parse_status(text: &str) -> Option<ProcessStatus> {
    // PF_EXITING and PF_FORKNOEXEC of linux/sched.h.
    const UNBORN: u32 = 0x4 | 0x40;
    // The name, in parentheses, may hold anything.
    let mut words = text[text.rfind(')')? + 2..].split(' ');
    let ended = matches!(words.next()?, "Z" | "X");
    let flags: u32 = words.nth(5)?.parse().ok()?;
    let start_ticks = words.nth(12)?.parse().ok()?;
    Some(ProcessStatus { start_ticks, ended, ended_unborn: flags & UNBORN == UNBORN })
}

/// Opens `/proc/PID/ns/KIND`.
pub fn open_namespace(pid: i32, kind: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(format!("/proc/{pid}/ns/{kind}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens this process's own namespace of that kind.
pub fn open_own_namespace(kind: &str) -> Result<OwnedFd, Errno> {
    rustix::fs::open(format!("/proc/self/ns/{kind}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// The root of the proc that this process sees, and not of anything that is mounted in its place. Later opens go
/// through [`write_own`].
pub fn open_proc() -> Result<OwnedFd, Errno> {
    const PROC_SUPER_MAGIC: i64 = 0x9fa0;
    const PROC_ROOT_INO: u64 = 1;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let proc = rustix::fs::open(c"/proc", flags, Mode::empty())?;
    let real = rustix::fs::fstatfs(&proc)?.f_type == PROC_SUPER_MAGIC
        && rustix::fs::fstat(&proc)?.st_ino == PROC_ROOT_INO;
    if real { Ok(proc) } else { Err(Errno::NODEV) }
}

/// Writes a file of the calling thread's own, such as `attr/exec`, in one call, in the proc that `proc` is the root of;
/// refused when something is mounted over the way to it (CVE-2019-16884). Allocates nothing.
pub fn write_own(proc: impl AsFd, file: &CStr, content: &[u8]) -> Result<(), Errno> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = openat2(&proc, c"thread-self", directory, Mode::empty(), resolve)?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat2(own, file, flags, Mode::empty(), resolve)?;
    rustix::io::write(file, content).map(drop)
}

/// Writes a file of another process's `/proc` directory in one call, as `uid_map` wants it.
pub fn write_proc(pid: i32, file: &'static str, content: &[u8]) -> Result<(), Errno> {
    let fd =
        rustix::fs::open(format!("/proc/{pid}/{file}"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(fd, content).map(drop)
}

/// Supplementary groups, replacing all. By system call: libc's wrapper would signal other threads.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the pointer and length are of one slice; gid_t is u32.
    done(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) })
}

/// Real, effective and saved user and group at once.
pub fn set_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) })?;
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) })
}

/// Does `work` with the file system ids of `id`, but with all the capabilities that this thread has: what it makes belongs
/// to `id`. See setfsuid(2).
pub fn as_owner<T>(id: u32, work: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let (effective, permitted, inheritable) = crate::caps::current()?;
    let set = |id: u32| {
        // SAFETY: numbers only; the answer is the old id, not an error.
        unsafe {
            libc::syscall(libc::SYS_setfsgid, id);
            libc::syscall(libc::SYS_setfsuid, id);
        }
    };
    set(id);
    // Leaving 0 took the rights over files away from the effective set.
    let result = crate::caps::set(effective, permitted, inheritable).and_then(|()| work());
    set(0);
    crate::caps::set(effective, permitted, inheritable)?;
    result
}

/// One resource limit of the process (0: the caller); `None` is unlimited. EPERM without CAP_SYS_RESOURCE in the first
/// user namespace for a harder one than it has. See prlimit(2).
pub fn set_limit(pid: i32, resource: u32, soft: Option<u64>, hard: Option<u64>) -> Result<(), Errno> {
    let value = |v: Option<u64>| v.unwrap_or(libc::RLIM64_INFINITY);
    let limit = libc::rlimit64 { rlim_cur: value(soft), rlim_max: value(hard) };
    // SAFETY: `limit` is a valid rlimit64; no old value is asked for.
    done(unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid,
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    })
}

/// The present soft and hard limit of the process (0: the caller).
pub fn limit(pid: i32, resource: u32) -> Result<(Option<u64>, Option<u64>), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for the old value; no new value is given.
    done(unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, std::ptr::null::<libc::rlimit64>(), &raw mut limit)
    })?;
    let value = |v: u64| (v != libc::RLIM64_INFINITY).then_some(v);
    Ok((value(limit.rlim_cur), value(limit.rlim_max)))
}

/// Makes sure that the working directory is below the present root: a directory of the host, reached by an inherited
/// descriptor, has no path and answers `ENOENT` (CVE-2024-21626).
pub fn is_inside() -> Result<(), Errno> {
    let mut buffer = [0u8; 4096];
    // SAFETY: the buffer is as long as is said.
    let n = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if n <= 0 {
        return Err(last_errno());
    }
    // The kernel says "(unreachable)/…" of a directory outside.
    if buffer[0] == b'/' { Ok(()) } else { Err(Errno::NOENT) }
}

/// Marks all descriptors from `first` on as to be closed at execve(2). See close_range(2).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only sets a flag on descriptors.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) })
}

/// Closes all descriptors from `first` to `last`.
pub fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: the caller gives up those descriptors; owners that are dropped later get EBADF, which is ignored.
    done(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Closes all descriptors from `first` on but those in `kept`, of which −1 is none. Allocates nothing.
pub fn close_all_but(first: u32, mut kept: [RawFd; 2]) -> Result<(), Errno> {
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().filter_map(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= first) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

/// Nobody but root may look into this process, nor trace it (CVE-2016-9962). See prctl(2).
pub fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, i64::from(dumpable), 0, 0, 0) })
}

/// This process dies (by `signal`) when its parent does; 0 turns it off.
pub fn die_with_parent(signal: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, i64::from(signal), 0, 0, 0) })
}

/// Orphans of its descendants become this process's children.
pub fn become_subreaper() -> Result<(), Errno> {
    // SAFETY: numbers only.
    done(unsafe { libc::syscall(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })
}

/// The name that ps(1) shows; at most 15 bytes.
pub fn set_name(name: &CStr) {
    // SAFETY: the string is terminated; a failure only leaves the old name.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// Blocks or unblocks all signals for this thread.
pub fn block_all_signals(block: bool) {
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: both functions work on a set on this stack.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::sigprocmask(how, &raw const set, std::ptr::null_mut());
    }
}

/// Every signal gets its default action again, as a program expects it after execve(2).
pub fn default_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL needs no handler; KILL and STOP answer EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Signals to read as data: a signalfd(2) for `signals`, which are blocked.
pub fn signal_fd(signals: &[i32]) -> Result<OwnedFd, Errno> {
    // SAFETY: the set lives on this stack; the new descriptor belongs to nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 { Err(last_errno()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// The next signal waiting in a [`signal_fd`]; `None` when there is none.
pub fn next_signal(fd: impl AsFd) -> Option<i32> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(fd, &mut info) {
        Ok(n) if n == info.len() => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
        _ => None,
    }
}

/// A copy of a descriptor that another process has under that number. Needs to be allowed to trace it. See
/// pidfd_getfd(2).
pub fn take_descriptor(pidfd: impl AsFd, number: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes numbers only; the new descriptor belongs to nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_fd().as_raw_fd(), number, 0);
        if fd < 0 { Err(last_errno()) } else { Ok(OwnedFd::from_raw_fd(fd as RawFd)) }
    }
}

/// Sends a signal by number (0 only asks whether the process is there). See pidfd_send_signal(2).
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: takes a descriptor and numbers; without siginfo the kernel fills it in as for kill(2).
    done(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_fd().as_raw_fd(), signal, info, 0) })
}

/// Reaps every child that has ended, but leaves `spared` to whoever waits for it.
pub fn reap_others(spared: i32) {
    loop {
        // SAFETY: the struct is plain data, all zeroes is a value of it, and the kernel fills it in.
        let pid = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_ALL, 0, &raw mut info, options) != 0 {
                return;
            }
            info.si_pid()
        };
        if pid == 0 || pid == spared {
            return;
        }
        // SAFETY: no status is asked for.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
    }
}

/// A descriptor known only by its number. The caller vouches that it stays open as long as the borrow.
pub fn borrow_raw<'a>(raw: RawFd) -> BorrowedFd<'a> {
    // SAFETY: callers pass numbers of open descriptors (never -1) that they keep open.
    unsafe { BorrowedFd::borrow_raw(raw) }
}

/// Takes over a descriptor by its number; `None` for −1.
pub fn own_raw(raw: RawFd) -> Option<OwnedFd> {
    // SAFETY: callers pass a number that they own and give up.
    (raw >= 0).then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Closes a descriptor by its number; −1 is none.
pub fn close_raw(raw: RawFd) {
    drop(own_raw(raw));
}

/// Ends this process at once, without any handler of the C library or of Rust.
pub fn exit(code: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_reads_back() {
        let (soft, hard) = limit(0, libc::RLIMIT_CORE).unwrap();
        set_limit(0, libc::RLIMIT_CORE, soft, hard).unwrap();
        let pid = std::process::id().cast_signed();
        assert_eq!(limit(pid, libc::RLIMIT_CORE).unwrap(), (soft, hard));
    }

    #[test]
    fn a_process_is_as_old_as_it_is() {
        let start = start_ticks(std::process::id().cast_signed()).unwrap();
        assert!(since_ticks(start) < since_ticks(start - 1) && since_ticks(start) < since_ticks(0));
        assert_eq!(since_ticks(u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_file_of_its_own_is_written() {
        let proc = open_proc().unwrap();
        let name = std::thread::spawn(move || {
            write_own(&proc, c"comm", b"renamed").unwrap();
            assert_eq!(write_own(&proc, c"attr/nosuch", b""), Err(Errno::NOENT));
            assert_eq!(write_own(&proc, c"../../version", b""), Err(Errno::XDEV));
            assert_eq!(write_own(&proc, c"root/x", b""), Err(Errno::LOOP));
            std::fs::read_to_string("/proc/thread-self/comm").unwrap()
        });
        assert_eq!(name.join().unwrap(), "renamed\n");
    }

    #[test]
    fn a_descriptor_is_copied_from_another_process() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let pid = rustix::process::getpid();
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let copy = take_descriptor(&pidfd, writer.as_raw_fd()).unwrap();
        drop(writer);
        rustix::io::write(copy, b"x").unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
        assert_eq!(text, "x");
        assert_eq!(take_descriptor(&pidfd, 1 << 20).unwrap_err(), Errno::BADF);
    }

    #[test]
    fn the_tests_directory_is_inside() {
        is_inside().unwrap();
    }

    #[test]
    fn a_status_is_read_behind_any_name() {
        let text = |state: &str, flags: u32| {
            format!("7 (a) b) {state} 1 7 7 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 1 0 4242 0 0")
        };
        let of = |state, flags| {
            let status = parse_status(&text(state, flags)).unwrap();
            (status.start_ticks, status.ended, status.ended_unborn)
        };
        assert_eq!(of("S", 0x400040), (4242, false, false));
        assert_eq!(of("R", 0x400044), (4242, false, true));
        assert_eq!(of("Z", 0x400044), (4242, true, true));
        assert_eq!(of("Z", 0x400004), (4242, true, false));
        assert!(parse_status("7 (a) S 1").is_none());
    }
}
