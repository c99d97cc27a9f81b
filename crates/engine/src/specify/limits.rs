//! Limits: from Docker's flags to what the kernel is told.

use crate::{DeviceRate, Error, RateKind, Resources, Result, Settings};

pub(crate) fn resources(r: &Resources) -> Result<runtime::Resources> {
    check_list("CPUs", &r.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    check_list("memory nodes", &r.cpuset_mems, "/sys/devices/system/node/online")?;
    check_real_time(r)?;
    let memory = r.memory.filter(|m| *m != 0);
    // As Docker: as much swap as memory, unless told.
    let memory_swap = r.memory_swap.filter(|s| *s != 0).or_else(|| memory.map(|m| m.saturating_mul(2)));
    let (quota, period) = match r.nano_cpus.filter(|n| *n != 0) {
        Some(nano) => (Some(nano / 10_000), Some(100_000)),
        None => (r.cpu_quota.filter(|q| *q != 0), r.cpu_period.filter(|p| *p != 0)),
    };
    Ok(runtime::Resources {
        memory,
        memory_swap,
        memory_reservation: r.memory_reservation.filter(|m| *m != 0),
        swappiness: r.memory_swappiness,
        oom_kill_disable: r.oom_kill_disable,
        cpu_shares: r.cpu_shares,
        cpu_quota: quota,
        cpu_period: period,
        cpuset_cpus: r.cpuset_cpus.clone(),
        cpuset_mems: r.cpuset_mems.clone(),
        pids: r.pids_limit.filter(|p| *p != 0),
        blkio_weight: r.blkio_weight.filter(|w| *w != 0),
        cpu_realtime_period: r.cpu_rt_period,
        cpu_realtime_runtime: r.cpu_rt_runtime,
        blkio_weights: r.device_weights.iter().map(weight).collect::<Result<_>>()?,
        blkio_throttles: r.device_rates.iter().map(throttle).collect::<Result<_>>()?,
        ..runtime::Resources::default()
    })
}

fn weight((path, weight): &(String, u16)) -> Result<runtime::BlockWeight> {
    let (major, minor) = block_device(path)?;
    Ok(runtime::BlockWeight { major, minor, weight: Some(*weight), leaf_weight: None })
}

fn throttle(rate: &DeviceRate) -> Result<runtime::Throttle> {
    let what = match rate.kind {
        RateKind::ReadBytes => runtime::Throttled::ReadBytes,
        RateKind::WriteBytes => runtime::Throttled::WriteBytes,
        RateKind::Reads => runtime::Throttled::Reads,
        RateKind::Writes => runtime::Throttled::Writes,
    };
    let (major, minor) = block_device(&rate.path)?;
    Ok(runtime::Throttle { what, major, minor, rate: rate.rate })
}

fn block_device(path: &str) -> Result<(u32, u32)> {
    match crate::devices::device(path)? {
        (true, major, minor) => Ok((major, minor)),
        _ => Err(Error::Invalid(format!("not a block device: {path}"))),
    }
}

/// The real-time scheduler knows groups only in few kernels.
fn check_real_time(r: &Resources) -> Result<()> {
    let flag = match (r.cpu_rt_period, r.cpu_rt_runtime) {
        (None, None) => return Ok(()),
        (Some(_), _) => "--cpu-rt-period",
        _ => "--cpu-rt-runtime",
    };
    let known = |path: &String| std::path::Path::new(&format!("{path}/cpu.rt_runtime_us")).exists();
    let host = runtime::Host::read();
    let parent = runtime::GroupPaths::everywhere("", &host);
    if parent.dirs().any(|path| known(&path.to_string())) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{flag}: this kernel does not schedule real time by control groups")))
}

/// Limits that this machine cannot keep: a note for the user each.
pub fn ignored_limits(s: &Settings) -> Vec<&'static str> {
    match resources(&s.resources) {
        Ok(r) if r != runtime::Resources::default() => runtime::ignored_limits(&r, &runtime::Host::read()),
        _ => Vec::new(),
    }
}

/// The CPUs or memory nodes of a list such as `0-2,5` that this machine does not have are refused.
fn check_list(what: &str, list: &str, present: &str) -> Result<()> {
    let parse = |list: &str| -> Option<Vec<(u32, u32)>> {
        let part = |part: &str| match part.split_once('-') {
            Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
            None => part.parse().ok().map(|n| (n, n)),
        };
        list.trim().split(',').map(part).collect()
    };
    if list.is_empty() {
        return Ok(());
    }
    let wanted =
        parse(list).ok_or_else(|| Error::Invalid(format!("invalid value {list} for cpuset {what}")))?;
    let text = std::fs::read_to_string(present).unwrap_or_default();
    let Some(have) = parse(&text) else { return Ok(()) };
    let inside =
        |(first, last): &(u32, u32)| first <= last && have.iter().any(|(a, b)| a <= first && last <= b);
    if wanted.iter().all(inside) {
        return Ok(());
    }
    let available = text.trim();
    Err(Error::Invalid(format!(
        "requested {what} are not available - requested {list}, available: {available}"
    )))
}
