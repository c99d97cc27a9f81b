//! Pseudo-terminals: a pair of its own instance of devpts, and a terminal's modes and size. See pts(4).

use crate::process::{borrow_raw, last_errno};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize};
use std::sync::{Mutex, Once};

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

/// A terminal in raw mode; its old modes come back when this is dropped, and when the program panics.
#[derive(Debug)]
pub struct Raw<'a> {
    terminal: BorrowedFd<'a>,
    old: Termios,
    raw: Termios,
}

/// What to put back on a panic: a release build aborts then, and drops nothing.
static SAVED: Mutex<Option<(RawFd, Termios)>> = Mutex::new(None);
static HOOK: Once = Once::new();

impl<'a> Raw<'a> {
    /// Every key goes through as it is. Only one terminal at a time is put back on a panic.
    pub fn enter(terminal: BorrowedFd<'a>) -> Result<Raw<'a>, Errno> {
        let old = rustix::termios::tcgetattr(terminal)?;
        let mut raw = old.clone();
        raw.make_raw();
        HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                if let Ok(Some((terminal, old))) = SAVED.try_lock().as_deref() {
                    let terminal = borrow_raw(*terminal);
                    let _ = rustix::termios::tcsetattr(terminal, OptionalActions::Now, old);
                }
                next(info);
            }));
        });
        rustix::termios::tcsetattr(terminal, OptionalActions::Drain, &raw)?;
        if let Ok(mut saved) = SAVED.lock() {
            *saved = Some((terminal.as_raw_fd(), old.clone()));
        }
        Ok(Raw { terminal, old, raw })
    }

    /// Raw again, after a stop in which the shell put its own modes back.
    pub fn again(&self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.raw);
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(self.terminal, OptionalActions::Drain, &self.old);
        if let Ok(mut saved) = SAVED.lock() {
            *saved = None;
        }
    }
}
