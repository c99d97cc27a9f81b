//! What a container has used, in the shape of runc's `events --stats`.

mod v1;
mod v2;

use super::error::{Result, read_if_there};
use super::{GroupError, GroupPaths};
use serde::Serialize;
use std::collections::BTreeMap;

/// As `data` of an event. Names and units are runc's: bytes, nanoseconds, numbers since the group was made; a limit that is
/// none is the greatest number.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Stats {
    pub cpu: Cpu,
    pub cpuset: Cpuset,
    pub memory: Memory,
    pub pids: Pids,
    pub blkio: Blkio,
    /// By page size: `2MB`.
    pub hugetlb: BTreeMap<String, Hugetlb>,
    pub intel_rdt: Rdt,
    /// runc fills it for interfaces that it makes itself, which it never does for a bundle.
    pub network_interfaces: Option<Vec<()>>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpu {
    pub usage: CpuUsage,
    pub throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CpuUsage {
    #[serde(skip_serializing_if = "is_default")]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub percpu_user: Vec<u64>,
    pub kernel: u64,
    pub user: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Throttling {
    #[serde(skip_serializing_if = "is_default")]
    pub periods: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_periods: u64,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "is_default")]
    pub throttled_time: u64,
}

/// On v1.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cpuset {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cpus: Vec<u16>,
    pub cpu_exclusive: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mems: Vec<u16>,
    pub mem_hardwall: u64,
    pub mem_exclusive: u64,
    pub memory_migrate: u64,
    pub memory_spread_page: u64,
    pub memory_spread_slab: u64,
    pub memory_pressure: u64,
    pub sched_load_balance: u64,
    pub sched_relax_domain_level: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Memory {
    /// Of files.
    #[serde(skip_serializing_if = "is_default")]
    pub cache: u64,
    pub usage: MemoryEntry,
    /// Memory and swap together.
    pub swap: MemoryEntry,
    pub kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    pub kernel_tcp: MemoryEntry,
    /// `memory.stat`
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub raw: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct MemoryEntry {
    pub limit: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Pids {
    #[serde(skip_serializing_if = "is_default")]
    pub current: u64,
    /// 0: none.
    #[serde(skip_serializing_if = "is_default")]
    pub limit: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blkio {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_serviced_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty", rename = "ioQueueRecursive")]
    pub io_queued_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_service_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_wait_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_merged_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub io_time_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sectors_recursive: Vec<BlkioEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psi: Option<Psi>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct BlkioEntry {
    #[serde(skip_serializing_if = "is_default")]
    pub major: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub minor: u64,
    /// `Read`, `Write`, …
    #[serde(skip_serializing_if = "String::is_empty")]
    pub op: String,
    #[serde(skip_serializing_if = "is_default")]
    pub value: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Hugetlb {
    #[serde(skip_serializing_if = "is_default")]
    pub usage: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub max: u64,
    pub failcnt: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rdt {}

/// Time in which some or all processes waited for a resource; see the kernel's accounting/psi.rst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Psi {
    pub some: PsiData,
    pub full: PsiData,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PsiData {
    /// Percent of the last 10, 60 and 300 seconds.
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    /// Microseconds.
    pub total: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What the container has used until now. What the kernel does not count is 0 or left out.
pub fn stats(paths: &GroupPaths) -> Result<Stats> {
    filled(paths, v1::fill, v2::fill)
}

/// Of [`stats`] what a table shows for very many containers: CPU time, memory and its limit, the kernel's part of it, processes, bytes of
/// disks, and how long processes wait. A quarter of the files.
pub fn brief(paths: &GroupPaths) -> Result<Stats> {
    filled(paths, v1::brief, v2::brief)
}

fn filled(
    paths: &GroupPaths,
    v1: impl Fn(&GroupPaths, &mut Stats) -> Result<()>,
    v2: impl Fn(&str, &mut Stats) -> Result<()>,
) -> Result<Stats> {
    let mut stats = Stats::default();
    match paths.iter().any(|path| !path.is_v2()) {
        true => v1(paths, &mut stats)?,
        false => {
            if let Some(path) = paths.unified() {
                v2(&path.dir(), &mut stats)?;
            }
        }
    }
    Ok(stats)
}

/// CPU time until now, in nanoseconds; `None` where there is no such group.
pub fn cpu_time(paths: &GroupPaths) -> Result<Option<u64>> {
    match (paths.of("cpuacct"), paths.unified()) {
        (Some(path), _) => number(&path.dir(), "cpuacct.usage"),
        (None, Some(path)) => {
            let stat = keyed(&path.dir(), "cpu.stat")?;
            Ok(stat.get("usage_usec").map(|micros| micros * 1000))
        }
        (None, None) => Ok(None),
    }
}

/// A number in a file; `max` is the greatest. `None` where there is no such file.
fn number(dir: &str, file: &str) -> Result<Option<u64>> {
    let path = format!("{dir}/{file}");
    let Some(text) = read_if_there(&path)? else { return Ok(None) };
    parse(&path, text.trim()).map(Some)
}

fn parse(path: &str, word: &str) -> Result<u64> {
    match word {
        "max" => Ok(u64::MAX),
        // v1 has numbers that lie below zero for a moment.
        word if word.starts_with('-') => Ok(0),
        word => word.parse().map_err(|_| GroupError::new(format!("{path}: {word:?} is no number"))),
    }
}

/// Lines of a key and a number.
fn keyed(dir: &str, file: &str) -> Result<BTreeMap<String, u64>> {
    let path = format!("{dir}/{file}");
    let text = read_if_there(&path)?.unwrap_or_default();
    let line = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some(parse(&path, value.trim()).map(|value| (key.to_owned(), value)))
    };
    text.lines().filter_map(line).collect()
}

/// Sizes of huge pages that this kernel has, as control groups name them: `2MB`.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(match kib {
            1_048_576.. => format!("{}GB", kib >> 20),
            1024.. => format!("{}MB", kib >> 10),
            _ => format!("{kib}KB"),
        })
    };
    entries.filter_map(size).collect()
}

#[cfg(test)]
mod tests;
