//! Commands at the same time on the same container, and containers that change the ground under a command's feet.

use e2e::{Sandbox, wait_until};
use std::fs;
use std::process::{Child, Stdio};

fn start(s: &Sandbox, line: &str) -> Child {
    let mut command = s.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// Whatever wins, each one answers, in one line where it fails, and nothing is left.
#[test]
fn rm_against_exec_against_stop_against_start() {
    let s = Sandbox::with(&["busybox"]);
    for round in 0..12 {
        s.detached("--name box -p 8080:80 -v data:/d busybox sleep 10000");
        let mut lines = [
            "exec box true",
            "stop -t 0 box",
            "rm -f box",
            "kill box",
            "exec box sleep 0.01",
            "restart -t 0 box",
            "rm -f box",
        ];
        lines.rotate_left(round % 7);
        let all: Vec<Child> = lines.iter().map(|line| start(&s, line)).collect();
        for (child, line) in all.into_iter().zip(lines) {
            let output = child.wait_with_output().expect("it is ours");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let said: Vec<&str> =
                said.lines().filter(|l| !l.starts_with("  ") && !l.starts_with("note:")).collect();
            assert!(output.status.code().is_some(), "{line}: {:?}", output.status);
            assert!(said.len() <= 1 && !said.concat().contains("panicked"), "{line}: {said:?}");
        }
        s.corten("rm -f box");
        assert!(s.corten("system check").ok().ends_with(": no faults"));
        assert_eq!(s.corten("ps -aq").ok(), "");
    }
    s.corten("volume rm data").ok();
    s.end();
}

/// Several processes make, name, connect and remove on one data root; what is told is always whole.
#[test]
fn several_engines_on_one_data_root() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create other").ok();
    for _ in 0..4 {
        let lines = [
            "create --name one busybox true",
            "create --name one busybox true",
            "run -d --name two -v data:/d busybox sleep 10000",
            "run --rm -v data:/d --network other busybox true",
            "network create --subnet 10.94.7.0/24 net",
            "network create --subnet 10.94.7.0/24 net",
            "volume create data",
            "system check --repair",
            "system check --repair",
            "ps -a",
        ];
        let all: Vec<Child> = lines.iter().map(|line| start(&s, line)).collect();
        let codes: Vec<i32> = all
            .into_iter()
            .map(|mut child| child.wait().expect("it is ours").code().expect("it exits by itself"))
            .collect();
        assert_eq!(codes[0] == 0, codes[1] != 0, "one name, one container: {codes:?}");
        assert_eq!(codes[4] == 0, codes[5] != 0, "one name, one network: {codes:?}");
        assert_eq!([codes[2], codes[3], codes[6], codes[7], codes[8], codes[9]], [0; 6], "{codes:?}");
        assert!(s.corten("system check").ok().ends_with(": no faults"));
        assert_eq!(s.corten("exec two echo alive").ok(), "alive");
        s.corten("rm -f one two").ok();
        s.corten("network rm net").ok();
        s.corten("volume rm data").ok();
    }
    s.corten("network rm other").ok();
    s.end();
}

/// A container that swaps a directory of a shared volume with links to the host, while others have mounts below it (CVE-2021-30465),
/// begin to work there, and are entered there.
#[test]
fn links_that_change_under_mounts() {
    let s = Sandbox::with(&["busybox"]);
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).expect("writable");
    fs::write(outside.join("secret"), "of the host").expect("writable");
    let far = outside.display();
    let script = format!(
        "mkdir -p /v/real/in; echo inside >/v/real/secret; ln -s {far} /v/link; ln -s ../../../../../../../..{far} /v/up; echo ready
         while :; do mv /v/real /v/d; mv /v/d /v/real; mv /v/link /v/d; mv /v/d /v/link; mv /v/up /v/d; mv /v/d /v/up; done"
    );
    s.corten(&format!("run -d --name swap --network none -v shared:/v busybox sh -c '{script}'")).ok();
    wait_until("the container", 20, || s.corten("logs swap").stdout.contains("ready"));
    s.detached("--name box --network none -v shared:/v busybox sleep 10000");
    let before = s.host("ls -lAR --full-time outside; findmnt -rn -o TARGET | sort").ok().to_owned();
    for _ in 0..40 {
        for line in [
            "run --rm --network none -v shared:/v -v mine:/v/d/in busybox ls /v/d/in",
            "run --rm --network none -v shared:/v -w /v/d busybox cat secret",
            "exec -w /v/d box cat secret",
            "cp -L box:/v/d/secret got",
        ] {
            let output = s.corten(line);
            assert!(!output.stdout.contains("of the host"), "{output}");
            assert!(!output.stderr.contains("panicked"), "{output}");
        }
        assert_ne!(fs::read_to_string(s.dir.join("got")).unwrap_or_default(), "of the host");
    }
    assert_eq!(
        s.host("ls -lAR --full-time outside; findmnt -rn -o TARGET | sort").ok(),
        before,
        "written on the host"
    );
    s.corten("rm -f swap box").ok();
    s.corten("volume rm shared").ok();
    s.corten("volume rm mine").ok();
    s.end();
}
