//! Limits: the control group's, ulimits, and kernel parameters, checked as Docker's daemon checks them.

use super::Result;
use super::texts::{bad_flag, integer, parse_size, size_flag};
use crate::cli::{ContainerArgs, MoreArgs};
use engine::{DeviceRate, Network, RateKind, Resources, Settings, Share, Ulimit};
use std::collections::BTreeMap;

/// The least memory that a container can be started with, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;

pub fn resources(args: &ContainerArgs) -> Result<Resources> {
    let bytes = |flag, value: &Option<String>| -> Result<Option<i64>> {
        Ok(size_flag(flag, value.as_deref())?.filter(|n| *n != 0).map(|n| n as i64))
    };
    let memory_swap = match args.memory_swap.as_deref() {
        Some("-1") => Some(-1),
        _ => bytes("--memory-swap", &args.memory_swap)?,
    };
    let swappiness = args.memory_swappiness.filter(|n| *n != -1);
    if let Some(n) = swappiness.filter(|n| !(0..=100).contains(n)) {
        return Err(format!("invalid value: {n}. Valid memory swappiness range is 0-100"));
    }
    let resources = Resources {
        memory: bytes("-m, --memory", &args.memory)?,
        memory_swap,
        memory_reservation: bytes("--memory-reservation", &args.memory_reservation)?,
        memory_swappiness: swappiness.map(|n| n as u64),
        oom_kill_disable: args.oom_kill_disable,
        oom_score_adj: args.oom_score_adj.filter(|n| *n != 0),
        nano_cpus: args.cpus.as_deref().map(cpus).transpose()?.filter(|n| *n != 0),
        cpu_period: positive("--cpu-period", args.cpu_period)?,
        cpu_quota: args.cpu_quota.filter(|n| *n != 0),
        cpu_shares: positive("-c, --cpu-shares", args.cpu_shares)?,
        cpuset_cpus: args.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: args.cpuset_mems.clone().unwrap_or_default(),
        pids_limit: args.pids_limit.filter(|n| *n != 0),
        blkio_weight: args.blkio_weight.filter(|n| *n != 0),
        cpu_rt_period: positive("--cpu-rt-period", args.more.cpu_rt_period)?,
        cpu_rt_runtime: args.more.cpu_rt_runtime.filter(|n| *n != 0),
        device_weights: device_weights(&args.more.blkio_weight_device)?,
        device_rates: device_rates(&args.more)?,
    };
    check_memory(&resources)?;
    check_cpu(&resources)?;
    if let Some(score) = resources.oom_score_adj.filter(|n| !(-1000..=1000).contains(n)) {
        return Err(format!("Invalid value {score}, range for oom score adj is [-1000, 1000]"));
    }
    if resources.blkio_weight.is_some_and(|n| !(10..=1000).contains(&n)) {
        return Err("Range of blkio weight is from 10 to 1000".to_owned());
    }
    Ok(resources)
}

/// `/dev/sda:200`
fn device_weights(specs: &[String]) -> Result<Vec<(String, u16)>> {
    let parse = |spec: &String| {
        let bad = |cause: &str| bad_flag("--blkio-weight-device", spec, cause);
        let (path, weight) = spec.rsplit_once(':').ok_or_else(|| bad("it must be DEVICE:WEIGHT"))?;
        let weight = weight.parse().ok().filter(|n| (10..=1000).contains(n));
        if !path.starts_with("/dev/") {
            return Err(bad("the device must be a path below /dev"));
        }
        Ok((path.to_owned(), weight.ok_or_else(|| bad("the weight must be from 10 to 1000"))?))
    };
    specs.iter().map(parse).collect()
}

/// `--device-read-bps /dev/sda:10mb` and its like.
fn device_rates(args: &MoreArgs) -> Result<Vec<DeviceRate>> {
    let flags = [
        ("--device-read-bps", &args.device_read_bps, RateKind::ReadBytes),
        ("--device-write-bps", &args.device_write_bps, RateKind::WriteBytes),
        ("--device-read-iops", &args.device_read_iops, RateKind::Reads),
        ("--device-write-iops", &args.device_write_iops, RateKind::Writes),
    ];
    let mut rates = Vec::new();
    for (flag, specs, kind) in flags {
        for spec in specs {
            let bad = |cause: &str| bad_flag(flag, spec, cause);
            let (path, rate) = spec.rsplit_once(':').ok_or_else(|| bad("it must be DEVICE:RATE"))?;
            if !path.starts_with("/dev/") {
                return Err(bad("the device must be a path below /dev"));
            }
            let rate = match kind {
                RateKind::ReadBytes | RateKind::WriteBytes => parse_size(rate, 1024).ok(),
                RateKind::Reads | RateKind::Writes => rate.parse().ok(),
            };
            let rate = rate.filter(|n| *n > 0).ok_or_else(|| bad("the rate must be a positive number"))?;
            rates.push(DeviceRate { path: path.to_owned(), kind, rate });
        }
    }
    Ok(rates)
}

/// `/group/below`, `group`, `name.slice`
pub fn cgroup_parent(word: Option<&str>) -> Result<String> {
    let Some(word) = word.filter(|word| !word.is_empty()) else { return Ok(String::new()) };
    let plain = |part: &str| !matches!(part, "." | "..") && !part.contains(char::is_control);
    let parts = word.trim_matches('/');
    if parts.is_empty() || !parts.split('/').all(|part| !part.is_empty() && plain(part)) {
        return Err(bad_flag("--cgroup-parent", word, "it must be the path of a control group"));
    }
    Ok(word.trim_end_matches('/').to_owned())
}

/// `size=10g`; 0: as much as there is.
pub fn storage(options: &[String]) -> Result<u64> {
    let mut size = 0;
    for option in options {
        let bad = |cause: &str| bad_flag("--storage-opt", option, cause);
        let value = option.strip_prefix("size=").ok_or_else(|| bad("the only option is size=BYTES"))?;
        size = parse_size(value, 1024).map_err(|e| bad(&e))?;
    }
    Ok(size)
}

fn check_memory(r: &Resources) -> Result<()> {
    let error = match (r.memory, r.memory_swap) {
        (Some(memory), _) if memory < LEAST_MEMORY => "Minimum memory limit allowed is 6MB",
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        }
        (None, Some(swap)) if swap > 0 => {
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        }
        (memory, _) => match r.memory_reservation {
            Some(kept) if kept < LEAST_MEMORY => "Minimum memory reservation allowed is 6MB",
            Some(kept) if memory.is_some_and(|memory| memory < kept) => {
                "Minimum memory limit can not be less than memory reservation limit, see usage"
            }
            _ => return Ok(()),
        },
    };
    Err(error.to_owned())
}

fn check_cpu(r: &Resources) -> Result<()> {
    if let Some(nano) = r.nano_cpus {
        if r.cpu_period.is_some() {
            return Err("Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned());
        }
        if r.cpu_quota.is_some() {
            return Err("Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned());
        }
        let there = std::thread::available_parallelism().map_or(1, usize::from) as i64;
        if !(10_000_000..=there * 1_000_000_000).contains(&nano) {
            return Err(format!(
                "range of CPUs is from 0.01 to {there}.00, as there are only {there} CPUs available"
            ));
        }
    }
    if r.cpu_period.is_some_and(|n| !(1000..=1_000_000).contains(&n)) {
        return Err(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)".to_owned()
        );
    }
    if r.cpu_quota.is_some_and(|n| n > 0 && n < 1000) {
        return Err("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    for (what, list) in [("cpus", &r.cpuset_cpus), ("mems", &r.cpuset_mems)] {
        if !is_cpu_list(list) {
            return Err(format!("Invalid value {list} for cpuset {what}"));
        }
    }
    Ok(())
}

/// `0-3,8`; empty is no choice.
fn is_cpu_list(list: &str) -> bool {
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    list.is_empty()
        || list.split(',').all(|part| match part.split_once('-') {
            None => number(part).is_some(),
            Some((from, to)) => matches!((number(from), number(to)), (Some(from), Some(to)) if from <= to),
        })
}

/// `1.5` as billionths.
fn cpus(text: &str) -> Result<i64> {
    let bad = |cause: String| bad_flag("--cpus", text, &cause);
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !digits(whole) || !digits(part) || (whole.is_empty() && part.is_empty()) || whole.len() > 9 {
        return Err(bad(format!("failed to parse {text} as a rational number")));
    }
    if part.len() > 9 {
        return Err(bad("value is too precise".to_owned()));
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().unwrap_or(0) };
    let part: i64 = format!("{part:0<9}").parse().unwrap_or(0);
    Ok(whole * 1_000_000_000 + part)
}

fn positive(flag: &str, value: Option<i64>) -> Result<Option<u64>> {
    match value {
        None | Some(0) => Ok(None),
        Some(n) => {
            u64::try_from(n).map(Some).map_err(|_| bad_flag(flag, &n.to_string(), "it must not be negative"))
        }
    }
}

/// The names of getrlimit(2), without RLIMIT_, in small letters.
const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `nofile=1024:2048`
pub fn ulimits(specs: &[String]) -> Result<Vec<Ulimit>> {
    let mut limits: Vec<Ulimit> = Vec::new();
    for spec in specs {
        let limit = ulimit(spec).map_err(|cause| bad_flag("--ulimit", spec, &cause))?;
        limits.retain(|old| old.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

fn ulimit(spec: &str) -> Result<Ulimit> {
    let Some((name, values)) = spec.split_once('=') else {
        return Err(format!("invalid ulimit argument: {spec}"));
    };
    if !LIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let number = |text: &str| {
        let value = if text == "unlimited" { Some(-1) } else { integer(text) };
        value
            .filter(|n| *n >= -1)
            .ok_or_else(|| format!("invalid ulimit value '{text}': use a number, or -1 for unlimited"))
    };
    let (soft, hard) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(if soft == -1 {
            format!(
                "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: {hard}"
            )
        } else {
            format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        });
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// What lives in the ipc namespace; everything under `net.` lives in the network's.
const IPC_SYSCTLS: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// `name=value`, only of the container's own namespaces. The grammar is narrow on purpose: a `+` or a newline in a value once
/// became a setting of the host (CVE-2022-0811).
pub fn sysctls(words: &[String], settings: &Settings) -> Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for word in words {
        let refuse = || bad_flag("--sysctl", word, &format!("sysctl '{word}' is not allowed"));
        let (name, value) = word.split_once('=').ok_or_else(refuse)?;
        let name_ok = name.split('.').all(|part| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-/".contains(&b))
                && !part.starts_with('/')
        });
        let value_ok = !value.is_empty()
            && value.bytes().all(|b| b.is_ascii_graphic() && b != b'+' || b == b' ' || b == b'\t');
        let ipc = IPC_SYSCTLS.contains(&name) || name.starts_with("fs.mqueue.");
        let (known, shared, what) = if ipc {
            (true, settings.ipc == Share::Host, "IPC")
        } else {
            (name.starts_with("net."), settings.network == Network::Host, "network")
        };
        if !name_ok || !value_ok || !known {
            return Err(refuse());
        }
        if shared {
            return Err(format!(
                "sysctl '{name}' is not allowed when the container is in the host's {what} namespace"
            ));
        }
        map.insert(name.to_owned(), value.to_owned());
    }
    Ok(map)
}
