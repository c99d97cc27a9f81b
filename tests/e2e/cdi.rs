//! Devices that are described by files: the Container Device Interface.

use e2e::{Output, Sandbox};
use std::fs;

const SPEC: &str = r#"{"cdiVersion": "0.6.0", "kind": "example.com/thing",
  "containerEdits": {"env": ["THING=all"]},
  "devices": [
    {"name": "one", "containerEdits": {
      "env": ["ONE=1"], "additionalGids": [1234],
      "deviceNodes": [{"path": "/dev/things/one", "hostPath": "/dev/zero", "permissions": "r", "fileMode": 420}],
      "mounts": [{"hostPath": "LIB", "containerPath": "/usr/lib/thing", "options": ["ro", "nosuid", "bind"]}]}},
    {"name": "two", "containerEdits": {"deviceNodes": [
      {"path": "/dev/two", "type": "c", "major": 1, "minor": 3}, {"path": "/dev/log2", "hostPath": "/dev/kmsg", "permissions": "w"}]}},
    {"name": "hooked", "containerEdits": {"hooks": [{"hookName": "createContainer", "path": "/bin/hook"}]}}]}"#;

/// Runs `corten` where its descriptions are those of the sandbox.
fn described(s: &Sandbox, line: &str) -> Output {
    let script = format!(
        "CORTEN_CDI_DIRS=$PWD/a:$PWD/b CORTEN_ROOT={} CORTEN_STATE={} CORTEN_CGROUP_PARENT={} {} {line}",
        s.scope.root.display(),
        s.scope.state.display(),
        s.scope.cgroup_parent,
        e2e::binary().display()
    );
    s.host(&script)
}

#[test]
fn a_device_by_its_name() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir_all(s.dir.join("a/lib")).expect("writable");
    fs::create_dir(s.dir.join("b")).expect("writable");
    fs::write(s.dir.join("a/lib/so"), "library").expect("writable");
    let spec = SPEC.replace("LIB", &s.dir.join("a/lib").display().to_string());
    fs::write(s.dir.join("a/thing.json"), spec).expect("writable");
    let look = "sh -c 'echo $THING $ONE; head -c 2 /dev/things/one | wc -c; stat -c %a /dev/things/one; cat /usr/lib/thing/so; id -G; touch /usr/lib/thing/x'";
    let seen = described(&s, &format!("run --rm --device example.com/thing=one busybox {look}"));
    assert_eq!(seen.stdout, "all 1\n2\n644\nlibrary0 1234\n", "{seen}");
    assert!(seen.stderr.contains("Read-only"), "{seen}");
    // What may not be done with it: the kernel's log is described as one to be written.
    let log = |command: &str| {
        described(&s, &format!("run --rm --device example.com/thing=two busybox sh -c '{command} /dev/log2'"))
    };
    log("true >").ok();
    let read = log("head -c 1");
    assert!(read.code != 0 && read.stderr.contains("not permitted"), "{read}");
    // Two of a kind: what is said of all counts once.
    let both = "run --rm --device example.com/thing=one --device example.com/thing=two busybox";
    let counted = described(&s, &format!("{both} sh -c 'env | grep -c THING; ls /dev/two'"));
    assert_eq!(counted.ok(), "1\n/dev/two");
    described(&s, "create --name box --device example.com/thing=two busybox true").ok();
    assert_eq!(
        s.inspect("box", "{{(index .HostConfig.DeviceRequests 0).DeviceIDs}}"),
        "[example.com/thing=two]"
    );
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn what_cannot_be_had_is_told() {
    let s = Sandbox::with(&["busybox"]);
    for dir in ["a", "b"] {
        fs::create_dir(s.dir.join(dir)).expect("writable");
    }
    fs::write(s.dir.join("a/thing.json"), SPEC).expect("writable");
    fs::write(s.dir.join("b/nvidia.yaml"), "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\n").expect("writable");
    let refused = |what: &str, words: &[&str]| {
        described(&s, &format!("run --rm {what} busybox true")).fails(125, words)
    };
    refused("--device example.com/thing=ten", &["example.com/thing=ten", "one, two"]);
    refused("--device example.com/other=one", &["example.com/other"]);
    refused("--device example.com/thing=hooked", &["hook", "/bin/hook"]);
    refused("--gpus all", &["nvidia.yaml", "JSON"]);
    refused("--gpus count=x", &["count"]);
    fs::write(s.dir.join("b/bad.json"), "{\"kind\": 7}").expect("writable");
    refused("--device example.com/thing=two", &["bad.json"]);
    s.end();
}
