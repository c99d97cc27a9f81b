//! A program that tries everything that it should not be able to, in a default container: ours, Podman's and Docker's, side by
//! side. docs/security.md has the table.

mod filters;

use e2e::peers::uncorrected;
use e2e::{Background, Sandbox, wait_until};
use rustix::process::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

type Rows = BTreeMap<String, BTreeSet<String>>;

/// What our default container may have in a row beside "no": nothing of it does harm, docs/security.md says why.
const OURS: &[(&str, &[&str])] = &[
    ("abstract sockets", &[]),
    ("ambient", &["0000000000000000"]),
    ("capabilities", &["00000000a80425fb"]),
    ("control groups and release_agent", &[]),
    ("devices that it makes", &[]),
    ("dmesg", &[]),
    ("families of sockets", &[]),
    ("filter", &["2"]),
    ("hears of the host's devices", &[]),
    ("inheritable", &["0000000000000000"]),
    ("inherited descriptors", &[]),
    ("numbers of x32", &[]),
    ("of the machine", &["command", "line", "boot_id", "load", "disks", "core_pattern"]),
    ("paths of the host", &["layers", "mounts"]),
    ("read by root alone", &[]),
    ("root is the host's", &[]),
    ("secrets of the kernel", &[]),
    ("sockets of the host", &[]),
    ("system calls", &["name_to_handle_at"]),
    ("timing of the host", &[]),
    ("unusual devices", &[]),
    (
        "writable in /proc",
        &["/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/irq", "/proc/pressure/memory"],
    ),
    ("writable in /sys", &[]),
];

/// Where somebody else's container may do less, and why that is so.
const THEIRS_IS_LESS: &[(&str, &str)] = &[
    ("capabilities", "Podman leaves three out that Docker's images count on"),
    (
        "system calls",
        "name_to_handle_at(2) only tells what a file's handle would be; today's Docker lets it pass as well",
    ),
];

/// Holes of docs/security.md that Debian's engines have still, in just these versions: where one of the corpus' tests says that an attack
/// fails here, it succeeds there.
const HOLES: &[(&str, &str, &[&str])] = &[
    ("podman", "4.3.1+ds1-8+deb12u1+b3", &["CVE-2024-9676", "CVE-2025-9566"]),
    ("docker.io", "20.10.24+dfsg1-1+deb12u1+b6", &["CVE-2024-29018", "CVE-2025-54410", "CVE-2026-47262"]),
];

fn build(s: &Sandbox) {
    compile(s, "probe");
}

fn compile(s: &Sandbox, name: &str) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/probe");
    s.host(&format!("cc -static -O1 -o {name} {source}/{name}.c")).ok();
}

fn rows(text: &str) -> Rows {
    let row = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let words = value.split_whitespace().filter(|word| *word != "no").map(String::from);
        Some((name.to_owned(), words.collect()))
    };
    text.lines().filter_map(row).collect()
}

/// Makes a device of the host's speak all the time.
fn speaking(s: &Sandbox) -> Background {
    let script = "while sleep 0.1; do echo change >/sys/devices/virtual/mem/null/uevent; done";
    let mut shell = Command::new("bash");
    Background::start("a device that speaks", shell.args(["-c", script]).current_dir(&s.dir))
}

fn ours(s: &Sandbox, flags: &str) -> Rows {
    let output = s.corten(&format!("run --rm {flags} -v ./probe:/probe:ro busybox /probe"));
    rows(output.ok())
}

#[test]
fn what_a_default_container_can_see_and_do() {
    let s = Sandbox::with(&["busybox"]);
    build(&s);
    let speaking = speaking(&s);
    let seen = ours(&s, "");
    let names: Vec<&str> = seen.keys().map(String::as_str).collect();
    assert_eq!(names, OURS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for ((name, words), (_, may)) in seen.iter().zip(OURS) {
        assert!(words.iter().all(|word| may.contains(&word.as_str())), "{name}: {words:?}");
    }
    // With the host's ids nothing more is open but what that root may look at; and the probe finds what there is to find.
    let host = ours(&s, "--userns host");
    for name in [
        "devices that it makes",
        "control groups and release_agent",
        "system calls",
        "dmesg",
        "timing of the host",
    ] {
        assert_eq!(host[name], seen[name], "{name}");
    }
    // A busy machine's device may speak a moment later than the probe listens.
    let mut everything = ours(&s, "--privileged");
    for _ in 0..10 {
        if everything["hears of the host's devices"].is_empty() {
            everything = ours(&s, "--privileged");
        }
    }
    for name in [
        "root is the host's",
        "devices that it makes",
        "control groups and release_agent",
        "system calls",
        "hears of the host's devices",
        "read by root alone",
    ] {
        assert!(everything[name].len() > seen[name].len(), "{name}: {everything:?}");
    }
    speaking.signal(Signal::KILL);
    speaking.wait();
    s.end();
}

#[test]
fn side_by_side() {
    let s = Sandbox::with(&["busybox"]);
    build(&s);
    compile(&s, "filter");
    let seen = ours(&s, "");
    let script = concat!(include_str!("drivers/podman_files.sh"), include_str!("probe/peers.sh"));
    let speaking = speaking(&s);
    let output = s.session("the probe elsewhere", script, &[]);
    speaking.signal(Signal::KILL);
    speaking.wait();
    let (probes, holes) = output.ok().split_once("== holes").expect("they are told");
    for (package, version, known) in HOLES {
        if uncorrected(package, version) {
            let found =
                holes.lines().filter(|line| package.starts_with(line.split(' ').nth(1).unwrap_or("-")));
            let found: Vec<&str> = found.filter_map(|line| line.split(' ').next()).collect();
            assert_eq!(found, *known, "{package}: {output}");
        }
    }
    let theirs: Vec<(&str, Rows)> = probes
        .split("== ")
        .filter_map(|part| part.split_once('\n'))
        .map(|(name, text)| (name, rows(text)))
        .collect();
    assert_eq!(theirs.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["podman", "docker"]);
    for (engine, theirs) in &theirs {
        assert_eq!(theirs.len(), seen.len(), "{output}");
        for (row, words) in &seen {
            let excused = THEIRS_IS_LESS.iter().any(|(name, _)| name == row);
            assert!(
                excused || words.is_subset(&theirs[row]),
                "{row}: {words:?}, {engine} has {:?}",
                theirs[row]
            );
        }
    }
    // The filters themselves, as the kernel has them.
    s.detached("--name box --network none busybox sleep 1000");
    s.host(&format!("./filter {} >corten.bpf", s.inspect("box", "{{.State.Pid}}"))).ok();
    s.corten("rm -f box").ok();
    let [ours, theirs] = ["corten", "docker"].map(|name| filters::read(&s.dir.join(format!("{name}.bpf"))));
    assert_eq!(filters::unexplained(&ours, &theirs), Vec::<String>::new());
    s.end();
}

/// Two neighbours in one network: one tells that it is a router, and that it has an address that is not its own.
#[test]
fn cve_2020_13401_routers_that_are_none() {
    let s = Sandbox::with(&["busybox"]);
    build(&s);
    s.corten("network create --ipv6 net").ok();
    s.detached("--name victim --network net busybox sleep 1000");
    let state = || {
        let routes = s.corten("exec victim ip -6 route").ok().to_owned();
        let host = s.host("ip -6 route show default; sysctl -n net.ipv6.conf.all.forwarding").stdout;
        (routes, host)
    };
    let before = state();
    assert!(before.0.contains("default"), "{before:?}");
    let attack = |flags: &str, kind: &str| {
        s.corten(&format!("run --rm --network net {flags} -v ./probe:/probe:ro busybox /probe {kind}"))
    };
    assert_eq!(attack("", "ra").ok(), "sent");
    assert_eq!(state(), before);
    assert!(attack("--cap-drop NET_RAW", "ra").ok().starts_with("no packets"));
    // A neighbour that listens to such things takes it for a router: the packets are good ones.
    s.detached("--name naive --network net busybox sleep 1000");
    let pid = s.inspect("naive", "{{.State.Pid}}");
    let listen = "sysctl -qw net.ipv6.conf.eth0.accept_ra=2 net.ipv6.conf.eth0.accept_ra_from_local=1";
    s.host(&format!("nsenter --net=/proc/{pid}/ns/net {listen}")).ok();
    assert_eq!(attack("", "ra").ok(), "sent");
    let naive = s.corten("exec naive ip -6 route");
    assert!(naive.ok().contains("via fe80::1 "), "{naive}");
    s.corten("rm -f victim naive").ok();
    s.corten("network rm net").ok();
    s.end();
}

/// A neighbour tells that it has an address of others': what is sent there goes to it. Not so with the gateway's, except on a
/// bridge that may be somebody else's.
#[test]
fn nobody_else_becomes_the_gateway() {
    let s = Sandbox::with(&["busybox"]);
    build(&s);
    s.corten("network create net").ok();
    s.corten("network create -o com.docker.network.bridge.name=own0 own").ok();
    for network in ["net", "own"] {
        s.detached(&format!("--name victim --network {network} busybox sleep 1000"));
        s.detached(&format!("--name friend --network {network} busybox sleep 1000"));
        let gateway = s.inspect("victim", &format!("{{{{.NetworkSettings.Networks.{network}.Gateway}}}}"));
        let reach =
            |address: &str| s.corten(&format!("exec victim ping -c 1 -W 10 {address}")).ok().to_owned();
        let hardware = |address: &str| {
            let table = s.corten("exec victim cat /proc/net/arp").ok().to_owned();
            let entry = table.lines().find(|line| line.starts_with(&format!("{address} "))).map(String::from);
            entry.and_then(|entry| entry.split_whitespace().nth(3).map(String::from)).unwrap_or_default()
        };
        let friend = s.inspect("friend", &format!("{{{{.NetworkSettings.Networks.{network}.IPAddress}}}}"));
        reach(&gateway);
        reach(&friend);
        let before = (hardware(&gateway), hardware(&friend));
        // For some two seconds: what is heard of others later may set it right again.
        let attack = |address: &str, taken: &dyn Fn() -> bool| {
            let line =
                format!("run --rm --network {network} -v ./probe:/probe:ro busybox /probe arp {address}");
            let running = s.start(&line);
            wait_until("the address to be taken", 20, taken);
            assert_eq!(running.wait().ok(), "sent");
        };
        attack(&friend, &|| hardware(&friend) != before.1);
        if network == "own" {
            attack(&gateway, &|| hardware(&gateway) != before.0);
        } else {
            attack(&gateway, &|| true);
            assert_eq!(hardware(&gateway), before.0, "the gateway is known");
            reach(&gateway);
        }
        s.corten("rm -f victim friend").ok();
    }
    s.corten("network rm net own").ok();
    s.end();
}

/// What two neighbours say to each other does not come by at a third, who listens to all that its link brings.
#[test]
fn nobody_hears_what_others_say() {
    let s = Sandbox::with(&["busybox"]);
    build(&s);
    s.corten("network create net").ok();
    s.detached("--name one --network net busybox sleep 1000");
    s.detached("--name two --network net busybox sleep 1000");
    let listen = s.start("run --rm --name ears --network net -v ./probe:/probe:ro busybox /probe listen");
    listen.expect("listening");
    let ping = |from: &str, to: &str| s.corten(&format!("exec {from} ping -c 2 -W 10 {to}")).ok().to_owned();
    ping("one", "two");
    ping("one", "ears");
    assert_eq!(listen.wait().ok(), "listening\nown yes, others' no");
    s.corten("rm -f one two").ok();
    s.corten("network rm net").ok();
    s.end();
}
