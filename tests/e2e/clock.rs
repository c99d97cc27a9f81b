//! A clock that is set while containers run: by a day, forwards and back. What lasts so long is counted by another clock.

use e2e::{Sandbox, wait_until};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use std::time::{Duration, Instant};

const DAY: i64 = 24 * 60 * 60;

/// Sets the machine's clock, and sets it right again at the end, by what has gone by meanwhile.
struct Clock {
    right: i64,
    since: Instant,
}

impl Clock {
    fn new() -> Clock {
        Clock { right: clock_gettime(ClockId::Realtime).tv_sec, since: Instant::now() }
    }

    fn set(&self, ahead: i64) {
        let tv_sec = self.right + self.since.elapsed().as_secs().cast_signed() + ahead;
        clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: 0 })
            .expect("the machine's clock can be set");
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Restart policies, health checks, stops, `Up …`, logs and events, with the clock a day ahead, then a day behind. The name ends so that
/// nobody else runs meanwhile.
#[test]
#[ignore = "it sets the machine's clock: `cargo xtask test` runs it in the virtual machine"]
fn set_by_a_day_and_back_alone() {
    assert!(std::env::var_os("CORTEN_TEST_THROWAWAY").is_some(), "nobody else may need the machine");
    let s = Sandbox::with(&["busybox"]);
    let clock = Clock::new();
    let script = "i=0; while :; do i=$((i+1)); echo line $i; sleep 1; done";
    s.detached(&format!("--name old --network none busybox sh -c '{script}'"));
    let health = "--health-cmd 'test -e /ok' --health-interval 300ms --health-retries 1";
    s.detached(&format!("--name checked --network none {health} busybox sleep 10000"));
    let lines = || s.corten("logs old").ok().lines().count();
    wait_until("a first line", 20, || lines() > 0);
    for (ahead, file, condition) in [(DAY, "touch /ok", "healthy"), (-DAY, "rm /ok", "unhealthy")] {
        s.detached("--name failing --network none --restart always busybox false");
        let before = lines();
        clock.set(ahead);
        // A check goes on.
        s.corten(&format!("exec checked {file}")).ok();
        s.corten(&format!("wait --condition {condition} checked")).ok();
        // So do the pauses between two lives.
        wait_until("a third life", 30, || {
            s.inspect("failing", "{{.RestartCount}}").parse().is_ok_and(|n: u32| n >= 2)
        });
        s.corten("rm -f failing").ok();
        wait_until("more lines", 20, || lines() > before + 1);
        for line in ["ps --filter name=old --format '{{.Status}}'", "why exited old"] {
            let output = s.corten(line);
            assert!(!output.ok().contains("hour") && !output.stdout.contains("day"), "{output}");
        }
        // Who ignores the signal is killed after the time that was given, not at once and not a day later.
        s.detached(
            "--name deaf --network none busybox sh -c 'trap : TERM; echo ready; while :; do sleep 1; done'",
        );
        wait_until("the trap", 20, || s.corten("logs deaf").stdout.contains("ready"));
        let (stop, began) = (s.start("stop -t 2 deaf"), Instant::now());
        clock.set(-ahead);
        stop.wait().ok();
        assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!(s.inspect("deaf", "{{.State.ExitCode}}"), "137");
        let why = s.corten("why exited deaf");
        let ran = why.ok().lines().find_map(|line| line.trim().strip_prefix("it had run for "));
        assert!(ran.is_some_and(|ran| ran.contains(" seconds") || ran.contains("minute")), "{why}");
        s.corten("rm deaf").ok();
        clock.set(0);
        let before = lines();
        wait_until("lines of today", 20, || lines() > before + 1);
    }
    s.corten("stop -t 0 old").ok();
    // All lines are there, in the order in which they were written; those of tomorrow do not hide those of today that follow them.
    let all = s.corten("logs old");
    let numbered: String = (1..=lines()).map(|n| format!("line {n}\n")).collect();
    assert_eq!(all.stdout, numbered);
    let last = all.ok().lines().last().expect("a line").to_owned();
    let until_now = s.corten("logs --until 0s old");
    assert_eq!(until_now.ok().lines().last(), Some(&*last), "{until_now}");
    let of_today = s.corten("logs --since 12h --until 0s old");
    assert_eq!(of_today.ok().lines().last(), Some(&*last), "{of_today}");
    assert!(of_today.ok().lines().count() + 2 < all.ok().lines().count(), "{of_today}");
    // For how long it ran is not the difference of two times of the clock.
    let ended = s.corten("events --since 0 --until 0s --filter container=old --filter event=die --format '{{json .Actor.Attributes}}'");
    let ran = ended.ok().split("\"execDuration\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let ran: i64 = ran.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{ended}"));
    assert!((1..DAY / 2).contains(&ran), "{ended}");
    s.corten("rm -f old checked").ok();
    drop(clock);
    s.end();
}
