//! Other limits for a container that runs.

use super::error::{Result, read_if_there};
use super::values::{Value, v2_swap};
use super::{GroupError, GroupPath, GroupPaths, Unit, rounded, v1_values, v2_values};
use crate::Resources;
use rustix::io::Errno;
use std::path::Path;

/// Sets those limits that are given and leaves the others. What is to change together with a limit that is not given (the
/// period of a quota, the memory in a limit of memory and swap) is read from the kernel. systemd, whose unit it may be, is
/// told as well.
pub fn update(paths: &GroupPaths, unit: Option<&Unit>, limits: &Resources) -> Result<()> {
    let v2 = paths.iter().all(GroupPath::is_v2);
    let mut limits = limits.clone();
    if !v2 && let Some(file) = limits.unified.keys().next() {
        return Err(GroupError::new(format!("{file}: there are no such files on cgroup v1")));
    }
    if v2 && let Some(path) = paths.unified() {
        limits = complete_v2(&path.dir(), limits)?;
        check_usage(&path.dir(), &limits)?;
    }
    if let Some(unit) = unit {
        limits = rounded(&if v2 { limits } else { complete_v1(paths, limits)? });
        unit.update(&limits, v2)?;
    }
    let values = if v2 { v2_values(&limits) } else { v1_values(&limits) };
    let mut todo = Vec::new();
    for value in values {
        let path = if v2 { paths.unified() } else { paths.of(&value.controller) };
        match path.map(GroupPath::dir).filter(|dir| Path::new(dir).is_dir()) {
            Some(dir) => todo.push((dir, value)),
            None if value.optional => {}
            None => {
                let why = "the container has no control group of controller";
                return Err(GroupError::new(format!("{}: {why} {}", value.file, value.controller)));
            }
        }
    }
    write_all(todo)
}

/// systemd counts by quota and period together, which v1 has in two files.
fn complete_v1(paths: &GroupPaths, mut limits: Resources) -> Result<Resources> {
    if limits.cpu_quota.is_some() != limits.cpu_period.is_some()
        && let Some(dir) = paths.of("cpu").map(GroupPath::dir)
    {
        let read = |file: &str| read_if_there(&format!("{dir}/{file}")).map(Option::unwrap_or_default);
        limits.cpu_quota = limits.cpu_quota.or(read("cpu.cfs_quota_us")?.trim().parse().ok());
        limits.cpu_period = limits.cpu_period.or(read("cpu.cfs_period_us")?.trim().parse().ok());
    }
    Ok(limits)
}

/// On v2 one file holds quota and period, and swap is counted without memory.
fn complete_v2(dir: &str, mut limits: Resources) -> Result<Resources> {
    let read = |file: &str| Ok(read_if_there(&format!("{dir}/{file}"))?.unwrap_or_default());
    if limits.cpu_quota.is_some() != limits.cpu_period.is_some() {
        let now = read("cpu.max")?;
        let (quota, period) = now.trim().split_once(' ').unwrap_or(("max", "100000"));
        limits.cpu_quota = limits.cpu_quota.or(Some(quota.parse().unwrap_or(-1)));
        limits.cpu_period = limits.cpu_period.or(period.parse().ok());
    }
    let number = |text: String| text.trim().parse::<i64>().ok();
    let memory_now = number(read("memory.max")?);
    match (limits.memory, limits.memory_swap) {
        (None, Some(both)) if both > 0 => {
            let Some(memory) = memory_now else {
                return Err(GroupError::new("a limit of memory and swap needs a limit of memory"));
            };
            limits.memory = Some(memory);
        }
        // Both together stay what they were.
        (Some(memory), None) if memory > 0 => {
            if let (Some(before), Some(swap)) = (memory_now, number(read("memory.swap.max")?)) {
                limits.memory_swap = Some(before + swap);
            }
        }
        _ => {}
    }
    if let (Some(memory), Some(both)) = (limits.memory, limits.memory_swap)
        && both > 0
        && v2_swap(both, Some(memory)) == 0
        && both < memory
    {
        return Err(GroupError::new(format!(
            "{both} bytes of memory and swap are less than {memory} of memory: give both limits"
        )));
    }
    Ok(limits)
}

/// On v2 the kernel kills until a new limit holds; on v1 it refuses.
fn check_usage(dir: &str, limits: &Resources) -> Result<()> {
    if !limits.check_before_update {
        return Ok(());
    }
    let text = read_if_there(&format!("{dir}/memory.current"))?.unwrap_or_default();
    let Ok(usage) = text.trim().parse::<i64>() else { return Ok(()) };
    for (what, limit) in [("memory+swap", limits.memory_swap), ("memory", limits.memory)] {
        if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= usage) {
            return Err(GroupError::new(format!("rejecting {what} limit {limit} <= usage {usage}")));
        }
    }
    Ok(())
}

/// Writes all. Some values are only taken when another one has been: a quota that a burst fits into, memory that is no more
/// than memory and swap. Those that were refused are tried again as long as others succeed.
fn write_all(mut todo: Vec<(String, Value)>) -> Result<()> {
    loop {
        let before = todo.len();
        let mut refused = None;
        let mut left = Vec::new();
        for (dir, value) in todo {
            match write(&dir, &value) {
                Ok(()) => {}
                Err(e) if matches!(e.errno, Some(Errno::INVAL | Errno::BUSY)) => {
                    refused = refused.or(Some(e));
                    left.push((dir, value));
                }
                Err(e) => return Err(e),
            }
        }
        match refused {
            None => return Ok(()),
            Some(e) if left.len() == before => return Err(e),
            Some(_) => todo = left,
        }
    }
}

fn write(dir: &str, value: &Value) -> Result<()> {
    let missing = |e: &GroupError| matches!(e.errno, Some(Errno::NOENT | Errno::OPNOTSUPP));
    let mut outcome = super::error::write(&format!("{dir}/{}", value.file), &value.value);
    if let (Err(e), Some((file, value))) = (&outcome, &value.instead)
        && missing(e)
    {
        outcome = super::error::write(&format!("{dir}/{file}"), value);
    }
    match outcome {
        Err(e) if value.optional && missing(&e) => Ok(()),
        other => other,
    }
}
