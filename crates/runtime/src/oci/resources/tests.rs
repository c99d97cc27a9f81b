//! Limits as they stand in `config.json`.

use super::*;
use crate::host::Hierarchy;

fn parse(json: serde_json::Value) -> Config<(Resources, Vec<DeviceRule>)> {
    resources(&serde_json::from_value::<Document>(json).unwrap())
}

fn said(json: serde_json::Value) -> String {
    parse(json).unwrap_err().to_string().replace("config.json: linux.resources.", "")
}

#[test]
fn every_field_has_its_place() {
    let (r, rules) = parse(serde_json::json!({
        "memory": {
            "limit": 536870912, "reservation": 268435456, "swap": 1073741824, "kernel": -1, "kernelTCP": 1,
            "swappiness": 10, "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true
        },
        "cpu": {
            "shares": 1024, "quota": 1000000, "burst": 1000000, "period": 500000, "realtimeRuntime": 950000,
            "realtimePeriod": 1000000, "cpus": "2-3", "mems": "0-7", "idle": 0
        },
        "pids": { "limit": 32771 },
        "blockIO": {
            "weight": 10, "leafWeight": 20,
            "weightDevice": [{ "major": 8, "minor": 0, "weight": 500, "leafWeight": 300 }],
            "throttleReadBpsDevice": [{ "major": 8, "minor": 0, "rate": 600 }],
            "throttleWriteBpsDevice": [{ "major": 8, "minor": 1, "rate": 601 }],
            "throttleReadIOPSDevice": [{ "major": 8, "minor": 2, "rate": 602 }],
            "throttleWriteIOPSDevice": [{ "major": 8, "minor": 16, "rate": 300 }]
        },
        "hugepageLimits": [{ "pageSize": "2MB", "limit": 209715200 }, { "pageSize": "64KB", "limit": 1000000 }],
        "network": { "classID": 1048577, "priorities": [{ "name": "eth0", "priority": 500 }] },
        "rdma": { "mlx5_1": { "hcaHandles": 3, "hcaObjects": 10000 }, "mlx4_0": { "hcaObjects": 1000 } },
        "unified": { "io.max": "259:0 rbps=2097152", "hugetlb.1GB.max": "1073741824" }
    }))
    .unwrap();
    assert_eq!(rules.len(), 12);
    insta::assert_debug_snapshot!(r, @r#"
    Resources {
        strict: true,
        memory: Some(
            536870912,
        ),
        memory_swap: Some(
            1073741824,
        ),
        memory_reservation: Some(
            268435456,
        ),
        memory_kernel: Some(
            -1,
        ),
        memory_kernel_tcp: Some(
            1,
        ),
        swappiness: Some(
            10,
        ),
        oom_kill_disable: true,
        memory_hierarchy: true,
        check_before_update: true,
        cpu_shares: Some(
            1024,
        ),
        cpu_quota: Some(
            1000000,
        ),
        cpu_period: Some(
            500000,
        ),
        cpu_burst: Some(
            1000000,
        ),
        cpu_realtime_runtime: Some(
            950000,
        ),
        cpu_realtime_period: Some(
            1000000,
        ),
        cpu_idle: Some(
            0,
        ),
        cpuset_cpus: "2-3",
        cpuset_mems: "0-7",
        pids: Some(
            32771,
        ),
        blkio_weight: Some(
            10,
        ),
        blkio_leaf_weight: Some(
            20,
        ),
        blkio_weights: [
            BlockWeight {
                major: 8,
                minor: 0,
                weight: Some(
                    500,
                ),
                leaf_weight: Some(
                    300,
                ),
            },
        ],
        blkio_throttles: [
            Throttle {
                what: ReadBytes,
                major: 8,
                minor: 0,
                rate: 600,
            },
            Throttle {
                what: WriteBytes,
                major: 8,
                minor: 1,
                rate: 601,
            },
            Throttle {
                what: Reads,
                major: 8,
                minor: 2,
                rate: 602,
            },
            Throttle {
                what: Writes,
                major: 8,
                minor: 16,
                rate: 300,
            },
        ],
        hugepages: [
            (
                "2MB",
                209715200,
            ),
            (
                "64KB",
                1000000,
            ),
        ],
        net_class: Some(
            1048577,
        ),
        net_priorities: [
            (
                "eth0",
                500,
            ),
        ],
        rdma: [
            Rdma {
                device: "mlx4_0",
                handles: None,
                objects: Some(
                    1000,
                ),
            },
            Rdma {
                device: "mlx5_1",
                handles: Some(
                    3,
                ),
                objects: Some(
                    10000,
                ),
            },
        ],
        unified: {
            "hugetlb.1GB.max": "1073741824",
            "io.max": "259:0 rbps=2097152",
        },
    }
    "#);
}

#[test]
fn zero_is_as_nothing_said() {
    let (r, _) = parse(serde_json::json!({
        "memory": { "limit": 0, "swap": 0, "reservation": 0 }, "cpu": { "shares": 0, "quota": 0, "period": 0 },
        "blockIO": { "weight": 0 }, "pids": {}
    }))
    .unwrap();
    assert_eq!(r, Resources { strict: true, ..Resources::default() });
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let of = |field: &str, value: serde_json::Value| {
        let mut json = value;
        for key in field.rsplit('.') {
            json = serde_json::json!({ key: json });
        }
        said(json)
    };
    let all = [
        of("memory.limit", (-2).into()),
        of("memory.swap", 5.into()),
        of("memory", serde_json::json!({ "limit": 5, "swap": 4 })),
        of("memory.swappiness", 101.into()),
        of("cpu.idle", 2.into()),
        of("cpu", serde_json::json!({ "quota": 5, "burst": 6 })),
        of("blockIO.weight", 9.into()),
        of("blockIO.leafWeight", 1001.into()),
        of("blockIO.weightDevice", serde_json::json!([{ "major": -1, "minor": 0, "weight": 10 }])),
        of(
            "blockIO.throttleReadBpsDevice",
            serde_json::json!([{ "major": 1, "minor": 4294967296_i64, "rate": 1 }]),
        ),
        of("hugepageLimits", serde_json::json!([{ "pageSize": "2MB/../x", "limit": 1 }])),
        of("network.priorities", serde_json::json!([{ "name": "a b", "priority": 1 }])),
        of("rdma.x", serde_json::json!({})),
        said(serde_json::json!({ "unified": { "../memory.max": "1" } })),
        said(serde_json::json!({ "unified": { "tasks": "1" } })),
    ];
    insta::assert_snapshot!(all.join("\n"), @r#"
    memory.limit: -2 is neither a limit nor -1
    memory.swap: a limit of memory and swap needs a limit of memory
    memory.swap: 4 bytes of memory and swap are less than 5 of memory
    memory.swappiness: 101 is not in 0–100
    cpu.idle: 2 is neither 0 nor 1
    cpu.burst: 6 is more than the quota of 5
    blockIO.weight: 9 is not in 10–1000
    blockIO.leafWeight: 1001 is not in 10–1000
    blockIO.weightDevice[0]: -1:0 is no device
    blockIO.throttleReadBpsDevice[0]: 1:4294967296 is no device
    hugepageLimits[0].pageSize: "2MB/../x" is no size such as 2MB
    network.priorities[0].name: "a b" is no network device
    rdma.x: not a device with hcaHandles or hcaObjects
    unified.../memory.max: not a file name such as memory.high
    unified.tasks: not a file name such as memory.high
    "#);
}

fn host(v2: bool) -> Host {
    let hierarchies = vec![Hierarchy { controllers: vec!["cpu", "cpuacct"], mount: "/c/cpu".to_owned() }];
    let cgroups = if v2 { Cgroups::V2 { mount: "/c".to_owned() } } else { Cgroups::V1 { hierarchies } };
    let controllers = vec!["cpu".to_owned()];
    Host { cgroups, controllers, cpuset: Default::default(), cpus: 1, rootless: false }
}

/// A limit that the kernel cannot keep is no limit.
#[test]
fn what_the_machine_lacks_is_refused() {
    let check = |json: serde_json::Value, v2: bool| {
        let (r, _) = parse(json).unwrap();
        check(&r, &host(v2)).map_or_else(|e| e.to_string(), |()| "fine".to_owned())
    };
    let class = serde_json::json!({ "network": { "classID": 1 } });
    assert_eq!(
        check(class.clone(), false),
        "config.json: linux.resources: net_cls.classid cannot be set: controller net_cls not available"
    );
    assert_eq!(check(class, true), "fine");
    assert_eq!(
        check(serde_json::json!({ "unified": { "io.max": "1" } }), true),
        "config.json: linux.resources: io.max cannot be set: controller io not available"
    );
    assert_eq!(check(serde_json::json!({ "unified": { "cgroup.type": "threaded" } }), true), "fine");
    assert!(check(serde_json::json!({ "unified": { "cpu.max": "1" } }), false).contains("cgroup v1"));
    assert!(
        check(serde_json::json!({ "cpu": { "shares": 1 } }), false)
            .ends_with("minimum allowed cpu-shares is 2")
    );
    assert_eq!(check(serde_json::json!({ "cpu": { "shares": 1 } }), true), "fine");
}
