//! Links, addresses, routes and tables in network namespaces of their own, with ip(8) and nft(8) as oracles. Root only.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;

use kernel::netlink::route::{self, Namespace, Veth};
use kernel::netlink::{Batch, Failure, Socket, dump, namespace};
use kernel::nft::{
    self, Chain, Element, Expression, Field, Hook, HookPoint, Kind, Rule, Set, Table, Transaction,
};
use rustix::io::Errno;

const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1));

fn send(fill: impl FnOnce(&mut Batch)) -> Result<(), Failure> {
    let mut batch = Batch::new();
    fill(&mut batch);
    Socket::route()?.send(&batch.finish()?)
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_veth_from_a_bridge_into_another_namespace() {
    namespace::unshare().unwrap();
    let inside = namespace::current().unwrap();
    namespace::unshare().unwrap();
    let outside = namespace::current().unwrap();
    send(|b| route::create_bridge(b, "br0", [2, 66, 10, 9, 0, 1], None)).unwrap();
    let bridge = route::link_index("br0").unwrap();
    send(|b| {
        route::add_address(b, bridge, GATEWAY, 16);
        route::create_veth(
            b,
            &Veth {
                host: "veth1",
                host_index: 0x1000_0001,
                inner: "eth0",
                inner_index: 10,
                inner_mac: Some([2, 66, 10, 9, 0, 2]),
                mtu: Some(1400),
                namespace: Namespace::Fd(std::os::fd::AsRawFd::as_raw_fd(&inside)),
            },
        );
        route::plug_in(b, 0x1000_0001, bridge);
        route::set_port(b, 0x1000_0001, true);
    })
    .unwrap();
    let state = route::link_state("br0").unwrap();
    assert_eq!((state.index, state.up, state.address), (bridge, true, Some(Ipv4Addr::new(10, 9, 0, 1))));
    assert_eq!(route::link_state("veth1").unwrap().address, None);
    assert!(!route::link_state("lo").unwrap().up);
    assert_eq!(route::link_state("absent").unwrap_err(), Errno::NODEV);
    assert!(output("ip", &["-d", "link", "show", "veth1"]).contains("hairpin on"));
    assert!(output("ip", &["-d", "link", "show", "veth1"]).contains("isolated on"));
    let links = dump::links().unwrap();
    let veth = links.iter().find(|l| l.name == "veth1").unwrap();
    assert_eq!(
        (veth.up, veth.mtu, veth.master, veth.kind.as_deref()),
        (true, 1400, Some(bridge), Some("veth"))
    );
    let bridge = links.iter().find(|l| l.name == "br0").unwrap();
    assert_eq!(
        (bridge.up, bridge.mac, bridge.kind.as_deref()),
        (true, Some([2, 66, 10, 9, 0, 1]), Some("bridge"))
    );

    namespace::enter(&inside).unwrap();
    send(|b| {
        route::set_link_up(b, route::LOOPBACK);
        route::add_address(b, 10, IpAddr::V4(Ipv4Addr::new(10, 9, 0, 2)), 16);
        route::settle(b, 10);
        route::add_default_route(b, 10, GATEWAY);
    })
    .unwrap();
    let shown = output("ip", &["-d", "address", "show", "eth0"]);
    assert!(shown.contains("10: eth0@") && shown.contains("02:42:0a:09:00:02"), "{shown}");
    assert!(shown.contains("inet 10.9.0.2/16 brd 10.9.255.255 scope global eth0"), "{shown}");
    assert!(output("ip", &["route"]).contains("default via 10.9.0.1 dev eth0 proto static"));
    // nobody listens there, and the gateway says so itself
    let refused = std::net::TcpStream::connect((GATEWAY, 9)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    let addresses = dump::addresses().unwrap();
    assert!(addresses.iter().any(|a| a.link == 10 && a.address.to_string() == "10.9.0.2" && a.prefix == 16));
    let routes = dump::routes().unwrap();
    assert!(routes.iter().any(|r| r.prefix == 0 && r.gateway == Some(GATEWAY) && r.link == Some(10)));

    namespace::enter(&outside).unwrap();
    send(|b| route::delete_link(b, "veth1")).unwrap();
    assert_eq!(send(|b| route::delete_link(b, "veth1")).unwrap_err().errno, Errno::NODEV);
    assert_eq!(route::link_index("veth1"), Err(Errno::NODEV));
}

#[test]
fn a_failure_names_its_message_and_gives_the_kernels_words() {
    namespace::unshare().unwrap();
    let failure = send(|b| {
        route::set_link_up(b, route::LOOPBACK);
        route::add_default_route(b, 1, GATEWAY);
        route::delete_link(b, "nothing");
    })
    .unwrap_err();
    assert_eq!((failure.errno, failure.message), (Errno::NETUNREACH, Some(1)));
    assert!(failure.to_string().contains("Nexthop has invalid gateway"), "{failure}");
}

fn table() -> Table {
    Table {
        name: "t".into(),
        comment: "first".into(),
        sets: vec![Set {
            name: "m",
            key: &[Field::Protocol, Field::Port],
            data: &[Field::Ipv4, Field::Port],
            interval: false,
            elements: vec![element(8080, 2)],
        }],
        chains: vec![Chain {
            name: "c",
            hook: Some(Hook { kind: Kind::Filter, hook: HookPoint::Input, priority: 0 }),
            rules: vec![Rule {
                text: "drop",
                expressions: vec![Expression::Verdict(nft::expression::Verdict::Drop)],
            }],
        }],
    }
}

fn element(port: u16, host: u8) -> Element {
    Element::new(&[&[6], &port.to_be_bytes()], &[&[10, 9, 0, host], &80u16.to_be_bytes()])
}

fn commit(generation: Option<u32>, fill: impl FnOnce(&mut Transaction)) -> Result<(), Failure> {
    let mut transaction = Transaction::new(generation);
    fill(&mut transaction);
    nft::commit(&transaction.finish()?)
}

#[test]
fn a_table_is_made_and_asked_after() {
    namespace::unshare().unwrap();
    let socket = Socket::netfilter().unwrap();
    assert_eq!(nft::query::table(&socket, "t"), Ok(None));
    commit(None, |t| t.create(&table())).unwrap();
    let found = nft::query::table(&socket, "t").unwrap().unwrap();
    assert_eq!((found.comment.as_str(), found.objects), ("first", 2));
    assert_eq!(nft::query::rules(&socket, "t", "c"), Ok(Some(1)));
    assert_eq!(nft::query::rules(&socket, "t", "none"), Ok(None));
    assert_eq!(commit(None, |t| t.create(&table())).unwrap_err().errno, Errno::EXIST);

    commit(None, |t| t.add_elements("t", "m", &[element(8081, 3)])).unwrap();
    let listed = output("nft", &["list", "map", "inet", "t", "m"]);
    assert!(
        listed.contains("tcp . 8080 : 10.9.0.2 . 80") && listed.contains("tcp . 8081 : 10.9.0.3 . 80"),
        "{listed}"
    );
    let wanted = element(8081, 3);
    assert_eq!(nft::query::element(&socket, "t", "m", &wanted.key), Ok(Some(wanted.clone())));
    assert_eq!(nft::query::element(&socket, "t", "m", &element(1, 1).key), Ok(None));
    assert_eq!(nft::query::elements(&socket, "t", "m").unwrap().len(), 2);
    let other = commit(None, |t| t.add_elements("t", "m", &[element(8081, 4)])).unwrap_err();
    assert_eq!(other.errno, Errno::EXIST);
    commit(None, |t| t.delete_elements("t", "m", std::slice::from_ref(&wanted))).unwrap();
    assert_eq!(commit(None, |t| t.delete_elements("t", "m", &[wanted])).unwrap_err().errno, Errno::NOENT);
}

#[test]
fn a_transaction_is_all_or_nothing() {
    namespace::unshare().unwrap();
    let socket = Socket::netfilter().unwrap();
    let failure = commit(None, |t| {
        t.create(&table());
        t.delete_elements("t", "m", &[element(1, 1)]);
    });
    assert_eq!(failure.unwrap_err().errno, Errno::NOENT);
    assert_eq!(nft::query::table(&socket, "t"), Ok(None));

    let generation = nft::query::generation(&socket).unwrap();
    commit(Some(generation), |t| t.create(&table())).unwrap();
    let late = commit(Some(generation), |t| t.delete_table("t")).unwrap_err();
    assert_eq!(late.errno, Errno::RESTART);
    assert!(nft::query::table(&socket, "t").unwrap().is_some());

    let many: Vec<_> = (1..=5000).map(|port| element(port, 7)).collect();
    commit(None, |t| t.add_elements("t", "m", &many)).unwrap();
    assert_eq!(nft::query::elements(&socket, "t", "m").unwrap().len(), 5001);
}
