//! `events`: what is told of, in Docker's words, from the journal and live.

use e2e::{Sandbox, wait_until};
use rustix::process::Signal;

/// What has happened so far, by a template, a line each.
fn past(s: &Sandbox, filters: &str, template: &str) -> Vec<String> {
    let output = s.corten(&format!("events --since 1h --until 0s {filters} --format '{template}'"));
    output.ok().lines().map(str::to_owned).collect()
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[test]
fn the_life_of_a_container() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.detached("--name box --network net -v data:/data -l role=test busybox sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.05; done'");
    s.corten("exec box true").ok();
    s.corten("pause box").ok();
    s.corten("unpause box").ok();
    s.corten("top box").ok();
    s.corten("cp box:/etc/passwd copy").ok();
    s.corten("cp copy box:/tmp/copy").ok();
    s.corten("export -o all.tar box").ok();
    s.corten("rename box other").ok();
    s.corten("update --pids-limit 50 other").ok();
    s.corten("restart other").ok();
    s.corten("kill other").ok();
    s.corten("rm -v other").ok();
    let actions = past(&s, "-f type=container", "{{.Action}}");
    let life = [
        "create",
        "start",
        "exec_create: true",
        "exec_start: true",
        "exec_die",
        "pause",
        "unpause",
        "top",
        "archive-path",
        "extract-to-dir",
        "export",
        "rename",
        "update",
        "kill",
        "die",
        "stop",
        "start",
        "restart",
        "kill",
        "die",
        "destroy",
    ];
    assert_eq!(actions, life);
    let of = |event: &str, what: &str| {
        past(
            &s,
            &format!("-f event={event} -f label=role=test"),
            &format!("{{{{.Actor.Attributes.{what}}}}}"),
        )
    };
    assert_eq!(of("die", "exitCode"), ["3", "137"]);
    assert_eq!(of("kill", "signal"), ["15", "9"]);
    assert_eq!(of("rename", "oldName"), ["/box"]);
    assert_eq!(of("exec_die", "exitCode"), ["0"]);
    assert_eq!(of("destroy", "name"), ["other"]);
    assert_eq!(past(&s, "-f volume=data", "{{.Action}}"), ["create", "mount", "unmount", "mount", "unmount"]);
    let net = ["create", "connect", "disconnect", "connect", "disconnect"];
    assert_eq!(past(&s, "-f network=net", "{{.Action}}"), net);
    // Docker's two forms.
    let text = s.corten("events --since 1h --until 0s -f event=create -f type=container");
    let (time, rest) = text.ok().split_once(' ').expect("words");
    assert_eq!(time.len(), "2026-11-24T08:15:00.000000000Z".len() + if time.ends_with('Z') { 0 } else { 5 });
    let id = first_word(rest.strip_prefix("container create ").expect("type and action"));
    assert_eq!(id.len(), 64, "{rest}");
    assert!(rest.contains(" (image=busybox, ") && rest.contains(", name=box, "), "{rest}");
    assert!(rest.ends_with(", role=test)"), "{rest}");
    let json = s.corten("events --since 1h --until 0s -f event=die -f container=other --format json");
    let first: serde_json::Value =
        serde_json::from_str(json.ok().lines().next().expect("a line")).expect("JSON");
    assert_eq!((first["status"].as_str(), first["Type"].as_str()), (Some("die"), Some("container")));
    assert_eq!(first["Actor"]["Attributes"]["exitCode"], "3");
    assert_eq!(first["time"].as_u64(), first["timeNano"].as_u64().map(|nanos| nanos / 1_000_000_000));
    s.corten("network rm net").ok();
    s.corten("volume rm data").ok();
    s.end();
}

/// Whoever has typed the command is gone by then.
#[test]
fn the_end_of_what_was_left_alone() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --network none busybox sh -c 'trap exit TERM; while :; do sleep 0.1; done'");
    let ends = |how: &str| {
        past(&s, "-f event=exec_die", "{{.Actor.Attributes.exitCode}} {{.Actor.Attributes.execID}}")
            .into_iter()
            .filter(|end| end.starts_with(how))
            .count()
    };
    s.corten("exec -d box sh -c 'exit 7'").ok();
    wait_until("its end", 20, || ends("7 ") == 1);
    // Each says whose end it is.
    let ids = past(&s, "-f event=exec_die", "{{.Actor.Attributes.execID}}");
    let started = past(&s, "-f container=box", "{{.Action}} {{.Actor.Attributes.execID}}")
        .into_iter()
        .find_map(|line| line.strip_prefix("exec_start: sh -c exit 7 ").map(str::to_owned));
    assert!(started.is_some_and(|id| id.len() == 64 && ids.contains(&id)), "{ids:?}");
    s.corten("exec -d box /no/such").fails(127, &["/no/such"]);
    s.corten("exec -d box /etc/passwd").fails(126, &["permission denied"]);
    assert_eq!(ends(""), 1);
    // It goes with the container, and is told before it.
    s.corten("exec -d box sleep 1000").ok();
    s.corten("rename box other").ok();
    s.corten("rm -f other").ok();
    let last = past(&s, "-f event=exec_die -f event=die", "{{.Action}} {{.Actor.Attributes.exitCode}}");
    assert_eq!(last, ["exec_die 7", "exec_die 137", "die 137"]);
    assert_eq!(past(&s, "-f event=exec_die", "{{.Actor.Attributes.name}}"), ["box", "other"]);
    s.end();
}

#[test]
fn who_comes_to_a_terminal_and_leaves_it() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -dit --name box busybox sh").ok();
    let mut terminal = s.pty("attach box");
    terminal.expect("#");
    terminal.resize(31, 97);
    wait_until("the new size", 20, || {
        !past(&s, "-f event=resize", "{{.Action}}").is_empty()
            && past(&s, "-f event=resize", "{{.Actor.Attributes.height}}x{{.Actor.Attributes.width}}")
                .contains(&"31x97".to_owned())
    });
    terminal.send("\x10\x11");
    assert_eq!(terminal.wait().code, 0);
    let actions = past(&s, "-f container=box -f event=attach -f event=detach", "{{.Action}}");
    assert_eq!(actions, ["attach", "detach"]);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn who_was_renamed_goes_with_the_new_name() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--rm --name box busybox sleep 1000");
    s.corten("rename box other").ok();
    s.corten("kill other").ok();
    wait_until("its removal", 20, || s.corten("ps -aq").ok().is_empty());
    assert_eq!(past(&s, "-f event=die -f event=destroy", "{{.Actor.Attributes.name}}"), ["other", "other"]);
    s.detached("--rm --name other busybox sleep 1000");
    s.corten("kill other").ok();
    wait_until("its removal", 20, || s.corten("ps -aq").ok().is_empty());
    s.end();
}

#[test]
fn images_networks_and_volumes() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("tag busybox other:1").ok();
    s.corten("save -o image.tar other:1").ok();
    s.corten("rmi other:1").ok();
    s.corten("create --name base busybox true").ok();
    s.corten("commit base made").ok();
    s.corten("volume create one").ok();
    s.corten("volume rm one").ok();
    s.corten("network create net").ok();
    s.corten("network rm net").ok();
    s.corten("rm base").ok();
    assert_eq!(past(&s, "-f type=image", "{{.Action}}"), ["load", "tag", "save", "untag"]);
    assert_eq!(past(&s, "-f image=other", "{{.Action}}"), ["tag", "save", "untag"]);
    assert_eq!(past(&s, "-f volume=one", "{{.Action}} {{.Type}}"), ["create volume", "destroy volume"]);
    assert_eq!(
        past(&s, "-f network=net", "{{.Action}} {{.Actor.Attributes.type}}"),
        ["create bridge", "destroy bridge"]
    );
    assert_eq!(past(&s, "-f event=commit", "{{.Actor.Attributes.imageRef}}").len(), 1);
    s.corten("events --filter color=red").fails(125, &["color"]);
    s.corten("events --since soon").fails(1, &["soon"]);
    s.end();
}

#[test]
fn events_are_followed() {
    let s = Sandbox::with(&["busybox"]);
    let following = s.start("events -f container=box --format '{{.Action}} {{.Actor.Attributes.exitCode}}'");
    let check = "--health-cmd true --health-interval 50ms";
    // Told from now on: some container has to come until it listens.
    wait_until("the first event", 30, || {
        s.corten("create --name box busybox true").ok();
        s.corten("rm box").ok();
        following.stdout().contains("destroy")
    });
    s.detached(&format!("--name box {check} busybox sleep 1000"));
    following.expect("health_status: healthy");
    s.corten("kill box").ok();
    following.expect("die 137");
    s.corten("rm box").ok();
    // Without an end it would be waited for.
    assert_eq!(s.corten("events --until 1h --since 2h -f event=nothing").ok(), "");
    following.signal(Signal::TERM);
    following.wait();
    s.end();
}

#[test]
fn a_name_that_is_nearly_right_is_named() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name nginx busybox true").ok();
    s.corten("stop ngnix").fails(1, &["No such container: ngnix", "did you mean 'nginx'?"]);
    s.corten("rm apache").fails(1, &["No such container: apache"]);
    assert!(!s.corten("rm apache").stderr.contains("did you mean"));
    s.corten("volume create database").ok();
    s.corten("network create backend").ok();
    s.corten("volume rm databse").fails(1, &["no such volume: databse (did you mean 'database'?)"]);
    s.corten("network rm backed").fails(1, &["backed", "did you mean 'backend'?"]);
    s.corten("run --network backed busybox true").fails(125, &["did you mean 'backend'?"]);
    s.corten("rmi busybx").fails(1, &["did you mean 'busybox:latest'?"]);
    s.corten("run --pull never busybx true").fails(125, &["did you mean 'busybox:latest'?"]);
    for (line, near) in [
        ("inspect databse", "Error: No such object: databse (did you mean 'database'?)"),
        ("image inspect busybx:latest", "No such image: busybx:latest (did you mean 'busybox:latest'?)"),
        ("volume inspect databse", "no such volume: databse (did you mean 'database'?)"),
        ("network inspect backed", "network backed not found (did you mean 'backend'?)"),
    ] {
        let said = s.corten(line);
        assert!(said.code == 1 && said.stderr.contains(near), "{said}");
    }
    s.corten("volume rm database").ok();
    s.corten("network rm backend").ok();
    assert_eq!(s.corten("rm -f ngnix").code, 0, "rm -f does not mind who is not there");
    s.corten("rm nginx").ok();
    s.end();
}
