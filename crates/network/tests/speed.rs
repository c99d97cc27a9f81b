//! What each step of a network costs. Measurements, to be run as root:
//! `cargo test --release -p network --test speed -- --ignored --nocapture`

mod world;

use std::time::{Duration, Instant};

use network::PublishedPort;
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
