//! What was killed and does not end: a process that waits in the kernel, for a disk, a file system or another machine, and takes no
//! signal meanwhile (state D in proc_pid_stat(5)).

use crate::{Container, Error, Result};
use kernel::process::status_field;
use rustix::fd::OwnedFd;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// For so many seconds a process has to wait in one place until it is told of.
const PATIENCE: u32 = 10;

/// Waits for the end of a container that was killed.
///
/// Errors: one of its processes waits in the kernel, in the same place for [`PATIENCE`] seconds. The container is as it was, and ends
/// by itself when that process may go on.
pub(crate) fn wait_for_end(container: &Container, init: i32, pidfd: &OwnedFd) -> Result<()> {
    let (mut before, mut seconds) = (BTreeMap::new(), 0);
    while !crate::control::ended(pidfd, 1) {
        let mut now = waiting(init);
        now.retain(|pid, switches| before.is_empty() || before.get(pid) == Some(switches));
        seconds = if now.is_empty() { 0 } else { seconds + 1 };
        if let (PATIENCE.., Some(pid)) = (seconds, now.keys().next()) {
            return Err(Error::Invalid(format!(
                "container '{}' was killed but does not end: its process {} waits in the kernel and takes no signal until what it waits for answers: a disk, a file system, another machine",
                container.name,
                named(*pid)
            )));
        }
        before = now;
    }
    Ok(())
}

/// A process of the container that was killed and waits all the same, not only for a moment: see [`named`].
pub(crate) fn killed_in_vain(init: i32) -> Option<String> {
    let before = killed(init);
    if before.is_empty() {
        return None;
    }
    std::thread::sleep(Duration::from_secs(1));
    let still = |(pid, switches): &(i32, String)| before.get(pid) == Some(switches);
    killed(init).into_iter().find(still).map(|(pid, _)| named(pid))
}

/// The container's processes that wait so, and how often each has gone on before.
fn waiting(init: i32) -> BTreeMap<i32, String> {
    waiting_if(init, |_| true)
}

/// Those of them that have a SIGKILL which they have not heard of.
fn killed(init: i32) -> BTreeMap<i32, String> {
    waiting_if(init, |status| {
        let pending =
            |name| u64::from_str_radix(status_field(status, name).unwrap_or_default(), 16).unwrap_or(0);
        (pending("SigPnd") | pending("ShdPnd")) & (1 << (Signal::KILL.as_raw() - 1)) != 0
    })
}

/// `which` is given `/proc/PID/status`.
fn waiting_if(init: i32, which: impl Fn(&str) -> bool) -> BTreeMap<i32, String> {
    let look = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let waits = status_field(&status, "State")?.starts_with('D') && which(&status);
        waits.then_some((pid, status_field(&status, "voluntary_ctxt_switches")?.to_owned()))
    };
    crate::top::members(init).unwrap_or_default().into_iter().filter_map(look).collect()
}

/// `123 (cat)`, and in which function of the kernel it waits, where that is known.
fn named(pid: i32) -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let (name, place) = (read("comm"), read("wchan"));
    match place.trim() {
        "" | "0" => format!("{pid} ({})", name.trim()),
        place => format!("{pid} ({}, in {place})", name.trim()),
    }
}
