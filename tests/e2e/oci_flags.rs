//! The OCI runtime's command line, option by option, where no other file has it.

use e2e::{Cgroups, Sandbox};
use serde_json::{Value, json};
use std::fs;

fn sleeping(s: &Sandbox) {
    s.bundle("box", &["sleep", "1000"]);
    s.oci_apart("run -d -b box box");
}

#[test]
fn errors_are_in_the_log_too() {
    let s = Sandbox::new();
    let log = s.dir.join("log");
    for before in ["--log log --log-format json", "-log=log -log-format=json"] {
        s.oci(&format!("{before} state nosuch")).fails(1, &["nosuch"]);
        let text = fs::read_to_string(&log).expect("it was written");
        let line: Value = serde_json::from_str(text.trim()).expect("one line of JSON");
        assert_eq!(line["level"], "error", "{text}");
        assert!(line["msg"].as_str().is_some_and(|msg| msg.contains("nosuch")), "{text}");
        assert!(line["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{text}");
        fs::remove_file(&log).expect("it is there");
    }
    s.oci("--log log --log-format text state nosuch").fails(1, &["nosuch"]);
    let text = fs::read_to_string(&log).expect("it was written");
    assert!(text.starts_with("time=\"") && text.contains("level=error msg=\""), "{text}");
    // What is but a warning stands in the log alone.
    let mut bundle = s.bundle("box", &["true"]);
    bundle.set("/process/capabilities/bounding", json!(["CAP_KILL", "CAP_FLY"]));
    for set in ["effective", "permitted"] {
        bundle.set(&format!("/process/capabilities/{set}"), json!(["CAP_KILL"]));
    }
    bundle.write();
    let output = s.oci("--log log run -b box box");
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{output}");
    let text = fs::read_to_string(&log).expect("it was written");
    assert!(text.contains("level=warning") && text.contains("CAP_FLY"), "{text}");
    s.end();
}

#[test]
fn a_container_is_kept_if_asked_for() {
    let s = Sandbox::new();
    s.bundle("box", &["sh", "-c", "exit 7"]);
    // The others are taken for runc's sake.
    let output = s.oci("run --keep --no-pivot --no-subreaper --no-new-keyring -b box box");
    assert_eq!(output.code, 7, "{output}");
    assert_eq!(s.oci_state("box")["status"], "stopped");
    s.oci("delete box").ok();
    assert_eq!(s.oci("run -b box box").code, 7);
    s.oci("state box").fails(1, &["box"]);
    s.end();
}

#[test]
fn rights_of_a_further_process() {
    let s = Sandbox::new();
    sleeping(&s);
    let effective = |flags: &str| {
        let output = s.oci(&format!("exec {flags} box sed -n s/^CapEff:.//p /proc/self/status"));
        u64::from_str_radix(output.ok(), 16).expect("a set")
    };
    // See capabilities(7).
    let chown = 1;
    assert_eq!(effective("") & chown, 0);
    assert_eq!(effective("--cap CAP_CHOWN"), effective("") | chown);
    let output = s.oci("exec --user 5:6 --additional-gids 7 --additional-gids 8 box id -G");
    assert_eq!(output.ok(), "6 7 8");
    s.oci("exec --process-label a:b:c:s0 box true").fails(255, &["process.selinuxLabel", "a:b:c:s0"]);
    // Where AppArmor runs, there is no such profile.
    s.oci("exec --apparmor nosuch-profile box true").fails(255, &["apparmor"]);
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn limits_by_their_flags() {
    let s = Sandbox::new();
    sleeping(&s);
    s.oci(
        "update --cpuset-mems 0 --cpuset-cpus 0 --cpu-period 100000 --cpu-quota 50000 --cpu-burst 1000 box",
    )
    .ok();
    let read = |v1: &str, v2: &str| {
        let group = format!("{}/box", s.scope.cgroup_parent);
        let path = match Sandbox::cgroups() {
            Cgroups::V2 => format!("/sys/fs/cgroup/{group}/{v2}"),
            Cgroups::V1 => {
                format!("/sys/fs/cgroup/{}/{group}/{v1}", v1.split('.').next().unwrap_or_default())
            }
        };
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
    };
    assert_eq!(read("cpuset.mems", "cpuset.mems"), "0");
    assert_eq!(read("cpu.cfs_burst_us", "cpu.max.burst"), "1000");
    // Weights and idleness are one thing to the kernel.
    s.oci("update --cpu-idle 1 box").ok();
    assert_eq!(read("cpu.idle", "cpu.idle"), "1");
    for (flag, value) in [("cpu-idle", "2"), ("blkio-weight", "5"), ("pids-limit", "many"), ("memory", "x")] {
        s.oci(&format!("update --{flag} {value} box")).fails(1, &[flag, value]);
    }
    for flag in ["l3-cache-schema", "mem-bw-schema"] {
        s.oci(&format!("update --{flag} L3:0=f box")).fails(1, &[flag, "RDT"]);
    }
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn names_and_propagation_of_a_bundle() {
    let s = Sandbox::new();
    let script = r#"cat /proc/sys/kernel/domainname; awk '$5 == "/"' /proc/self/mountinfo | sed 's/ - .*//'"#;
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    bundle.set("/domainname", json!("example.org"));
    for (kind, tag) in [("shared", " shared:"), ("private", ""), ("unbindable", " unbindable")] {
        bundle.set("/linux/rootfsPropagation", json!(kind)).write();
        let output = s.oci("run -b box box");
        let lines: Vec<&str> = output.ok().lines().collect();
        assert_eq!(lines[0], "example.org");
        let root = lines.last().expect("the root is mounted");
        assert!(
            root.contains(tag) && (tag.contains("shared") || !root.contains("shared:")),
            "{kind}: {root}"
        );
    }
    s.end();
}
