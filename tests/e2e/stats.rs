//! `corten stats`, and what `inspect` tells of how a container came to be.

use e2e::{Sandbox, wait_until};

#[test]
fn stats_tell_what_is_used() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name busy -m 64m busybox sh -c 'while :; do :; done'");
    s.detached("--name idle busybox sleep 100");
    let table = s.corten("stats --no-stream");
    let head = table.ok().lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(head, "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS");
    assert_eq!(table.ok().lines().count(), 3, "{table}");
    let cpu = |name: &str| -> f64 {
        let text = s.corten(&format!("stats --no-stream --format '{{{{.CPUPerc}}}}' {name}"));
        text.ok().trim_end_matches('%').parse().expect("percent")
    };
    wait_until("load to be seen", 20, || cpu("busy") > 20.0);
    assert!(cpu("idle") < 10.0);
    let line = s.corten("stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' busy");
    assert!(line.ok().ends_with("/ 64MiB 1"), "{line}");
    s.corten("exec busy dd if=/dev/zero of=/dev/shm/x bs=1M count=20").ok();
    let json: serde_json::Value =
        serde_json::from_str(s.corten("stats --no-stream --format json busy").ok()).expect("JSON");
    let percent: f64 =
        json["MemPerc"].as_str().and_then(|p| p.trim_end_matches('%').parse().ok()).expect("percent");
    assert!(percent > 30.0, "{json}");
    let verbose = s.corten("stats --no-stream --verbose busy");
    assert!(verbose.ok().contains("HEADROOM") && verbose.ok().contains("ANON"), "{verbose}");
    s.corten("stop -t 0 idle").ok();
    assert_eq!(s.corten("stats --no-stream").ok().lines().count(), 2);
    let all = s.corten("stats --no-stream -a --format '{{.Name}} {{.MemUsage}}'");
    assert!(all.ok().lines().any(|l| l == "idle 0B / 0B"), "{all}");
    s.corten("stats --no-stream nosuch").fails(1, &["nosuch"]);
    s.corten("rm -f busy idle").ok();
    s.end();
}

#[test]
fn stats_go_on() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let live = s.start("stats --format '{{.Name}} {{.PIDs}}'");
    live.expect("box 1\nbox 1");
    s.host(&format!("kill {}", live.pid())).ok();
    assert_eq!(live.wait().code, 143);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn the_command_that_made_a_container() {
    let s = Sandbox::with(&["busybox"]);
    let line = "-e 'A=two words' --restart on-failure:3 -m 64m -v data:/d:ro -p 127.0.0.1:8080:80 --label x=$y busybox sh -c 'echo \"$A\"'";
    s.corten(&format!("run -d --name box {line}")).ok();
    s.corten("wait box").ok();
    let again = s.corten("inspect --as-run box");
    s.corten("rm box").ok();
    let again = again.ok().strip_prefix("corten ").expect("the program").to_string();
    s.corten(&again).ok();
    s.corten("wait box").ok();
    assert_eq!(s.corten("logs box").ok(), "two words");
    let compose = s.corten("inspect --as-compose box");
    for part in [
        "  \"box\":\n    container_name: \"box\"\n    image: \"busybox\"\n",
        "    restart: \"on-failure:3\"\n",
        "    mem_limit: 67108864\n",
        "      - \"A=two words\"\n",
        "      - \"data:/d:ro\"\n",
        "      - \"127.0.0.1:8080:80/tcp\"\n",
        "      \"x\": \"$$y\"\n",
        "volumes:\n  \"data\":\n    external: true",
    ] {
        assert!(compose.ok().contains(part), "{part} in {compose}");
    }
    s.corten("inspect --as-run nosuch").fails(1, &["nosuch"]);
    s.corten("rm box").ok();
    s.corten("volume rm data").ok();
    s.end();
}
