//! `--explain` says what would be done, and does nothing; `--trace` says it while it is done.

use e2e::Sandbox;

const RUN: &str = "-m 64m -p 8080:80 -v /etc:/e:ro busybox true";

#[test]
fn explaining_does_nothing() {
    let s = Sandbox::with(&["busybox"]);
    let script = s.corten(&format!("run --rm --explain=sh {RUN}"));
    for word in ["mount", "overlay", "ip link", "nft", "unshare", "pivot_root"] {
        assert!(script.ok().contains(word), "no {word} in {script}");
    }
    s.host(&format!("cat >script <<'END'\n{}\nEND\nbash -n script", script.ok())).ok();
    let json = s.corten(&format!("run --rm --explain=json {RUN}"));
    let plan: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
    assert!(plan.is_object(), "{json}");
    let text = s.corten(&format!("run --rm --explain {RUN}"));
    assert!(text.ok().lines().count() > 10, "{text}");
    assert_eq!(s.corten("ps -aq").ok(), "");
    s.corten("run --explain=pictures busybox true").fails(125, &["pictures"]);
    s.end();
}

#[test]
fn tracing_tells_each_step() {
    let s = Sandbox::with(&["busybox"]);
    let traced = s.corten("run --rm --trace busybox echo hello");
    assert_eq!(traced.ok(), "hello");
    assert!(traced.stderr.contains("mount") && traced.stderr.contains("overlay"), "{traced}");
    assert!(traced.stderr.lines().count() > 10, "{traced}");
    s.end();
}
