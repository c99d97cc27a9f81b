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
    {"name": "rdt", "containerEdits": {"intelRdt": {}}}]}"#;

/// As `nvidia-ctk` writes it, with hooks that tell when and where they run.
const YAML: &str = r#"---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env: ["NVIDIA_VISIBLE_DEVICES=void"]
  hooks:
  - hookName: createRuntime
    path: /bin/sh
    args: ["sh", "-c", "cat >DIR/told; echo createRuntime >>DIR/order"]
  - hookName: createContainer
    path: /bin/sh
    args:
    - sh
    - -c
    - root=$(sed 's/.*"path":"\([^"]*\)".*/\1/' STATE/$(hostname)*/config.json); echo made >$root/by-hook
    env:
    - PATH=/usr/bin:/bin
  - {hookName: startContainer, path: /bin/sh, args: [sh, -c, "echo startContainer >/started"]}
  - {hookName: poststart, path: /bin/sh, args: [sh, -c, "echo poststart >>DIR/order"], timeout: 30}
  - {hookName: poststop, path: /bin/sh, args: [sh, -c, "echo poststop >>DIR/order"]}
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/gpu0
      hostPath: /dev/zero
- name: all
  containerEdits:
    deviceNodes: [{path: /dev/gpu0, hostPath: /dev/zero}, {path: /dev/gpu1, hostPath: /dev/null}]
"#;

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
    let refused = |what: &str, words: &[&str]| {
        described(&s, &format!("run --rm {what} busybox true")).fails(125, words)
    };
    refused("--device example.com/thing=ten", &["example.com/thing=ten", "one, two"]);
    refused("--device example.com/other=one", &["example.com/other"]);
    refused("--device example.com/thing=rdt", &["intelRdt"]);
    refused("--gpus all", &["nvidia.com/gpu"]);
    refused("--gpus count=x", &["count"]);
    fs::write(s.dir.join("b/bad.json"), "{\"kind\": 7}").expect("writable");
    refused("--device example.com/thing=two", &["bad.json"]);
    fs::remove_file(s.dir.join("b/bad.json")).expect("it is there");
    fs::write(s.dir.join("b/bad.yaml"), "kind: [").expect("writable");
    refused("--device example.com/thing=two", &["bad.yaml"]);
    let hook =
        "kind: v.com/c\ndevices: [{name: x, containerEdits: {hooks: [{hookName: HOOK, path: PATH}]}}]\n";
    for (name, path, words) in [
        ("createRuntime", "/bin/false", ["createRuntime", "exit status 1"]),
        ("startContainer", "/bin/false", ["startContainer", "/bin/false"]),
        ("createContainer", "/no/such", ["createContainer", "o such file"]),
        ("sometime", "/bin/true", ["sometime", "/bin/true"]),
    ] {
        fs::write(s.dir.join("b/bad.yaml"), hook.replace("HOOK", name).replace("PATH", path))
            .expect("writable");
        refused("--device v.com/c=x", &words);
    }
    s.end();
}

#[test]
fn gpus_are_described_in_yaml_and_their_hooks_run() {
    let s = Sandbox::with(&["busybox"]);
    for dir in ["a", "b"] {
        fs::create_dir(s.dir.join(dir)).expect("writable");
    }
    let (dir, state) = (s.dir.display().to_string(), s.scope.state.display().to_string());
    fs::write(s.dir.join("b/nvidia.yaml"), YAML.replace("DIR", &dir).replace("STATE", &state))
        .expect("writable");
    let look = "sh -c 'cat /started /by-hook; ls /dev/gpu*; echo $NVIDIA_VISIBLE_DEVICES'";
    let all = described(&s, &format!("run --name box --gpus all busybox {look}"));
    assert_eq!(all.ok(), "startContainer\nmade\n/dev/gpu0\n/dev/gpu1\nvoid");
    let order = || fs::read_to_string(s.dir.join("order")).expect("hooks ran");
    assert_eq!(order(), "createRuntime\npoststart\npoststop\n");
    let told: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(s.dir.join("told")).expect("a hook ran")).expect("JSON");
    assert_eq!(told["id"], s.inspect("box", "{{.Id}}").as_str());
    assert_eq!(told["status"], "creating");
    // Another life, by another command: the same.
    described(&s, "start -a box").ok();
    assert_eq!(order().lines().filter(|line| *line == "poststop").count(), 2);
    for gpus in ["1", "device=0", "'\"device=0\",capabilities=utility'"] {
        let one = described(&s, &format!("run --rm --gpus {gpus} busybox sh -c 'ls /dev/gpu*'"));
        assert_eq!(one.ok(), "/dev/gpu0");
    }
    described(&s, "run --rm --gpus 2 busybox true").fails(125, &["nvidia.com/gpu=1", "0, all"]);
    // Why it cannot start is told as ever.
    let missing = described(&s, "run --rm --gpus all busybox /no/such");
    missing.fails(127, &["/no/such", "no such file"]);
    s.corten("rm box").ok();
    s.end();
}
