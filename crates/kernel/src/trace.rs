//! Watching the system calls of a process: ptrace(2), without ever changing one.

use crate::process::{done, last_errno};
use crate::seccomp::{Arch, Call};
use rustix::io::Errno;
use std::ffi::c_void;

/// Why a watched process stands still, or that it does no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Gone: the exit code, or 128 and the signal's number.
    Ended { code: i32 },
    /// On its way into, or out of, a system call: ask [`call`].
    Call,
    /// It has become another program.
    Executed,
    /// It has made a process or thread, which is watched, too.
    Born,
    /// A signal is about to be delivered.
    Signal(i32),
    /// Stopped by job control, or new.
    Stopped,
}

/// Where in a system call it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// What it is about to ask for; the last argument's memory can be read.
    Enter(Call),
    /// The kernel's answer: a value, or an error's number below zero.
    Leave(i64),
    Neither,
}

/// What PTRACE_GET_SYSCALL_INFO answers, as far as we look: `struct ptrace_syscall_info`.
#[repr(C)]
#[derive(Default)]
struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    ip: u64,
    sp: u64,
    /// Of an entry: number and arguments; of an exit: the answer.
    words: [u64; 8],
}

const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
const ENTRY: u8 = 1;
const EXIT: u8 = 2;

/// Watches a process from now on, with all that it will make. When the watcher ends, they end. See ptrace(2), `PTRACE_SEIZE`.
///
/// Errors: the process is gone, is watched by somebody else, or is not ours to look at.
pub fn seize(pid: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    request(libc::PTRACE_SEIZE, pid, 0, options as usize)
}

/// The next one that stands still. `ECHILD`: nobody is left.
pub fn next() -> Result<(i32, Stop), Errno> {
    let mut status = 0;
    let pid = loop {
        // SAFETY: `status` is an int for the kernel to write to.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) } {
            -1 if last_errno() == Errno::INTR => {}
            -1 => return Err(last_errno()),
            pid => break pid,
        }
    };
    Ok((pid, stop(status)))
}

fn stop(status: i32) -> Stop {
    if libc::WIFEXITED(status) {
        return Stop::Ended { code: libc::WEXITSTATUS(status) };
    }
    if libc::WIFSIGNALED(status) {
        return Stop::Ended { code: 128 + libc::WTERMSIG(status) };
    }
    let signal = libc::WSTOPSIG(status);
    match status >> 16 {
        0 if signal == libc::SIGTRAP | 0x80 => Stop::Call,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_EXEC => Stop::Executed,
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => Stop::Born,
        _ => Stop::Stopped,
    }
}

/// Lets it go on: to its next system call, or without a look at these. A signal other than 0 is delivered.
///
/// Errors: `ESRCH`, it has been killed.
pub fn go_on(pid: i32, to_next_call: bool, signal: i32) -> Result<(), Errno> {
    let how = if to_next_call { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
    request(how, pid, 0, signal as usize)
}

/// Where in a system call it stands. The numbers are those of its own architecture.
pub fn call(pid: i32) -> Result<Phase, Errno> {
    let mut info = SyscallInfo::default();
    let size = size_of::<SyscallInfo>();
    request(GET_SYSCALL_INFO, pid, size, (&raw mut info).cast::<c_void>() as usize)?;
    let w = info.words;
    Ok(match info.op {
        ENTRY => Phase::Enter(Call {
            nr: w[0] as u32,
            arch: info.arch,
            ip: info.ip,
            args: [w[1], w[2], w[3], w[4], w[5], w[6]],
        }),
        EXIT => Phase::Leave(w[0].cast_signed()),
        _ => Phase::Neither,
    })
}

/// The name of a call on the architecture that it was made on.
pub fn name(call: &Call) -> &'static str {
    let arch =
        [Arch::X86_64, Arch::X86, Arch::Aarch64, Arch::Arm].into_iter().find(|a| a.audit() == call.arch);
    let number = |syscall: &crate::seccomp::Syscall| arch.and_then(|arch| syscall.number(arch));
    crate::seccomp::Syscall::all().find(|s| number(s) == Some(call.nr)).map_or("a system call", |s| s.name())
}

fn request(what: libc::c_uint, pid: i32, address: usize, data: usize) -> Result<(), Errno> {
    // SAFETY: every request of this module takes numbers, but GET_SYSCALL_INFO, whose caller gives it a buffer of the size it says.
    done(unsafe { libc::ptrace(what, pid, address, data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stops_by_their_status() {
        assert_eq!(stop(7 << 8), Stop::Ended { code: 7 });
        assert_eq!(stop(9), Stop::Ended { code: 137 });
        assert_eq!(stop((libc::SIGTRAP | 0x80) << 8 | 0x7f), Stop::Call);
        assert_eq!(stop(libc::SIGINT << 8 | 0x7f), Stop::Signal(libc::SIGINT));
        assert_eq!(stop(libc::PTRACE_EVENT_EXEC << 16 | libc::SIGTRAP << 8 | 0x7f), Stop::Executed);
        assert_eq!(stop(128 << 16 | libc::SIGTRAP << 8 | 0x7f), Stop::Stopped);
    }

    #[test]
    fn calls_have_names() {
        let call = |nr, arch: Arch| Call { nr, arch: arch.audit(), ip: 0, args: [0; 6] };
        assert_eq!(name(&call(165, Arch::X86_64)), "mount");
        assert_eq!(name(&call(40, Arch::Aarch64)), "mount");
        assert_eq!(name(&call(9999, Arch::X86_64)), "a system call");
    }
}
