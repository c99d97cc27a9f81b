//! The life of a container after `run`: logs, exec, stop, kill, wait, start, rm, top.

use e2e::{Sandbox, wait_until};
use rustix::process::Signal;

#[test]
fn logs() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --name box busybox sh -c 'echo one; echo two >&2; echo three; printf four'").ok();
    let logs = s.corten("logs box");
    assert_eq!((logs.ok(), logs.stderr.as_str()), ("one\nthree\nfour", "two\n"));
    assert_eq!(s.corten("logs -n 1 box").ok(), "four");
    let stamped = s.corten("logs -t box");
    let stamp = stamped.ok().split(' ').next().unwrap_or_default();
    assert!(stamp.len() >= 20 && stamp.contains('T') && stamp.ends_with('Z'), "{stamped}");
    assert_eq!(s.corten("logs --since 1h box").ok(), "one\nthree\nfour");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(s.corten("logs --since 1s box").ok(), "");
    s.corten("logs nosuch").exits(1);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn logs_are_followed() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sh -c 'echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last'");
    let following = s.start("logs -f box");
    following.expect("first");
    // The container may end before the word of its exec has come through.
    s.corten("exec box touch /go");
    assert_eq!(following.wait().ok(), "first\nlast");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn exec() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -e A=1 -w /tmp busybox sleep 100");
    assert_eq!(s.corten("exec box echo hello").ok(), "hello");
    assert_eq!(s.corten("exec box pwd").ok(), "/tmp");
    assert_eq!(s.corten("exec -w /etc box pwd").ok(), "/etc");
    assert_eq!(s.corten("exec -e B=2 box sh -c 'echo $A$B'").ok(), "12");
    assert_eq!(s.corten("exec -u user box id -u").ok(), "1000");
    assert_eq!(s.corten_fed("exec -i box cat", "words\n").ok(), "words");
    let output = s.corten("exec box sh -c 'echo out; echo err >&2; exit 9'");
    assert_eq!((output.exits(9), output.stderr.as_str()), ("out", "err\n"));
    s.corten("exec box nosuch").fails(127, &["nosuch"]);
    s.corten("exec box /etc/passwd").fails(126, &["/etc/passwd"]);
    s.corten("exec nosuch true").exits(1);
    // It is confined as the container is.
    let status = s.corten("exec box cat /proc/self/status");
    assert!(
        status.ok().contains("CapEff:\t00000000a80425fb") && status.ok().contains("Seccomp:\t2"),
        "{status}"
    );
    assert!(s.corten("exec box cat /proc/self/cgroup").ok().lines().all(|l| l.ends_with(":/")));
    s.corten("exec -d box touch /tmp/detached").ok();
    wait_until("exec -d", 5, || s.corten("exec box ls /tmp/detached").code == 0);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn exec_ends_with_the_container() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let running = s.start("exec box sh -c 'echo up; sleep 100'");
    running.expect("up");
    s.corten("kill box").ok();
    assert_eq!(running.wait().code, 137);
    s.corten("exec box true").exits(1);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn stop() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name polite busybox sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.05; done'");
    s.detached("--name deaf busybox sleep 100");
    wait_until("the trap", 5, || s.corten("top polite").stdout.contains("sleep 0.05"));
    assert_eq!(s.corten("stop polite").ok(), "polite");
    assert_eq!(s.inspect("polite", "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
    let start = std::time::Instant::now();
    assert_eq!(s.corten("stop -t 1 deaf").ok(), "deaf");
    assert!(start.elapsed().as_millis() >= 900, "it had a second");
    assert_eq!(s.inspect("deaf", "{{.State.ExitCode}}"), "137");
    assert_eq!(s.corten("stop deaf").ok(), "deaf", "one that is stopped may be stopped");
    s.corten("stop nosuch").exits(1);
    s.corten("rm polite deaf").ok();
    s.end();
}

#[test]
fn kill() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sh -c 'trap \"echo got it\" USR1; echo up; while :; do sleep 0.05; done'");
    wait_until("the trap", 5, || s.corten("logs box").stdout.contains("up"));
    assert_eq!(s.corten("kill -s USR1 box").ok(), "box");
    wait_until("the signal", 5, || s.corten("logs box").stdout.contains("got it"));
    s.corten("kill -s SIGNONSENSE box").fails(1, &["SIGNONSENSE"]);
    s.corten("kill -s 9 box").ok();
    assert_eq!(s.corten("wait box").ok(), "137");
    s.corten("kill box").exits(1);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn wait() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name aa busybox sh -c 'sleep 0.5; exit 4'");
    s.detached("--name bb busybox sh -c 'exit 5'");
    assert_eq!(s.corten("wait aa bb").ok(), "4\n5");
    s.corten("wait nosuch").exits(1);
    s.corten("rm aa bb").ok();
    s.end();
}

#[test]
fn start_again() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --name box busybox sh -c 'echo run >>/count; wc -l </count'").ok();
    assert_eq!(s.corten("start box").ok(), "box");
    s.corten("wait box").ok();
    assert_eq!(s.corten("logs box").ok(), "1\n2");
    let attached = s.corten("start -a box");
    assert_eq!(attached.ok(), "3");
    s.corten("rm box").ok();
    s.detached("--name web -p 8080:80 busybox sleep 100");
    s.corten("stop -t 0 web").ok();
    s.corten("start web").ok();
    assert_eq!(s.inspect("web", "{{.State.Status}}"), "running");
    s.corten("start web").ok();
    s.corten("start nosuch").exits(1);
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn rm() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.detached("--name box busybox sleep 100");
    let refused = s.corten("rm box");
    assert!(
        refused.code == 1 && refused.stderr.contains("running") && refused.stderr.contains("box"),
        "{refused}"
    );
    assert_eq!(s.corten("rm -f box").ok(), "box");
    s.corten("rm box").fails(1, &["box"]);
    s.corten("rm -f box").ok();
    assert_eq!(s.corten("ps -aq").ok(), "");
    s.detached("--name box busybox true");
    s.corten(&format!("inspect {id}")).exits(1);
    s.corten("wait box").ok();
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn top() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sh -c 'sleep 77 & sleep 100; true'");
    wait_until("two sleeps", 5, || s.corten("top box").stdout.lines().count() == 4);
    let top = s.corten("top box");
    let header: Vec<&str> = top.ok().lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(header, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert!(top.ok().contains("sleep 77"), "{top}");
    let pid = s.inspect("box", "{{.State.Pid}}");
    assert!(top.ok().lines().any(|l| l.split_whitespace().nth(1) == Some(&pid)), "{top}");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_monitor_that_is_killed_takes_nothing_with_it_that_rm_cannot_find() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -p 8080:80 -m 64m -v /etc:/e:ro busybox sleep 100");
    for (pid, _) in s.processes() {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("a pid");
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_log_that_cannot_be_written_fails_the_start() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.corten("create --name box busybox echo lost").ok().to_owned();
    std::fs::create_dir(s.scope.root.join("containers").join(id).join("log.json")).expect("writable");
    s.corten("start -a box").fails(125, &["cannot open the log", "log.json"]);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn logs_do_not_grow_for_ever() {
    let s = Sandbox::with(&["busybox"]);
    let id = s
        .detached("--name box busybox sh -c 'yes 0123456789012345678901234567890123456789 | head -n 900000'");
    s.corten("wait box").ok();
    let size = s.host(&format!("du -sm {}/containers/{id} | cut -f1", s.scope.root.display()));
    assert!(size.ok().parse::<u32>().is_ok_and(|mib| mib <= 32), "{size}");
    assert!(s.corten("logs -n 1 box").ok().starts_with("0123456789"));
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn what_nothing_uses_is_removed_at_once() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name busy busybox sleep 1000");
    s.corten("create --name idle -v /anonymous busybox true").ok();
    s.corten("network create net").ok();
    s.corten("volume create named").ok();
    s.corten("commit -m more idle made").ok();
    let images = s.corten("images -q").ok().lines().count();
    let asked = s.corten_fed("system prune", "n\n");
    assert_eq!(asked.code, 1, "{asked}");
    let lines = ["WARNING! This will remove:", "  - all stopped containers", "  - all dangling images"];
    assert!(lines.iter().all(|line| asked.stdout.lines().any(|l| l == *line)), "{asked}");
    let told = s.corten("system prune -f --volumes");
    for line in
        ["Deleted Containers:", "Deleted Networks:\nnet\n", "Deleted Volumes:", "Total reclaimed space: "]
    {
        assert!(told.ok().contains(line), "{line}: {told}");
    }
    assert_eq!(s.corten("ps -a --format '{{.Names}}'").ok(), "busy");
    assert_eq!(s.corten("volume ls -q").ok(), "named", "what has a name stays");
    assert_eq!(s.corten("images -q").ok().lines().count(), images, "so do images");
    assert!(s.corten("system prune -f -a").ok().contains("Deleted Images:\n"));
    assert_eq!(s.corten("images --format '{{.Repository}}'").ok(), "busybox", "the one that is used");
    s.corten("system prune -f --volumes --filter until=1h").fails(1, &["until", "--volumes"]);
    s.corten("rm -f busy").ok();
    s.corten("volume rm named").ok();
    s.end();
}

#[test]
fn inspect_knows_all_kinds() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.corten("volume create data").ok();
    s.corten("create --name box busybox true").ok();
    assert_eq!(s.corten("inspect -f '{{.Name}}' box net data").ok(), "/box\nnet\ndata");
    assert_eq!(s.corten("inspect --type network -f '{{.Driver}}' net").ok(), "bridge");
    assert_eq!(s.corten("inspect --type volume -f '{{.Driver}}' data").ok(), "local");
    s.corten("inspect --type volume net").exits(1);
    s.corten("inspect nothing").exits(1);
    s.corten("rename box box").fails(1, &["same name"]);
    s.corten("rm box").ok();
    s.corten("network rm net").ok();
    s.corten("volume rm data").ok();
    s.end();
}

/// The monitors of containers that run are of the build that started them; whoever calls the engine has the next one.
#[test]
fn the_binary_is_exchanged_while_containers_run() {
    let s = Sandbox::with(&["busybox"]);
    let old = s.dir.join("old-corten");
    std::fs::copy(e2e::binary(), &old).expect("the sandbox is writable");
    let start = |line: &str| {
        let command = s.command(&format!("run -d {line}"));
        let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let output = std::process::Command::new(&old).args(command.get_args()).envs(variables).output();
        let output = output.expect("it runs");
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let script = "trap \"exit 5\" TERM; echo words; while :; do sleep 0.1; done";
    start(&format!("--name web -p 8080:80 --health-cmd true --health-interval 1s busybox sh -c '{script}'"));
    start("--name again --restart always --userns host busybox sleep 1");
    std::fs::remove_file(&old).expect("a file that programs run from can be removed");

    assert_eq!(s.corten("exec web echo in").ok(), "in");
    wait_until("a check", 30, || s.inspect("web", "{{.State.Health.Status}}") == "healthy");
    wait_until("a second life", 30, || s.inspect("again", "{{.RestartCount}}") != "0");
    s.corten("network create net").ok();
    // These the monitor does.
    s.corten("network connect net web").ok();
    s.corten("update --publish 8081:81 -m 32m web").ok();
    assert_eq!(s.corten("port web").ok().lines().count(), 2);
    s.corten("pause web").ok();
    s.corten("unpause web").ok();
    assert_eq!(s.corten("logs web").ok(), "words");
    s.corten("stop web again").ok();
    assert_eq!(s.inspect("web", "{{.State.ExitCode}}"), "5");
    s.corten("start web").ok();
    assert_eq!(s.corten("port web").ok().lines().count(), 2);
    s.corten("rm -f web again").ok();
    s.corten("network rm net").ok();
    s.end();
}
