//! System calls that fail where they seldom do: no space, an error of the disk, no memory, a signal. Each answers with success or with one
//! line of error, leaves nothing behind, and loses nothing that was acknowledged.
//!
//! Of each command some points are tried, by chance; all of them with `CORTEN_TEST_POINTS=all`, which `cargo xtask reliability` sets.

pub mod others;

use crate::crash::{Case, STATUS, Watch, Wrong, neighbour};
use e2e::points::Points;
use e2e::registry::Documents;
use e2e::trace::{Call, Fault, Traced, creates};
use e2e::web::Web;
use e2e::{Sandbox, images::image};
use std::cell::Cell;

const FILES: &str = "write pwrite64 writev open openat openat2 mkdir mkdirat symlink symlinkat link linkat rename renameat renameat2 \
    fsync fdatasync ftruncate fallocate copy_file_range mknod mknodat setxattr fsetxattr lsetxattr";

/// Errors, and the calls that have them. An allocation that fails ends the process as a kill does, and is not among them.
const FAULTS: [(&str, i32, &str); 4] = [
    ("ENOSPC", libc::ENOSPC, FILES),
    (
        "EIO",
        libc::EIO,
        "read pread64 write pwrite64 open openat openat2 fsync fdatasync getdents64 stat lstat fstat newfstatat statx readlink \
        readlinkat unlink unlinkat rmdir rename renameat renameat2 mkdir mkdirat chmod fchmod fchmodat chown fchown fchownat \
        symlink symlinkat link linkat statfs fstatfs",
    ),
    (
        "ENOMEM",
        libc::ENOMEM,
        "open openat openat2 socket socketpair bind sendto sendmsg clone clone3 unshare setns mount umount2 fsopen fsconfig fsmount \
        move_mount open_tree mount_setattr pivot_root epoll_create1 epoll_ctl pipe2 signalfd4 eventfd2 memfd_create seccomp prctl \
        bpf ioctl mkdir mkdirat poll pidfd_open setgroups setresuid setresgid execve execveat",
    ),
    (
        "EINTR",
        libc::EINTR,
        "read write recvfrom recvmsg sendto sendmsg poll ppoll epoll_wait epoll_pwait flock wait4 waitid connect accept4 open openat",
    ),
];

fn counts(error: i32, calls: &str, call: &Call) -> bool {
    let opens = call.name.starts_with("open") && call.name != "open_tree";
    (!opens || error != libc::ENOSPC || creates(call))
        && calls.split_ascii_whitespace().any(|name| name == call.name)
}

/// That an error is one line, which says more than a number, and has one of these codes.
fn one_line(trial: &Traced, codes: &[i32]) -> Result<(), String> {
    let hint =
        |line: &str| ["  ", "note:", "warning:", "Run 'corten"].iter().any(|start| line.starts_with(start));
    let said = trial.stderr.lines().filter(|line| !line.trim().is_empty() && !hint(line));
    match said.count() {
        _ if !codes.contains(&trial.code) => Err(format!("exit code {}: {trial}", trial.code)),
        _ if trial.stderr.contains("panicked") => Err(format!("a panic: {trial}")),
        1 => Ok(()),
        lines => Err(format!("an error of {lines} lines: {trial}")),
    }
}

/// What is wrong after a trial. Success: whether the command got through.
fn judge(watch: &Watch<'_>, codes: &[i32], trial: &Traced) -> Result<bool, String> {
    if trial.hung {
        return Err(format!("it hangs: {trial}"));
    }
    let (now, states) = (watch.state(), watch.case.states);
    match trial.code {
        0 if Some(&now.as_str()) != states.last() => {
            return Err(format!("acknowledged, but {now:?}: {trial}"));
        }
        0 if !watch.case.says.is_empty() && trial.stdout != watch.case.says => {
            return Err(format!("it succeeds, but does not say {:?}: {trial}", watch.case.says));
        }
        0 => {}
        _ => {
            one_line(trial, codes)?;
            if !states.contains(&now.as_str()) {
                return Err(format!("state {now:?}: {trial}"));
            }
        }
    }
    watch.neighbour_lives(trial)?;
    watch.clear();
    watch.as_before(trial)?;
    Ok(trial.code == 0)
}

/// How many points a command has for each error.
fn number(watch: &Watch<'_>) -> [usize; FAULTS.len()] {
    let numbers = [const { Cell::new(0) }; FAULTS.len()];
    let count = |call: &Call| {
        for (number, (_, error, calls)) in numbers.iter().zip(FAULTS) {
            number.set(number.get() + usize::from(counts(error, calls, call)));
        }
        false
    };
    let whole = watch.trial(&count, None);
    assert!(whole.code == 0 && !whole.hung, "{whole}");
    watch.clear();
    numbers.map(Cell::into_inner)
}

/// `codes`: what it may exit with.
fn failing_everywhere(s: Sandbox, case: &Case, codes: &[i32]) {
    let mut watch = Watch::new(s, case);
    let numbers = number(&watch);
    let mut points = Points::new(&format!("fault: {}", case.line), numbers.iter().sum());
    let (mut tried, mut through, mut wrong) = ([0; FAULTS.len()], [0; FAULTS.len()], Wrong::default());
    while let Some(mut at) = points.next() {
        let mut which = 0;
        while at >= numbers[which] {
            at -= numbers[which];
            which += 1;
        }
        let (name, error, calls) = FAULTS[which];
        let trial = watch.trial(&|call| counts(error, calls, call), Some((at, Fault::Errno(error))));
        points.hit(trial.hit.as_deref());
        tried[which] += usize::from(trial.hit.is_some());
        match judge(&watch, codes, &trial) {
            Ok(got_through) => through[which] += usize::from(got_through && trial.hit.is_some()),
            Err(fault) if !wrong.go_on(&mut watch, format!("{name}: {fault}")) => break,
            Err(_) => {}
        }
    }
    wrong.none();
    let cells: Vec<String> = tried.iter().zip(through).map(|(n, m)| format!("{n} ({m})")).collect();
    case.row("faults", &cells.join(" | "));
    watch.end();
}

macro_rules! cases {
    ($($name:ident { line: $line:expr, $(says: $says:expr,)? prepare: $prepare:expr, monitors: $monitors:expr, state: $state:expr, states: $states:expr, codes: $codes:expr, after: $after:expr $(,)? })*) => {
        $(#[test]
        fn $name() {
            let case = Case { line: $line, $(says: $says,)? prepare: &$prepare, monitors: &$monitors, state: $state, states: &$states, after: &$after, ..Case::default() };
            failing_everywhere(neighbour(), &case, &$codes);
        })*
    };
}

const CREATE: &str =
    "create --name box -p 8080:80 -v data:/d -v /anonymous busybox sh -c 'echo said; exec sleep 10000'";
const RUN: &str = "run -d --name box -p 8080:80 --network other -v data:/d busybox sleep 10000";
const GONE: [&str; 2] = ["rm -fv box", "volume rm data"];

cases! {
    create {
        line: CREATE, prepare: [], monitors: [], state: STATUS, states: ["none", "created"], codes: [1, 125], after: GONE,
    }
    start {
        line: "start box", prepare: [CREATE], monitors: [],
        state: STATUS, states: ["created", "exited", "running"], codes: [1, 125, 126, 127], after: GONE,
    }
    run {
        line: RUN, prepare: [], monitors: [],
        state: STATUS, states: ["none", "created", "exited", "running"], codes: [1, 125, 126, 127], after: GONE,
    }
    run_attached {
        line: "run --name box busybox echo said", says: "said\n", prepare: [], monitors: [],
        state: STATUS, states: ["none", "created", "running", "exited"], codes: [1, 125, 126, 127], after: GONE,
    }
    remove {
        line: "rm -v box", prepare: [CREATE], monitors: [], state: STATUS, states: ["created", "none"], codes: [1], after: GONE,
    }
    remove_running {
        line: "rm -f box", prepare: [RUN], monitors: ["box"],
        state: STATUS, states: ["running", "exited", "none"], codes: [1], after: GONE,
    }
    stop {
        line: "stop -t 0 box", says: "box\n", prepare: [RUN], monitors: ["box"],
        state: STATUS, states: ["running", "exited"], codes: [1], after: GONE,
    }
    exec {
        line: "exec box echo alive", says: "alive\n", prepare: [RUN], monitors: [],
        state: STATUS, states: ["running"], codes: [1, 125, 126, 127], after: GONE,
    }
    commit {
        line: "commit box new:1", prepare: [RUN], monitors: [],
        state: "corten inspect -f '{{.State.Status}}' box; corten images -q new:1 | wc -l; corten exec box echo alive",
        states: ["running 0 alive", "running 1 alive"], codes: [1],
        after: ["rm -fv box", "volume rm data", "rmi -f new:1", "image prune -f"],
    }
    network_create {
        line: "network create --subnet 10.94.2.0/24 --ipv6 new", prepare: [], monitors: [],
        state: "corten network ls -q -f name=new | wc -l", states: ["0", "1"], codes: [1], after: ["network rm new"],
    }
    volume_create {
        line: "volume create --label a=b data", prepare: [], monitors: [],
        state: "corten volume inspect -f '{{.Labels.a}}' data 2>/dev/null || echo none", states: ["none", "b"], codes: [1],
        after: ["volume rm data"],
    }
}

/// What fails at a load is as if it had not been tried: all of an archive's images are there, or none.
fn images(s: Sandbox, line: String, after: &'static [&'static str], all: &'static [&'static str]) {
    let state = "corten images --format '{{.Tag}}' | wc -l";
    let case = Case { line: line.leak(), state, states: all, after, ..Case::default() };
    failing_everywhere(s, &case, &[1]);
}

#[test]
fn load() {
    images(
        neighbour(),
        format!("load -q -i {}", image("several.tar").display()),
        &["rmi -f first:1", "rmi -f first:2", "rmi -f second:1", "image prune -f"],
        &["1", "4"],
    );
}

#[test]
fn pull() {
    let s = neighbour();
    let documents = Documents::busybox();
    let web = Web::start(move |request| documents.answer(request));
    let line = format!("pull -q {}/x", web.address);
    // What was downloaded stays for the next one.
    let after = [line.clone(), format!("rmi -f {}/x", web.address), "image prune -f".to_owned()];
    let after: Vec<&str> = after.map(|line| line.leak() as &str).to_vec();
    images(s, line, after.leak(), &["1", "2"]);
}
