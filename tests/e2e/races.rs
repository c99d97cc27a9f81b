//! Commands at the same time on the same container, and containers that change the ground under a command's feet.

use e2e::{Sandbox, wait_until};
use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

fn start(s: &Sandbox, line: &str) -> Child {
    let mut command = s.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command.spawn().expect("it starts")
}

/// How many tries: some, or as many as `CORTEN_TEST_TRIES` says.
fn tries(some: usize) -> usize {
    std::env::var("CORTEN_TEST_TRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(some)
}

/// A row of the table that `cargo xtask reliability races` makes.
fn note(race: &str, tries: usize, outcome: &str) {
    e2e::points::note("races", race, &format!("{tries} | {outcome}"));
}

/// Whatever wins, each one answers, in one line where it fails, and nothing is left.
#[test]
fn rm_against_exec_against_stop_against_start() {
    let s = Sandbox::with(&["busybox"]);
    let (rounds, mut good, mut bad) = (tries(84).div_ceil(7), 0, 0);
    for round in 0..rounds {
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
            (good, bad) = if output.status.success() { (good + 1, bad) } else { (good, bad + 1) };
            assert!(said.len() <= 1 && !said.concat().contains("panicked"), "{line}: {said:?}");
        }
        s.corten("rm -f box");
        assert!(s.corten("system check").ok().ends_with(": no faults"));
        assert_eq!(s.corten("ps -aq").ok(), "");
    }
    s.corten("volume rm data").ok();
    note(
        "`rm`, `exec`, `stop`, `kill`, `restart` of one container",
        rounds * 7,
        &format!("{good} done, {bad} refused in one line, nothing left"),
    );
    s.end();
}

/// Its monitor puts things away and begins anew, at the same moment.
#[test]
fn rm_between_two_lives() {
    let s = Sandbox::with(&["busybox"]);
    let number = tries(12);
    for n in 0..number {
        s.detached("--name box --network none --restart always busybox false");
        wait_until("another life", 20, || s.inspect("box", "{{.RestartCount}}") != "0");
        std::thread::sleep(Duration::from_millis(n as u64 % 40));
        s.corten("rm -f box").ok();
    }
    note("`rm -f` between two lives", number, "all done, nothing left");
    s.end();
}

/// Several processes make, name, connect and remove on one data root; what is told is always whole.
#[test]
fn several_engines_on_one_data_root() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create other").ok();
    let rounds = tries(40).div_ceil(10);
    for _ in 0..rounds {
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
    note(
        "ten commands at a time on one data root",
        rounds * 10,
        "each name and address once, no fault found",
    );
    s.end();
}

/// A container that swaps directories of a shared volume and of its own root with links to the host, and its list of users, while others
/// mount below them (CVE-2021-30465), begin to work there, are entered there, copy from and to there, and make images of it.
#[test]
fn links_that_change_under_feet() {
    let s = Sandbox::with(&["busybox"]);
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).expect("writable");
    fs::write(outside.join("secret"), "of the host").expect("writable");
    fs::write(outside.join("passwd"), "evil:x:4242:4242::/:/bin/sh\n").expect("writable");
    fs::write(s.dir.join("gift"), "from the host").expect("writable");
    let far = outside.display();
    let script = format!(
        "for t in /v /w; do mkdir -p $t/real/in; echo inside >$t/real/secret; ln -s {far} $t/link; ln -s ../../../../../../../..{far} $t/up; done
         echo evil:x:1001:1001::/:/bin/sh >/etc/real; echo ready
         swap() {{
             mv -T $1/real $1/d; mv -T $1/d $1/real
             for l in link up; do mv -T $1/$l $1/d; mv -T $1/d $1/$l; done
             # what somebody made there meanwhile
             [ ! -d $1/d ] || [ -L $1/d ] || rm -rf $1/d
         }}
         (while :; do swap /v; done) 2>/dev/null &
         while :; do
             swap /w
             ln -s {far}/passwd /etc/l; mv /etc/l /etc/passwd; cp /etc/real /etc/f; mv /etc/f /etc/passwd
         done 2>/dev/null"
    );
    fs::write(s.dir.join("script"), script).expect("writable");
    s.corten("run -d --name swap --network none -v shared:/v -v ./script:/script:ro busybox sh /script").ok();
    wait_until("the container", 20, || s.corten("logs swap").stdout.contains("ready"));
    s.detached("--name box --network none -v shared:/v busybox sleep 10000");
    let before = s.host("ls -lAR --full-time outside; findmnt -rn -o TARGET | sort").ok().to_owned();
    // What it is called, the command, what it prints where it is not refused, and how much slower than others it is.
    let races = [
        (
            "a volume below it",
            "run --rm --network none -v shared:/v -v mine:/v/d/in busybox sh -c 'ls /v/d/in; echo inside'",
            "inside\n",
            1,
        ),
        (
            "a place in a volume",
            "run --rm --network none --mount type=volume,src=shared,dst=/m,volume-subpath=d busybox cat /m/secret",
            "inside\n",
            1,
        ),
        ("working there", "run --rm --network none -v shared:/v -w /v/d busybox cat secret", "inside\n", 1),
        ("`exec` there, of a volume", "exec -w /v/d box cat secret", "inside\n", 1),
        ("`exec` there, of its own", "exec -w /w/d swap cat secret", "inside\n", 1),
        ("`exec` as a user of its list", "exec -u evil swap id -u", "1001\n", 1),
        ("`cp` from there, of a volume", "cp -L box:/v/d/secret -", "inside\n", 1),
        ("`cp` from there, of its own", "cp -L swap:/w/d/secret -", "inside\n", 1),
        ("`cp` to there", "cp gift swap:/w/d/", "", 1),
        ("`cp` to there, of a volume", "cp gift box:/v/d/", "", 1),
        ("`export` meanwhile", "export swap", "", 10),
        ("`commit` meanwhile", "commit --pause=false swap raced", "", 10),
    ];
    for (what, line, good, slower) in races {
        let (mut done, mut refused) = (0, 0);
        for _ in 0..tries(10 * slower).div_ceil(slower) {
            let output = s.corten(line);
            let said = [&*output.stdout, &*output.stderr].concat();
            assert!(
                !said.contains("of the host") && !said.contains("4242") && !said.contains("panicked"),
                "{output}"
            );
            // A moment in which nothing is there is refused; so is what leads nowhere.
            match output.code {
                0 => assert!(output.stdout.contains(good), "{output}"),
                code => assert!(code > 0 && code < 128, "{output}"),
            }
            (done, refused) = if output.code == 0 { (done + 1, refused) } else { (done, refused + 1) };
            if line.starts_with("commit") {
                s.host("! grep -rqs 'of the host' root/layers").ok();
                s.corten("rmi raced").ok();
            }
        }
        assert_eq!(
            s.host("ls -lAR --full-time outside; findmnt -rn -o TARGET | sort").ok(),
            before,
            "written on the host by {line}"
        );
        note(what, done + refused, &format!("{done} done, {refused} refused, 0 outside"));
    }
    s.corten("rm -f swap box").ok();
    s.corten("volume rm shared").ok();
    s.corten("volume rm mine").ok();
    s.end();
}
