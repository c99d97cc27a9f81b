//! `corten why`: the answers, where the causes are known because the test makes them.

use e2e::{Sandbox, wait_until};

#[test]
fn why_a_port_answers_or_does_not() {
    let s = Sandbox::with(&["busybox"]);
    let nobody = s.corten("why port 8080");
    assert!(nobody.ok().starts_with("nobody listens on port 8080/tcp"), "{}", nobody.ok());
    s.corten("run -d --name web -p 8080:80 -p 127.0.0.1:8081:81 busybox sh -c 'httpd -p 80; sleep 1000'")
        .ok();
    wait_until("httpd listens", 20, || {
        s.corten("why port 8080").stdout.contains("there listens httpd -p 80")
    });
    let answered = s.corten("why port 8080");
    for said in
        ["published by container web: it leads to its port 80", "reachable by every address", "10.77.0."]
    {
        assert!(answered.ok().contains(said), "{said} in {}", answered.ok());
    }
    let local = s.corten("why port 8081");
    for said in ["from this machine only", "nobody listens on port 81 in the container"] {
        assert!(local.ok().contains(said), "{said} in {}", local.ok());
    }
    let inside = s.corten("why port 80");
    assert!(inside.ok().contains("open in container web, and not published"), "{}", inside.ok());
    assert_eq!(s.corten("why port http").code, 125);
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn why_a_container_has_exited() {
    let s = Sandbox::with(&["busybox"]);
    let why = |name: &str| s.corten(&format!("why exited {name}")).ok().to_owned();
    s.corten("run --name well busybox true").ok();
    assert!(why("well").contains("ended by itself, and well: exit code 0"), "{}", why("well"));
    s.corten("run --name seven busybox sh -c 'echo it hurts >&2; exit 7'");
    for said in ["exit code 7", "stderr: it hurts", "it had run for less than a second"] {
        assert!(why("seven").contains(said), "{said} in {}", why("seven"));
    }
    s.corten("run -d --name killed busybox sleep 1000").ok();
    assert!(why("killed").contains("has not exited"), "{}", why("killed"));
    s.corten("kill killed").ok();
    s.corten("wait killed").ok();
    for said in ["ended by SIGKILL (exit code 137)", "--init"] {
        assert!(why("killed").contains(said), "{said} in {}", why("killed"));
    }
    s.corten("run --name hungry -m 8m --memory-swap 8m busybox sh -c 'tail /dev/zero'");
    for said in [
        "the kernel killed hungry: it needed more memory than its limit, 8.39MB",
        "hint: run it with a greater --memory",
    ] {
        assert!(why("hungry").contains(said), "{said} in {}", why("hungry"));
    }
    s.corten("create --name never busybox true").ok();
    assert!(why("never").contains("was never started"), "{}", why("never"));
    s.corten("rm -f well seven killed hungry never").ok();
    s.end();
}

#[test]
fn why_a_container_is_slow() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name idle busybox sleep 1000").ok();
    let idle = s.corten("why slow idle");
    assert!(idle.ok().contains("nothing holds idle back"), "{}", idle.ok());
    s.corten("run -d --name busy --cpus 0.1 busybox sh -c 'while :; do :; done'").ok();
    wait_until("it is throttled", 20, || s.corten("why slow busy").stdout.contains("busy is throttled"));
    s.corten("run -d --name full --pids-limit 4 busybox sh -c 'for i in 1 2 3; do sleep 1000 & done; wait'")
        .ok();
    wait_until("it is full", 20, || {
        s.corten("why slow full").stdout.contains("can make no more processes: it has 4")
    });
    assert_eq!(s.corten("why slow nosuch").code, 1);
    s.corten("rm -f idle busy full").ok();
    s.end();
}
