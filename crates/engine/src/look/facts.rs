//! What makes a process one of a container: facts of the kernel's, each with the command that shows it by hand.

use super::spaces::{self, KINDS};
use kernel::caps::CapSet;
use std::collections::BTreeMap;
use std::fs;
use std::io;

/// One fact about a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about: `namespaces`, `rights`, `limits`, `files`; in depth also `process`, `environment`, `mounts`, `groups`,
    /// `devices`, `network`, `kernel`.
    pub group: &'static str,
    pub name: String,
    pub value: String,
    /// How to see it with other people's tools; `$PID` stands for the process.
    pub by_hand: String,
}

/// Everything that tells this process from others.
///
/// Errors: no such process; not ours to look at.
pub fn of(pid: i32) -> io::Result<Vec<Fact>> {
    let mut facts = Facts(Vec::new());
    for (kind, inode) in KINDS.iter().zip(spaces::of(pid)?) {
        let by_hand = format!("readlink /proc/$PID/ns/{}", kind.name);
        facts.add("namespaces", kind.name, inode.to_string(), by_hand);
    }
    rights(pid, &mut facts)?;
    groups(pid, &mut facts)?;
    files(pid, &mut facts)?;
    limits(pid, &mut facts)?;
    Ok(facts.0)
}

/// A fact of two that are compared; an empty value where one has no such fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub fact: Fact,
    pub left: String,
    pub right: String,
}

impl Pair {
    pub fn is_equal(&self) -> bool {
        self.left == self.right
    }
}

/// The groups, in the order in which they are shown.
pub const GROUPS: [&str; 11] = [
    "namespaces",
    "process",
    "rights",
    "limits",
    "groups",
    "files",
    "mounts",
    "devices",
    "environment",
    "network",
    "kernel",
];

/// The facts of two, side by side.
pub fn pairs(left: Vec<Fact>, right: Vec<Fact>) -> Vec<Pair> {
    let key = |fact: &Fact| (fact.group, fact.name.clone());
    let mut others: BTreeMap<(&str, String), Fact> =
        right.into_iter().map(|fact| (key(&fact), fact)).collect();
    let mut pairs: Vec<Pair> = Vec::new();
    for fact in left {
        let right = others.remove(&key(&fact)).map(|other| other.value).unwrap_or_default();
        pairs.push(Pair { left: fact.value.clone(), right, fact });
    }
    pairs.extend(others.into_values().map(|fact| Pair {
        left: String::new(),
        right: fact.value.clone(),
        fact,
    }));
    pairs.sort_by_key(|pair| {
        GROUPS.iter().position(|group| *group == pair.fact.group).unwrap_or(GROUPS.len())
    });
    pairs
}

pub(crate) struct Facts(pub(crate) Vec<Fact>);

impl Facts {
    pub(crate) fn add(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        value: String,
        by_hand: impl Into<String>,
    ) {
        self.0.push(Fact { group, name: name.into(), value, by_hand: by_hand.into() });
    }

    /// One of several of that name.
    pub(crate) fn add_again(&mut self, group: &'static str, name: &str, value: String, by_hand: &str) {
        let mut name = name.to_owned();
        while self.0.iter().any(|fact| fact.group == group && fact.name == name) {
            name.push_str(" (again)");
        }
        self.add(group, name, value, by_hand);
    }
}

pub(super) fn read(pid: i32, file: &str) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
}

/// See proc_pid_status(5), capabilities(7), user_namespaces(7).
fn rights(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let status = read(pid, "status")?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (name, file) in [("ids of users", "uid_map"), ("ids of groups", "gid_map")] {
        let map = read(pid, file)?;
        let lines: Vec<String> = map.lines().map(mapping).collect();
        facts.add("rights", name, lines.join(", "), format!("cat /proc/$PID/{file}"));
    }
    facts.add("rights", "user", first(&of("Uid")), "grep Uid /proc/$PID/status");
    facts.add("rights", "group", first(&of("Gid")), "grep Gid /proc/$PID/status");
    for (name, field) in [("capabilities", "CapEff"), ("capabilities at most", "CapBnd")] {
        let by_hand = format!("capsh --decode=$(awk '/{field}/ {{print $2}}' /proc/$PID/status)");
        facts.add("rights", name, capabilities(&of(field)), by_hand);
    }
    let seccomp = match of("Seccomp").as_str() {
        "0" => "off".to_owned(),
        "1" => "strict".to_owned(),
        _ => format!("filtered by {}", of("Seccomp_filters")),
    };
    facts.add("rights", "system calls", seccomp, "grep Seccomp /proc/$PID/status");
    let gains = if of("NoNewPrivs") == "1" { "no" } else { "yes" };
    facts.add("rights", "may gain rights by setuid", gains.to_owned(), "grep NoNewPrivs /proc/$PID/status");
    let label = read(pid, "attr/current").unwrap_or_default();
    let label = label.trim_end_matches(['\0', '\n']);
    let label = if label.is_empty() { "none" } else { label };
    facts.add("rights", "label", label.to_owned(), "cat /proc/$PID/attr/current");
    Ok(())
}

fn first(words: &str) -> String {
    words.split(' ').next().unwrap_or_default().to_owned()
}

/// `0 100000 65536` as `0 is 100000 outside, and 65536 of them`.
fn mapping(line: &str) -> String {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["0", "0", "4294967295"] => "as outside".to_owned(),
        [inside, outside, count] => format!("{inside} is {outside} outside, {count} of them"),
        _ => line.to_owned(),
    }
}

/// `00000000a80425fb` as names.
fn capabilities(hex: &str) -> String {
    let Ok(bits) = u64::from_str_radix(hex, 16) else { return hex.to_owned() };
    let (known, missing) = (CapSet(bits & CapSet::ALL.0), CapSet(CapSet::ALL.0 & !bits));
    let names = |set: CapSet| {
        let names: Vec<&str> = set.iter().map(|cap| cap.name().trim_start_matches("CAP_")).collect();
        names.join(" ").to_lowercase()
    };
    match (known.iter().count(), missing.iter().count()) {
        (0, _) => "none".to_owned(),
        (_, 0) => "all".to_owned(),
        (has, lacks) if lacks < has => format!("all but {}", names(missing)),
        _ => names(known),
    }
}

/// See cgroups(7).
fn groups(pid: i32, facts: &mut Facts) -> io::Result<()> {
    for line in read(pid, "cgroup")?.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let name = if controllers.is_empty() { "cgroup".to_owned() } else { format!("cgroup {controllers}") };
        facts.add("limits", name, path.to_owned(), "cat /proc/$PID/cgroup");
    }
    Ok(())
}

/// See proc_pid_mountinfo(5).
fn files(pid: i32, facts: &mut Facts) -> io::Result<()> {
    let mounts = read(pid, "mountinfo")?;
    let by_hand = "cat /proc/$PID/mountinfo";
    facts.add("files", "mounts", mounts.lines().count().to_string(), by_hand);
    for line in mounts.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let place = head.split(' ').nth(4).unwrap_or_default();
        let options = head.split(' ').nth(5).unwrap_or_default();
        if place == "/" {
            let kind: Vec<&str> = tail.split(' ').collect();
            facts.add("files", "root", format!("{} ({options})", kind.first().unwrap_or(&"")), by_hand);
        }
    }
    let root = fs::read_link(format!("/proc/{pid}/cwd"));
    let root = root.map(|path| path.display().to_string()).unwrap_or_default();
    facts.add("files", "working directory", root, "readlink /proc/$PID/cwd");
    Ok(())
}

/// See proc_pid_limits(5), proc_pid_oom_score_adj(5).
fn limits(pid: i32, facts: &mut Facts) -> io::Result<()> {
    for line in read(pid, "limits")?.lines().skip(1) {
        let (name, rest) = line.split_at_checked(26).unwrap_or((line, ""));
        let values: Vec<&str> = rest.split_whitespace().collect();
        if let [soft, hard, ..] = values[..] {
            let value = if soft == hard { soft.to_owned() } else { format!("{soft}, at most {hard}") };
            facts.add("limits", name.trim().to_lowercase(), value, "cat /proc/$PID/limits");
        }
    }
    let adjust = read(pid, "oom_score_adj")?;
    facts.add("limits", "killed before others by", adjust.trim().to_owned(), "cat /proc/$PID/oom_score_adj");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_said_in_words() {
        assert_eq!(mapping("         0          0 4294967295"), "as outside");
        assert_eq!(mapping("0 100000 65536"), "0 is 100000 outside, 65536 of them");
    }

    #[test]
    fn capabilities_have_names() {
        assert_eq!(capabilities("0000000000000021"), "chown kill");
        assert_eq!(capabilities("0000000000000000"), "none");
        assert_eq!(capabilities("000001ffffffffff"), "all");
        assert_eq!(capabilities("000001fffeffffff"), "all but sys_resource");
    }

    #[test]
    fn our_own_facts_are_there() {
        let facts = of(std::process::id().cast_signed()).unwrap();
        for name in ["net", "capabilities", "root", "max open files"] {
            assert!(facts.iter().any(|fact| fact.name == name && !fact.value.is_empty()), "{name}");
        }
    }
}
