//! Names of containers in networks: who finds whom, what is asked outside, and what is not.

use crate::networks::{address, address6};
use e2e::Sandbox;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A name server on the host's loopback, where only the host reaches it: it says 192.0.2.7 to everything, or, over a
/// connection, the same so often that no datagram could hold it.
struct Outside {
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Outside {
    fn new(s: &Sandbox) -> Outside {
        let outside = Outside { asked: Arc::default(), connections: Arc::default() };
        let (asked, connections) = (outside.asked.clone(), outside.connections.clone());
        let udp = UdpSocket::bind("127.0.0.1:53").expect("the sandbox's port is free");
        let tcp = TcpListener::bind("127.0.0.1:53").expect("the sandbox's port is free");
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, client)) = udp.recv_from(&mut buffer) {
                asked.lock().unwrap().push(name(&buffer[..length]));
                // Too long for a datagram: the client is to come back by a connection.
                let long = name(&buffer[..length]).starts_with("long");
                let _ = udp.send_to(&reply(&buffer[..length], usize::from(!long), long), client);
            }
        });
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                connections.fetch_add(1, Ordering::Relaxed);
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                    let _ = stream.read_exact(&mut query);
                    let answer = reply(&query, 100, false);
                    let _ = stream.write_all(&[&(answer.len() as u16).to_be_bytes(), &answer[..]].concat());
                }
            }
        });
        s.host("echo nameserver 127.0.0.1 >resolv.conf && mount --bind resolv.conf /etc/resolv.conf").ok();
        outside
    }

    fn end(self, s: &Sandbox) {
        s.host("umount /etc/resolv.conf").ok();
    }
}

fn name(query: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = &query[12..];
    while let Some((length, more)) = rest.split_first().filter(|(length, _)| **length > 0) {
        let (label, more) = more.split_at(usize::from(*length));
        labels.push(String::from_utf8_lossy(label).into_owned());
        rest = more;
    }
    labels.join(".")
}

/// `count` addresses to a question of IPv4, and none to others.
fn reply(query: &[u8], count: usize, truncated: bool) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|b| *b == 0).expect("a name ends") + 5;
    let ipv4 = query[end - 4..end] == [0, 1, 0, 1];
    let count = if ipv4 { count } else { 0 };
    let mut answer = query[..end].to_vec();
    answer[2] = 0x81 | u8::from(truncated) << 1;
    answer[3] = 0x80;
    answer[6..12].copy_from_slice(&[0, count as u8, 0, 0, 0, 0]);
    for i in 0..count {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 7 + i as u8]);
    }
    answer
}

/// What a container says when it looks a name up, a line each.
fn look_up(s: &Sandbox, network: &str, name: &str) -> Vec<String> {
    let out = s.corten(&format!("run --rm --network {network} busybox nslookup {name} 127.0.0.11"));
    let lines = out.stdout.lines().skip_while(|line| !line.is_empty());
    let mut found: Vec<String> = lines
        .filter_map(|line| line.split_once(": ").or(line.split_once(" = ")))
        .filter(|(key, _)| key.starts_with("Address") || key.contains("arpa"))
        .map(|(_, value)| value.trim().to_owned())
        .collect();
    found.sort();
    found
}

#[test]
fn containers_find_each_other_by_name() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --ipv6 front").ok();
    s.corten("network create back").ok();
    let id = s.web("--name web --network front --network-alias www --hostname box", "by name");
    let both = vec![address(&s, "web", "front"), address6(&s, "web", "front")];
    for name in ["web", "WEB", "www", "box", &id[..12], "web.front"] {
        assert_eq!(look_up(&s, "front", name), both, "{name}");
    }
    assert_eq!(s.page_from("run --rm --network front busybox", "http://web/"), "by name");
    assert_eq!(look_up(&s, "back", "web"), Vec::<String>::new());
    assert_eq!(look_up(&s, "front", &both[0]), ["web.front"]);
    assert_eq!(look_up(&s, "front", &both[1]), ["web.front"]);
    // Port 53 is free for a server of the container's own, and its resolv.conf says whom to ask.
    let own = s.corten("run --rm --network front busybox sh -c 'nc -l -p 53 & for i in $(seq 50); do netstat -lt -n | grep -q :53 && break; sleep 0.1; done; cat /etc/resolv.conf; netstat -lt -n; kill %1'");
    assert!(own.ok().starts_with("nameserver 127.0.0.11\n") && own.ok().contains("ndots:0"), "{own}");
    assert_eq!(own.ok().matches(":53 ").count(), 1, "{own}");
    // The default network has no names (as in Docker), and none of ours is asked.
    assert!(!s.corten("run --rm busybox cat /etc/resolv.conf").ok().contains("127.0.0.11"));
    // A name lasts as long as its container runs.
    s.corten("stop -t 0 web").ok();
    assert_eq!(look_up(&s, "front", "web"), Vec::<String>::new());
    s.corten("rm web").ok();
    s.corten("network rm front back").ok();
    s.end();
}

#[test]
fn aliases_are_shared_and_take_turns() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    for name in ["w1", "w2", "w3"] {
        s.detached(&format!("--name {name} --network net:alias=pool busybox sleep 100"));
    }
    assert_eq!(look_up(&s, "net", "pool"), ["10.78.0.2", "10.78.0.3", "10.78.0.4"]);
    s.corten("rm -f w2").ok();
    assert_eq!(look_up(&s, "net", "pool"), ["10.78.0.2", "10.78.0.4"]);
    s.corten("rm -f w1 w3").ok();
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn other_names_are_asked_outside() {
    let s = Sandbox::with(&["busybox", "debian"]);
    let outside = Outside::new(&s);
    s.corten("network create net").ok();
    assert_eq!(look_up(&s, "net", "example.org"), ["192.0.2.7"]);
    assert!(outside.asked.lock().unwrap().contains(&"example.org".to_owned()));
    // The host's loopback is out of the container's own reach.
    let own = s.corten("run --rm --network net busybox timeout 2 nslookup example.org 127.0.0.1");
    assert!(own.code != 0 && !own.stdout.contains("192.0.2.7"), "{own}");
    // What does not fit into a datagram comes by a connection.
    let long = s.corten("run --rm --network net debian getent ahostsv4 long.example.org");
    assert_eq!(long.ok().matches("STREAM").count(), 100, "{long}");
    assert!(outside.connections.load(Ordering::Relaxed) > 0);
    outside.end(&s);
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn cve_2024_29018_an_internal_network_asks_nobody_outside() {
    let s = Sandbox::with(&["busybox"]);
    let outside = Outside::new(&s);
    s.corten("network create --internal inner").ok();
    s.corten("network create outer").ok();
    s.detached("--name db --network inner busybox sleep 100");
    assert_eq!(look_up(&s, "inner", "db"), [address(&s, "db", "inner")]);
    let told = s.corten("run --rm --network inner busybox nslookup secret.example.org 127.0.0.11");
    assert!(told.code == 1 && told.stdout.contains("SERVFAIL"), "it is told, and need not wait: {told}");
    s.corten("run --rm --network inner --dns 127.0.0.1 busybox nslookup secret.example.org").exits(1);
    assert_eq!(*outside.asked.lock().unwrap(), Vec::<String>::new());
    // With another network beside it there is a way out.
    s.corten("run --rm --network inner --network outer busybox nslookup other.example.org").ok();
    assert!(outside.asked.lock().unwrap().iter().all(|name| !name.contains("secret")));
    assert!(outside.asked.lock().unwrap().iter().any(|name| name.contains("other")));
    outside.end(&s);
    s.corten("rm -f db").ok();
    s.corten("network rm inner outer").ok();
    s.end();
}

#[test]
fn the_host_has_a_name() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --ipv6 net").ok();
    let gateways =
        s.corten("network inspect -f '{{range .IPAM.Config}}{{.Gateway}} {{end}}' net").ok().to_string();
    let gateways: Vec<&str> = gateways.split_whitespace().collect();
    assert_eq!(look_up(&s, "net", "host.corten.internal"), gateways);
    assert_eq!(look_up(&s, "net", "host.docker.internal"), gateways);
    for network in ["net", "bridge"] {
        let hosts = s.corten(&format!("run --rm --network {network} --add-host up:host-gateway --add-host db:10.1.1.1 busybox cat /etc/hosts"));
        let gateway = if network == "net" { gateways[0] } else { "10.77.0.1" };
        for line in [
            format!("{gateway}\thost.corten.internal host.docker.internal"),
            format!("{gateway}\tup"),
            "10.1.1.1\tdb".into(),
        ] {
            assert!(hosts.ok().lines().any(|l| l == line), "{line}: {hosts}");
        }
    }
    s.corten("run --rm busybox ping -c 1 -W 10 host.corten.internal").ok();
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn options_of_the_resolver() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    let flags = "--dns 192.0.2.53 --dns-search example.org --dns-option timeout:1";
    let own = s.corten(&format!("run --rm --network net {flags} busybox cat /etc/resolv.conf"));
    assert_eq!(own.ok(), "nameserver 127.0.0.11\nsearch example.org\noptions ndots:0 timeout:1");
    let default = s.corten(&format!("run --rm {flags} busybox cat /etc/resolv.conf"));
    assert_eq!(default.ok(), "nameserver 192.0.2.53\nsearch example.org\noptions timeout:1");
    s.corten("network rm net").ok();
    s.end();
}

/// dig(1) in the container's network: it complains about every bit that is wrong.
#[test]
fn dig_has_nothing_to_complain_about() {
    let s = Sandbox::with(&["busybox"]);
    let outside = Outside::new(&s);
    s.corten("network create --ipv6 net").ok();
    let id = s.detached("--name web --network net:alias=www busybox sleep 100");
    let pid = s.inspect("web", "{{.State.Pid}}");
    let ask = |question: &str| {
        let dig = format!("nsenter --net=/proc/{pid}/ns/net dig @127.0.0.11 +time=5 +tries=4 {question}");
        let answer = s.host(&dig);
        let text = answer.ok().to_owned();
        for word in ["WARNING", "Warning", "malformed", "mismatch", "bad packet", "error"] {
            assert!(!text.contains(word), "{question}: {text}");
        }
        text
    };
    let (four, six) = (address(&s, "web", "net"), address6(&s, "web", "net"));
    for name in ["web", "WWW", "web.net", &id[..12]] {
        for transport in ["", "+tcp", "+bufsize=512", "+noedns", "+cookie"] {
            assert_eq!(ask(&format!("{transport} +short {name} A")), four, "{name} {transport}");
            assert_eq!(ask(&format!("{transport} +short {name} AAAA")), six, "{name} {transport}");
        }
    }
    for address in [&four, &six] {
        assert_eq!(ask(&format!("+short -x {address}")), "web.net.");
    }
    // Of a name of ours there is nothing else, and nobody else is asked.
    let mail = ask("web MX");
    assert!(mail.contains("status: NOERROR") && mail.contains("ANSWER: 0"), "{mail}");
    let full = ask("web A");
    assert!(full.contains("status: NOERROR") && full.contains("ANSWER: 1"), "{full}");
    assert_eq!(*outside.asked.lock().unwrap(), Vec::<String>::new());
    assert_eq!(ask("+short example.org A"), "192.0.2.7");
    assert_eq!(ask("+short +tcp long.example.org A").lines().count(), 100);
    assert_eq!(ask("+short long.example.org A").lines().count(), 100, "by a connection, after all");
    outside.end(&s);
    s.corten("rm -f web").ok();
    s.corten("network rm net").ok();
    s.end();
}
