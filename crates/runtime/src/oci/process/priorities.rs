//! When and where a process runs: scheduler, priorities, processors, NUMA nodes, execution domain.

use super::super::{Config, ConfigError};
use super::document::{CpuAffinity, IoPriority, MemoryPolicy, Personality, Scheduler};
use kernel::schedule::{self, BitSet};
use steps::PER_LINUX32;

/// Numbers of `SCHED_…`, from 0 on.
const POLICIES: [&str; 7] =
    ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR", "SCHED_BATCH", "SCHED_ISO", "SCHED_IDLE", "SCHED_DEADLINE"];

/// Bits of sched_setattr(2), from the lowest on.
const FLAGS: [&str; 7] = [
    "SCHED_FLAG_RESET_ON_FORK",
    "SCHED_FLAG_RECLAIM",
    "SCHED_FLAG_DL_OVERRUN",
    "SCHED_FLAG_KEEP_POLICY",
    "SCHED_FLAG_KEEP_PARAMS",
    "SCHED_FLAG_UTIL_CLAMP_MIN",
    "SCHED_FLAG_UTIL_CLAMP_MAX",
];

fn wrong(field: &str, why: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(field, why)
}

pub(super) fn scheduler(given: Option<&Scheduler>) -> Config<Option<schedule::Scheduler>> {
    let Some(given) = given else { return Ok(None) };
    let Some(policy) = POLICIES.iter().position(|name| *name == given.policy) else {
        return Err(wrong("process.scheduler.policy", format!("unknown policy '{}'", given.policy)));
    };
    let name = POLICIES[policy];
    if matches!(name, "SCHED_OTHER" | "SCHED_BATCH") && !(-20..=19).contains(&given.nice) {
        return Err(wrong("process.scheduler.nice", format!("{} is not between -20 and 19", given.nice)));
    }
    let real_time = matches!(name, "SCHED_FIFO" | "SCHED_RR");
    if given.priority != 0 && !real_time {
        return Err(wrong("process.scheduler.priority", format!("{name} has none")));
    }
    let priority = u32::try_from(given.priority)
        .map_err(|_| wrong("process.scheduler.priority", format!("{} is negative", given.priority)))?;
    if name != "SCHED_DEADLINE" {
        for (field, value) in
            [("runtime", given.runtime), ("deadline", given.deadline), ("period", given.period)]
        {
            if value != 0 {
                return Err(wrong(&format!("process.scheduler.{field}"), format!("{name} has none")));
            }
        }
    }
    let mut flags = 0;
    for (index, flag) in given.flags.iter().enumerate() {
        let bit = FLAGS.iter().position(|name| name == flag);
        flags |= 1
            << bit.ok_or_else(|| {
                wrong(&format!("process.scheduler.flags[{index}]"), format!("unknown flag '{flag}'"))
            })?;
    }
    let Scheduler { nice, runtime, deadline, period, .. } = *given;
    let policy = policy as u32;
    Ok(Some(schedule::Scheduler { policy, flags, nice, priority, runtime, deadline, period }))
}

pub(super) fn io_priority(given: Option<&IoPriority>) -> Config<Option<steps::IoPriority>> {
    let Some(given) = given else { return Ok(None) };
    let class = match given.class.as_str() {
        "IOPRIO_CLASS_RT" => 1,
        "IOPRIO_CLASS_BE" => 2,
        "IOPRIO_CLASS_IDLE" => 3,
        other => return Err(wrong("process.ioPriority.class", format!("unknown class '{other}'"))),
    };
    match given.priority {
        level @ 0..=7 => Ok(Some(steps::IoPriority { class, level: level as u8 })),
        level => Err(wrong("process.ioPriority.priority", format!("{level} is not between 0 and 7"))),
    }
}

/// The processors before and after a further process enters the container's groups.
pub(super) fn affinity(given: Option<&CpuAffinity>) -> Config<(Option<BitSet>, Option<BitSet>)> {
    let Some(given) = given else { return Ok((None, None)) };
    let set = |field: &str, list: &str| match BitSet::parse(list) {
        Some(set) if !set.is_empty() => Ok(Some(set)),
        Some(_) if list.is_empty() => Ok(None),
        _ => {
            Err(wrong(&format!("process.execCPUAffinity.{field}"), format!("'{list}' is not a list of CPUs")))
        }
    };
    Ok((set("initial", &given.initial)?, set("final", &given.last)?))
}

pub(super) fn personality(given: Option<&Personality>, warnings: &mut Vec<String>) -> Config<Option<u32>> {
    let Some(given) = given else { return Ok(None) };
    if !given.flags.is_empty() {
        warnings.push(format!(
            "ignoring flags of the personality, of which none are defined: {}",
            given.flags.join(" ")
        ));
    }
    match given.domain.as_str() {
        "LINUX" => Ok(Some(0)),
        "LINUX32" => Ok(Some(PER_LINUX32)),
        other => Err(wrong("linux.personality.domain", format!("unknown domain '{other}'"))),
    }
}

/// Names, numbers, options of numactl(8), and whether the mode needs nodes, or has none.
const MODES: [(&str, u32, &str, Option<bool>); 7] = [
    ("MPOL_DEFAULT", 0, "", Some(false)),
    ("MPOL_PREFERRED", 1, "--preferred", None),
    ("MPOL_BIND", 2, "--membind", Some(true)),
    ("MPOL_INTERLEAVE", 3, "--interleave", Some(true)),
    ("MPOL_LOCAL", 4, "--localalloc", Some(false)),
    ("MPOL_PREFERRED_MANY", 5, "--preferred-many", Some(true)),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, "--weighted-interleave", Some(true)),
];

const MODE_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_STATIC_NODES", 1 << 15),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
];

pub(super) fn memory_policy(given: Option<&MemoryPolicy>) -> Config<Option<steps::MemoryPolicy>> {
    let Some(given) = given else { return Ok(None) };
    let Some((name, mut mode, option, needs)) = MODES.into_iter().find(|(name, ..)| *name == given.mode)
    else {
        return Err(wrong("linux.memoryPolicy.mode", format!("unknown mode '{}'", given.mode)));
    };
    let nodes =
        BitSet::parse(&given.nodes).filter(|n| given.nodes.is_empty() || !n.is_empty()).ok_or_else(|| {
            wrong("linux.memoryPolicy.nodes", format!("'{}' is not a list of nodes", given.nodes))
        })?;
    if needs.is_some_and(|needs| needs == nodes.is_empty()) {
        let why = if nodes.is_empty() { "needs nodes" } else { "has no nodes" };
        return Err(wrong("linux.memoryPolicy.nodes", format!("{name} {why}")));
    }
    for (index, flag) in given.flags.iter().enumerate() {
        let known = MODE_FLAGS.iter().find(|(name, _)| name == flag);
        mode |= known
            .ok_or_else(|| {
                wrong(&format!("linux.memoryPolicy.flags[{index}]"), format!("unknown flag '{flag}'"))
            })?
            .1;
    }
    Ok(Some(steps::MemoryPolicy { mode, option: option.into(), nodes }))
}
