//! The other end of a listener: who answers system calls for a filtered process. See seccomp_unotify(2).

use super::Call;
use crate::process::{done, last_errno};
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    pub id: u64,
    /// As the receiver sees it; 0 when it does not.
    pub pid: u32,
    pub call: Call,
}

/// What the call answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Value(i64),
    Error(Errno),
    /// The kernel goes on with the call. No judgement over what it points to: that can change meanwhile.
    Continue,
}

/// `struct seccomp_notif`
#[repr(C)]
struct Raw {
    id: u64,
    pid: u32,
    flags: u32,
    nr: i32,
    arch: u32,
    ip: u64,
    args: [u64; 6],
}

/// `struct seccomp_notif_resp`
#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const FLAG_CONTINUE: u32 = 1;

/// Waits for a call. ENOENT when the process died meanwhile.
pub fn receive(listener: impl AsFd) -> Result<Notification, Errno> {
    let mut raw = Raw { id: 0, pid: 0, flags: 0, nr: 0, arch: 0, ip: 0, args: [0; 6] };
    // SAFETY: the struct is the kernel's, of the size that the request's number says, and zero as it must be.
    let result = unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), RECEIVE, &raw mut raw) };
    if result < 0 {
        return Err(last_errno());
    }
    let Raw { id, pid, nr, arch, ip, args, .. } = raw;
    Ok(Notification { id, pid, call: Call { nr: nr.cast_unsigned(), arch, ip, args } })
}

/// Answers a call. ENOENT when nobody waits for it any more.
pub fn answer(listener: impl AsFd, id: u64, answer: Answer) -> Result<(), Errno> {
    let (value, error, flags) = match answer {
        Answer::Value(value) => (value, 0, 0),
        Answer::Error(errno) => (0, -errno.raw_os_error(), 0),
        Answer::Continue => (0, 0, FLAG_CONTINUE),
    };
    let response = Response { id, value, error, flags };
    // SAFETY: as in `receive`; the kernel only reads.
    done(unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), SEND, &raw const response) }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_kernels_numbers() {
        let number = |nr: u64, size: usize| 3 << 30 | (size as u64) << 16 | 0x21 << 8 | nr;
        assert_eq!(RECEIVE, number(0, size_of::<Raw>()));
        assert_eq!(SEND, number(1, size_of::<Response>()));
    }
}
