//! What a container may use, and of what.

use std::collections::BTreeMap;

/// Limits, in the units of cgroup v1. `None` and empty: not set. A limit of −1 is none.
///
/// See cgroups(7), and config-linux.md of the runtime specification.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// A limit that the kernel has no file for fails the start, and shares become weights as runc has it. Otherwise swap
    /// and the weight of I/O are left out where they cannot be, and shares keep their proportions.
    pub strict: bool,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<i64>,
    pub memory_reservation: Option<i64>,
    /// Until Linux 5.15, on v1.
    pub memory_kernel: Option<i64>,
    /// On v1.
    pub memory_kernel_tcp: Option<i64>,
    /// 0–100, on v1.
    pub swappiness: Option<u64>,
    /// On v1.
    pub oom_kill_disable: bool,
    /// Groups below count, too: on v1, before Linux 5.11, for all since.
    pub memory_hierarchy: bool,
    /// An update below what is in use is refused on v2, where the kernel would kill for it.
    pub check_before_update: bool,
    /// 2–262144; 1024 is usual.
    pub cpu_shares: Option<u64>,
    /// Microseconds of each period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Microseconds that may be saved up.
    pub cpu_burst: Option<u64>,
    /// Microseconds of each such period, on v1.
    pub cpu_realtime_runtime: Option<i64>,
    pub cpu_realtime_period: Option<u64>,
    /// 1: only what nobody else wants.
    pub cpu_idle: Option<i64>,
    /// Lists such as `0-2,5`.
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    /// 0 lets the first process be and no other.
    pub pids: Option<i64>,
    /// 10–1000.
    pub blkio_weight: Option<u16>,
    /// Against the groups below: on v1, before Linux 5.0.
    pub blkio_leaf_weight: Option<u16>,
    pub blkio_weights: Vec<BlockWeight>,
    pub blkio_throttles: Vec<Throttle>,
    /// Bytes, by page size: `2MB`.
    pub hugepages: Vec<(String, u64)>,
    /// What tc(8) knows the container's packets by, on v1.
    pub net_class: Option<u32>,
    /// By network device of the host, on v1.
    pub net_priorities: Vec<(String, u32)>,
    pub rdma: Vec<Rdma>,
    /// Files of v2, as they are.
    pub unified: BTreeMap<String, String>,
}

/// The weight of a container's I/O on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockWeight {
    pub major: u32,
    pub minor: u32,
    pub weight: Option<u16>,
    pub leaf_weight: Option<u16>,
}

/// A limit of a container's I/O on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    pub what: Throttled,
    pub major: u32,
    pub minor: u32,
    /// In each second; 0 is no limit.
    pub rate: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Throttled {
    ReadBytes,
    WriteBytes,
    Reads,
    Writes,
}

/// Limits of one RDMA device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdma {
    pub device: String,
    pub handles: Option<u32>,
    pub objects: Option<u32>,
}
