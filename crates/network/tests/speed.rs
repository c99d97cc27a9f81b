//! What each step of a network costs. Measurements, to be run as root:
//! `cargo test --release -p network --test speed -- --ignored --nocapture`

mod world;

use std::os::fd::OwnedFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use kernel::netlink::namespace;
use network::PublishedPort;
use rustix::fs::{Mode, OFlags};
use steps::{Live, Protocol, Publish, Step};
use world::{World, perform};

fn median(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    println!("{name:44} {median:>12.1?}  (best {:.1?}, of {})", times[0], times.len());
    median
}

fn time(act: impl FnOnce()) -> Duration {
    let start = Instant::now();
    act();
    start.elapsed()
}

#[test]
#[ignore = "a measurement"]
fn steps() {
    let world = World::new();
    let first = world.container("first", &["8080:80"]);
    let live = Live::new(0);
    for step in &first.attachment.host {
        let times = (0..200).map(|_| time(|| perform(std::slice::from_ref(step), &live))).collect();
        median(&format!("{} again", step.name()), times);
    }
    median("is the firewall intact?", {
        let intact = || assert!(network::firewall::intact(&[&world.network]).unwrap());
        (0..200).map(|_| time(intact)).collect()
    });
    let mut published = Vec::new();
    let mut unpublished = Vec::new();
    for port in 10000..10200 {
        let host_ip = std::net::Ipv4Addr::UNSPECIFIED.into();
        let port = PublishedPort { host_ip, host_port: port, container_port: 80, protocol: Protocol::Tcp };
        let step = Publish { table: "corten".into(), ports: vec![port.forward(first.address.into())] };
        published.push(time(|| perform(&[step.clone().into()], &live)));
        let undo: Vec<Step> = Step::from(step).undo().into_iter().collect();
        unpublished.push(time(|| perform(&undo, &live)));
    }
    median("publish a port", published);
    median("take it back", unpublished);
    median("plan (attach)", {
        let plan = || {
            let plug = network::Plug { network: &world.network, endpoint: &first.endpoint, number: 0 };
            std::hint::black_box(network::attach(
                &[plug],
                "x",
                1,
                &first.reserved.ports,
                &Default::default(),
            ));
        };
        (0..200).map(|_| time(plan)).collect()
    });
    let mut leased = Vec::new();
    let mut returned = Vec::new();
    for i in 0..200 {
        let id = format!("lease{i}");
        let start = Instant::now();
        let address = network::lease(&world.root, &world.network, &id, true, None).unwrap();
        leased.push(start.elapsed());
        returned.push(time(|| network::lease::release(&world.root, address, &id).unwrap()));
    }
    median("lease an address", leased);
    median("give it back", returned);
    cables(&world);
    rebuilt(&world);
}

/// At 1 and at more containers: it should not matter.
fn cables(world: &World) {
    let mut containers = Vec::new();
    for count in [10, 100, 300] {
        let (mut cable, mut inside) = (Vec::new(), Vec::new());
        while containers.len() < count {
            let place = world::Place::new();
            let id = format!("c{}", containers.len());
            let endpoint = world.endpoint(&id);
            let plug = network::Plug { network: &world.network, endpoint: &endpoint, number: 0 };
            let attachment = network::attach(&[plug], &id, 0, &[], &Default::default());
            let live = Live::new(0);
            live.pid.set(place.child.id() as i32);
            cable.push(time(|| perform(&attachment.joined, &live)));
            place.within(|| inside.push(time(|| perform(&attachment.inside, &live))));
            containers.push(place);
        }
        median(&format!("cable, up to {count} containers"), cable);
        median(&format!("inside, up to {count} containers"), inside);
    }
}

fn rebuilt(world: &World) {
    let step: Step = network::firewall::ensure(&[&world.network], &Default::default()).into();
    let times = (0..50).map(|_| {
        world::run("nft delete table inet corten");
        time(|| perform(std::slice::from_ref(&step), &Live::new(0)))
    });
    median("make the whole table", times.collect());
}

/// A thread that steps into one new network namespace after the other, in the place of containers' first processes.
struct Rooms {
    ask: mpsc::Sender<()>,
    rooms: mpsc::Receiver<(i32, OwnedFd)>,
}

impl Rooms {
    fn open() -> Rooms {
        let (ask, asked) = mpsc::channel::<()>();
        let (tell, rooms) = mpsc::channel();
        std::thread::spawn(move || {
            while asked.recv().is_ok() {
                namespace::unshare().unwrap();
                let thread = rustix::thread::gettid().as_raw_nonzero().get();
                tell.send((thread, namespace::current().unwrap())).unwrap();
            }
        });
        Rooms { ask, rooms }
    }

    /// Steps into the next: the thread that is there, and the namespace, which lasts as long as it is held.
    fn next(&self) -> (i32, OwnedFd) {
        self.ask.send(()).unwrap();
        self.rooms.recv().unwrap()
    }
}

/// All that a start does for its network: an address leased, a port held, the plan, and its steps on both sides. Nothing of
/// the container but its network namespace is there. Prints `attach <containers> <microseconds>`: the median of the twenty
/// that come when so many are there.
#[test]
#[ignore = "a measurement"]
fn attach() {
    let world = World::new();
    let rooms = Rooms::open();
    let mut all = vec![world.container("first", &["9000:80"]).place.namespace.try_clone().unwrap()];
    for level in [1, 100, 1000] {
        while all.len() < level {
            all.push(attach_one(&world, &rooms, all.len()).1);
        }
        let mut times = Vec::new();
        for _ in 0..20 {
            let (time, room) = attach_one(&world, &rooms, all.len());
            times.push(time);
            all.push(room);
        }
        times.sort();
        println!("attach {level} {}", times[times.len() / 2].as_micros());
    }
}

fn attach_one(world: &World, rooms: &Rooms, number: usize) -> (Duration, OwnedFd) {
    let (thread, room) = rooms.next();
    let proc = kernel::mount::new_fs(c"proc", c"proc", &[], kernel::mount::Attr::NO_SUID_DEV_EXEC).unwrap();
    let mut found = None;
    let outside = time(|| {
        let id = format!("c{number}");
        let endpoint = world.endpoint(&id);
        let plug = network::Plug { network: &world.network, endpoint: &endpoint, number: 0 };
        assert!(network::firewall::intact(&[&world.network]).unwrap());
        let specs = network::ports::parse(&format!("{}:80", 10000 + number)).unwrap();
        let families = network::Families::of(&network::attach::targets(&[plug]));
        let reserved = network::reserve(&specs, families).unwrap();
        let attachment = network::attach(&[plug], &id, 0, &reserved.ports, &Default::default());
        let live = Live::new(0);
        perform(&attachment.host, &live);
        live.pid.set(thread);
        perform(&attachment.joined, &live);
        found = Some(attachment);
    });
    let attachment = found.unwrap();
    // As in a container, which has a /proc of its own: that of the host remembers every name in every network.
    let set = |(key, value): (&String, &String)| {
        let path = format!("sys/{}", key.replace('.', "/"));
        let file = rustix::fs::openat(&proc, path, OFlags::WRONLY, Mode::empty()).unwrap();
        rustix::io::write(&file, value.as_bytes()).unwrap();
    };
    let inside = || {
        attachment.sysctls.iter().map(|(k, v)| (k, v)).for_each(set);
        perform(&attachment.inside, &Live::new(0));
    };
    let within = namespace::within(&room, || time(inside)).unwrap();
    (outside + within, room)
}
