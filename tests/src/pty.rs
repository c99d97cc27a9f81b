//! A terminal for the commands that want one: what a person would see, type and resize.

use crate::process::{Collected, code};
use crate::{Output, slowness, wait_until};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A command with a pseudo-terminal of 24 rows and 80 columns as its controlling terminal.
#[derive(Debug)]
pub struct Pty {
    line: String,
    master: File,
    /// Kept open, so that the terminal's settings can be read after the command's end.
    terminal: File,
    child: Child,
    screen: Collected,
    seen: usize,
}

impl Pty {
    /// Starts `command` by way of setsid(1), which gives it the terminal.
    #[track_caller]
    pub fn start(line: &str, command: &Command) -> Pty {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal is ours");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = File::from(rustix::fs::open(name, flags, Mode::empty()).expect("the terminal opens"));
        let master = File::from(master);
        set_size(&master, 24, 80);
        let mut pty = Command::new("setsid");
        pty.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            value.map(|value| pty.env(key, value));
        }
        command.get_current_dir().map(|dir| pty.current_dir(dir));
        let end = || terminal.try_clone().expect("a descriptor is to be had");
        let child = pty.env("TERM", "xterm").stdin(end()).stdout(end()).stderr(end()).spawn();
        let child = child.unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
        let screen = Collected::from(master.try_clone().expect("a descriptor is to be had"));
        Pty { line: line.into(), master, terminal, child, screen, seen: 0 }
    }

    /// Types `text`. A line ends with `\r`, as the Enter key sends it.
    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes input");
    }

    /// Waits until `text` appears after all that was expected before.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        let limit = Duration::from_secs(u64::from(20 * slowness()));
        let start = Instant::now();
        loop {
            let screen = self.screen.text();
            if let Some(at) = screen.get(self.seen..).and_then(|new| new.find(text)) {
                self.seen += at + text.len();
                return;
            }
            assert!(start.elapsed() < limit, "`{}` does not show {text:?}; the screen:\n{screen}", self.line);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Changes the size of the terminal; the kernel tells its foreground processes by SIGWINCH.
    pub fn resize(&self, rows: u16, columns: u16) {
        set_size(&self.master, rows, columns);
    }

    /// Everything shown so far.
    pub fn screen(&self) -> String {
        self.screen.text()
    }

    /// Whether the terminal echoes and edits lines, as a shell expects to find it.
    pub fn is_sane(&self) -> bool {
        let modes = tcgetattr(&self.terminal).expect("a terminal has settings").local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the end of the command, and checks that it left the terminal as it found it.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let mut status = None;
        let what = format!("the end of `{}`; the screen:\n{}", self.line, self.screen.text());
        wait_until(&what, 30, || {
            status = self.child.try_wait().expect("a child of ours can be waited for");
            status.is_some()
        });
        assert!(self.is_sane(), "`{}` left the terminal raw", self.line);
        // The last of the output may still be in the terminal: the reader gets it within a moment.
        std::thread::sleep(Duration::from_millis(20));
        let stdout = self.screen.text();
        Output { line: self.line.clone(), code: status.map_or(-1, code), stdout, stderr: String::new() }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(master: &File, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).expect("a terminal has a size");
}
