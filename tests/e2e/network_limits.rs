//! Networks at their edges: options of the bridge, drivers that are not made, a full bridge, and processes that are killed.

use crate::networks::{address, address6};
use e2e::{Sandbox, wait_until};
use rustix::process::{Pid, Signal, kill_process};

/// What `ip -j` says of links.
fn links(s: &Sandbox, which: &str) -> serde_json::Value {
    serde_json::from_str(s.host(&format!("ip -d -j link show {which}")).ok()).expect("ip writes JSON")
}

#[test]
fn options_of_the_bridge() {
    let s = Sandbox::with_internet(&["busybox"]);
    let options = "-o com.docker.network.bridge.name=mine0 -o com.docker.network.driver.mtu=1400";
    s.corten(&format!("network create --subnet 10.94.0.0/24 {options} -o com.docker.network.bridge.enable_ip_masquerade=false mine")).ok();
    let bridge = links(&s, "mine0");
    assert_eq!((&bridge[0]["mtu"], &bridge[0]["linkinfo"]["info_kind"]), (&1400.into(), &"bridge".into()));
    s.detached("--name box --network mine busybox sleep 100");
    assert!(s.corten("exec box ip link show eth0").ok().contains("mtu 1400"));
    assert_eq!(links(&s, "master mine0")[0]["mtu"], 1400);
    // Without masquerade the world sees the container's own address, and has to know the way back.
    s.far("ip route add 10.94.0.0/24 via 198.51.100.2").ok();
    assert_eq!(
        s.page_from("exec box", "http://198.51.100.1/"),
        format!("hello {}", address(&s, "box", "mine"))
    );
    s.corten(&format!("network create {options} again")).fails(1, &["mine0"]);
    s.corten("network create -o com.docker.network.driver.mtu=lots bad").fails(1, &["lots", "mtu"]);
    s.corten("network create -o com.docker.network.bridge.name=a/b bad").fails(1, &["link's name"]);
    s.corten("rm -f box").ok();
    s.corten("network rm mine").ok();
    s.host("ip link show mine0").exits(1);
    s.end();
}

#[test]
fn ports_of_a_network_go_to_the_address_that_it_names() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create -o com.docker.network.bridge.host_binding_ipv4=127.0.0.1 shy").ok();
    s.corten("network create --ipv6 six").ok();
    s.web("--name shy --network shy -p 8080:80", "shy");
    assert_eq!(s.corten("port shy").ok(), "80/tcp -> 127.0.0.1:8080");
    assert_eq!(s.page("http://127.0.0.1:8080/"), "shy");
    s.refused("http://198.51.100.2:8080/");
    // Of one family alone, by each way to say so.
    s.web("--name web --network six -p [::]:8081:80 -p 0.0.0.0:8082:80 -p [2001:db8:51::2]:8083:80", "six");
    let mut ports: Vec<String> = s.corten("port web 80").ok().lines().map(String::from).collect();
    ports.sort();
    assert_eq!(ports, ["0.0.0.0:8082", "[2001:db8:51::2]:8083", "[::]:8081"]);
    for url in ["http://[2001:db8:51::2]:8081/", "http://198.51.100.2:8082/", "http://[2001:db8:51::2]:8083/"]
    {
        assert_eq!(s.page(url), "six", "{url}");
        assert_eq!(
            s.far(&format!("curl -s -m 10 --retry 5 --retry-all-errors '{url}'")).ok(),
            "six",
            "{url}"
        );
    }
    for url in ["http://198.51.100.2:8081/", "http://[2001:db8:51::2]:8082/", "http://198.51.100.2:8083/"] {
        s.refused(url);
    }
    s.corten("run --rm -p [::]:8090:80 busybox true").fails(125, &["::", "no IPv6 address"]);
    s.corten("run --rm --network six -p [::1]:8090:80 busybox true").fails(125, &["127.0.0.1"]);
    s.corten("rm -f shy web").ok();
    s.corten("network rm shy six").ok();
    s.end();
}

#[test]
fn drivers_that_are_no_networks_to_be_made() {
    let s = Sandbox::new();
    for driver in ["none", "host"] {
        s.corten(&format!("network create -d {driver} new")).fails(1, &["only one instance of", driver]);
    }
    s.corten("network create -d overlay new").fails(1, &["overlay", "bridge or macvlan"]);
    assert_eq!(s.corten("network ls -q").ok().lines().count(), 3);
    s.end();
}

/// The kernel's limit has a name.
#[test]
fn a_full_bridge_says_so() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.94.0.0/20 -o com.docker.network.bridge.name=full0 full").ok();
    // Both ends of each cable are ports.
    let cables = "for i in $(seq 511); do echo link add x$i group 7 master full0 type veth peer name y$i; echo link set y$i master full0; done";
    s.host(&format!("({cables}) | ip -batch -")).ok();
    s.detached("--name last --network full busybox sleep 100");
    s.corten("run --rm --network full busybox true").fails(125, &["1,023 ports"]);
    // Connected or not: there is no half of it.
    s.detached("--name box busybox sleep 100");
    s.corten("network connect full box").fails(1, &["1,023 ports"]);
    assert_eq!(s.corten("exec box ls /sys/class/net").ok(), "eth0\nlo");
    s.corten("rm -f last").ok();
    // The kernel takes a cable away in its own time.
    wait_until("a free port", 20, || s.corten("run --rm --network full busybox true").code == 0);
    s.host("ip link del group 7").ok();
    s.corten("network connect full box").ok();
    s.corten("rm -f box").ok();
    s.corten("network rm full").ok();
    s.end();
}

/// Ends a container's monitor, which can do nothing about it, and its first process.
fn kill(s: &Sandbox, name: &str) {
    let pid = s.inspect(name, "{{.State.Pid}}");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a process has a parent");
    let parent = Pid::from_raw(parent.trim().parse().expect("a number")).expect("a monitor");
    for pid in [Some(parent), Pid::from_raw(pid.parse().expect("a number"))].into_iter().flatten() {
        kill_process(pid, Signal::KILL).expect("it runs");
    }
    let pid = pid.parse().expect("a number");
    wait_until("the container's end", 20, || e2e::ended(pid));
}

#[test]
fn what_a_killed_container_left_is_taken_over() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --ipv6 net").ok();
    let (web, next) = (format!("killed-{}", std::process::id()), format!("next-{}", std::process::id()));
    s.web(&format!("--name {web} --network net -p 8080:80 -p 8053:53/udp"), "killed");
    let before = (address(&s, &web, "net"), address6(&s, &web, "net"));
    for _ in 0..2 {
        kill(&s, &web);
        assert!(
            s.corten(&format!("ps -a -f name={web} --format '{{{{.Status}}}}'")).ok().starts_with("Exited")
        );
        // Its ports are anybody's, its addresses are not.
        s.web(&format!("--name {next} --network net -p 8080:80"), "next");
        assert_eq!(s.page("http://127.0.0.1:8080/"), "next");
        assert_eq!(s.page("http://[2001:db8:51::2]:8080/"), "next");
        assert_ne!(address(&s, &next, "net"), before.0);
        s.corten(&format!("start {web}")).fails(1, &["8080"]);
        s.corten(&format!("rm -f {next}")).ok();
        s.corten(&format!("start {web}")).ok();
        assert_eq!((address(&s, &web, "net"), address6(&s, &web, "net")), before);
        assert_eq!(s.page("http://127.0.0.1:8080/"), "killed");
        assert!(s.host("ip netns list").ok().contains(&web));
    }
    kill(&s, &web);
    s.corten(&format!("rm {web}")).ok();
    assert!(!s.host("ls /run/netns").ok().contains(&web));
    s.corten("network rm net").ok();
    s.end();
}

/// Every process of a start is killed, a little later each time.
#[test]
fn a_start_that_is_killed_anywhere_leaks_nothing() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --ipv6 net").ok();
    for step in 0..24 {
        let mut command =
            s.command(&format!("run -d --name box{step} --network net -p 8080:80 busybox sleep 1000"));
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut starting = command.spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(2 * step * u64::from(e2e::slowness())));
        let _ = starting.kill();
        let _ = starting.wait();
        wait_until("the end of all processes", 20, || {
            let left = s.processes();
            for (pid, _) in &left {
                let _ = Pid::from_raw(pid.cast_signed()).map(|pid| kill_process(pid, Signal::KILL));
            }
            left.is_empty()
        });
    }
    let names = s.corten("ps -aq").ok().replace('\n', " ");
    if !names.is_empty() {
        s.corten(&format!("rm -f {names}")).ok();
    }
    // Whoever comes next collects the leases, and takes the port over.
    s.corten("run --rm --network net -p 8080:80 busybox true").ok();
    wait_until("the end of all cables", 20, || s.host("ip -o link show type veth").ok().is_empty());
    assert!(!s.host("nft list table inet corten").ok().contains("8080"));
    s.corten("network rm net").ok();
    assert_eq!(s.host("ls root/leases").ok(), "");
}
