//! Becoming another program: execve(2) and its strings.

use super::last_errno;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;
use std::cell::Cell;
use std::ffi::{CStr, CString, c_char};

/// Strings for execve(2), made once: an array of pointers, ended by a null, with room for one string more.
pub struct Strings {
    texts: Vec<CString>,
    pointers: Vec<Cell<*const c_char>>,
}

impl Strings {
    /// Copies the strings; what follows a zero byte is cut.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Strings {
        let text = |s: S| {
            let bytes = s.as_ref();
            let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
            CString::new(&bytes[..end]).unwrap_or_default()
        };
        let texts: Vec<CString> = strings.into_iter().map(text).collect();
        let nulls = [std::ptr::null(); 2];
        let pointers = texts.iter().map(|t| t.as_ptr()).chain(nulls).map(Cell::new).collect();
        Strings { texts, pointers }
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(|t| t.to_str().unwrap_or("\u{fffd}"))
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The array, with `last` behind its own strings while `work` runs.
    fn with<T>(&self, last: Option<&CStr>, work: impl FnOnce(*const *const c_char) -> T) -> T {
        let spare = self.pointers.get(self.texts.len());
        if let (Some(spare), Some(last)) = (spare, last) {
            spare.set(last.as_ptr());
        }
        let answer = work(self.pointers.as_ptr().cast());
        if let Some(spare) = spare {
            spare.set(std::ptr::null());
        }
        answer
    }
}

impl Default for Strings {
    fn default() -> Strings {
        Strings::new::<&[u8]>([])
    }
}

/// A clone points to its own copies.
impl Clone for Strings {
    fn clone(&self) -> Strings {
        Strings::new(self.texts.iter().map(|t| t.as_bytes()))
    }
}

impl std::fmt::Debug for Strings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Strings {
    fn eq(&self, other: &Strings) -> bool {
        self.texts == other.texts
    }
}

impl serde::Serialize for Strings {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for Strings {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Strings, D::Error> {
        Vec::<String>::deserialize(d).map(Strings::new)
    }
}

/// Becomes another program; returns only the reason why not. See execve(2).
pub fn execve(path: &CStr, argv: &Strings, env: &Strings) -> Errno {
    execve_with(path, argv, env, None)
}

/// As [`execve`], with `last` as one more variable.
pub fn execve_with(path: &CStr, argv: &Strings, env: &Strings, last: Option<&CStr>) -> Errno {
    // SAFETY: both arrays are null-terminated and their strings live in `argv`, `env` and `last`; pointers into a
    // CString's heap stay valid when the CString moves.
    argv.with(None, |argv| env.with(last, |env| unsafe { libc::execve(path.as_ptr(), argv, env) }));
    last_errno()
}

/// As [`execve`], of the program that a descriptor is open on. See execveat(2).
pub fn execveat(program: impl AsFd, argv: &Strings, env: &Strings) -> Errno {
    execveat_with(program, argv, env, None)
}

/// As [`execveat`], with `last` as one more variable.
pub fn execveat_with(program: impl AsFd, argv: &Strings, env: &Strings, last: Option<&CStr>) -> Errno {
    let (fd, empty) = (program.as_fd().as_raw_fd(), c"".as_ptr());
    argv.with(None, |argv| {
        // SAFETY: as for execve; the path is empty and terminated.
        env.with(last, |env| unsafe {
            libc::syscall(libc::SYS_execveat, fd, empty, argv, env, libc::AT_EMPTY_PATH)
        })
    });
    last_errno()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_with_null_and_survive_a_move() {
        let strings = Strings::new(["a", "b\0c"]);
        let moved = Box::new(strings.clone());
        assert_eq!(moved.iter().collect::<Vec<_>>(), ["a", "b"]);
        // The clone has pointers of its own.
        assert_eq!(serde_json::to_string(&*moved).unwrap(), r#"["a","b"]"#);
    }

    #[test]
    fn one_string_more_is_there_while_it_is_used() {
        let strings = Strings::new(["a"]);
        let read = |array: *const *const c_char| {
            // SAFETY: the array ends with a null, its strings with a zero.
            (0..).map(|i| unsafe { *array.add(i) }).take_while(|p| !p.is_null()).count()
        };
        assert_eq!(strings.with(Some(c"b"), read), 2);
        assert_eq!(strings.with(None, read), 1);
        assert_eq!(Strings::default().with(Some(c"b"), read), 1);
        assert_eq!(execve_with(c"/no/such", &strings, &strings, Some(c"b")), Errno::NOENT);
    }
}
