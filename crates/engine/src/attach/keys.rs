//! The keys that detach from a terminal, `ctrl-p,ctrl-q`, and finding them in what is typed.

use std::str::FromStr;
use thiserror::Error;

/// The keys that detach when typed one after the other; none: nothing detaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys(pub Vec<u8>);

/// `ctrl-p,ctrl-q`.
impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys(vec![16, 17])
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("invalid detach keys '{keys}': '{key}' is neither a character nor ctrl- and one of a-z @ [ \\ ] ^ _")]
pub struct InvalidKeys {
    keys: String,
    key: String,
}

/// Keys are separated by commas: a character, `ctrl-` and a letter or one of `@[\]^_`, or `DEL`.
impl FromStr for DetachKeys {
    type Err = InvalidKeys;

    fn from_str(keys: &str) -> Result<DetachKeys, InvalidKeys> {
        let code = |key: &str| match key.as_bytes() {
            [byte] if byte.is_ascii() => Ok(*byte),
            b"DEL" => Ok(127),
            [b'c', b't', b'r', b'l', b'-', byte @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => Ok(byte & 0x1f),
            _ => Err(InvalidKeys { keys: keys.to_owned(), key: key.to_owned() }),
        };
        if keys.is_empty() {
            return Ok(DetachKeys(Vec::new()));
        }
        keys.split(',').map(code).collect::<Result<_, _>>().map(DetachKeys)
    }
}

/// Looks for the keys in the input, and holds back what may be their beginning.
#[derive(Debug)]
pub struct KeyFilter {
    keys: Vec<u8>,
    /// How many of the keys were the last input.
    held: usize,
}

impl KeyFilter {
    pub fn new(keys: &DetachKeys) -> KeyFilter {
        KeyFilter { keys: keys.0.clone(), held: 0 }
    }

    /// Passes `input` on to `out`, up to the keys; true when they were typed.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            out.extend_from_slice(input);
            return false;
        }
        for &byte in input {
            // The longest beginning of the keys that the held ones, and this byte, end with.
            while self.held > 0 && self.keys[self.held] != byte {
                let shorter =
                    (0..self.held).rev().find(|n| self.keys[..self.held].ends_with(&self.keys[..*n]));
                let shorter = shorter.unwrap_or(0);
                out.extend_from_slice(&self.keys[..self.held - shorter]);
                self.held = shorter;
            }
            if self.keys[self.held] == byte {
                self.held += 1;
            } else {
                out.push(byte);
            }
            if self.held == self.keys.len() {
                return true;
            }
        }
        false
    }

    /// What is held back, when the input has ended.
    pub fn rest(&mut self) -> &[u8] {
        &self.keys[..std::mem::take(&mut self.held)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_as_in_docker() {
        assert_eq!("ctrl-p,ctrl-q".parse(), Ok(DetachKeys::default()));
        assert_eq!("ctrl-@,x,ctrl-],DEL".parse(), Ok(DetachKeys(vec![0, b'x', 29, 127])));
        assert_eq!("".parse(), Ok(DetachKeys(Vec::new())));
        for bad in ["ctrl-", "ctrl-P", "shift-a", "a,", "é"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }

    fn typed(keys: &str, parts: &[&str]) -> (String, bool) {
        let mut filter = KeyFilter::new(&keys.parse().unwrap());
        let mut out = Vec::new();
        let detached = parts.iter().any(|part| filter.feed(part.as_bytes(), &mut out));
        if !detached {
            out.extend_from_slice(filter.rest());
        }
        (String::from_utf8(out).unwrap(), detached)
    }

    #[test]
    fn only_the_whole_sequence_detaches() {
        assert_eq!(typed("ctrl-p,ctrl-q", &["ab\x10\x11cd"]), ("ab".into(), true));
        assert_eq!(typed("ctrl-p,ctrl-q", &["ab\x10", "\x11"]), ("ab".into(), true));
        assert_eq!(typed("ctrl-p,ctrl-q", &["\x10", "x\x11"]), ("\x10x\x11".into(), false));
        assert_eq!(typed("ctrl-p,ctrl-q", &["\x10\x10\x11"]), ("\x10".into(), true));
        assert_eq!(typed("a,a,b", &["aaab"]), ("a".into(), true));
        assert_eq!(typed("a,a,b", &["aa"]), ("aa".into(), false));
        assert_eq!(typed("", &["\x10\x11"]), ("\x10\x11".into(), false));
    }

    #[test]
    fn a_first_key_waits_for_the_second() {
        let mut filter = KeyFilter::new(&DetachKeys::default());
        let mut out = Vec::new();
        assert!(!filter.feed(b"\x10", &mut out));
        assert_eq!(out, b"");
        assert!(!filter.feed(b"y", &mut out));
        assert_eq!(out, b"\x10y");
    }
}
