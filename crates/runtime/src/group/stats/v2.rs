//! Statistics of a group of v2.

use super::*;

pub(super) fn brief(dir: &str, stats: &mut Stats) -> Result<()> {
    pids(dir, &mut stats.pids)?;
    memory(dir, &mut stats.memory)?;
    stats.memory.psi = psi(dir, "memory.pressure");
    io(dir, &mut stats.blkio)?;
    stats.blkio.psi = psi(dir, "io.pressure");
    cpu(dir, &mut stats.cpu)?;
    stats.cpu.psi = psi(dir, "cpu.pressure");
    Ok(())
}

pub(super) fn fill(dir: &str, stats: &mut Stats) -> Result<()> {
    brief(dir, stats)?;
    for size in page_sizes() {
        let reserved = number(dir, &format!("hugetlb.{size}.rsvd.current"))?;
        let usage = match reserved {
            Some(usage) => Some(usage),
            None => number(dir, &format!("hugetlb.{size}.current"))?,
        };
        let Some(usage) = usage else { continue };
        let events = keyed(dir, &format!("hugetlb.{size}.events"))?;
        let failcnt = events.get("max").copied().unwrap_or_default();
        stats.hugetlb.insert(size, Hugetlb { usage, max: 0, failcnt });
    }
    Ok(())
}

fn pids(dir: &str, pids: &mut Pids) -> Result<()> {
    match number(dir, "pids.current")? {
        Some(current) => {
            let limit = number(dir, "pids.max")?.filter(|limit| *limit != u64::MAX);
            *pids = Pids { current, limit: limit.unwrap_or_default() };
        }
        // Without the controller there are still the processes themselves.
        None => {
            let list =
                steps::processes_of(dir).map_err(|e| GroupError::io("list the processes of", dir, &e))?;
            pids.current = list.len() as u64;
        }
    }
    Ok(())
}

fn memory(dir: &str, memory: &mut Memory) -> Result<()> {
    memory.raw = keyed(dir, "memory.stat")?;
    memory.cache = memory.raw.get("file").copied().unwrap_or_default();
    let entry = |name: &str| -> Result<MemoryEntry> {
        let of = |what: &str| Ok(number(dir, &format!("{name}.{what}"))?.unwrap_or_default());
        Ok(MemoryEntry { limit: of("max")?, usage: of("current")?, max: of("peak")?, failcnt: 0 })
    };
    memory.usage = entry("memory")?;
    let swap = entry("memory.swap")?;
    // v1 counted both together, and everybody who reads this expects so.
    memory.swap = MemoryEntry {
        limit: swap.limit.saturating_add(if swap.limit == u64::MAX { 0 } else { memory.usage.limit }),
        usage: swap.usage + memory.usage.usage,
        max: 0,
        failcnt: 0,
    };
    Ok(())
}

fn cpu(dir: &str, cpu: &mut Cpu) -> Result<()> {
    let stat = keyed(dir, "cpu.stat")?;
    let of = |key: &str| stat.get(key).copied().unwrap_or_default();
    cpu.usage.total = of("usage_usec") * 1000;
    cpu.usage.user = of("user_usec") * 1000;
    cpu.usage.kernel = of("system_usec") * 1000;
    cpu.throttling = Throttling {
        periods: of("nr_periods"),
        throttled_periods: of("nr_throttled"),
        throttled_time: of("throttled_usec") * 1000,
    };
    Ok(())
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …` a device.
fn io(dir: &str, blkio: &mut Blkio) -> Result<()> {
    let path = format!("{dir}/io.stat");
    for line in read_if_there(&path)?.unwrap_or_default().lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(|device| device.split_once(':')) else { continue };
        let (major, minor) = (parse(&path, major)?, parse(&path, minor)?);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let (table, op) = match key {
                "rbytes" => (&mut blkio.io_service_bytes_recursive, "Read"),
                "wbytes" => (&mut blkio.io_service_bytes_recursive, "Write"),
                "rios" => (&mut blkio.io_serviced_recursive, "Read"),
                "wios" => (&mut blkio.io_serviced_recursive, "Write"),
                _ => continue,
            };
            table.push(BlkioEntry { major, minor, op: op.to_owned(), value: parse(&path, value)? });
        }
    }
    Ok(())
}

/// `None` where the kernel does not count, which it says in more than one way.
fn psi(dir: &str, file: &str) -> Option<Psi> {
    let text = std::fs::read_to_string(format!("{dir}/{file}")).ok()?;
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let data = match words.next()? {
            "some" => &mut psi.some,
            "full" => &mut psi.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().ok()?,
                "avg60" => data.avg60 = value.parse().ok()?,
                "avg300" => data.avg300 = value.parse().ok()?,
                "total" => data.total = value.parse().ok()?,
                _ => {}
            }
        }
    }
    Some(psi)
}
