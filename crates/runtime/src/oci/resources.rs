//! `linux.resources`: limits and the rules for devices.

use super::{Config, ConfigError, devices};
use crate::group::{v1_values, v2_values};
use crate::{BlockWeight, Cgroups, Host, Rdma, Resources, Throttle, Throttled};
use kernel::bpf::DeviceRule;
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxNetwork, LinuxRdma, LinuxThrottleDevice,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Display;

/// `linux.resources` as it is written, also in the file of `update`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    pub devices: Option<Vec<LinuxDeviceCgroup>>,
    pub memory: Option<LinuxMemory>,
    pub cpu: Option<LinuxCpu>,
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO")]
    pub block_io: Option<LinuxBlockIo>,
    pub hugepage_limits: Option<Vec<HugepageLimit>>,
    pub network: Option<LinuxNetwork>,
    pub rdma: Option<BTreeMap<String, LinuxRdma>>,
    pub unified: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Pids {
    pub limit: Option<i64>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HugepageLimit {
    pub page_size: String,
    pub limit: u64,
}

/// Limits and device rules of a container. A `config.json` without `linux.resources` is as one with an empty object: there
/// are always rules for devices.
pub fn resources(from: &Document) -> Config<(Resources, Vec<DeviceRule>)> {
    let resources = limits(from)?;
    both_hold_memory(&resources)?;
    Ok((resources, devices::rules(from.devices.as_deref().unwrap_or_default())?))
}

/// The limits alone, as an update has them: what they must have in common with those that stay is not looked at.
pub fn limits(from: &Document) -> Config<Resources> {
    let mut r = Resources { strict: true, ..Resources::default() };
    if let Some(memory) = &from.memory {
        self::memory(&mut r, memory)?;
    }
    if let Some(cpu) = &from.cpu {
        self::cpu(&mut r, cpu)?;
    }
    r.pids = from.pids.as_ref().and_then(|pids| pids.limit);
    if let Some(io) = &from.block_io {
        block_io(&mut r, io)?;
    }
    for (i, page) in from.hugepage_limits.iter().flatten().enumerate() {
        if !page_size(&page.page_size) {
            let why = format!("{:?} is no size such as 2MB", page.page_size);
            return Err(error(&format!("hugepageLimits[{i}].pageSize"), why));
        }
        r.hugepages.push((page.page_size.clone(), page.limit));
    }
    if let Some(net) = &from.network {
        network(&mut r, net)?;
    }
    for (device, limits) in from.rdma.iter().flatten() {
        let (handles, objects) = (limits.hca_handles(), limits.hca_objects());
        if handles.is_none() && objects.is_none() || !is_word(device) {
            return Err(error(&format!("rdma.{device}"), "not a device with hcaHandles or hcaObjects"));
        }
        r.rdma.push(Rdma { device: device.clone(), handles, objects });
    }
    for (file, value) in from.unified.iter().flatten() {
        let controller = file.split_once('.').map_or("", |(controller, _)| controller);
        if controller.is_empty() || file.contains('/') || file.contains('\0') {
            return Err(error(&format!("unified.{file}"), "not a file name such as memory.high"));
        }
        r.unified.insert(file.clone(), value.clone());
    }
    Ok(r)
}

fn error(field: &str, why: impl Display) -> ConfigError {
    ConfigError::new(format!("linux.resources.{field}"), why)
}

fn memory(r: &mut Resources, from: &LinuxMemory) -> Config<()> {
    // 0 says nothing, as everywhere in these objects where a limit of 0 would hold nobody.
    let bytes = |field: &str, value: Option<i64>| {
        let value = value.filter(|v| *v != 0);
        value.map(|v| limit(&format!("memory.{field}"), v)).transpose()
    };
    r.memory = bytes("limit", from.limit())?;
    r.memory_swap = bytes("swap", from.swap())?;
    r.memory_reservation = bytes("reservation", from.reservation())?;
    #[allow(deprecated)]
    let kernel = from.kernel();
    r.memory_kernel = bytes("kernel", kernel)?;
    r.memory_kernel_tcp = bytes("kernelTCP", from.kernel_tcp())?;
    // −1 by way of an unsigned number is unset.
    r.swappiness = from.swappiness().filter(|s| *s != u64::MAX);
    if let Some(swappiness) = r.swappiness.filter(|s| *s > 100) {
        return Err(error("memory.swappiness", format!("{swappiness} is not in 0–100")));
    }
    r.oom_kill_disable = from.disable_oom_killer().unwrap_or_default();
    r.memory_hierarchy = from.use_hierarchy().unwrap_or_default();
    r.check_before_update = from.check_before_update().unwrap_or_default();
    Ok(())
}

/// Swap is a limit of both, so it says nothing without that of memory.
pub(crate) fn both_hold_memory(r: &Resources) -> Config<()> {
    match (r.memory, r.memory_swap) {
        (None, Some(both)) if both > 0 => {
            Err(error("memory.swap", "a limit of memory and swap needs a limit of memory"))
        }
        (Some(memory), Some(both)) if both > 0 && both < memory => Err(error(
            "memory.swap",
            format!("{both} bytes of memory and swap are less than {memory} of memory"),
        )),
        _ => Ok(()),
    }
}

/// See cpuset(7), "List format".
fn is_list(text: &str) -> bool {
    // More than any machine has.
    let number = |word: &str| word.parse::<u32>().ok().filter(|n| *n < 1024 * 4);
    let range = |part: &str| match part.split_once('-') {
        Some((first, last)) => number(first).zip(number(last)).is_some_and(|(a, b)| a <= b),
        None => number(part).is_some(),
    };
    text.is_empty() || text.trim_end().split(',').all(range)
}

fn cpu(r: &mut Resources, from: &LinuxCpu) -> Config<()> {
    r.cpu_shares = from.shares().filter(|v| *v != 0);
    r.cpu_quota = from.quota().filter(|v| *v != 0);
    r.cpu_period = from.period().filter(|v| *v != 0);
    r.cpu_burst = from.burst();
    r.cpu_realtime_runtime = from.realtime_runtime().filter(|v| *v != 0);
    r.cpu_realtime_period = from.realtime_period().filter(|v| *v != 0);
    r.cpu_idle = from.idle();
    r.cpuset_cpus = from.cpus().clone().unwrap_or_default();
    r.cpuset_mems = from.mems().clone().unwrap_or_default();
    // See the kernel's sched-bwc: a millisecond to a second.
    if let Some(period) = r.cpu_period.filter(|period| !(1000..=1_000_000).contains(period)) {
        return Err(error("cpu.period", format!("{period} µs are not between 1000 and 1000000")));
    }
    for (field, list) in [("cpu.cpus", &r.cpuset_cpus), ("cpu.mems", &r.cpuset_mems)] {
        if !is_list(list) {
            return Err(error(field, format!("'{list}' is no list of numbers, such as 0-3,7")));
        }
    }
    if let Some(idle) = r.cpu_idle.filter(|idle| !matches!(idle, 0 | 1)) {
        return Err(error("cpu.idle", format!("{idle} is neither 0 nor 1")));
    }
    if let (Some(burst), Some(quota)) = (r.cpu_burst, r.cpu_quota)
        && quota > 0
        && burst > quota.cast_unsigned()
    {
        return Err(error("cpu.burst", format!("{burst} is more than the quota of {quota}")));
    }
    Ok(())
}

fn block_io(r: &mut Resources, from: &LinuxBlockIo) -> Config<()> {
    r.blkio_weight = weight("weight", from.weight())?;
    r.blkio_leaf_weight = weight("leafWeight", from.leaf_weight())?;
    for (i, device) in from.weight_device().iter().flatten().enumerate() {
        let field = format!("weightDevice[{i}]");
        let (major, minor) = block_device(&field, device.major(), device.minor())?;
        let own = weight(&format!("{field}.weight"), device.weight())?;
        let leaf = weight(&format!("{field}.leafWeight"), device.leaf_weight())?;
        r.blkio_weights.push(BlockWeight { major, minor, weight: own, leaf_weight: leaf });
    }
    let throttles: [(&str, Throttled, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("throttleReadBpsDevice", Throttled::ReadBytes, from.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", Throttled::WriteBytes, from.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", Throttled::Reads, from.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", Throttled::Writes, from.throttle_write_iops_device()),
    ];
    for (field, what, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            let (major, minor) = block_device(&format!("{field}[{i}]"), device.major(), device.minor())?;
            r.blkio_throttles.push(Throttle { what, major, minor, rate: device.rate() });
        }
    }
    Ok(())
}

fn block_device(field: &str, major: i64, minor: i64) -> Config<(u32, u32)> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(error(&format!("blockIO.{field}"), format!("{major}:{minor} is no device"))),
    }
}

fn weight(field: &str, value: Option<u16>) -> Config<Option<u16>> {
    match value {
        None | Some(0) => Ok(None),
        Some(10..=1000) => Ok(value),
        Some(other) => Err(error(&format!("blockIO.{field}"), format!("{other} is not in 10–1000"))),
    }
}

fn network(r: &mut Resources, from: &LinuxNetwork) -> Config<()> {
    r.net_class = from.class_id();
    for (i, priority) in from.priorities().iter().flatten().enumerate() {
        if !is_word(priority.name()) {
            let why = format!("{:?} is no network device", priority.name());
            return Err(error(&format!("network.priorities[{i}].name"), why));
        }
        r.net_priorities.push((priority.name().clone(), priority.priority()));
    }
    Ok(())
}

fn limit(field: &str, value: i64) -> Config<i64> {
    if value < -1 { Err(error(field, format!("{value} is neither a limit nor -1"))) } else { Ok(value) }
}

/// Something that stands between spaces in the kernel's files.
fn is_word(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
}

/// `64KB`, `2MB`, `1GB`
fn page_size(s: &str) -> bool {
    let digits = s.trim_end_matches(|c: char| !c.is_ascii_digit());
    let (number, unit) = s.split_at(digits.len());
    matches!(unit, "KB" | "MB" | "GB")
        && !number.starts_with('0')
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Whether this machine can hold a container to all of it: where it can't, the start would fail in the middle, with less to
/// say.
pub fn check(r: &Resources, host: &Host) -> Config<()> {
    let v2 = matches!(host.cgroups, Cgroups::V2 { .. });
    if !v2 && let Some(file) = r.unified.keys().next() {
        return Err(error(&format!("unified.{file}"), "there are no such files on cgroup v1"));
    }
    // The kernel would take another number, and say nothing.
    if !v2 && let Some(shares) = r.cpu_shares.filter(|s| !(2..=262_144).contains(s)) {
        let why = if shares < 2 {
            "the minimum allowed cpu-shares is 2"
        } else {
            "the maximum allowed cpu-shares is 262144"
        };
        return Err(error("cpu.shares", why));
    }
    let values = if v2 { v2_values(r) } else { v1_values(r) };
    for value in values.iter().filter(|v| !v.optional && !v.controller.is_empty()) {
        let there = match &host.cgroups {
            Cgroups::V2 { .. } => host.controllers.contains(&value.controller),
            Cgroups::V1 { hierarchies } => {
                hierarchies.iter().any(|h| h.controllers.contains(&value.controller.as_str()))
            }
        };
        if !there {
            let why = format!("{} cannot be set: controller {} not available", value.file, value.controller);
            return Err(ConfigError::new("linux.resources", why));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
