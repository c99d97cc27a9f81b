//! Unpacking a tar stream into a directory that is there already: the receiving end of `cp`. Like a layer it goes nowhere but below the
//! directory; unlike one it knows no whiteouts, and files keep what it is safe for them to keep.

use super::compress::{Compression, MAGIC};
use super::dirs::{IN_ROOT, failed, join};
use super::tar::{Kind, Member, Stream};
use super::unpack::{Tree, Unpacked};
use crate::error::{Error, Result, io};
use crate::limits::Limits;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, fchmod, openat2};
use std::io::{BufReader, Read};

/// How things are received.
#[derive(Debug, Clone, Default)]
pub struct Copy {
    /// What the entry `.` of the stream is called here; others are below it. Empty: it is the directory itself, which stays as it is.
    pub as_name: Vec<u8>,
    pub owners: Owners,
    /// Device nodes are made, not passed over.
    pub devices: bool,
}

/// Whose the files become. Who loses an owner loses the right to act as that owner, too: set-id bits and capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Owners {
    /// Root's.
    #[default]
    Root,
    /// As the stream says, as far as there are such ids.
    Keep {
        /// Ids from this on don't exist here.
        below: u32,
    },
    One {
        uid: u32,
        gid: u32,
    },
}

impl Copy {
    /// Where an entry goes.
    pub(super) fn place(&self, path: Vec<u8>) -> Vec<u8> {
        match (self.as_name.is_empty(), path.is_empty()) {
            (true, _) => path,
            (false, true) => self.as_name.clone(),
            (false, false) => join(&self.as_name, &path),
        }
    }

    /// Fit an entry in; false: it is to be passed over.
    pub(super) fn wants(&self, member: &mut Member) -> bool {
        if !self.devices && matches!(member.kind, Kind::CharDevice | Kind::BlockDevice) {
            return false;
        }
        let kept = match self.owners {
            Owners::Root => false,
            Owners::Keep { below } => member.uid < below && member.gid < below,
            Owners::One { uid, gid } => {
                (member.uid, member.gid) = (uid, gid);
                true
            }
        };
        if !kept {
            (member.uid, member.gid) = (0, 0);
            member.mode &= 0o1777;
        }
        let plain = matches!(member.kind, Kind::File | Kind::Directory);
        member.xattrs.retain(|(name, _)| {
            plain
                && (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
                    || kept && name == b"security.capability")
        });
        true
    }
}

/// Unpack `input`, perhaps compressed, into `dir`. The process' umask must be 0.
pub fn receive(mut input: impl Read, dir: OwnedFd, how: &Copy) -> Result<Unpacked> {
    let mut magic = [0; MAGIC];
    let mut n = 0;
    while n < MAGIC {
        match input.read(&mut magic[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io("read the archive")(e)),
        }
    }
    let compression = Compression::detect(&magic[..n]).map_err(|cause| Error::Invalid(cause.into()))?;
    let buffered = BufReader::with_capacity(256 << 10, (&magic[..n]).chain(input));
    let mut reader = compression.reader(buffered).map_err(io("decompress the archive"))?;
    // What is copied is the user's own: only what one entry may take of memory is bounded.
    let limits = Limits { entries: u64::MAX, ..Limits::default() };
    let none = dir.try_clone().map_err(io("open the directory"))?;
    let stream = BufReader::with_capacity(256 << 10, &mut reader);
    let unpacked = Tree::new(&none, dir.try_clone().map_err(io("open the directory"))?, Some(how), 0)
        .read(stream, &limits)?;
    // Whoever writes on the other end would else be told that nobody reads any more.
    let _ = std::io::copy(&mut reader, &mut std::io::sink());
    for path in &unpacked.implied {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat2(&dir, path, flags, Mode::empty(), IN_ROOT);
        made.and_then(|made| fchmod(made, Mode::from_raw_mode(0o755)))
            .map_err(|e| failed("set the mode of", path, e))?;
    }
    Ok(unpacked)
}

impl<R: Read> Stream for BufReader<R> {}
