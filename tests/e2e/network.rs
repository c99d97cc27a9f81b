//! Networks: bridge, none, host, another container's; published ports; the way out.

use e2e::Sandbox;

fn address(s: &Sandbox, name: &str) -> String {
    s.inspect(name, "{{.NetworkSettings.IPAddress}}")
}

#[test]
fn containers_reach_each_other() {
    let s = Sandbox::with(&["busybox"]);
    s.web("--name web", "hello");
    let web = address(&s, "web");
    assert!(web.starts_with("10.77."), "{web}");
    s.corten(&format!("run --rm busybox ping -c 1 -W 10 {web}")).ok();
    s.corten("run --rm busybox ping -c 1 -W 10 10.77.0.1").ok();
    assert_eq!(s.page_from("run --rm busybox", &format!("http://{web}/")), "hello");
    assert_eq!(s.page(&format!("http://{web}/")), "hello");
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn a_container_has_one_interface_an_address_and_a_way_out() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    let ip = s.corten("exec box ip -4 addr show eth0");
    assert!(ip.ok().contains(&format!("{}/16", address(&s, "box"))), "{ip}");
    let routes = s.corten("exec box ip route");
    assert!(routes.ok().contains("default via 10.77.0.1 dev eth0"), "{routes}");
    assert!(s.corten("exec box ip -o link show lo").ok().contains("UP"));
    assert_eq!(
        s.corten("exec box sh -c 'ls /sys/class/net | sort | tr \"\\n\" \" \"'").ok().trim(),
        "eth0 lo"
    );
    assert_eq!(s.inspect("box", "{{.NetworkSettings.Gateway}}"), "10.77.0.1");
    assert_eq!(
        s.inspect("box", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"),
        address(&s, "box")
    );
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn the_internet_is_reached_by_masquerade() {
    let s = Sandbox::with_internet(&["busybox"]);
    assert_eq!(s.page_from("run --rm busybox", "http://198.51.100.1/"), "hello 198.51.100.2");
    s.end();
}

#[test]
fn published_ports() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.web("--name web -p 8080:80 -p 127.0.0.1:8081:80", "hello");
    // From the machine itself, by loopback and by its own address.
    for url in [
        "http://127.0.0.1:8080/",
        "http://198.51.100.2:8080/",
        "http://10.77.0.1:8080/",
        "http://127.0.0.1:8081/",
    ] {
        assert_eq!(s.page(url), "hello", "{url}");
    }
    // From another container, and from the container itself (hairpin).
    assert_eq!(s.page_from("run --rm busybox", "http://10.77.0.1:8080/"), "hello");
    assert_eq!(s.page_from("exec web", "http://10.77.0.1:8080/"), "hello");
    // What is published on 127.0.0.1 is not for others.
    s.refused("http://198.51.100.2:8081/");
    s.corten("rm -f web").ok();
    s.refused("http://127.0.0.1:8080/");
    s.end();
}

#[test]
fn ports_are_shown_and_chosen() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box -p 8080:80 -p 53:53/udp -p 127.0.0.1::90 busybox sleep 100");
    let ports = s.corten("ps --format '{{.Ports}}'");
    assert!(
        ports.ok().contains("0.0.0.0:8080->80/tcp") && ports.ok().contains("0.0.0.0:53->53/udp"),
        "{ports}"
    );
    assert!(ports.ok().contains("127.0.0.1:") && ports.ok().contains("->90/tcp"), "{ports}");
    assert_eq!(s.inspect("box", r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#), "8080");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_port_in_use_is_named() {
    let s = Sandbox::with(&["busybox"]);
    let listener = std::net::TcpListener::bind("0.0.0.0:8080").expect("the sandbox's port is free");
    s.corten("run --rm -p 8080:80 busybox true").fails(125, &["8080"]);
    drop(listener);
    s.detached("--name one -p 8080:80 busybox sleep 100");
    s.corten("run --rm -p 8080:81 busybox true").fails(125, &["8080"]);
    s.corten("rm -f one").ok();
    s.corten("run --rm -p 8080:80 busybox true").ok();
    s.corten("run --rm -p 80800:80 busybox true").fails(125, &["80800"]);
    s.corten("run --rm -p http:80 busybox true").fails(125, &["http"]);
    s.end();
}

#[test]
fn no_network_and_the_hosts() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm --network none busybox sh -c 'ls /sys/class/net'").ok(), "lo");
    s.host("ip link add mark0 type bridge").ok();
    assert!(s.corten("run --rm --network host busybox ip link").ok().contains("mark0"));
    s.host("ip link del mark0").ok();
    s.corten("run --rm --network nosuch busybox true").fails(125, &["nosuch"]);
    s.end();
}

#[test]
fn two_containers_on_one_network_namespace() {
    let s = Sandbox::with(&["busybox"]);
    s.web("--name web", "inside");
    assert_eq!(s.page_from("run --rm --network container:web busybox", "http://127.0.0.1/"), "inside");
    s.corten("rm -f web").ok();
    s.end();
}

#[test]
fn addresses_are_used_again_but_never_twice() {
    let s = Sandbox::with(&["busybox"]);
    for name in ["aa", "bb", "cc"] {
        s.detached(&format!("--name {name} busybox sleep 100"));
    }
    let mut all: Vec<String> = ["aa", "bb", "cc"].map(|n| address(&s, n)).into();
    s.corten("rm -f bb").ok();
    s.detached("--name dd busybox sleep 100");
    all[1] = address(&s, "dd");
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 3, "{all:?}");
    s.corten("rm -f aa cc dd").ok();
    s.end();
}

#[test]
fn the_name_server_is_known_inside() {
    let s = Sandbox::with(&["busybox"]);
    let text = s.corten("run --rm busybox cat /etc/resolv.conf");
    let hosts = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let server =
        hosts.lines().find(|l| l.starts_with("nameserver") && !l.contains("127.")).unwrap_or("nameserver");
    assert!(text.ok().contains(server), "{text}");
    s.end();
}
