//! Limits, on cgroup v1 and v2: what is asked for is in the kernel's files, and it works.

use e2e::{Cgroups, Sandbox, wait_until};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The value of the container's cgroup file: the first name on v1, the second on v2.
fn limit(s: &Sandbox, v1: &str, v2: &str) -> String {
    s.cgroup("box", if Sandbox::cgroups() == Cgroups::V1 { v1 } else { v2 })
}

/// The file that tells the processor time a container has used.
fn clock(s: &Sandbox, container: &str) -> PathBuf {
    s.cgroup_file(container, if Sandbox::cgroups() == Cgroups::V1 { "cpuacct.usage" } else { "cpu.stat" })
}

/// What it tells, in seconds.
fn seconds(clock: &Path) -> f64 {
    let text = std::fs::read_to_string(clock).expect("the container runs");
    let number = |text: &str| text.trim().parse::<f64>().expect("a number");
    match text.lines().find_map(|l| l.strip_prefix("usage_usec ")) {
        Some(microseconds) => number(microseconds) / 1e6,
        None => number(&text) / 1e9,
    }
}

#[test]
fn limits_are_in_the_kernels_files() {
    let s = Sandbox::with(&["busybox"]);
    let flags = "--memory 32m --memory-swap 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 44";
    s.detached(&format!("--name box {flags} busybox sleep 100"));
    assert_eq!(limit(&s, "memory.limit_in_bytes", "memory.max"), "33554432");
    assert_eq!(limit(&s, "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(limit(&s, "pids.max", "pids.max"), "44");
    if Sandbox::cgroups() == Cgroups::V1 {
        assert_eq!(s.cgroup("box", "cpu.cfs_quota_us"), "50000");
        assert_eq!(s.cgroup("box", "cpu.shares"), "512");
    } else {
        assert_eq!(s.cgroup("box", "cpu.max"), "50000 100000");
        assert_eq!(s.cgroup("box", "memory.swap.max"), "0");
    }
    assert_eq!(
        s.inspect("box", "{{.HostConfig.Memory}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}}"),
        "33554432 512 44"
    );
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn nonsense_is_refused() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm --memory lots busybox true").fails(125, &["lots"]);
    s.corten("run --rm --memory 1k busybox true").fails(125, &["Minimum memory limit"]);
    s.corten("run --rm --cpus minus busybox true").fails(125, &["minus"]);
    s.corten("run --rm --cpuset-cpus 4096 busybox true").fails(125, &["4096"]);
    s.corten("run --rm --memory 64m --memory-swap 32m busybox true").exits(125);
    s.end();
}

#[test]
fn the_kernel_kills_at_the_memory_limit() {
    let s = Sandbox::with(&["busybox"]);
    let load = "sh -c 'head -c 40m /dev/zero | tail'";
    s.corten(&format!("run --name box --memory 10m --memory-swap 10m --init busybox {load}"));
    assert_eq!(s.inspect("box", "{{.State.OOMKilled}}"), "true");
    s.corten("rm box").ok();
    // The first process itself.
    s.corten("run --name box --memory 10m --memory-swap 10m busybox tail /dev/zero").exits(137);
    assert_eq!(s.inspect("box", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    s.corten("rm box").ok();
    s.corten("run --name box --memory 10m busybox true").ok();
    assert_eq!(s.inspect("box", "{{.State.OOMKilled}}"), "false");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn the_number_of_processes_is_limited() {
    let s = Sandbox::with(&["busybox"]);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done; wait";
    let output = s.corten(&format!("run --rm --pids-limit 5 busybox sh -c '{script}'"));
    assert!(output.stderr.contains("can't fork"), "{output}");
    s.end();
}

#[test]
fn a_container_sees_its_own_cgroups_and_cannot_change_them() {
    // CVE-2022-0492: release_agent.
    let s = Sandbox::with(&["busybox"]);
    let output = s.corten("run --rm --memory 64m busybox cat /proc/self/cgroup");
    assert!(output.ok().lines().all(|l| l.ends_with(":/")), "{output}");
    let read = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true";
    assert_eq!(s.corten(&format!("run --rm --memory 64m busybox sh -c '{read}'")).ok(), "67108864");
    let write =
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*/; do mkdir $d/x 2>/dev/null && echo made $d/x; done; true";
    assert_eq!(s.corten(&format!("run --rm busybox sh -c '{write}'")).ok(), "");
    s.end();
}

#[test]
fn devices_are_closed() {
    let s = Sandbox::with(&["busybox"]);
    // Without a user namespace, so that it is the cgroup that refuses. 7:200 would be a loop device, and is none.
    let script = "mknod /loop b 7 200 && head -c 1 /loop";
    let output = s.corten(&format!("run --rm --userns host busybox sh -c '{script}'"));
    assert!(output.code != 0 && output.stderr.contains("not permitted"), "{output}");
    s.corten("run --rm --userns host busybox sh -c 'echo x >/dev/null; head -c 1 /dev/urandom >/dev/zero'")
        .ok();
    s.end();
}

#[test]
fn shares_divide_a_contended_processor_alone() {
    let s = Sandbox::with(&["busybox"]);
    let shares = [2048, 512, 80];
    for share in shares {
        let flags = format!("--name s{share} --cpuset-cpus 0 --cpu-shares {share}");
        s.detached(&format!("{flags} busybox sh -c 'while :; do :; done'"));
    }
    let clocks = shares.map(|share| clock(&s, &format!("s{share}")));
    let used = || clocks.each_ref().map(|c| seconds(c));
    let before = used();
    std::thread::sleep(Duration::from_secs(8));
    let after = used();
    let spent: Vec<f64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
    let all: f64 = spent.iter().sum();
    let percent: Vec<f64> = spent.iter().map(|t| t / all * 100.0).collect();
    for (got, want) in percent.iter().zip([77.6, 19.4, 3.0]) {
        assert!((got - want).abs() < 4.0, "{percent:?} instead of 77 : 19 : 3");
    }
    s.corten("rm -f s2048 s512 s80").ok();
    s.end();
}

#[test]
fn a_quota_slows_down_alone() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --cpus 0.2 busybox sh -c 'while :; do :; done'");
    let clock = clock(&s, "box");
    let (start, before) = (Instant::now(), seconds(&clock));
    std::thread::sleep(Duration::from_secs(3));
    let percent = (seconds(&clock) - before) / start.elapsed().as_secs_f64() * 100.0;
    assert!((10.0..=30.0).contains(&percent), "{percent} % instead of 20");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn swappiness() {
    let s = Sandbox::with(&["busybox"]);
    let output = s.corten("run -d --name box --memory 32m --memory-swappiness 0 busybox sleep 100");
    output.ok();
    if Sandbox::cgroups() == Cgroups::V1 {
        assert_eq!(s.cgroup("box", "memory.swappiness"), "0");
    } else {
        assert!(output.stderr.contains("swappiness"), "v2 has none, and a user has to know: {output}");
    }
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn what_is_left_behind_with_the_hosts_process_ids_ends_too() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm --pid host busybox sh -c 'sleep 1000 >/dev/null 2>&1 & exit 3'").exits(3);
    s.end();
}

#[test]
fn a_parent_group_of_somebody_elses_gets_what_it_lacks() {
    let s = Sandbox::with(&["busybox"]);
    let places =
        if Sandbox::cgroups() == Cgroups::V1 { "memory cpuset pids" } else { "." }.split_whitespace();
    for place in places {
        s.host(&format!("mkdir /sys/fs/cgroup/{place}/{}", s.scope.cgroup_parent)).ok();
    }
    s.corten("run --rm --memory 64m --cpuset-cpus 0 --pids-limit 20 --cpu-shares 100 busybox true").ok();
    s.end();
}

#[test]
fn exec_follows_a_first_process_that_gave_its_controllers_on() {
    if Sandbox::cgroups() == Cgroups::V1 {
        return; // only v2 forbids processes above groups with controllers
    }
    let s = Sandbox::with(&["busybox"]);
    let script = "cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && echo +memory >cgroup.subtree_control && echo up; sleep 100";
    s.detached(&format!("--name box --privileged busybox sh -c '{script}'"));
    wait_until("the group below", 5, || s.corten("logs box").stdout.contains("up"));
    assert_eq!(s.corten("exec box cat /proc/self/cgroup").ok(), "0::/init");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn monitors_do_not_go_with_the_service_that_started_them() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let pid = s.inspect("box", "{{.State.Pid}}");
    let monitor = s.host(&format!("awk '/^PPid/ {{ print $2 }}' /proc/{pid}/status")).ok().to_string();
    let group = s.host(&format!("cat /proc/{monitor}/cgroup")).ok().to_string();
    match Sandbox::cgroups() {
        Cgroups::V1 => assert!(!group.contains(&s.scope.cgroup_parent), "{group}"),
        Cgroups::V2 => assert_eq!(group, format!("0::/{}/monitors", s.scope.cgroup_parent)),
    }
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cgroups_go_with_the_last_process() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sh -c 'sleep 100 & sleep 100 & wait'");
    wait_until("the processes", 5, || s.corten("top box").stdout.lines().count() == 4);
    s.corten("kill box").ok();
    s.corten("rm box").ok();
    s.end();
}
