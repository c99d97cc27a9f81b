//! `corten cgroup tree` against the files that it names.

use e2e::{Sandbox, wait_until};
use serde_json::Value;

fn figure<'a>(branch: &'a Value, what: &str) -> &'a Value {
    let all = branch["figures"].as_array().unwrap();
    all.iter().find(|f| f["what"] == what).unwrap_or_else(|| panic!("no {what} in {branch:#}"))
}

#[test]
fn the_tree_is_what_the_files_say() {
    let s = Sandbox::with(&["busybox"]);
    assert!(s.corten("cgroup tree").ok().contains("no container has run yet"));
    s.corten("run -d --name box -m 64m --cpus 0.5 --pids-limit 77 --cpu-shares 512 busybox sleep 1000").ok();
    s.corten("run -d --name other busybox sleep 1000").ok();
    let tree: Value = serde_json::from_str(s.corten("cgroup tree --format json").ok()).unwrap();
    let names: Vec<&Value> = tree["below"].as_array().unwrap().iter().map(|b| &b["name"]).collect();
    assert!(names.starts_with(&[&Value::from("box"), &Value::from("other")]), "{names:?}");
    let branch = &tree["below"][0];
    assert_eq!(branch["processes"], 1, "{branch:#}");
    assert_eq!(figure(branch, "memory")["limit"], (64 << 20) as f64);
    assert_eq!(figure(branch, "processes")["limit"], 77.0);
    assert_eq!(figure(branch, "processes")["used"], 1.0);
    assert_eq!(figure(branch, "cpu limit")["limit"], 0.5);
    // Each figure names files that there are, and the first number in the first one is the figure's.
    for figure in branch["figures"].as_array().unwrap() {
        for file in figure["files"].as_array().unwrap() {
            s.host(&format!("cat {}", file.as_str().unwrap())).ok();
        }
    }
    let weight = figure(branch, "weight");
    let file = weight["files"][0].as_str().unwrap();
    assert_eq!(s.host(&format!("cat {file}")).ok().parse::<f64>().unwrap(), weight["used"].as_f64().unwrap());
    assert!(weight["used"] == 512.0 || weight["used"] == 50.0, "{weight}");

    // Only one; what is said can be typed.
    let text = s.corten("cgroup tree box").ok().to_owned();
    assert!(text.contains("64MiB") && text.contains("1 of 77") && !text.contains("other"), "{text}");
    let line = text.lines().find(|line| line.contains("at most 0.5")).unwrap();
    let group = text.lines().find(|line| line.contains(" box ")).unwrap().split("# ").nth(1).unwrap();
    s.host(&format!("{group}; {}", line.split("# ").nth(1).unwrap())).ok();
    s.corten("cgroup tree nosuch").fails(1, &["nosuch"]);

    // Live: a container that works shows what it uses now.
    s.corten("run -d --name busy busybox sh -c 'while :; do :; done'").ok();
    let watch = s.start("cgroup tree --watch busy");
    wait_until("it has been seen twice, and at work", 30, || {
        watch.stdout().lines().any(|l| l.contains("cpu  ") && l.contains('█'))
    });
    watch.signal(rustix::process::Signal::TERM);
    watch.wait();
    s.corten("rm -f box other busy").ok();
    s.end();
}

/// `--cgroup-parent` puts a container's group below the engine's, or beside it.
#[test]
fn groups_that_are_elsewhere() {
    let s = Sandbox::with(&["busybox"]);
    // A name of this sandbox' own: the group is the machine's.
    let beside = format!("{}-beside", s.scope.cgroup_parent);
    s.corten(&format!("run -d --name there --cgroup-parent /{beside} busybox sleep 1000")).ok();
    let one: Value = serde_json::from_str(s.corten("cgroup tree --format json there").ok()).unwrap();
    assert_eq!(one["group"], beside, "{one:#}");
    assert_eq!(one["below"][0]["name"], "there", "{one:#}");
    assert_eq!(one["below"][0]["processes"], 1, "{one:#}");

    s.corten("run -d --name here busybox sleep 1000").ok();
    s.corten("run -d --name below --cgroup-parent deeper busybox sleep 1000").ok();
    let all: Value = serde_json::from_str(s.corten("cgroup tree --format json").ok()).unwrap();
    assert_eq!(all["name"], "/", "{all:#}");
    let text = s.corten("cgroup tree -q").ok().to_owned();
    for name in ["there", "here", "below", "deeper"] {
        assert!(text.lines().any(|line| line.contains(&format!("─ {name}"))), "{name}: {text}");
    }
    // One that is deeper than the others is found, too.
    let text = s.corten("cgroup tree -q below").ok().to_owned();
    assert!(text.contains("─ below") && !text.contains("─ here") && !text.contains("there"), "{text}");

    s.corten("rm -f there here below").ok();
    s.corten("system down").ok();
    s.host(&format!(
        "for d in /sys/fs/cgroup/{beside} /sys/fs/cgroup/*/{beside}; do if [ -d $d ]; then rmdir $d; fi; done"
    ))
    .ok();
    s.end();
}
