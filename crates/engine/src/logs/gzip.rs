//! Files that have had their turn, compressed: `log.json.1` becomes `log.json.1.gz`, by a process of its own.

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use kernel::process::{self, Side};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The compressed form's name.
pub(super) fn name(path: &Path) -> PathBuf {
    PathBuf::from(format!("{}.gz", path.display()))
}

/// A process that compresses a file. The log is written on meanwhile, but no other file has its turn.
#[derive(Debug)]
pub(super) struct Compressing(OwnedFd);

impl Compressing {
    /// `None` where no process could be made: the file stays as it is. The caller has one thread.
    pub fn start(path: &Path) -> Option<Compressing> {
        match process::fork().ok()? {
            Side::Parent { pidfd, .. } => Some(Compressing(pidfd)),
            Side::Child => {
                let _ = process::close_all_but(3, [-1, -1]);
                process::set_name(c"corten-gzip");
                process::exit(i32::from(compress(path).is_err()))
            }
        }
    }

    /// Whether it has ended within so many seconds.
    pub fn is_over(&self, seconds: i64) -> bool {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let over = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)).is_ok_and(|n| n > 0);
        if over {
            let _ = waitid(WaitId::PidFd(self.0.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        over
    }
}

/// Whole or not at all. Which file it was stays known: whoever has read it before has no need of it again.
pub(super) fn compress(path: &Path) -> io::Result<()> {
    let from = File::open(path)?;
    let (to, beside) = (name(path), PathBuf::from(format!("{}.gz.new", path.display())));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    let comment = kernel::identity::of(&from)?;
    let mut out = GzBuilder::new().comment(comment).write(file, Compression::fast());
    let copied = io::copy(&mut BufReader::with_capacity(64 << 10, from), &mut out);
    if let Err(error) = copied.and_then(|_| out.finish()) {
        let _ = std::fs::remove_file(&beside);
        return Err(error);
    }
    std::fs::rename(&beside, &to)?;
    std::fs::remove_file(path)
}

/// A compressed file, not yet read.
#[derive(Debug)]
pub(super) struct Compressed(GzDecoder<BufReader<File>>);

impl Compressed {
    /// With the identity of the file that it was.
    pub fn open(path: &Path) -> io::Result<(Compressed, String)> {
        let file = File::open(path)?;
        let own = kernel::identity::of(&file)?;
        let decoder = GzDecoder::new(BufReader::new(file));
        let comment = decoder.header().and_then(|header| header.comment());
        let was = comment.map(|text| String::from_utf8_lossy(text).into_owned());
        // Older builds noted numbers, which the next file may have had, too.
        let was = was.filter(|was| was.contains('.'));
        Ok((Compressed(decoder), was.unwrap_or(own)))
    }

    /// Its content, as a file in memory. Where it is damaged, what stands before that.
    pub fn unpack(self) -> io::Result<File> {
        let mut file = File::from(rustix::fs::memfd_create("corten-log", rustix::fs::MemfdFlags::CLOEXEC)?);
        let mut decoder = self.0;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match decoder.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(file),
                Ok(n) => file.write_all(&buffer[..n])?,
            }
        }
    }
}
