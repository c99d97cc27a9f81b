//! Our standard output and error: written completely, without ever being stuck in a write that no signal ends.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// Where output goes.
#[derive(Debug)]
pub struct Sink {
    /// The standard descriptor.
    number: i32,
    /// The same pipe or terminal opened once more, because O_NONBLOCK on the standard descriptor would be everybody's
    /// who shares it, the shell's above all.
    own: Option<OwnedFd>,
    rest: Vec<u8>,
}

impl Sink {
    pub fn new(number: i32) -> Sink {
        let fd = kernel::process::borrow_raw(number);
        let pipe =
            rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        let own = if pipe || rustix::termios::isatty(fd) {
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            rustix::fs::open(format!("/proc/self/fd/{number}"), flags, Mode::empty()).ok()
        } else {
            None
        };
        Sink { number, own, rest: Vec::new() }
    }

    /// Writes `bytes` now, or keeps what does not go now; not to be called while [`Sink::is_full`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let written = self.try_write(bytes)?;
        self.rest.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Writes what was kept.
    pub fn flush(&mut self) -> Result<(), Errno> {
        let rest = std::mem::take(&mut self.rest);
        self.write(&rest)
    }

    pub fn is_full(&self) -> bool {
        !self.rest.is_empty()
    }

    fn try_write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let mut written = 0;
        while written < bytes.len() {
            match rustix::io::write(self, &bytes[written..]) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.own.as_ref().map_or_else(|| kernel::process::borrow_raw(self.number), AsFd::as_fd)
    }
}
