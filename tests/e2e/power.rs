//! The power fails: what the disk holds at any moment of a command is mounted again, and nothing that was acknowledged is missing, and
//! nothing is half there.
//!
//! The data root is an ext4 file system in a file. What of it is in that file is what the disk would hold: the kernel keeps the rest in
//! memory until it is told to write it, or its journal is full. So a copy of the file, made when the command is killed at one of its points or
//! just after its end, is the disk after the power has failed.

use e2e::points::{Points, row};
use e2e::trace::{Call, Fault, Injection, Traced, harmless, in_sandbox};
use e2e::{Sandbox, images::image, wait_until};
use rustix::process::{Pid, Signal, kill_process};

struct Case {
    line: String,
    /// Shell that tells what there is of what the command makes.
    state: &'static str,
    /// What that may say after a cut; the last one when it was acknowledged.
    states: &'static [&'static str],
}

fn mount(s: &Sandbox, disk: &str) {
    s.host(&format!("mkdir -p root state && mount -o loop,commit=600 {disk} root")).ok();
}

/// No power: what was in memory is gone, processes and control groups with it.
fn unmount(s: &Sandbox) {
    wait_until("the end of all processes", 20, || {
        let left = s.processes();
        for pid in left.iter().filter_map(|(pid, _)| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::KILL);
        }
        left.is_empty()
    });
    s.host(&format!(
        "umount root && rm -rf state && find /sys/fs/cgroup -depth -path '*/{}*' -type d -exec rmdir {{}} + 2>/dev/null; true",
        s.scope.cgroup_parent
    ))
    .ok();
}

/// A disk with an image and some things that were acknowledged long ago.
fn disk() -> Sandbox {
    let s = Sandbox::new();
    s.host("truncate -s 48M base && mkfs.ext4 -q -b 1024 -J size=4 base").ok();
    mount(&s, "base");
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    s.corten("volume create kept").ok();
    s.corten("network create --subnet 10.94.1.0/24 other").ok();
    s.corten("run --name still --network none -v kept:/v busybox sh -c 'echo kept >/v/file; echo mine >/file; echo said'").ok();
    s.corten("system down").ok();
    unmount(&s);
    s
}

/// The command on a fresh copy of the disk, with the power failing there; then the machine comes up again.
fn trial(s: &Sandbox, case: &Case, at: Option<usize>) -> Traced {
    s.host("cp --sparse=always base disk").ok();
    mount(s, "disk");
    let counts = |call: &Call| !harmless(call);
    let trial =
        in_sandbox(s, &case.line, &[], &Injection { counts: &counts, at: at.map(|at| (at, Fault::Kill)) });
    s.host("cp --sparse=always disk cut").ok();
    s.corten("system down");
    unmount(s);
    mount(s, "cut");
    trial
}

#[track_caller]
fn nothing_lost(s: &Sandbox, case: &Case, trial: &Traced) {
    let repaired = s.corten("system check --repair");
    assert_eq!(repaired.code, 0, "{repaired}\n{trial}");
    let checked = s.corten("system check");
    assert!(checked.code == 0 && checked.stdout.trim_end().ends_with(": no faults"), "{checked}\n{trial}");
    let now = s.told(case.state);
    match trial.code {
        0 => assert_eq!(Some(&now.as_str()), case.states.last(), "acknowledged: {repaired}\n{trial}"),
        _ => assert!(case.states.contains(&now.as_str()), "state {now:?}: {repaired}\n{trial}"),
    }
    let script = "corten logs still; corten cp still:/file - | tar xO; corten run --rm --network none -v kept:/v busybox cat /v/file";
    assert_eq!(s.told(script), "said mine kept", "{trial}");
}

fn cut_everywhere(case: &Case) {
    let s = disk();
    let whole = trial(&s, case, None);
    assert_eq!(whole.code, 0, "{whole}");
    nothing_lost(&s, case, &whole);
    s.corten("system down");
    unmount(&s);
    let mut points = Points::new(&format!("power: {}", case.line), whole.points);
    while let Some(at) = points.next() {
        let cut = trial(&s, case, Some(at));
        points.hit(cut.hit.as_deref());
        nothing_lost(&s, case, &cut);
        s.corten("system down");
        unmount(&s);
    }
    row("power", &case.line, &format!("{}", points.tried() + 1));
    s.host("rm -f base disk cut; rmdir root").ok();
    s.end();
}

macro_rules! cases {
    ($($name:ident { line: $line:expr, state: $state:expr, states: $states:expr $(,)? })*) => {
        $(#[test]
        fn $name() {
            cut_everywhere(&Case { line: $line.to_string(), state: $state, states: &$states });
        })*
    };
}

const BOX: &str = "corten inspect -f '{{.State.Status}}' box 2>/dev/null || echo none";

cases! {
    create {
        line: "create --name box -v data:/d -v /anonymous busybox true",
        state: BOX, states: ["none", "created"],
    }
    run {
        line: "run --name box --network none busybox true",
        state: "corten inspect -f '{{.Id}}' box >/dev/null 2>&1 && echo there || echo none", states: ["none", "there"],
    }
    load {
        line: format!("load -q -i {}", image("several.tar").display()),
        state: "corten images --format '{{.Tag}}' | wc -l; for i in $(corten images -q); do corten run --rm --network none $i true || echo bad; done",
        states: ["1", "2", "3", "4"],
    }
    commit {
        line: "commit still new:1",
        state: "corten run --rm --network none new:1 cat /file 2>/dev/null || echo none", states: ["none", "mine"],
    }
    volume_create {
        line: "volume create --label a=b data",
        state: "corten volume inspect -f '{{.Labels.a}}' data 2>/dev/null || echo none", states: ["none", "b"],
    }
    network_create {
        line: "network create --subnet 10.94.2.0/24 --label a=b new",
        state: "corten network inspect -f '{{.Labels.a}}' new 2>/dev/null || echo none", states: ["none", "b"],
    }
    tag {
        line: "tag busybox new:1",
        state: "corten images -q new:1 | wc -l", states: ["0", "1"],
    }
}
