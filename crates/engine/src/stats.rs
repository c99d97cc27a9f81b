//! What running containers use: one reading of the kernel's counters each.

use crate::{Container, Engine, Network, group};
use runtime::group::{Psi, Stats};
use runtime::{GroupPaths, Host};
use std::time::{Duration, Instant};

/// Counters at one moment. Bytes; CPU time in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Counters {
    pub cpu: u64,
    /// Without files that could be given up at once, as Docker counts it.
    pub memory: u64,
    /// Its own limit, or all that the machine has.
    pub memory_limit: u64,
    pub anonymous: u64,
    pub files: u64,
    pub kernel: u64,
    /// Percent of the last ten seconds in which some process waited for memory, CPU, or disks; `None` where that is not counted.
    pub pressure: [Option<f64>; 3],
    pub received: u64,
    pub sent: u64,
    pub read: u64,
    pub written: u64,
    pub pids: u64,
}

impl Counters {
    /// Percent of one CPU, from those of so long ago.
    pub fn cpu_percent(&self, then: &Counters, wall: Duration) -> f64 {
        self.cpu.saturating_sub(then.cpu) as f64 * 100.0 / wall.as_nanos().max(1) as f64
    }
}

/// What is the same for all containers of one pass.
#[derive(Debug)]
pub struct Observer {
    host: Host,
    memory: u64,
}

impl Observer {
    pub fn new() -> Observer {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse().ok());
        Observer { host: Host::read(), memory: total.unwrap_or(0u64) * 1024 }
    }
}

impl Default for Observer {
    fn default() -> Observer {
        Observer::new()
    }
}

impl Engine {
    /// The CPU time alone: what is needed of a first reading.
    pub fn cpu_time(&self, observer: &Observer, container: &Container) -> Option<(Counters, Instant)> {
        let groups = GroupPaths::everywhere(&group::of(container), &observer.host);
        let cpu = runtime::group::cpu_time(&groups).ok()??;
        Some((Counters { cpu, ..Counters::default() }, Instant::now()))
    }

    /// The counters of a container whose first process is `pid`, and when they were read; `None` when it has ended.
    pub fn counters(
        &self,
        observer: &Observer,
        container: &Container,
        pid: i32,
    ) -> Option<(Counters, Instant)> {
        let groups = GroupPaths::everywhere(&group::of(container), &observer.host);
        if !groups.dirs().any(|dir| std::path::Path::new(&dir).is_dir()) {
            return None;
        }
        let stats = runtime::group::brief(&groups).ok()?;
        let at = Instant::now();
        let mut usage = from_stats(&stats, observer.memory);
        if stats.blkio.io_service_bytes_recursive.is_empty() {
            // It has no group that counts it: what its processes did until now.
            let pids = runtime::group::processes(&groups).unwrap_or_default();
            (usage.read, usage.written) =
                pids.into_iter().map(disk).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        }
        if !matches!(container.settings.network, Network::Host) {
            (usage.received, usage.sent) = traffic(pid);
        }
        Some((usage, at))
    }
}

fn from_stats(stats: &Stats, machine: u64) -> Counters {
    let raw =
        |names: &[&str]| names.iter().find_map(|name| stats.memory.raw.get(*name)).copied().unwrap_or(0);
    let idle = raw(&["total_inactive_file", "inactive_file"]);
    let bytes = |op: &str| {
        let all = stats.blkio.io_service_bytes_recursive.iter();
        all.filter(|entry| entry.op.eq_ignore_ascii_case(op)).map(|entry| entry.value).sum()
    };
    let limit = stats.memory.usage.limit;
    let some = |psi: Option<Psi>| psi.map(|psi| psi.some.avg10);
    Counters {
        cpu: stats.cpu.usage.total,
        memory: stats.memory.usage.usage.saturating_sub(idle),
        memory_limit: if limit == 0 || limit > machine { machine } else { limit },
        anonymous: raw(&["anon", "total_rss"]),
        files: raw(&["file", "total_cache"]),
        kernel: raw(&["kernel"]).max(stats.memory.kernel.usage),
        pressure: [some(stats.memory.psi), some(stats.cpu.psi), some(stats.blkio.psi)],
        read: bytes("read"),
        written: bytes("write"),
        pids: stats.pids.current,
        ..Counters::default()
    }
}

/// Bytes that a process has read and written; see proc_pid_io(5).
fn disk(pid: i32) -> (u64, u64) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0);
    (field("read_bytes:"), field("write_bytes:"))
}

/// Bytes that came and went by all links of a process's network but the loopback.
fn traffic(pid: i32) -> (u64, u64) {
    links(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
}

fn links(text: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in text.lines().skip(2) {
        let Some((name, counters)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let counters: Vec<u64> = counters.split_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
        sum.0 += counters.first().copied().unwrap_or(0);
        sum.1 += counters.get(8).copied().unwrap_or(0);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_but_the_loopback_are_counted() {
        let text = "Inter-|   Receive |  Transmit\n face |bytes packets\n    lo:  500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n  eth0: 1000 7 0 0 0 0 0 0 20 3 0 0 0 0 0 0\n  eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(links(text), (1001, 22));
    }

    #[test]
    fn memory_is_what_cannot_be_given_up() {
        let mut stats = Stats::default();
        stats.memory.usage.usage = 1000;
        stats.memory.usage.limit = u64::MAX;
        stats.memory.raw = [("inactive_file".to_owned(), 300), ("anon".to_owned(), 500)].into();
        let usage = from_stats(&stats, 8000);
        assert_eq!((usage.memory, usage.memory_limit, usage.anonymous), (700, 8000, 500));
    }
}
