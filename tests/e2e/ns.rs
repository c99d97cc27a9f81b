//! `corten ns` and `corten compare` against what /proc, nsenter and unshare say.

use e2e::Sandbox;

const LINKS: &str = "for k in cgroup ipc mnt net pid time user uts; do readlink /proc/self/ns/$k; done";

#[test]
fn a_container_has_eight_namespaces_of_its_own() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web busybox sleep 1000").ok();
    let pid = s.corten("inspect -f {{.State.Pid}} web");
    let listed = s.corten("ns ls --format '{{.Type}}:[{{.NS}}] {{.PID}}' web");
    for line in listed.ok().lines() {
        let (space, first) = line.split_once(' ').unwrap();
        let kind = space.split(':').next().unwrap();
        assert_eq!(first, pid.ok().trim(), "{line}");
        assert_eq!(s.host(&format!("readlink /proc/{first}/ns/{kind}")).ok().trim(), space);
    }
    assert_eq!(listed.ok().lines().count(), 8, "{}", listed.ok());
    // This machine's are told apart.
    let all = s.corten("ns ls -a --format '{{.Type}} {{.Containers}}'");
    assert!(all.ok().lines().any(|line| line == "net (this one)"), "{}", all.ok());
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn who_shares_is_in_one_line() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web busybox sleep 1000").ok();
    s.corten("run -d --name near --network container:web busybox sleep 1000").ok();
    let listed = s.corten("ns ls --format '{{.Type}} {{.Containers}}' near");
    assert!(listed.ok().lines().any(|line| line == "net near,web"), "{}", listed.ok());
    assert!(listed.ok().lines().any(|line| line == "mnt near"), "{}", listed.ok());
    s.corten("rm -f web near").ok();
    s.end();
}

#[test]
fn commands_run_in_the_namespaces_of_a_container() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name web -h box --network none busybox sleep 1000").ok();
    // All of them: what the container itself sees.
    let inside = s.corten(&format!("exec web sh -c '{LINKS}'"));
    assert_eq!(s.corten(&format!("ns enter web sh -c '{LINKS}'")).ok(), inside.ok());
    // One of them: this machine's programs.
    assert_eq!(s.corten("ns enter --uts web hostname").ok().trim(), "box");
    assert_eq!(s.corten("ns enter --net web ip -o link").ok().lines().count(), 1);
    assert_eq!(s.corten("ns enter --net web sh -c 'exit 7'").code, 7);
    let missing = s.corten("ns enter --net web nosuch");
    assert_eq!((missing.code, missing.stderr.lines().count()), (127, 1), "{}", missing.stderr);
    // What is said is what is done.
    let said = s.corten("ns enter --explain --uts --net web sh -c 'hostname; ip -o link'");
    let done = s.corten("ns enter --uts --net web sh -c 'hostname; ip -o link'");
    assert_eq!(s.host(said.ok()).ok(), done.ok());
    let stopped = s.corten("ns enter nosuch");
    assert_eq!(stopped.code, 1, "{}", stopped.stderr);
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn commands_run_in_new_namespaces() {
    let s = Sandbox::new();
    let fresh = s.corten(&format!(
        "ns run --net --uts --pid --mount sh -c '{LINKS}; echo $$; ls /proc | grep -c ^[0-9]'"
    ));
    let lines: Vec<&str> = fresh.ok().lines().collect();
    let own = s.host(LINKS);
    let same = own.ok().lines().zip(&lines).filter(|(own, fresh)| own == *fresh).count();
    assert_eq!(same, 4, "cgroup, ipc, time and user stay: {lines:?}");
    assert_eq!(lines[8], "1", "the first process of its pid namespace");
    assert!(lines[9].parse::<u32>().unwrap() < 5, "/proc is that of its processes: {lines:?}");
    assert_eq!(
        s.corten("ns run --user sh -c 'id -u; cat /proc/self/uid_map'").ok().lines().next(),
        Some("0")
    );
    assert_eq!(s.corten("ns run --net sh -c 'exit 3'").code, 3);
    assert_eq!(s.corten("ns run --net sh -c 'kill -9 $$'").code, 137);
    let said = s.corten("ns run --explain --user --net --pid --mount sh -c 'ip -o link; id -u; echo $$'");
    let done = s.corten("ns run --user --net --pid --mount sh -c 'ip -o link; id -u; echo $$'");
    assert_eq!(s.host(said.ok()).ok(), done.ok(), "{}", said.ok());
    s.end();
}

#[test]
fn containers_are_compared_fact_by_fact() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run -d --name one busybox sleep 1000").ok();
    s.corten("run -d --name two --cap-add NET_ADMIN --network container:one busybox sleep 1000").ok();
    let facts = |words: &str| -> Vec<serde_json::Value> {
        let json = s.corten(&format!("compare --format json {words}"));
        serde_json::from_str(json.ok()).unwrap()
    };
    let names = |facts: &[serde_json::Value]| -> Vec<String> {
        facts.iter().map(|fact| fact["Fact"].as_str().unwrap().to_owned()).collect()
    };
    let ab = facts("one two");
    let differ = names(&ab);
    assert!(differ.contains(&"capabilities".to_owned()), "{differ:?}");
    assert!(!differ.contains(&"net".to_owned()), "it is shared: {differ:?}");
    let caps = ab.iter().find(|fact| fact["Fact"] == "capabilities").unwrap();
    assert!(caps["Values"]["two"].as_str().unwrap().contains("net_admin"), "{caps}");
    assert!(!caps["Values"]["one"].as_str().unwrap().contains("net_admin"), "{caps}");
    // Beside this machine: every namespace is another.
    let host = names(&facts("one"));
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        assert!(host.contains(&kind.to_owned()), "{kind} in {host:?}");
    }
    let table = s.corten("compare --by-hand one");
    assert!(table.ok().contains("readlink /proc/$PID/ns/net"), "{}", table.ok());
    assert_eq!(s.corten("compare one one").ok().lines().last().unwrap().split(' ').next(), Some("0"));
    s.corten("rm -f one two").ok();
    s.end();
}
