//! Session keyrings: where the keys of a process and its descendants are found. See session-keyring(7).

use crate::process::{done, last_errno};
use rustix::io::Errno;
use std::ffi::CStr;

/// Whatever keyring is the caller's session keyring at the moment.
const KEY_SPEC_SESSION_KEYRING: i32 = -3;

/// Who may search a keyring beside those that have it: all processes of its owner, or everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Searchers {
    Owner,
    Others,
}

/// Leaves the session keyring that was inherited for the one of this name in this user namespace, which is made when
/// there is none that the caller may search. ENOSYS where the kernel has no keys. See keyctl(2).
pub fn join_session(name: &CStr) -> Result<(), Errno> {
    // SAFETY: the name is terminated.
    done(unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) })
}

/// Lets others find the session keyring, beside whoever may by now. Allocates nothing.
pub fn let_search_session(who: Searchers) -> Result<(), Errno> {
    const KEY_USR_SEARCH: u32 = 0x0008_0000;
    const KEY_OTH_SEARCH: u32 = 0x0000_0008;
    // "keyring;0;0;3f130000;_ses.name"
    let mut text = [0u8; 512];
    // SAFETY: the buffer is as long as is said.
    let n = unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_DESCRIBE,
            KEY_SPEC_SESSION_KEYRING,
            text.as_mut_ptr(),
            text.len(),
        )
    };
    if n < 0 {
        return Err(last_errno());
    }
    let hex = text.split(|b| *b == b';').nth(3).and_then(|hex| std::str::from_utf8(hex).ok());
    let now = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok()).ok_or(Errno::PROTO)?;
    let more = if who == Searchers::Owner { KEY_USR_SEARCH } else { KEY_OTH_SEARCH };
    // SAFETY: numbers only.
    done(unsafe {
        libc::syscall(libc::SYS_keyctl, libc::KEYCTL_SETPERM, KEY_SPEC_SESSION_KEYRING, now | more)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial() -> i64 {
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0) }
    }

    /// In threads: a session keyring belongs to a thread, and the thread takes it with it.
    #[test]
    fn a_keyring_is_found_by_its_name() {
        let name = |what: &str| {
            std::ffi::CString::new(format!("corten-test-{what}-{}", std::process::id())).unwrap()
        };
        let (one, two) = (name("one"), name("two"));
        std::thread::spawn(move || {
            // Without keys in the kernel, or without room for one more, there is nothing to test.
            if join_session(&one).is_err() {
                return;
            }
            let_search_session(Searchers::Owner).unwrap();
            let first = serial();
            let keys = std::fs::read_to_string("/proc/keys").unwrap_or_default();
            let line = keys.lines().find(|l| l.contains(one.to_str().unwrap()));
            // The search bit of the owner: 3f1b for 3f13.
            assert!(line.is_none_or(|l| l.contains(" 3f1b0000 ")), "{line:?}");
            let other = std::thread::spawn(move || {
                join_session(&two).unwrap();
                let second = serial();
                join_session(&one).unwrap();
                (second, serial())
            });
            let (second, found) = other.join().unwrap();
            assert!(first > 0 && second != first && found == first, "{first} {second} {found}");
        })
        .join()
        .unwrap();
    }
}
