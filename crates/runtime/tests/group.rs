//! Real control groups, of v1 or v2: frozen, changed, watched and emptied. Passes where this user may make none.

use runtime::group::{self, GroupPath, OomWatch, Watched};
use runtime::{Cgroups, GroupPaths, Host, Resources};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Groups of this test's own in all hierarchies, with programs in them; gone at the end.
struct Groups {
    paths: GroupPaths,
    children: Vec<Child>,
}

impl Groups {
    fn new(name: &str) -> Option<Groups> {
        let host = Host::read();
        let name = format!("corten-test-{name}-{}", std::process::id());
        let paths = GroupPaths::everywhere(&name, &host);
        if let Cgroups::V2 { mount } = &host.cgroups {
            for controller in &host.controllers {
                let _ = std::fs::write(format!("{mount}/cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        for path in paths.iter() {
            if let Err(e) = std::fs::create_dir(path.dir()) {
                eprintln!("no control groups to test with: {e}");
                return None;
            }
            if path.has("cpuset") {
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    let above = std::fs::read_to_string(format!("{}/{file}", path.mount)).unwrap();
                    std::fs::write(format!("{}/{file}", path.dir()), above).unwrap();
                }
            }
        }
        Some(Groups { paths, children: Vec::new() })
    }

    /// Runs a script in the groups.
    fn run(&mut self, script: &str) -> i32 {
        let join: String = self.paths.dirs().map(|dir| format!("echo $$ >{dir}/cgroup.procs\n")).collect();
        let child = Command::new("sh").args(["-c", &format!("{join}{script}")]).spawn().unwrap();
        let pid = child.id().cast_signed();
        self.children.push(child);
        let end = Instant::now() + Duration::from_secs(20);
        while !group::processes(&self.paths).unwrap().contains(&pid) || self.joining(pid) {
            assert!(Instant::now() < end, "{pid} does not join");
            std::thread::sleep(Duration::from_millis(1));
        }
        pid
    }

    /// It joins them one after the other.
    fn joining(&self, pid: i32) -> bool {
        let last = self.paths.dirs().last().unwrap();
        !std::fs::read_to_string(format!("{last}/cgroup.procs"))
            .unwrap()
            .lines()
            .any(|l| l == pid.to_string())
    }

    fn read(&self, v1: &str, v2: &str) -> String {
        let v1_path = self.paths.of(v1.split('.').next().unwrap()).map(GroupPath::dir);
        let path = match v1_path {
            Some(dir) => format!("{dir}/{v1}"),
            None => format!("{}/{v2}", self.paths.unified().unwrap().dir()),
        };
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")).trim().to_owned()
    }

    fn is_v2(&self) -> bool {
        self.paths.iter().all(GroupPath::is_v2)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let _ = group::kill_all(&self.paths);
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for dir in self.paths.dirs() {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

/// User time of a process, in ticks.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(11).unwrap().parse().unwrap()
}

#[test]
fn a_frozen_group_does_nothing() {
    let Some(mut groups) = Groups::new("freeze") else { return };
    let pid = groups.run("while :; do :; done");
    assert!(!group::is_frozen(&groups.paths).unwrap());
    group::freeze(&groups.paths).unwrap();
    group::freeze(&groups.paths).unwrap();
    assert!(group::is_frozen(&groups.paths).unwrap());
    let before = ticks(pid);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(pid), before);
    group::thaw(&groups.paths).unwrap();
    assert!(!group::is_frozen(&groups.paths).unwrap());
    let end = Instant::now() + Duration::from_secs(20);
    while ticks(pid) == before {
        assert!(Instant::now() < end, "it does not go on");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn all_processes_end_also_frozen_and_forking_ones() {
    let Some(mut groups) = Groups::new("kill") else { return };
    groups.run("trap '' TERM; sh -c 'while :; do sleep 0.01 & wait; done' & sleep 1000");
    groups.run("sleep 1000");
    assert!(group::processes(&groups.paths).unwrap().len() >= 2);
    group::freeze(&groups.paths).unwrap();
    group::kill_all(&groups.paths).unwrap();
    assert_eq!(group::processes(&groups.paths).unwrap(), [0i32; 0]);
}

#[test]
fn a_signal_reaches_all() {
    let Some(mut groups) = Groups::new("signal") else { return };
    for _ in 0..3 {
        groups.run("exec sleep 1000");
    }
    group::signal_all(&groups.paths, 15).unwrap();
    for child in &mut groups.children {
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(child.wait().unwrap().signal(), Some(15));
    }
}

#[test]
fn limits_change_in_any_order() {
    let Some(mut groups) = Groups::new("update") else { return };
    groups.run("exec sleep 1000");
    let strict = || Resources { strict: true, ..Resources::default() };
    let set = |groups: &Groups, limits: Resources| group::update(&groups.paths, None, &limits);
    let first = Resources {
        memory: Some(64 << 20),
        memory_reservation: Some(16 << 20),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        cpu_burst: Some(20_000),
        cpu_shares: Some(512),
        pids: Some(50),
        ..strict()
    };
    set(&groups, first).unwrap();
    assert_eq!(groups.read("memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(groups.read("cpu.shares", "cpu.weight"), if groups.is_v2() { "59" } else { "512" });
    assert_eq!(groups.read("pids.max", "pids.max"), "50");
    // A quota below the burst that is: only taken when the burst has shrunk. And back.
    set(&groups, Resources { cpu_quota: Some(10_000), cpu_burst: Some(5_000), ..strict() }).unwrap();
    assert_eq!(groups.read("cpu.cfs_burst_us", "cpu.max.burst"), "5000");
    assert_eq!(
        groups.read("cpu.cfs_quota_us", "cpu.max"),
        if groups.is_v2() { "10000 100000" } else { "10000" }
    );
    set(&groups, Resources { cpu_quota: Some(90_000), cpu_burst: Some(60_000), ..strict() }).unwrap();
    set(&groups, Resources { cpu_period: Some(200_000), ..strict() }).unwrap();
    assert_eq!(
        groups.read("cpu.cfs_period_us", "cpu.max"),
        if groups.is_v2() { "90000 200000" } else { "200000" }
    );
    set(&groups, Resources { pids: Some(-1), cpu_quota: Some(-1), memory: Some(-1), ..strict() }).unwrap();
    assert_eq!(groups.read("pids.max", "pids.max"), "max");
    let none = groups.read("memory.limit_in_bytes", "memory.max");
    assert!(none == "max" || none.len() > 15, "{none}");
    let refused = set(&groups, Resources { cpuset_cpus: "7777".to_owned(), ..strict() }).unwrap_err();
    assert!(refused.message.contains("cpuset.cpus"), "{refused}");
}

#[test]
fn a_limit_below_what_is_used_is_refused_when_asked() {
    let Some(mut groups) = Groups::new("check") else { return };
    groups.run("x=$(head -c 3000000 /dev/zero | tr '\\0' x); sleep 1000");
    let small =
        Resources { strict: true, memory: Some(4096), check_before_update: true, ..Resources::default() };
    let end = Instant::now() + Duration::from_secs(20);
    while group::stats(&groups.paths).unwrap().memory.usage.usage < 1 << 20 {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(10));
    }
    if groups.is_v2() {
        let error = group::update(&groups.paths, None, &small).unwrap_err();
        assert!(error.message.starts_with("rejecting memory limit 4096 <= usage "), "{error}");
    }
    let stats = group::stats(&groups.paths).unwrap();
    assert!(stats.pids.current >= 1 && stats.cpu.usage.total > 0, "{stats:?}");
}

#[test]
fn a_kill_for_want_of_memory_is_told_and_so_is_the_end() {
    let Some(mut groups) = Groups::new("oom") else { return };
    groups.run("exec sleep 1000");
    let mut watch = OomWatch::new(&groups.paths).unwrap();
    assert_eq!(watch.next(Duration::from_millis(50)).unwrap(), Watched::Nothing);
    let limits = Resources { memory: Some(16 << 20), memory_swap: Some(16 << 20), ..Resources::default() };
    group::update(&groups.paths, None, &limits).unwrap();
    groups.run("x=$(head -c 300000000 /dev/zero | tr '\\0' x); sleep 1000");
    assert_eq!(watch.next(Duration::from_secs(60)).unwrap(), Watched::OutOfMemory);
    // v1 tells before it kills.
    let end = Instant::now() + Duration::from_secs(20);
    while group::oom_kills(&groups.paths) == 0 {
        assert!(Instant::now() < end, "no kill was counted");
        std::thread::sleep(Duration::from_millis(10));
    }
    group::kill_all(&groups.paths).unwrap();
    for child in &mut groups.children {
        let _ = child.wait();
    }
    for dir in groups.paths.dirs() {
        let _ = std::fs::remove_dir(dir);
    }
    loop {
        match watch.next(Duration::from_secs(20)).unwrap() {
            Watched::OutOfMemory => {}
            other => break assert_eq!(other, Watched::Ended),
        }
    }
}
