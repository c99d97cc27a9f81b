//! Containers that use up what they can get: the engine and its other containers stay within bounds, and every command still answers.

use e2e::{Cgroups, Sandbox, wait_until};
use std::fs;

/// With a container of nobody's business.
fn neighbour(images: &[&str]) -> Sandbox {
    let s = Sandbox::with(images);
    s.detached("--name near busybox sh -c 'echo said; exec sleep 10000'");
    s
}

/// Every command that looks at containers answers, for the neighbour and for the attacker. (Each has a minute by the harness.)
#[track_caller]
fn answers(s: &Sandbox, attacker: &str) {
    assert_eq!(s.corten("exec near echo alive").ok(), "alive");
    assert_eq!(s.corten("logs near").ok(), "said");
    let all = s.corten("ps -a --format '{{.Names}}'");
    assert!(all.ok().contains(attacker) && all.ok().contains("near"), "{all}");
    s.corten(&format!("inspect {attacker} near")).ok();
    s.corten(&format!("top {attacker}")).ok();
    s.corten(&format!("stats --no-stream {attacker} near")).ok();
    s.corten(&format!("logs -n 1 {attacker}")).ok();
    s.corten("system df").ok();
}

/// What a container's monitor has for itself, in KiB.
#[track_caller]
fn memory_of_monitor(s: &Sandbox, name: &str) -> u64 {
    field(&parent(s, name), "RssAnon:").parse().expect("a number")
}

/// The pid of a container's monitor.
#[track_caller]
fn parent(s: &Sandbox, name: &str) -> String {
    field(&s.inspect(name, "{{.State.Pid}}"), "PPid:")
}

/// A line of a process' status.
#[track_caller]
fn field(pid: &str, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is told");
    line.trim_end_matches("kB").trim().to_owned()
}

/// More than a monitor ever needs.
const ENOUGH: u64 = 8 * 1024;

#[track_caller]
fn ends(s: &Sandbox, names: &str) {
    s.corten(&format!("rm -f {names} near")).ok();
}

#[test]
fn fork_bomb() {
    let s = neighbour(&["busybox"]);
    s.detached(
        "--name bomb --pids-limit 40 busybox sh -c 'f() { f | f & }; while true; do f; sleep 1; done'",
    );
    let pids = || s.cgroup("bomb", "pids.current").parse::<u32>().expect("a number");
    wait_until("the bomb", 30, || pids() >= 39);
    answers(&s, "bomb");
    assert!(pids() <= 41, "{}", pids());
    s.corten("stop -t 0 bomb").ok();
    ends(&s, "bomb");
    s.end();
}

#[test]
fn memory_bomb() {
    let s = neighbour(&["busybox"]);
    let bomb = "x=0123456789abcdef; while true; do x=$x$x; done";
    let ended = s.corten(&format!("run --name bomb --memory 24m --memory-swap 24m busybox sh -c '{bomb}'"));
    ended.exits(137);
    assert_eq!(s.inspect("bomb", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(s.corten("exec near echo alive").ok(), "alive");
    ends(&s, "bomb");
    s.end();
}

#[test]
fn log_flood() {
    let s = neighbour(&["busybox"]);
    let options = "--log-opt max-size=256k --log-opt max-file=2";
    s.detached(&format!("--name flood {options} busybox yes 0123456789012345678901234567890123456789"));
    let directory = s.directory("flood");
    let sizes = || -> Vec<u64> {
        let logs = fs::read_dir(&directory).expect("it is there").flatten();
        let logs = logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("log"));
        logs.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
    };
    wait_until("a second file", 30, || sizes().len() > 1);
    for _ in 0..5 {
        answers(&s, "flood");
        let total: u64 = sizes().iter().sum();
        assert!(total < 3 * 256 * 1024, "{:?}", sizes());
        assert!(memory_of_monitor(&s, "flood") < ENOUGH);
    }
    s.corten("stop -t 0 flood").ok();
    ends(&s, "flood");
    s.end();
}

/// The name server in its network is all that a container can reach of its monitor.
#[test]
fn connections_to_the_monitor() {
    let s = neighbour(&["busybox"]);
    s.corten("network create crowd").ok();
    s.detached("--name crowd --network crowd busybox sh -c 'for i in $(seq 100); do tail -f /dev/null | nc 127.0.0.11 53 & done; wait'");
    s.detached("--name other --network crowd busybox sleep 10000");
    let pids = || s.cgroup("crowd", "cgroup.procs").lines().count();
    wait_until("the crowd", 30, || pids() >= 100);
    for _ in 0..3 {
        answers(&s, "crowd");
        assert!(memory_of_monitor(&s, "crowd") < ENOUGH);
    }
    // Whoever else is in that network finds names as ever.
    s.corten("exec other nslookup crowd").ok();
    s.corten("stop -t 0 crowd").ok();
    assert_eq!(s.inspect("crowd", "{{.State.Status}}"), "exited");
    ends(&s, "crowd other");
    s.corten("network rm crowd").ok();
    s.end();
}

/// As many descriptors as there are, and as many connections to its monitor as it has descriptors for.
#[test]
fn descriptors_without_end() {
    let s = neighbour(&["busybox"]);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/attacks/hoard.c");
    s.host(&format!("cc -static -O1 -o hoard {source}")).ok();
    s.corten("network create crowd").ok();
    let limits = "--ulimit nofile=2000 --pids-limit 12";
    s.detached(&format!(
        "--name hoard --network crowd {limits} -v ./hoard:/hoard:ro busybox sh -c 'while :; do /hoard 10; done'"
    ));
    s.detached("--name other --network crowd busybox sleep 10000");
    wait_until("the descriptors", 30, || s.corten("logs hoard").stdout == "all taken, connected\n");
    let monitor = parent(&s, "hoard");
    for _ in 0..3 {
        answers(&s, "hoard");
        let held = fs::read_dir(format!("/proc/{monitor}/fd")).expect("it runs").count();
        assert!(held < 64, "the monitor has {held}");
        assert!(memory_of_monitor(&s, "hoard") < ENOUGH);
    }
    // It has two processes more at most; a further program is refused or runs, and says so.
    let more = s.corten("exec hoard echo alive");
    assert!(more.stdout == "alive\n" || more.stderr.lines().count() == 1, "{more}");
    s.corten("exec other nslookup hoard").ok();
    s.corten("stop -t 0 hoard").ok();
    ends(&s, "hoard other");
    s.corten("network rm crowd").ok();
    s.end();
}

/// The data root is full to the last byte.
#[test]
fn full_disk() {
    let s = Sandbox::new();
    let root = s.scope.root.display().to_string();
    s.host(&format!(
        "truncate -s 48M disk && mkfs.ext4 -q -O ^has_journal disk && mkdir -p {root} && mount -o loop disk {root}"
    ))
    .ok();
    s.corten(&format!("load -q -i {}", e2e::images::image("busybox.tar").display())).ok();
    s.detached("--name near busybox sh -c 'echo said; exec sleep 10000'");
    s.corten("create --name still busybox true").ok();
    let fill = "cat /dev/zero >/big; cat /dev/zero >/more; while true; do echo line; sleep 0.1; done";
    s.detached(&format!("--name hog busybox sh -c '{fill}'"));
    wait_until("a full disk", 60, || {
        s.host(&format!("df --output=avail {root} | tail -1")).stdout.trim() == "0"
    });
    answers(&s, "hog");
    // What needs space says so in one line, and leaves nothing.
    let before = s.corten("ps -aq").ok().lines().count();
    for line in ["create --name more busybox true", "run --name more busybox true"] {
        let output = s.corten(line);
        assert!(output.code != 0 || s.corten("rm -f more").code == 0, "{output}");
        if output.code != 0 {
            assert!(output.stderr.to_lowercase().contains("space"), "{output}");
            assert_eq!(output.stderr.lines().filter(|l| !l.starts_with("  ")).count(), 1, "{output}");
        }
    }
    assert_eq!(s.corten("ps -aq").ok().lines().count(), before);
    s.corten("stop -t 0 hog").ok();
    s.corten("rm hog").ok();
    // There is space again.
    s.corten("run --rm busybox true").ok();
    s.corten("start still").ok();
    assert!(s.corten("system check").ok().ends_with(": no faults"));
    s.corten("rm -f near still").ok();
    s.corten("system down").ok();
    s.host(&format!("umount {root} && rm disk")).ok();
    s.end();
}

/// Many files: nothing but `diff` and the removal looks at them. `CORTEN_TEST_FILES` says how many.
#[test]
fn many_files() {
    let s = neighbour(&["busybox"]);
    let many: usize = std::env::var("CORTEN_TEST_FILES").ok().and_then(|v| v.parse().ok()).unwrap_or(10_000);
    s.detached(&format!(
        "--name files busybox sh -c 'mkdir /f; cd /f; seq {many} | xargs touch; echo done; sleep 10000'"
    ));
    e2e::wait_until("the files", 600, || s.corten("logs files").stdout == "done\n");
    answers(&s, "files");
    assert_eq!(s.corten("diff files").ok().lines().count(), many + 1);
    ends(&s, "files");
    s.end();
}

#[test]
fn a_first_process_that_ignores_everything() {
    let s = neighbour(&["busybox"]);
    let deaf =
        "for n in $(seq 31); do trap \"\" $n 2>/dev/null; done; echo deaf; while true; do sleep 1000; done";
    s.detached(&format!("--name deaf busybox sh -c '{deaf}'"));
    wait_until("deafness", 20, || s.corten("logs deaf").stdout == "deaf\n");
    for signal in ["TERM", "HUP", "INT", "QUIT", "USR1", "STOP", "RTMAX"] {
        s.corten(&format!("kill -s {signal} deaf")).ok();
    }
    answers(&s, "deaf");
    s.corten("stop -t 1 deaf").ok();
    assert_eq!(s.inspect("deaf", "{{.State.ExitCode}}"), "137");
    ends(&s, "deaf");
    s.end();
}

/// Its processes do not even die when they are killed: they are frozen, and the engine was not told.
#[test]
fn processes_that_cannot_be_killed() {
    let s = neighbour(&["busybox"]);
    for end in ["stop -t 1 ice", "kill ice", "rm -f ice"] {
        s.detached("--name ice busybox sleep 10000");
        s.corten("pause ice").ok();
        let id = s.inspect("ice", "{{.Id}}");
        fs::remove_file(s.scope.state.join(id).join("paused")).expect("it is there");
        answers(&s, "ice");
        s.corten(end).ok();
        if !end.starts_with("rm") {
            assert_eq!(s.inspect("ice", "{{.State.Status}}"), "exited");
            s.corten("rm ice").ok();
        }
    }
    s.detached("--name ice busybox sleep 10000");
    s.corten("pause ice").ok();
    let id = s.inspect("ice", "{{.Id}}");
    fs::remove_file(s.scope.state.join(id).join("paused")).expect("it is there");
    assert!(s.corten("system check").exits(1).contains("standing still"));
    s.corten("system check --repair").ok();
    assert_eq!(s.corten("exec ice echo alive").ok(), "alive");
    ends(&s, "ice");
    s.end();
}

/// A file system that does not answer, as one on a broken disk or of another machine. Whatever becomes of the test, it goes on.
struct Stalled<'a>(&'a Sandbox);

impl Stalled<'_> {
    fn new(s: &Sandbox) -> Stalled<'_> {
        s.host("fsfreeze -f disk.mounted").ok();
        Stalled(s)
    }
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        let _ =
            std::process::Command::new("fsfreeze").arg("-u").arg(self.0.dir.join("disk.mounted")).status();
    }
}

/// Processes that wait for a disk, and take no signal meanwhile (state D).
#[test]
fn processes_in_uninterruptible_sleep() {
    let s = neighbour(&["busybox"]);
    s.host(
        "truncate -s 16M disk && mkfs.ext4 -q disk && mkdir disk.mounted && mount -o loop disk disk.mounted",
    )
    .ok();
    let write = |name: &str| format!("while echo x >/d/{name}; do :; done");
    // The first process itself, and one of its children.
    let names = ["first", "second", "third", "fourth"];
    for name in names {
        let script = if name == "first" { write(name) } else { format!("{} & wait", write(name)) };
        s.detached(&format!("--name {name} -v ./disk.mounted:/d busybox sh -c 'echo said; {script}'"));
    }
    let stalled = Stalled::new(&s);
    for name in names {
        let waits = |pid: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State:\tD")
        };
        wait_until(name, 30, || s.cgroup(name, "cgroup.procs").lines().any(waits));
        assert_eq!(s.corten(&format!("exec {name} echo alive")).ok(), "alive");
    }
    // Whoever ends them hears of it, and does not wait for ever; others are answered meanwhile.
    let lines = ["stop -t 0 first", "kill second", "rm -f third", "restart -t 0 fourth"];
    let ending = lines.map(|line| s.start(line));
    answers(&s, "second");
    for ending in ending {
        let said = ending.wait();
        said.fails(1, &["was killed but does not end: its process", "(sh", "waits in the kernel"]);
    }
    answers(&s, "first");
    for name in names {
        assert_eq!(s.inspect(name, "{{.State.Status}}"), "running");
        // Its first process is on its way out: nobody can come in any more, where it was not that one which waits.
        let further = s.corten(&format!("exec {name} true"));
        assert!(further.code == 0 || further.stderr.lines().count() == 1, "{further}");
    }
    let said = s.corten("system check");
    assert_eq!(said.code, 1, "{said}");
    for name in names {
        assert!(said.stdout.contains(&format!("container {name}: was killed, but its process")), "{said}");
    }
    // When the disk answers, all of them end.
    drop(stalled);
    assert!(s.corten("system check").ok().ends_with(": no faults"));
    for name in names {
        wait_until(name, 20, || s.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137");
    }
    ends(&s, &names.join(" "));
    s.host("umount disk.mounted && rm disk").ok();
    s.end();
}

/// Nobody reads what a container writes, and it does not read what it is given.
#[test]
fn streams_that_nobody_reads() {
    let s = neighbour(&["busybox"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = s.command("run -i --name mute busybox sh -c 'yes 0123456789'");
    let zero = fs::File::open("/dev/zero").expect("it is there");
    let mut running =
        command.stdin(zero).stdout(writer).stderr(std::process::Stdio::null()).spawn().expect("it starts");
    drop(command);
    wait_until("the container", 20, || s.corten("inspect -f '{{.State.Status}}' mute").stdout == "running\n");
    for _ in 0..3 {
        answers(&s, "mute");
        assert!(memory_of_monitor(&s, "mute") < ENOUGH);
    }
    // Another reads it meanwhile, from its log.
    assert!(s.corten("logs -n 2 mute").ok().starts_with("0123456789"));
    s.corten("stop -t 0 mute").ok();
    assert_eq!(s.inspect("mute", "{{.State.Status}}"), "exited");
    drop(reader);
    wait_until("the command's end", 20, || running.try_wait().expect("ours").is_some());
    ends(&s, "mute");
    s.end();
}

/// Whatever kind of groups there is, the limits above were those of the container and not of the engine.
#[test]
fn the_monitor_is_outside_of_its_container() {
    let s = neighbour(&["busybox"]);
    let pid = s.inspect("near", "{{.State.Pid}}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:")).expect("told").trim().to_owned();
    let group = fs::read_to_string(format!("/proc/{parent}/cgroup")).expect("it runs");
    let id = s.inspect("near", "{{.Id}}");
    assert!(!group.contains(&id), "{group}");
    if Sandbox::cgroups() == Cgroups::V2 {
        assert!(group.contains("/monitors"), "{group}");
    }
    s.corten("rm -f near").ok();
    s.end();
}
