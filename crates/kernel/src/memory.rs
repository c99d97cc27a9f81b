//! What a process gives back to the kernel before it waits for long. See madvise(2).

/// All that it can do without: unused memory of the heap and of the stack, and its hold on the program's own pages, which come
/// back out of the page cache, one by one, when they are needed.
pub fn give_back() {
    trim_heap();
    trim_stack();
    trim_program();
}

/// Gives unused memory of the heap back to the kernel.
pub fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: only releases free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What functions that have returned have left on the stack of the first thread.
#[inline(never)]
fn trim_stack() {
    #[cfg(all(target_env = "gnu", target_arch = "x86_64"))]
    {
        /// Less than the kernel keeps free below a stack.
        const MOST: usize = 512 << 10;
        unsafe extern "C" {
            static __libc_stack_end: usize;
        }
        let local = 0u8;
        let here = (&raw const local).addr();
        // SAFETY: the C library has set it before the program began.
        let top = unsafe { __libc_stack_end };
        // Another thread's stack lies elsewhere, and has neighbours.
        if here >= top || top - here > MOST {
            return;
        }
        // A page for this function and the one that it calls.
        let end = (here & !(PAGE - 1)) - PAGE;
        forget(end - MOST, end);
    }
}

/// The pages of the program that are only read: whoever has performed a plan has seen most of them.
fn trim_program() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            static __executable_start: u8;
            static etext: u8;
        }
        // Their addresses are all that the linker says by these.
        let (start, end) = ((&raw const __executable_start).addr(), (&raw const etext).addr());
        // From here to there nothing can be written.
        forget(start & !(PAGE - 1), end & !(PAGE - 1));
    }
}

#[cfg(target_env = "gnu")]
const PAGE: usize = 4096;

#[cfg(target_env = "gnu")]
fn forget(start: usize, end: usize) {
    if start < end {
        // SAFETY: callers name memory that nobody uses, or that is read from a file again.
        unsafe {
            libc::madvise(std::ptr::with_exposed_provenance_mut(start), end - start, libc::MADV_DONTNEED);
        }
    }
}

#[cfg(all(test, target_env = "gnu", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::process::{Side, exit, fork};
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    fn resident(name: &str) -> u64 {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The program goes on as if nothing had been.
    #[test]
    fn what_is_given_back_comes_again() {
        let read_all = || {
            unsafe extern "C" {
                static __executable_start: u8;
                static etext: u8;
            }
            let (start, end) = (&raw const __executable_start, &raw const etext);
            // SAFETY: it is all there, and only read.
            let bytes = unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) };
            bytes.iter().step_by(PAGE).map(|byte| u64::from(*byte)).sum::<u64>()
        };
        match fork().unwrap() {
            Side::Parent { pidfd, .. } => {
                use rustix::fd::AsFd;
                let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
                assert_eq!(status.exit_status(), Some(0));
            }
            Side::Child => {
                let sum = read_all();
                let before = resident("RssFile:");
                give_back();
                let after = resident("RssFile:");
                exit(i32::from(after + 200 > before || read_all() != sum))
            }
        }
    }
}
