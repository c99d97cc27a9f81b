//! What containers cost: time to start one beside so many others, memory, descriptors, files.

use e2e::machine::{parent, pss, quiet};
use e2e::{Facts, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// What the kernel and the engine have, by kind: of some the number, of some kilobytes.
#[derive(Debug)]
pub struct Kernel {
    /// What has to be as it was when all containers are gone.
    exact: BTreeMap<String, u64>,
    /// What is told, and depends on what else the machine does.
    told: BTreeMap<String, u64>,
}

impl Kernel {
    /// `all`: of the whole machine too, with what the kernel only keeps for later thrown away.
    pub fn read(s: &Sandbox, all: bool) -> Kernel {
        let mut exact = BTreeMap::new();
        for fact in Facts::read(&s.scope).0 {
            let (kind, rest) = fact.split_once(' ').expect("a kind and a name");
            // The journal of events becomes two when it has grown.
            let counts = rest != "root/events.json.1" && rest != "root/events.lock";
            *exact.entry(kind.to_owned()).or_default() += u64::from(counts);
        }
        // ip(8) knows the networks of all engines there.
        let names = fs::read_dir("/run/netns").into_iter().flatten().flatten();
        let ours = names.filter(|name| fs::read_link(name.path()).is_ok_and(|to| to.starts_with(&s.dir)));
        exact.insert("name".to_owned(), ours.count() as u64);
        let mut told = BTreeMap::new();
        if all {
            // Dentries and inodes that nobody uses.
            let _ = fs::write("/proc/sys/vm/drop_caches", "2");
            let kilobytes = fs::read_to_string("/proc/meminfo").unwrap_or_default();
            for name in ["Slab", "SUnreclaim", "PageTables", "KernelStack", "Percpu", "VmallocUsed"] {
                let line = kilobytes.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
                let value = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
                told.insert(format!("{name}, KB"), value.unwrap_or_default());
            }
            for line in fs::read_to_string("/proc/cgroups").unwrap_or_default().lines().skip(1) {
                let fields: Vec<&str> = line.split('\t').collect();
                told.insert(format!("groups of {}", fields[0]), fields[2].parse().unwrap_or_default());
            }
            let host = fs::read_to_string("/proc/1/mountinfo").unwrap_or_default();
            told.insert("mounts of the machine".into(), host.lines().count() as u64);
            let open = fs::read_to_string("/proc/sys/fs/file-nr").unwrap_or_default();
            let open = open.split_whitespace().next().and_then(|n| n.parse().ok());
            told.insert("open files of the machine".into(), open.unwrap_or_default());
            let disk = rustix::fs::statvfs(&s.dir).expect("it is there");
            told.insert("inodes of the file system".into(), disk.f_files - disk.f_ffree);
        }
        Kernel { exact, told }
    }

    /// The kinds of which there is more than there was.
    pub fn more_than(&self, before: &Kernel) -> Vec<String> {
        let old = |kind: &str| before.exact.get(kind).copied().unwrap_or_default();
        let more = self.exact.iter().filter(|(kind, number)| **number > old(kind));
        more.map(|(kind, number)| format!("{kind}: {number}, not {}", old(kind))).collect()
    }

    pub fn json(&self, before: &Kernel) -> Value {
        let both = |now: &BTreeMap<String, u64>, then: &BTreeMap<String, u64>| -> Value {
            now.iter().map(|(kind, n)| (kind.clone(), json!([then.get(kind).unwrap_or(&0), n]))).collect()
        };
        json!({ "exact": both(&self.exact, &before.exact), "told": both(&self.told, &before.told) })
    }
}

fn entries(dir: &Path) -> usize {
    fs::read_dir(dir).map(Iterator::count).unwrap_or_default()
}

/// What a start costs beside so many others.
#[derive(Debug)]
pub struct Level {
    running: usize,
    wall: Vec<f64>,
    remove: Vec<f64>,
    /// Milliseconds of processor time, of all that takes part.
    cpu: Option<f64>,
}

impl Level {
    pub fn measure(running: usize, s: &Sandbox, probes: usize, timed: &dyn Fn(&str) -> f64) -> Level {
        let mut level = Level { running, wall: Vec::new(), remove: Vec::new(), cpu: Some(0.0) };
        for _ in 0..3 {
            quiet();
            for _ in 0..probes {
                let before = usage(s);
                level.wall.push(timed("run -d --name probe busybox sleep 1000000"));
                let used = usage(s).zip(before).map(|(after, before)| after - before);
                level.cpu = level.cpu.zip(used).map(|(sum, used)| sum + used);
                level.remove.push(timed("rm -f probe"));
                // The kernel takes a network namespace apart when the last process has left it, and keeps the next one waiting.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        level.cpu = level.cpu.map(|sum| sum / level.wall.len() as f64);
        level
    }

    pub fn json(&self) -> Value {
        let at = |values: &[f64], share: f64| {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted[(sorted.len() as f64 * share) as usize]
        };
        json!({
            "running": self.running, "median": at(&self.wall, 0.5), "p10": at(&self.wall, 0.1),
            "remove": at(&self.remove, 0.5), "cpu": self.cpu,
        })
    }
}

/// Milliseconds of processor time of this process' group and of the sandbox'; `None` where it can't be told.
fn usage(s: &Sandbox) -> Option<f64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        (controllers.is_empty() || controllers.split(',').any(|c| c == "cpuacct")).then(|| path.to_owned())
    })?;
    let used = |group: &str| {
        let v1 = fs::read_to_string(format!("/sys/fs/cgroup/cpuacct/{group}/cpuacct.usage")).ok();
        let v1 = v1.and_then(|text| text.trim().parse::<f64>().ok()).map(|nanoseconds| nanoseconds / 1e6);
        v1.or_else(|| {
            let text = fs::read_to_string(format!("/sys/fs/cgroup/{group}/cpu.stat")).ok()?;
            Some(text.lines().find_map(|l| l.strip_prefix("usage_usec "))?.parse::<f64>().ok()? / 1e3)
        })
    };
    match own.trim_matches('/') {
        // It counts all of them.
        "" => used(""),
        own => Some(used(own)? + used(&s.scope.cgroup_parent).unwrap_or_default()),
    }
}

/// What it costs to have them all, now that they are there.
pub fn full(s: &Sandbox, empty: &Kernel) -> Value {
    std::thread::sleep(Duration::from_secs(2));
    let ids = s.corten("ps -q --no-trunc").ok().replace('\n', " ");
    let pids = s.corten(&format!("inspect -f '{{{{.State.Pid}}}}' {ids}"));
    let pids: Vec<u32> = pids.ok().lines().map(|line| line.parse().expect("a pid")).collect();
    let monitors: Vec<u32> = pids.iter().map(|pid| parent(*pid).expect("it runs")).collect();
    let of = |read: &dyn Fn(u32) -> f64, pids: &[u32]| {
        let mut all: Vec<f64> = pids.iter().map(|pid| read(*pid)).collect();
        all.sort_by(f64::total_cmp);
        json!({ "median": all[all.len() / 2], "most": all[all.len() - 1], "sum": all.iter().sum::<f64>() })
    };
    let memory = |pid: u32| pss(pid).unwrap_or_default();
    let descriptors = |pid: u32| entries(Path::new(&format!("/proc/{pid}/fd"))) as f64;
    let mut commands = serde_json::Map::new();
    for line in [
        "ps",
        "exec box-0 true",
        "inspect box-0",
        "stats --no-stream",
        "network inspect bridge",
        "system check",
    ] {
        let mut times: Vec<f64> = (0..5).map(|_| super::timed(s, line)).collect();
        times.sort_by(f64::total_cmp);
        commands.insert(line.to_owned(), json!(times[2]));
    }
    let states: Vec<Size> = ids.split(' ').map(|id| size(&s.scope.state.join(id))).collect();
    let data: Vec<Size> = ids.split(' ').map(|id| size(&s.scope.root.join("containers").join(id))).collect();
    json!({
        "pss": of(&memory, &monitors),
        "init": of(&memory, &pids),
        "descriptors": of(&descriptors, &monitors),
        "init_descriptors": of(&descriptors, &pids),
        "state": { "files": sum(&states, |s| s.files), "bytes": sum(&states, |s| s.bytes) },
        "data": { "files": sum(&data, |s| s.files), "bytes": sum(&data, |s| s.bytes) },
        "commands": commands,
        "kernel": Kernel::read(s, true).json(empty),
    })
}

#[derive(Default)]
struct Size {
    files: u64,
    /// On the disk.
    bytes: u64,
}

fn sum(all: &[Size], of: impl Fn(&Size) -> u64) -> u64 {
    all.iter().map(of).sum()
}

/// Of a directory and all below it.
fn size(path: &Path) -> Size {
    let Ok(meta) = fs::symlink_metadata(path) else { return Size::default() };
    let mut size = Size { files: 1, bytes: meta.blocks() * 512 };
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|_| meta.is_dir()) {
        let below = self::size(&entry.path());
        size = Size { files: size.files + below.files, bytes: size.bytes + below.bytes };
    }
    size
}
