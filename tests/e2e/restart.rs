//! What happens after a container's end, and between two lives: restart policies, boot, pause, attach, what a stop says.

use e2e::{Sandbox, wait_until};

#[test]
fn a_container_that_fails_is_started_again() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --restart on-failure:2 busybox sh -c 'echo life >>/lives; exit 3'");
    wait_until("the last life", 20, || s.inspect("box", "{{.State.Status}}") == "exited");
    assert_eq!(s.inspect("box", "{{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}"), "3 on-failure");
    assert_eq!(s.inspect("box", "{{.RestartCount}}"), "2", "a crash loop can be seen after its end");
    assert!(s.corten("why exited box").ok().contains("on-failure, had started it again 2 times"));
    assert_eq!(s.corten("cp box:/lives -").stdout.matches("life").count(), 3, "the first, and two more");
    s.detached("--name good --restart on-failure busybox true");
    assert_eq!(s.corten("wait good").ok(), "0");
    assert_eq!(s.inspect("good", "{{.State.Status}} {{.RestartCount}}"), "exited 0");
    s.corten("run --restart sometimes busybox true").fails(125, &["sometimes"]);
    s.corten("run --rm --restart always busybox true").fails(125, &["--restart", "--rm"]);
    s.corten("start box").ok();
    wait_until("the end of a start of one's own", 20, || s.inspect("box", "{{.State.Status}}") == "exited");
    assert_eq!(s.inspect("box", "{{.RestartCount}}"), "2", "counted anew");
    s.corten("rm box good").ok();
    s.end();
}

#[test]
fn the_pause_between_two_lives_can_be_ended() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -p 8080:80 --restart always busybox false");
    // The pauses grow until one is met.
    wait_until("a pause", 60, || s.corten("ps").ok().contains("Restarting (1) "));
    s.corten("rm box").fails(1, &["box"]);
    assert_eq!(s.corten("stop box").ok(), "box");
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "exited");
    s.corten("start box").ok();
    wait_until("a restart", 20, || s.inspect("box", "{{.RestartCount}}") != "0");
    s.corten("rm -f box").ok();
    s.end();
}

/// Whatever a start that fails was doing, the next one begins where the first did.
#[test]
fn starts_that_fail_within_the_containers_mounts_are_made_up_for() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --restart always busybox sleep 10000");
    // An overlay does not come about without its own directory.
    let work = s.directory("box").join("rw/work");
    let away = s.dir.join("away");
    let first = s.inspect("box", "{{.State.Pid}}");
    s.host(&format!("mv {} {} && kill -9 {first}", work.display(), away.display())).ok();
    wait_until("the third start", 20, || {
        s.inspect("box", "{{.RestartCount}}").parse::<u32>().is_ok_and(|n| n > 2)
    });
    s.host(&format!("mv {} {}", away.display(), work.display())).ok();
    wait_until("a start that succeeds", 60, || s.corten("exec box echo in").stdout == "in\n");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_stop_that_its_policy_cannot_be_told_of_is_an_error() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --restart always busybox sleep 10000");
    let note = s.directory("box").join("stopped");
    std::fs::create_dir(&note).expect("the sandbox is writable");
    for line in ["stop -t 0 box", "kill box"] {
        s.corten(line).fails(1, &["restart policy of 'box'", "/stopped", "is a directory"]);
        assert_eq!(s.inspect("box", "{{.State.Status}}"), "running");
    }
    // What is removed is not started again, whatever is noted.
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn one_that_is_stopped_stays_so_and_one_that_dies_does_not() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --restart unless-stopped -v data:/d busybox sh -c 'echo up; sleep 100'");
    let first = s.inspect("box", "{{.State.Pid}}");
    s.host(&format!("kill -9 {first}")).ok();
    wait_until("the second life", 20, || {
        let now = s.inspect("box", "{{.State.Running}} {{.RestartCount}} {{.State.Pid}}");
        now.starts_with("true 1 ") && !now.ends_with(" 0")
    });
    wait_until("a log that goes on", 20, || s.corten("logs box").ok() == "up\nup");
    assert_eq!(s.corten("exec box echo in").ok(), "in");
    s.corten("kill box").ok();
    assert_eq!(s.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    // After the machine's start it stays stopped; one that always runs does not.
    s.detached("--name always --restart always busybox sleep 100");
    s.corten("stop -t 0 always").ok();
    assert_eq!(s.corten("system boot").ok(), "always");
    assert_eq!(s.corten("ps --format '{{.Names}}'").ok(), "always");
    s.corten("rm -f -v box always").ok();
    s.corten("volume rm data").ok();
    s.end();
}

#[test]
fn the_boot_unit() {
    let s = Sandbox::new();
    let text = s.corten("system boot-unit --print");
    assert!(text.ok().contains("ExecStart=") && text.ok().contains("system boot"), "{text}");
    std::fs::create_dir(s.dir.join("units")).expect("writable");
    s.corten("system boot-unit --dir units").ok();
    s.corten("system boot-unit --dir units").ok();
    let unit = std::fs::read_to_string(s.dir.join("units/multi-user.target.wants/corten-containers.service"));
    assert_eq!(unit.expect("a link to the unit").trim_end(), text.ok());
    s.corten("system boot-unit --dir units --remove").ok();
    assert!(!s.dir.join("units/corten-containers.service").exists());
    s.corten("system boot-unit --dir nosuch").fails(1, &["nosuch"]);
    s.end();
}

#[test]
fn pause() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sh -c 'while :; do echo tick; sleep 0.05; done'");
    wait_until("ticks", 10, || s.corten("logs box").stdout.contains("tick"));
    assert_eq!(s.corten("pause box").ok(), "box");
    assert_eq!(
        s.inspect("box", "{{.State.Status}} {{.State.Paused}} {{.State.Running}}"),
        "paused true true"
    );
    assert!(s.corten("ps -f status=paused").ok().contains(" (Paused)"));
    let ticks = || s.corten("logs box").stdout.lines().count();
    let before = ticks();
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(ticks(), before);
    s.corten("pause box").fails(1, &["already paused"]);
    let info = s.corten("info -f '{{.Containers}} {{.ContainersRunning}} {{.ContainersPaused}} {{.Images}}'");
    assert_eq!(info.ok(), "1 0 1 1");
    assert!(s.corten("info").ok().contains("\n Paused: 1\n"));
    // What scripts ask about the engine.
    let info = s.corten(
        "info -f '{{.Swarm.LocalNodeState}} {{.SecurityOptions}} {{.LoggingDriver}} {{json .Runtimes}}'",
    );
    assert!(
        info.ok()
            .starts_with("inactive [name=seccomp,profile=builtin name=cgroupns name=userns] json-file {")
    );
    s.corten("exec box true").fails(1, &["paused"]);
    s.corten("attach box").fails(1, &["paused"]);
    s.corten("commit box still").ok();
    assert_eq!(ticks(), before, "a commit leaves it paused");
    assert_eq!(s.corten("unpause box").ok(), "box");
    wait_until("more ticks", 10, || ticks() > before);
    s.corten("unpause box").fails(1, &["not paused"]);
    // One that stands still can be ended, and starts anew.
    s.corten("pause box").ok();
    s.corten("stop -t 0 box").ok();
    s.corten("start box").ok();
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "running");
    s.corten("pause box").ok();
    s.corten("rm -f box").ok();
    s.corten("pause nosuch").fails(1, &["nosuch"]);
    s.end();
}

#[test]
fn attach_several_at_once() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -i busybox sh -c 'while read line; do echo got $line; done; echo over; exit 7'");
    let watching = s.start("attach --no-stdin box");
    let mut typing = s.start_fed("attach box");
    // Who comes after a line has not seen it: it is typed until both are there.
    wait_until("both have seen a line", 20, || {
        typing.input("one\n");
        [&typing, &watching].iter().all(|one| one.stdout().contains("got one"))
    });
    s.corten("kill box").ok();
    assert_eq!(watching.wait().code, 137);
    assert_eq!(typing.wait().code, 137);
    s.corten("attach box").fails(1, &["stopped"]);
    s.corten("attach nosuch").fails(1, &["nosuch"]);
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn attach_and_leave_by_keys() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("-it --name box busybox sh");
    let mut one = s.pty("attach --detach-keys ctrl-x,x box");
    // What is typed before it is ready is lost.
    wait_until("the terminal to be raw", 20, || !one.is_sane());
    one.send("echo a$((1+1))b\r");
    one.expect("a2b");
    let mut two = s.pty("attach box");
    wait_until("the terminal to be raw", 20, || !two.is_sane());
    one.send("echo c$((1+1))d\r");
    two.expect("c2d");
    one.send("\u{18}x");
    one.expect("read escape sequence");
    assert_eq!(one.wait().code, 0);
    two.send("\u{10}\u{11}");
    assert_eq!(two.wait().code, 0);
    assert_eq!(s.inspect("box", "{{.State.Running}}"), "true");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_stop_that_waits_says_why() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name deaf busybox sleep 100");
    let stopped = s.corten("stop -t 1 deaf");
    assert!(
        stopped.stderr.contains("'deaf' will not end by SIGTERM") && stopped.stderr.contains("--init"),
        "{stopped}"
    );
    s.detached("--name init --init busybox sleep 100");
    let stopped = s.corten("stop init");
    assert_eq!((stopped.ok(), stopped.stderr.as_str()), ("init", ""));
    assert_eq!(s.inspect("init", "{{.State.ExitCode}}"), "143");
    s.corten("rm deaf init").ok();
    s.end();
}

#[test]
fn wait_for_other_things_than_the_end() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box busybox sleep 100").ok();
    let running = s.start("wait --condition running box");
    let removed = s.start("wait --condition removed box");
    let exit = s.start("wait --condition next-exit box");
    assert_eq!(s.corten("wait --condition created box").ok(), "0");
    s.corten("start box").ok();
    assert_eq!(running.wait().ok(), "0");
    std::thread::sleep(std::time::Duration::from_millis(200));
    s.corten("kill box").ok();
    assert_eq!(exit.wait().ok(), "137");
    s.corten("rm box").ok();
    assert_eq!(removed.wait().ok(), "137");
    s.corten("wait --condition soon box").fails(125, &["soon"]);
    s.end();
}

#[test]
fn limits_and_policy_are_updated_in_place() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -m 64m busybox sleep 100");
    let file = if Sandbox::cgroups() == e2e::Cgroups::V2 { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(s.corten("update -m 32m --pids-limit 50 --restart always box").ok(), "box");
    assert_eq!(s.cgroup("box", file), (32 << 20).to_string());
    assert_eq!(s.cgroup("box", "pids.max"), "50");
    let seen = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(s.inspect("box", seen), format!("{} 50 always", 32 << 20));
    // The policy counts for the life that began without one.
    let first = s.inspect("box", "{{.State.Pid}}");
    s.host(&format!("kill -9 {first}")).ok();
    wait_until("the second life", 20, || {
        s.inspect("box", "{{.State.Status}} {{.RestartCount}}") == "running 1"
    });
    assert_eq!(s.cgroup("box", file), (32 << 20).to_string());
    s.corten("update -m 1k box").fails(1, &["Minimum memory limit"]);
    s.corten("update --restart sometimes box").fails(1, &["sometimes"]);
    s.corten("update box").fails(125, &["flags"]);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_flag_that_is_nearly_right_is_named() {
    let s = Sandbox::new();
    s.corten("run --publsh 80 busybox").fails(125, &["unknown flag: --publsh", "did you mean '--publish'?"]);
    s.corten("ps --xyzzy").fails(125, &["unknown flag: --xyzzy"]);
    s.end();
}
