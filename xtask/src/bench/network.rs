//! Networks side by side: how much goes through, how many requests a second, how long a connection takes; and what the
//! thousandth container on a bridge costs.

use super::sections::ENGINES;
use super::{Bench, measure};
use crate::shell;
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const NAMES: [&str; 2] = ["network", "network-attach"];

const ROUNDS: usize = 5;

pub fn measure(bench: &Bench, name: &str) -> anyhow::Result<String> {
    if name == "network" { network(bench) } else { attach() }
}

/// A server and a client of one engine, in its default network.
struct Pair {
    server: u32,
    client: u32,
    address: IpAddr,
    bridge: IpAddr,
    /// The host's ports that lead to iperf3 and to nginx.
    ports: (u16, u16),
    iperf: Child,
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.iperf.kill();
        let _ = self.iperf.wait();
    }
}

/// From where, and to which of the server's addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Container,
    Loopback,
    Bridge,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Container => "from container to container",
            Way::Loopback => "to a published port, from the host by 127.0.0.1",
            Way::Bridge => "to a published port, from another container by the bridge's address",
        }
    }

    /// The process whose network it starts in, and where it leads.
    fn ends(self, pair: &Pair, http: bool) -> (u32, SocketAddr) {
        let inner = if http { 80 } else { 5201 };
        let outer = if http { pair.ports.1 } else { pair.ports.0 };
        match self {
            Way::Container => (pair.client, (pair.address, inner).into()),
            Way::Loopback => (std::process::id(), (IpAddr::from([127, 0, 0, 1]), outer).into()),
            Way::Bridge => (pair.client, (pair.bridge, outer).into()),
        }
    }
}

fn network(bench: &Bench) -> anyhow::Result<String> {
    let pairs = ENGINES.iter().zip(0..).map(|(engine, number)| pair(bench, engine, number));
    let pairs = pairs.collect::<anyhow::Result<Vec<_>>>();
    let text = pairs.and_then(|pairs| rows(&pairs));
    for engine in ENGINES {
        let _ = bench.engine(engine, "rm -f bench-net-server bench-net-client").run();
    }
    text
}

fn pair(bench: &Bench, engine: &str, number: u16) -> anyhow::Result<Pair> {
    let archive = bench.images.join("nginx.tar");
    bench.engine(engine, &format!("load -q -i {}", archive.display())).run()?;
    let ports = (5300 + number, 8300 + number);
    let publish = format!("-p {}:5201 -p {}:80", ports.0, ports.1);
    bench.engine(engine, &format!("run -d --name bench-net-server {publish} nginx")).run()?;
    bench.engine(engine, "run -d --name bench-net-client busybox sleep 10000").run()?;
    let ask = |container: &str, what: &str| {
        bench.ask(engine, &format!("inspect -f {{{{{what}}}}} bench-net-{container}"))
    };
    let server = ask("server", ".State.Pid")?.parse()?;
    let mut iperf = within(server, &["iperf3", "-s"]);
    let pair = Pair {
        server,
        client: ask("client", ".State.Pid")?.parse()?,
        address: ask("server", ".NetworkSettings.IPAddress")?.parse()?,
        bridge: ask("server", ".NetworkSettings.Gateway")?.parse()?,
        ports,
        iperf: iperf.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("iperf3")?,
    };
    for way in [Way::Container, Way::Loopback, Way::Bridge] {
        for http in [false, true] {
            let (from, to) = way.ends(&pair, http);
            let there = || {
                std::thread::sleep(Duration::from_millis(100));
                connect(from, to, 1)
            };
            let answer = (0..50).map(|_| there()).find(Result::is_ok).unwrap_or_else(there);
            answer.with_context(|| format!("{engine}: {} ({to}, server {})", way.name(), pair.server))?;
        }
    }
    Ok(pair)
}

/// A command in the network of a process; of the host's programs.
fn within(pid: u32, words: &[&str]) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{pid}/ns/net")).args(words).stdin(Stdio::null());
    command
}

/// What is measured from a process' network to an address.
struct Probe {
    unit: &'static str,
    http: bool,
    /// More is better.
    more: bool,
    measure: fn(u32, SocketAddr) -> anyhow::Result<f64>,
}

const PROBES: [Probe; 3] = [
    Probe { unit: "Gbit/s", http: false, more: true, measure: throughput },
    Probe { unit: "requests/s", http: true, more: true, measure: requests },
    Probe { unit: "µs to connect", http: true, more: false, measure: |from, to| connect(from, to, 500) },
];

/// A row for each way and measure; the contenders take turns.
fn rows(pairs: &[Pair]) -> anyhow::Result<String> {
    let mut text = format!("| | {} |\n|---|---:|---:|---:|\n", ENGINES.join(" | "));
    let mut goals = String::new();
    for probe in PROBES {
        for way in [Way::Container, Way::Loopback, Way::Bridge] {
            let mut found = vec![Vec::new(); pairs.len()];
            for round in 0..ROUNDS {
                for i in 0..pairs.len() {
                    let which = (round + i) % pairs.len();
                    let (from, to) = way.ends(&pairs[which], probe.http);
                    found[which].push((probe.measure)(from, to)?);
                }
            }
            let medians: Vec<f64> =
                found.into_iter().map(|values| measure::figure("", values, None).median).collect();
            let cells: Vec<String> = medians.iter().map(|value| number(*value)).collect();
            let what = format!("{}, {}", probe.unit, way.name());
            let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
            let ratios = medians[1..].iter().map(|other| match probe.more {
                true => medians[0] / other,
                false => other / medians[0],
            });
            let ratio = ratios.fold(f64::MAX, f64::min);
            let met = if ratio >= 0.95 { "reached" } else { "**not reached**" };
            let _ = writeln!(
                goals,
                "* {what}: {ratio:.2} × the better of the others (goal 1, and 0.05 is noise): {met}"
            );
        }
    }
    Ok(format!("{text}\n{goals}"))
}

fn throughput(from: u32, to: SocketAddr) -> anyhow::Result<f64> {
    let (address, port) = (to.ip().to_string(), to.port().to_string());
    let words = ["iperf3", "-c", &address, "-p", &port, "-t", "2", "-J"];
    let answer: serde_json::Value = serde_json::from_str(&shell::output(&mut within(from, &words))?)?;
    let bits = answer["end"]["sum_received"]["bits_per_second"].as_f64();
    Ok(bits.context("iperf3 says nothing")? / 1e9)
}

fn requests(from: u32, to: SocketAddr) -> anyhow::Result<f64> {
    let url = format!("http://{to}/");
    let answer = shell::output(&mut within(from, &["wrk", "-t", "1", "-c", "32", "-d", "2s", &url]))?;
    let line = answer.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.context("wrk says nothing")?.trim().parse()?)
}

/// Microseconds until a connection is there: the median of so many.
fn connect(from: u32, to: SocketAddr, times: usize) -> anyhow::Result<f64> {
    let place = File::open(format!("/proc/{from}/ns/net"))?;
    let ask = move || {
        rustix::thread::move_into_link_name_space(
            place.as_fd(),
            Some(rustix::thread::LinkNameSpaceType::Network),
        )?;
        let one = |_| {
            let start = Instant::now();
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2))?;
            let time = measure::milliseconds(start) * 1e3;
            drop(stream);
            Ok(time)
        };
        (0..times).map(one).collect::<anyhow::Result<Vec<_>>>()
    };
    let found = std::thread::spawn(ask).join().expect("it does not panic")?;
    Ok(measure::figure("", found, None).median)
}

/// The network part of a start, with so many containers on the bridge: endpoints in namespaces without processes. The best of
/// three runs, which is what the machine can do when nobody disturbs it.
fn attach() -> anyhow::Result<String> {
    let mut best: Vec<(String, f64)> = Vec::new();
    for _ in 0..3 {
        let mut command = shell::cargo();
        command.args(["test", "--quiet", "--release", "-p", "network", "--test", "speed"]);
        let answer = shell::output(command.args(["--", "--ignored", "--nocapture", "attach"]))?;
        for line in answer.lines().filter_map(|line| line.strip_prefix("attach ")) {
            let Some((level, time)) = line.split_once(' ') else { bail!("attach {line}") };
            let time: f64 = time.parse()?;
            match best.iter_mut().find(|(known, _)| known == level) {
                Some((_, least)) => *least = least.min(time),
                None => best.push((level.to_owned(), time)),
            }
        }
    }
    let (Some(first), Some(last)) = (best.first(), best.last()) else { bail!("no measurement of attach") };
    let ratio = last.1 / first.1;
    let met = if ratio <= 1.2 { "reached" } else { "**not reached**" };
    let mut text = String::from(
        "| containers on the bridge | µs to attach one more | × the first |\n|---:|---:|---:|\n",
    );
    for (level, time) in &best {
        let _ = writeln!(text, "| {level} | {time:.0} | {:.2} |", time / first.1);
    }
    let _ = writeln!(text, "\n* with {}, against the first: {ratio:.2} (goal 1.20): {met}", last.0);
    Ok(text)
}

fn number(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}
