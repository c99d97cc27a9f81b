//! The loop between our standard input, output and signals and what is on the far side.

use super::far::{Far, News};
use super::keys::KeyFilter;
use super::sink::Sink;
use super::{AttachEnd, AttachError, AttachOptions, terminal_size};
use crate::monitor::Stream;
use crate::monitor::protocol::{CHUNK, PACKET};
use kernel::{process, pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::process::Signal;
use std::time::Duration;

pub struct Session<'a> {
    far: Far,
    options: &'a AttachOptions<'a>,
    signals: OwnedFd,
    /// Our input, until its end.
    stdin: Option<BorrowedFd<'a>>,
    stdin_is_terminal: bool,
    keys: KeyFilter,
    raw: Option<pty::Raw<'a>>,
    sinks: [Sink; 2],
    /// How many SIGINT and SIGTERM came.
    terminations: u32,
    /// What it will end with when all output is written.
    end: Option<AttachEnd>,
}

/// How often a background process looks whether it may read the terminal by now.
const BACKGROUND: Duration = Duration::from_millis(300);

impl Session<'_> {
    pub fn run(far: Far, options: &AttachOptions<'_>) -> Result<AttachEnd, AttachError> {
        let stdin = process::borrow_raw(0);
        let stdin_is_terminal = rustix::termios::isatty(stdin);
        // While SIGTTOU still has its effect: in the background it stops us here, until we are brought to the front.
        let raw = if options.tty && options.interactive && stdin_is_terminal {
            pty::Raw::enter(stdin).ok()
        } else {
            None
        };
        let mut session = Session {
            far,
            options,
            signals: process::signal_fd(&handled(options))?,
            stdin: options.interactive.then_some(stdin),
            stdin_is_terminal,
            keys: KeyFilter::new(&options.detach_keys),
            raw,
            sinks: [Sink::new(1), Sink::new(2)],
            terminations: 0,
            end: None,
        };
        session.resize();
        let end = session.pump();
        drop(session.raw.take());
        match end {
            Ok(AttachEnd::Detached) => session.say("read escape sequence\n"),
            Ok(AttachEnd::Interrupted(_)) if session.terminations >= 3 => {
                session.say("\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n");
            }
            _ => {}
        }
        end
    }

    fn pump(&mut self) -> Result<AttachEnd, AttachError> {
        let mut buffer = vec![0; PACKET];
        loop {
            self.wait()?;
            while let Some(signal) = process::next_signal(&self.signals) {
                self.signalled(signal);
            }
            if let Some(end @ (AttachEnd::Detached | AttachEnd::Interrupted(_))) = self.end {
                return Ok(end);
            }
            for sink in &mut self.sinks {
                sink.flush().map_err(AttachError::Output)?;
            }
            // Some packets before the next poll(2), but not for ever: signals and keys want their turn.
            for _ in 0..16 {
                if self.end.is_some() || self.sinks.iter().any(Sink::is_full) {
                    break;
                }
                match self.far.next(&mut buffer)? {
                    News::Nothing => break,
                    News::Output(Stream::Stdout, bytes) => self.sinks[0].write(bytes),
                    News::Output(Stream::Stderr, bytes) => self.sinks[1].write(bytes),
                    News::Exited(code) => {
                        self.end = Some(AttachEnd::Exited(code));
                        Ok(())
                    }
                }
                .map_err(AttachError::Output)?;
            }
            match self.end {
                Some(end) if !self.sinks.iter().any(Sink::is_full) => return Ok(end),
                _ => {}
            }
        }
    }

    /// Waits for anything, and reads input when there is some.
    fn wait(&mut self) -> Result<(), AttachError> {
        let mut timeout = self.far.patience();
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let input = self.stdin.filter(|_| self.end.is_none() && self.far.takes_input());
        let input = match input {
            Some(stdin) if self.stdin_is_terminal && !in_foreground(stdin) => {
                // Reading now would stop us (SIGTTIN).
                timeout = Some(timeout.map_or(BACKGROUND, |t| t.min(BACKGROUND)));
                None
            }
            other => other,
        };
        if let Some(stdin) = &input {
            fds.push(PollFd::new(stdin, PollFlags::IN));
        }
        let full = self.sinks.iter().any(Sink::is_full);
        for sink in self.sinks.iter().filter(|sink| sink.is_full()) {
            fds.push(PollFd::new(sink, PollFlags::OUT));
        }
        if self.end.is_none() {
            self.far.watch(&mut fds, !full);
        }
        let timeout =
            timeout.map(|t| Timespec { tv_sec: t.as_secs() as i64, tv_nsec: i64::from(t.subsec_nanos()) });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        let readable = input.is_some() && !fds[1].revents().is_empty();
        drop(fds);
        if readable {
            self.read_input();
        }
        Ok(())
    }

    fn read_input(&mut self) {
        let Some(stdin) = self.stdin else { return };
        // Room for keys that were held back.
        let mut buffer = vec![0; CHUNK - 256];
        match rustix::io::read(stdin, &mut buffer) {
            Ok(n) if n > 0 => {
                let typed = &buffer[..n];
                if !self.options.tty {
                    return self.far.input(typed);
                }
                let mut passed = Vec::with_capacity(n);
                let detached = self.keys.feed(typed, &mut passed);
                if !passed.is_empty() {
                    self.far.input(&passed);
                }
                if detached {
                    self.far.detach();
                    self.end = Some(AttachEnd::Detached);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Sent to the background between two system calls.
            Err(Errno::IO) if self.stdin_is_terminal && !in_foreground(stdin) => {}
            _ => {
                let held = self.keys.rest().to_vec();
                if !held.is_empty() {
                    self.far.input(&held);
                }
                self.far.input_end();
                self.stdin = None;
            }
        }
    }

    fn signalled(&mut self, signal: i32) {
        let is = |other: Signal| signal == other.as_raw();
        if is(Signal::WINCH) {
            return self.resize();
        }
        if is(Signal::CONT)
            && let Some(raw) = &self.raw
        {
            raw.again();
            self.resize();
        }
        if is(Signal::TTIN) || is(Signal::TTOU) {
            return;
        }
        if is(Signal::INT) || is(Signal::TERM) {
            self.terminations += 1;
        }
        if self.options.sig_proxy {
            self.far.signal(signal);
        }
        let ends = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT].into_iter().any(is);
        if self.terminations >= 3 || (!self.options.sig_proxy && ends) {
            self.end = Some(AttachEnd::Interrupted(signal));
        }
    }

    fn resize(&mut self) {
        if let (true, Some((rows, columns))) = (self.options.tty, terminal_size()) {
            self.far.resize(rows, columns);
            if let Some(told) = self.options.resized {
                told(rows, columns);
            }
        }
    }

    fn say(&self, text: &str) {
        let _ = rustix::io::write(process::borrow_raw(2), text.as_bytes());
    }
}

/// The signals that the loop takes itself.
fn handled(options: &AttachOptions<'_>) -> Vec<i32> {
    use Signal as S;
    let own = [S::WINCH, S::CONT, S::TTIN, S::TTOU, S::INT, S::TERM, S::HUP, S::QUIT];
    if !options.sig_proxy {
        return own.iter().map(|s| s.as_raw()).collect();
    }
    // 32 and 33 are the C library's.
    let left =
        [S::KILL, S::STOP, S::CHILD, S::PIPE, S::URG, S::SEGV, S::BUS, S::FPE, S::ILL, S::TRAP, S::SYS];
    (1..=64).filter(|n| !matches!(n, 32 | 33) && left.iter().all(|s| s.as_raw() != *n)).collect()
}

/// Whether we may read the terminal. One that is not our session's never stops us.
fn in_foreground(terminal: BorrowedFd<'_>) -> bool {
    rustix::termios::tcgetpgrp(terminal).map_or(true, |group| group == rustix::process::getpgrp())
}
