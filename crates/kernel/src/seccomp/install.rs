//! seccomp(2): from here on the calling thread, and what it forks and executes, lives under the filter.

use std::os::fd::{FromRawFd, OwnedFd};

use rustix::io::Errno;

use super::{FLAG_NEW_LISTENER, Program};
use crate::process::last_errno;

/// Installs the filter on the calling thread. Safe between clone and exec: allocates nothing.
///
/// Errors: EACCES without both no-new-privileges and CAP_SYS_ADMIN in the user namespace, EINVAL for a program or
/// flag that this kernel does not take, and for a program that needs a listener (`FLAG_NEW_LISTENER`).
pub fn install(program: &Program) -> Result<(), Errno> {
    if program.flags & FLAG_NEW_LISTENER != 0 {
        return Err(Errno::INVAL);
    }
    set_filter(program, program.flags).map(|_| ())
}

/// Like [`install`], and returns the descriptor on which a supervisor receives what the filter answers with `Notify`
/// (seccomp_unotify(2)). EBUSY if a filter of this thread has a listener already.
pub fn install_listener(program: &Program) -> Result<OwnedFd, Errno> {
    let fd = set_filter(program, program.flags | FLAG_NEW_LISTENER)?;
    // SAFETY: with this flag the call returns a new descriptor, which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether this kernel knows a `SECCOMP_FILTER_FLAG_*`.
pub fn flag_supported(flag: u32) -> bool {
    // SAFETY: no program is given, so nothing is installed: EFAULT for known flags, EINVAL for others.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flag, 0) };
    result < 0 && last_errno() == Errno::FAULT
}

fn set_filter(program: &Program, flags: u32) -> Result<i32, Errno> {
    let len = u16::try_from(program.insns.len()).map_err(|_| Errno::INVAL)?;
    // Insn has the layout of sock_filter; the kernel only reads
    let fprog = libc::sock_fprog { len, filter: program.insns.as_ptr().cast_mut().cast() };
    // SAFETY: `fprog` and the `len` instructions it points to outlive the call; the kernel checks the program.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const fprog) };
    if result < 0 { Err(last_errno()) } else { Ok(result as i32) }
}

#[cfg(test)]
mod tests {
    use super::super::{FLAG_LOG, FLAG_SPEC_ALLOW, Insn};
    use super::*;

    #[test]
    fn instructions_have_the_kernels_layout() {
        assert_eq!(size_of::<Insn>(), size_of::<libc::sock_filter>());
        assert_eq!(align_of::<Insn>(), align_of::<libc::sock_filter>());
    }

    #[test]
    fn flags_of_this_kernel() {
        assert!(
            flag_supported(FLAG_LOG) && flag_supported(FLAG_SPEC_ALLOW) && flag_supported(FLAG_NEW_LISTENER)
        );
        assert!(!flag_supported(1 << 30));
        assert_eq!(install(&Program { insns: vec![], flags: 0 }), Err(Errno::INVAL));
    }
}
