//! The init of `--init`: the first process of a container, which runs the program as its child, passes every signal on to
//! it, reaps orphans, and ends as the program ends. Called as `corten-init -- PROGRAM [ARG…]`.
//!
//! A program of its own, not a part of any crate: no C library, no heap, so that it is small and needs nothing of the
//! image. build.rs compiles it; the engine carries it in itself. As tini(1) does by default.
#![no_std]
#![no_main]
#![no_builtins]

use core::arch::{asm, global_asm};

const SIGCHLD: usize = 17;
const SIG_SETMASK: usize = 2;
const WNOHANG: usize = 1;
const EINTR: isize = 4;
const ENOENT: isize = 2;
const ENOTDIR: isize = 20;
const EACCES: isize = 13;
const TIOCSPGRP: usize = 0x5410;
const PR_SET_NAME: usize = 15;
const PR_SET_CHILD_SUBREAPER: usize = 36;
/// Bytes of a kernel's signal set.
const SET: usize = 8;
/// Bytes of a path. See limits.h.
const PATH_MAX: usize = 4096;
/// Where a program is looked for when the environment has no `PATH`.
const PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0";

/// Under this name it runs nothing, but is there to be looked at, for so many seconds.
const WAIT: &[u8] = b"/.corten-wait";
const SECONDS: usize = 60;

type Word = *const u8;

/// `stack` is what the kernel left: the count of arguments, the arguments, null, the environment, null.
#[unsafe(no_mangle)]
extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the kernel's layout of a new process's stack, which stays as it is while the process lives.
    let (argv, env, count) = unsafe {
        let count = *stack;
        let argv = stack.add(1).cast::<Word>();
        (argv, argv.add(count + 1), count)
    };
    // SAFETY: the first argument is there when one is.
    if count > 0 && text(unsafe { *argv }).ends_with(WAIT) {
        wait();
    }
    if count < 3 {
        say(b"usage: corten-init -- PROGRAM [ARG...]\n");
        exit(127);
    }
    call(PRCTL, [PR_SET_NAME, b"corten-init\0".as_ptr() as usize, 0, 0]);
    // Where it is not process 1 (--pid host), orphans are to come here all the same.
    call(PRCTL, [PR_SET_CHILD_SUBREAPER, 1, 0, 0]);
    let all = u64::MAX;
    mask(all);
    let child = call(CLONE, [SIGCHLD, 0, 0, 0]);
    match child {
        // SAFETY: the two words before the program are there, as counted above.
        0 => become_program(unsafe { argv.add(2) }, env),
        1.. => watch(child as usize, all),
        _ => {
            say(b"corten-init: cannot fork\n");
            exit(125)
        }
    }
}

/// Waits for the time that somebody needs to look at it.
fn wait() -> ! {
    let (none, time) = (0u64, [SECONDS, 0]);
    call(SIGTIMEDWAIT, [&raw const none as usize, 0, &raw const time as usize, SET]);
    exit(0)
}

/// Waits for signals, which are blocked and so are never lost, until the child has ended.
fn watch(child: usize, all: u64) -> ! {
    loop {
        match call(SIGTIMEDWAIT, [&raw const all as usize, 0, 0, SET]) {
            signal if signal == SIGCHLD as isize => reap(child as isize),
            signal @ 1.. => {
                call(KILL, [child, signal as usize, 0, 0]);
            }
            // Stopped and continued, or traced.
            _ => {}
        }
    }
}

/// Takes in all that have ended; the child's end is ours, and with it the container's.
fn reap(child: isize) {
    loop {
        let mut status = 0i32;
        let pid = call(WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0]);
        if pid == child {
            let signal = status & 0x7f;
            exit(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal });
        }
        if pid <= 0 && pid != -EINTR {
            return;
        }
    }
}

/// The child: a process group of its own, which has the terminal if there is one, so that Ctrl-C is the program's alone.
fn become_program(argv: *const Word, env: *const Word) -> ! {
    call(SETPGID, [0, 0, 0, 0]);
    let group = call(GETPID, [0; 4]) as i32;
    // Signals are blocked still: else the terminal would stop this process for not being in the foreground.
    call(IOCTL, [0, TIOCSPGRP, &raw const group as usize, 0]);
    mask(0);
    // SAFETY: there is at least one argument.
    let word = unsafe { *argv };
    let answer = run(word, argv, env);
    say(b"corten-init: cannot run ");
    say(text(word));
    say(match answer {
        ENOENT => b": no such file or directory\n",
        EACCES => b": permission denied\n",
        8 => b": exec format error\n",
        _ => b": the kernel refused\n",
    });
    exit(if answer == ENOENT { 127 } else { 126 })
}

/// As execvp(3): a word with a slash is a path, any other is looked for in `PATH`. Returns why it could not be run.
fn run(word: Word, argv: *const Word, env: *const Word) -> isize {
    let execute = |path: Word| -call(EXECVE, [path as usize, argv as usize, env as usize, 0]);
    let name = text(word);
    if name.is_empty() {
        return ENOENT;
    }
    if name.contains(&b'/') {
        return execute(word);
    }
    let mut answer = ENOENT;
    let mut rest = search_path(env);
    loop {
        let mut path = Path { bytes: [const { core::mem::MaybeUninit::uninit() }; PATH_MAX], length: 0 };
        while let Some((&byte, after)) = rest.split_first()
            && byte != b':'
        {
            path.push(byte);
            rest = after;
        }
        if path.length > 0 {
            path.push(b'/');
        }
        name.iter().for_each(|&byte| path.push(byte));
        path.push(0);
        if path.length < PATH_MAX {
            match execute(path.bytes.as_ptr().cast()) {
                ENOENT | ENOTDIR => {}
                // It is there but may not be run: remembered, in case there is no other.
                EACCES => answer = EACCES,
                other => return other,
            }
        }
        match rest.split_first() {
            Some((_, after)) => rest = after,
            None => return answer,
        }
    }
}

/// The value of `PATH` in an environment.
fn search_path(mut env: *const Word) -> &'static [u8] {
    // SAFETY: the environment ends with a null pointer, before which each is of a terminated string.
    while let word @ 1.. = unsafe { *env as usize } {
        if let Some(value) = text(word as Word).strip_prefix(b"PATH=") {
            return value;
        }
        // SAFETY: not past the null pointer.
        env = unsafe { env.add(1) };
    }
    text(PATH.as_ptr())
}

struct Path {
    bytes: [core::mem::MaybeUninit<u8>; PATH_MAX],
    length: usize,
}

impl Path {
    /// What does not fit leaves the length at its limit.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            place.write(byte);
            self.length += 1;
        }
    }
}

/// A terminated string, without its end.
fn text(word: Word) -> &'static [u8] {
    let mut length = 0;
    // SAFETY: arguments and environment are terminated, and live as long as the process.
    unsafe {
        while *word.add(length) != 0 {
            length += 1;
        }
        core::slice::from_raw_parts(word, length)
    }
}

fn say(text: &[u8]) {
    call(WRITE, [2, text.as_ptr() as usize, text.len(), 0]);
}

fn mask(set: u64) {
    call(SIGPROCMASK, [SIG_SETMASK, &raw const set as usize, 0, SET]);
}

fn exit(code: i32) -> ! {
    loop {
        call(EXIT_GROUP, [code as usize, 0, 0, 0]);
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(125)
}

#[cfg(target_arch = "x86_64")]
mod machine {
    pub const WRITE: usize = 1;
    pub const SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const SETPGID: usize = 109;
    pub const SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const EXIT_GROUP: usize = 231;

    super::global_asm!(
        ".globl _start",
        "_start:",
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call begin",
        "ud2"
    );

    /// A system call with up to four arguments; a fifth is 0.
    pub fn call(number: usize, a: [usize; 4]) -> isize {
        let result;
        // SAFETY: the kernel clobbers rcx and r11 only; callers pass pointers to what lives during the call.
        unsafe {
            super::asm!(
                "syscall",
                inlateout("rax") number => result,
                in("rdi") a[0], in("rsi") a[1], in("rdx") a[2], in("r10") a[3], in("r8") 0,
                lateout("rcx") _, lateout("r11") _,
            );
        }
        result
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub const IOCTL: usize = 29;
    pub const WRITE: usize = 64;
    pub const EXIT_GROUP: usize = 94;
    pub const KILL: usize = 129;
    pub const SIGPROCMASK: usize = 135;
    pub const SIGTIMEDWAIT: usize = 137;
    pub const SETPGID: usize = 154;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const WAIT4: usize = 260;

    super::global_asm!(
        ".globl _start",
        "_start:",
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, sp",
        "bl begin",
        "brk #0"
    );

    /// A system call with up to four arguments; a fifth is 0.
    pub fn call(number: usize, a: [usize; 4]) -> isize {
        let result;
        // SAFETY: the kernel keeps all registers but x0; callers pass pointers to what lives during the call.
        unsafe {
            super::asm!(
                "svc #0",
                in("x8") number,
                inlateout("x0") a[0] => result,
                in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") 0usize,
            );
        }
        result
    }
}

use machine::*;
