//! The default filter on a real process: what it may and may not do, by the kernel's word.
#![allow(unsafe_code)]

use kernel::caps::{self, CapSet};
use kernel::seccomp::{self, Action, Compare, Op, Rule, Syscall};

/// Runs `body` in a child and returns its exit code, or 1000 + the signal that ended it.
fn in_child(body: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child only makes system calls on what exists already, and ends without running destructors.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(body());
        }
        let mut status = 0;
        libc::waitpid(pid, &mut status, 0);
        if libc::WIFSIGNALED(status) { 1000 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
    }
}

/// The call's errno, 0 if it passed.
fn errno_of(number: libc::c_long, args: [u64; 3]) -> i32 {
    // SAFETY: the callers pass arguments that do no harm: null pointers, invalid descriptors.
    match unsafe { libc::syscall(number, args[0], args[1], args[2], 0, 0, 0) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap_or(-1),
        _ => 0,
    }
}

#[test]
fn the_default_filter_holds() {
    let program = seccomp::default_program(CapSet::DOCKER_DEFAULT);
    let expectations: &[(libc::c_long, [u64; 3], i32)] = &[
        (libc::SYS_getpid, [0; 3], 0),
        (libc::SYS_openat, [u64::MAX, 0, 0], libc::EFAULT),
        (libc::SYS_mount, [0; 3], libc::EPERM),
        (libc::SYS_keyctl, [0; 3], libc::EPERM),
        (libc::SYS_clone3, [0; 3], libc::ENOSYS),
        (libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0], libc::EPERM),
        (libc::SYS_setns, [u64::MAX, 0, 0], libc::EPERM),
        (libc::SYS_bpf, [0; 3], libc::EPERM),
        (libc::SYS_personality, [0xffff_ffff, 0, 0], 0),
        (libc::SYS_socket, [libc::AF_UNIX as u64, libc::SOCK_STREAM as u64, 0], 0),
        (libc::SYS_socket, [libc::AF_ALG as u64, libc::SOCK_SEQPACKET as u64, 0], libc::EPERM),
        (libc::SYS_socket, [1 << 32 | libc::AF_ALG as u64, libc::SOCK_SEQPACKET as u64, 0], libc::EPERM),
        (libc::SYS_socket, [libc::AF_VSOCK as u64, libc::SOCK_STREAM as u64, 0], libc::EPERM),
        (libc::SYS_chroot, [0; 3], libc::EFAULT),
        (100_000, [0; 3], libc::ENOSYS),
        (0x4000_0000 | 39, [0; 3], libc::ENOSYS),
    ];
    let code = in_child(|| {
        if caps::no_new_privs().is_err() || seccomp::install(&program).is_err() {
            return 200;
        }
        let failed = expectations.iter().position(|&(number, args, errno)| errno_of(number, args) != errno);
        failed.map_or(0, |index| index as i32 + 1)
    });
    match code {
        0 => {}
        200 => panic!("not installed"),
        n => panic!("not as expected: {:x?} (code {n})", expectations.get(n as usize - 1)),
    }
}

#[test]
fn killing_and_the_listener() {
    let call = Syscall::named("getppid").unwrap();
    let rule = |action, when| Rule { call, action, when };
    let mut filter = seccomp::default_filter(CapSet::DOCKER_DEFAULT, (6, 1));
    filter.default = Action::Allow;
    filter.beyond = None;
    filter.rules = vec![rule(Action::KillProcess, vec![Compare::new(0, Op::Eq, 7)])];
    let killing = seccomp::compile(&filter).unwrap();
    let code = in_child(|| {
        if caps::no_new_privs().is_err() || seccomp::install(&killing).is_err() {
            return 200;
        }
        if errno_of(libc::SYS_getppid, [6, 0, 0]) != 0 {
            return 201;
        }
        errno_of(libc::SYS_getppid, [7, 0, 0])
    });
    assert_eq!(code, 1000 + libc::SIGSYS);

    filter.rules = vec![rule(Action::Notify, vec![])];
    let notifying = seccomp::compile(&filter).unwrap();
    let code = in_child(|| match caps::no_new_privs().and_then(|()| seccomp::install_listener(&notifying)) {
        Ok(fd) => {
            let twice = seccomp::install_listener(&notifying).err();
            // with nobody left to answer, the kernel answers
            drop(fd);
            match (errno_of(libc::SYS_getppid, [0; 3]), twice) {
                (libc::ENOSYS, Some(rustix::io::Errno::BUSY)) => 0,
                _ => 202,
            }
        }
        Err(_) => 200,
    });
    assert_eq!(code, 0);
}

#[test]
fn calls_are_answered_by_another_process() {
    use kernel::process;
    use kernel::seccomp::notify::{self, Answer};
    use std::os::fd::AsRawFd;
    let mut filter = seccomp::default_filter(CapSet::DOCKER_DEFAULT, (6, 1));
    filter.default = Action::Allow;
    filter.beyond = None;
    let when = vec![Compare::new(0, Op::Ge, 100)];
    filter.rules = vec![Rule { call: Syscall::named("getppid").unwrap(), action: Action::Notify, when }];
    let program = seccomp::compile(&filter).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let parent = i64::from(std::process::id());
    let (pid, pidfd) = match process::fork().unwrap() {
        process::Side::Parent { pid, pidfd } => (pid, pidfd),
        process::Side::Child => {
            let listener = caps::no_new_privs().and_then(|()| seccomp::install_listener(&program)).unwrap();
            let number = listener.as_raw_fd().to_ne_bytes();
            rustix::io::write(&writer, &number).unwrap();
            let one = errno_of(libc::SYS_getppid, [100, 0, 0]);
            // SAFETY: the call takes nothing; the filter looks at what is passed all the same.
            let two = unsafe { libc::syscall(libc::SYS_getppid, 200) };
            // SAFETY: as above.
            let three = unsafe { libc::syscall(libc::SYS_getppid, 300) };
            process::exit(i32::from(one != libc::EDQUOT || two != 4242 || three != parent))
        }
    };
    let mut number = [0u8; 4];
    std::io::Read::read_exact(&mut reader, &mut number).unwrap();
    let listener = process::take_descriptor(&pidfd, i32::from_ne_bytes(number)).unwrap();
    for (argument, answer) in
        [(100, Answer::Error(rustix::io::Errno::DQUOT)), (200, Answer::Value(4242)), (300, Answer::Continue)]
    {
        let asked = notify::receive(&listener).unwrap();
        assert_eq!((asked.pid.cast_signed(), asked.call.args[0]), (pid, argument));
        notify::answer(&listener, asked.id, answer).unwrap();
    }
    let status = rustix::process::waitid(
        rustix::process::WaitId::PidFd(rustix::fd::AsFd::as_fd(&pidfd)),
        rustix::process::WaitIdOptions::EXITED,
    );
    assert_eq!(status.unwrap().unwrap().exit_status(), Some(0));
    assert_eq!(notify::answer(&listener, 1, Answer::Continue), Err(rustix::io::Errno::NOENT));
}
