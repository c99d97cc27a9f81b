//! Docker's default profile, that of moby in the middle of 2026, as a table of our own.
//!
//! It differs from the original in one way: the family of a socket is compared as the `int` that the kernel takes it
//! for. See `docs/seccomp.md`.

use super::Arch::{self, Aarch64, Arm, X86, X86_64};
use super::{Action, Compare, FLAG_SPEC_ALLOW, Filter, Op, Program, Rule, Syscall, compile};
use crate::caps::{Cap, CapSet};

/// The filter of a container with these capabilities on the running kernel, compiled.
pub fn default_program(caps: CapSet) -> Program {
    // a seventh of what the kernel takes, with any capabilities: tested
    compile(&default_filter(caps, kernel_version())).expect("the default profile is short")
}

/// The default profile for a container with these capabilities on a kernel of this version (major, minor).
pub fn default_filter(caps: CapSet, kernel: (u32, u32)) -> Filter {
    filter_for(Arch::NATIVE, caps, kernel)
}

/// [`default_filter`] for a machine of another architecture.
pub fn filter_for(native: Arch, caps: CapSet, kernel: (u32, u32)) -> Filter {
    let mut rules = Vec::with_capacity(512);
    for group in GROUPS.iter().filter(|group| group.applies(native, caps, kernel)) {
        rules.extend(group.calls.iter().map(|&call| Rule {
            call,
            action: group.action,
            when: group.when.to_vec(),
        }));
    }
    Filter {
        default: Action::Errno(libc::EPERM as u16),
        // as runc: programs that try a call newer than this table take another way on ENOSYS, but give up on EPERM
        beyond: Some(NOSYS),
        foreign: Action::KillProcess,
        arches: native.family().to_vec(),
        rules,
        // a filter is no reason to slow the whole container down for Spectre v4: the kernel's own default since 5.16
        flags: FLAG_SPEC_ALLOW,
    }
}

/// (major, minor) of the running kernel; zeros if it does not say.
pub fn kernel_version() -> (u32, u32) {
    let uname = rustix::system::uname();
    let release = uname.release().to_str().unwrap_or("");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Calls that are treated alike. All that a group asks for must be there, and nothing of what it excludes.
pub struct Group {
    /// What these calls have in common.
    pub what: &'static str,
    pub calls: &'static [Syscall],
    pub action: Action,
    /// Conditions on the arguments, all of which must hold.
    pub when: &'static [Compare],
    /// The capability that the container must have.
    pub needs_cap: Option<Cap>,
    /// The capability that the container must not have.
    pub not_cap: Option<Cap>,
    /// On which machines; none for all.
    pub arches: &'static [Arch],
    pub min_kernel: (u32, u32),
}

impl Group {
    fn applies(&self, native: Arch, caps: CapSet, kernel: (u32, u32)) -> bool {
        self.needs_cap.is_none_or(|cap| caps.has(cap))
            && self.not_cap.is_none_or(|cap| !caps.has(cap))
            && (self.arches.is_empty() || self.arches.contains(&native))
            && kernel >= self.min_kernel
    }
}

const ALLOWED: Group = Group {
    what: "",
    calls: &[],
    action: Action::Allow,
    when: &[],
    needs_cap: None,
    not_cap: None,
    arches: &[],
    min_kernel: (0, 0),
};

const NOSYS: Action = Action::Errno(libc::ENOSYS as u16);

/// Names to table entries while compiling: a misspelt call does not build.
macro_rules! calls {
    ($($name:literal)*) => { const { &resolve([$($name),*]) } };
}

const fn resolve<const N: usize>(names: [&str; N]) -> [Syscall; N] {
    let mut calls = [Syscall::named("read").unwrap(); N];
    let mut i = 0;
    while i < N {
        calls[i] = Syscall::named(names[i]).expect("a system call of the table");
        i += 1;
    }
    calls
}

/// Kinds of namespaces that clone(2) would make. (A time namespace is out of its reach, and clone3 is refused.)
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP) as u64;

const AF_ALG: u32 = libc::AF_ALG as u32;
const AF_VSOCK: u32 = libc::AF_VSOCK as u32;

pub static GROUPS: &[Group] = &[
    Group {
        what: "memory",
        calls: calls![
            "brk" "madvise" "map_shadow_stack" "membarrier" "memfd_create" "memfd_secret"
            "mincore" "mlock" "mlock2" "mlockall" "mmap" "mmap2" "mprotect" "mremap" "mseal"
            "msync" "munlock" "munlockall" "munmap" "pkey_alloc" "pkey_free" "pkey_mprotect"
            "process_mrelease" "remap_file_pages"
        ],
        ..ALLOWED
    },
    Group {
        what: "files by path: look at, make, remove, change",
        calls: calls![
            "access" "chdir" "chmod" "chown" "chown32" "creat" "faccessat" "faccessat2" "fchmodat"
            "fchmodat2" "fchownat" "fstatat64" "futimesat" "getcwd" "lchown" "lchown32" "link"
            "linkat" "listmount" "lstat" "lstat64" "mkdir" "mkdirat" "mknod" "mknodat"
            "name_to_handle_at" "newfstatat" "open" "openat" "openat2" "readlink" "readlinkat"
            "rename" "renameat" "renameat2" "rmdir" "stat" "stat64" "statfs" "statfs64"
            "statmount" "statx" "symlink" "symlinkat" "truncate" "truncate64" "umask" "unlink"
            "unlinkat" "utime" "utimensat" "utimensat_time64" "utimes"
        ],
        ..ALLOWED
    },
    Group {
        what: "extended attributes",
        calls: calls![
            "fgetxattr" "flistxattr" "fremovexattr" "fsetxattr" "getxattr" "getxattrat"
            "lgetxattr" "listxattr" "listxattrat" "llistxattr" "lremovexattr" "lsetxattr"
            "removexattr" "removexattrat" "setxattr" "setxattrat"
        ],
        ..ALLOWED
    },
    Group {
        what: "open files and pipes",
        calls: calls![
            "_llseek" "cachestat" "close" "close_range" "copy_file_range" "dup" "dup2" "dup3"
            "fadvise64" "fadvise64_64" "fallocate" "fchdir" "fchmod" "fchown" "fchown32" "fcntl"
            "fcntl64" "fdatasync" "flock" "fstat" "fstat64" "fstatfs" "fstatfs64" "fsync"
            "ftruncate" "ftruncate64" "getdents" "getdents64" "ioctl" "lseek" "pipe" "pipe2"
            "pread64" "preadv" "preadv2" "pwrite64" "pwritev" "pwritev2" "read" "readahead"
            "readv" "sendfile" "sendfile64" "splice" "sync" "sync_file_range" "syncfs" "tee"
            "vmsplice" "write" "writev"
        ],
        ..ALLOWED
    },
    Group {
        what: "waiting for descriptors",
        calls: calls![
            "_newselect" "epoll_create" "epoll_create1" "epoll_ctl" "epoll_ctl_old" "epoll_pwait"
            "epoll_pwait2" "epoll_wait" "epoll_wait_old" "eventfd" "eventfd2" "fanotify_mark"
            "inotify_add_watch" "inotify_init" "inotify_init1" "inotify_rm_watch" "poll" "ppoll"
            "ppoll_time64" "pselect6" "pselect6_time64" "select" "signalfd" "signalfd4"
            "timerfd_create" "timerfd_gettime" "timerfd_gettime64" "timerfd_settime"
            "timerfd_settime64"
        ],
        ..ALLOWED
    },
    Group {
        what: "asynchronous input and output",
        calls: calls![
            "io_cancel" "io_destroy" "io_getevents" "io_pgetevents" "io_pgetevents_time64"
            "io_setup" "io_submit" "ioprio_get" "ioprio_set"
        ],
        ..ALLOWED
    },
    Group {
        what: "sockets; socket(2) itself is below",
        calls: calls![
            "accept" "accept4" "bind" "connect" "getpeername" "getsockname" "getsockopt" "listen"
            "recv" "recvfrom" "recvmmsg" "recvmmsg_time64" "recvmsg" "send" "sendmmsg" "sendmsg"
            "sendto" "setsockopt" "shutdown" "socketcall" "socketpair"
        ],
        ..ALLOWED
    },
    Group {
        what: "System V and POSIX messages, semaphores, shared memory",
        calls: calls![
            "ipc" "mq_getsetattr" "mq_notify" "mq_open" "mq_timedreceive" "mq_timedreceive_time64"
            "mq_timedsend" "mq_timedsend_time64" "mq_unlink" "msgctl" "msgget" "msgrcv" "msgsnd"
            "semctl" "semget" "semop" "semtimedop" "semtimedop_time64" "shmat" "shmctl" "shmdt"
            "shmget"
        ],
        ..ALLOWED
    },
    Group {
        what: "processes, threads, locks",
        calls: calls![
            "execve" "execveat" "exit" "exit_group" "fork" "futex" "futex_requeue" "futex_time64"
            "futex_wait" "futex_waitv" "futex_wake" "get_robust_list" "get_thread_area" "getcpu"
            "getpgid" "getpgrp" "getpid" "getppid" "getpriority" "getsid" "gettid" "pidfd_open"
            "pidfd_send_signal" "prctl" "restart_syscall" "rseq" "sched_get_priority_max"
            "sched_get_priority_min" "sched_getaffinity" "sched_getattr" "sched_getparam"
            "sched_getscheduler" "sched_rr_get_interval" "sched_rr_get_interval_time64"
            "sched_setaffinity" "sched_setattr" "sched_setparam" "sched_setscheduler"
            "sched_yield" "set_robust_list" "set_thread_area" "set_tid_address" "setpgid"
            "setpriority" "setsid" "uretprobe" "vfork" "wait4" "waitid" "waitpid"
        ],
        ..ALLOWED
    },
    Group {
        what: "signals",
        calls: calls![
            "alarm" "kill" "pause" "rt_sigaction" "rt_sigpending" "rt_sigprocmask"
            "rt_sigqueueinfo" "rt_sigreturn" "rt_sigsuspend" "rt_sigtimedwait"
            "rt_sigtimedwait_time64" "rt_tgsigqueueinfo" "sigaltstack" "sigprocmask" "sigreturn"
            "tgkill" "tkill"
        ],
        ..ALLOWED
    },
    Group {
        what: "time",
        calls: calls![
            "adjtimex" "clock_adjtime" "clock_adjtime64" "clock_getres" "clock_getres_time64"
            "clock_gettime" "clock_gettime64" "clock_nanosleep" "clock_nanosleep_time64"
            "getitimer" "gettimeofday" "nanosleep" "setitimer" "time" "timer_create"
            "timer_delete" "timer_getoverrun" "timer_gettime" "timer_gettime64" "timer_settime"
            "timer_settime64" "times"
        ],
        ..ALLOWED
    },
    Group {
        what: "identity and limits",
        calls: calls![
            "capget" "capset" "getegid" "getegid32" "geteuid" "geteuid32" "getgid" "getgid32"
            "getgroups" "getgroups32" "getrandom" "getresgid" "getresgid32" "getresuid"
            "getresuid32" "getrlimit" "getrusage" "getuid" "getuid32" "prlimit64" "setfsgid"
            "setfsgid32" "setfsuid" "setfsuid32" "setgid" "setgid32" "setgroups" "setgroups32"
            "setregid" "setregid32" "setresgid" "setresgid32" "setresuid" "setresuid32" "setreuid"
            "setreuid32" "setrlimit" "setuid" "setuid32" "sysinfo" "ugetrlimit" "uname"
        ],
        ..ALLOWED
    },
    Group {
        what: "confining oneself further",
        calls: calls![
            "landlock_add_rule" "landlock_create_ruleset" "landlock_restrict_self" "seccomp"
        ],
        ..ALLOWED
    },
    Group {
        what: "sockets of all families but AF_ALG and AF_VSOCK: those below",
        calls: calls!["socket"],
        when: &[Compare::int(0, Op::Lt, AF_ALG)],
        ..ALLOWED
    },
    Group {
        what: "the one family between the two",
        calls: calls!["socket"],
        when: &[Compare::int(0, Op::Eq, AF_ALG + 1)],
        ..ALLOWED
    },
    Group {
        what: "the families above",
        calls: calls!["socket"],
        when: &[Compare::int(0, Op::Gt, AF_VSOCK)],
        ..ALLOWED
    },
    Group {
        what: "personality(2): PER_LINUX",
        calls: calls!["personality"],
        when: &[Compare::new(0, Op::Eq, 0)],
        ..ALLOWED
    },
    Group {
        what: "personality(2): PER_LINUX32",
        calls: calls!["personality"],
        when: &[Compare::new(0, Op::Eq, 0x0008)],
        ..ALLOWED
    },
    Group {
        what: "personality(2): UNAME26",
        calls: calls!["personality"],
        when: &[Compare::new(0, Op::Eq, 0x2_0000)],
        ..ALLOWED
    },
    Group {
        what: "personality(2): both",
        calls: calls!["personality"],
        when: &[Compare::new(0, Op::Eq, 0x2_0008)],
        ..ALLOWED
    },
    Group {
        what: "personality(2): only asking",
        calls: calls!["personality"],
        when: &[Compare::new(0, Op::Eq, 0xffff_ffff)],
        ..ALLOWED
    },
    Group {
        what: "other processes, in which older kernels let one go around the filter",
        calls: calls!["process_vm_readv" "process_vm_writev" "ptrace"],
        min_kernel: (4, 8),
        ..ALLOWED
    },
    Group {
        what: "machine's own: ARM",
        calls: calls![
            "arm_fadvise64_64" "arm_sync_file_range" "sync_file_range2" "breakpoint" "cacheflush"
            "set_tls"
        ],
        arches: &[Arm, Aarch64],
        ..ALLOWED
    },
    Group { what: "machine's own: x86-64", calls: calls!["arch_prctl"], arches: &[X86_64], ..ALLOWED },
    Group { what: "machine's own: x86", calls: calls!["modify_ldt"], arches: &[X86_64, X86], ..ALLOWED },
    Group {
        what: "clone without new namespaces",
        calls: calls!["clone"],
        when: &[Compare::masked(0, NAMESPACES, 0)],
        not_cap: Some(Cap::SysAdmin),
        ..ALLOWED
    },
    Group {
        what: "clone3, whose flags a filter cannot see: C libraries take clone instead if it does not exist",
        calls: calls!["clone3"],
        action: NOSYS,
        not_cap: Some(Cap::SysAdmin),
        ..ALLOWED
    },
    Group {
        what: "namespaces, mounts, host name, tracing",
        calls: calls![
            "bpf" "clone" "clone3" "fanotify_init" "fsconfig" "fsmount" "fsopen" "fspick"
            "lookup_dcookie" "lsm_get_self_attr" "lsm_list_modules" "lsm_set_self_attr" "mount"
            "mount_setattr" "move_mount" "open_tree" "perf_event_open" "quotactl" "quotactl_fd"
            "setdomainname" "sethostname" "setns" "syslog" "umount" "umount2" "unshare"
        ],
        needs_cap: Some(Cap::SysAdmin),
        ..ALLOWED
    },
    Group {
        what: "files by handle",
        calls: calls!["open_by_handle_at"],
        needs_cap: Some(Cap::DacReadSearch),
        ..ALLOWED
    },
    Group { what: "reboot", calls: calls!["reboot"], needs_cap: Some(Cap::SysBoot), ..ALLOWED },
    Group { what: "change of root", calls: calls!["chroot"], needs_cap: Some(Cap::SysChroot), ..ALLOWED },
    Group {
        what: "kernel modules",
        calls: calls!["delete_module" "init_module" "finit_module"],
        needs_cap: Some(Cap::SysModule),
        ..ALLOWED
    },
    Group { what: "process accounting", calls: calls!["acct"], needs_cap: Some(Cap::SysPacct), ..ALLOWED },
    Group {
        what: "other processes",
        calls: calls!["kcmp" "pidfd_getfd" "process_madvise" "process_vm_readv" "process_vm_writev" "ptrace"],
        needs_cap: Some(Cap::SysPtrace),
        ..ALLOWED
    },
    Group {
        what: "input and output ports",
        calls: calls!["iopl" "ioperm"],
        needs_cap: Some(Cap::SysRawio),
        ..ALLOWED
    },
    Group {
        what: "setting the clock",
        calls: calls!["settimeofday" "stime" "clock_settime" "clock_settime64"],
        needs_cap: Some(Cap::SysTime),
        ..ALLOWED
    },
    Group {
        what: "hanging up the terminal",
        calls: calls!["vhangup"],
        needs_cap: Some(Cap::SysTtyConfig),
        ..ALLOWED
    },
    Group {
        what: "memory policy",
        calls: calls!["get_mempolicy" "mbind" "set_mempolicy" "set_mempolicy_home_node"],
        needs_cap: Some(Cap::SysNice),
        ..ALLOWED
    },
    Group { what: "kernel log", calls: calls!["syslog"], needs_cap: Some(Cap::Syslog), ..ALLOWED },
    Group { what: "eBPF", calls: calls!["bpf"], needs_cap: Some(Cap::Bpf), ..ALLOWED },
    Group {
        what: "performance counters",
        calls: calls!["perf_event_open"],
        needs_cap: Some(Cap::Perfmon),
        ..ALLOWED
    },
];

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;

    fn answer(program: &Program, arch: Arch, name: &str, args: [u64; 6]) -> Action {
        let nr = Syscall::named(name).unwrap().number(arch).unwrap();
        program.answer(&Call { nr, arch: arch.audit(), ip: 0, args })
    }

    fn first(value: u64) -> [u64; 6] {
        [value, 0, 0, 0, 0, 0]
    }

    const NO: Action = Action::Errno(libc::EPERM as u16);
    const YES: Action = Action::Allow;

    #[test]
    fn what_a_container_may_by_default() {
        let program = compile(&filter_for(X86_64, CapSet::DOCKER_DEFAULT, (6, 1))).unwrap();
        let ask = |name, arg0| answer(&program, X86_64, name, first(arg0));
        for name in ["read", "openat2", "chroot", "ptrace", "uretprobe", "arch_prctl", "removexattrat"] {
            assert_eq!(ask(name, 0), YES, "{name}");
        }
        for name in
            ["mount", "keyctl", "bpf", "unshare", "setns", "io_uring_setup", "userfaultfd", "kexec_load"]
        {
            assert_eq!(ask(name, 0), NO, "{name}");
        }
        assert_eq!(ask("clone3", 0), NOSYS);
        assert_eq!(ask("clone", libc::SIGCHLD as u64), YES);
        assert_eq!(ask("clone", libc::SIGCHLD as u64 | libc::CLONE_NEWUSER as u64), NO);
        assert_eq!(ask("personality", 0xffff_ffff), YES);
        assert_eq!(ask("personality", 0x004_0000), NO); // ADDR_NO_RANDOMIZE
    }

    /// moby compares all 64 bits: there, `socket(0x1_0000_0026, …)` passes for a high family and makes an AF_ALG socket.
    #[test]
    fn socket_families_cannot_hide_in_the_upper_half() {
        let program = compile(&filter_for(X86_64, CapSet::DOCKER_DEFAULT, (6, 1))).unwrap();
        for high in [0, 1 << 32, 0xffff_ffff << 32] {
            for family in 0..50 {
                let expected = if family == 38 || family == 40 { NO } else { YES };
                assert_eq!(answer(&program, X86_64, "socket", first(high | family)), expected, "{family}");
            }
        }
        assert_eq!(answer(&program, X86, "socket", first(38)), NO);
    }

    #[test]
    fn capabilities_open_what_is_theirs() {
        let with = |cap| compile(&filter_for(X86_64, CapSet::from(cap), (6, 1))).unwrap();
        let admin = with(Cap::SysAdmin);
        for name in ["mount", "clone3", "setns", "bpf", "perf_event_open"] {
            assert_eq!(answer(&admin, X86_64, name, [0; 6]), YES, "{name}");
        }
        assert_eq!(answer(&admin, X86_64, "clone", first(libc::CLONE_NEWUSER as u64)), YES);
        assert_eq!(answer(&admin, X86_64, "chroot", [0; 6]), NO);
        assert_eq!(answer(&with(Cap::Bpf), X86_64, "bpf", [0; 6]), YES);
        assert_eq!(answer(&with(Cap::Bpf), X86_64, "mount", [0; 6]), NO);
        assert_eq!(answer(&with(Cap::SysTime), X86, "stime", [0; 6]), YES);
    }

    #[test]
    fn old_kernels_and_other_machines() {
        let old = compile(&filter_for(X86_64, CapSet::EMPTY, (4, 7))).unwrap();
        assert_eq!(answer(&old, X86_64, "ptrace", [0; 6]), NO);
        let arm = compile(&filter_for(Aarch64, CapSet::DOCKER_DEFAULT, (6, 1))).unwrap();
        assert_eq!(answer(&arm, Arm, "set_tls", [0; 6]), YES);
        assert_eq!(answer(&arm, Aarch64, "openat", [0; 6]), YES);
        assert_eq!(answer(&arm, Aarch64, "mount", [0; 6]), NO);
        assert_eq!(answer(&arm, X86_64, "read", [0; 6]), Action::KillProcess);
    }

    #[test]
    fn short_with_any_capabilities() {
        for bits in [0, CapSet::DOCKER_DEFAULT.0, CapSet::ALL.0].into_iter().chain((0..41).map(|n| 1 << n)) {
            for native in [X86_64, Aarch64] {
                let program = compile(&filter_for(native, CapSet(bits), (6, 18))).unwrap();
                assert!(program.insns.len() < 600, "{bits:#x}: {}", program.insns.len());
            }
        }
        assert!(kernel_version() >= (5, 0));
    }
}
