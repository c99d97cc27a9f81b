//! `corten map`: what there is now, as a picture. The picture is of [`engine::look::map::Map`], and has three forms.

pub mod page;
pub mod serve;
pub mod svg;
pub mod text;

use crate::fmt::words;
use engine::look::map::{Group, Seen, Space};

/// A line about a thing, and the command that shows the thing by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    pub by_hand: String,
}

fn line(text: String, by_hand: impl Into<String>) -> Line {
    Line { text, by_hand: by_hand.into() }
}

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    Own,
    Shared,
    Host,
}

pub fn whose(space: &Space) -> Whose {
    match space {
        Space { host: true, .. } => Whose::Host,
        Space { with, .. } if !with.is_empty() => Whose::Shared,
        _ => Whose::Own,
    }
}

/// A namespace in words.
pub fn space_line(seen: &Seen, space: &Space) -> Line {
    let of = match whose(space) {
        Whose::Own => String::new(),
        Whose::Shared => format!("  with {}", space.with.join(", ")),
        Whose::Host => "  this machine's".to_owned(),
    };
    let by_hand = format!("readlink /proc/{}/ns/{}", seen.pid, space.kind);
    line(format!("{:<7}{}{of}", space.kind, space.inode), by_hand)
}

/// What the container may use, and what it uses: each with how much of it is used, where there is a limit.
pub fn group_lines(group: &Group) -> Vec<(Line, Option<f64>)> {
    let of = |used: String, limit: Option<String>| match limit {
        Some(limit) => format!("{used} of {limit}"),
        None => used,
    };
    let memory = of(words::size(group.memory), group.memory_limit.map(words::size));
    let cpu = match group.cpu_limit {
        Some(limit) => format!("{:.2} s used, {limit} CPUs at a time", group.cpu_seconds),
        None => format!("{:.2} s used", group.cpu_seconds),
    };
    let pids = of(group.pids.to_string(), group.pids_limit.map(|limit| limit.to_string()));
    let part = |used: u64, limit: Option<u64>| limit.map(|limit| used as f64 / limit as f64);
    let dir = &group.directory;
    vec![
        (
            line(format!("memory     {memory}"), format!("cat {dir}/memory.*")),
            part(group.memory, group.memory_limit),
        ),
        (line(format!("cpu        {cpu}"), format!("cat {}/cpu*", dir.replace("/memory/", "/cpu/"))), None),
        (
            line(format!("processes  {pids}"), format!("cat {}/pids.*", dir.replace("/memory/", "/pids/"))),
            part(group.pids, group.pids_limit),
        ),
    ]
}

/// What comes from an image or a user must not speak to the terminal, nor end a line.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests;
