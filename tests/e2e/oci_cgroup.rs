//! Control groups of OCI containers: where they are, every limit, pause, update, events, ps, and what is left of them.

use e2e::{Bundle, Cgroups, Sandbox, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn is_v2() -> bool {
    Sandbox::cgroups() == Cgroups::V2
}

/// The directory of a group, of v1 in the hierarchy of a controller.
fn dir(controller: &str, group: &str) -> PathBuf {
    let mount = if is_v2() { String::new() } else { format!("/{controller}") };
    PathBuf::from(format!("/sys/fs/cgroup{mount}/{group}"))
}

/// The text of one of two files: of v1, which begins with its controller's name, or of v2.
#[track_caller]
fn read(group: &str, v1: &str, v2: &str) -> String {
    let path = dir(v1.split('.').next().unwrap(), group).join(if is_v2() { v2 } else { v1 });
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().to_owned()
}

/// The group of a bundle of this name.
fn group(s: &Sandbox, name: &str) -> String {
    format!("{}/{name}", s.scope.cgroup_parent)
}

/// A container that runs, and sleeps.
fn running(s: &Sandbox, change: impl Fn(&mut Bundle)) {
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    change(&mut bundle);
    bundle.write();
    s.oci_apart("run --detach --bundle box box");
    s.oci_wait("box", "running");
}

#[test]
fn limits_of_a_bundle_are_in_the_kernels_files() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle.set(
            "/linux/resources",
            json!({
                "memory": { "limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20 },
                "cpu": { "shares": 512, "quota": 50_000, "period": 200_000, "burst": 10_000, "cpus": "0", "mems": "0" },
                "pids": { "limit": 77 },
                "devices": [{ "allow": false, "access": "rwm" }],
            }),
        );
    });
    let own = group(&s, "box");
    let of = |v1, v2| read(&own, v1, v2);
    assert_eq!(of("memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(
        of("memory.memsw.limit_in_bytes", "memory.swap.max"),
        if is_v2() { 32 << 20 } else { 96 << 20 }.to_string()
    );
    assert_eq!(of("memory.soft_limit_in_bytes", "memory.low"), (32 << 20).to_string());
    assert_eq!(of("cpu.cfs_quota_us", "cpu.max"), if is_v2() { "50000 200000" } else { "50000" });
    assert_eq!(of("cpu.cfs_burst_us", "cpu.max.burst"), "10000");
    // runc's weight, not that of `corten run`.
    assert_eq!(of("cpu.shares", "cpu.weight"), if is_v2() { "59" } else { "512" });
    assert_eq!(of("cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(of("pids.max", "pids.max"), "77");
    s.oci("delete --force box").ok();
    s.end();
}

/// Before version 1.3 of the specification a zero was what a field had that is not set.
#[test]
fn a_limit_of_zero_processes() {
    let s = Sandbox::new();
    for (version, expected) in [("1.0.2-dev", "max"), ("1.2.1", "max"), ("1.3.0", "1")] {
        running(&s, |bundle| {
            bundle.set("/ociVersion", json!(version)).set("/linux/resources/pids", json!({ "limit": 0 }));
        });
        assert_eq!(read(&group(&s, "box"), "pids.max", "pids.max"), expected, "{version}");
        s.oci("delete --force box").ok();
    }
    s.end();
}

/// On v1 others read from hierarchies that the container itself would not need.
#[test]
fn a_container_is_in_every_hierarchy() {
    let s = Sandbox::new();
    running(&s, |_| {});
    let pid = s.oci_state("box")["pid"].to_string();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = format!(":/{}", group(&s, "box"));
    let has_v2 = is_v2() || Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists();
    for line in text.lines().filter(|line| !line.starts_with("0::") || has_v2) {
        assert!(line.ends_with(&own), "{text}");
    }
    s.oci("delete --force box").ok();
    s.end();
}

#[test]
fn unified_files_are_written_as_they_are() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    let unified = |value: Value| json!({ "unified": value });
    bundle.set("/linux/resources", unified(json!({ "memory.high": "max", "pids.max": "33" }))).write();
    if !is_v2() {
        s.oci("run --bundle box box").fails(1, &["linux.resources.unified", "cgroup v1"]);
        return s.end();
    }
    s.oci_apart("run --detach --bundle box box");
    assert_eq!(read(&group(&s, "box"), "pids.max", "pids.max"), "33");
    s.oci("delete --force box").ok();
    bundle.set("/linux/resources", unified(json!({ "nosuch.max": "1" }))).write();
    s.oci("run --bundle box box").fails(1, &["nosuch.max", "controller nosuch not available"]);
    bundle.set("/linux/resources", unified(json!({ "memory.nosuch": "1" }))).write();
    s.oci("run --bundle box box").fails(1, &["memory.nosuch"]);
    bundle.set("/linux/resources", unified(json!({ "../memory.max": "1" }))).write();
    s.oci("run --bundle box box").fails(1, &["unified"]);
    s.end();
}

/// Also where the file says nothing of devices.
#[test]
fn only_the_usual_devices_and_those_of_the_list_may_be_used() {
    let s = Sandbox::new();
    let script =
        "for d in null zero full random urandom; do head -c 1 </dev/$d >/dev/null || echo no $d; done
        mknod /dev/kmsg c 1 11; mknod /dev/mem c 1 1
        (: </dev/kmsg) 2>/dev/null && echo kmsg; (: </dev/mem) 2>/dev/null && echo mem; echo end";
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    bundle.set("/process/noNewPrivileges", json!(false));
    for set in ["bounding", "effective", "permitted"] {
        bundle.set(
            &format!("/process/capabilities/{set}"),
            json!(["CAP_MKNOD", "CAP_SYSLOG", "CAP_SYS_RAWIO"]),
        );
    }
    let device = |minor: u32, allow: bool, access: &str| json!({ "allow": allow, "type": "c", "major": 1, "minor": minor, "access": access });
    let nothing = json!({ "allow": false, "access": "rwm" });
    for (list, opened) in [
        (json!([nothing, device(11, true, "r")]), "kmsg\nend"),
        (json!([nothing]), "end"),
        (Value::Null, "end"),
        (json!([{ "allow": true, "access": "rwm" }, device(1, false, "r")]), "kmsg\nend"),
    ] {
        bundle.set("/linux/resources/devices", list.clone()).write();
        assert_eq!(s.oci("run --bundle box box").ok(), opened, "{list}");
    }
    // The kernel's v1 would leave it open without a word.
    let wide = json!({ "allow": true, "type": "c", "major": 1, "access": "rw" });
    bundle.set("/linux/resources/devices", json!([nothing, wide, device(1, false, "r")])).write();
    s.oci("run --bundle box box").fails(1, &["linux.resources.devices[2]", "c 1:* r"]);
    s.end();
}

#[test]
fn a_group_that_somebody_is_in_is_refused() {
    let s = Sandbox::new();
    running(&s, |_| {});
    let mut other = s.bundle("other", &["true"]);
    other.set("/linux/cgroupsPath", json!(format!("/{}", group(&s, "box")))).write();
    s.oci("run --bundle other other").fails(1, &["cgroup is not empty: 1 process"]);
    s.oci("delete --force box").ok();
    // One that is there and empty is taken, and removed.
    let shared = group(&s, "mine");
    for controller in ["memory", "pids", "freezer"] {
        fs::create_dir_all(dir(controller, &shared)).unwrap();
    }
    other.set("/linux/cgroupsPath", json!(format!("/{shared}"))).write();
    s.oci("run --bundle other other").ok();
    assert!(!dir("memory", &shared).exists());
    s.end();
}

#[test]
fn pause_stops_all_of_it() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle
            .set("/process/args", json!(["sh", "-c", "i=0; while :; do i=$((i+1)); echo $i >/count; done"]));
        bundle.set("/root/readonly", json!(false));
    });
    let count = || fs::read_to_string(s.dir.join("box/rootfs/count")).unwrap_or_default();
    wait_until("it to count", 10, || !count().is_empty());
    s.oci("pause box").ok();
    s.oci("pause box").fails(1, &["container not running"]);
    assert_eq!(s.oci_state("box")["status"], "paused");
    let before = count();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(count(), before);
    s.oci("exec box true").fails(255, &["paused"]);
    s.oci("delete box").fails(1, &["box", "paused"]);
    s.oci("resume box").ok();
    s.oci("resume box").fails(1, &["container not paused"]);
    wait_until("it to go on", 10, || count() != before);
    // A paused one ends by KILL alone.
    s.oci("pause box").ok();
    s.oci("kill box KILL").ok();
    s.oci_wait("box", "stopped");
    s.oci("pause box").fails(1, &["container not running"]);
    s.oci("delete box").ok();
    s.end();
}

#[test]
fn a_paused_container_is_removed_by_force() {
    let s = Sandbox::new();
    running(&s, |_| {});
    s.oci("pause box").ok();
    s.oci("delete --force box").ok();
    s.end();
}

#[test]
fn update_by_flags_and_by_files() {
    let s = Sandbox::new();
    running(&s, |_| {});
    let own = group(&s, "box");
    let of = |v1, v2| read(&own, v1, v2);
    s.oci("update --memory 64m --memory-swap 96m --pids-limit 50 --cpu-quota 40000 --cpu-share 2048 --memory-reservation 16m --cpuset-cpus 0 box").ok();
    assert_eq!(of("memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(
        of("memory.memsw.limit_in_bytes", "memory.swap.max"),
        if is_v2() { 32 << 20 } else { 96 << 20 }.to_string()
    );
    assert_eq!(of("pids.max", "pids.max"), "50");
    assert_eq!(of("cpu.cfs_quota_us", "cpu.max"), if is_v2() { "40000 100000" } else { "40000" });
    assert_eq!(of("cpu.shares", "cpu.weight"), if is_v2() { "174" } else { "2048" });
    assert_eq!(of("cpuset.cpus", "cpuset.cpus"), "0");
    // What is not given stays; a period keeps the quota.
    s.oci("update --cpu-period 50000 box").ok();
    assert_eq!(of("cpu.cfs_period_us", "cpu.max"), if is_v2() { "40000 50000" } else { "50000" });
    assert_eq!(of("pids.max", "pids.max"), "50");
    fs::write(s.dir.join("new.json"), r#"{ "memory": { "limit": 33554432, "swap": -1 }, "pids": {} }"#)
        .unwrap();
    s.oci("update --resources new.json box").ok();
    assert_eq!(of("memory.limit_in_bytes", "memory.max"), (32 << 20).to_string());
    assert_eq!(of("pids.max", "pids.max"), "50");
    let fed = s.corten_fed(
        &format!("oci --root {} update -r - box", s.scope.oci.display()),
        r#"{ "pids": { "limit": -1 } }"#,
    );
    fed.ok();
    assert_eq!(of("pids.max", "pids.max"), "max");
    s.oci("update --memory -1 box").ok();
    let none = of("memory.limit_in_bytes", "memory.max");
    assert!(none == "max" || none.len() > 15, "{none}");
    s.oci("update --memory 12x box").fails(1, &["memory", "12x"]);
    s.oci("update --blkio-weight 5 box").fails(1, &["blkio-weight", "5"]);
    s.oci("update --cpuset-cpus 7777 box").fails(1, &["cpuset.cpus", "7777"]);
    fs::write(s.dir.join("bad.json"), r#"{ "memory": { "limit": "many" } }"#).unwrap();
    s.oci("update -r bad.json box").fails(1, &["bad.json", "many"]);
    s.oci("update -r nosuch.json box").fails(1, &["nosuch.json"]);
    s.oci("delete --force box").ok();
    s.end();
}

#[test]
fn events_tell_what_is_used_and_that_memory_ran_out() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle.set("/linux/resources/memory", json!({ "limit": 16 << 20, "swap": 16 << 20 }));
    });
    let line = s.oci("events --stats box");
    let event: Value = serde_json::from_str(line.ok()).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("box")));
    assert_eq!(event["data"]["memory"]["usage"]["limit"], json!(16 << 20));
    assert_eq!(event["data"]["pids"]["current"], json!(1));
    assert!(event["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{event}");
    s.oci("events --interval 0s box").fails(1, &["greater than 0"]);
    let events = s.oci_start("events --interval 100ms box");
    let lines = || events.stdout();
    wait_until("statistics", 20, || lines().contains("\"stats\""));
    s.oci("exec box sh -c 'x=$(head -c 100000000 /dev/zero | tr \"\\0\" x)'");
    wait_until("the news of it", 20, || lines().contains(r#""type":"oom""#));
    s.oci("delete --force box").ok();
    // It ends with the container's groups.
    events.wait().ok();
    s.end();
}

#[test]
fn ps_lists_the_processes_of_the_group() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle.set("/process/args", json!(["sh", "-c", "sleep 1001 & sleep 1002; true"]));
    });
    wait_until("its processes", 10, || s.oci("ps box").stdout.lines().count() == 4);
    let table = s.oci("ps box").stdout;
    assert!(table.starts_with("UID ") && table.contains("sleep 1001"), "{table}");
    let pids: Vec<i32> = serde_json::from_str(s.oci("ps --format json box").ok()).unwrap();
    assert_eq!(pids.len(), 3);
    assert!(pids.contains(&(s.oci_state("box")["pid"].as_i64().unwrap() as i32)));
    let chosen = s.oci("ps box -o pid,args");
    assert!(chosen.ok().lines().next().unwrap().ends_with("PID COMMAND"), "{chosen}");
    s.oci("ps --format yaml box").fails(1, &["invalid format option"]);
    s.oci("ps box --forest").fails(1, &["--forest"]);
    s.oci("delete --force box").ok();
    s.end();
}

/// Without a pid namespace nothing ends with the first process.
#[test]
fn kill_reaches_all_where_processes_are_the_hosts() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle.set(
            "/process/args",
            json!(["sh", "-c", "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & wait"]),
        );
        bundle.set(
            "/linux/namespaces",
            json!([{ "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }]),
        );
    });
    wait_until("its processes", 10, || s.oci("ps box").stdout.lines().count() >= 4);
    s.oci("kill box KILL").ok();
    wait_until("the end of all", 10, || s.oci("ps --format json box").stdout == "null\n");
    s.oci("delete box").ok();
    running(&s, |_| {});
    s.oci("kill --all box TERM").ok();
    s.oci("delete --force box").ok();
    s.end();
}

/// CVE-2023-25809: nothing of the host's hierarchies is in the container, with a cgroup namespace or without.
#[test]
fn a_container_sees_its_own_groups_only() {
    let s = Sandbox::new();
    let mut bundle = s.bundle(
        "box",
        &["sh", "-c", "find /sys/fs/cgroup -name cgroup.procs | xargs cat | sort -u; ls /sys/fs/cgroup"],
    );
    if !is_v2() {
        // The first process of its pid namespace, and those that look; never one of the host's, which would be 0.
        let shared = s.oci("run --bundle box box").ok().to_owned();
        assert!(!shared.lines().any(|line| line == "0"), "{shared}");
        assert!(shared.lines().any(|line| line == "1"), "{shared}");
    }
    bundle.set("/linux/namespaces/-", json!({ "type": "cgroup" })).write();
    let own = s.oci("run --bundle box box").ok().to_owned();
    assert!(own.lines().any(|line| line == "1") && !own.lines().any(|line| line == "0"), "{own}");
    s.end();
}

/// A group of v2 that the container may divide is its user's; its limits are not.
#[test]
fn a_writable_group_is_the_containers() {
    let s = Sandbox::new();
    if !is_v2() {
        return s.end();
    }
    let mut bundle = s.bundle("box", &["sh", "-c", "mkdir /sys/fs/cgroup/sub && echo 0 >/sys/fs/cgroup/sub/cgroup.procs && cat /proc/self/cgroup; echo 5 >/sys/fs/cgroup/pids.max"]);
    bundle.set("/linux/namespaces/-", json!({ "type": "cgroup" }));
    bundle.set("/process/user", json!({ "uid": 1234, "gid": 1234 }));
    bundle.set("/mounts/6/options", json!(["nosuid", "noexec", "nodev", "relatime", "rw"])).write();
    let output = s.oci("run --bundle box box");
    assert!(output.stdout.contains("0::/sub"), "{output}");
    assert!(output.stderr.contains("pids.max: Permission denied"), "{output}");
    s.end();
}

/// What the runtime itself needs is not the container's.
#[test]
fn a_container_runs_under_512_kib_of_memory() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["echo", "512 KiB are enough"]);
    bundle.set("/linux/resources/memory", json!({ "limit": 512 << 10 })).write();
    assert_eq!(s.oci("run --bundle box box").ok(), "512 KiB are enough");
    bundle.set("/process/args", json!(["sleep", "1000"])).write();
    s.oci_apart("create --bundle box box");
    s.oci("start box").ok();
    assert_eq!(read(&group(&s, "box"), "memory.limit_in_bytes", "memory.max"), (512 << 10).to_string());
    assert_eq!(s.oci("exec box echo also for two").ok(), "also for two");
    s.oci("delete --force box").ok();
    s.end();
}

/// Not even the first process lives: that is told, by the creator.
#[test]
fn too_little_memory_is_told_at_the_start() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    bundle.set("/linux/resources/memory", json!({ "limit": 16 << 10 })).write();
    for command in ["create", "run"] {
        s.oci(&format!("{command} --bundle box box")).fails(1, &["'box'", "killed", "memory limit"]);
        assert_eq!(s.oci("list --quiet").ok(), "");
    }
    s.end();
}

#[test]
fn limits_of_huge_pages() {
    let s = Sandbox::new();
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let kilobytes = sizes.filter_map(|entry| {
        entry.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()
    });
    let kilobytes = kilobytes.min().unwrap_or(2048);
    // As the kernel names its files.
    let size = match kilobytes {
        n if n < 1024 => format!("{n}KB"),
        n if n < 1 << 20 => format!("{}MB", n >> 10),
        n => format!("{}GB", n >> 20),
    };
    let (own, limit) = (group(&s, "box"), (2 * kilobytes) << 10);
    let change = |bundle: &mut Bundle| {
        let limits = json!([{ "pageSize": size, "limit": limit }]);
        bundle.set("/linux/resources/hugepageLimits", limits);
    };
    let here = match is_v2() {
        true => fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap().contains("hugetlb"),
        false => Path::new("/sys/fs/cgroup/hugetlb/cgroup.procs").exists(),
    };
    if here {
        running(&s, change);
        let of = |file: &str| {
            read(&own, &format!("hugetlb.{size}.{file}limit_in_bytes"), &format!("hugetlb.{size}.{file}max"))
        };
        assert_eq!([of(""), of("rsvd.")], [limit.to_string(), limit.to_string()]);
        s.oci("delete --force box").ok();
    } else {
        let mut bundle = s.bundle("box", &["true"]);
        change(&mut bundle);
        bundle.write();
        s.oci("run --bundle box box").fails(1, &["hugetlb"]);
    }
    s.end();
}

/// No machine of the tests has such a device: the limit is refused, by the controller's absence or by the kernel.
#[test]
fn limits_of_rdma_devices_that_are_not_there() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    bundle.set("/linux/resources/rdma", json!({ "nosuch0": { "hcaHandles": 3, "hcaObjects": 10 } })).write();
    s.oci("run --bundle box box").fails(1, &["rdma"]);
    s.end();
}

/// A group above may let devices be used and not be made, as one of Podman's pods: then they are the host's.
#[test]
fn devices_that_may_not_be_made_are_the_hosts() {
    use kernel::bpf::{DeviceKind, DeviceRule, READ, WRITE, attach_device_filter};
    let s = Sandbox::new();
    if !is_v2() {
        return s.end();
    }
    let parent = dir("", &s.scope.cgroup_parent);
    fs::create_dir_all(&parent).unwrap();
    let used = DeviceRule { kind: DeviceKind::Char, access: READ | WRITE, ..DeviceRule::all(true) };
    let script = "for d in null zero full random urandom tty kmsg; do stat -c '%F %t:%T' /dev/$d; done; : >/dev/null; head -c 1 /dev/zero | wc -c";
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    let kmsg = json!([{ "path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11 }]);
    bundle.set("/linux/devices", kmsg).write();
    let made = s.oci("run --bundle box box").ok().to_owned();
    let filter = fs::File::open(&parent).unwrap();
    attach_device_filter(&filter, &[used]).unwrap();
    assert_eq!(s.oci("run --bundle box box").ok(), made);
    s.end();
}
