//! Real packets, in network namespaces of their own: who reaches whom, and as whom. Root only; needs ip(8) and nft(8).

mod world;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use world::{
    HOST, HOST6, INTERNET, INTERNET6, World, ask, ask_by_datagram, other, perform, run, serve,
    serve_datagrams, unanswered,
};

const LOCALHOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    (address, port).into()
}

fn said(address: Ipv4Addr) -> String {
    address.to_string()
}

#[test]
fn containers_reach_each_other_the_gateway_and_the_internet() {
    let world = World::new();
    let (a, b) = (world.container("a", &[]), world.container("b", &[]));
    let gateway = world.gateway();
    b.place.within(|| serve(80));
    serve(81);
    world.internet.within(|| serve(82));
    a.place.within(|| {
        assert_eq!(ask(at(b.address, 80)).unwrap(), said(a.address));
        assert_eq!(ask(at(gateway, 81)).unwrap(), said(a.address));
        assert_eq!(ask(at(INTERNET, 82)).unwrap(), said(HOST), "masquerade");
    });
    assert_eq!(ask(at(b.address, 80)).unwrap(), said(gateway), "the host itself");
    // the route is there, and yet: only published ports are open
    world.internet.within(|| assert!(unanswered(at(b.address, 80)), "direct access from outside"));
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    let world = World::new();
    let (a, b) = (world.container("a", &[]), world.container("b", &["8080:80", "53:53/udp"]));
    let gateway = world.gateway();
    b.place.within(|| {
        serve(80);
        serve_datagrams(53);
    });
    for address in [LOCALHOST, Ipv4Addr::new(127, 1, 2, 3), HOST, gateway] {
        let from = if address == HOST { HOST } else { gateway };
        assert_eq!(ask(at(address, 8080)).unwrap(), said(from), "from the host by {address}");
        assert_eq!(ask_by_datagram(at(address, 53)).unwrap(), said(from), "from the host by {address}");
    }
    world.internet.within(|| {
        assert_eq!(ask(at(HOST, 8080)).unwrap(), said(INTERNET), "the source is kept");
        assert_eq!(ask_by_datagram(at(HOST, 53)).unwrap(), said(INTERNET));
        assert!(unanswered(at(HOST, 80)));
    });
    for (who, place) in [("another container", &a.place), ("the container itself", &b.place)] {
        for address in [HOST, gateway] {
            let answer = place.within(|| ask(at(address, 8080)));
            assert_eq!(answer.unwrap(), said(gateway), "{who} by {address}");
            assert_eq!(place.within(|| ask_by_datagram(at(address, 53))).unwrap(), said(gateway), "{who}");
        }
    }
    b.undo();
    b.undo();
    assert!(unanswered(at(LOCALHOST, 8080)));
    world.internet.within(|| assert!(unanswered(at(HOST, 8080))));
    assert!(!run("nft list map inet corten published_any4").contains("elements"));
}

#[test]
fn cve_2025_54410_a_port_of_127_0_0_1_is_really_local() {
    let world = World::new();
    let (a, b) = (world.container("a", &[]), world.container("b", &["127.0.0.1:8080:80"]));
    b.place.within(|| serve(80));
    assert_eq!(ask(at(LOCALHOST, 8080)).unwrap(), said(world.gateway()));
    assert!(unanswered(at(HOST, 8080)));
    a.place.within(|| assert!(unanswered(at(world.gateway(), 8080))));
    world.internet.within(|| {
        assert!(unanswered(at(HOST, 8080)));
        // a neighbour who routes 127.0.0.1 to us; its own loopback is down
        run("sysctl -qw net.ipv4.conf.up1.route_localnet=1");
        run("ip route add 127.0.0.1 via 203.0.113.1");
        assert!(unanswered(at(LOCALHOST, 8080)));
    });
}

#[test]
fn cve_2020_8558_containers_do_not_reach_the_hosts_loopback() {
    let world = World::new();
    let a = world.container("a", &[]);
    serve(90);
    let spoofed = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 91)).unwrap();
    spoofed.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // Who needs no answer has done harm before one is lost.
    let local = UdpSocket::bind((LOCALHOST, 92)).unwrap();
    local.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(ask(at(LOCALHOST, 90)).is_ok());
    let gateway = world.gateway();
    a.place.within(|| {
        run("sysctl -qw net.ipv4.conf.eth0.route_localnet=1 net.ipv4.conf.all.rp_filter=0");
        let as_local = UdpSocket::bind((LOCALHOST, 0)).unwrap();
        as_local.send_to(b"it is me, 127.0.0.1", at(gateway, 91)).unwrap();
        run("ip route del table local 127.0.0.1 dev lo; ip route del table local 127.0.0.0/8 dev lo");
        run(&format!("ip route add 127.0.0.0/8 via {gateway} src {}", a.address));
        assert!(unanswered(at(LOCALHOST, 90)));
        assert!(unanswered(at(Ipv4Addr::new(127, 0, 0, 7), 90)));
        let sender = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        sender.send_to(b"do this", at(LOCALHOST, 92)).unwrap();
    });
    assert!(local.recv_from(&mut [0; 100]).is_err(), "what listens on 127.0.0.1 is reached");
    assert!(spoofed.recv_from(&mut [0; 100]).is_err(), "a container passes for the host");
    let counters = run("cat /proc/net/dev | grep corten0");
    assert!(!counters.is_empty());
}

#[test]
fn what_somebody_deleted_comes_back_with_the_next_container() {
    let world = World::new();
    let a = world.container("a", &["8080:80"]);
    a.place.within(|| serve(80));
    assert!(network::firewall::intact(&[&world.network]).unwrap());
    for (id, (damage, keeps_ports)) in (0..).zip([
        ("nft flush ruleset", false),
        ("nft flush table inet corten", true),
        ("nft delete element inet corten bridges '{ \"corten0\" }'", true),
        ("nft 'delete table inet corten; table inet corten { comment \"other version\"; }'", false),
    ]) {
        assert!(ask(at(LOCALHOST, 8080)).is_ok(), "before {damage}");
        run(damage);
        assert!(!network::firewall::intact(&[&world.network]).unwrap(), "{damage}");
        let forwards = if keeps_ports { vec![] } else { a.forwards() };
        let others = network::Rest { networks: Vec::new(), forwards };
        let b = world.container_beside(&format!("b{id}"), &["8081:80"], &others);
        b.place.within(|| serve(80));
        assert!(network::firewall::intact(&[&world.network]).unwrap(), "{damage}");
        assert!(ask(at(LOCALHOST, 8080)).is_ok(), "{damage}");
        assert!(ask(at(LOCALHOST, 8081)).is_ok(), "{damage}");
        world.internet.within(|| assert!(unanswered(at(a.address, 80)), "{damage}"));
        b.undo();
    }
}

#[test]
fn a_stale_port_is_taken_over_and_not_taken_back_by_its_old_owner() {
    let world = World::new();
    let killed = world.container("killed", &["8080:80"]);
    let port = killed.port().clone();
    assert_eq!(port.to_string(), "0.0.0.0:8080->80/tcp");
    // its monitor is gone: nobody holds the port, nobody took the element back
    let mut killed = killed;
    killed.reserved.held.clear();
    let next = world.container("next", &["8080:80"]);
    next.place.within(|| serve(80));
    assert!(ask(at(LOCALHOST, 8080)).is_ok());
    killed.undo();
    assert!(ask(at(LOCALHOST, 8080)).is_ok());
    next.undo();
    assert!(unanswered(at(LOCALHOST, 8080)));
}

#[test]
fn the_table_is_what_nft_makes_of_its_text() {
    let world = World::new();
    let web = world.container("web", &["8080:80", "127.0.0.1:8081:80", "53:53/udp"]);
    let list = || {
        let text = run("nft -j list ruleset");
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let objects = json["nftables"].as_array_mut().unwrap();
        for object in objects.iter_mut().flat_map(|object| object.as_object_mut().unwrap().values_mut()) {
            object.as_object_mut().unwrap().remove("handle");
        }
        let mut lines: Vec<_> = objects.iter().map(|object| object.to_string()).collect();
        // objects are listed by kind and then by hash
        lines.sort();
        lines.join("\n")
    };
    let ours = list();
    run("nft flush ruleset");
    let lines: Vec<_> = web.attachment.host.iter().flat_map(|step| step.shell().lines).collect();
    run(&lines.join("\n"));
    assert_eq!(ours, list());
}

#[test]
fn the_cable_is_what_ip_makes_of_its_text() {
    let world = World::new();
    let lines = |steps: &[steps::Step]| {
        steps.iter().flat_map(|step| step.shell().lines).collect::<Vec<_>>().join("\n")
    };
    // who made it does not show, but for counters, times and the hardware address that chance gave the host's end
    let show = |place: &world::Place, link: &str| {
        let inside = place.within(|| run("ip -d address show eth0; ip route; ip address show lo"));
        let host = run(&format!("ip -d link show {link}"));
        let words = format!("{inside}{host}");
        let known =
            |line: &&str| !["link/ether", "inet6", "valid_lft"].iter().any(|word| line.contains(word));
        words
            .lines()
            .filter(known)
            .map(|line| line.split(" hold_timer").next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let ours = world.container("c", &[]);
    let link = network::lease::link("c", "bridge", 0).0;
    let performed = show(&ours.place, &link);
    assert!(performed.iter().any(|line| line.contains("hairpin on")), "{performed:?}");
    run(&format!("ip link delete {link}"));
    let place = world::Place::new();
    run(&format!("PID={}; {}", place.child.id(), lines(&ours.attachment.joined)));
    place.within(|| run(&lines(&ours.attachment.inside)));
    assert_eq!(show(&place, &link), performed);
}

#[test]
fn a_container_leaves_nothing_behind() {
    let world = World::new();
    let before_first = run("ip -o link | wc -l");
    let first = world.container("first", &["8080:80"]);
    let rules = run("nft list ruleset");
    let links = || run("ip -o link | wc -l");
    let with_one = links();
    assert_eq!(with_one.trim().parse::<u32>().unwrap(), before_first.trim().parse::<u32>().unwrap() + 2);
    let second = world.container("second", &["8081:80", "127.0.0.1:8082:80"]);
    second.undo();
    network::lease::release(&world.root, second.address.into(), "second").unwrap();
    drop(second);
    let mut tries = 0;
    while links() != with_one && tries < 100 {
        std::thread::sleep(Duration::from_millis(20));
        tries += 1;
    }
    assert_eq!(links(), with_one);
    assert_eq!(run("nft list ruleset"), rules);
    assert_eq!(network::lease::all(&world.root).unwrap(), [(first.address.into(), "first".to_owned())]);
}

#[test]
fn a_subnet_in_use_is_refused_by_the_name_of_its_route() {
    let world = World::new();
    world.network.check_clash().unwrap();
    run("ip route add 10.77.3.0/24 dev up0");
    let clash = world.network.check_clash().unwrap_err();
    assert_eq!(clash.to_string(), "network bridge: 10.77.0.0/16 overlaps the route to 10.77.3.0/24 of up0");
    run("ip route del 10.77.3.0/24");
    let _a = world.container("a", &[]);
    world.network.check_clash().unwrap();
}

/// The way of the packets when the bridge does not call the hooks.
#[test]
fn a_published_port_without_br_netfilter() {
    let world = World::new();
    let switch = std::path::Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    if switch.exists() {
        run("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
    }
    let (a, b) = (world.container("a", &[]), world.container("b", &["8080:80"]));
    b.place.within(|| serve(80));
    let gateway = world.gateway();
    for place in [&a.place, &b.place] {
        assert_eq!(place.within(|| ask(at(HOST, 8080))).unwrap(), said(gateway));
        assert_eq!(place.within(|| ask(at(gateway, 8080))).unwrap(), said(gateway));
    }
    world.internet.within(|| assert_eq!(ask(at(HOST, 8080)).unwrap(), said(INTERNET)));
}

/// Two networks in one table, on bridges of their own.
#[test]
fn networks_are_isolated_from_each_other() {
    let mut world = World::new();
    let a = world.container("a", &["8080:80"]);
    world.network = other("other", &["10.78.0.0/16"]);
    let b = world.container("b", &[]);
    for container in [&a, &b] {
        container.place.within(|| serve(80));
    }
    a.place.within(|| assert!(unanswered(at(b.address, 80))));
    b.place.within(|| {
        assert!(unanswered(at(a.address, 80)));
        assert!(ask(at(HOST, 8080)).is_ok(), "published is published");
    });
    world.internet.within(|| serve(82));
    b.place.within(|| assert_eq!(ask(at(INTERNET, 82)).unwrap(), said(HOST)));
}

/// Loads a table like the one that Docker or ufw leaves: the next container speaks for its bridge there, once.
#[test]
fn a_forward_policy_of_drop_is_spoken_to() {
    for user in ["", "chain DOCKER-USER { }; "] {
        let world = World::new();
        let a = world.container("a", &["8080:80"]);
        a.place.within(|| serve(80));
        run(&format!(
            "nft 'table ip filter {{ {user}chain FORWARD {{ type filter hook forward priority 0; policy drop; {} }}; }}'",
            if user.is_empty() { "" } else { "jump DOCKER-USER;" }
        ));
        assert!(ask(at(LOCALHOST, 8080)).is_ok(), "the host itself does not forward");
        world.internet.within(|| assert!(unanswered(at(HOST, 8080))));
        for id in ["b", "c"] {
            let _next = world.container(id, &[]);
            let rules = run("nft list table ip filter");
            assert_eq!(rules.matches("accept").count(), 2, "{rules}");
        }
        world.internet.within(|| serve(82));
        world.internet.within(|| assert!(ask(at(HOST, 8080)).is_ok()));
        a.place.within(|| assert!(ask(at(INTERNET, 82)).is_ok()));
        world.internet.within(|| assert!(unanswered(at(a.address, 80)), "our own drop stays"));
        network::remove::from_others(&world.network).unwrap();
        network::remove::from_others(&world.network).unwrap();
        assert_eq!(run("nft list table ip filter").matches("accept").count(), 0);
    }
}

/// Links come up in the kernel step by step, partly on a queue; who is too early loses a packet, and sends it again after a
/// second.
#[test]
fn the_first_packet_is_not_lost() {
    let sent_again = || {
        let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let mut columns = names.split(' ').zip(values.split(' '));
        columns.find(|(name, _)| *name == "RetransSegs").unwrap().1.parse::<u32>().unwrap()
    };
    // A machine may pause for a second; it loses nothing by that.
    let lost = |port: SocketAddr| {
        let (before, start) = (sent_again(), Instant::now());
        ask(port).unwrap();
        sent_again() > before && start.elapsed() > Duration::from_millis(900)
    };
    let host = || {
        let world = World::new();
        serve(81);
        for i in 0..12 {
            let a = world.container(&format!("a{i}"), &[]);
            a.place.within(|| assert!(!lost(at(world.gateway(), 81)), "from container {i}"));
            let b = world.container(&format!("b{i}"), &["8080:80"]);
            b.place.within(|| serve(80));
            assert!(!lost(at(LOCALHOST, 8080)), "to container {i}");
            b.undo();
        }
    };
    std::thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(host))));
}

/// The steps in order may be repeated: everything but the cable is an ensure.
#[test]
fn host_steps_are_idempotent() {
    let world = World::new();
    let a = world.container("a", &["8080:80"]);
    let rules = run("nft list ruleset");
    perform(&a.attachment.host, &steps::Live::new(0));
    assert_eq!(run("nft list ruleset"), rules);
    let addresses = kernel::netlink::dump::addresses().unwrap();
    let gateway = IpAddr::V4(world.gateway());
    assert_eq!(addresses.iter().filter(|address| address.address == gateway).count(), 1);
}

/// A network with both families, in the place of the default one.
fn both() -> World {
    let mut world = World::new();
    world.network.pools.push(network::Pool::new("fd00:77::/64".parse().unwrap()));
    // The uplink's carrier is noticed by the kernel in its own time.
    world.internet.within(|| serve(1));
    let mut tries = 0;
    while unanswered(at6(INTERNET6, 1)) {
        tries += 1;
        assert!(tries < 20, "no uplink");
    }
    world
}

fn at6(address: std::net::Ipv6Addr, port: u16) -> SocketAddr {
    (address, port).into()
}

#[test]
fn ipv6_is_as_ipv4() {
    let world = both();
    let gateway: std::net::Ipv6Addr = "fd00:77::1".parse().unwrap();
    let (a, b) =
        (world.container("a", &[]), world.container("b", &["8080:80", "[2001:db8::1]:8081:80", "53:53/udp"]));
    b.place.within(|| {
        serve(80);
        serve_datagrams(53);
    });
    serve(81);
    world.internet.within(|| serve(82));
    let (a6, b6) = (a.endpoint.ipv6.unwrap(), b.endpoint.ipv6.unwrap());
    // The kernel joins the multicast group in which an address is asked for on a queue: some microseconds after the address
    // is there, and sooner than any program could listen.
    std::thread::sleep(Duration::from_millis(100));
    a.place.within(|| {
        assert_eq!(ask(at6(b6, 80)).unwrap(), a6.to_string());
        assert_eq!(ask(at6(gateway, 81)).unwrap(), a6.to_string());
        assert_eq!(ask(at6(INTERNET6, 82)).unwrap(), HOST6.to_string(), "masquerade");
        assert_eq!(ask(at(INTERNET, 82)).unwrap(), said(HOST));
    });
    for (address, from) in [(HOST6, HOST6), (gateway, gateway)] {
        assert_eq!(ask(at6(address, 8080)).unwrap(), from.to_string(), "from the host by {address}");
        assert_eq!(ask_by_datagram(at6(address, 53)).unwrap(), from.to_string());
    }
    assert_eq!(ask(at6(HOST6, 8081)).unwrap(), HOST6.to_string());
    world.internet.within(|| {
        assert_eq!(ask(at6(HOST6, 8080)).unwrap(), INTERNET6.to_string(), "the source is kept");
        assert_eq!(ask(at6(HOST6, 8081)).unwrap(), INTERNET6.to_string());
        assert_eq!(ask_by_datagram(at6(HOST6, 53)).unwrap(), INTERNET6.to_string());
        assert_eq!(ask(at(HOST, 8080)).unwrap(), said(INTERNET));
        assert!(unanswered(at6(b6, 80)), "direct access from outside");
    });
    for (who, place) in [("another container", &a.place), ("the container itself", &b.place)] {
        let answer = place.within(|| ask(at6(HOST6, 8080)));
        assert_eq!(answer.unwrap(), gateway.to_string(), "{who}");
    }
    b.undo();
    world.internet.within(|| assert!(unanswered(at6(HOST6, 8080))));
}

/// An answer to ::1 comes from nowhere but lo: the client is told at once, and its resolver has 127.0.0.1 as well.
#[test]
fn the_loopback_of_ipv6_refuses_at_once() {
    let world = both();
    let b = world.container("b", &["8080:80"]);
    b.place.within(|| serve(80));
    let refused = ask(at6(std::net::Ipv6Addr::LOCALHOST, 8080)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(ask(at(LOCALHOST, 8080)).is_ok());
}

/// The first packet of an association (RFC 9260, 3.3.2), with its checksum: connection tracking believes no other.
fn sctp_init(to: u16) -> Vec<u8> {
    let mut packet = [5005u16.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20, 7, 7, 7, 7, 0, 1, 0, 0, 0, 1, 0, 1, 9, 9, 9, 9]);
    let mut sum = u32::MAX;
    for byte in &packet {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    packet[8..12].copy_from_slice(&(!sum).to_le_bytes());
    packet
}

#[test]
fn sctp_finds_its_port_whether_the_kernel_speaks_it_or_not() {
    use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, recv, sendto, socket, sockopt};
    let world = World::new();
    if !std::path::Path::new("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_closed").exists() {
        return;
    }
    let b = world.container("b", &["9005:80/sctp", "9006-9007:90-91/udp"]);
    let raw = || socket(AddressFamily::INET, SocketType::RAW, Some(rustix::net::ipproto::SCTP)).unwrap();
    let server = b.place.within(raw);
    sockopt::set_socket_timeout(&server, sockopt::Timeout::Recv, Some(Duration::from_secs(2))).unwrap();
    let client = world.internet.within(raw);
    let mut packet = [0; 200];
    let heard = (0..10).any(|_| {
        sendto(&client, &sctp_init(9005), SendFlags::empty(), &at(HOST, 0)).unwrap();
        recv(&server, &mut packet, RecvFlags::empty()).is_ok()
    });
    assert!(heard, "nothing comes");
    assert_eq!((&packet[12..16], &packet[16..20]), (&INTERNET.octets()[..], &b.address.octets()[..]));
    assert_eq!(packet[22..24], 80u16.to_be_bytes());
    b.place.within(|| [90, 91].map(serve_datagrams));
    world.internet.within(|| {
        for port in [9006, 9007] {
            assert_eq!(ask_by_datagram(at(HOST, port)).unwrap(), said(INTERNET), "{port}");
        }
    });
}
