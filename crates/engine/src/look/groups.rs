//! The engine's control groups as the kernel shows them: what may be used, what is used, and the file that says so. See cgroups(7),
//! and the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst.

use crate::{Engine, Result, State, group};
use runtime::{GroupPath, GroupPaths, Host};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;

/// A group, and those in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Branch {
    /// The container's name; of other groups, the directory's.
    pub name: String,
    /// Below the root of its hierarchies: `corten/3f2a…`.
    pub group: String,
    /// The container that it is of, by its id.
    pub container: Option<String>,
    /// Processes in it, without those in the groups below it.
    pub processes: usize,
    pub figures: Vec<Figure>,
    pub below: Vec<Branch>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// `memory`, `cpu`, `throttled`, …
    pub what: &'static str,
    pub unit: Unit,
    pub used: Option<f64>,
    /// None: as much as there is.
    pub limit: Option<f64>,
    /// Where the kernel says so.
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    Bytes,
    Seconds,
    /// Processors at a time.
    Cpus,
    /// A share, compared with those of the groups beside it.
    Weight,
    Count,
    /// Of the last ten seconds.
    Percent,
}

/// How a number stands in a file.
#[derive(Clone, Copy)]
enum Take {
    /// It is the only one; `max` is no limit.
    Whole,
    /// In the line `KEY NUMBER`.
    Key(&'static str),
    /// `avg10=` of the line `some`.
    Pressure,
    /// The sum of all `KEY=NUMBER`.
    Each(&'static str),
    /// The sum of all lines `DEVICE KEY NUMBER`.
    Device(&'static str),
    /// How many numbers a list as `0-3,7` has.
    List,
}

/// A file of the controller's.
type Place = (&'static str, Take);

/// One line of the table: what it is called, how a number of the kernel's becomes one of the unit, and where it is.
struct Row {
    what: &'static str,
    unit: Unit,
    scale: f64,
    v2: (Option<Place>, Option<Place>),
    /// With the hierarchy's controller.
    v1: (&'static str, Option<Place>, Option<Place>),
}

const USED: fn(&'static str) -> Option<Place> = |file| Some((file, Take::Whole));

/// What is shown, in this order. What a machine does not count is left out.
fn rows() -> [Row; 11] {
    use Take::{Device, Each, Key, List, Pressure};
    let row = |what, unit, scale, v2, v1| Row { what, unit, scale, v2, v1 };
    let at = |file, take| Some((file, take));
    [
        row(
            "memory",
            Unit::Bytes,
            1.0,
            (USED("memory.current"), USED("memory.max")),
            ("memory", USED("memory.usage_in_bytes"), USED("memory.limit_in_bytes")),
        ),
        row(
            "oom kills",
            Unit::Count,
            1.0,
            (at("memory.events", Key("oom_kill")), None),
            ("memory", at("memory.oom_control", Key("oom_kill")), None),
        ),
        row("cpu", Unit::Seconds, 1e-6, (at("cpu.stat", Key("usage_usec")), None), ("cpuacct", None, None)),
        row("cpu", Unit::Seconds, 1e-9, (None, None), ("cpuacct", USED("cpuacct.usage"), None)),
        row("weight", Unit::Weight, 1.0, (USED("cpu.weight"), None), ("cpu", USED("cpu.shares"), None)),
        row(
            "throttled",
            Unit::Count,
            1.0,
            (at("cpu.stat", Key("nr_throttled")), at("cpu.stat", Key("nr_periods"))),
            ("cpu", at("cpu.stat", Key("nr_throttled")), at("cpu.stat", Key("nr_periods"))),
        ),
        row(
            "processors",
            Unit::Count,
            1.0,
            (at("cpuset.cpus.effective", List), None),
            ("cpuset", at("cpuset.effective_cpus", List), None),
        ),
        row(
            "processes",
            Unit::Count,
            1.0,
            (USED("pids.current"), USED("pids.max")),
            ("pids", USED("pids.current"), USED("pids.max")),
        ),
        row(
            "read",
            Unit::Bytes,
            1.0,
            (at("io.stat", Each("rbytes")), None),
            ("blkio", at("blkio.throttle.io_service_bytes", Device("Read")), None),
        ),
        row(
            "written",
            Unit::Bytes,
            1.0,
            (at("io.stat", Each("wbytes")), None),
            ("blkio", at("blkio.throttle.io_service_bytes", Device("Write")), None),
        ),
        row("cpu wait", Unit::Percent, 1.0, (at("cpu.pressure", Pressure), None), ("cpu", None, None)),
    ]
}

impl Engine {
    /// The tree below the group above all containers, and beside it the groups of `--cgroup-parent` that are elsewhere, with the
    /// containers in them; of containers only those named, where some are. None: there is no such group, because nothing runs or
    /// has run.
    pub fn group_tree(&self, words: &[String]) -> Result<Option<Branch>> {
        let wanted = words.iter().map(|w| self.find_running(w)).collect::<Result<Vec<_>>>()?;
        let ids: BTreeSet<&str> = wanted.iter().map(|running| running.container.id.as_str()).collect();
        let (host, parent) = (Host::read(), group::parent());
        let (mut names, mut elsewhere) = (Vec::new(), BTreeSet::new());
        for (container, state) in self.list()? {
            let of = group::of(&container);
            let above = of.rsplit_once('/').map_or("", |(above, _)| above);
            let ours =
                above.strip_prefix(&parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if !ours && matches!(state, State::Running { .. }) {
                elsewhere.insert(above.to_owned());
            }
            names.push((container.id, container.name));
        }
        let tree = |group: &str, only| branch(&GroupPaths::everywhere(group, &host), &names, 0, only);
        let mut roots: Vec<Branch> = tree(&parent, false).into_iter().collect();
        roots.extend(elsewhere.iter().filter_map(|group| tree(group, true)));
        if !ids.is_empty() {
            roots.iter_mut().for_each(|root| root.below.retain_mut(|below| leads_to(below, &ids)));
        }
        if roots.len() > 1 {
            roots.retain(|root| !root.below.is_empty());
        }
        if roots.len() < 2 {
            return Ok(roots.pop());
        }
        Ok(Some(Branch {
            name: "/".to_owned(),
            group: String::new(),
            container: None,
            processes: 0,
            figures: Vec::new(),
            below: roots,
        }))
    }
}

/// Whether it is a group of one of these containers or has such in it; leaves out the others.
fn leads_to(branch: &mut Branch, ids: &BTreeSet<&str>) -> bool {
    if branch.container.as_deref().is_some_and(|id| ids.contains(id)) {
        return true;
    }
    branch.below.retain_mut(|below| leads_to(below, ids));
    !branch.below.is_empty()
}

/// None where no hierarchy has the group. `only`: of those right below it, containers alone.
fn branch(paths: &GroupPaths, names: &[(String, String)], depth: usize, only: bool) -> Option<Branch> {
    let there =
        GroupPaths(paths.iter().filter(|path| std::path::Path::new(&path.dir()).is_dir()).cloned().collect());
    let group = there.iter().next()?.group.clone();
    let last = group.rsplit('/').next().unwrap_or_default().to_owned();
    let container = names.iter().find(|(id, _)| *id == last);
    let mut children = BTreeSet::new();
    for path in there.iter().filter(|_| depth < 8) {
        for entry in fs::read_dir(path.dir()).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_meant = !only || names.iter().any(|(id, _)| *id == name);
            if is_meant && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                children.insert(name);
            }
        }
    }
    let below = children.into_iter().filter_map(|name| {
        let child = |path: &GroupPath| GroupPath { group: format!("{}/{name}", path.group), ..path.clone() };
        branch(&GroupPaths(there.iter().map(child).collect()), names, depth + 1, false)
    });
    let mut below: Vec<Branch> = below.collect();
    below.sort_by(|a, b| (a.container.is_none(), &a.name).cmp(&(b.container.is_none(), &b.name)));
    let processes = there.iter().map(|path| {
        let text = fs::read_to_string(format!("{}/cgroup.procs", path.dir())).unwrap_or_default();
        text.lines().count()
    });
    Some(Branch {
        name: container.map_or(last, |(_, name)| name.clone()),
        container: container.map(|(id, _)| id.clone()),
        processes: processes.max().unwrap_or(0),
        figures: figures(&there),
        group,
        below,
    })
}

fn figures(paths: &GroupPaths) -> Vec<Figure> {
    let mut all: Vec<Figure> = rows().iter().filter_map(|row| figure(paths, row)).collect();
    if let Some(limit) = cpu_limit(paths) {
        let place = all.iter().position(|figure| figure.what == "cpu").map_or(0, |at| at + 1);
        all.insert(place, limit);
    }
    all
}

fn figure(paths: &GroupPaths, row: &Row) -> Option<Figure> {
    let (controller, v1_used, v1_limit) = row.v1;
    let (path, used, limit) = match paths.of(controller) {
        Some(path) => (path, v1_used, v1_limit),
        None => (paths.unified()?, row.v2.0, row.v2.1),
    };
    let mut files: Vec<String> = Vec::new();
    let mut read = |(file, take): Place| {
        let file = format!("{}/{file}", path.dir());
        let text = fs::read_to_string(&file).ok()?;
        if !files.contains(&file) {
            files.push(file);
        }
        number(&text, take).map(|value| value * row.scale)
    };
    let used = read(used?)?;
    let limit = limit.and_then(&mut read);
    // v1 has no word for none: it is the greatest number there is, less what makes a page of it.
    let limit = limit.filter(|limit| *limit < (1u64 << 60) as f64);
    Some(Figure { what: row.what, unit: row.unit, used: Some(used), limit, files })
}

fn number(text: &str, take: Take) -> Option<f64> {
    let parse = |word: &str| word.trim().parse::<f64>().ok();
    let of_key = |line: &str, key: &str| parse(line.strip_prefix(key)?.strip_prefix(' ')?);
    match take {
        Take::Whole => parse(text),
        Take::Key(key) => text.lines().find_map(|line| of_key(line, key)),
        Take::Pressure => {
            let some = text.lines().find(|line| line.starts_with("some "))?;
            some.split(' ').find_map(|word| parse(word.strip_prefix("avg10=")?))
        }
        Take::Each(key) => {
            let words = text.split_whitespace();
            Some(words.filter_map(|word| parse(word.strip_prefix(key)?.strip_prefix('=')?)).sum())
        }
        Take::Device(key) => {
            let value = |line: &str| {
                let (_, rest) = line.split_once(' ')?;
                of_key(rest, key)
            };
            Some(text.lines().filter_map(value).sum())
        }
        Take::List => {
            let part = |part: &str| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                Some(last.parse::<f64>().ok()? - first.parse::<f64>().ok()? + 1.0)
            };
            Some(text.trim().split(',').filter_map(part).sum())
        }
    }
}

/// Quota by period. See the kernel's sched-bwc.rst.
fn cpu_limit(paths: &GroupPaths) -> Option<Figure> {
    let path = super::counted(paths, "cpu")?;
    let names: &[&str] = if path.is_v2() { &["cpu.max"] } else { &["cpu.cfs_quota_us", "cpu.cfs_period_us"] };
    let files: Vec<String> = names.iter().map(|name| format!("{}/{name}", path.dir())).collect();
    let text = files.iter().map(|file| fs::read_to_string(file).ok()).collect::<Option<Vec<_>>>()?.join(" ");
    let mut words = text.split_whitespace();
    let quota = words.next()?.parse::<f64>().ok().filter(|quota| *quota > 0.0)?;
    let period = words.next()?.parse::<f64>().ok()?;
    let limit = Some(quota / period);
    Some(Figure { what: "cpu limit", unit: Unit::Cpus, used: None, limit, files })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_kernel_writes_them() {
        assert_eq!(number("4096\n", Take::Whole), Some(4096.0));
        assert_eq!(number("max\n", Take::Whole), None);
        assert_eq!(number("usage_usec 12\nnr_throttled 3\n", Take::Key("nr_throttled")), Some(3.0));
        assert_eq!(number("some avg10=1.50 avg60=0.00\nfull avg10=9.00\n", Take::Pressure), Some(1.5));
        assert_eq!(
            number("8:0 rbytes=5 wbytes=7\n8:1 rbytes=6 wbytes=1\n", Take::Each("rbytes")),
            Some(11.0)
        );
        assert_eq!(number("8:0 Read 5\n8:0 Write 2\n8:1 Read 1\nTotal 8\n", Take::Device("Read")), Some(6.0));
        assert_eq!(number("0-3,7\n", Take::List), Some(5.0));
    }
}
