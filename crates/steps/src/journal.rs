//! How to take back what was done: one line a step, written before the step is performed.
//!
//! A failed start, `rm`, recovery after a crash and `prune` all replay this one file, last line first. Undoing what was
//! never done succeeds quietly, so a line too many does no harm and a line too few cannot happen.

use crate::{Failure, Live, Step};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal at `path`, made when missing, to append.
    pub fn open(path: &Path) -> io::Result<Journal> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Journal { file, path: path.to_owned() })
    }

    /// Notes how to take `step` back. It is not synced: every object named here dies with the machine's memory, or is
    /// a file that the next start of the same container owns.
    pub fn note(&mut self, step: &Step) -> io::Result<()> {
        let Some(undo) = step.undo() else { return Ok(()) };
        let mut line = serde_json::to_vec(&undo).map_err(io::Error::other)?;
        line.push(b'\n');
        let length = self.file.metadata()?.len();
        self.file.write_all(&line).inspect_err(|_| {
            // Where there was room for a part only: the next line would be lost with it.
            let _ = self.file.set_len(length);
        })
    }

    /// What would be taken back, newest first; nothing where there is no journal.
    pub fn read(path: &Path) -> io::Result<Vec<Step>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        // A last line that a kill cut short belongs to a step that was not performed.
        Ok(text.lines().rev().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    /// Takes everything back, newest first; goes on after a failure and returns all of them. The file is removed when
    /// nothing failed.
    pub fn replay(path: &Path) -> io::Result<Vec<(Step, Failure)>> {
        // An error that comes once is no reason to leave anything.
        let all = Journal::read(path).or_else(|_| Journal::read(path))?;
        let live = Live::new(0);
        let mut failed = Vec::new();
        for step in all {
            if let Err(failure) = step.perform(&live).or_else(|_| step.perform(&live)) {
                failed.push((step, failure));
            }
        }
        if failed.is_empty() {
            match std::fs::remove_file(path).or_else(|_| std::fs::remove_file(path)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(failed)
    }

    /// Locks it against others who do the same, until it is dropped; false when somebody has it. Who only notes needs no lock.
    pub fn try_lock(&self) -> io::Result<bool> {
        let lock = || rustix::fs::flock(&self.file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        match rustix::io::retry_on_intr(lock) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MakeDir, WriteFile};

    /// A journal is written by the monitor that started the container and read by whoever removes it, perhaps after an upgrade. A
    /// line that is not understood is not taken back: these have to be for as long as there may be such monitors.
    #[test]
    fn what_older_builds_have_noted_is_taken_back() {
        let lines = [
            r#"{"RemoveCgroup":{"path":"/sys/fs/cgroup/memory/corten/4da0"}}"#,
            r#"{"RemoveFile":{"path":"/run/corten/4da0/hosts"}}"#,
            r#"{"RemoveTree":{"path":"/run/corten/4da0"}}"#,
            r#"{"RemoveResctrl":{"path":"/sys/fs/resctrl/4da0"}}"#,
            r#"{"StopUnit":{"unit":"corten-4da0.scope","user":false}}"#,
            r#"{"Unpublish":{"table":"corten","ports":[{"host":null,"host_port":8088,"protocol":"tcp","address":"10.78.0.9","port":80}]}}"#,
            r#"{"WithdrawNames":{"directory":"/run/corten/names/nn","names":["full","al"],"container":"4da0"}}"#,
            r#"{"UnnameNamespace":{"name":"full","kept":"/run/corten/4da0/netns"}}"#,
        ];
        for line in lines {
            let step: Step = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert_eq!(serde_json::to_string(&step).unwrap(), line);
        }
    }

    #[test]
    fn replay_takes_back_in_reverse_and_twice_is_nothing() {
        let base = std::env::temp_dir().join(format!("corten-journal-{}", std::process::id()));
        std::fs::create_dir_all(&base).unwrap();
        let journal_path = base.join("journal");
        let live = Live::new(0);
        let dir: Step = MakeDir { path: base.join("d").into(), mode: 0o755, owner: None }.into();
        let file: Step =
            WriteFile { path: base.join("d/f").into(), content: "x".into(), mode: 0o644, owner: None }.into();
        let mut journal = Journal::open(&journal_path).unwrap();
        for step in [&dir, &file] {
            journal.note(step).unwrap();
            step.perform(&live).unwrap();
        }
        assert!(base.join("d/f").exists());
        assert!(Journal::replay(&journal_path).unwrap().is_empty());
        assert!(!base.join("d").exists());
        assert!(!journal_path.exists());
        assert!(Journal::replay(&journal_path).unwrap().is_empty());
        std::fs::remove_dir_all(&base).unwrap();
    }
}
