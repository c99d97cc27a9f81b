//! Programs of the engine's own that a container runs: files without a name or a place, which nobody can change. See
//! memfd_create(2).

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// A program in memory, sealed: the container that it runs in can neither write nor replace it (CVE-2019-5736).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryFile {
    pub slot: Slot,
    /// As `/proc/PID/exe` shows it.
    pub name: Text,
    pub content: Content,
    /// Programs that a shell can take instead, the best first.
    pub instead: Text,
}

/// Bytes; in JSON a string of hexadecimal digits.
#[derive(Clone, PartialEq)]
pub struct Content(pub Cow<'static, [u8]>);

impl MemoryFile {
    pub fn perform(&self, live: &Live) -> Outcome {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = match rustix::fs::memfd_create(self.name.as_c(), flags | MemfdFlags::EXEC) {
            // Before 6.3 every such file can be executed.
            Err(Errno::INVAL) => rustix::fs::memfd_create(self.name.as_c(), flags),
            other => other,
        };
        let fd = fd.map_err(|e| Failure::new(e, "memfd_create"))?;
        let mut rest = &*self.content.0;
        while !rest.is_empty() {
            let n = rustix::io::write(&fd, rest)?;
            rest = &rest[n..];
        }
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        match rustix::fs::fcntl_add_seals(&fd, seals | SealFlags::EXEC) {
            Err(Errno::INVAL) => rustix::fs::fcntl_add_seals(&fd, seals),
            other => other,
        }
        .map_err(|e| Failure::new(e, "seal the file"))?;
        live.fill(self.slot, fd);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let line = format!("exec {SHELL_FD}<\"$(command -v {} | head -1)\"", self.instead);
        Shell::exact(line, format!("{} for the container to run", self.name), "memfd_create(2)")
            .near("the engine's own is in memory, sealed; a static tini does the same")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("file", self.name.as_str(), format!("{} bytes in memory", self.content.0.len()));
    }
}

/// The descriptor by which a script holds it, through all namespaces.
pub(crate) const SHELL_FD: u32 = 9;

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let digits: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        s.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Content, D::Error> {
        let digits = String::deserialize(d)?;
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let bytes = bytes.ok_or_else(|| serde::de::Error::custom("not hexadecimal digits"))?;
        Ok(Content(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &'static [u8]) -> MemoryFile {
        MemoryFile {
            slot: Slot(0),
            name: "x".into(),
            content: Content(content.into()),
            instead: "tini-static".into(),
        }
    }

    #[test]
    fn nobody_can_change_it() {
        let live = Live::new(1);
        file(b"text").perform(&live).unwrap();
        let fd = live.fd(Slot(0)).unwrap();
        assert_eq!(rustix::io::pwrite(fd, b"y", 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(fd, 0), Err(Errno::PERM));
        assert_eq!(rustix::fs::fcntl_add_seals(fd, SealFlags::FUTURE_WRITE), Err(Errno::PERM));
    }

    #[test]
    fn json_brings_the_bytes_back() {
        let json = serde_json::to_string(&file(&[0, 0xfe])).unwrap();
        assert!(json.contains(r#""00fe""#), "{json}");
        assert_eq!(serde_json::from_str::<MemoryFile>(&json).unwrap(), file(&[0, 0xfe]));
    }
}
