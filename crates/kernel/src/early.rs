//! What is done before the C library starts: an OCI runtime that is about to become part of a container goes on as a
//! read-only copy of its own mount (rule R4).
//!
//! The program would start its C library for that alone otherwise, and on a machine in which `cpuid` traps that is a tenth of
//! what `exec` costs. Nothing depends on it: whoever seals looks whether it is done, and does it if not.

use std::sync::atomic::{AtomicU64, Ordering};

/// The names under which the program is an OCI runtime.
static NAMES: [&[u8]; 3] = [b"runc", b"corten-runtime", b"corten-oci"];
/// Its commands that start a process in a container.
static COMMANDS: [&[u8]; 3] = [b"create", b"exec", b"run"];

// The kernel jumps here: the linker is told so by the build script of the binary. The stack is the kernel's, `rdx` is not
// ours; both are given on as they are.
core::arch::global_asm!(
    ".globl corten_start",
    "corten_start:",
    "push rdx",
    "lea rdi, [rsp + 8]",
    "mov rbx, rsp",
    "and rsp, -16",
    "call {seal}",
    "mov rsp, rbx",
    "pop rdx",
    "jmp _start",
    seal = sym seal,
);

mod number {
    pub const CLOSE: usize = 3;
    pub const STATFS: usize = 137;
    pub const EXECVEAT: usize = 322;
    pub const OPEN_TREE: usize = 428;
    pub const MOUNT_SETATTR: usize = 442;
}

const AT_FDCWD: usize = -100_isize as usize;
const AT_EMPTY_PATH: usize = 0x1000;
const OPEN_TREE_CLONE: usize = 1;
const CLOEXEC: usize = 0o2_000_000;
const ST_RDONLY: u64 = 1;
/// Where `struct statfs` has its flags, in words of eight bytes.
const STATFS_FLAGS: usize = 10;

/// See mount_setattr(2): what is set (`MOUNT_ATTR_RDONLY`), what is cleared, propagation, a user namespace.
static ATTR: [u64; 4] = [1, 0, 0, 0];
/// A `struct statfs`.
static STATFS: [AtomicU64; 15] = [const { AtomicU64::new(0) }; 15];

const PROGRAM: *const u8 = c"/proc/self/exe".as_ptr().cast();
const EMPTY: *const u8 = c"".as_ptr().cast();

/// `stack` is what the kernel puts on it: the number of words, the words, a null, the environment, a null.
///
/// No library works yet, and the compiler's own (`memcpy`, `memset`) are the C library's: nothing is copied but registers, also
/// without optimisation. Hence the plain loops, and what would be arrays on the stack stands in statics.
extern "C" fn seal(stack: *const usize) {
    // SAFETY: see execve(2); the pointers are to strings that end with a zero byte and live as long as the process.
    let (count, words) = unsafe { (*stack, stack.add(1).cast::<*const u8>()) };
    // SAFETY: a null stands behind the words, so there are two.
    let (program, first) = unsafe { (*words, *words.add(1)) };
    if count < 2 || !(is_runtime(program) || is(first, b"oci")) || !enters(words, count) {
        return;
    }
    let failed = call(number::STATFS, PROGRAM as usize, STATFS.as_ptr() as usize, 0, 0, 0) != 0;
    if failed || STATFS[STATFS_FLAGS].load(Ordering::Relaxed) & ST_RDONLY != 0 {
        return;
    }
    let copy = call(number::OPEN_TREE, AT_FDCWD, PROGRAM as usize, OPEN_TREE_CLONE | CLOEXEC, 0, 0);
    if copy < 0 {
        return;
    }
    let (copy, empty) = (copy as usize, EMPTY as usize);
    if call(number::MOUNT_SETATTR, copy, empty, AT_EMPTY_PATH, ATTR.as_ptr() as usize, size_of_val(&ATTR))
        == 0
    {
        // SAFETY: the environment follows the null behind the words.
        let environment = unsafe { words.add(count + 1) };
        call(number::EXECVEAT, copy, empty, words as usize, environment as usize, AT_EMPTY_PATH);
    }
    call(number::CLOSE, copy, 0, 0, 0, 0);
}

/// Whether the program is called by one of [`NAMES`].
fn is_runtime(path: *const u8) -> bool {
    let mut index = 0;
    while index < NAMES.len() {
        if ends_as(path, NAMES[index]) {
            return true;
        }
        index += 1;
    }
    false
}

/// Whether one of the words is one of [`COMMANDS`].
fn enters(words: *const *const u8, count: usize) -> bool {
    let mut at = 1;
    while at < count {
        let mut index = 0;
        while index < COMMANDS.len() {
            // SAFETY: there are `count` words.
            if is(unsafe { *words.add(at) }, COMMANDS[index]) {
                return true;
            }
            index += 1;
        }
        at += 1;
    }
    false
}

/// Whether the string is this word.
fn is(string: *const u8, word: &[u8]) -> bool {
    let mut index = 0;
    while index < word.len() {
        // SAFETY: not past the zero byte at its end, which no word has. Volatile, so that it becomes no `memcmp`.
        if unsafe { string.add(index).read_volatile() } != word[index] {
            return false;
        }
        index += 1;
    }
    // SAFETY: at most the zero byte.
    unsafe { string.add(index).read_volatile() == 0 }
}

/// Whether the last part of the path is this word.
fn ends_as(path: *const u8, word: &[u8]) -> bool {
    let (mut last, mut at) = (path, path);
    loop {
        // SAFETY: up to the zero byte at its end.
        match unsafe { at.read_volatile() } {
            0 => return is(last, word),
            // SAFETY: that byte was not the last one.
            b'/' => last = unsafe { at.add(1) },
            _ => {}
        }
        // SAFETY: as above.
        at = unsafe { at.add(1) };
    }
}

fn call(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize) -> isize {
    let result;
    // SAFETY: the kernel clobbers rcx and r11 only; pointers are to what lives during the call.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_compared_whole() {
        let text = |text: &'static core::ffi::CStr| text.as_ptr().cast::<u8>();
        assert!(is(text(c"exec"), b"exec"));
        assert!(!is(text(c"execs"), b"exec") && !is(text(c"exe"), b"exec") && !is(text(c""), b"exec"));
        assert!(ends_as(text(c"runc"), b"runc") && ends_as(text(c"/usr/bin/runc"), b"runc"));
        assert!(!ends_as(text(c"/usr/runc/x"), b"runc") && !ends_as(text(c"/usr/crunc"), b"runc"));
        assert!(!ends_as(text(c"runc/"), b"runc"));
    }
}
