//! Limits as the files of control groups. See cgroups(7), and the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst.

use crate::{Rdma, Resources, Throttled};

/// One file and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Whose file it is. Empty for files that every group of v2 has.
    pub controller: String,
    pub file: String,
    pub value: String,
    /// A kernel that lacks the file goes without.
    pub optional: bool,
    /// The file and its value where the first does not exist.
    pub instead: Option<(String, String)>,
}

/// Collects values; those that are set later stand later.
#[derive(Default)]
struct Values(Vec<Value>);

impl Values {
    fn put(&mut self, file: impl Into<String>, value: impl ToString) -> &mut Value {
        let file = file.into();
        let controller = match file.split('.').next().unwrap_or_default() {
            "cgroup" => "",
            other => other,
        };
        let controller = controller.to_owned();
        let value = Value { controller, file, value: value.to_string(), optional: false, instead: None };
        self.0.push(value);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }
}

impl Value {
    fn or_without(&mut self, optional: bool) -> &mut Value {
        self.optional = optional;
        self
    }

    fn instead(&mut self, file: impl Into<String>, value: impl ToString) -> &mut Value {
        self.instead = Some((file.into(), value.to_string()));
        self
    }
}

fn or_max(limit: i64) -> String {
    if limit < 0 { "max".to_owned() } else { limit.to_string() }
}

/// 0 would keep the container's first process out.
fn pids(limit: i64) -> String {
    or_max(if limit == 0 { 1 } else { limit })
}

/// For a group of v2. What only v1 knows (kernel memory, swappiness, the switch of the out-of-memory killer, real time,
/// network classes, leaf weights) is left out.
pub fn v2(r: &Resources) -> Vec<Value> {
    let mut set = Values::default();
    v2_memory(&mut set, r);
    if let Some(shares) = r.cpu_shares.filter(|s| *s != 0) {
        set.put("cpu.weight", if r.strict { runc_weight(shares) } else { weight(shares) });
    }
    // After the weight: an idle group takes none.
    if let Some(idle) = r.cpu_idle {
        set.put("cpu.idle", idle);
    }
    if r.cpu_quota.is_some() || r.cpu_period.is_some() {
        let quota = r.cpu_quota.filter(|q| *q > 0).map_or("max".to_owned(), |q| q.to_string());
        set.put("cpu.max", format!("{quota} {}", r.cpu_period.unwrap_or(100_000)));
    }
    if let Some(burst) = r.cpu_burst {
        set.put("cpu.max.burst", burst);
    }
    processors_and_pids(&mut set, r);
    v2_io(&mut set, r);
    huge_pages_and_rdma(&mut set, r, "max");
    for (file, value) in &r.unified {
        for line in value.lines() {
            set.put(file, line);
        }
    }
    set.0
}

fn v2_memory(set: &mut Values, r: &Resources) {
    // Memory without a limit and nothing said of swap: neither has one, as on v1.
    let swap = match (r.memory, r.memory_swap) {
        (Some(memory), None) if memory < 0 => Some(-1),
        (_, both) => both.map(|both| v2_swap(both, r.memory)),
    };
    if let Some(swap) = swap {
        // A machine without swap needs no file to have none, or as much as there is.
        set.put("memory.swap.max", or_max(swap)).or_without(swap <= 0 || !r.strict);
    }
    if let Some(memory) = r.memory {
        set.put("memory.max", or_max(memory));
    }
    if let Some(low) = r.memory_reservation {
        set.put("memory.low", or_max(low));
    }
}

/// v2 counts swap alone, the specification both together.
pub(super) fn v2_swap(both: i64, memory: Option<i64>) -> i64 {
    match memory {
        _ if both < 0 => -1,
        Some(memory) if memory > 0 => (both - memory).max(0),
        _ => both,
    }
}

fn v2_io(set: &mut Values, r: &Resources) {
    // Which of the two there is depends on the scheduler of the disks.
    if let Some(weight) = r.blkio_weight {
        set.put("io.bfq.weight", weight).or_without(!r.strict).instead("io.weight", io_weight(weight));
    }
    for device in &r.blkio_weights {
        let number = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = device.weight {
            // A kernel that cannot tell devices apart still has the group's weight.
            set.put("io.bfq.weight", format!("{number} {weight}"))
                .or_without(true)
                .instead("io.weight", format!("{number} {}", io_weight(weight)));
        }
    }
    for throttle in &r.blkio_throttles {
        let key = match throttle.what {
            Throttled::ReadBytes => "rbps",
            Throttled::WriteBytes => "wbps",
            Throttled::Reads => "riops",
            Throttled::Writes => "wiops",
        };
        let rate = if throttle.rate == 0 { "max".to_owned() } else { throttle.rate.to_string() };
        set.put("io.max", format!("{}:{} {key}={rate}", throttle.major, throttle.minor));
    }
}

/// 10–1000 as 1–10000.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9_999 / 990
}

/// Shares as the weight that keeps their proportions: 1024 of v1 are 100 of v2. (The usual formula of other runtimes maps
/// 2…262144 onto 1…10000 and turns 77 : 19 : 3 into 70 : 24 : 6.)
pub(super) fn weight(shares: u64) -> u64 {
    ((shares * 100 + 512) / 1024).clamp(1, 10_000)
}

/// Shares as the weight that runc and crun make of them, since others that look at the same groups count on it: a curve
/// through 2 ↦ 1, 1024 ↦ 100 and 262144 ↦ 10000.
pub(crate) fn runc_weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let l = (shares as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    10f64.powf(exponent).ceil() as u64
}

/// Controllers whose files have the same names on v1 and v2.
fn processors_and_pids(set: &mut Values, r: &Resources) {
    for (file, list) in [("cpuset.cpus", &r.cpuset_cpus), ("cpuset.mems", &r.cpuset_mems)] {
        if !list.is_empty() {
            set.put(file, list);
        }
    }
    if let Some(limit) = r.pids {
        set.put("pids.max", pids(limit));
    }
}

/// `limit` is how the files of huge pages end.
fn huge_pages_and_rdma(set: &mut Values, r: &Resources, limit: &str) {
    for (size, pages) in &r.hugepages {
        set.put(format!("hugetlb.{size}.{limit}"), pages);
        set.put(format!("hugetlb.{size}.rsvd.{limit}"), pages).or_without(true);
    }
    for device in &r.rdma {
        set.put("rdma.max", rdma(device));
    }
}

fn rdma(device: &Rdma) -> String {
    let part = |name: &str, limit: Option<u32>| limit.map(|n| format!(" {name}={n}")).unwrap_or_default();
    let (handles, objects) = (part("hca_handle", device.handles), part("hca_object", device.objects));
    format!("{}{handles}{objects}", device.device)
}

/// For the groups of v1, each for the hierarchy of its controller.
pub fn v1(r: &Resources) -> Vec<Value> {
    let mut set = Values::default();
    v1_memory(&mut set, r);
    v1_cpu(&mut set, r);
    processors_and_pids(&mut set, r);
    v1_blkio(&mut set, r);
    if let Some(class) = r.net_class.filter(|c| *c != 0) {
        set.put("net_cls.classid", class);
    }
    for (interface, priority) in &r.net_priorities {
        set.put("net_prio.ifpriomap", format!("{interface} {priority}"));
    }
    huge_pages_and_rdma(&mut set, r, "limit_in_bytes");
    set.0
}

fn v1_memory(set: &mut Values, r: &Resources) {
    if r.memory_hierarchy {
        // Before there is a limit or a process; always so, and without the file, since Linux 5.11.
        set.put("memory.use_hierarchy", 1).or_without(true);
    }
    let both = match (r.memory, r.memory_swap) {
        (Some(memory), None) if memory < 0 => Some(-1),
        (_, both) => both,
    };
    let memory = |set: &mut Values| {
        if let Some(memory) = r.memory {
            set.put("memory.limit_in_bytes", memory);
        }
    };
    // Memory is never more than both: the greater one goes first.
    if both != Some(-1) {
        memory(set);
    }
    if let Some(both) = both {
        // Not there on a kernel without swap accounting.
        set.put("memory.memsw.limit_in_bytes", both).or_without(both < 0 || !r.strict);
    }
    if both == Some(-1) {
        memory(set);
    }
    if let Some(soft) = r.memory_reservation {
        set.put("memory.soft_limit_in_bytes", soft);
    }
    // Kernels have gone without them.
    if let Some(kernel) = r.memory_kernel {
        set.put("memory.kmem.limit_in_bytes", kernel).or_without(true);
    }
    if let Some(tcp) = r.memory_kernel_tcp {
        set.put("memory.kmem.tcp.limit_in_bytes", tcp).or_without(true);
    }
    if let Some(swappiness) = r.swappiness {
        set.put("memory.swappiness", swappiness);
    }
    if r.oom_kill_disable {
        set.put("memory.oom_control", 1);
    }
}

fn v1_cpu(set: &mut Values, r: &Resources) {
    if let Some(shares) = r.cpu_shares.filter(|s| *s != 0) {
        set.put("cpu.shares", shares);
    }
    if let Some(period) = r.cpu_period {
        set.put("cpu.cfs_period_us", period);
    }
    if let Some(quota) = r.cpu_quota {
        set.put("cpu.cfs_quota_us", quota);
    }
    if let Some(burst) = r.cpu_burst {
        set.put("cpu.cfs_burst_us", burst).or_without(true);
    }
    if let Some(idle) = r.cpu_idle {
        set.put("cpu.idle", idle);
    }
    // Before a process that asks for real time is in the group: there is none at first.
    if let Some(period) = r.cpu_realtime_period {
        set.put("cpu.rt_period_us", period);
    }
    if let Some(runtime) = r.cpu_realtime_runtime {
        set.put("cpu.rt_runtime_us", runtime);
    }
}

fn v1_blkio(set: &mut Values, r: &Resources) {
    if let Some(weight) = r.blkio_weight {
        set.put("blkio.weight", weight).or_without(!r.strict).instead("blkio.bfq.weight", weight);
    }
    if let Some(weight) = r.blkio_leaf_weight {
        set.put("blkio.leaf_weight", weight);
    }
    for device in &r.blkio_weights {
        let number = format!("{}:{}", device.major, device.minor);
        if let Some(weight) = device.weight {
            let value = format!("{number} {weight}");
            set.put("blkio.weight_device", &value).instead("blkio.bfq.weight_device", &value);
        }
        if let Some(weight) = device.leaf_weight {
            set.put("blkio.leaf_weight_device", format!("{number} {weight}"));
        }
    }
    for throttle in &r.blkio_throttles {
        let what = match throttle.what {
            Throttled::ReadBytes => "read_bps",
            Throttled::WriteBytes => "write_bps",
            Throttled::Reads => "read_iops",
            Throttled::Writes => "write_iops",
        };
        let (major, minor, rate) = (throttle.major, throttle.minor, throttle.rate);
        set.put(format!("blkio.throttle.{what}_device"), format!("{major}:{minor} {rate}"));
    }
}
