//! System calls that fail where they seldom do: no space, an error of the disk, no memory, a signal. Each answers with success or with one
//! line of error, leaves nothing behind, and loses nothing that was acknowledged.
//!
//! Of `create` some points are tried, by chance. The others do not pass at all of theirs yet: `cargo xtask reliability faults` tries
//! every command at every point.

use crate::crash::{Case, STATUS, Watch};
use e2e::points::{Points, row};
use e2e::registry::Documents;
use e2e::trace::{Call, Fault, Traced, creates};
use e2e::web::Web;
use e2e::{Sandbox, images::image};

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

fn one_line(trial: &Traced, codes: &[i32]) {
    assert!(codes.contains(&trial.code), "{trial}");
    let hint =
        |line: &str| ["  ", "note:", "warning:", "Run 'corten"].iter().any(|start| line.starts_with(start));
    let said: Vec<&str> =
        trial.stderr.lines().filter(|line| !line.trim().is_empty() && !hint(line)).collect();
    assert_eq!(said.len(), 1, "an error is one line: {trial}");
    assert!(!trial.stderr.contains("panicked"), "{trial}");
}

/// `codes`: what it may exit with.
fn failing_everywhere(case: &Case, codes: &[i32], make: impl FnOnce() -> Sandbox) {
    let watch = Watch::new(make(), case);
    let mut summary = Vec::new();
    for (name, error, calls) in FAULTS {
        let counts = |call: &Call| counts(error, calls, call);
        let whole = watch.trial(&counts, None);
        assert!(whole.code == 0 && !whole.hung, "{whole}");
        watch.clear();
        let (mut points, mut through) = (Points::new(&format!("{} {name}", case.line), whole.points), 0);
        while let Some(at) = points.next() {
            let trial = watch.trial(&counts, Some((at, Fault::Errno(error))));
            assert!(!trial.hung, "it hangs: {trial}");
            points.hit(trial.hit.as_deref());
            let now = watch.state();
            match trial.code {
                0 => {
                    through += 1;
                    assert_eq!(Some(&now.as_str()), case.states.last(), "acknowledged: {trial}");
                }
                _ => {
                    one_line(&trial, codes);
                    assert!(case.states.contains(&now.as_str()), "state {now:?}: {trial}");
                }
            }
            watch.neighbour_lives(&trial);
            watch.clear();
            watch.as_before(&trial);
        }
        summary.push(format!("{} ({through})", points.tried()));
    }
    row("faults", case.line, &summary.join(" | "));
    watch.end();
}

macro_rules! cases {
    ($($(#[$attribute:meta])* $name:ident { line: $line:expr, prepare: $prepare:expr, state: $state:expr, states: $states:expr, codes: $codes:expr $(,)? })*) => {
        $(#[test]
        $(#[$attribute])*
        fn $name() {
            let case = Case { line: $line, prepare: &$prepare, monitors: &[], state: $state, states: &$states, after: &["rm -fv box", "volume rm data"] };
            failing_everywhere(&case, &$codes, crate::crash::neighbour);
        })*
    };
}

const CREATE: &str =
    "create --name box -p 8080:80 -v data:/d -v /anonymous busybox sh -c 'echo said; exec sleep 10000'";

cases! {
    create {
        line: CREATE, prepare: [], state: STATUS, states: ["none", "created"], codes: [1, 125],
    }
    #[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
    start {
        line: "start box", prepare: [CREATE], state: STATUS, states: ["created", "exited", "running"], codes: [1, 125, 126, 127],
    }
    #[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
    run {
        line: "run -d --name box -p 8080:80 --network other -v data:/d busybox sleep 10000",
        prepare: [], state: STATUS, states: ["none", "created", "exited", "running"], codes: [1, 125, 126, 127],
    }
    #[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
    remove {
        line: "rm -v box", prepare: [CREATE], state: STATUS, states: ["created", "none"], codes: [1],
    }
    #[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
    remove_running {
        line: "rm -f box",
        prepare: ["run -d --name box -p 8080:80 -v data:/d busybox sleep 10000"],
        state: STATUS, states: ["running", "exited", "none"], codes: [1],
    }
}

fn images(line: String, after: &'static [&'static str], all: &'static [&'static str]) {
    let state = "corten images --format '{{.Tag}}' | wc -l";
    let case = Case { line: line.leak(), prepare: &[], monitors: &[], state, states: all, after };
    failing_everywhere(&case, &[1], crate::crash::neighbour);
}

#[test]
#[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
fn load() {
    images(
        format!("load -q -i {}", image("several.tar").display()),
        &["rmi -f first:1", "rmi -f first:2", "rmi -f second:1", "image prune -f"],
        &["1", "2", "3", "4"],
    );
}

#[test]
#[ignore = "not at all points yet: `cargo xtask reliability faults` tries them"]
fn pull() {
    let documents = Documents::busybox();
    let web = Web::start(move |request| documents.answer(request));
    let after = vec![format!("rmi -f {}/x", web.address).leak() as &str, "image prune -f"].leak();
    images(format!("pull -q {}/x", web.address), after, &["1", "2"]);
}
