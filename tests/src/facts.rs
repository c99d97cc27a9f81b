//! What is there on the machine that a sandbox can see: one line a thing, so that before and after compare as sets.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts, links, firewall rules, cgroups, processes, pinned namespaces and files, each a line that starts with its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts(pub BTreeSet<String>);

/// Where to look.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The name of the cgroup that all cgroups of the sandbox are below.
    pub cgroup_parent: String,
    /// The directories that the engine writes to. The state directory also tells the engine's processes from others:
    /// it is in their environment.
    pub root: PathBuf,
    pub state: PathBuf,
    /// What the OCI runtime keeps.
    pub oci: PathBuf,
}

impl Facts {
    /// Reads everything, from the calling thread's namespaces.
    pub fn read(scope: &Scope) -> Facts {
        let mut facts = BTreeSet::new();
        mounts(&mut facts);
        links(&mut facts);
        rules(&mut facts);
        devices(&mut facts);
        for directory in cgroup_directories(&scope.cgroup_parent) {
            facts.insert(format!("cgroup {}", directory.display()));
        }
        for (pid, name) in processes(scope) {
            facts.insert(format!("process {pid} {name}"));
        }
        for (what, directory) in [("root", &scope.root), ("state", &scope.state), ("oci", &scope.oci)] {
            files(what, directory, directory, &mut facts);
        }
        Facts(facts)
    }

    /// What is here and not in `before`, and the reverse, a line each; empty when nothing changed.
    pub fn since(&self, before: &Facts) -> String {
        let mut text = String::new();
        for new in self.0.difference(&before.0) {
            let _ = writeln!(text, "left: {new}");
        }
        for gone in before.0.difference(&self.0) {
            let _ = writeln!(text, "gone: {gone}");
        }
        text
    }
}

/// `/proc/thread-self/mountinfo` without the ids and peer groups, which change from namespace to namespace.
fn mounts(facts: &mut BTreeSet<String>) {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("/proc is mounted");
    for line in table.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let dash = fields.iter().position(|f| *f == "-").unwrap_or(fields.len() - 1);
        let mut fact = format!("mount {} of {} {}", fields[4], fields[3], fields[dash + 1..].join(" "));
        // Two equal mounts on top of each other are two facts.
        while !facts.insert(fact.clone()) {
            fact.push_str(" (again)");
        }
    }
}

fn links(facts: &mut BTreeSet<String>) {
    let listed = json(Command::new("ip").args(["-json", "-details", "address"]));
    for link in listed.as_array().into_iter().flatten() {
        let name = link["ifname"].as_str().unwrap_or("?");
        facts.insert(format!("link {name} {}", link["linkinfo"]["info_kind"].as_str().unwrap_or("")));
        for address in link["addr_info"].as_array().into_iter().flatten() {
            // The link-local address comes with the link, some time later.
            if address["scope"] != "link" {
                facts.insert(format!("address {name} {}/{}", address["local"], address["prefixlen"]));
            }
        }
    }
    let routes = json(Command::new("ip").args(["-json", "route"]));
    for route in routes.as_array().into_iter().flatten() {
        facts.insert(format!("route {} {} {}", route["dst"], route["gateway"], route["dev"]));
    }
}

/// The nft ruleset, each object a line; the handles are left out, since a rule made again gets another one.
fn rules(facts: &mut BTreeSet<String>) {
    let listed = json(Command::new("nft").args(["-j", "list", "ruleset"]));
    for object in listed["nftables"].as_array().into_iter().flatten() {
        let Some((kind, body)) = object.as_object().and_then(|o| o.iter().next()) else { continue };
        if kind == "metainfo" {
            continue;
        }
        let mut body = body.clone();
        let elements = body.as_object_mut().and_then(|b| {
            b.remove("handle");
            b.remove("elem")
        });
        let owner = body["table"].as_str().or(body["name"].as_str()).unwrap_or("?").to_string();
        for element in elements.iter().flat_map(|e| e.as_array()).flatten() {
            facts.insert(format!("nft {owner} element of {}: {element}", body["name"]));
        }
        let mut fact = format!("nft {owner} {kind}: {body}");
        while !facts.insert(fact.clone()) {
            fact.push_str(" (again)");
        }
    }
}

/// The machine's own devices, which a container's standard streams or binds may be.
fn devices(facts: &mut BTreeSet<String>) {
    for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx"] {
        let Ok(meta) = fs::metadata(format!("/dev/{name}")) else { continue };
        facts.insert(format!("device {name} {}:{} {:o}", meta.uid(), meta.gid(), meta.mode()));
    }
}

fn json(command: &mut Command) -> serde_json::Value {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// The directories of the cgroup `parent` and below it, in every hierarchy, deepest first.
pub fn cgroup_directories(parent: &str) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").expect("/proc is mounted");
    let mut all = Vec::new();
    for line in table.lines().filter(|l| l.contains(" - cgroup ") || l.contains(" - cgroup2 ")) {
        let mounted = line.split(' ').nth(4).unwrap_or("/");
        below(&Path::new(mounted).join(parent), &mut all);
    }
    all
}

fn below(directory: &Path, all: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        below(&entry.path(), all);
    }
    all.push(directory.into());
}

/// The processes that belong to the sandbox: in its network or mount namespace, in one of its cgroups, or with its state
/// directory in the environment. Kernel threads and this process do not count.
pub fn processes(scope: &Scope) -> Vec<(u32, String)> {
    let link = |path: String| fs::read_link(path).ok();
    let mine: Vec<_> = ["net", "mnt"].iter().map(|n| link(format!("/proc/thread-self/ns/{n}"))).collect();
    let state = format!("CORTEN_STATE={}", scope.state.display()).into_bytes();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc is mounted").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        if pid == std::process::id() {
            continue;
        }
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        if ended(pid) {
            continue;
        }
        let inside = ["net", "mnt"].iter().zip(&mine).any(|(n, m)| {
            let theirs = link(format!("/proc/{pid}/ns/{n}"));
            theirs.is_some() && theirs == *m
        });
        // As a whole word: the name of another sandbox may begin with it.
        let mut groups = String::from_utf8_lossy(&read("cgroup")).replace('\n', "/");
        groups.push('/');
        let grouped = groups.contains(&format!("/{}/", scope.cgroup_parent));
        let told = read("environ").split(|b| *b == 0).any(|v| v == state);
        if inside || grouped || told {
            let name = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            found.push((pid, name));
        }
    }
    found
}

/// Whether a process is not there any more, or only waits until process 1 looks at it, which may take seconds.
pub fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.starts_with(" Z 1 "))
}

/// Every path below `directory`. What images consist of stays when containers go: it is not listed.
fn files(what: &str, top: &Path, directory: &Path, facts: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = path.strip_prefix(top).expect("it is below").to_path_buf();
        let first = name.iter().next().unwrap_or_default().to_string_lossy().into_owned();
        let stays = ["blobs", "layers", "images", "tags", "cache"].contains(&first.as_str());
        if what == "root" && stays && name.iter().count() > 1 {
            continue;
        }
        let kind = entry.file_type().map_or("?", |t| if t.is_dir() { "directory" } else { "file" });
        facts.insert(format!("{kind} {what}/{}", name.display()));
        if kind == "directory" {
            files(what, top, &path, facts);
        }
    }
}
