//! Strings as the kernel takes them: terminated by a zero byte, made once while planning.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ffi::{CStr, CString};
use std::fmt;

/// A UTF-8 string with a terminating zero, so that it can be handed to a system call without an allocation.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text(CString);

impl Text {
    /// Copies `s`; what follows a zero byte, which no kernel name can hold, is cut.
    pub fn new(s: impl Into<Vec<u8>>) -> Text {
        let mut bytes = s.into();
        if let Some(zero) = bytes.iter().position(|b| *b == 0) {
            bytes.truncate(zero);
        }
        Text(CString::new(bytes).unwrap_or_default())
    }

    pub fn as_c(&self) -> &CStr {
        &self.0
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("\u{fffd}")
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub fn is_empty(&self) -> bool {
        self.0.as_bytes().is_empty()
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&str> for Text {
    fn from(s: &str) -> Text {
        Text::new(s)
    }
}

impl From<String> for Text {
    fn from(s: String) -> Text {
        Text::new(s)
    }
}

impl From<&std::path::Path> for Text {
    fn from(path: &std::path::Path) -> Text {
        Text::new(path.as_os_str().as_encoded_bytes())
    }
}

impl From<std::path::PathBuf> for Text {
    fn from(path: std::path::PathBuf) -> Text {
        Text::from(path.as_path())
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Text, D::Error> {
        String::deserialize(d).map(Text::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_byte_ends_the_text() {
        assert_eq!(Text::from("a\0b").as_str(), "a");
    }

    #[test]
    fn json_is_a_plain_string() {
        let json = serde_json::to_string(&Text::from("/a b")).unwrap();
        assert_eq!(json, "\"/a b\"");
        assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), Text::from("/a b"));
    }
}
