//! The driver `journald`: each entry goes to the journal of systemd too, see systemd.journal-fields(7) and
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL>.

use crate::monitor::Stream;
use std::io;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/run/systemd/journal/socket";

/// A way to the journal. What it has no room for at once is dropped there, and is in the container's own log all the same.
#[derive(Debug)]
pub(super) struct Journal {
    socket: UnixDatagram,
    /// The fields that all entries have, as they are sent.
    fields: Vec<u8>,
}

impl Journal {
    /// Errors: there is no journal.
    pub fn connect(fields: &[(String, String)]) -> io::Result<Journal> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET).map_err(|_| {
            io::Error::other(format!("journald is not enabled on this host: nobody listens at {SOCKET}"))
        })?;
        socket.set_nonblocking(true)?;
        let mut all = Vec::new();
        for (name, value) in fields {
            field(name, value.as_bytes(), &mut all);
        }
        Ok(Journal { socket, fields: all })
    }

    /// One entry; `text` may end with a newline, and goes on in the next entry when it does not.
    pub fn send(&self, stream: Stream, text: &[u8]) {
        let line = text.strip_suffix(b"\n");
        let mut message = Vec::with_capacity(text.len() + self.fields.len() + 64);
        field("MESSAGE", line.unwrap_or(text), &mut message);
        message.extend_from_slice(if stream == Stream::Stdout { b"PRIORITY=6\n" } else { b"PRIORITY=3\n" });
        if line.is_none() {
            message.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
        }
        message.extend_from_slice(&self.fields);
        let _ = self.socket.send(&message);
    }
}

/// `NAME=value`, or, of a value of several lines, the name, its length and the value.
fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    if value.contains(&b'\n') {
        out.push(b'\n');
        out.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        out.push(b'=');
    }
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A name that the journal takes: capitals, digits and underscores, not beginning with one of the latter two.
pub(super) fn field_name(name: &str) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(upper).collect();
    name.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let mut out = Vec::new();
        field("A", b"b c", &mut out);
        field("D", b"e\nf", &mut out);
        assert_eq!(out, b"A=b c\nD\n\x03\0\0\0\0\0\0\0e\nf\n");
        assert_eq!(field_name("com.example.some-label"), "COM_EXAMPLE_SOME_LABEL");
        assert_eq!(field_name("_1x"), "X");
    }
}
