//! What is measured: one function a section, each with the goals that the project has set itself.

use super::measure::{Contender, Figure, figure, interleaved, milliseconds};
use super::report::Section;
use super::{Bench, RUN, images, network, oci};
use crate::shell;
use anyhow::Context;
use e2e::machine;
use std::time::Instant;

const NAMES: &[&str] = &["run-none", "run-bridge", "exec", "churn50", "memory", "ps50", "ps1000"];

/// All sections, in the order in which they are measured.
pub fn names() -> Vec<&'static str> {
    [NAMES, images::NAMES, &network::NAMES, &oci::NAMES].concat()
}

pub const ENGINES: [&str; 3] = ["corten", "podman", "docker"];

pub fn measure(bench: &mut Bench, name: &str) -> anyhow::Result<Section> {
    match name {
        "run-none" => run_none(bench),
        "run-bridge" => run_bridge(bench),
        "exec" => exec(bench),
        "churn50" => churn(bench),
        "memory" => memory(bench),
        "ps50" => ps(bench),
        "ps1000" => thousand(bench),
        name if images::NAMES.contains(&name) => images::measure(bench, name),
        name => oci::measure(bench, name),
    }
}

fn run_none(bench: &Bench) -> anyhow::Result<Section> {
    let line = "run --rm --network none busybox true";
    let mut contenders: Vec<Contender> = ENGINES.iter().map(|name| bench.engine(name, line)).collect();
    for runtime in ["crun", "runc"] {
        contenders.push(runtime_command(bench, runtime, &["run", "bench"]));
    }
    let mut figures = interleaved(&contenders, 15)?;
    figures.push(floor(bench, false)?);
    let mut section = section("run-none", "`run --rm --network none busybox true`", figures);
    let of = |name: &str| section.of(name).cloned();
    let (ours, crun) = (of("corten"), of("crun"));
    section.ratio("wall time against crun", median(&ours), median(&crun), 0.3);
    section.ratio("CPU time against crun", cpu(&ours), cpu(&crun), 0.3);
    Ok(section)
}

fn run_bridge(bench: &Bench) -> anyhow::Result<Section> {
    let line = "run --rm --memory 64m --cpus 1 busybox true";
    let contenders: Vec<Contender> = ENGINES.iter().map(|name| bench.engine(name, line)).collect();
    let mut figures = interleaved(&contenders, 15)?;
    figures.push(floor(bench, true)?);
    let mut section = section("run-bridge", "`run --rm --memory 64m --cpus 1 busybox true`, bridge", figures);
    let of = |name: &str| section.of(name).cloned();
    let (ours, floor, podman, docker) = (of("corten"), of("floor"), of("podman"), of("docker"));
    section.ratio("wall time against the floor", median(&ours), median(&floor), 2.5);
    section.ratio("CPU time against podman", cpu(&ours), cpu(&podman), 0.05);
    section.ratio("CPU time against docker", cpu(&ours), cpu(&docker), 0.05);
    Ok(section)
}

fn exec(bench: &Bench) -> anyhow::Result<Section> {
    for engine in ENGINES {
        bench.engine(engine, "run -d --name bench-exec --network none busybox sleep 1000").run()?;
    }
    let mut contenders: Vec<Contender> =
        ENGINES.iter().map(|name| bench.engine(name, "exec bench-exec true")).collect();
    for runtime in ["crun", "runc"] {
        let create = ["run", "--detach", "--config", "sleep.json", "bench-exec"];
        // runc knows no --config: it reads the bundle's config.json
        let bundle = bench.dir.join(format!("bundle-{runtime}"));
        shell::run(
            std::process::Command::new("cp").args(["-aT"]).args([&bench.dir.join("bundle"), &bundle]),
        )?;
        std::fs::copy(bundle.join("sleep.json"), bundle.join("config.json"))?;
        let mut started = runtime_command(bench, runtime, &[create[0], create[1], create[4]]);
        started.dir = Some(bundle.to_string_lossy().into_owned());
        started.run()?;
        contenders.push(runtime_command(bench, runtime, &["exec", "bench-exec", "true"]));
    }
    let pid = bench.ask("podman", "inspect -f {{.State.Pid}} bench-exec")?;
    let words = ["nsenter", "-a", "-t", &pid, "true"].map(String::from).into();
    contenders.push(Contender { name: "nsenter".into(), words, env: vec![], dir: None });
    let figures = interleaved(&contenders, 15);
    for engine in ENGINES {
        let _ = bench.engine(engine, "rm -f bench-exec").run();
    }
    for runtime in ["crun", "runc"] {
        let _ = runtime_command(bench, runtime, &["delete", "--force", "bench-exec"]).run();
    }
    let mut section = section("exec", "`exec` of `true`", figures?);
    let of = |name: &str| section.of(name).cloned();
    let (ours, nsenter) = (of("corten"), of("nsenter"));
    section.ratio("wall time against nsenter", median(&ours), median(&nsenter), 2.0);
    Ok(section)
}

fn churn(bench: &Bench) -> anyhow::Result<Section> {
    let mut figures = Vec::new();
    for engine in ENGINES {
        let (mut start, mut remove) = (Vec::new(), Vec::new());
        for _ in 0..if engine == "corten" { 3 } else { 1 } {
            machine::quiet();
            start.push(fifty(bench, engine)? / 1e3);
            let began = Instant::now();
            for n in 0..50 {
                bench.engine(engine, &format!("rm -f bench-{n}")).run()?;
            }
            remove.push(milliseconds(began) / 1e3);
        }
        figures.push(figure(engine, start, None));
        figures.push(figure(&format!("{engine}, rm -f"), remove, None));
    }
    let mut section = section("churn50", "50 × `run -d`, then 50 × `rm -f`", figures);
    section.unit = "s";
    let seconds = |name: &str| section.of(name).map(|f| f.median);
    let (start, remove) = (seconds("corten"), seconds("corten, rm -f"));
    section.ratio("seconds to start 50", start, Some(1.0), 1.0);
    section.ratio("seconds to remove 50", remove, Some(1.0), 1.0);
    Ok(section)
}

/// Starts 50 containers one by one, and returns how long it took.
fn fifty(bench: &Bench, engine: &str) -> anyhow::Result<f64> {
    let start = Instant::now();
    for n in 0..50 {
        bench.engine(engine, &format!("run -d --name bench-{n} busybox sleep 1000")).run()?;
    }
    Ok(milliseconds(start))
}

fn memory(bench: &Bench) -> anyhow::Result<Section> {
    let mut figures = Vec::new();
    for engine in ENGINES {
        let names: Vec<String> = (0..20).map(|n| format!("bench-{n}")).collect();
        for name in &names {
            bench.engine(engine, &format!("run -d --name {name} busybox sleep 1000")).run()?;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
        let mut sizes = Vec::new();
        for name in &names {
            // Docker's shim, podman's conmon and our monitor are all the parent of the container's first process.
            let pid = bench.ask(engine, &format!("inspect -f {{{{.State.Pid}}}} {name}"))?.parse()?;
            sizes
                .push(machine::parent(pid).and_then(machine::pss).with_context(|| format!("process {pid}"))?);
        }
        bench.engine(engine, &format!("rm -f {}", names.join(" "))).run()?;
        figures.push(figure(engine, sizes, None));
    }
    figures.push(figure("corten, with a health check", with_health(bench)?, None));
    let mut section = section("memory", "the supervisor of a container, each of 20, PSS", figures);
    section.unit = "KB";
    let ours = section.of("corten").map(|f| f.median);
    let checked = section.of("corten, with a health check").map(|f| f.median);
    section.ratio("KB", ours, Some(1.0), 400.0);
    section.ratio("KB, with a health check", checked, Some(1.0), 400.0);
    Ok(section)
}

/// The monitors of containers whose health was looked at some times.
fn with_health(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let check = "--health-cmd true --health-interval 200ms";
    let names: Vec<String> = (0..20).map(|n| format!("bench-{n}")).collect();
    for name in &names {
        bench.engine("corten", &format!("run -d --name {name} {check} busybox sleep 1000")).run()?;
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut sizes = Vec::new();
    for name in &names {
        let pid = bench.ask("corten", &format!("inspect -f {{{{.State.Pid}}}} {name}"))?.parse()?;
        sizes.push(machine::parent(pid).and_then(machine::pss).with_context(|| format!("process {pid}"))?);
    }
    bench.engine("corten", &format!("rm -f {}", names.join(" "))).run()?;
    Ok(sizes)
}

fn ps(bench: &Bench) -> anyhow::Result<Section> {
    for engine in ENGINES {
        fifty(bench, engine)?;
    }
    let contenders: Vec<Contender> = ENGINES.iter().map(|name| bench.engine(name, "ps")).collect();
    let figures = interleaved(&contenders, 15);
    let names: Vec<String> = (0..50).map(|n| format!("bench-{n}")).collect();
    for engine in ENGINES {
        let _ = bench.engine(engine, &format!("rm -f {}", names.join(" "))).run();
    }
    let mut section = section("ps50", "`ps` with 50 running containers", figures?);
    let ours = section.of("corten").map(|f| f.median);
    section.ratio("milliseconds", ours, Some(1.0), 5.0);
    Ok(section)
}

/// A thousand containers that do not run, and one that does: the other engines take minutes to make so many.
fn thousand(bench: &Bench) -> anyhow::Result<Section> {
    for n in 0..1000 {
        bench.engine("corten", &format!("create --name many-{n} busybox true")).run()?;
    }
    bench.engine("corten", "run -d --name bench-one busybox sleep 1000").run()?;
    let contenders = ["ps -a", "ps -aq", "ps", "inspect many-500"]
        .map(|line| Contender { name: format!("corten {line}"), ..bench.engine("corten", line) });
    let figures = interleaved(&contenders, 15);
    let names: Vec<String> = (0..1000).map(|n| format!("many-{n}")).collect();
    let _ = bench.engine("corten", &format!("rm -f bench-one {}", names.join(" "))).run();
    let mut section = section("ps1000", "with 1,000 created containers and one that runs", figures?);
    let of = |name: &str| section.of(name).map(|f| f.median);
    let (all, running) = (of("corten ps -a"), of("corten ps"));
    section.ratio("milliseconds, `ps -a`", all, Some(1.0), 20.0);
    section.ratio("milliseconds, `ps`", running, Some(1.0), 5.0);
    Ok(section)
}

/// crun or runc in the bundle's directory.
fn runtime_command(bench: &Bench, runtime: &str, arguments: &[&str]) -> Contender {
    let root = format!("{RUN}/{runtime}");
    let words =
        [runtime, "--root", &root].into_iter().chain(arguments.iter().copied()).map(String::from).collect();
    let dir = Some(bench.dir.join("bundle").to_string_lossy().into_owned());
    Contender { name: runtime.into(), words, env: vec![], dir }
}

/// The bare system calls: the floor program prints its own times, so that the start of the program is not in them.
fn floor(bench: &Bench, bridge: bool) -> anyhow::Result<Figure> {
    let (mut wall, mut cpu) = (Vec::new(), Vec::new());
    for round in 0..3 {
        machine::quiet();
        let mut command = std::process::Command::new(&bench.floor);
        command.args(["-n", "20", "-l"]).arg(bench.dir.join("bundle/rootfs"));
        command.arg("-w").arg(bench.dir.join(format!("floor-{}-{round}", std::process::id())));
        if bridge {
            command.args(["-b", "floorbr"]);
        }
        if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            command.args(["-u", "/sys/fs/cgroup"]);
        }
        for line in shell::output(&mut command)?.lines() {
            match line.strip_prefix("cpu ") {
                Some(microseconds) => cpu.push(microseconds.parse::<f64>()? / 1e3),
                None => wall.push(line.parse::<f64>()? / 1e3),
            }
        }
    }
    let mean = cpu.iter().sum::<f64>() / cpu.len() as f64;
    Ok(figure("floor", wall, Some(mean)))
}

pub fn section(name: &'static str, title: &'static str, figures: Vec<Figure>) -> Section {
    Section { name, title, unit: "ms", figures, goals: Vec::new() }
}

fn median(figure: &Option<Figure>) -> Option<f64> {
    figure.as_ref().map(|f| f.median)
}

fn cpu(figure: &Option<Figure>) -> Option<f64> {
    figure.as_ref().and_then(|f| f.cpu)
}
