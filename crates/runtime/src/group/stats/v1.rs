//! Statistics of groups of v1.

use super::super::error::read;
use super::*;

/// A tick of /proc and cpuacct.stat.
const TICK: u64 = 1_000_000_000 / 100;

/// The group's directory, where there is one.
fn dir(paths: &GroupPaths, controller: &str) -> Option<String> {
    let dir = paths.of(controller).map(super::super::GroupPath::dir);
    dir.filter(|dir| std::path::Path::new(dir).is_dir())
}

pub(super) fn brief(paths: &GroupPaths, stats: &mut Stats) -> Result<()> {
    let number = |controller: &str, file: &str| match paths.of(controller) {
        Some(path) => number(&path.dir(), file).map(Option::unwrap_or_default),
        None => Ok(0),
    };
    stats.cpu.usage.total = number("cpuacct", "cpuacct.usage")?;
    if let Some(path) = paths.of("memory") {
        stats.memory.raw = keyed(&path.dir(), "memory.stat")?;
    }
    stats.memory.usage.limit = number("memory", "memory.limit_in_bytes")?;
    stats.memory.usage.usage = number("memory", "memory.usage_in_bytes")?;
    stats.memory.kernel.usage = number("memory", "memory.kmem.usage_in_bytes")?;
    stats.pids.current = number("pids", "pids.current")?;
    if let Some(dir) = dir(paths, "blkio") {
        blkio(&dir, &mut stats.blkio)?;
    }
    Ok(())
}

pub(super) fn fill(paths: &GroupPaths, stats: &mut Stats) -> Result<()> {
    let dir = |controller: &str| dir(paths, controller);
    if let Some(dir) = dir("cpuacct") {
        usage(&dir, &mut stats.cpu.usage)?;
    }
    if let Some(dir) = dir("cpu") {
        let stat = keyed(&dir, "cpu.stat")?;
        let of = |key: &str| stat.get(key).copied().unwrap_or_default();
        stats.cpu.throttling = Throttling {
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled_time: of("throttled_time"),
        };
    }
    if let Some(dir) = dir("cpuset") {
        cpuset(&dir, &mut stats.cpuset)?;
    }
    if let Some(dir) = dir("memory") {
        memory(&dir, &mut stats.memory)?;
    }
    if let Some(dir) = dir("pids") {
        let limit = number(&dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
        let current = number(&dir, "pids.current")?.unwrap_or_default();
        stats.pids = Pids { current, limit: limit.unwrap_or_default() };
    }
    if let Some(dir) = dir("blkio") {
        blkio(&dir, &mut stats.blkio)?;
    }
    if let Some(dir) = dir("hugetlb") {
        for size in page_sizes() {
            let reserved =
                std::path::Path::new(&format!("{dir}/hugetlb.{size}.rsvd.usage_in_bytes")).exists();
            let of = |what: &str| {
                let part = if reserved { ".rsvd" } else { "" };
                number(&dir, &format!("hugetlb.{size}{part}.{what}")).map(Option::unwrap_or_default)
            };
            let hugetlb = Hugetlb {
                usage: of("usage_in_bytes")?,
                max: of("max_usage_in_bytes")?,
                failcnt: of("failcnt")?,
            };
            stats.hugetlb.insert(size, hugetlb);
        }
    }
    Ok(())
}

fn usage(dir: &str, usage: &mut CpuUsage) -> Result<()> {
    let stat = keyed(dir, "cpuacct.stat")?;
    let of = |key: &str| stat.get(key).copied().unwrap_or_default() * TICK;
    usage.user = of("user");
    usage.kernel = of("system");
    usage.total = number(dir, "cpuacct.usage")?.unwrap_or_default();
    let path = format!("{dir}/cpuacct.usage_percpu");
    let each = read_if_there(&path)?.unwrap_or_default();
    usage.percpu = each.split_whitespace().map(|word| parse(&path, word)).collect::<Result<_>>()?;
    // A head, then `cpu user system` a line.
    let path = format!("{dir}/cpuacct.usage_all");
    for line in read_if_there(&path)?.unwrap_or_default().lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, user, system, ..] = words[..] {
            usage.percpu_user.push(parse(&path, user)?);
            usage.percpu_kernel.push(parse(&path, system)?);
        }
    }
    Ok(())
}

fn cpuset(dir: &str, set: &mut Cpuset) -> Result<()> {
    let of = |file: &str| Ok(number(dir, &format!("cpuset.{file}"))?.unwrap_or_default());
    *set = Cpuset {
        cpus: list(&read(&format!("{dir}/cpuset.cpus"))?),
        cpu_exclusive: of("cpu_exclusive")?,
        mems: list(&read(&format!("{dir}/cpuset.mems"))?),
        mem_hardwall: of("mem_hardwall")?,
        mem_exclusive: of("mem_exclusive")?,
        memory_migrate: of("memory_migrate")?,
        memory_spread_page: of("memory_spread_page")?,
        memory_spread_slab: of("memory_spread_slab")?,
        memory_pressure: of("memory_pressure")?,
        sched_load_balance: of("sched_load_balance")?,
        sched_relax_domain_level: read_if_there(&format!("{dir}/cpuset.sched_relax_domain_level"))?
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or_default(),
    };
    Ok(())
}

/// `0-2,5`, one by one.
pub(super) fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<u16>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

fn memory(dir: &str, memory: &mut Memory) -> Result<()> {
    memory.raw = keyed(dir, "memory.stat")?;
    memory.cache = memory.raw.get("cache").copied().unwrap_or_default();
    let entry = |name: &str| -> Result<MemoryEntry> {
        let of = |what: &str| Ok(number(dir, &format!("memory.{name}{what}"))?.unwrap_or_default());
        Ok(MemoryEntry {
            limit: of("limit_in_bytes")?,
            usage: of("usage_in_bytes")?,
            max: of("max_usage_in_bytes")?,
            failcnt: of("failcnt")?,
        })
    };
    memory.usage = entry("")?;
    memory.swap = entry("memsw.")?;
    memory.kernel = entry("kmem.")?;
    memory.kernel_tcp = entry("kmem.tcp.")?;
    Ok(())
}

/// Which files there are depends on the scheduler of the disks; the first set that is there counts.
fn blkio(dir: &str, blkio: &mut Blkio) -> Result<()> {
    let all = |prefix: &str| -> Result<Option<Blkio>> {
        let table = |name: &str| entries(dir, &format!("blkio.{prefix}{name}"));
        let (Some(sectors), Some(time)) = (table("sectors_recursive")?, table("time_recursive")?) else {
            return Ok(None);
        };
        let of = |name: &str| Ok(table(name)?.unwrap_or_default());
        Ok(Some(Blkio {
            io_service_bytes_recursive: of("io_service_bytes_recursive")?,
            io_serviced_recursive: of("io_serviced_recursive")?,
            io_queued_recursive: of("io_queued_recursive")?,
            io_service_time_recursive: of("io_service_time_recursive")?,
            io_wait_time_recursive: of("io_wait_time_recursive")?,
            io_merged_recursive: of("io_merged_recursive")?,
            io_time_recursive: time,
            sectors_recursive: sectors,
            psi: None,
        }))
    };
    for prefix in ["bfq.", ""] {
        if let Some(found) = all(prefix)? {
            *blkio = found;
            return Ok(());
        }
    }
    for (bytes, operations) in [
        ("blkio.bfq.io_service_bytes_recursive", "blkio.bfq.io_serviced_recursive"),
        ("blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_serviced_recursive"),
        ("blkio.throttle.io_service_bytes", "blkio.throttle.io_serviced"),
    ] {
        if let (Some(bytes), Some(operations)) = (entries(dir, bytes)?, entries(dir, operations)?)
            && !(bytes.is_empty() && operations.is_empty())
        {
            blkio.io_service_bytes_recursive = bytes;
            blkio.io_serviced_recursive = operations;
            return Ok(());
        }
    }
    Ok(())
}

/// `8:0 Read 1282048` or `8:0 6792` a line, and a line `Total`.
fn entries(dir: &str, file: &str) -> Result<Option<Vec<BlkioEntry>>> {
    let path = format!("{dir}/{file}");
    let Some(text) = read_if_there(&path)? else { return Ok(None) };
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split([' ', ':']).collect();
        let (major, minor, op, value) = match words[..] {
            [major, minor, op, value] => (major, minor, op, value),
            [major, minor, value] => (major, minor, "", value),
            _ => continue,
        };
        let (major, minor) = (parse(&path, major)?, parse(&path, minor)?);
        found.push(BlkioEntry { major, minor, op: op.to_owned(), value: parse(&path, value)? });
    }
    Ok(Some(found))
}
