//! Hooks of a bundle: what they are given, and what becomes of the container when one fails or never ends.

use e2e::{Bundle, Sandbox};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The points at which a hook is part of `create`.
const CREATING: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

fn script(text: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", text] })
}

/// A hook that does not end by itself, and has a second.
fn endless() -> Value {
    json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 })
}

/// What a hook did that comes after the one that fails, and the hook.
fn next(dir: &Path) -> (PathBuf, Value) {
    let path = dir.join("next");
    let hook = script(&format!(": >{}", path.display()));
    (path, hook)
}

fn set(bundle: &mut Bundle, point: &str, hooks: Value) {
    bundle.set(&format!("/hooks/{point}"), hooks).write();
}

#[test]
fn a_hook_gets_the_words_and_the_environment_that_stand_in_the_file() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let said = s.dir.join("said");
    let text =
        format!("tr '\\0' '|' </proc/$$/cmdline >{0}; tr '\\0' '|' </proc/$$/environ >>{0}", said.display());
    for (env, told) in [(json!(["A=1", "B=two words"]), "A=1|B=two words|"), (Value::Null, "")] {
        let hook = json!({ "path": "/bin/sh", "args": ["any name", "-c", text, "0"], "env": env });
        set(&mut bundle, "createRuntime", json!([hook]));
        s.oci("run -b box box").ok();
        assert_eq!(fs::read_to_string(&said).unwrap(), format!("any name|-c|{text}|0|{told}"));
    }
    // Without words it has its path for a name.
    set(&mut bundle, "createRuntime", json!([{ "path": "/bin/true" }]));
    s.oci("run -b box box").ok();
    set(&mut bundle, "createRuntime", json!([{ "path": "/no/such" }]));
    s.oci("run -b box box").fails(1, &["createRuntime", "/no/such"]);
    s.end();
}

#[test]
fn hooks_that_take_too_long_while_it_is_created() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let (after, hook) = next(&s.dir);
    let stopped = s.dir.join("stopped");
    set(&mut bundle, "poststop", json!([script(&format!(": >{}", stopped.display()))]));
    for point in CREATING {
        set(&mut bundle, point, json!([endless(), hook]));
        s.oci("create -b box box").fails(1, &[point, "/bin/sleep", "too long"]);
        assert!(!after.exists(), "the next one ran: {point}");
        assert!(stopped.exists(), "poststop: {point}");
        s.oci("state box").fails(1, &["box"]);
        fs::remove_file(&stopped).unwrap();
        bundle.remove(&format!("/hooks/{point}"));
    }
    // That nothing of a hook is left is seen by the sandbox.
    s.end();
}

#[test]
fn hooks_that_take_too_long_later() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    let (after, hook) = next(&s.dir);
    for point in ["startContainer", "poststart"] {
        set(&mut bundle, point, json!([endless(), hook]));
        s.oci_apart("create -b box box");
        s.oci("start box").fails(1, &[point, "/bin/sleep", "too long"]);
        s.oci_wait("box", "stopped");
        s.oci("delete box").ok();
        assert!(!after.exists(), "the next one ran: {point}");
        bundle.remove(&format!("/hooks/{point}"));
    }
    set(&mut bundle, "poststop", json!([endless(), hook]));
    s.oci_apart("create -b box box");
    let output = s.oci("delete box");
    assert!(output.code == 0 && output.stderr.contains("poststop hook /bin/sleep"), "{output}");
    assert!(after.exists(), "the next poststop hook did not run");
    s.end();
}

#[test]
fn after_a_hook_that_fails_none_follows_but_at_the_end() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    let (after, hook) = next(&s.dir);
    for point in CREATING {
        set(&mut bundle, point, json!([script("exit 3"), hook]));
        s.oci("create -b box box").fails(1, &[point, "exit status 3"]);
        assert!(!after.exists(), "the next one ran: {point}");
        // One that is killed has no exit status.
        set(&mut bundle, point, json!([script("kill -9 $$"), hook]));
        s.oci("create -b box box").fails(1, &[point]);
        bundle.remove(&format!("/hooks/{point}"));
    }
    set(&mut bundle, "poststart", json!([script("exit 4"), hook]));
    s.oci_apart("create -b box box");
    s.oci("start box").fails(1, &["poststart", "exit status 4"]);
    s.oci_wait("box", "stopped");
    assert!(!after.exists(), "the next poststart hook ran");
    bundle.remove("/hooks/poststart");
    s.oci("delete box").ok();
    set(&mut bundle, "poststop", json!([script("exit 5"), hook]));
    s.oci_apart("create -b box box");
    let output = s.oci("delete box");
    assert!(output.code == 0 && output.stderr.contains("exit status 5"), "{output}");
    assert!(after.exists(), "the next poststop hook did not run");
    s.end();
}

/// A hook of the container's side sees its namespaces, one of the host's side those of the caller.
#[test]
fn hooks_run_on_their_side() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "readlink /proc/self/ns/net"]);
    let said = |point: &str| s.dir.join(point);
    for point in CREATING {
        let text = format!("readlink /proc/self/ns/net >{}", said(point).display());
        set(&mut bundle, point, json!([script(&text)]));
    }
    set(&mut bundle, "startContainer", json!([script("readlink /proc/self/ns/net >/said")]));
    let inside = s.oci("run -b box box").ok().to_owned();
    let ours = s.host("readlink /proc/self/ns/net").ok().to_owned();
    let of = |path: PathBuf| fs::read_to_string(path).unwrap().trim().to_owned();
    assert_eq!(CREATING.map(|point| of(said(point))), [ours.clone(), ours, inside.clone()]);
    assert_eq!(of(bundle.dir.join("rootfs/said")), inside);
    s.end();
}
