//! A command that runs: started, signalled, waited for within a time limit, its output collected meanwhile.

use crate::{Output, slowness, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A started command. Its standard input is a pipe when it was started so ([`Background::input`]).
#[derive(Debug)]
pub struct Background {
    line: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Collected,
    stderr: Collected,
}

impl Background {
    /// Starts `command`; `line` is how messages call it.
    #[track_caller]
    pub fn start(line: &str, command: &mut Command) -> Background {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot start `{line}`: {e}"));
        let stdout = Collected::from(child.stdout.take().expect("stdout is piped"));
        let stderr = Collected::from(child.stderr.take().expect("stderr is piped"));
        Background { line: line.into(), stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Writes to the command's standard input.
    #[track_caller]
    pub fn input(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("started without a pipe as standard input");
        stdin
            .write_all(text.as_bytes())
            .unwrap_or_else(|e| panic!("`{}` does not read its input: {e}", self.line));
    }

    /// Closes the command's standard input.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the command still runs");
    }

    /// What it has printed so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Waits until the command has printed `text`.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let what = format!("`{}` to print {text:?}", self.line);
        wait_until(&what, 20, || self.stdout.text().contains(text));
    }

    /// Waits for the end, 60 s at most. A process that holds the output open after that is an error: it would hang
    /// every script that reads what `corten run -d` prints.
    #[track_caller]
    pub fn wait(self) -> Output {
        self.wait_for(60)
    }

    /// As [`Background::wait`], for what takes longer: `seconds` (of an ordinary machine) at most.
    #[track_caller]
    pub fn wait_for(mut self, seconds: u32) -> Output {
        self.stdin = None;
        let mut status = None;
        let start = std::time::Instant::now();
        while status.is_none() {
            status = self.child.try_wait().expect("a child of ours can be waited for");
            if status.is_none() && start.elapsed().as_secs() > u64::from(seconds * slowness()) {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!(
                    "`{}` does not end; so far:\n{}\n{}",
                    self.line,
                    self.stdout.text(),
                    self.stderr.text()
                );
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let closed = || self.stdout.closed() && self.stderr.closed();
        wait_until(&format!("the output of `{}` to be closed by all who hold it", self.line), 10, closed);
        let code = status.map_or(-1, code);
        Output { line: self.line.clone(), code, stdout: self.stdout.text(), stderr: self.stderr.text() }
    }
}

/// The exit code as a shell tells it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Everything that comes out of a pipe or terminal, gathered by a thread.
#[derive(Debug)]
pub(crate) struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    pub fn from(mut source: impl Read + Send + 'static) -> Collected {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The master side of a terminal ends with EIO, a pipe with 0 bytes.
            while let Ok(n @ 1..) = source.read(&mut buffer) {
                into.lock().expect("no reader panics").extend_from_slice(&buffer[..n]);
            }
        });
        Collected { bytes, reader }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("no reader panics")).into_owned()
    }

    pub fn closed(&self) -> bool {
        self.reader.is_finished()
    }
}
