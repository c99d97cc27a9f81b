//! Each command of a container's life, killed at every point: before each system call that changes anything, in whichever of its
//! processes (the command, the monitor, the container's first process before its program). After each, one further command sets the
//! machine right, and nothing that was acknowledged is lost.
//!
//! Some points of each command are tried, by chance; all of them with `CORTEN_TEST_POINTS=all`, which `cargo xtask reliability` sets.

mod others;

use e2e::points::{Points, note, row};
use e2e::registry::Documents;
use e2e::trace::{Call, Fault, Injection, QUIET, Traced, harmless, in_sandbox};
use e2e::web::Web;
use e2e::{Facts, Sandbox, images::image, wait_until};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What is so before, and what the command makes of it.
#[derive(Clone, Copy)]
pub struct Case {
    /// What it is called in the table; empty: by its command line.
    pub title: &'static str,
    pub line: &'static str,
    /// What it prints when it has done it; empty: whatever it likes.
    pub says: &'static str,
    /// Run before each trial; `oci create` leaves a container that keeps its output open.
    pub prepare: &'static [&'static str],
    /// Names of containers whose monitors belong to it.
    pub monitors: &'static [&'static str],
    /// Shell (with `corten` as a function) that tells the state of things in one word or more.
    pub state: &'static str,
    /// What that may say after a fault; the last one is the state when it was acknowledged.
    pub states: &'static [&'static str],
    /// Run after each trial, whatever they answer.
    pub after: &'static [&'static str],
    /// Only the monitors are meant; the command makes them do something, or waits for them.
    pub monitors_alone: bool,
    /// For how long nothing may happen before it is over.
    pub quiet: Duration,
}

impl Default for Case {
    fn default() -> Case {
        Case::EMPTY
    }
}

impl Case {
    pub const EMPTY: Case = Case {
        title: "",
        line: "",
        says: "",
        prepare: &[],
        monitors: &[],
        state: "",
        states: &[],
        after: &[],
        monitors_alone: false,
        quiet: QUIET,
    };

    /// Keeps its row of a table.
    pub fn row(&self, table: &str, rest: &str) {
        match self.title {
            "" => row(table, self.line, rest),
            title => note(table, title, rest),
        }
    }
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

/// Files of the neighbour's that nothing changes.
fn kept(s: &Sandbox) -> Vec<(PathBuf, String)> {
    let [near, still] = ["near", "still"].map(|name| s.directory(name));
    let mut all = vec![s.scope.root.join("volumes/kept/_data/file"), still.join("config.json")];
    all.extend(["config.json", "running.json", "log.json"].map(|name| near.join(name)));
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, text)
    };
    all.into_iter().map(read).collect()
}

/// A case in its sandbox.
pub struct Watch<'a> {
    s: Sandbox,
    pub case: &'a Case,
    /// The machine and the store without what the case makes.
    before: (Facts, String),
    /// What of the neighbour is in files, and its first process.
    neighbour: (Vec<(PathBuf, String)>, String),
    looks: Cell<u32>,
    /// What the commands that clear up said last.
    cleared: RefCell<String>,
}

impl<'a> Watch<'a> {
    /// In a sandbox with a [`neighbour`].
    pub fn new(s: Sandbox, case: &'a Case) -> Watch<'a> {
        let before = (Facts::read(&s.scope), String::new());
        let neighbour = (kept(&s), format!("/proc/{}", s.inspect("near", "{{.State.Pid}}")));
        let mut watch =
            Watch { before, s, case, neighbour, looks: Cell::new(0), cleared: RefCell::default() };
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
            match line.strip_prefix("oci create") {
                Some(rest) => self.s.oci_apart(&format!("create{rest}")),
                None => _ = self.s.corten(line).ok(),
            }
        }
        let counts = |call: &Call| (call.others || !self.case.monitors_alone) && counts(call);
        let injection = Injection { counts: &counts, at, quiet: self.case.quiet };
        in_sandbox(&self.s, self.case.line, &self.monitors(), &injection)
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
        self.s.told(self.case.state)
    }

    /// The store's files, two levels of them.
    fn store(&self) -> String {
        let below = |path: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let mut all = Vec::new();
        for name in ["blobs", "layers", "images", "tags", "tmp"] {
            let first = below(&self.s.scope.root.join(name));
            all.extend(first.iter().flat_map(|path| below(path)));
            all.extend(first);
        }
        all.sort();
        all.iter().map(|path| format!("{}\n", path.display())).collect()
    }

    pub fn clear(&self) {
        let said = self.case.after.iter().map(|line| self.s.corten(line).stderr);
        *self.cleared.borrow_mut() = said.collect();
    }

    /// By its files and its process, and now and then also by what commands say of it.
    pub fn neighbour_lives(&self, trial: &Traced) -> Result<(), String> {
        let (files, process) = &self.neighbour;
        let changed =
            files.iter().find(|(path, text)| std::fs::read_to_string(path).ok().as_ref() != Some(text));
        if let Some((path, _)) = changed {
            return Err(format!("the neighbour's {} has changed: {trial}", path.display()));
        }
        if !Path::new(process).exists() {
            return Err(format!("the neighbour has ended: {trial}"));
        }
        self.looks.set(self.looks.get() + 1);
        if self.looks.get() % 8 == 1 {
            self.neighbour_answers().map_err(|e| format!("{e}\n{trial}"))
        } else {
            Ok(())
        }
    }

    fn neighbour_answers(&self) -> Result<(), String> {
        let whole = [
            ("exec near cat /v/file", "kept\n"),
            ("logs near", "said\n"),
            ("inspect -f '{{.State.Status}}' still", "created\n"),
        ];
        for (line, said) in whole {
            let seen = self.s.corten(line);
            if (seen.code, seen.stdout.as_str()) != (0, said) {
                return Err(format!("the neighbour: {seen}"));
            }
        }
        Ok(())
    }

    /// Waits until the machine is as it was.
    pub fn as_before(&self, trial: &Traced) -> Result<(), String> {
        let parent = format!("/{}", self.s.scope.cgroup_parent);
        let mut rest = String::new();
        // The kernel takes its time for links, which are cheap to count.
        let links =
            || std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default().lines().count();
        let before = 2 + self.before.0.0.iter().filter(|fact| fact.starts_with("link ")).count();
        let limit = Instant::now() + Duration::from_secs(10);
        while links() > before && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(5));
        }
        for _ in 0..400 * e2e::slowness() {
            rest = Facts::read(&self.s.scope).since(&self.before.0);
            // The parent of all groups stays; what somebody else mounted outside may go, and so may a process that had ended before; and
            // what happens at a thousand points fills a file.
            let stays = |l: &str| {
                let full = ["root/events.json.1", "root/events.lock"].iter().any(|name| l.ends_with(name));
                full || l.ends_with(&parent)
                    || l.starts_with("gone: mount ")
                    || l.starts_with("gone: process ")
            };
            rest = rest.lines().filter(|l| !stays(l)).map(|l| format!("{l}\n")).collect();
            if rest.is_empty() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        let (now, before) = (self.store(), &self.before.1);
        match rest.is_empty() && now == *before {
            true => Ok(()),
            false => {
                let (cleared, difference) = (self.cleared.borrow(), difference(before, &now));
                Err(format!("not as it was:\n{rest}{difference}{cleared}{trial}"))
            }
        }
    }

    pub fn end(self) {
        self.neighbour_answers().expect("the neighbour lives");
        for line in ["rm -f near still", "volume rm kept", "network rm other"] {
            self.s.corten(line).ok();
        }
        self.s.end();
    }
}

fn difference(before: &str, now: &str) -> String {
    let [old, new]: [BTreeSet<&str>; 2] = [before, now].map(|text| text.lines().collect());
    let gone = old.difference(&new).map(|line| format!("gone from the store: {line}\n"));
    gone.chain(new.difference(&old).map(|line| format!("left in the store: {line}\n"))).collect()
}

/// What was wrong at some points: all of them are told at the end, not only the first.
#[derive(Default)]
pub struct Wrong(Vec<String>);

impl Wrong {
    /// Notes it and sets things right for the next point, if that can be done.
    pub fn go_on(&mut self, watch: &mut Watch<'_>, what: String) -> bool {
        println!("WRONG: {what}");
        self.0.push(what);
        watch.s.corten("system check --repair");
        watch.clear();
        watch.before = (Facts::read(&watch.s.scope), watch.store());
        let trial = watch.trial(&|_| false, None);
        watch.clear();
        trial.code == 0 && watch.neighbour_answers().is_ok()
    }

    #[track_caller]
    pub fn none(self) {
        assert!(self.0.is_empty(), "wrong at {} points:\n{}", self.0.len(), self.0.join("\n\n"));
    }
}

/// What is wrong after a kill, and one further command.
fn judge(watch: &Watch<'_>, trial: &Traced) -> Result<(), String> {
    if trial.hung {
        return Err(format!("it hangs: {trial}"));
    }
    let repaired = watch.s.corten("system check --repair");
    let checked = watch.s.corten("system check");
    if repaired.code != 0 || checked.code != 0 || !checked.stdout.trim_end().ends_with(": no faults") {
        return Err(format!("{repaired}\n{checked}\n{trial}"));
    }
    watch.neighbour_lives(trial)?;
    let (now, states) = (watch.state(), watch.case.states);
    match trial.code {
        // What a monitor does by itself nobody has been promised, nor that a container that waits for its start is not killed.
        0 if Some(&now.as_str()) != states.last()
            && !watch.case.monitors_alone
            && trial.hit.as_deref() != Some("init: accept4") =>
        {
            return Err(format!("acknowledged, but {now:?}: {repaired}\n{trial}"));
        }
        _ if !states.contains(&now.as_str()) => return Err(format!("state {now:?}: {repaired}\n{trial}")),
        _ => {}
    }
    watch.clear();
    watch.as_before(trial)
}

fn killed_everywhere(s: Sandbox, case: &Case) {
    let mut watch = Watch::new(s, case);
    let counts = |call: &Call| !harmless(call);
    let whole = watch.trial(&counts, None);
    assert!(whole.code == 0 && !whole.hung, "{whole}");
    watch.clear();
    let (mut points, mut wrong) = (Points::new(case.line, whole.points), Wrong::default());
    while let Some(at) = points.next() {
        let trial = watch.trial(&counts, Some((at, Fault::Kill)));
        points.hit(trial.hit.as_deref());
        if let Err(fault) = judge(&watch, &trial)
            && !wrong.go_on(&mut watch, fault)
        {
            break;
        }
    }
    wrong.none();
    case.row("crash", &format!("{} | {}", points.tried(), points.processes()));
    watch.end();
}

pub const STATUS: &str = "corten inspect -f '{{.State.Status}}' box 2>/dev/null || echo none";
const RUN: &str = "run -d --name box -p 8080:80 -v data:/d busybox sh -c 'echo said; exec sleep 10000'";
pub const GONE: &[&str] = &["rm -f box new", "volume rm data"];

/// One test a command.
macro_rules! cases {
    ($($name:ident { line: $line:expr, prepare: $prepare:expr, monitors: $monitors:expr, state: $state:expr, states: $states:expr, after: $after:expr $(,)? })*) => {
        $(#[test]
        fn $name() {
            killed_everywhere(neighbour(), &Case { line: $line, prepare: &$prepare, monitors: &$monitors, state: $state, states: &$states, after: $after, ..Case::default() });
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
    update_publish {
        line: "update -p 8081:81 box",
        prepare: [RUN], monitors: ["box"],
        state: "corten inspect -f '{{.State.Status}}' box; corten port box | cut -d ' ' -f 1",
        states: ["running 80/tcp", "running 80/tcp 81/tcp"], after: GONE,
    }
    copy_in {
        line: "cp /etc/passwd box:/copied",
        prepare: [RUN], monitors: [],
        state: "corten exec -i box cmp -s /copied - </etc/passwd && echo whole || corten exec box sh -c 'ls / | grep -c copied'",
        states: ["0", "whole"], after: GONE,
    }
    copy_in_stopped {
        line: "cp /etc/group box:/copied",
        prepare: ["create --name box -v data:/d busybox cat /copied"], monitors: [],
        state: "corten start -a box 2>/dev/null | cmp -s - /etc/group && echo whole || echo none",
        states: ["none", "whole"], after: GONE,
    }
    tag {
        line: "tag busybox new:1",
        prepare: [], monitors: [],
        state: "corten images -q new:1 | wc -l; corten run --rm --network none busybox echo alive",
        states: ["0 alive", "1 alive"], after: &["rmi new:1"],
    }
    remove_image {
        line: "rmi new:1",
        prepare: ["commit near new:1"], monitors: [],
        state: "corten images -q new:1 | wc -l; corten run --rm --network none busybox echo alive",
        states: ["1 alive", "0 alive"], after: &["rmi new:1", "image prune -f"],
    }
    image_prune {
        line: "image prune -f",
        prepare: ["commit near new:1", "commit -c 'ENV A=1' near new:1"], monitors: [],
        state: "corten images -q | wc -l; corten run --rm --network none new:1 sh -c 'echo $A'",
        states: ["3 1", "2 1"], after: &["rmi new:1", "image prune -f"],
    }
    container_prune {
        line: "container prune -f --filter label=old",
        prepare: ["create --name box -l old -p 8080:80 -v data:/d busybox true", "create --name new -l old busybox true"],
        monitors: [],
        state: "corten ps -aq -f label=old | wc -l", states: ["2", "1", "0"], after: GONE,
    }
    network_prune {
        line: "network prune -f --filter label=old",
        prepare: ["network create --subnet 10.94.2.0/24 --label old new", "run --rm --network new busybox true"],
        monitors: [],
        state: "corten network ls -q -f name=new | wc -l", states: ["1", "0"], after: &["network rm new"],
    }
    volume_prune {
        line: "volume prune -af --filter label=old",
        prepare: ["volume create --label old data"], monitors: [],
        state: "corten volume ls -q -f label=old | wc -l", states: ["1", "0"], after: &["volume rm data"],
    }
    system_prune {
        line: "system prune -f --filter label=old",
        prepare: [
            "create --name box -l old -v data:/d busybox true",
            "network create --subnet 10.94.2.0/24 --label old new",
            "commit -c 'LABEL old=1' near new:1",
            "commit near new:1",
        ],
        monitors: [],
        state: "echo $(corten ps -aq -f label=old | wc -l) $(corten network ls -q -f name=new | wc -l) $(corten images -qf label=old | wc -l); corten run --rm --network none new:1 echo alive",
        // One kind after the other.
        states: ["1 1 1 alive", "0 1 1 alive", "0 0 1 alive", "0 0 0 alive"],
        after: &["rm -f box", "network rm new", "volume rm data", "rmi new:1", "image prune -f"],
    }
    volume_import {
        line: "volume import data archive.tar",
        prepare: ["volume export -o archive.tar kept"], monitors: [],
        state: "corten run --rm --network none -v data:/d busybox cat /d/file 2>/dev/null || echo none",
        states: ["none", "kept"], after: &["volume rm data"],
    }
    volume_export {
        line: "volume export -o archive.tar kept",
        prepare: [], monitors: [],
        state: "tar -xOf archive.tar ./file 2>/dev/null || echo none; rm -f archive.tar .archive.tar.*",
        states: ["none", "kept"], after: &[],
    }
}

const PULLED: &str =
    "corten images --format '{{.Tag}}' | wc -l; corten run --rm --network none busybox echo alive";

#[test]
fn load() {
    let case = Case {
        line: format!("load -q -i {}", image("several.tar").display()).leak(),
        prepare: &[],
        monitors: &[],
        state: PULLED,
        // It ends with the names, one by one.
        states: &["1 alive", "2 alive", "3 alive", "4 alive"],
        after: &["rmi -f first:1", "rmi -f first:2", "rmi -f second:1", "image prune -f"],
        ..Case::default()
    };
    killed_everywhere(neighbour(), &case);
}

#[test]
fn pull() {
    let s = neighbour();
    let documents = Documents::busybox();
    let web = Web::start(move |request| documents.answer(request));
    let line: &str = format!("pull -q {}/x", web.address).leak();
    let case = Case {
        line,
        prepare: &[],
        monitors: &[],
        state: PULLED,
        states: &["1 alive", "2 alive"],
        // What was downloaded stays for the next one.
        after: vec![line, format!("rmi -f {}/x", web.address).leak(), "image prune -f"].leak(),
        ..Case::default()
    };
    killed_everywhere(s, &case);
}
