//! A user's home directory, from the container's own `/etc/passwd`, by a process that has no heap. See passwd(5).

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};

/// A directory's longest name with `HOME=` before it and a zero behind.
const ROOM: usize = 4096 + 6;
/// Nobody's file is so long; the container's may be.
const LIMIT: usize = 4 << 20;
const NAME: &[u8] = b"HOME=";

/// `HOME=…`, ended by a zero.
pub struct Home([u8; ROOM]);

impl Home {
    /// Of the user with this number, inside the container's root; `/` where nothing else is known. Nothing but a regular
    /// file is read (CVE-2024-9676), by no link that is not one of the file system's.
    pub fn of(uid: u32) -> Home {
        let mut home = Home([0; ROOM]);
        home.set(b"/");
        if let Some(file) = open() {
            let mut lines = Lines { file, buffer: [0; 4096], held: 0, used: 0, rest: LIMIT };
            while let Some(line) = lines.next() {
                if let Some(directory) = entry(line, uid) {
                    home.set(directory);
                    break;
                }
            }
        }
        home
    }

    fn set(&mut self, directory: &[u8]) {
        self.0[..NAME.len()].copy_from_slice(NAME);
        let fits = directory.len().min(ROOM - NAME.len() - 1);
        self.0[NAME.len()..NAME.len() + fits].copy_from_slice(&directory[..fits]);
        self.0[NAME.len() + fits] = 0;
    }

    pub fn as_c(&self) -> &std::ffi::CStr {
        std::ffi::CStr::from_bytes_until_nul(&self.0).unwrap_or(c"HOME=/")
    }
}

fn open() -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file =
        rustix::fs::openat2(CWD, c"/etc/passwd", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    let mode = rustix::fs::fstat(&file).ok()?.st_mode;
    (FileType::from_raw_mode(mode) == FileType::RegularFile).then_some(file)
}

/// The home directory in a line of that user's: the sixth field.
fn entry(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|b| *b == b':');
    let number = std::str::from_utf8(fields.nth(2)?).ok()?;
    if number.parse() != Ok(uid) {
        return None;
    }
    let home = fields.nth(2)?;
    Some(if home.is_empty() || home.contains(&0) { b"/" } else { home })
}

/// The lines of a file that fit into the buffer; longer ones are passed over.
struct Lines {
    file: OwnedFd,
    buffer: [u8; 4096],
    /// How much of the buffer is filled, and how much of that was given out.
    held: usize,
    used: usize,
    /// How much more is read at most.
    rest: usize,
}

impl Lines {
    fn next(&mut self) -> Option<&[u8]> {
        let mut too_long = false;
        loop {
            let start = self.used;
            if let Some(length) = self.buffer[start..self.held].iter().position(|b| *b == b'\n') {
                self.used = start + length + 1;
                if !too_long {
                    return Some(&self.buffer[start..start + length]);
                }
                too_long = false;
                continue;
            }
            self.buffer.copy_within(start..self.held, 0);
            (self.held, self.used) = (self.held - start, 0);
            if self.held == self.buffer.len() {
                (too_long, self.held) = (true, 0);
            }
            let room = self.buffer.len().min(self.held + self.rest);
            match rustix::io::read(&self.file, &mut self.buffer[self.held..room]) {
                Ok(n) if n > 0 => {
                    self.held += n;
                    self.rest -= n;
                }
                // The last line may lack its end.
                _ if self.held > 0 && !too_long => {
                    self.used = self.held;
                    return Some(&self.buffer[..self.held]);
                }
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let (read, write) = std::io::pipe().unwrap();
        let text = text.to_vec();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut { write }, &text));
        let mut lines = Lines { file: read.into(), buffer: [0; 4096], held: 0, used: 0, rest: LIMIT };
        let mut found = Vec::new();
        while let Some(line) = lines.next() {
            found.push(String::from_utf8_lossy(line).into_owned());
        }
        drop(lines);
        let _ = writer.join().unwrap();
        found
    }

    #[test]
    fn lines_are_found_whatever_their_length() {
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"a\nb"), ["a", "b"]);
        assert_eq!(lines(b"\n\nc\n"), ["", "", "c"]);
        let long =
            [b"a\n".as_slice(), &[b'x'; 5000], b"\nb\n", &[b'y'; 4096], b"\nc\n", &[b'z'; 9000]].concat();
        assert_eq!(lines(&long), ["a", "b", "c"]);
        let fits = [[b'x'; 4095].as_slice(), b"\nb\n"].concat();
        assert_eq!(lines(&fits)[1], "b");
        assert_eq!(lines(&[b"a:\n".repeat(3000), b"end".to_vec()].concat()).len(), 3001);
    }

    #[test]
    fn the_sixth_field_is_the_home() {
        let of =
            |line: &str| entry(line.as_bytes(), 33).map(|home| String::from_utf8_lossy(home).into_owned());
        assert_eq!(of("web:x:33:34:Web:/srv/www:/bin/sh").as_deref(), Some("/srv/www"));
        assert_eq!(of("web:x:33:34:Web::").as_deref(), Some("/"));
        assert_eq!(of("web:x:33:34:Web:/srv").as_deref(), Some("/srv"));
        for other in ["", "web", "web:x:33", "web:x:33:34:Web", "web:x:034:1::/a:", "33:x:1:1::/a:"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn the_variable_is_whole() {
        let mut home = Home([0; ROOM]);
        home.set(&[b'x'; 9000]);
        assert_eq!(home.as_c().count_bytes(), ROOM - 1);
        home.set(b"/srv");
        assert_eq!(home.as_c(), c"HOME=/srv");
        assert_eq!(Home::of(u32::MAX).as_c(), c"HOME=/");
    }
}
