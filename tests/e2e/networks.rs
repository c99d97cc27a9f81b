//! Networks that users make: their life, addresses, isolation, IPv6, and what is told of them.

use e2e::Sandbox;

/// The address of a container in one of its networks.
pub fn address(s: &Sandbox, name: &str, network: &str) -> String {
    s.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").IPAddress}}}}"))
}

pub fn address6(s: &Sandbox, name: &str, network: &str) -> String {
    s.inspect(name, &format!("{{{{(index .NetworkSettings.Networks \"{network}\").GlobalIPv6Address}}}}"))
}

#[test]
fn a_network_is_made_shown_and_removed() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.corten("network create --attachable --label tier=front --label x web").ok().to_string();
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let list = s.corten("network ls");
    let mut lines = list.ok().lines();
    assert_eq!(lines.next(), Some("NETWORK ID     NAME      DRIVER    SCOPE"));
    let names: Vec<&str> = lines.filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(names, ["bridge", "host", "none", "web"]);
    assert_eq!(s.corten("network ls -q --no-trunc -f label=tier=front -f driver=bridge").ok(), id);
    assert_eq!(s.corten("network ls --format '{{.Name}} {{.Internal}}' -f type=custom").ok(), "web false");
    let show = |template: &str| s.corten(&format!("network inspect -f '{template}' web")).ok().to_string();
    assert_eq!(show("{{.Id}} {{.Driver}} {{.Scope}} {{.EnableIPv6}}"), format!("{id} bridge local false"));
    assert_eq!(show("{{range .IPAM.Config}}{{.Subnet}} {{.Gateway}}{{end}}"), "10.78.0.0/24 10.78.0.1");
    assert_eq!(show("{{.ID}} {{.Attachable}}"), format!("{id} true"));
    assert_eq!(s.corten("network ls -q --no-trunc -f 'name=^w.b$'").ok(), id);
    assert_eq!(show("{{json .Labels}}"), r#"{"tier":"front","x":""}"#);
    let bridge = format!("br-{}", &id[..12]);
    assert!(s.host(&format!("ip -4 -o addr show {bridge}")).ok().contains("10.78.0.1/24"));
    s.corten("network create web").fails(1, &["network with name web already exists"]);
    s.corten("network create host").fails(1, &["not permitted", "host"]);
    s.corten("network create a/b").fails(1, &["a/b"]);
    s.corten("network rm nosuch").fails(1, &["network nosuch not found"]);
    s.corten("network rm -f nosuch").ok();
    s.corten("network rm bridge").fails(1, &["bridge is a pre-defined network"]);
    assert_eq!(s.corten(&format!("network rm {}", &id[..6])).ok(), &id[..6]);
    assert!(!s.host("ip -o link").ok().contains(&bridge));
    s.end();
}

#[test]
fn subnets_are_chosen_away_from_routes_and_clashes_are_named() {
    let s = Sandbox::with(&["busybox"]);
    s.host("ip link add mark0 type bridge; ip addr add 10.78.0.9/23 dev mark0; ip link set mark0 up").ok();
    s.host("ip route add 10.91.0.0/16 dev mark0").ok();
    s.corten("network create one").ok();
    s.corten("network create two").ok();
    let subnet =
        |name: &str| s.corten(&format!("network inspect -f '{{{{(index .IPAM.Config 0).Subnet}}}}' {name}"));
    assert_eq!((subnet("one").ok(), subnet("two").ok()), ("10.78.2.0/24", "10.78.3.0/24"));
    s.corten("network create --subnet 10.91.3.0/24 bad").fails(1, &["10.91.3.0/24", "10.91.0.0/16", "mark0"]);
    s.corten("network create --subnet 10.78.2.128/25 bad").fails(1, &["10.78.2.128/25", "network one"]);
    s.corten("network create --subnet 10.92.0.0/24 --gateway 10.93.0.1 bad")
        .fails(1, &["gateway", "10.93.0.1"]);
    s.corten("network create --subnet 10.92.0.1/24 bad").fails(1, &["10.92.0.0/24"]);
    s.corten("network create -o nonsense=1 bad").fails(1, &["nonsense"]);
    s.corten("network rm one two").ok();
    s.host("ip link del mark0").ok();
    // The default network's subnet is another's: the route is named.
    s.host("ip link add mark0 type bridge; ip link set mark0 up; ip route add 10.77.5.0/24 dev mark0").ok();
    s.corten("run --rm busybox true").fails(125, &["10.77.0.0/16", "10.77.5.0/24", "mark0"]);
    s.host("ip link del mark0").ok();
    s.corten("run --rm busybox true").ok();
    s.end();
}

#[test]
fn containers_of_one_network_talk_and_those_of_two_do_not() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create red").ok();
    s.corten("network create blue").ok();
    s.corten("network create -o isolate=false open1").ok();
    s.corten("network create -o isolate=false open2").ok();
    for network in ["red", "blue", "open1", "open2", "bridge"] {
        s.web(&format!("--name w{network} --network {network}"), network);
    }
    let all = ["red", "blue", "open1", "open2", "bridge"];
    let addresses: Vec<String> = all.iter().map(|to| address(&s, &format!("w{to}"), to)).collect();
    for from in all {
        let both_open = |to: &str| from.starts_with("open") && to.starts_with("open");
        // All at once: what is dropped takes its time.
        let asks = std::iter::zip(all, &addresses).map(|(to, ip)| {
            let seconds = if from == to || both_open(to) { 20 } else { 1 };
            format!("timeout {seconds} wget -q -O /tmp/{ip} http://{ip}/ & ")
        });
        let script = format!("{} wait; cat /tmp/*", asks.collect::<String>());
        let heard = s.corten(&format!("run --rm --init --network {from} busybox sh -c '{script}'"));
        for to in all {
            assert_eq!(
                heard.stdout.contains(to),
                from == to || both_open(to),
                "from {from} to {to}: {heard}"
            );
        }
    }
    assert_eq!(s.page_from("run --rm --network red busybox", "http://198.51.100.1/"), "hello 198.51.100.2");
    s.corten("network rm red").fails(1, &["red has active endpoints", "name:\"wred\""]);
    s.corten("rm -f wred wblue wopen1 wopen2 wbridge").ok();
    s.corten("network rm red blue open1 open2").ok();
    s.end();
}

#[test]
fn an_internal_network_has_no_way_out_and_none_in() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --internal --ipv6 back").ok();
    s.corten("network create --ipv6 front").ok();
    s.web("--name inner --network back -p 8080:80", "inner");
    s.web("--name outer --network front -p 8081:80", "outer");
    let (inner, inner6) = (address(&s, "inner", "back"), address6(&s, "inner", "back"));
    for url in [format!("http://{inner}/"), format!("http://[{inner6}]/")] {
        assert_eq!(s.page_from("run --rm --network back busybox", &url), "inner");
    }
    assert_eq!(s.page(&format!("http://{inner}/")), "inner");
    let gateway = s.corten("network inspect -f '{{(index .IPAM.Config 0).Gateway}}' back").ok().to_string();
    // Also with a route of its own making: the host has one address there, and is no router.
    for way in ["true", "ip route add default via $0"] {
        for to in ["198.51.100.1", "198.51.100.2:8081", &address(&s, "outer", "front"), "198.51.100.2:5555"] {
            let script = format!("{} && timeout 1 wget -q -O - http://{to}/", way.replace("$0", &gateway));
            let out = s.corten(&format!(
                "run --rm --init --cap-add NET_ADMIN --network back busybox sh -c '{script}'"
            ));
            assert_ne!(out.code, 0, "{script}: {out}");
        }
    }
    assert!(!s.corten("run --rm --init --network back busybox ip route").ok().contains("default"));
    s.refused("http://127.0.0.1:8080/");
    assert_eq!(s.corten("ps --format '{{.Ports}}' -f name=inner").ok(), "80/tcp");
    s.corten("rm -f inner outer").ok();
    s.corten("network rm back front").ok();
    s.end();
}

#[test]
fn addresses_can_be_chosen_and_stay_from_create_to_rm() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.92.0.0/24 --ip-range 10.92.0.64/30 --aux-address nas=10.92.0.65 --subnet fd00:92::/64 web").ok();
    s.detached(
        "--name aa --network web:ip=10.92.0.7,mac=02:00:00:00:00:07 --ip6 fd00:92::7 busybox sleep 100",
    );
    assert_eq!(
        (address(&s, "aa", "web"), address6(&s, "aa", "web")),
        ("10.92.0.7".into(), "fd00:92::7".into())
    );
    let link = s.corten("exec aa ip addr show eth0");
    for part in ["02:00:00:00:00:07", "10.92.0.7/24", "fd00:92::7/64"] {
        assert!(link.ok().contains(part), "{part}: {link}");
    }
    s.corten("create --name bb --network web --ip 10.92.0.7 busybox true")
        .fails(125, &["10.92.0.7 is already in use"]);
    s.corten("create --name bb --network web --ip 10.93.0.7 busybox true")
        .fails(125, &["10.93.0.7", "10.92.0.0/24"]);
    s.corten("create --name bb --network web --ip x busybox true").fails(125, &["--ip"]);
    for (name, ip) in [("bb", "10.92.0.64"), ("cc", "10.92.0.66"), ("dd", "10.92.0.67")] {
        s.corten(&format!("create --name {name} --network web busybox sleep 100")).ok();
        s.corten(&format!("start {name}")).ok();
        assert_eq!(address(&s, name, "web"), ip);
    }
    s.corten("create --name ee --network web busybox true").fails(125, &["no free address in network web"]);
    // Stopped, it has its addresses; and starts again with them.
    s.corten("stop -t 0 bb").ok();
    s.corten("create --name ee --network web busybox true").fails(125, &["no free address in network web"]);
    s.corten("start bb").ok();
    assert_eq!(address(&s, "bb", "web"), "10.92.0.64");
    s.corten("rm -f bb").ok();
    // What a kill left behind is collected when it is needed.
    s.host("ln -s 0123456789abcdef root/leases/10.92.0.64").ok();
    s.corten("create --name ee --network web busybox true").ok();
    s.corten("rm -f aa cc dd ee").ok();
    s.corten("network rm web").ok();
    s.end();
}

#[test]
fn a_network_made_anew_gives_new_addresses() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.92.0.0/24 web").ok();
    s.corten("create --name box --network web busybox sleep 100").ok();
    s.corten("network rm web").ok();
    s.corten("start box").fails(1, &["network web not found"]);
    s.corten("network create --subnet 10.93.0.0/24 web").ok();
    s.corten("start box").ok();
    assert_eq!(address(&s, "box", "web"), "10.93.0.2");
    s.corten("rm -f box").ok();
    assert!(!s.corten_fed("network prune", "n\n").exits(1).contains("Deleted"));
    assert_eq!(s.corten("network prune -f").ok(), "Deleted Networks:\nweb\n");
    s.end();
}

#[test]
fn ipv6_inside_out_and_in() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --ipv6 web").ok();
    s.web("--name web --network web -p 8080:80", "six");
    let ports = s.corten("ps --format '{{.Ports}}'");
    assert_eq!(ports.ok(), "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
    let got = s.page_from("run --rm --network web busybox", "http://[2001:db8:51::1]/");
    assert_eq!(got, "hello 2001:db8:51::2", "masquerade");
    let ip = address6(&s, "web", "web");
    for url in [format!("http://[{ip}]/"), "http://[2001:db8:51::2]:8080/".to_owned()] {
        assert_eq!(s.page(&url), "six", "{url}");
        assert_eq!(s.page_from("run --rm --network web busybox", &url), "six", "{url}");
    }
    // The rest of a machine's IPv6 lives on: its routers are listened to.
    assert_eq!(s.host("cat /proc/sys/net/ipv6/conf/world/accept_ra").ok(), "2");
    // Nothing of IPv6 in a network that has none (CVE-2024-32473), and no routers made up by containers (CVE-2020-13401).
    assert!(!s.corten("run --rm busybox ip -6 addr show eth0").ok().contains("inet6"));
    assert_eq!(s.host("cat /proc/sys/net/ipv6/conf/corten0/disable_ipv6").ok(), "1");
    assert_eq!(s.host("cat /proc/sys/net/ipv6/conf/br-*/accept_ra").ok(), "0");
    s.corten("rm -f web").ok();
    s.corten("network rm web").ok();
    s.end();
}

#[test]
fn several_networks_and_the_way_out() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --internal inner").ok();
    s.corten("network create aa").ok();
    s.corten("network create bb").ok();
    let route = |flags: &str| s.corten(&format!("run --rm {flags} busybox ip route")).ok().to_string();
    assert!(route("--network inner --network aa --network bb").contains("default via 10.78.1.1 dev eth1"));
    assert!(route("--network aa --network bb:gw-priority=1").contains("default via 10.78.2.1 dev eth1"));
    s.detached("--name box --network aa --network name=bb,alias=x busybox sleep 100");
    assert_eq!(s.corten("ps --format '{{.Networks}}'").ok(), "aa,bb");
    assert_eq!(s.inspect("box", "{{.HostConfig.NetworkMode}}"), "aa");
    assert_eq!(s.corten("network inspect -f '{{range .Containers}}{{.Name}}{{end}}' bb").ok(), "box");
    s.corten("run --rm --init --network aa --network aa busybox true").fails(125, &["aa", "twice"]);
    s.corten("run --rm --init --network aa --network host busybox true").fails(125, &["host", "conflicting"]);
    s.corten("run --rm --init --network aa --network none busybox true").fails(125, &["none", "conflicting"]);
    s.corten("rm -f box").ok();
    s.corten("network rm inner aa bb").ok();
    s.end();
}

#[test]
fn without_icc_containers_reach_only_the_host_and_published_ports() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.corten("network create --ipv6 -o com.docker.network.bridge.enable_icc=false quiet").ok();
    s.web("--name web --network quiet -p 8080:80", "quiet");
    let another = "run --rm --init --network quiet busybox";
    s.unheard(another, &format!("http://{}/", address(&s, "web", "quiet")));
    s.unheard(another, &format!("http://[{}]/", address6(&s, "web", "quiet")));
    assert_eq!(s.page_from(another, "http://198.51.100.1/"), "hello 198.51.100.2");
    assert_eq!(s.page("http://127.0.0.1:8080/"), "quiet");
    s.corten("rm -f web").ok();
    s.corten("network rm quiet").ok();
    s.end();
}

/// Where there is no IPv6, nobody says that he has an address of it, not even before he is told not to (CVE-2024-32473): it would be
/// sent to each port of the bridge.
#[test]
fn who_has_just_been_plugged_in_says_nothing() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.98.3.0/24 other").ok();
    s.corten("run -d --name quiet busybox sleep 1000").ok();
    s.corten("network connect other quiet").ok();
    // The kernel says it within a second.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    let sent = |link: &str| {
        s.corten(&format!("exec quiet cat /sys/class/net/{link}/statistics/tx_packets")).ok().to_owned()
    };
    assert_eq!([sent("eth0"), sent("eth1")], ["0", "0"]);
    // Whether it would have had the time to is a matter of luck.
    let pid = s.inspect("quiet", "{{.State.Pid}}");
    let links = s.host(&format!("nsenter -t {pid} -n ip -d link show type veth"));
    assert_eq!(links.ok().matches("addrgenmode none").count(), 2, "{links}");
    s.corten("rm -f quiet").ok();
    s.corten("network rm other").ok();
    s.end();
}
