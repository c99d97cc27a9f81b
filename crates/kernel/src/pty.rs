//! Pseudo-terminals: a pair of its own instance of devpts, and a terminal's modes and size. See pts(4).

use crate::process::last_errno;
use rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize};

/// The slave of a master, opened by the pair itself and not by a name that could be swapped (CVE-2025-52565).
pub fn open_slave(master: impl AsFd) -> Result<OwnedFd, Errno> {
    // SAFETY: takes flags only; the new descriptor belongs to nobody else.
    unsafe {
        let fd = libc::ioctl(
            master.as_fd().as_raw_fd(),
            libc::TIOCGPTPEER,
            libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC,
        );
        if fd < 0 { Err(last_errno()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Lets the slave be opened.
pub fn unlock(master: impl AsFd) -> Result<(), Errno> {
    rustix::pty::unlockpt(master)
}

/// Makes `terminal` the controlling terminal of a new session of this process.
pub fn take_terminal(terminal: impl AsFd) -> Result<(), Errno> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(terminal)
}

/// The size in characters.
pub fn size(terminal: impl AsFd) -> Result<(u16, u16), Errno> {
    rustix::termios::tcgetwinsize(terminal).map(|w| (w.ws_row, w.ws_col))
}

/// Sets the size; whoever runs in the terminal gets SIGWINCH.
pub fn set_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<(), Errno> {
    rustix::termios::tcsetwinsize(
        terminal,
        Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 },
    )
}

/// A terminal in raw mode; its old modes come back when this is dropped.
#[derive(Debug)]
pub struct Raw<'a> {
    terminal: rustix::fd::BorrowedFd<'a>,
    old: Termios,
}

impl<'a> Raw<'a> {
    /// Every key goes through as it is.
    pub fn enter(terminal: rustix::fd::BorrowedFd<'a>) -> Result<Raw<'a>, Errno> {
        let old = rustix::termios::tcgetattr(terminal)?;
        let mut raw = old.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        Ok(Raw { terminal, old })
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.old);
    }
}
