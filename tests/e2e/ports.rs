//! Published ports that come and go, what is put back after somebody took it away, and many containers at once.

use crate::networks::address;
use e2e::{Sandbox, wait_until};
use std::collections::HashSet;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn get(s: &Sandbox, port: u16) -> String {
    s.page(&format!("http://127.0.0.1:{port}/"))
}

fn refused(s: &Sandbox, port: u16) {
    s.refused(&format!("http://127.0.0.1:{port}/"));
}

#[test]
fn ports_of_a_running_container_are_changed() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.web("--name web -p 8080:80", "here");
    assert_eq!(get(&s, 8080), "here");
    assert_eq!(s.corten("update --publish 8081:80 --unpublish 8080:80 web").ok(), "web");
    refused(&s, 8080);
    assert_eq!(get(&s, 8081), "here");
    assert_eq!(s.corten("port web").ok(), "80/tcp -> 0.0.0.0:8081");
    // The old port is anybody's, the new one is held.
    s.corten("run --rm -p 8080:80 busybox true").ok();
    s.corten("run --rm -p 8081:80 busybox true").fails(125, &["8081", "already allocated"]);
    s.corten("update --unpublish 99 web").fails(1, &["web", "99/tcp"]);
    let listener = std::net::TcpListener::bind("0.0.0.0:8082").expect("the sandbox's port is free");
    s.corten("update -p 8082:80 web").fails(1, &["8082", "already allocated"]);
    drop(listener);
    s.corten("restart -t 0 web").ok();
    assert_eq!(get(&s, 8081), "here");
    s.corten("update --unpublish 80 web").ok();
    refused(&s, 8081);
    // Of a stopped one, too.
    s.corten("stop -t 0 web").ok();
    s.corten("update -p 8083:80 -p 127.0.0.1:8084:80 web").ok();
    s.corten("start web").ok();
    assert_eq!((get(&s, 8083), get(&s, 8084)), ("here".into(), "here".into()));
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn every_exposed_port_and_ranges() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -P --expose 7000-7001 --expose 53/udp busybox sleep 100");
    let ports = s.corten("port box");
    for port in ["7000/tcp -> 0.0.0.0:", "7001/tcp -> 0.0.0.0:", "53/udp -> 0.0.0.0:"] {
        assert!(ports.ok().contains(port), "{port}: {ports}");
    }
    s.detached("--name range -p 9000-9002:80-82 -p 9005:80/sctp busybox sleep 100");
    let shown = s.corten("ps -f name=range --format '{{.Ports}}'");
    assert!(
        shown.ok().contains("0.0.0.0:9000->80/tcp") && shown.ok().contains("0.0.0.0:9005->80/sctp"),
        "{shown}"
    );
    s.corten("rm -f box range").ok();
    s.end();
}

#[test]
fn what_somebody_took_away_is_put_back() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --ipv6 net").ok();
    s.web("--name web --network net -p 8080:80", "back");
    s.web("--name other -p 8081:80", "other");
    let bridge = s
        .corten("network inspect -f '{{index .Options \"com.docker.network.bridge.name\"}}' net")
        .ok()
        .to_string();
    for damage in [
        "nft flush ruleset".to_owned(),
        "nft flush map inet corten published_any4".to_owned(),
        format!("ip link del {bridge}"),
        "sysctl -qw net.ipv4.ip_forward=0".to_owned(),
    ] {
        s.host(&damage).ok();
        s.corten("network reload").ok();
        assert_eq!(get(&s, 8080), "back", "{damage}");
        assert_eq!(get(&s, 8081), "other", "{damage}");
        let out = s.page_from("run --rm --network net busybox", "http://198.51.100.1/");
        assert_eq!(out, "hello 198.51.100.2", "{damage}");
        let inside = format!("run --rm --network net busybox ping -c 1 -W 10 {}", address(&s, "web", "net"));
        s.corten(&inside).ok();
    }
    // The next container puts the table back, with the ports of all.
    s.host("nft flush ruleset").ok();
    s.corten("run --rm busybox true").ok();
    assert_eq!(get(&s, 8080), "back");
    s.corten("rm -f web other").ok();
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn datagrams_of_old_flows_find_the_new_container() {
    let s = Sandbox::with_internet(&["busybox"]);
    // One socket, so one flow: it begins when nobody is there, and goes on over two containers.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a time");
    let say = || {
        let _ = socket.send_to(b"hello", "127.0.0.1:5353");
        let mut buffer = [0; 100];
        socket
            .recv_from(&mut buffer)
            .ok()
            .map(|(length, _)| String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    assert_eq!(say(), None);
    for name in ["first", "second"] {
        s.detached(&format!("--name {name} -p 5353:53/udp busybox sleep 100"));
        let server = Datagrams::serve(&s.inspect(name, "{{.State.Pid}}"), name);
        let mut heard = None;
        wait_until(name, 20, || {
            heard = say();
            heard.is_some()
        });
        assert_eq!(heard.as_deref(), Some(name));
        server.end();
        s.corten(&format!("rm -f {name}")).ok();
        // Answers to what was said before, late as they may be.
        while socket.recv(&mut [0; 100]).is_ok() {}
        assert_eq!(say(), None, "{name} is gone");
    }
    s.end();
}

/// A server in a container's network, that says its name to every datagram.
struct Datagrams {
    over: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Datagrams {
    fn serve(pid: &str, name: &'static str) -> Datagrams {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("the container runs");
        let over = Arc::new(AtomicBool::new(false));
        let end = over.clone();
        let thread = std::thread::spawn(move || {
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(namespace.as_fd(), kind)
                .expect("end-to-end tests need root");
            let socket = std::net::UdpSocket::bind("0.0.0.0:53").expect("port 53 is free");
            socket.set_read_timeout(Some(std::time::Duration::from_millis(50))).expect("a time");
            while !end.load(Ordering::Relaxed) {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 100]) {
                    let _ = socket.send_to(name.as_bytes(), from);
                }
            }
        });
        Datagrams { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("the server ends");
    }
}

#[test]
fn ip_netns_knows_containers() {
    let s = Sandbox::with(&["busybox"]);
    let name = format!("netns-test-{}", std::process::id());
    s.detached(&format!("--name {name} busybox sleep 100"));
    assert!(s.host("ip netns list").ok().contains(&name));
    let inside = s.host(&format!("ip netns exec {name} ip -4 -o addr show eth0"));
    assert!(inside.ok().contains("10.77.0.2/16"), "{inside}");
    s.corten(&format!("rm -f {name}")).ok();
    assert!(!s.host("ip netns list; ls /run/netns").ok().contains(&name));
    s.end();
}

#[test]
fn macvlan_puts_containers_on_the_hosts_wire() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create -d macvlan --subnet 198.51.100.0/24 --gateway 198.51.100.1 -o parent=world lan")
        .ok();
    let got = s.page_from("run --rm --network lan --ip 198.51.100.77 busybox", "http://198.51.100.1/");
    assert_eq!(got, "hello 198.51.100.77", "with its own address");
    s.web("--name web --network lan", "lan");
    assert_eq!(s.page_from("run --rm --network lan busybox", "http://web/"), "lan");
    // CVE-2024-32473: no IPv6 where there is none.
    assert!(!s.corten("exec web ip -6 addr show eth0").ok().contains("inet6"));
    s.corten("network create -d macvlan --subnet 10.0.0.0/24 bad").fails(1, &["parent"]);
    s.corten("network create -d macvlan --subnet 10.0.0.0/24 -o parent=nosuch bad").fails(1, &["nosuch"]);
    s.corten("network create -d macvlan -o parent=world bad").fails(1, &["--subnet"]);
    s.corten("rm -f web").ok();
    s.corten("network rm lan").ok();
    s.end();
}

/// `CORTEN_TEST_MANY` containers, started and removed by eight processes at once.
#[test]
fn many_containers_at_once_have_addresses_of_their_own() {
    let usual = if e2e::slowness() > 1 { 40 } else { 160 };
    let count: usize = std::env::var("CORTEN_TEST_MANY").ok().and_then(|v| v.parse().ok()).unwrap_or(usual);
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.96.0.0/22 --subnet fd00:96::/64 big").ok();
    let corten = s.command("").get_program().to_string_lossy().into_owned();
    let env = |key: &str| {
        let command = s.command("");
        let found = command.get_envs().find(|(k, _)| *k == key).and_then(|(_, v)| v.map(|v| v.to_owned()));
        format!("{key}={}", found.expect("the sandbox sets it").to_string_lossy())
    };
    let env = ["CORTEN_ROOT", "CORTEN_STATE", "CORTEN_CGROUP_PARENT"].map(env).join(" ");
    let each = count / 8;
    let all = |line: &str| {
        let script = format!(
            "export {env}; for p in 1 2 3 4 5 6 7 8; do (for i in $(seq {each}); do {corten} {line} || echo BAD; done) & done; wait"
        );
        let out = s.host(&script);
        assert!(!out.ok().contains("BAD"), "{out}");
    };
    all("run -d --network big --name c$p-$i busybox sleep 1000 >/dev/null");
    let listed =
        s.corten("network inspect -f '{{range .Containers}}{{.IPv4Address}} {{.IPv6Address}}\n{{end}}' big");
    let lines: Vec<&str> = listed.ok().lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.len(), 8 * each);
    for part in 0..2 {
        let addresses: HashSet<&str> = lines.iter().filter_map(|line| line.split(' ').nth(part)).collect();
        assert_eq!(addresses.len(), 8 * each, "no lease twice");
    }
    s.corten("exec c1-1 ping -c 1 -W 10 c8-1").ok();
    all("rm -f c$p-$i >/dev/null");
    s.corten("network rm big").ok();
    assert_eq!(s.host("ls root/leases | wc -l").ok(), "0");
    s.end();
}
