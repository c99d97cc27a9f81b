//! Who is in a group, and their end.

use kernel::process::send_signal;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::path::PathBuf;

const KILL: i32 = 9;

/// The processes of a group and of those below it, as this pid namespace numbers them. A group that is gone has none.
pub fn processes_of(dir: &str) -> std::io::Result<Vec<i32>> {
    let mut found = Vec::new();
    collect(dir.into(), &mut found)?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn collect(dir: PathBuf, found: &mut Vec<i32>) -> std::io::Result<()> {
    let read = |file: &str| std::fs::read_to_string(dir.join(file));
    let gone = |e: &std::io::Error| matches!(Errno::from_io_error(e), Some(Errno::NOENT | Errno::NODEV));
    let text = match read("cgroup.procs") {
        // A threaded group of v2 only tells its threads.
        Err(e) if Errno::from_io_error(&e) == Some(Errno::OPNOTSUPP) => read("cgroup.threads"),
        other => other,
    };
    match text {
        Ok(text) => found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok())),
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    }
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if gone(&e) => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        collect(entry.path(), found)?;
    }
    Ok(())
}

/// Sends a signal to all processes of a group and of those below; answers how many there were. Processes that are born
/// meanwhile may be missed: freeze the group first, or come again.
pub fn signal_group(dir: &str, signal: i32) -> std::io::Result<usize> {
    if signal == KILL && std::fs::write(format!("{dir}/cgroup.kill"), "1").is_ok() {
        return processes_of(dir).map(|list| list.len());
    }
    let open = |pid: i32| Some((pid, pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?));
    let held: Vec<_> = processes_of(dir)?.into_iter().filter_map(open).collect();
    // Those that are still there while they are held are meant: no number was given to another meanwhile.
    let still = processes_of(dir)?;
    for (pid, pidfd) in &held {
        if still.binary_search(pid).is_ok() {
            let _ = send_signal(pidfd, signal);
        }
    }
    Ok(held.len())
}

/// Ends all processes of a group and of those below: at once from Linux 5.14 on, one by one on v1, where a frozen one
/// ends only when it is thawed.
pub(super) fn kill_group(dir: &str) {
    let _ = signal_group(dir, KILL);
    let _ = std::fs::write(format!("{dir}/freezer.state"), "THAWED");
}
