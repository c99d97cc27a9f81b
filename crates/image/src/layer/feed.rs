//! Reading a file that is still being written: a pipe tells how far it is, so that a layer unpacks while it is downloaded.
//!
//! A message is the number of bytes that are there by now, as eight bytes; the end of the pipe is the end of the writing. The file itself
//! is what both sides share, so that a download that was interrupted goes on where it stopped.

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{read, retry_on_intr, write};
use std::io;

/// Messages taken at once; of several, the last counts.
const MESSAGES: usize = 64;

/// A pipe for [`Tail`] and [`Head`].
pub fn pipe() -> io::Result<(OwnedFd, Head)> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    Ok((reader, Head { pipe: writer }))
}

/// The writer's side. Dropped, it tells the reader that no more will come.
#[derive(Debug)]
pub struct Head {
    pipe: OwnedFd,
}

impl Head {
    /// Say that `bytes` of the file are there. An error when nobody listens any more.
    pub fn tell(&self, bytes: u64) -> io::Result<()> {
        retry_on_intr(|| write(&self.pipe, &bytes.to_le_bytes()))?;
        Ok(())
    }
}

/// The reader's side.
#[derive(Debug)]
pub struct Tail<'a> {
    pipe: Option<BorrowedFd<'a>>,
    known: u64,
}

impl<'a> Tail<'a> {
    /// Without a pipe, all of the file is there.
    pub fn new(pipe: Option<BorrowedFd<'a>>) -> Tail<'a> {
        Tail { pipe, known: if pipe.is_some() { 0 } else { u64::MAX } }
    }

    /// Wait until there are more than `at` bytes, and return how many.
    pub fn beyond(&mut self, at: u64) -> io::Result<u64> {
        while let Some(pipe) = self.pipe.filter(|_| self.known <= at) {
            let mut buffer = [0u8; MESSAGES * 8];
            let n = retry_on_intr(|| read(pipe, &mut buffer))?;
            // Messages are written whole, and the buffer holds a whole number of them.
            let Some(last) = buffer[..n].as_chunks::<8>().0.last() else {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the download ended too early"));
            };
            self.known = u64::from_le_bytes(*last);
        }
        Ok(self.known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn the_reader_waits_for_what_it_needs() {
        let (reader, head) = pipe().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for bytes in [3, 7, 7, 20] {
                    head.tell(bytes).unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            });
            let mut tail = Tail::new(Some(reader.as_fd()));
            assert!(tail.beyond(0).unwrap() >= 3);
            assert!(tail.beyond(6).unwrap() >= 7);
            assert_eq!(tail.beyond(7).unwrap(), 20);
            assert_eq!(tail.beyond(20).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
        assert_eq!(Tail::new(None).beyond(1 << 40).unwrap(), u64::MAX);
    }
}
