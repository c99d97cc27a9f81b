//! A machine in a nutshell: a network namespace that plays the host, another the internet, and containers.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kernel::netlink::namespace;
use network::{Attachment, Endpoint, Network, Plug, Pool, PublishedPort, Reserved, Rest};
use steps::{Forward, Live, Step};

/// How long a packet that was dropped is waited for.
const DROPPED: Duration = Duration::from_millis(250);
/// How long an answer that has to come is waited for: a busy machine loses a packet, the kernel sends it again after 1 s, 2 s, 4 s.
const PATIENCE: Duration = Duration::from_secs(20);
/// The uplink: the host's end, the internet's end.
pub const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
pub const INTERNET: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
pub const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const INTERNET6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

/// A process that does nothing but keep a network namespace.
pub struct Place {
    pub child: Child,
    pub namespace: OwnedFd,
}

impl Place {
    pub fn new() -> Place {
        let before = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let child =
            Command::new("unshare").args(["-n", "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
        let path = format!("/proc/{}/ns/net", child.id());
        while std::fs::read_link(&path).unwrap() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
        Place { child, namespace: OwnedFd::from(std::fs::File::open(path).unwrap()) }
    }

    /// Does something in this place, and comes back.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        let home = namespace::current().unwrap();
        namespace::enter(&self.namespace).unwrap();
        let done = act();
        namespace::enter(&home).unwrap();
        done
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The calling thread's namespace becomes a host with an uplink to the internet, forwarding nothing yet.
pub struct World {
    pub internet: Place,
    pub network: Network,
    pub root: PathBuf,
}

impl World {
    pub fn new() -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        namespace::unshare().unwrap();
        let internet = Place::new();
        run("ip link set lo up");
        let pid = internet.child.id();
        run(&format!("ip link add up0 type veth peer name up1 netns {pid}"));
        run("ip address add 203.0.113.1/24 dev up0");
        run("ip address add 2001:db8::1/64 dev up0 nodad");
        run("ip link set up0 up");
        run("ip route add default via 203.0.113.2");
        run("ip route add default via 2001:db8::2");
        internet.within(|| {
            run("ip address add 203.0.113.2/24 dev up1");
            run("ip address add 2001:db8::2/64 dev up1 nodad");
            run("ip link set up1 up");
            run("ip route add 10.77.0.0/16 via 203.0.113.1");
            run("ip route add fd00:77::/64 via 2001:db8::1");
        });
        let root = std::env::temp_dir().join(format!("corten-packets-{}-{count}", std::process::id()));
        World { internet, network: Network::default(), root }
    }

    /// The host's IPv4 address in the network.
    pub fn gateway(&self) -> Ipv4Addr {
        let gateways = self.network.gateways().find_map(|gateway| match gateway {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        gateways.unwrap()
    }

    pub fn endpoint(&self, id: &str) -> Endpoint {
        let lease = |ipv4| {
            self.network
                .pool(ipv4)
                .map(|_| network::lease(&self.root, &self.network, id, ipv4, None).unwrap())
        };
        let (mut endpoint, mut mac) = (Endpoint::default(), None);
        for address in [lease(true), lease(false)].into_iter().flatten() {
            mac = mac.or(Some(network::lease::mac(address)));
            match address {
                IpAddr::V4(address) => endpoint.ipv4 = Some(address),
                IpAddr::V6(address) => endpoint.ipv6 = Some(address),
            }
        }
        Endpoint { mac: mac.unwrap(), ..endpoint }
    }

    /// A container with these `-p` options, plugged in by the steps of the plan.
    pub fn container(&self, id: &str, publish: &[&str]) -> Container {
        self.container_beside(id, publish, &Rest::default())
    }

    pub fn container_beside(&self, id: &str, publish: &[&str], others: &Rest) -> Container {
        let endpoint = self.endpoint(id);
        let plug = Plug { network: &self.network, endpoint: &endpoint, number: 0 };
        let targets = network::attach::targets(&[plug]);
        let specs: Vec<_> = publish.iter().flat_map(|spec| network::ports::parse(spec).unwrap()).collect();
        // a process that another test is just starting has copies of all our sockets, until it executes
        let reserved = (0..200).find_map(|_| {
            let reserved = network::reserve(&specs, network::Families::of(&targets)).ok();
            if reserved.is_none() {
                std::thread::sleep(Duration::from_millis(2));
            }
            reserved
        });
        let reserved = reserved.expect("the port is in use");
        let attachment = network::attach(&[plug], id, 0, &reserved.ports, others);
        let live = Live::new(0);
        perform(&attachment.host, &live);
        let place = Place::new();
        live.pid.set(place.child.id() as i32);
        perform(&attachment.joined, &live);
        place.within(|| {
            for (key, value) in &attachment.sysctls {
                let path = format!("/proc/sys/{}", key.replace('.', "/"));
                std::fs::write(&path, value).unwrap();
            }
            perform(&attachment.inside, &live);
        });
        let address = endpoint.ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED);
        Container { place, address, endpoint, reserved, attachment, targets }
    }
}

/// A network of its own, on a bridge of its own.
pub fn other(name: &str, subnets: &[&str]) -> Network {
    let pools = subnets.iter().map(|subnet| Pool::new(subnet.parse().unwrap())).collect();
    Network { name: name.into(), link: format!("ct-{name}"), id: name.into(), pools, ..Network::default() }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub struct Container {
    pub place: Place,
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    pub endpoint: Endpoint,
    pub reserved: Reserved,
    pub attachment: Attachment,
    pub targets: Vec<IpAddr>,
}

impl Container {
    pub fn port(&self) -> &PublishedPort {
        &self.reserved.ports[0]
    }

    pub fn forwards(&self) -> Vec<Forward> {
        network::attach::forwards(&self.reserved.ports, &self.targets)
    }

    /// Replays what a journal would have noted.
    pub fn undo(&self) {
        let steps: Vec<Step> = self.attachment.host.iter().rev().filter_map(Step::undo).collect();
        perform(&steps, &Live::new(0));
    }
}

pub fn perform(steps: &[Step], live: &Live) {
    for step in steps {
        let outcome = step.perform(live);
        assert!(outcome.is_ok(), "{}: {outcome:?}", step.shell().brief());
    }
}

/// Runs a command in the namespace of the calling thread.
pub fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server in the calling thread's namespace that tells every client from where it came.
pub fn serve(port: u16) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = write!(stream, "{}", stream.peer_addr().unwrap().ip().to_canonical());
        }
    });
}

/// The same for datagrams.
pub fn serve_datagrams(port: u16) {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 100];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(from.ip().to_canonical().to_string().as_bytes(), from);
        }
    });
}

/// From where a server at `address` says that we come.
pub fn ask(address: impl Into<SocketAddr>) -> io::Result<String> {
    ask_within(PATIENCE, address.into())
}

/// Whether nobody answers at `address`: dropped, refused or unreachable.
pub fn unanswered(address: impl Into<SocketAddr>) -> bool {
    ask_within(DROPPED, address.into()).is_err()
}

fn ask_within(time: Duration, address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, time)?;
    stream.set_read_timeout(Some(time))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

pub fn ask_by_datagram(address: impl Into<SocketAddr>) -> io::Result<String> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(PATIENCE / 10))?;
    let address = address.into();
    let address = match address.ip() {
        IpAddr::V4(ip) => SocketAddr::from((ip.to_ipv6_mapped(), address.port())),
        IpAddr::V6(_) => address,
    };
    socket.connect(address)?;
    // Nobody but us sends a datagram again.
    let mut buffer = [0; 100];
    let mut answer = Ok(0);
    for _ in 0..10 {
        socket.send(b"?")?;
        answer = socket.recv(&mut buffer);
        if answer.is_ok() {
            break;
        }
    }
    let length = answer?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}
