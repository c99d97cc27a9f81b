//! Each command of a container's life, killed at every point: before each system call that changes anything, in whichever of its
//! processes (the command, the monitor, the container's first process before its program). After each, one further command sets the
//! machine right, and nothing that was acknowledged is lost.
//!
//! Some points of each command are tried, by chance; all of them with `CORTEN_TEST_POINTS=all`, which `cargo xtask reliability` sets.

use e2e::points::{Points, row};
use e2e::trace::{Call, Fault, Injection, Traced, harmless, in_sandbox};
use e2e::{Facts, Sandbox, wait_until};

/// What is so before, and what the command makes of it.
pub struct Case {
    pub line: &'static str,
    /// Run before each trial.
    pub prepare: &'static [&'static str],
    /// Names of containers whose monitors belong to it.
    pub monitors: &'static [&'static str],
    /// Shell (with `corten` as a function) that tells the state of things in one word or more.
    pub state: &'static str,
    /// What that may say after a fault; the last one is the state when it was acknowledged.
    pub states: &'static [&'static str],
    /// Run after each trial, whatever they answer.
    pub after: &'static [&'static str],
}

/// Somebody whom all this does not concern, and things that were acknowledged before.
pub fn neighbour() -> Sandbox {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.94.1.0/24 other").ok();
    s.corten("volume create kept").ok();
    s.detached("--name near --network other -v kept:/v busybox sh -c 'echo kept >/v/file; echo said; exec sleep 10000'");
    s.corten("create --name still busybox true").ok();
    wait_until("the neighbour", 20, || s.corten("logs near").ok() == "said");
    s
}

/// A case in its sandbox.
pub struct Watch<'a> {
    s: Sandbox,
    case: &'a Case,
    /// The machine and the store without what the case makes.
    before: (Facts, String),
}

impl<'a> Watch<'a> {
    /// In a sandbox with a [`neighbour`].
    pub fn new(s: Sandbox, case: &'a Case) -> Watch<'a> {
        let mut watch = Watch { before: (Facts::read(&s.scope), String::new()), s, case };
        // What is made once is made.
        let whole = watch.trial(&|_| false, None);
        assert!(whole.code == 0 && !whole.hung, "{whole}");
        assert_eq!(Some(&watch.state().as_str()), case.states.last(), "{whole}");
        watch.clear();
        // Links go away in the kernel's own time: all of them but the neighbour's.
        let cables = |facts: &Facts| facts.0.iter().filter(|f| f.starts_with("link veth")).count();
        let neighbours = cables(&watch.before.0);
        wait_until("the end of the links", 20, || cables(&Facts::read(&watch.s.scope)) == neighbours);
        watch.before = (Facts::read(&watch.s.scope), watch.store());
        watch
    }

    /// The command once, with a fault or without.
    pub fn trial(&self, counts: &dyn Fn(&Call) -> bool, at: Option<(usize, Fault)>) -> Traced {
        for line in self.case.prepare {
            self.s.corten(line).ok();
        }
        in_sandbox(&self.s, self.case.line, &self.monitors(), &Injection { counts, at })
    }

    fn monitors(&self) -> Vec<i32> {
        let pid_of = |name: &&str| {
            let pid = self.s.inspect(name, "{{.State.Pid}}");
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent");
            parent.trim().parse().expect("a number")
        };
        self.case.monitors.iter().map(pid_of).collect()
    }

    pub fn state(&self) -> String {
        let scope = &self.s.scope;
        let output = self.s.host(&format!(
            "export CORTEN_ROOT={} CORTEN_STATE={} CORTEN_CGROUP_PARENT={}; corten() {{ {} \"$@\"; }}; {}",
            scope.root.display(),
            scope.state.display(),
            scope.cgroup_parent,
            e2e::binary().display(),
            self.case.state,
        ));
        output.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The store's files.
    fn store(&self) -> String {
        let list = "cd root && for d in blobs layers images tags tmp; do [ ! -d $d ] || find $d -maxdepth 2; done | sort";
        self.s.host(list).stdout
    }

    pub fn clear(&self) {
        for line in self.case.after {
            self.s.corten(line);
        }
    }

    #[track_caller]
    pub fn neighbour_lives(&self, trial: &Traced) {
        let seen = self.s.corten("exec near cat /v/file");
        assert_eq!((seen.code, seen.stdout.as_str()), (0, "kept\n"), "the neighbour: {seen}\n{trial}");
        let said = self.s.corten("logs near");
        assert_eq!(said.stdout, "said\n", "the neighbour's log: {said}\n{trial}");
        let still = self.s.corten("inspect -f '{{.State.Status}}' still");
        assert_eq!(still.stdout, "created\n", "{still}\n{trial}");
    }

    /// Waits until the machine is as it was.
    #[track_caller]
    pub fn as_before(&self, trial: &Traced) {
        let parent = format!("/{}", self.s.scope.cgroup_parent);
        let mut rest = String::new();
        for _ in 0..1200 * e2e::slowness() {
            rest = Facts::read(&self.s.scope).since(&self.before.0);
            // The parent of all groups stays; what somebody else mounted outside may go.
            rest = rest
                .lines()
                .filter(|l| !l.ends_with(&parent) && !l.starts_with("gone: mount "))
                .map(|l| format!("{l}\n"))
                .collect();
            if rest.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        assert_eq!(rest, "", "not as it was:\n{trial}");
        assert_eq!(self.store(), self.before.1, "the store is not as it was:\n{trial}");
    }

    pub fn end(self) {
        for line in ["rm -f near still", "volume rm kept", "network rm other"] {
            self.s.corten(line).ok();
        }
        self.s.end();
    }
}

fn killed_everywhere(case: &Case) {
    let watch = Watch::new(neighbour(), case);
    let counts = |call: &Call| !harmless(call);
    let whole = watch.trial(&counts, None);
    assert!(whole.code == 0 && !whole.hung, "{whole}");
    watch.clear();
    let mut points = Points::new(case.line, whole.points);
    while let Some(at) = points.next() {
        let trial = watch.trial(&counts, Some((at, Fault::Kill)));
        assert!(!trial.hung, "it hangs: {trial}");
        points.hit(trial.hit.as_deref());
        // The one further command.
        let repaired = watch.s.corten("system check --repair");
        assert_eq!(repaired.code, 0, "{repaired}\n{trial}");
        let checked = watch.s.corten("system check");
        assert!(
            checked.code == 0 && checked.stdout.trim_end().ends_with(": no faults"),
            "{checked}\n{trial}"
        );
        watch.neighbour_lives(&trial);
        let now = watch.state();
        match trial.code {
            0 => assert_eq!(Some(&now.as_str()), case.states.last(), "acknowledged: {repaired}\n{trial}"),
            _ => assert!(case.states.contains(&now.as_str()), "state {now:?}: {repaired}\n{trial}"),
        }
        watch.clear();
        watch.as_before(&trial);
    }
    row("crash", case.line, &format!("{} | {}", points.tried(), points.processes()));
    watch.end();
}

pub const STATUS: &str = "corten inspect -f '{{.State.Status}}' box 2>/dev/null || echo none";
const RUN: &str = "run -d --name box -p 8080:80 -v data:/d busybox sh -c 'echo said; exec sleep 10000'";
pub const GONE: &[&str] = &["rm -f box", "rm -f new", "volume rm data"];

/// One test a command.
macro_rules! cases {
    ($($name:ident { line: $line:expr, prepare: $prepare:expr, monitors: $monitors:expr, state: $state:expr, states: $states:expr, after: $after:expr $(,)? })*) => {
        $(#[test]
        fn $name() {
            killed_everywhere(&Case { line: $line, prepare: &$prepare, monitors: &$monitors, state: $state, states: &$states, after: $after });
        })*
    };
}

cases! {
    create {
        line: "create --name box -p 8080:80 -v data:/d busybox true",
        prepare: [], monitors: [], state: STATUS, states: ["none", "created"], after: GONE,
    }
    start {
        line: "start box",
        prepare: ["create --name box -p 8080:80 -v data:/d busybox sh -c 'echo said; exec sleep 10000'"],
        monitors: [], state: STATUS, states: ["created", "exited", "running"], after: GONE,
    }
    run {
        line: RUN,
        prepare: [], monitors: [], state: STATUS, states: ["none", "created", "exited", "running"], after: GONE,
    }
    run_to_the_end {
        line: "run --rm --name box --init -v /anonymous busybox true",
        prepare: [], monitors: [], state: STATUS, states: ["created", "exited", "running", "none"], after: GONE,
    }
    exec {
        line: "exec box true",
        prepare: [RUN], monitors: ["box"], state: "corten inspect -f '{{.State.Status}}' box; corten logs box",
        states: ["running said", "running said"], after: GONE,
    }
    stop {
        line: "stop -t 0 box",
        prepare: [RUN], monitors: ["box"], state: "corten inspect -f '{{.State.Status}}' box; corten logs box",
        states: ["running said", "exited said"], after: GONE,
    }
    kill {
        line: "kill box",
        prepare: [RUN], monitors: ["box"], state: STATUS, states: ["running", "exited"], after: GONE,
    }
    restart {
        line: "restart -t 0 box",
        prepare: [RUN], monitors: ["box"], state: STATUS, states: ["exited", "created", "running"], after: GONE,
    }
    remove {
        line: "rm -f box",
        prepare: [RUN], monitors: ["box"], state: STATUS, states: ["running", "exited", "none"], after: GONE,
    }
    pause {
        line: "pause box",
        prepare: [RUN], monitors: ["box"], state: STATUS, states: ["running", "paused"], after: &["unpause box", "rm -f box", "volume rm data"],
    }
    update {
        line: "update --memory 64m --cpus 0.5 box",
        prepare: [RUN], monitors: ["box"],
        state: "corten inspect -f '{{.State.Status}} {{.HostConfig.Memory}}' box", states: ["running 0", "running 67108864"], after: GONE,
    }
    rename {
        line: "rename box new",
        prepare: [RUN], monitors: ["box"],
        state: "corten ps -a -f volume=data --format '{{.Names}}'; corten inspect -f '{{.Name}}' box new 2>/dev/null",
        states: ["box /box", "new /new"], after: GONE,
    }
    network_connect {
        line: "network connect other box",
        prepare: [RUN], monitors: ["box"],
        state: "corten inspect -f '{{len .NetworkSettings.Networks}}' box; corten exec box ls /sys/class/net | wc -l",
        states: ["1 2", "2 3"], after: GONE,
    }
    network_disconnect {
        line: "network disconnect other box",
        prepare: [RUN, "network connect other box"], monitors: ["box"],
        state: "corten inspect -f '{{len .NetworkSettings.Networks}}' box; corten exec box ls /sys/class/net | wc -l",
        states: ["2 3", "1 2"], after: GONE,
    }
    network_create {
        line: "network create --subnet 10.94.2.0/24 --ipv6 new",
        prepare: [], monitors: [],
        state: "corten network ls -q -f name=new | wc -l", states: ["0", "1"], after: &["network rm new"],
    }
    network_remove {
        line: "network rm new",
        prepare: ["network create --subnet 10.94.2.0/24 --ipv6 new", "run --rm --network new busybox true"], monitors: [],
        state: "corten network ls -q -f name=new | wc -l", states: ["1", "0"], after: &["network rm new"],
    }
    volume_create {
        line: "volume create --label a=b data",
        prepare: [], monitors: [],
        state: "corten volume inspect -f '{{.Labels.a}}' data 2>/dev/null || echo none", states: ["none", "b"], after: &["volume rm data"],
    }
    volume_remove {
        line: "volume rm data",
        prepare: ["volume create --label a=b data", "run --rm --network none -v data:/d busybox touch /d/file"], monitors: [],
        state: "corten volume inspect -f '{{.Labels.a}}' data 2>/dev/null || echo none", states: ["b", "none"], after: &["volume rm data"],
    }
    remove_with_volumes {
        line: "rm -f -v box",
        prepare: ["run -d --name box -v /anonymous -v data:/d busybox sleep 10000"], monitors: ["box"],
        state: "corten inspect -f '{{.State.Status}}' box 2>/dev/null || corten volume ls -q | wc -l",
        states: ["running", "exited", "2"], after: &["rm -fv box", "volume rm data"],
    }
    commit {
        line: "commit box new:1",
        prepare: [RUN], monitors: ["box"],
        state: "corten inspect -f '{{.State.Status}}' box; corten images -q new:1 | wc -l; corten exec box echo alive",
        states: ["running 0 alive", "running 1 alive"], after: &["rm -f box", "volume rm data", "rmi new:1", "image prune -f"],
    }
}
