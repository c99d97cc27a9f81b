//! The power fails: what the disk holds at any moment of a command is mounted again, and nothing that was acknowledged is missing, and
//! nothing is half there.
//!
//! The data root is an ext4 file system in a file. What of it is in that file is what the disk would hold: the kernel keeps the rest in
//! memory until it is told to write it, or its journal is full. So a copy of the file, made when the command is killed at one of its points or
//! just after its end, is the disk after the power has failed.

use e2e::points::{Points, chosen, row};
use e2e::registry::Documents;
use e2e::trace::{Call, Fault, Injection, QUIET, Traced, harmless, in_sandbox};
use e2e::web::Web;
use e2e::{Sandbox, images::image, wait_until};
use rustix::process::{Pid, Signal, kill_process};

#[derive(Default)]
struct Case {
    /// Run long before, and on the disk.
    before: &'static [&'static str],
    line: String,
    /// Shell that tells what there is of what the command makes.
    state: &'static str,
    /// What that may say after a cut; the last one when it was acknowledged.
    states: &'static [&'static str],
    /// What was removed may be there again, whole.
    removes: bool,
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
        "umount root && rm -rf state && find /sys/fs/cgroup/{{,*/}}{} -depth -type d -exec rmdir {{}} + 2>/dev/null; true",
        s.scope.cgroup_parent
    ))
    .ok();
}

/// A disk with an image and some things that were acknowledged long ago.
fn disk(s: &Sandbox, before: &[&str]) {
    s.host("truncate -s 48M base && mkfs.ext4 -q -b 1024 -J size=4 base").ok();
    mount(s, "base");
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    s.corten("volume create kept").ok();
    s.corten("network create --subnet 10.94.1.0/24 other").ok();
    s.corten("run --name still --network none -v kept:/v busybox sh -c 'echo kept >/v/file; echo mine >/file; echo said'").ok();
    before.iter().for_each(|line| _ = s.corten(line).ok());
    s.corten("system down").ok();
    unmount(s);
}

/// The command on a fresh copy of the disk, with the power failing there; then the machine comes up again.
fn trial(s: &Sandbox, case: &Case, at: Option<usize>) -> Traced {
    s.host("cp --sparse=always base disk").ok();
    mount(s, "disk");
    let counts = |call: &Call| !harmless(call);
    let trial = in_sandbox(
        s,
        &case.line,
        &[],
        &Injection { counts: &counts, at: at.map(|at| (at, Fault::Kill)), quiet: QUIET },
    );
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
        0 if !case.removes => {
            assert_eq!(Some(&now.as_str()), case.states.last(), "acknowledged: {repaired}\n{trial}")
        }
        _ => assert!(case.states.contains(&now.as_str()), "state {now:?}: {repaired}\n{trial}"),
    }
    let script = "corten logs still; corten cp still:/file - | tar xO; corten run --rm --network none -v kept:/v busybox cat /v/file";
    assert_eq!(s.told(script), "said mine kept", "{trial}");
}

fn cut_everywhere(s: Sandbox, case: &Case) {
    disk(&s, case.before);
    let down = || {
        s.corten("system down");
        unmount(&s);
    };
    let whole = trial(&s, case, None);
    assert_eq!(whole.code, 0, "{whole}");
    nothing_lost(&s, case, &whole);
    down();
    let mut points = Points::new(&format!("power: {}", case.line), whole.points);
    while let Some(at) = points.next() {
        let cut = trial(&s, case, Some(at));
        points.hit(cut.hit.as_deref());
        nothing_lost(&s, case, &cut);
        down();
    }
    row("power", &case.line, &format!("{}", points.tried() + 1));
    s.host("rm -f base disk cut archive.tar; rmdir root").ok();
    s.end();
}

/// `of`: one of so many is tried in an ordinary run, by chance, where commands do much the same.
macro_rules! cases {
    ($($name:ident $(of $number:literal)? {
        $(before: $before:expr,)? line: $line:expr, state: $state:expr, states: $states:expr $(, removes: $removes:literal)? $(,)?
    })*) => {
        $(#[test]
        fn $name() {
            $(if !chosen($number) {
                return;
            })?
            let case = Case { line: $line.into(), state: $state, states: &$states, ..Case::default() };
            $(let case = Case { before: $before, ..case };)?
            $(let case = Case { removes: $removes, ..case };)?
            cut_everywhere(Sandbox::new(), &case);
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
        line: "run -d --name box --network none -v data:/d busybox sleep 10000",
        state: "corten start box >/dev/null 2>&1 && corten exec box echo alive || echo none", states: ["none", "alive"],
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

const TWO: &[&str] = &["create --name box -v /anonymous busybox echo whole"];
const NETWORKS: &str = "corten inspect -f '{{len .NetworkSettings.Networks}}' box; corten start -a box";
const FILES: &[&str] = &[
    "run --rm --network none -v from:/v busybox sh -c 'for i in 1 2 3; do echo $i >/v/$i; done'",
    "volume export -o archive.tar from",
];

cases! {
    run_to_the_end of 3 {
        line: "run --name box --network none busybox true",
        state: "corten start -a box >/dev/null 2>&1 && echo there || echo none", states: ["none", "there"],
    }
    volume_import of 3 {
        before: FILES,
        line: "volume import data archive.tar",
        state: "corten volume inspect data >/dev/null 2>&1 || echo none; \
            corten volume inspect data >/dev/null 2>&1 && corten run --rm --network none -v data:/d busybox sh -c 'cat /d/1 /d/2 /d/3'",
        states: ["none", "1 2 3"],
    }
    rename of 3 {
        before: TWO,
        line: "rename box new",
        state: "corten inspect -f '{{.Name}}' box new 2>/dev/null; corten start -a box 2>/dev/null || corten start -a new",
        states: ["/box whole", "/new whole"],
    }
    update of 3 {
        before: TWO,
        line: "update --memory 64m --restart always box",
        state: "corten inspect -f '{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}' box", states: ["0 no", "67108864 always"],
    }
    network_connect of 3 {
        before: TWO,
        line: "network connect other box",
        state: NETWORKS, states: ["1 whole", "2 whole"],
    }
    network_disconnect of 3 {
        before: &["create --name box -v /anonymous busybox echo whole", "network connect other box"],
        line: "network disconnect other box",
        state: NETWORKS, states: ["2 whole", "1 whole"],
    }
    remove of 4 {
        before: TWO,
        line: "rm -v box",
        state: "corten start -a box 2>/dev/null || echo none", states: ["whole", "none"], removes: true,
    }
    remove_image of 4 {
        before: &["commit still new:1"],
        line: "rmi new:1",
        state: "corten run --rm --network none new:1 cat /file 2>/dev/null || echo none", states: ["mine", "none"], removes: true,
    }
    volume_remove of 4 {
        before: FILES,
        line: "volume rm from",
        state: "corten volume inspect from >/dev/null 2>&1 || echo none; \
            corten volume inspect from >/dev/null 2>&1 && corten run --rm --network none -v from:/d busybox sh -c 'cat /d/1 /d/2 /d/3'",
        states: ["1 2 3", "none"], removes: true,
    }
    network_remove of 4 {
        before: &["network create --label a=b new"],
        line: "network rm new",
        state: "corten network inspect -f '{{.Labels.a}}' new 2>/dev/null || echo none", states: ["b", "none"], removes: true,
    }
}

#[test]
fn pull() {
    let s = Sandbox::new();
    let documents = Documents::busybox();
    let web = Web::start(move |request| documents.answer(request));
    let case = Case {
        line: format!("pull -q {}/x", web.address),
        state: "corten images --format '{{.Repository}}' | wc -l; \
            for i in $(corten images -q); do corten run --rm --network none $i true || echo bad; done",
        states: &["1", "2"],
        ..Case::default()
    };
    cut_everywhere(s, &case);
}
