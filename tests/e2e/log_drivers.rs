//! Log drivers: where a container's output goes, in which form, how much of it is kept.

use e2e::{Sandbox, wait_until};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

/// Counts to `last`, a line each.
fn counting(last: u32) -> String {
    format!("sh -c 'i=0; while [ $i -lt {last} ]; do i=$((i+1)); echo line $i; done; echo bad >&2'")
}

fn counted(first: u32, last: u32) -> String {
    (first..=last).map(|i| format!("line {i}\n")).collect()
}

#[test]
fn files_take_turns_and_are_compressed() {
    let s = Sandbox::with(&["busybox"]);
    let log = "--log-opt max-size=20k --log-opt max-file=4 --log-opt compress=true";
    s.corten(&format!("run --name box {log} busybox {}", counting(600))).ok();
    let files: Vec<String> = fs::read_dir(s.directory("box"))
        .expect("it is there")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"))
        .filter(|name| name.starts_with("log."))
        .collect();
    assert!(files.iter().any(|name| name.ends_with(".gz")), "{files:?}");
    assert!(files.iter().all(|name| !name.ends_with(".new")), "{files:?}");
    // What is left is whole, and ends where the program did.
    let logs = s.corten("logs box");
    assert_eq!(logs.stderr, "bad\n");
    let first: u32 = logs.ok().split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    assert_eq!(logs.stdout, counted(first, 600));
    assert!(logs.stdout.lines().count() > 200, "more than one file: {}", logs.stdout.lines().count());
    assert_eq!(s.corten("logs -n 301 box").stdout, counted(301, 600));
    let config = s.inspect("box", "{{json .HostConfig.LogConfig}}");
    assert!(config.contains(r#""Type":"json-file""#) && config.contains(r#""compress":"true""#), "{config}");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn a_local_log() {
    let s = Sandbox::with(&["busybox"]);
    s.corten(&format!("run --name box --log-driver local busybox {}", counting(50))).ok();
    let logs = s.corten("logs box");
    assert_eq!((logs.ok(), logs.stderr.as_str()), (counted(1, 50).trim_end(), "bad\n"));
    assert_eq!(s.corten("logs -n 2 box").stdout, counted(50, 50));
    let stamped = s.corten("logs -t -n 2 box");
    let (time, text) = stamped.ok().split_once(' ').expect("a time");
    assert!(time.ends_with('Z') && time.contains('T') && text == "line 50", "{stamped}");
    assert_eq!(s.corten("logs --since 1h box").stdout, counted(1, 50));
    let size = fs::metadata(s.directory("box").join("log.local")).expect("the log").len();
    assert!(size < 50 * 25, "{size} bytes");
    assert_eq!(s.inspect("box", "{{.HostConfig.LogConfig.Type}} {{.LogPath}}"), "local ");
    s.corten("rm box").ok();
    // It is followed over its turns as any other.
    let log = "--log-driver local --log-opt max-size=4k --log-opt max-file=50";
    let script = "i=0; while [ ! -e /go ]; do sleep 0.02; done; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done; while [ ! -e /end ]; do sleep 0.02; done";
    s.detached(&format!("--name box {log} busybox sh -c '{script}'"));
    let following = s.start("logs -f box");
    s.corten("exec box touch /go").ok();
    following.expect("line 2000\n");
    s.corten("exec box touch /end");
    assert_eq!(following.wait().stdout, counted(1, 2000));
    s.corten("wait box").ok();
    // The files that were compressed have given their inodes to those that came after them.
    assert_eq!(s.corten("logs box").stdout, counted(1, 2000));
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn entries_with_a_tag_labels_and_environment() {
    let s = Sandbox::with(&["busybox"]);
    let log = "--log-opt tag={{.Name}}/{{.ImageName}} --log-opt labels=role --log-opt env=A,B";
    s.corten(&format!("run --name box {log} -l role=web -e A=1 busybox echo said")).ok();
    assert_eq!(s.corten("logs --details box").ok(), "A=1,role=web,tag=box/busybox said");
    assert_eq!(s.corten("logs box").ok(), "said");
    let text = fs::read_to_string(s.directory("box").join("log.json")).expect("the log");
    assert!(text.contains(r#""attrs":{"A":"1","role":"web","tag":"box/busybox"}"#), "{text}");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn a_log_that_does_not_hold_the_container_up() {
    let s = Sandbox::with(&["busybox"]);
    let log = "--log-opt mode=non-blocking --log-opt max-buffer-size=4m";
    s.corten(&format!("run --name box {log} busybox {}", counting(500))).ok();
    let logs = s.corten("logs box");
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), (counted(1, 500).as_str(), "bad\n"));
    s.corten("rm box").ok();
    // A writer that stands still loses lines, and the container goes on.
    let script = "while [ ! -e /go ]; do sleep 0.02; done; head -c 8000000 /dev/zero | tr \"\\0\" x | fold -w 99; echo over >/over; sleep 1000";
    s.detached(&format!("--name box --log-opt mode=non-blocking busybox sh -c '{script}'"));
    let is_writer =
        |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "corten-log\n");
    let writers: Vec<u32> = s.processes().into_iter().map(|(pid, _)| pid).filter(is_writer).collect();
    let [writer] = writers.as_slice() else { panic!("one process writes: {writers:?}") };
    s.host(&format!("kill -STOP {writer}")).ok();
    s.corten("exec box touch /go").ok();
    wait_until("the end of its output", 60, || s.corten("exec box ls /over").code == 0);
    s.host(&format!("kill -CONT {writer}")).ok();
    s.corten("kill box").ok();
    let written = s.corten("logs box").stdout.len();
    assert!((10_000..8_000_000).contains(&written), "{written} of 8,000,000 bytes");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn the_journal_of_systemd() {
    let s = Sandbox::with(&["busybox"]);
    // A machine of its own as far as /run is concerned: first without a journal, then with one.
    s.host("mount -t tmpfs none /run && mkdir -p /run/systemd/journal").ok();
    s.corten("run --name none --log-driver journald busybox true")
        .fails(125, &["journald is not enabled on this host"]);
    s.corten("rm none").ok();
    let journal = UnixDatagram::bind("/run/systemd/journal/socket").expect("a socket");
    journal.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let line = "run --name box --log-driver journald --log-opt tag=mine --log-opt labels=role -l role=web";
    s.corten(&format!("{line} busybox sh -c 'echo out; echo err >&2'")).ok();
    let mut entries: Vec<String> = (0..2)
        .map(|_| {
            let mut buffer = [0; 4096];
            let length = journal.recv(&mut buffer).expect("an entry");
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        })
        .collect();
    entries.sort();
    assert!(entries[0].starts_with("MESSAGE=err\nPRIORITY=3\n"), "{entries:?}");
    assert!(entries[1].starts_with("MESSAGE=out\nPRIORITY=6\n"), "{entries:?}");
    for field in ["CONTAINER_NAME=box\n", "CONTAINER_TAG=mine\n", "ROLE=web\n", "IMAGE_NAME=busybox\n"] {
        assert!(entries.iter().all(|entry| entry.contains(field)), "{field}: {entries:?}");
    }
    let logs = s.corten("logs box");
    assert_eq!((logs.ok(), logs.stderr.as_str()), ("out", "err\n"), "they can be read here too");
    s.corten("rm box").ok();
    drop(journal);
    s.host("umount /run").ok();
    s.end();
}

#[test]
fn no_log_and_mistakes() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --name box --log-driver none busybox echo said").ok(), "said");
    s.corten("logs box").fails(1, &["configured logging driver does not support reading"]);
    s.corten("rm box").ok();
    s.corten("run --log-driver syslog busybox true").fails(125, &["syslog", "journald"]);
    s.corten("run --log-opt colour=red busybox true").fails(125, &["unknown log opt 'colour'"]);
    s.corten("run --log-opt max-buffer-size=1m busybox true").fails(125, &["mode=non-blocking"]);
    s.end();
}
