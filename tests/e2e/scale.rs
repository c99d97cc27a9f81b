//! Many containers at once, and many one after the other: nothing is left of them, and the last one starts as the first one did.
//!
//! `CORTEN_TEST_SCALE=1000,10000` says how many at once and how many in the loop; with `CORTEN_TEST_TABLES`, a directory, it is measured
//! as well: `cargo xtask scale`, on a machine that has nothing else to do.

mod measure;

use e2e::images::image;
use e2e::{Sandbox, slowness};
use measure::{Kernel, Level};
use serde_json::json;
use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// How often a start is measured beside so many containers.
const PROBES: usize = 40;

struct Scale {
    at_once: usize,
    in_a_row: usize,
    /// Where the figures go to.
    figures: Option<std::path::PathBuf>,
}

impl Scale {
    fn wanted() -> Scale {
        let size = std::env::var("CORTEN_TEST_SCALE").unwrap_or_else(|_| "40,120".to_owned());
        let mut numbers = size.split(',').map(|n| n.parse().expect("CORTEN_TEST_SCALE is two numbers"));
        let mut next = || numbers.next().expect("CORTEN_TEST_SCALE is two numbers");
        let figures = std::env::var_os("CORTEN_TEST_TABLES").map(|dir| dir.into());
        Scale { at_once: next(), in_a_row: next(), figures }
    }
}

fn quietly(s: &Sandbox, line: &str) -> Child {
    let mut command = s.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts")
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// Runs it to its end; how long that takes.
fn timed(s: &Sandbox, line: &str) -> f64 {
    let start = Instant::now();
    let status = quietly(s, line).wait().expect("it is ours");
    let time = milliseconds(start);
    assert!(status.success(), "{line}: {status}");
    time
}

/// Where it is measured, the data root is a file system with a journal and the state directory is in memory, as on a user's machine,
/// whatever this one has: ext4 without a journal does not use an inode again for minutes, and looks longer for each.
fn furnish(s: &Sandbox) {
    let disk = "mkdir root state && truncate -s 8G disk && mkfs.ext4 -q -F disk && mount -o loop disk root";
    s.host(&format!("{disk} && mount -t tmpfs -o mode=700 state state")).ok();
}

fn unfurnish(s: &Sandbox) {
    s.corten("system down").ok();
    s.host("umount root state && rm disk").ok();
}

#[test]
fn nothing_is_left_of_many() {
    let (s, scale) = (Sandbox::new(), Scale::wanted());
    if scale.figures.is_some() {
        furnish(&s);
    }
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    // What is made once for all, and what the kernel keeps for later.
    for _ in 0..PROBES.min(scale.at_once) {
        timed(&s, "run --rm busybox true");
    }
    let empty = Kernel::read(&s, scale.figures.is_some());
    let mut figures = json!({ "at_once": scale.at_once, "in_a_row": scale.in_a_row });

    let (starts, levels) = start_all(&s, &scale);
    figures["starts"] = json!(starts);
    figures["levels"] = levels.iter().map(Level::json).collect();
    let ids = s.corten("ps -q --no-trunc").ok().to_owned();
    assert_eq!(ids.lines().count(), scale.at_once);
    if scale.figures.is_some() {
        figures["full"] = measure::full(&s, &empty);
    }
    // Each answers, and has an address of its own.
    let addresses = s.corten("network inspect -f '{{range .Containers}}{{.IPv4Address}} {{end}}' bridge");
    let mut addresses: Vec<&str> = addresses.ok().split_whitespace().collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), scale.at_once);
    assert_eq!(s.corten(&format!("exec box-{} echo alive", scale.at_once - 1)).ok(), "alive");
    assert!(s.corten("system check").ok().ends_with(": no faults"));

    let began = Instant::now();
    let names: Vec<String> = (0..scale.at_once).map(|n| format!("box-{n}")).collect();
    let removed = s.start(&format!("rm -f {}", names.join(" "))).wait_for(600);
    assert_eq!(removed.ok().lines().count(), scale.at_once);
    figures["remove"] = json!(milliseconds(began) / 1e3);
    figures["removed"] = left(&s, &scale, &empty);

    let began = Instant::now();
    in_a_row(&s, scale.in_a_row);
    figures["loop"] = json!(milliseconds(began) / 1e3);
    figures["looped"] = left(&s, &scale, &empty);
    if let Some(dir) = &scale.figures {
        fs::write(dir.join("scale.json"), figures.to_string()).expect("figures can be written");
        unfurnish(&s);
    }
    s.end();
}

/// Starts them one by one; how long each took. On the way, what a start costs beside so many others.
fn start_all(s: &Sandbox, scale: &Scale) -> (Vec<f64>, Vec<Level>) {
    let (mut starts, mut levels) = (Vec::new(), Vec::new());
    let stops = [0, scale.at_once / 10, scale.at_once / 2, scale.at_once - 1];
    for n in 0..scale.at_once {
        if scale.figures.is_some() && stops.contains(&n) {
            levels.push(Level::measure(n, s, PROBES, &|line| timed(s, line)));
        }
        starts.push(timed(s, &format!("run -d --name box-{n} busybox sleep 1000000")));
    }
    (starts, levels)
}

/// Creates, starts and removes so many, eight at a time.
fn in_a_row(s: &Sandbox, number: usize) {
    let mut running: Vec<Child> = Vec::new();
    for n in 0..number {
        if running.len() == 8 {
            let status = running.remove(0).wait().expect("it is ours");
            assert!(status.success(), "one before the {n}th: {status}");
        }
        running.push(quietly(s, "run --rm busybox true"));
    }
    for mut child in running {
        assert!(child.wait().expect("it is ours").success());
    }
}

/// What is there that was not there when there was no container: nothing, as soon as the kernel has put it away.
fn left(s: &Sandbox, scale: &Scale, empty: &Kernel) -> serde_json::Value {
    let limit = Duration::from_secs(u64::from(120 * slowness()));
    let start = Instant::now();
    loop {
        let now = Kernel::read(s, scale.figures.is_some());
        let more = now.more_than(empty);
        if more.is_empty() {
            return now.json(empty);
        }
        assert!(start.elapsed() < limit, "left: {more:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
