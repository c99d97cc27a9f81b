//! The eight kinds of namespace: a container has its own of each, unless the command line says otherwise.

use e2e::Sandbox;
use std::collections::BTreeMap;

const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// A command that lists its namespaces.
const LIST: &str = "sh -c 'for n in /proc/self/ns/*; do echo ${n##*/} $(readlink $n); done'";

/// The namespaces of a container's command that is run with these flags, by kind.
fn inside(s: &Sandbox, flags: &str) -> BTreeMap<String, String> {
    parse(s.corten(&format!("run --rm {flags} busybox {LIST}")).ok())
}

fn host(s: &Sandbox) -> BTreeMap<String, String> {
    parse(s.host("for n in /proc/self/ns/*; do echo ${n##*/} $(readlink $n); done").ok())
}

fn parse(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(kind, namespace)| (kind.into(), namespace.into())).collect()
}

/// The kinds in which two processes share a namespace.
fn shared(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<&'static str> {
    KINDS.into_iter().filter(|kind| a[*kind] == b[*kind]).collect()
}

#[test]
fn all_eight_are_its_own() {
    let s = Sandbox::with(&["busybox"]);
    let (host, one, other) = (host(&s), inside(&s, "--network none"), inside(&s, ""));
    assert_eq!(shared(&host, &one), [""; 0]);
    assert_eq!(shared(&host, &other), [""; 0]);
    s.end();
}

#[test]
fn each_can_be_the_hosts() {
    let s = Sandbox::with(&["busybox"]);
    let host = host(&s);
    for (flags, kinds) in [
        ("--userns host", vec!["user"]),
        ("--network host", vec!["net"]),
        ("--pid host", vec!["pid"]),
        ("--ipc host", vec!["ipc"]),
        ("--uts host", vec!["uts"]),
        ("--cgroupns host", vec!["cgroup"]),
    ] {
        let shared = shared(&host, &inside(&s, flags));
        for kind in kinds {
            assert!(shared.contains(&kind), "{flags}: {shared:?}");
        }
        // What a flag brings with it has to be needed: the user namespace at most.
        assert!(shared.len() <= 2, "{flags}: {shared:?}");
    }
    s.end();
}

#[test]
fn exec_enters_all_of_them() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let list =
        "sh -c 'for n in /proc/1/ns/* /proc/self/ns/*; do echo $(readlink $n); done | sort -u | wc -l'";
    // Children's kinds (pid_for_children, time_for_children) are the same namespaces.
    assert_eq!(s.corten(&format!("exec box {list}")).ok(), "8");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_container_can_join_anothers() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --hostname lighthouse busybox sleep 100");
    let first = parse(s.corten(&format!("exec box {LIST}")).ok());
    let second = inside(&s, "--network container:box");
    assert!(shared(&first, &second).contains(&"net"));
    // The file of names is the other's, and so is the name that a program looks up there as its own.
    let script = "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c lighthouse /etc/hosts";
    let named = s.corten(&format!("run --name near --network container:box busybox sh -c '{script}'"));
    assert_eq!(named.ok(), "lighthouse\nlighthouse\nlighthouse\n1");
    assert_eq!(s.inspect("near", "{{.Config.Hostname}}"), "lighthouse");
    let second = inside(&s, "--ipc container:box");
    assert!(shared(&first, &second).contains(&"ipc"));
    let second = inside(&s, "--pid container:box");
    // And the user namespace, by whose rights it sees the other's processes in its /proc; the rest is its own.
    assert_eq!(shared(&first, &second), ["pid", "user"]);
    s.detached("--name other --pid container:box busybox sh -c 'sleep 200 & sleep 300'");
    assert_eq!(shared(&first, &parse(s.corten(&format!("exec other {LIST}")).ok())), ["pid", "user"]);
    for reader in ["exec box", "exec other", "run --rm --init --pid container:other"] {
        let image = if reader.starts_with("run") { "busybox" } else { "" };
        let seen = s.corten(&format!("{reader} {image} ps"));
        assert!(seen.ok().contains("sleep 100") && seen.stdout.contains("sleep 200"), "{seen}");
    }
    // What it leaves running there ends with it, and the other lives on.
    s.corten("rm -f other").ok();
    let seen = s.corten("exec box ps");
    assert!(seen.ok().contains("sleep 100") && !seen.stdout.contains("sleep 200"), "{seen}");
    s.corten("run --rm --network container:nosuch busybox true").fails(125, &["nosuch"]);
    s.corten("run --rm --pid container:nosuch busybox true").fails(125, &["nosuch"]);
    s.corten("rm -f box near").ok();
    s.end();
}

#[test]
fn processes_see_only_their_own() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(
        s.corten("run --rm busybox sh -c 'ls -d /proc/[0-9]* | wc -l'").ok().parse::<u32>().map(|n| n <= 3),
        Ok(true)
    );
    let host = s.corten("run --rm --pid host busybox sh -c 'ls -d /proc/[0-9]* | wc -l'");
    assert!(host.ok().parse::<u32>().is_ok_and(|n| n > 3), "{host}");
    s.end();
}

#[test]
fn an_unknown_mode_is_refused() {
    let s = Sandbox::with(&["busybox"]);
    for flag in ["--pid", "--ipc", "--uts", "--cgroupns", "--userns"] {
        s.corten(&format!("run --rm {flag} sideways busybox true")).fails(125, &["sideways"]);
    }
    s.end();
}
