//! `corten ps` and `corten inspect`: the tables and templates that fingers and scripts know.

use e2e::{Sandbox, wait_until};

#[test]
fn the_table() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("ps").ok(), "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES");
    let id = s.detached("--name box busybox sleep 100 1 1 1 1 1 1 1");
    s.corten("run --name old busybox sh -c 'exit 3'").exits(3);
    let table = s.corten("ps");
    let line = table.ok().lines().nth(1).unwrap_or_default();
    assert!(line.starts_with(&format!("{}   busybox   \"sleep 100 1 1 1 1 1…\"   ", &id[..12])), "{table}");
    assert!(line.contains("Up ") && line.ends_with("box"), "{table}");
    assert_eq!(table.ok().lines().count(), 2, "{table}");
    let all = s.corten("ps -a");
    assert!(all.ok().contains("Exited (3) ") && all.ok().contains(" ago"), "{all}");
    assert_eq!(all.ok().lines().count(), 3, "{all}");
    assert!(s.corten("ps --no-trunc").ok().contains(&id));
    s.corten("rm -f box old").ok();
    s.end();
}

#[test]
fn ids_filters_and_formats() {
    let s = Sandbox::with(&["busybox"]);
    let one = s.detached("--name one -l colour=red busybox sleep 100");
    s.corten("run --name two -l colour=blue busybox sh -c 'exit 2'").exits(2);
    assert_eq!(s.corten("ps -q").ok(), &one[..12]);
    assert_eq!(s.corten("ps -q --no-trunc").ok(), one);
    let names =
        |flags: &str| s.corten(&format!("ps -a --format '{{{{.Names}}}}' {flags}")).ok().replace('\n', " ");
    assert_eq!(names(""), "two one", "the newest first");
    assert_eq!(names("-f name=on"), "one");
    assert_eq!(names("-f 'name=^(one|two)$'"), "two one", "a name is a regular expression");
    assert_eq!(names("-f 'name=^/t.o$'"), "two");
    assert_eq!(names("-f name=two*"), "two");
    assert_eq!(names("-f status=exited"), "two");
    assert_eq!(names("-f status=running"), "one");
    assert_eq!(names("-f label=colour=red"), "one");
    assert_eq!(names("-f label=colour"), "two one");
    assert_eq!(names("-f exited=2"), "two");
    assert_eq!(names("-f ancestor=busybox -f name=two"), "two");
    assert_eq!(names(&format!("-f id={}", &one[..8])), "one");
    let json: serde_json::Value =
        serde_json::from_str(s.corten("ps --format json").ok()).expect("a JSON object a line");
    assert_eq!((json["Names"].as_str(), json["State"].as_str()), (Some("one"), Some("running")));
    assert_eq!(
        s.corten("ps --format 'table {{.Names}}\\t{{.Image}}'").ok(),
        "NAMES     IMAGE\none       busybox"
    );
    s.corten("ps -f bogus=1").fails(125, &["bogus"]);
    s.corten("ps -f 'name=o('").fails(125, &["name=o("]);
    s.corten("ps --format '{{.Nosuch'").fails(1, &["template"]);
    s.corten("rm -f one two").ok();
    s.end();
}

#[test]
fn inspect() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.detached("--name box -p 8080:80 -e A=b -w /tmp -m 64m busybox sleep 100");
    let whole = s.corten("inspect box");
    let whole: serde_json::Value = serde_json::from_str(whole.ok()).expect("JSON");
    let c = &whole[0];
    assert_eq!(c["Id"], id.as_str());
    // Who frees a port of this machine looks for it, not for the container's own.
    assert_eq!(s.corten("ps -q -f publish=8080").ok(), &id[..12]);
    assert_eq!(s.corten("ps -q -f publish=8000-8100/tcp").ok(), &id[..12]);
    assert_eq!(s.corten("ps -q -f publish=80").ok(), "");
    // Docker's structures write abbreviations in capitals, its JSON does not; templates have both.
    assert_eq!(s.inspect("box", "{{.ID}} {{.HostConfig.CPUShares}}"), format!("{id} 0"));
    assert_eq!(s.inspect("box", "{{(index .NetworkSettings.Ports \"80/tcp\" 0).HostIP}}"), "0.0.0.0");
    assert_eq!(c["Name"], "/box");
    assert_eq!(c["Path"], "sleep");
    assert_eq!(c["Args"], serde_json::json!(["100"]));
    assert_eq!(c["State"]["Status"], "running");
    assert_eq!(c["State"]["Running"], true);
    assert!(c["State"]["Pid"].as_u64().is_some_and(|pid| pid > 1));
    assert_eq!(c["Config"]["WorkingDir"], "/tmp");
    assert_eq!(c["HostConfig"]["Memory"], 64 << 20);
    let layers = s.inspect("box", "{{.GraphDriver.Data.LowerDir}}");
    assert!(layers.split(':').all(|l| std::path::Path::new(l).is_dir()), "{layers}");
    let upper = s.inspect("box", "{{.GraphDriver.Data.UpperDir}}");
    s.corten("exec box touch /tmp/new").ok();
    assert!(std::path::Path::new(&upper).join("tmp/new").exists(), "{upper}");
    assert_eq!(s.inspect("box box", "{{.Name}}"), "/box\n/box");
    s.corten("inspect nosuch").exits(1);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn what_died_with_its_monitor_is_told_as_dead() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let pid: i32 = s.inspect("box", "{{.State.Pid}}").parse().expect("a pid");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
    let monitor = stat
        .lines()
        .find_map(|l| l.strip_prefix("PPid:"))
        .and_then(|p| p.trim().parse().ok())
        .expect("a parent");
    let kill = |pid: i32| {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).expect("not 0"),
            rustix::process::Signal::KILL,
        )
    };
    kill(monitor).expect("the monitor runs");
    let _ = kill(pid);
    wait_until("the state to be told right", 10, || s.corten("ps -q").stdout.is_empty());
    s.corten("ps -a").ok();
    s.corten("rm -f box").ok();
    s.end();
}
