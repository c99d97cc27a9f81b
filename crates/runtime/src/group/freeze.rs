//! A pause: no process of the group runs until it is thawed. Freezer of v1, `cgroup.freeze` of v2.

use super::error::{Result, read, read_if_there, write};
use super::{GroupError, GroupPaths};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a group may take: a process that the kernel holds uninterruptibly freezes late.
const PATIENCE: Duration = Duration::from_secs(10);

enum Freezer {
    V1(String),
    V2(String),
}

/// v1's where there is one: beside it v2 freezes as well, but everybody looks there.
fn freezer(paths: &GroupPaths) -> Option<Freezer> {
    let there = |dir: &String| Path::new(dir).is_dir();
    let v1 = paths.of("freezer").map(super::GroupPath::dir).filter(there).map(Freezer::V1);
    v1.or_else(|| paths.unified().map(super::GroupPath::dir).filter(there).map(Freezer::V2))
}

fn needed(paths: &GroupPaths) -> Result<Freezer> {
    freezer(paths).ok_or_else(|| GroupError::new("there is no control group that could be frozen"))
}

/// Stops all processes, and returns when they have stopped. When that takes more than ten seconds, they go on.
pub fn freeze(paths: &GroupPaths) -> Result<()> {
    let (frozen, file, thaw) = match needed(paths)? {
        Freezer::V1(dir) => (freeze_v1(&dir), format!("{dir}/freezer.state"), "THAWED"),
        Freezer::V2(dir) => (freeze_v2(&dir), format!("{dir}/cgroup.freeze"), "0"),
    };
    // A group that is half frozen is worse than one that is not.
    frozen.inspect_err(|_| drop(write(&file, thaw)))
}

fn freeze_v1(dir: &str) -> Result<()> {
    let file = format!("{dir}/freezer.state");
    let end = Instant::now() + PATIENCE;
    for attempt in 1.. {
        // Processes that are born or moved there meanwhile are asked anew.
        write(&file, "FROZEN")?;
        if read(&file)?.trim() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() > end {
            break;
        }
        if attempt % 50 == 0 {
            // A frozen process may keep another from freezing: some moments of life untie them.
            write(&file, "THAWED")?;
            std::thread::sleep(Duration::from_millis(10));
        } else {
            std::thread::sleep(Duration::from_micros(20 * attempt.min(50)));
        }
    }
    Err(GroupError::new(format!("{dir} does not freeze")))
}

fn freeze_v2(dir: &str) -> Result<()> {
    write(&format!("{dir}/cgroup.freeze"), "1")?;
    let path = format!("{dir}/cgroup.events");
    let failed = |e: &std::io::Error| GroupError::io("read", &path, e);
    let mut events = File::open(&path).map_err(|e| failed(&e))?;
    let end = Instant::now() + PATIENCE;
    let mut text = String::new();
    loop {
        text.clear();
        events.rewind().and_then(|()| events.read_to_string(&mut text)).map_err(|e| failed(&e))?;
        // Before Linux 5.2 there is no such line, and no such file as above.
        if text.lines().any(|line| line == "frozen 1") {
            return Ok(());
        }
        let Some(left) = end.checked_duration_since(Instant::now()) else {
            return Err(GroupError::new(format!("{dir} does not freeze")));
        };
        wait_for_change(&[&events], left);
    }
}

/// Until the kernel says that one of these files of control groups has changed since it was read, or the time is up.
pub(super) fn wait_for_change(files: &[&File], time: Duration) {
    let mut fds: Vec<_> = files.iter().map(|file| PollFd::new(file, PollFlags::PRI)).collect();
    let _ = poll(&mut fds, Some(&timespec(time)));
}

pub(super) fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().min(1 << 30).cast_signed(), tv_nsec: time.subsec_nanos().into() }
}

/// Lets all processes go on; those that were not frozen, too.
pub fn thaw(paths: &GroupPaths) -> Result<()> {
    match needed(paths)? {
        Freezer::V1(dir) => write(&format!("{dir}/freezer.state"), "THAWED"),
        Freezer::V2(dir) => write(&format!("{dir}/cgroup.freeze"), "0"),
    }
}

/// Whether the group itself is frozen (one above may be, which is not this container's affair). Without a freezer it isn't.
pub fn is_frozen(paths: &GroupPaths) -> Result<bool> {
    let of = |file: String| read_if_there(&file);
    match freezer(paths) {
        None => Ok(false),
        Some(Freezer::V1(dir)) => match of(format!("{dir}/freezer.self_freezing"))? {
            Some(own) => Ok(own.trim() == "1"),
            // An old kernel does not tell.
            None => Ok(of(format!("{dir}/freezer.state"))?.is_some_and(|state| state.trim() == "FROZEN")),
        },
        Some(Freezer::V2(dir)) => Ok(of(format!("{dir}/cgroup.freeze"))?.is_some_and(|s| s.trim() == "1")),
    }
}
