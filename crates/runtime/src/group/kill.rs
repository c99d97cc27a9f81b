//! Who is in a container's groups, and signals for all of them.

use super::error::Result;
use super::{GroupError, GroupPath, GroupPaths, freeze, is_frozen, thaw};
use std::path::Path;
use std::time::{Duration, Instant};
use steps::{processes_of, signal_group};

const KILL: i32 = 9;

/// The group that tells who is in the container: in all hierarchies there are the same.
fn telling(paths: &GroupPaths) -> Option<String> {
    paths.iter().map(GroupPath::dir).find(|dir| Path::new(dir).is_dir())
}

/// All processes of the container's groups and of those below them, as this pid namespace numbers them, in order.
pub fn processes(paths: &GroupPaths) -> Result<Vec<i32>> {
    let Some(dir) = telling(paths) else { return Ok(Vec::new()) };
    processes_of(&dir).map_err(|e| GroupError::io("list the processes of", &dir, &e))
}

/// Whether a container can be made in these groups: nobody is in them, and they are not frozen.
pub fn check_unused(paths: &GroupPaths) -> Result<()> {
    let there = processes(paths)?.len();
    if there != 0 {
        return Err(GroupError::new(format!("container's cgroup is not empty: {there} process(es) found")));
    }
    if is_frozen(paths)? {
        return Err(GroupError::new("container's cgroup unexpectedly frozen"));
    }
    Ok(())
}

/// Sends a signal to all processes: to each once, also to those that are born meanwhile. Paused processes hear it when they
/// go on, but KILL makes them end.
pub fn signal_all(paths: &GroupPaths, signal: i32) -> Result<()> {
    let failed = |dir: &str, e: &std::io::Error| GroupError::io("signal the processes of", dir, e);
    let unified = paths.unified().map(GroupPath::dir).filter(|_| signal == KILL);
    if let Some(dir) = unified.filter(|dir| Path::new(&format!("{dir}/cgroup.kill")).exists()) {
        signal_group(&dir, signal).map_err(|e| failed(&dir, &e))?;
        if is_frozen(paths)? {
            // v1's freezer holds even the dead.
            thaw(paths)?;
        }
        return Ok(());
    }
    let Some(dir) = telling(paths) else {
        return Err(GroupError::new("the container has no control group"));
    };
    // Nobody is born while all stand still. Where they cannot be stopped, the newest may be missed.
    let paused = is_frozen(paths)?;
    let stopped = paused || freeze(paths).is_ok();
    let outcome = signal_group(&dir, signal).map_err(|e| failed(&dir, &e));
    if stopped && (!paused || signal == KILL) {
        thaw(paths)?;
    }
    outcome.map(drop)
}

/// Ends all processes and waits until they have ended; ten seconds are enough for any.
pub fn kill_all(paths: &GroupPaths) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut pause = Duration::from_micros(50);
    while !processes(paths)?.is_empty() {
        if Instant::now() > end {
            return Err(GroupError::new("processes do not end"));
        }
        signal_all(paths, KILL)?;
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
