//! Control groups that systemd makes, where it runs the machine.

use e2e::{Bundle, Cgroups, Sandbox, wait_until};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

fn has_systemd() -> bool {
    Path::new("/run/systemd/private").exists()
}

/// The name of the unit of a bundle.
fn unit(s: &Sandbox, name: &str) -> String {
    format!("{}-{name}.scope", s.scope.cgroup_parent)
}

/// A container that sleeps in a unit below system.slice.
fn running(s: &Sandbox, change: impl Fn(&mut Bundle)) {
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    bundle.set("/linux/cgroupsPath", json!(format!("system.slice:{}:box", s.scope.cgroup_parent)));
    change(&mut bundle);
    bundle.write();
    s.oci_apart("--systemd-cgroup run --detach --bundle box box");
    s.oci_wait("box", "running");
}

/// Properties of the unit, a line each.
fn show(s: &Sandbox, properties: &str) -> String {
    s.host(&format!("systemctl show -p {properties} {}", unit(s, "box"))).ok().to_owned()
}

/// The file of a controller of v1, or of v2.
fn file(s: &Sandbox, v1: &str, v2: &str) -> PathBuf {
    let group = format!("system.slice/{}", unit(s, "box"));
    match Sandbox::cgroups() {
        Cgroups::V1 => {
            format!("/sys/fs/cgroup/{}/{group}/{v1}", v1.split('.').next().unwrap_or_default()).into()
        }
        Cgroups::V2 => format!("/sys/fs/cgroup/{group}/{v2}").into(),
    }
}

#[track_caller]
fn read(s: &Sandbox, v1: &str, v2: &str) -> String {
    let path = file(s, v1, v2);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

#[test]
#[ignore = "systemd has to run the machine: `cargo xtask test --systemd`"]
fn a_container_is_a_unit_with_limits() {
    let s = Sandbox::new();
    running(&s, |bundle| {
        bundle.set("/linux/resources/pids", json!({ "limit": 77 }));
        bundle.set("/linux/resources/cpu", json!({ "quota": 50_000, "period": 100_000 }));
        bundle.set("/annotations", json!({ "org.systemd.property.TimeoutStopSec": "3" }));
    });
    let said =
        show(&s, "ActiveState,Delegate,Slice,TasksMax,CPUQuotaPerSecUSec,TimeoutStopUSec,DevicePolicy");
    for line in [
        "ActiveState=active",
        "Delegate=yes",
        "Slice=system.slice",
        "TasksMax=77",
        "CPUQuotaPerSecUSec=500ms",
        "TimeoutStopUSec=3s",
        "DevicePolicy=strict",
    ] {
        assert!(said.lines().any(|l| l == line), "{line} is missing: {said}");
    }
    let pid = s.oci_state("box")["pid"].to_string();
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = format!(":/system.slice/{}", unit(&s, "box"));
    assert!(groups.lines().filter(|l| !l.starts_with("0::/\n")).all(|l| l.ends_with(&own)), "{groups}");
    // Limits and devices are those of before when systemd has read everything anew.
    s.host("systemctl daemon-reload").ok();
    assert_eq!(read(&s, "pids.max", "pids.max"), "77");
    s.oci("exec box sh -c ': >/dev/null'").ok();
    s.oci("update --pids-limit 33 --cpu-quota 25000 box").ok();
    assert_eq!(read(&s, "pids.max", "pids.max"), "33");
    let said = show(&s, "TasksMax,CPUQuotaPerSecUSec");
    assert!(said.contains("TasksMax=33") && said.contains("CPUQuotaPerSecUSec=250ms"), "{said}");
    s.oci("delete --force box").ok();
    assert!(show(&s, "LoadState").contains("not-found"));
    assert!(!file(&s, "pids.max", "pids.max").exists());
    s.end();
}

#[test]
#[ignore = "systemd has to run the machine: `cargo xtask test --systemd`"]
fn a_unit_goes_with_its_container() {
    let s = Sandbox::new();
    running(&s, |_| {});
    s.oci("pause box").ok();
    assert_eq!(s.oci_state("box")["status"], "paused");
    s.oci("resume box").ok();
    s.oci("kill box KILL").ok();
    s.oci_wait("box", "stopped");
    s.oci("delete box").ok();
    wait_until("the unit to be gone", 10, || show(&s, "LoadState").contains("not-found"));
    // One that cannot start leaves none.
    let mut bundle = s.bundle("box", &["nosuch"]);
    bundle.set("/linux/cgroupsPath", json!(format!("system.slice:{}:box", s.scope.cgroup_parent))).write();
    s.oci("--systemd-cgroup create --bundle box box").fails(1, &["nosuch"]);
    assert!(show(&s, "LoadState").contains("not-found"));
    s.end();
}

#[test]
fn what_is_no_unit_is_refused() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    for path in ["/a/b", "a:b", "no-slice:a:b", "a.slice:b:c d", "a.slice:b:c.slice"] {
        bundle.set("/linux/cgroupsPath", json!(path)).write();
        s.oci("--systemd-cgroup run --bundle box box").fails(1, &["linux.cgroupsPath", path]);
    }
    bundle.set("/linux/cgroupsPath", json!("system.slice:corten-test:box"));
    bundle.set("/annotations", json!({ "org.systemd.property.TimeoutStopSec": "soon" })).write();
    s.oci("--systemd-cgroup run --bundle box box").fails(1, &["org.systemd.property.TimeoutStopSec", "soon"]);
    if !has_systemd() {
        bundle.remove("/annotations").write();
        s.oci("--systemd-cgroup run --bundle box box").fails(1, &["D-Bus", "system_bus_socket"]);
    }
    s.end();
}
