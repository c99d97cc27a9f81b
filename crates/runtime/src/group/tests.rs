//! Where groups are, and which files hold a limit.

use super::*;
use crate::{BlockWeight, Rdma, Throttle, Throttled};

fn host(v2: bool) -> Host {
    let hierarchy = |controllers: &[&'static str], mount: &str| Hierarchy {
        controllers: controllers.to_vec(),
        mount: format!("/c/{mount}"),
    };
    let cgroups = if v2 {
        Cgroups::V2 { mount: "/c".to_owned() }
    } else {
        Cgroups::V1 {
            hierarchies: vec![
                hierarchy(&["cpu", "cpuacct"], "cpu"),
                hierarchy(&["freezer"], "freezer"),
                hierarchy(&["name=systemd"], "systemd"),
                hierarchy(&[], "unified"),
            ],
        }
    };
    Host { cgroups, controllers: Vec::new(), cpuset: Default::default(), cpus: 1, rootless: false }
}

fn dirs(paths: &GroupPaths) -> Vec<String> {
    paths.dirs().collect()
}

/// The directories that a `cgroupsPath` means do not exist here, but for roots: what it says of our own group is lost.
#[test]
fn an_absolute_path_is_below_every_root() {
    let at = |path: &str, v2| {
        dirs(&GroupPaths::of_bundle(path, "box", &host(v2), "1:cpu,cpuacct:/own\n0::/a/b\n"))
    };
    assert_eq!(at("/x/../y//z", false), ["/c/cpu/y/z", "/c/freezer/y/z", "/c/systemd/y/z", "/c/unified/y/z"]);
    assert_eq!(at("/../../etc", true), ["/c/etc"]);
    assert_eq!(at("x", true), ["/c/x"]);
    assert_eq!(at("", true), ["/c/box"]);
}

#[test]
fn any_other_path_is_below_our_own() {
    let base = std::env::temp_dir().join(format!("corten-group-{}", std::process::id()));
    std::fs::create_dir_all(base.join("a/b")).unwrap();
    let mount = base.display().to_string();
    let own = "4:memory:/a/b\n1:name=systemd:/a\n0::/a/b\n";
    let v2 = Host { cgroups: Cgroups::V2 { mount: mount.clone() }, ..host(true) };
    let at = |path: &str, host: &Host| {
        let paths = GroupPaths::of_bundle(path, "box", host, own);
        paths.iter().map(|p| p.group.clone()).collect::<Vec<_>>()
    };
    assert_eq!(at("x/y", &v2), ["a/x/y"]);
    assert_eq!(at("", &v2), ["a/box"]);
    let hierarchies = vec![
        Hierarchy { controllers: vec!["memory"], mount: mount.clone() },
        Hierarchy { controllers: vec!["name=systemd"], mount },
        Hierarchy { controllers: vec!["cpu"], mount: "/nowhere".to_owned() },
    ];
    let v1 = Host { cgroups: Cgroups::V1 { hierarchies }, ..host(false) };
    assert_eq!(at("../x", &v1), ["a/b/x", "a/x", "x"]);
    assert_eq!(own_group("0::/../../x\n", ""), "");
    std::fs::remove_dir_all(base).unwrap();
}

#[test]
fn the_engine_makes_few_groups() {
    let limits = Resources::default();
    assert_eq!(dirs(&GroupPaths::few("corten/x", &host(false), &limits)), ["/c/cpu/corten/x"]);
    assert_eq!(dirs(&GroupPaths::few("corten/x", &host(true), &limits)), ["/c/corten/x"]);
}

/// All limits that there are.
fn everything() -> Resources {
    let weight = |weight, leaf_weight| BlockWeight { major: 8, minor: 16, weight, leaf_weight };
    let throttle = |what, rate| Throttle { what, major: 8, minor: 0, rate };
    Resources {
        strict: true,
        memory: Some(1 << 20),
        memory_swap: Some(3 << 20),
        memory_reservation: Some(-1),
        memory_kernel: Some(5),
        memory_kernel_tcp: Some(6),
        swappiness: Some(7),
        oom_kill_disable: true,
        memory_hierarchy: true,
        check_before_update: true,
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(200_000),
        cpu_burst: Some(1_000),
        cpu_realtime_runtime: Some(950),
        cpu_realtime_period: Some(1_000),
        cpu_idle: Some(0),
        cpuset_cpus: "0-1".to_owned(),
        cpuset_mems: "0".to_owned(),
        pids: Some(-1),
        blkio_weight: Some(500),
        blkio_leaf_weight: Some(20),
        blkio_weights: vec![weight(Some(300), None), weight(None, Some(30))],
        blkio_throttles: vec![
            throttle(Throttled::ReadBytes, 600),
            throttle(Throttled::WriteBytes, 700),
            throttle(Throttled::Reads, 8),
            throttle(Throttled::Writes, 0),
        ],
        hugepages: vec![("2MB".to_owned(), 4 << 20), ("1GB".to_owned(), 0)],
        net_class: Some(0x10_0001),
        net_priorities: vec![("eth0".to_owned(), 5)],
        rdma: vec![Rdma { device: "mlx5_1".to_owned(), handles: Some(3), objects: None }],
        unified: [("memory.high", "9"), ("io.max", "8:0 rbps=1\n8:1 rbps=2")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
    }
}

fn said(values: &[Value]) -> String {
    let one = |v: &Value| {
        let optional = if v.optional { " or go without" } else { "" };
        let instead = v.instead.as_ref().map(|(f, v)| format!(" or {f} = {v}")).unwrap_or_default();
        format!("{} = {}{instead}{optional}\n", v.file, v.value)
    };
    values.iter().map(one).collect()
}

#[test]
fn all_limits_as_files_of_v2() {
    insta::assert_snapshot!(said(&v2_values(&everything())), @r"
    memory.swap.max = 2097152
    memory.max = 1048576
    memory.low = max
    cpu.weight = 59
    cpu.idle = 0
    cpu.max = 50000 200000
    cpu.max.burst = 1000
    cpuset.cpus = 0-1
    cpuset.mems = 0
    pids.max = max
    io.bfq.weight = 500 or io.weight = 4950
    io.bfq.weight = 8:16 300 or io.weight = 8:16 2930 or go without
    io.max = 8:0 rbps=600
    io.max = 8:0 wbps=700
    io.max = 8:0 riops=8
    io.max = 8:0 wiops=max
    hugetlb.2MB.max = 4194304
    hugetlb.2MB.rsvd.max = 4194304 or go without
    hugetlb.1GB.max = 0
    hugetlb.1GB.rsvd.max = 0 or go without
    rdma.max = mlx5_1 hca_handle=3
    io.max = 8:0 rbps=1
    io.max = 8:1 rbps=2
    memory.high = 9
    ");
}

#[test]
fn all_limits_as_files_of_v1() {
    insta::assert_snapshot!(said(&v1_values(&everything())), @r"
    memory.use_hierarchy = 1 or go without
    memory.limit_in_bytes = 1048576
    memory.memsw.limit_in_bytes = 3145728
    memory.soft_limit_in_bytes = -1
    memory.kmem.limit_in_bytes = 5 or go without
    memory.kmem.tcp.limit_in_bytes = 6 or go without
    memory.swappiness = 7
    memory.oom_control = 1
    cpu.shares = 512
    cpu.cfs_period_us = 200000
    cpu.cfs_quota_us = 50000
    cpu.cfs_burst_us = 1000 or go without
    cpu.idle = 0
    cpu.rt_period_us = 1000
    cpu.rt_runtime_us = 950
    cpuset.cpus = 0-1
    cpuset.mems = 0
    pids.max = max
    blkio.weight = 500 or blkio.bfq.weight = 500
    blkio.leaf_weight = 20
    blkio.weight_device = 8:16 300 or blkio.bfq.weight_device = 8:16 300
    blkio.leaf_weight_device = 8:16 30
    blkio.throttle.read_bps_device = 8:0 600
    blkio.throttle.write_bps_device = 8:0 700
    blkio.throttle.read_iops_device = 8:0 8
    blkio.throttle.write_iops_device = 8:0 0
    net_cls.classid = 1048577
    net_prio.ifpriomap = eth0 5
    hugetlb.2MB.limit_in_bytes = 4194304
    hugetlb.2MB.rsvd.limit_in_bytes = 4194304 or go without
    hugetlb.1GB.limit_in_bytes = 0
    hugetlb.1GB.rsvd.limit_in_bytes = 0 or go without
    rdma.max = mlx5_1 hca_handle=3
    ");
}

#[test]
fn no_limit_no_file() {
    assert!(v1_values(&Resources::default()).is_empty());
    assert!(v2_values(&Resources::default()).is_empty());
}

#[test]
fn memory_without_a_limit_has_swap_without_one() {
    let free = Resources { memory: Some(-1), ..Resources::default() };
    assert_eq!(said(&v2_values(&free)), "memory.swap.max = max or go without\nmemory.max = max\n");
    assert_eq!(
        said(&v1_values(&free)),
        "memory.memsw.limit_in_bytes = -1 or go without\nmemory.limit_in_bytes = -1\n"
    );
    let none = Resources { strict: true, memory: Some(5), memory_swap: Some(5), ..Resources::default() };
    assert_eq!(said(&v2_values(&none)), "memory.swap.max = 0 or go without\nmemory.max = 5\n");
}

#[test]
fn no_processes_are_one() {
    let of = |pids| said(&v2_values(&Resources { pids: Some(pids), ..Resources::default() }));
    assert_eq!(
        (of(0), of(-7), of(2)),
        ("pids.max = 1\n".into(), "pids.max = max\n".into(), "pids.max = 2\n".into())
    );
}

#[test]
fn weights_keep_the_proportions_of_shares() {
    assert_eq!([2048, 512, 80, 1024, 2, 262_144].map(values::weight), [200, 50, 8, 100, 1, 10_000]);
}

#[test]
fn weights_are_those_of_runc_for_bundles() {
    let shares = [1, 2, 10, 1024, 1025, 22_000, 262_143, 262_144, 500_000];
    assert_eq!(shares.map(values::runc_weight), [1, 1, 4, 100, 101, 1204, 10_000, 10_000, 10_000]);
}
