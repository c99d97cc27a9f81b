//! `system check`: what does not fit together on the disk is found, and set right.

use e2e::{Sandbox, images::image, wait_until};
use std::fs;
use std::os::unix::fs::symlink;

#[track_caller]
fn clean(s: &Sandbox) {
    let checked = s.corten("system check");
    assert!(checked.ok().ends_with(": no faults"), "{checked}");
}

#[test]
fn nothing_is_wrong_with_what_the_engine_does() {
    let s = Sandbox::new();
    clean(&s);
    for archive in ["busybox.tar", "busybox-zstd.oci.tar", "several.tar"] {
        s.corten(&format!("load -q -i {}", image(archive).display())).ok();
    }
    s.corten("run -d --name live busybox sleep 1000").ok();
    s.corten("run --name dead busybox touch /x").ok();
    s.corten("create --name fresh --userns host busybox true").ok();
    s.corten("run -d --name beside --network container:live --pid container:live busybox sleep 1000").ok();
    s.corten("rename dead other").ok();
    s.corten("commit other new:1").ok();
    clean(&s);
    assert!(s.corten("system check").ok().ends_with(" blobs, 4 containers: no faults"));
    s.corten("rmi new:1").ok();
    s.corten("rm -f beside live other fresh").ok();
    clean(&s);
    assert_eq!(s.corten("system check -q").ok(), "");
    s.end();
}

#[test]
fn what_killed_processes_leave_is_found() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box busybox true").ok();
    let (root, state) = (&s.scope.root, &s.scope.state);
    let id = "0123456789abcdef".repeat(4);
    let of_nobody = root.join("containers").join(&id);
    fs::create_dir_all(of_nobody.join("rw")).expect("writable");
    symlink("f".repeat(64), root.join("names/ghost")).expect("writable");
    symlink("f".repeat(64), root.join("ids/77")).expect("writable");
    symlink("f".repeat(64), root.join("leases/172.17.0.99")).expect("writable");
    fs::create_dir_all(state.join("e".repeat(64))).expect("writable");
    let name = root.join("names/box");
    fs::remove_file(&name).expect("there");
    let left = [
        "container 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef: a process that was killed left it half made or removed",
        "name ghost: its container ffffffffffff is missing",
        "container box: its name is not claimed",
        "ids 77: their container ffffffffffff is missing",
        "address 172.17.0.99: its container ffffffffffff is missing",
    ];
    let found = s.corten("system check");
    assert_eq!(found.code, 1, "{found}");
    for line in left {
        assert!(found.stdout.lines().any(|l| l == line), "{line} in {found}");
    }
    assert!(found.stdout.contains("container eeeeeeeeeeee: a run that was killed left "), "{found}");
    assert!(found.stdout.ends_with(": 6 faults\n"), "{found}");
    let repaired = s.corten("system check --repair");
    assert!(repaired.ok().ends_with(": 6 faults, repaired"), "{repaired}");
    for done in ["(removed)", "(claimed)", "(released)", "(cleaned up)"] {
        assert!(repaired.stdout.contains(done), "{repaired}");
    }
    clean(&s);
    assert!(!of_nobody.exists() && name.is_symlink());
    s.corten("start -a box").ok();
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn images_that_somebody_touched() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name live --network none busybox sleep 1000").ok();
    let upper = s.corten("image inspect -f '{{.GraphDriver.Data.UpperDir}}' busybox").ok().to_string();
    s.host(&format!("echo >>{upper}/etc/passwd")).ok();
    let found = s.corten("system check");
    assert!(
        found.code == 1
            && found.stdout.contains("layer sha256:")
            && found.stdout.contains("'etc/passwd' is of "),
        "{found}"
    );
    // It stays as long as somebody runs in it.
    let repair = s.corten("system check --repair");
    assert!(
        repair.code == 1 && repair.stdout.contains("(not repaired: a container that runs uses it)"),
        "{repair}"
    );
    s.corten("exec live true").ok();
    s.corten("kill live").ok();
    s.corten("wait live").ok();
    let repair = s.corten("system check --repair");
    assert!(
        repair.code == 1 && repair.stdout.contains("(removed: pull or load busybox:latest again)"),
        "{repair}"
    );
    assert!(
        repair.stdout.contains("container live: layer ")
            && repair.stdout.contains(" is missing: pull or load busybox again"),
        "{repair}"
    );
    s.corten("start live").fails(1, &["live"]);
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    clean(&s);
    s.corten("start live").ok();
    s.corten("rm -f live").ok();
    s.end();
}

#[test]
fn who_waits_to_be_started_again_is_left_alone() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --network none --restart always busybox false");
    let restarts = || s.inspect("box", "{{.RestartCount}}").parse::<u32>().expect("a number");
    wait_until("pauses of some length", 20, || restarts() > 2);
    let before = restarts();
    s.corten("system check --repair").ok();
    clean(&s);
    wait_until("the next start", 20, || restarts() > before);
    s.corten("rm -f box").ok();
    s.end();
}
