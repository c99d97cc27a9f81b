//! A start that somebody walks through: the monitor performs the plan and asks before each step; whoever started it answers, and looks
//! meanwhile at what there is.

use crate::look::deep;
use crate::look::facts::{Fact, Facts};
use kernel::nft::{kept, query};
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{RecvFlags, SendFlags};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use steps::nft::{PUBLISHED, PUBLISHED_ANY};
use steps::{Picture, Plan, Step};

/// Asked before each step, by its number in the plan ([`runtime::CLONE`] before the clone; the last is the program), and with the
/// container's first process, 0 before there is one. `false` ends the start, and what was done is taken back.
pub type Walker<'a> = &'a mut dyn FnMut(&Plan, usize, i32) -> bool;

/// How the monitor's first start is watched.
#[derive(Debug)]
pub(crate) enum Watching {
    Nobody,
    /// Each step is told on standard error.
    Trace,
    /// Each step is asked for through this socket.
    Walk(OwnedFd),
}

/// The monitor's side. Who does not answer has gone: nothing more is to be done.
pub(crate) fn ask(socket: impl AsFd, number: usize, pid: i32) -> bool {
    let mut question = [0u8; 8];
    question[..4].copy_from_slice(&(number as u32).to_ne_bytes());
    question[4..].copy_from_slice(&pid.to_ne_bytes());
    let mut answer = [0u8; 1];
    rustix::net::send(&socket, &question, SendFlags::NOSIGNAL).is_ok()
        && rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty()).is_ok_and(|(n, _)| n == 1)
        && answer == [1]
}

/// The other side, until the monitor has no more to ask.
pub(crate) fn answer(socket: impl AsFd, plan: &Plan, walker: Walker<'_>) {
    let mut question = [0u8; 8];
    while let Ok((8, _)) = rustix::net::recv(&socket, &mut question[..], RecvFlags::empty()) {
        let [a, b, c, d, e, f, g, h] = question;
        let (number, pid) = (u32::from_ne_bytes([a, b, c, d]) as usize, i32::from_ne_bytes([e, f, g, h]));
        let goes_on = walker(plan, number, pid);
        let _ = rustix::net::send(&socket, &[u8::from(goes_on)], SendFlags::NOSIGNAL);
    }
}

/// The group of facts about what the plan makes or writes below this machine's root, each of which is a fact by its path.
pub const PATHS: &str = "paths";

/// What a start can change, as far as one sees it from outside: this machine's links and mounts, the files and groups that the plan
/// names; and, once there is one, all that the kernel tells of the container's first process. Not its memory: until its program
/// runs, its words and its environment are still the monitor's.
pub fn seen(plan: &Plan, pid: i32) -> Vec<Fact> {
    let mut facts = Facts(Vec::new());
    let _ = deep::links(&mut facts);
    facts.0.iter_mut().for_each(|fact| fact.by_hand = fact.by_hand.replace("nsenter -t $PID -n ", ""));
    let here = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for place in here.lines().filter_map(|line| line.split(' ').nth(4)) {
        facts.add_again("mounts", place, "mounted".to_owned(), "findmnt");
    }
    firewall(plan, &mut facts);
    facts.0.iter_mut().for_each(|fact| fact.name = format!("{} of this machine", fact.name));
    for path in paths(plan) {
        let (value, by_hand) = file(&path);
        facts.add(PATHS, path, value, by_hand);
    }
    facts.0.retain(|fact| !fact.value.is_empty());
    let inside = if pid == 0 { Vec::new() } else { deep::of(pid).unwrap_or_default() };
    let told = |fact: &Fact| {
        // How many mounts there are is told by the mounts.
        let left_out = [("process", "open descriptors"), ("files", "mounts")];
        fact.group != "environment" && !left_out.contains(&(fact.group, fact.name.as_str()))
    };
    facts.0.extend(inside.into_iter().filter(told));
    facts.0
}

/// Files, directories and groups that the plan makes or writes, by their paths on this machine.
fn paths(plan: &Plan) -> BTreeSet<String> {
    let mut picture = Picture::default();
    plan.steps().for_each(|(_, step)| step.draw(&mut picture));
    let named = picture.things.into_iter().filter(|thing| matches!(thing.row, "file" | "cgroup"));
    named.map(|thing| thing.name).filter(|name| name.starts_with('/')).collect()
}

/// What there is, and the command that shows it; of nothing, nothing.
fn file(path: &str) -> (String, String) {
    let Ok(meta) = fs::symlink_metadata(path) else { return (String::new(), String::new()) };
    let (mode, by_hand) = (meta.permissions().mode() & 0o7777, format!("ls -ld {path}"));
    if meta.is_dir() {
        return (format!("directory, {mode:o} of {}:{}", meta.uid(), meta.gid()), by_hand);
    }
    match fs::read_to_string(path) {
        Ok(text) if meta.is_file() => (text.lines().collect::<Vec<_>>().join("; "), format!("cat {path}")),
        _ => ("there".to_owned(), by_hand),
    }
}

fn firewall(plan: &Plan, facts: &mut Facts) {
    let tables = plan.host.iter().chain(&plan.joined).filter_map(|step| match step {
        Step::EnsureFirewall(ensure) => ensure.table.as_ref().map(|table| table.name.clone()),
        Step::Publish(publish) => Some(publish.table.to_string()),
        _ => None,
    });
    let tables: BTreeSet<String> = tables.collect();
    let _ = kept::with(|socket| {
        for table in tables {
            let Ok(Some(found)) = query::table(socket, &table) else { continue };
            let by_hand = format!("nft list table inet {table}");
            let value = format!("{} chains and sets", found.objects);
            facts.add("firewall", format!("table {table}"), value, &*by_hand);
            for map in PUBLISHED.into_iter().chain(PUBLISHED_ANY) {
                let count = query::elements(socket, &table, map).map_or(0, |elements| elements.len());
                let value = if count == 0 { String::new() } else { format!("{count} ports") };
                facts.add("firewall", format!("map {map} of table {table}"), value, &*by_hand);
            }
        }
    });
}
