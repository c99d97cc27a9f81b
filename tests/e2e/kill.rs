//! Commands that are killed at any moment: the next one goes on or cleans up, and nothing is wrong or left over.

use e2e::registry::Documents;
use e2e::web::Web;
use e2e::{Sandbox, images::image};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// How many moments of a command's life are tried.
const MOMENTS: u32 = 8;

/// Starts the command so often, and kills it later each time: from its first moment to its last, and some by chance. After each, `then`.
fn killed_at_every_moment(s: &Sandbox, line: &str, prepare: impl Fn(), then: impl Fn()) {
    prepare();
    let start = Instant::now();
    s.corten(line).ok();
    let whole = start.elapsed();
    then();
    for moment in 0..MOMENTS {
        prepare();
        let mut byte = [0];
        let _ = rustix::rand::getrandom(&mut byte, rustix::rand::GetRandomFlags::empty());
        let after = whole * (moment * 256 + u32::from(byte[0])) / (MOMENTS * 256);
        let mut command = s.command(line);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        std::thread::sleep(after);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        then();
        // Shown only where the test fails.
        println!("`{line}` killed after {after:?} of {whole:?}");
    }
}

#[track_caller]
fn checks_clean(s: &Sandbox) {
    let mut checked = s.corten("system check");
    // What a killed command had begun to unpack is swept by the next one, unless its child was still dying then.
    if checked.code == 1 && checked.stdout.lines().rev().skip(1).all(|line| line.starts_with("tmp/")) {
        s.corten("image prune -f").ok();
        checked = s.corten("system check");
    }
    assert!(checked.ok().ends_with(": no faults"), "{checked}");
}

/// Nothing of images is left.
#[track_caller]
fn empty(s: &Sandbox) {
    s.corten("image prune -f").ok();
    let left = s.host(&format!(
        "cd {} && find blobs layers images tags tmp -mindepth 1 ! -path blobs/sha256",
        s.scope.root.display()
    ));
    assert_eq!(left.ok(), "");
}

fn remove_all(s: &Sandbox) {
    let ids = s.corten("images -aq").ok().replace('\n', " ");
    if !ids.is_empty() {
        s.corten(&format!("rmi -f {ids}")).ok();
    }
}

#[test]
fn load() {
    let s = Sandbox::new();
    for archive in ["several.tar", "busybox-zstd.oci.tar"] {
        let line = format!("load -q -i {}", image(archive).display());
        s.corten(&line).ok();
        let all = s.corten("images -q").ok().lines().count();
        killed_at_every_moment(
            &s,
            &line,
            || remove_all(&s),
            || {
                // An image is there as a whole or not at all; of several, the first may have their names already.
                let there = s.corten("images -q").ok().to_owned();
                assert!(there.lines().count() <= all, "{there}");
                for id in there.lines() {
                    s.corten(&format!("image inspect {id}")).ok();
                }
                s.corten(&line).ok();
                checks_clean(&s);
                remove_all(&s);
                empty(&s);
            },
        );
    }
    s.end();
}

#[test]
fn pull() {
    let s = Sandbox::new();
    let documents = Documents::busybox();
    let web = Web::start(move |request| documents.answer(request));
    let line = format!("pull {}/x", web.address);
    killed_at_every_moment(
        &s,
        &line,
        || remove_all(&s),
        || {
            s.corten(&line).ok();
            checks_clean(&s);
            s.corten(&format!("run --rm --network none --pull never {}/x true", web.address)).ok();
            remove_all(&s);
            empty(&s);
        },
    );
    let partial = s.host(&format!("ls -A {}/partial", s.scope.root.display()));
    assert_eq!(partial.ok(), "", "downloads that came to their end");
    s.end();
}

#[test]
fn remove_and_prune() {
    let s = Sandbox::new();
    for line in ["image prune -af", "rmi -f first:1 first:2 second:1"] {
        killed_at_every_moment(
            &s,
            line,
            || _ = s.corten(&format!("load -q -i {}", image("several.tar").display())).ok().len(),
            || {
                // Whatever is still listed is whole.
                for id in s.corten("images -q").ok().lines() {
                    s.corten(&format!("run --rm --network none {id} true")).ok();
                }
                s.corten("image prune -af").ok();
                checks_clean(&s);
                empty(&s);
            },
        );
    }
    s.end();
}

#[test]
fn commit() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name live --network none busybox sh -c 'cp /bin/busybox /a; cp /bin/busybox /b; sleep 1000'").ok();
    e2e::wait_until("the files", 20, || s.corten("exec live cmp /a /b").code == 0);
    let (line, then) = ("commit live new:1", || {
        // It goes on, though who held it still was killed.
        e2e::wait_until("the container to go on", 30, || s.corten("exec live true").code == 0);
        s.corten("commit live new:1").ok();
        checks_clean(&s);
        s.corten("run --rm --network none new:1 cmp /a /b").ok();
        s.corten("image prune -f").ok();
        s.corten("rmi new:1").ok();
    });
    killed_at_every_moment(&s, line, || (), then);
    s.corten("rm -f live").ok();
    s.end();
}

#[test]
fn create_and_remove() {
    let s = Sandbox::with(&["busybox"]);
    for line in ["create --name box busybox true", "rm -f box"] {
        killed_at_every_moment(
            &s,
            line,
            || {
                if line.starts_with("rm") {
                    s.corten("create --name box busybox true").ok();
                }
            },
            || {
                s.corten("rm -f box");
                let repaired = s.corten("system check --repair");
                assert_eq!(repaired.code, 0, "{repaired}");
                checks_clean(&s);
                s.corten("create --name box busybox true").ok();
                s.corten("rm box").ok();
            },
        );
    }
    s.end();
}

#[test]
fn several_at_once_while_some_are_killed() {
    let s = Sandbox::new();
    let load = format!("load -q -i {}", image("several.tar").display());
    for round in 0..4u32 {
        let mut all: Vec<_> = [load.as_str(), &load, "image prune -af", &load]
            .iter()
            .map(|line| {
                let mut command = s.command(line);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.spawn().expect("it starts")
            })
            .collect();
        std::thread::sleep(Duration::from_millis(u64::from(20 * round)));
        for child in all.iter_mut().take(2) {
            child.kill().expect("it is ours");
        }
        for mut child in all {
            child.wait().expect("it is ours");
        }
        s.corten(&load).ok();
        checks_clean(&s);
        remove_all(&s);
        empty(&s);
    }
    s.end();
}
