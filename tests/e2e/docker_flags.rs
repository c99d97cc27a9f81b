//! Every flag of `docker run`: it means what it means there, or it is refused by one line that names it and says why.

use e2e::Sandbox;
use std::fs;

/// Each with a value that does no harm; an empty one is a flag without.
const TAKEN: &[(&str, &str)] = &[
    ("add-host", "db:10.0.0.1"),
    ("annotation", "key=value"),
    ("attach", "stdout"),
    ("blkio-weight", "0"),
    ("cap-add", "NET_ADMIN"),
    ("cap-drop", "MKNOD"),
    ("cgroup-parent", "below"),
    ("cgroupns", "private"),
    ("cidfile", "cid"),
    ("cpu-period", "100000"),
    ("cpu-quota", "50000"),
    ("cpu-shares", "512"),
    ("cpus", "0.5"),
    ("cpuset-cpus", "0"),
    ("cpuset-mems", "0"),
    ("device", "/dev/null:/dev/nothing:r"),
    ("device-cgroup-rule", "c 189:* rmw"),
    ("disable-content-trust", ""),
    ("dns", "10.0.0.1"),
    ("dns-option", "ndots:1"),
    ("dns-opt", "ndots:1"),
    ("dns-search", "example.org"),
    ("domainname", "example.org"),
    ("entrypoint", "true"),
    ("env", "A=1"),
    ("env-file", "empty"),
    ("expose", "80"),
    ("group-add", "10"),
    ("health-cmd", "true"),
    ("health-interval", "10s"),
    ("health-retries", "3"),
    ("health-start-interval", "1s"),
    ("health-start-period", "1s"),
    ("health-timeout", "5s"),
    ("hostname", "box"),
    ("init", ""),
    ("interactive", ""),
    ("ipc", "private"),
    ("isolation", "default"),
    ("label", "a=b"),
    ("label-file", "empty"),
    ("log-driver", "json-file"),
    ("log-opt", "max-size=1m"),
    ("mac-address", "02:42:ac:11:00:63"),
    ("memory", "64m"),
    ("memory-reservation", "32m"),
    ("memory-swap", "-1"),
    ("memory-swappiness", "10"),
    ("mount", "type=tmpfs,target=/t,tmpfs-size=1m"),
    ("name", "named"),
    ("net", "none"),
    ("network", "none"),
    ("no-healthcheck", ""),
    ("oom-kill-disable", ""),
    ("oom-score-adj", "100"),
    ("pid", "host"),
    ("pids-limit", "100"),
    ("privileged", ""),
    ("publish", "127.0.0.1::80"),
    ("publish-all", ""),
    ("pull", "never"),
    ("quiet", ""),
    ("read-only", ""),
    ("restart", "no"),
    ("rm", ""),
    ("runtime", "corten"),
    ("security-opt", "no-new-privileges"),
    ("shm-size", "1m"),
    ("stop-signal", "INT"),
    ("stop-timeout", "3"),
    ("sysctl", "net.ipv4.ip_forward=1"),
    ("tmpfs", "/t:size=1m"),
    ("tty", ""),
    ("ulimit", "nofile=100"),
    ("user", "1:1"),
    ("userns", "host"),
    ("uts", "host"),
    ("volume", "/v"),
    ("volume-driver", "local"),
    ("workdir", "/tmp"),
];

/// Each with a value, and a word of the reason.
const REFUSED: &[(&str, &str, &str)] = &[
    ("cpu-count", "1", "Windows"),
    ("cpu-percent", "50", "Windows"),
    ("gpus", "all", "nvidia.com/gpu"),
    ("io-maxbandwidth", "1m", "Windows"),
    ("io-maxiops", "10", "Windows"),
    ("isolation", "hyperv", "default"),
    ("kernel-memory", "64m", "--memory"),
    ("link-local-ip", "169.254.1.1", "--ip"),
    ("runtime", "runc", "corten"),
    ("storage-opt", "size=1g", "quota"),
    ("storage-opt", "dm.x=1", "size"),
    ("use-api-socket", "", "API"),
    ("volume-driver", "cloud", "local"),
    ("blkio-weight-device", "/dev/null:200", "/dev/null"),
    ("blkio-weight-device", "/dev/null:2", "10 to 1000"),
    ("device-read-bps", "/dev/null:1mb", "/dev/null"),
    ("device-read-iops", "/dev/null:10", "/dev/null"),
    ("device-write-bps", "/nosuch:1mb", "/dev"),
    ("device-write-iops", "/dev/null:many", "many"),
    ("device-cgroup-rule", "c 1:3 q", "c 1:3 q"),
    ("cgroup-parent", "a/../b", "a/../b"),
    ("annotation", "alone", "alone"),
    ("blkio-weight", "5", "10 to 1000"),
    ("volumes-from", "nosuch", "nosuch"),
];

#[test]
fn each_is_understood_or_refused_by_name() {
    let s = Sandbox::with(&["busybox"]);
    fs::write(s.dir.join("empty"), "").expect("writable");
    for (flag, value) in TAKEN {
        let value = if value.is_empty() { String::new() } else { format!(" '{value}'") };
        let made = s.corten(&format!("create --{flag}{value} busybox true"));
        assert_eq!(made.code, 0, "--{flag}: {made}");
    }
    // What is only known when it starts is refused then.
    for (flag, value, reason) in REFUSED {
        let value = if value.is_empty() { String::new() } else { format!(" '{value}'") };
        s.corten(&format!("run --rm --{flag}{value} busybox true")).fails(125, &[reason]);
    }
    s.corten(&format!("rm -v {}", s.corten("ps -aq").ok().replace('\n', " "))).ok();
    s.end();
}

#[test]
fn what_is_told_is_what_was_asked_for() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box --annotation a=b --cgroup-parent /below/x --device-cgroup-rule 'c 1:3 r' busybox true").ok();
    let told = "{{.HostConfig.Annotations.a}} {{.HostConfig.CgroupParent}} {{.HostConfig.DeviceCgroupRules}}";
    assert_eq!(s.inspect("box", told), "b /below/x [c 1:3 r]");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn a_group_above_of_one_s_choice() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --memory 64m --cgroup-parent team/a busybox sleep 1000");
    let file = if Sandbox::cgroups() == e2e::Cgroups::V2 { "memory.max" } else { "memory.limit_in_bytes" };
    let path = s.cgroup_file("box", file);
    let parent = format!("{}/team/a/", s.scope.cgroup_parent);
    assert!(path.to_string_lossy().contains(&parent), "{}", path.display());
    assert_eq!(s.cgroup("box", file), (64 << 20).to_string());
    assert!(s.corten("stats --no-stream box").ok().contains("64MiB"));
    s.corten("rm -f box").ok();
    // Those above may be wanted again.
    s.corten("system down").ok();
    s.end();
}

#[test]
fn rules_for_devices_that_come_later() {
    let s = Sandbox::with(&["busybox"]);
    // Device 1:11 is the kernel's log: not among those that each container may use.
    let make = "sh -c 'mknod /dev/kmsg2 c 1 11 && true >/dev/kmsg2'";
    let without = s.corten(&format!("run --rm --userns host --cap-add MKNOD busybox {make}"));
    assert!(without.code != 0 && without.stderr.contains("not permitted"), "{without}");
    s.corten(&format!(
        "run --rm --userns host --cap-add MKNOD --device-cgroup-rule 'c 1:11 rwm' busybox {make}"
    ))
    .ok();
    // A directory stands for the devices in it.
    let zero = s.corten("run --rm --device /dev/net:/dev/nets busybox ls /dev/nets");
    match std::path::Path::new("/dev/net/tun").exists() {
        true => assert_eq!(zero.ok(), "tun"),
        false => assert_eq!(zero.code, 125, "{zero}"),
    }
    s.end();
}
