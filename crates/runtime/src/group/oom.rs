//! To learn that the kernel has killed in a container for want of memory, and that all its processes have ended.

use super::error::{Result, read};
use super::freeze::{timespec, wait_for_change};
use super::{GroupError, GroupPaths};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

/// What was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// The kernel killed a process, or wanted to (a group of v1 may keep it from that).
    OutOfMemory,
    /// There is no process left, or no group.
    Ended,
    /// Nothing, in the given time.
    Nothing,
}

/// A view on a container's memory.
#[derive(Debug)]
pub struct OomWatch(Kind);

#[derive(Debug)]
enum Kind {
    /// An eventfd that the kernel counts up, and the file by which it was asked to; it must stay open.
    V1 {
        event: OwnedFd,
        control: String,
        _file: File,
    },
    V2 {
        dir: String,
        events: File,
        kills: u64,
    },
}

impl OomWatch {
    /// What has happened before is not told.
    pub fn new(paths: &GroupPaths) -> Result<OomWatch> {
        if let Some(path) = paths.of("memory") {
            return OomWatch::v1(&path.dir());
        }
        match paths.unified().filter(|_| paths.iter().all(super::GroupPath::is_v2)) {
            Some(path) => OomWatch::v2(path.dir()),
            None => Err(GroupError::new("the container has no control group of the memory controller")),
        }
    }

    fn v1(dir: &str) -> Result<OomWatch> {
        let path = format!("{dir}/memory.oom_control");
        let file = File::open(&path).map_err(|e| GroupError::io("open", &path, &e))?;
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|e| GroupError::io("make", "an eventfd", &e.into()))?;
        let control = format!("{dir}/cgroup.event_control");
        super::error::write(&control, &format!("{} {}", event.as_raw_fd(), file.as_raw_fd()))?;
        Ok(OomWatch(Kind::V1 { event, control, _file: file }))
    }

    fn v2(dir: String) -> Result<OomWatch> {
        let path = format!("{dir}/cgroup.events");
        let events = File::open(&path).map_err(|e| GroupError::io("open", &path, &e))?;
        let kills = kills(&dir);
        Ok(OomWatch(Kind::V2 { dir, events, kills }))
    }

    /// Waits for the next thing that happens.
    pub fn next(&mut self, time: Duration) -> Result<Watched> {
        match &mut self.0 {
            Kind::V1 { event, control, .. } => {
                let mut fds = [PollFd::new(event, PollFlags::IN)];
                if poll(&mut fds, Some(&timespec(time))).is_ok_and(|n| n == 0) {
                    return Ok(Watched::Nothing);
                }
                let _ = rustix::io::read(&*event, &mut [0u8; 8]);
                // The end of the group counts up as well.
                let there = Path::new(control.as_str()).exists();
                Ok(if there { Watched::OutOfMemory } else { Watched::Ended })
            }
            Kind::V2 { dir, events, kills: before } => watch_v2(dir, events, before, time),
        }
    }
}

/// The kernel notifies of a kill in memory.events, and of the last process' end in cgroup.events. Both are waited for.
fn watch_v2(dir: &str, events: &mut File, before: &mut u64, time: Duration) -> Result<Watched> {
    let end = Instant::now() + time;
    let memory = File::open(format!("{dir}/memory.events")).ok();
    let mut text = String::new();
    loop {
        // Read first, then wait: the kernel only tells what has changed since.
        if let Some(mut file) = memory.as_ref() {
            text.clear();
            let _ = file.rewind().and_then(|()| file.read_to_string(&mut text));
            let now = parse_kills(&text);
            if now > *before {
                *before = now;
                return Ok(Watched::OutOfMemory);
            }
        }
        text.clear();
        if events.rewind().and_then(|()| events.read_to_string(&mut text)).is_err()
            || text.lines().any(|line| line == "populated 0")
        {
            return Ok(Watched::Ended);
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else { return Ok(Watched::Nothing) };
        let both: Vec<&File> = std::iter::once(&*events).chain(&memory).collect();
        wait_for_change(&both, left);
    }
}

/// How many processes the kernel has killed in a group for want of memory.
fn kills(dir: &str) -> u64 {
    ["memory.events", "memory.oom_control"]
        .iter()
        .find_map(|file| read(&format!("{dir}/{file}")).ok())
        .map_or(0, |text| parse_kills(&text))
}

fn parse_kills(text: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|n| n.trim().parse().ok())
        .unwrap_or_default()
}

/// How many processes of the container the kernel has killed for want of memory.
pub fn oom_kills(paths: &GroupPaths) -> u64 {
    paths.dirs().map(|dir| kills(&dir)).max().unwrap_or_default()
}
