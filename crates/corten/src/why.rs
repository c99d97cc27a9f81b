//! `corten why`: what one would find out with ss, nft, dmesg and /sys/fs/cgroup, asked in words. Each answer says how to see it by
//! hand.

pub mod denied;
pub mod exited;
pub mod port;
pub mod slow;

use crate::cli::{width, wrapped};
use std::io::IsTerminal;

/// An answer: a sentence, and what is behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    lines: Vec<String>,
}

impl Answer {
    pub fn new(sentence: impl Into<String>) -> Answer {
        Answer { lines: vec![sentence.into()] }
    }

    /// One more fact.
    pub fn add(&mut self, fact: impl AsRef<str>) {
        self.lines.push(format!("  {}", fact.as_ref()));
    }

    /// How to see it without us.
    pub fn by_hand(&mut self, command: impl AsRef<str>) {
        self.lines.push(format!("  by hand: {}", command.as_ref()));
    }

    /// What to do about it.
    pub fn hint(&mut self, hint: impl AsRef<str>) {
        self.lines.push(format!("  hint: {}", hint.as_ref()));
    }

    /// A fact a line; folded where a person reads it.
    pub fn text(&self) -> String {
        let width = if std::io::stdout().is_terminal() { width() } else { usize::MAX };
        let line = |line: &String| {
            let line = crate::map::printable(line);
            let text = line.trim_start();
            let indent = line.len() - text.len();
            format!("{:indent$}{}\n", "", wrapped(text, indent + 2, width))
        };
        self.lines.iter().map(line).collect()
    }
}
