//! Containers that change their networks: while they run, and before.

use crate::networks::address;
use e2e::Sandbox;

fn links(s: &Sandbox, name: &str) -> String {
    s.corten(&format!("exec {name} sh -c 'ls /sys/class/net | tr \"\\n\" \" \"'")).ok().trim().to_owned()
}

#[test]
fn a_running_container_is_connected_and_disconnected() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --ipv6 front").ok();
    s.corten("network create --subnet 10.95.0.0/24 back").ok();
    s.web("--name db --network back", "db");
    s.detached("--name box busybox sleep 100");
    s.unheard("exec box", "http://db/");
    s.corten("network connect --ip 10.95.0.9 --alias other --mac-address 02:00:00:00:00:09 back box").ok();
    assert_eq!(links(&s, "box"), "eth0 eth1 lo");
    assert_eq!(address(&s, "box", "back"), "10.95.0.9");
    let link = s.corten("exec box ip addr show eth1");
    assert!(link.ok().contains("10.95.0.9/24") && link.ok().contains("02:00:00:00:00:09"), "{link}");
    // It finds others by name from now on, and they find it.
    assert_eq!(s.page_from("exec box", "http://db/"), "db");
    s.corten("exec db ping -c 1 -W 10 other").ok();
    assert!(s.corten("exec box cat /etc/hosts").ok().contains("10.95.0.9\t"));
    assert!(s.corten("exec box cat /etc/resolv.conf").ok().contains("127.0.0.11"));
    s.corten("network connect back box").fails(1, &["box", "already exists in network back"]);
    s.corten("network rm back").fails(1, &["back has active endpoints"]);
    // The way out is still the first, until that goes.
    assert!(s.corten("exec box ip route").ok().contains("default via 10.77.0.1 dev eth0"));
    s.corten("network connect front box").ok();
    assert_eq!(links(&s, "box"), "eth0 eth1 eth2 lo");
    s.corten("network disconnect bridge box").ok();
    assert_eq!(links(&s, "box"), "eth1 eth2 lo");
    let routes = s.corten("exec box ip route");
    assert!(routes.ok().contains("default via 10.95.0.1 dev eth1"), "{routes}");
    assert_eq!(s.page_from("exec box", "http://198.51.100.1/"), "hello 198.51.100.2");
    assert_eq!(s.corten("ps -f name=box --format '{{.Networks}}'").ok(), "back,front");
    s.corten("network disconnect bridge box").fails(1, &["box", "not connected to network bridge"]);
    s.corten("network disconnect back box").ok();
    s.unheard("exec box", "http://db/");
    assert_ne!(s.corten("exec db timeout 1 ping -c 1 other").code, 0);
    // The number that is free is taken again.
    s.corten("network connect bridge box").ok();
    assert_eq!(links(&s, "box"), "eth0 eth2 lo");
    // All of it lasts over a restart.
    s.corten("restart -t 0 box").ok();
    assert_eq!(links(&s, "box"), "eth0 eth1 lo");
    assert_eq!(s.corten("ps -f name=box --format '{{.Networks}}'").ok(), "front,bridge");
    s.corten("rm -f box db").ok();
    s.corten("network rm front back").ok();
    s.end();
}

#[test]
fn published_ports_follow_the_networks() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --internal inner").ok();
    s.corten("network create aa").ok();
    s.corten("network create bb").ok();
    s.web("--name web --network inner -p 8080:80", "moved");
    let url = "http://127.0.0.1:8080/";
    s.refused(url);
    s.corten("network connect aa web").ok();
    assert_eq!(s.page(url), "moved");
    assert_eq!(s.corten("port web").ok(), "80/tcp -> 0.0.0.0:8080");
    s.corten("network connect bb web").ok();
    s.corten("network disconnect aa web").ok();
    assert_eq!(s.page(url), "moved");
    let element = s.host("nft list map inet corten published_any4");
    assert!(element.ok().contains(&address(&s, "web", "bb")), "{element}");
    s.corten("network disconnect bb web").ok();
    s.refused(url);
    s.corten("rm -f web").ok();
    s.corten("network rm inner aa bb").ok();
    s.end();
}

#[test]
fn a_created_container_is_connected_too() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.corten("create --name box busybox sleep 100").ok();
    s.corten("network connect --ip 10.78.0.77 net box").ok();
    s.corten("network disconnect bridge box").ok();
    s.corten("start box").ok();
    assert_eq!((links(&s, "box"), address(&s, "box", "net")), ("eth0 lo".into(), "10.78.0.77".into()));
    s.corten("network disconnect net box").ok();
    assert_eq!(links(&s, "box"), "lo");
    s.corten("rm -f box").ok();
    // Its addresses are free: nobody is in the way of the network's end.
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn who_has_no_network_of_its_own_is_not_connected() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.detached("--name aa busybox sleep 100");
    s.detached("--name bb --network container:aa busybox sleep 100");
    s.corten("create --name cc --network none busybox true").ok();
    for (name, mode) in [("bb", "container:aa"), ("cc", "none")] {
        s.corten(&format!("network connect net {name}")).fails(1, &[name, mode]);
    }
    s.corten("network connect nosuch aa").fails(1, &["network nosuch not found"]);
    s.corten("network connect net nosuch").fails(1, &["nosuch"]);
    s.corten("rm -f aa bb cc").ok();
    s.corten("network rm net").ok();
    s.end();
}

#[test]
fn links_give_names() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.web("--name db1", "default");
    s.web("--name db2 --network net", "own");
    let get = |flags: &str| s.page_from(&format!("run --rm {flags} busybox"), "http://sql/");
    assert_eq!(get("--link db1:sql"), "default");
    assert_eq!(get("--network net --link db2:sql"), "own");
    s.unheard("run --rm --init --network net busybox", "http://sql/");
    s.corten("stop -t 0 db1").ok();
    let refused = |link: &str| s.corten(&format!("run --rm --link {link} busybox true"));
    refused("db1:sql").fails(125, &["Cannot link to a non running container", "db1"]);
    refused("nosuch:sql").fails(125, &["nosuch"]);
    s.corten("rm -f db1 db2").ok();
    s.corten("network rm net").ok();
    s.end();
}

/// Who shares another's network shares its names.
#[test]
fn a_shared_network_has_one_name_server() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create net").ok();
    s.web("--name web --network net", "shared");
    s.detached("--name aa --network net busybox sleep 100");
    assert_eq!(s.page_from("run --rm --network container:aa busybox", "http://web/"), "shared");
    s.corten("rm -f aa web").ok();
    s.corten("network rm net").ok();
    s.end();
}
