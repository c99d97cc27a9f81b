//! Health checks: what is probed, what is told of it, and what is done about it.

use e2e::{Sandbox, wait_until};

/// A container that is healthy as long as it has a file `/ok`.
const CHECK: &str = "--health-cmd 'echo looked; test -e /ok' --health-interval 100ms --health-retries 2";

fn health(s: &Sandbox, name: &str) -> String {
    s.inspect(name, "{{.State.Health.Status}}")
}

#[test]
fn a_container_is_healthy_or_not() {
    let s = Sandbox::with(&["busybox"]);
    s.detached(&format!("--name box {CHECK} busybox sleep 1000"));
    s.corten("wait --condition unhealthy box").ok();
    wait_until("five probes", 30, || s.inspect("box", "{{len .State.Health.Log}}") == "5");
    let streak: u32 = s.inspect("box", "{{.State.Health.FailingStreak}}").parse().expect("a number");
    assert!(streak >= 2, "{streak}");
    let last = "{{with (index .State.Health.Log 4)}}{{.ExitCode}} {{json .Output}}{{end}}";
    assert_eq!(s.inspect("box", last), r#"1 "looked\n""#);
    assert!(s.corten("ps").ok().contains(" (unhealthy) "));
    assert_eq!(
        s.corten("ps -f health=unhealthy --format '{{.Names}} {{.HealthStatus}}'").ok(),
        "box unhealthy"
    );
    assert_eq!(s.corten("ps -q -f health=healthy -f health=none").ok(), "");
    s.corten("exec box touch /ok").ok();
    assert_eq!(s.corten("wait --condition healthy box").ok(), "0");
    assert!(s.corten("ps").ok().contains(" (healthy) "));
    assert_eq!(s.inspect("box", "{{.State.Health.FailingStreak}}"), "0");
    let config = s.inspect("box", "{{json .Config.Healthcheck}}");
    assert_eq!(
        config,
        r#"{"Test":["CMD-SHELL","echo looked; test -e /ok"],"Interval":100000000,"Retries":2}"#
    );
    // What stands still is not probed, and stays what it was.
    s.corten("pause box").ok();
    assert!(s.corten("ps").ok().contains(" (Paused) "));
    s.corten("unpause box").ok();
    s.corten("kill box").ok();
    assert_eq!(health(&s, "box"), "unhealthy", "who does not run is not healthy");
    s.corten("wait --condition healthy box").fails(1, &["box", "137"]);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn failures_in_the_start_period_do_not_count() {
    let s = Sandbox::with(&["busybox"]);
    let check = "--health-cmd false --health-retries 1 --health-start-interval 50ms --health-start-period 1h";
    s.detached(&format!("--name box {check} --health-interval 1h busybox sleep 1000"));
    wait_until("some probes", 30, || s.inspect("box", "{{len .State.Health.Log}}") == "5");
    assert_eq!(s.inspect("box", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"), "starting 0");
    assert!(s.corten("ps").ok().contains(" (health: starting) "));
    assert_eq!(s.corten("ps -q --no-trunc -f health=starting").ok(), s.inspect("box", "{{.Id}}"));
    s.corten("rm -f box").ok();
    s.detached("--name plain busybox sleep 1000");
    assert_eq!(s.corten("ps --format '{{.Names}}' -f health=none").ok(), "plain");
    assert_eq!(s.inspect("plain", "{{.State.Health}}"), "<nil>");
    s.corten("wait --condition healthy plain").fails(1, &["plain", "no health check"]);
    s.corten("ps -f health=ill").fails(125, &["ill", "unhealthy"]);
    s.corten("rm -f plain").ok();
    s.end();
}

#[test]
fn a_probe_that_takes_too_long_or_writes_too_much() {
    let s = Sandbox::with(&["busybox"]);
    let hangs = "--health-cmd 'echo begun; sleep 1000' --health-interval 50ms --health-timeout 300ms";
    s.detached(&format!("--name hangs {hangs} --health-retries 1 busybox sleep 1000"));
    s.corten("wait --condition unhealthy hangs").ok();
    let first = "{{with (index .State.Health.Log 0)}}{{.ExitCode}} {{.Output}}{{end}}";
    assert_eq!(s.inspect("hangs", first), "-1 Health check exceeded timeout (300ms): begun\n");
    let writes = "--health-cmd 'head -c 100000 /dev/zero | tr \"\\0\" x' --health-interval 50ms";
    s.detached(&format!("--name writes {writes} busybox sleep 1000"));
    s.corten("wait --condition healthy writes").ok();
    let output = s.inspect("writes", "{{(index .State.Health.Log 0).Output}}");
    assert_eq!(output, format!("{}...", "x".repeat(4096)));
    // The image has no such program: that is no health either.
    s.detached("--name none --entrypoint sleep --health-cmd true --health-interval 50ms busybox 1000");
    s.corten("exec none mv /bin/sh /bin/hidden").ok();
    wait_until("a failure", 30, || s.inspect("none", "{{.State.Health.FailingStreak}}") != "0");
    let last = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}|{{end}}";
    assert!(s.inspect("none", last).contains("/bin/sh"), "{}", s.inspect("none", last));
    s.corten("rm -f hangs writes none").ok();
    s.end();
}

#[test]
fn the_image_says_how_and_flags_go_over_it() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name base busybox sleep 1000").ok();
    let change = "HEALTHCHECK --interval=100ms --retries=7 CMD [\"test\",\"-e\",\"/ok\"]";
    s.corten(&format!("commit -c '{change}' base checked")).ok();
    s.detached("--name box checked");
    let seen = "{{join .Config.Healthcheck.Test \" \"}} {{.Config.Healthcheck.Retries}}";
    assert_eq!(s.inspect("box", seen), "CMD test -e /ok 7");
    s.corten("exec box touch /ok").ok();
    s.corten("wait --condition healthy box").ok();
    s.detached("--name other --health-retries 2 checked");
    assert_eq!(s.inspect("other", seen), "CMD test -e /ok 2");
    s.detached("--name off --no-healthcheck checked");
    assert_eq!(
        s.inspect("off", "{{json .Config.Healthcheck}} {{.State.Health}}"),
        r#"{"Test":["NONE"]} <nil>"#
    );
    // A commit of a container keeps what its flags said.
    s.corten("commit other again").ok();
    assert_eq!(s.corten("inspect -f '{{.Config.Healthcheck.Retries}}' again").ok(), "2");
    s.corten("run --no-healthcheck --health-cmd true busybox true").fails(125, &["--no-healthcheck"]);
    s.corten("run --health-interval soon busybox true").fails(125, &["--health-interval", "soon"]);
    s.corten("run --on-unhealthy stop busybox true").fails(125, &["--on-unhealthy", "--health-cmd"]);
    s.corten("rm -f base box other off").ok();
    s.end();
}

#[test]
fn an_unhealthy_container_is_killed_stopped_or_started_again() {
    let s = Sandbox::with(&["busybox"]);
    let ill = "--health-cmd false --health-interval 100ms --health-retries 2";
    s.detached(&format!("--name killed {ill} --on-unhealthy kill busybox sleep 1000"));
    assert_eq!(s.corten("wait killed").ok(), "137");
    assert_eq!(
        s.inspect("killed", "{{.State.Health.Status}} {{.State.Health.FailingStreak}}"),
        "unhealthy 2"
    );
    // The policy does not bring back one that was stopped; the program hears the signal that asks.
    let script = "trap \"exit 7\" USR1; while :; do sleep 0.05; done";
    let stop = "--stop-signal USR1 --restart always --on-unhealthy stop";
    s.detached(&format!("--name stopped {ill} {stop} busybox sh -c '{script}'"));
    assert_eq!(s.corten("wait stopped").ok(), "7");
    assert_eq!(s.inspect("stopped", "{{.State.Status}} {{.RestartCount}}"), "exited 0");
    // Nothing but the health check asks for another life here; the second one is healthy.
    let check = "--health-cmd '[ $(wc -l </lives) = 2 ]' --health-interval 100ms --health-retries 2";
    let again = "--on-unhealthy restart --stop-timeout 0";
    s.detached(&format!("--name again {check} {again} busybox sh -c 'echo life >>/lives; sleep 1000'"));
    wait_until("the second life", 30, || s.inspect("again", "{{.RestartCount}}") == "1");
    s.corten("wait --condition healthy again").ok();
    assert_eq!(s.corten("exec again cat /lives").ok(), "life\nlife");
    s.corten("stop -t 0 again").ok();
    assert_eq!(s.inspect("again", "{{.State.Status}}"), "exited");
    s.corten("rm killed stopped again").ok();
    s.end();
}

#[test]
fn a_probe_ends_with_its_container() {
    let s = Sandbox::with(&["busybox"]);
    // Its processes are the host's: they would go on.
    let check = "--health-cmd 'touch /begun; sleep 1000' --health-interval 50ms";
    s.detached(&format!("--name box --pid host {check} busybox sleep 1000"));
    wait_until("a probe", 30, || s.corten("exec box ls /begun").code == 0);
    s.corten("rm -f box").ok();
    s.end();
}
