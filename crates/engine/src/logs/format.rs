//! How an entry is written: Docker's JSON lines, or the short lines of the driver `local`.
//!
//! A line of `local` is a letter, the time in nanoseconds after 1970 in base 36, a blank, and the text as it came. The letter is `o` for
//! standard output and `e` for standard error; a capital says that the line goes on in the next entry of its stream.

use super::escape;
use crate::Time;
use crate::monitor::Stream;

/// The form of a log's entries.
#[derive(Debug)]
pub(super) enum Format {
    /// With what stands in each entry between the stream and the time: `,"attrs":{…}`.
    Json {
        more: String,
    },
    Local,
}

/// What stands before and after the text of entries made now.
pub(super) struct Stamp {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Format {
    pub fn stamp(&self, stream: Stream) -> Stamp {
        let out = stream == Stream::Stdout;
        match self {
            Format::Json { more } => {
                let name = if out { "stdout" } else { "stderr" };
                let time = Time::now().rfc3339();
                let tail = format!("\",\"stream\":\"{name}\"{more},\"time\":\"{time}\"}}\n");
                Stamp { head: b"{\"log\":\"".to_vec(), tail: tail.into_bytes() }
            }
            Format::Local => {
                let mut head = vec![if out { b'o' } else { b'e' }];
                base36(Time::now().0, &mut head);
                head.push(b' ');
                Stamp { head, tail: Vec::new() }
            }
        }
    }

    /// Appends the entry of `text` up to and with its first newline to `batch`; returns how much of it that was.
    pub fn entry(&self, text: &[u8], stamp: &Stamp, batch: &mut Vec<u8>) -> usize {
        let start = batch.len();
        batch.extend_from_slice(&stamp.head);
        let used = match self {
            Format::Json { .. } => escape::line(text, batch),
            Format::Local => {
                let end = text.iter().position(|b| *b == b'\n');
                if end.is_none() {
                    batch[start].make_ascii_uppercase();
                }
                batch.extend_from_slice(&text[..end.unwrap_or(text.len())]);
                batch.push(b'\n');
                end.map_or(text.len(), |end| end + 1)
            }
        };
        batch.extend_from_slice(&stamp.tail);
        used
    }
}

/// A line of `local`, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Local<'a> {
    pub stream: Stream,
    pub time: Time,
    pub text: &'a [u8],
    /// Its end is in another line.
    pub partial: bool,
}

impl<'a> Local<'a> {
    pub fn parse(line: &'a [u8]) -> Option<Local<'a>> {
        let (letter, rest) = line.split_first()?;
        let stream = match letter.to_ascii_lowercase() {
            b'o' => Stream::Stdout,
            b'e' => Stream::Stderr,
            _ => return None,
        };
        let blank = rest.iter().take(14).position(|b| *b == b' ')?;
        let digits = std::str::from_utf8(&rest[..blank]).ok()?;
        let time = Time(u64::from_str_radix(digits, 36).ok()?);
        Some(Local { stream, time, text: &rest[blank + 1..], partial: letter.is_ascii_uppercase() })
    }
}

fn base36(number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut rest = number;
    loop {
        out.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]);
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    out[start..].reverse();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_lines_come_back() {
        let mut batch = Vec::new();
        let before = Time::now();
        let stamp = Format::Local.stamp(Stream::Stderr);
        assert_eq!(Format::Local.entry(b"one \xff \"\nrest", &stamp, &mut batch), 8);
        assert_eq!(Format::Local.entry(b"rest", &stamp, &mut batch), 4);
        let lines: Vec<&[u8]> = batch.split(|b| *b == b'\n').collect();
        let first = Local::parse(lines[0]).unwrap();
        assert!(first.time >= before && first.stream == Stream::Stderr && !first.partial);
        assert_eq!(first.text, b"one \xff \"");
        let second = Local::parse(lines[1]).unwrap();
        assert_eq!((second.text, second.partial), (&b"rest"[..], true));
        assert!(lines[0].len() < 24, "{}", lines[0].len());
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40)) {
            let _ = Local::parse(&line);
        }

        #[test]
        fn numbers_come_back(number in proptest::prelude::any::<u64>()) {
            let mut text = Vec::new();
            base36(number, &mut text);
            let text = String::from_utf8(text).unwrap();
            proptest::prop_assert_eq!(u64::from_str_radix(&text, 36), Ok(number));
        }
    }
}
