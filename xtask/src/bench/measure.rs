//! Measuring: wall time of commands in turn, and the processor time of everything that they made others do.

use anyhow::{Context, bail};
use e2e::machine::quiet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A command with a name for the table.
#[derive(Debug, Clone)]
pub struct Contender {
    pub name: String,
    pub words: Vec<String>,
    pub env: Vec<(String, String)>,
    /// The directory it is run in.
    pub dir: Option<String>,
}

/// What came out, in milliseconds.
#[derive(Debug, Clone)]
pub struct Figure {
    pub name: String,
    pub median: f64,
    pub p10: f64,
    /// Processor time of a run, everything involved; `None` where it could not be told apart.
    pub cpu: Option<f64>,
}

impl Contender {
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).envs(self.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// Runs it; its error text when it fails.
    pub fn run(&self) -> anyhow::Result<()> {
        let status = self.command().status().with_context(|| format!("cannot start {}", self.words[0]))?;
        if !status.success() {
            let again = self.command().stderr(Stdio::piped()).output()?;
            bail!("{}: {status}: {}", self.words.join(" "), String::from_utf8_lossy(&again.stderr).trim());
        }
        Ok(())
    }
}

/// Runs the contenders in turn, round after round, so that a slow spell of the machine falls on all of them alike; then
/// each some times in a row for its processor time.
pub fn interleaved(contenders: &[Contender], rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut wall = vec![Vec::new(); contenders.len()];
    for contender in contenders {
        contender.run()?;
    }
    for round in 0..rounds {
        quiet();
        for i in 0..contenders.len() {
            let which = (round + i) % contenders.len();
            let start = Instant::now();
            contenders[which].run()?;
            wall[which].push(milliseconds(start));
        }
    }
    let mut figures = Vec::new();
    for (contender, wall) in contenders.iter().zip(wall) {
        figures.push(figure(&contender.name, wall, cpu(contender, rounds.min(10))?));
    }
    Ok(figures)
}

pub fn figure(name: &str, mut milliseconds: Vec<f64>, cpu: Option<f64>) -> Figure {
    milliseconds.sort_by(f64::total_cmp);
    let at =
        |share: f64| milliseconds[((milliseconds.len() as f64 * share) as usize).min(milliseconds.len() - 1)];
    Figure { name: name.into(), median: at(0.5), p10: at(0.1), cpu }
}

pub fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The processor time of a run, the mean of `runs` in a row and what they leave to do for others.
fn cpu(contender: &Contender, runs: usize) -> anyhow::Result<Option<f64>> {
    std::thread::sleep(Duration::from_millis(300));
    let Some(before) = usage() else { return Ok(None) };
    for _ in 0..runs {
        contender.run()?;
    }
    std::thread::sleep(Duration::from_millis(300));
    Ok(usage().map(|after| (after - before) / runs as f64))
}

/// The name of the cgroup that everything the benchmark starts is in or below.
pub const CGROUP: &str = "corten-bench";

/// Moves this process, and so all that it starts, into a cgroup that counts processor time.
pub fn enter_cgroup() -> anyhow::Result<()> {
    for top in ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"] {
        if Path::new(top).join("cgroup.procs").exists() {
            let directory = Path::new(top).join(CGROUP).join("commands");
            fs::create_dir_all(&directory)?;
            return Ok(fs::write(directory.join("cgroup.procs"), std::process::id().to_string())?);
        }
    }
    Ok(())
}

/// The way back, and the cgroup's removal.
pub fn leave_cgroup() {
    for top in ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"] {
        let _ = fs::write(Path::new(top).join("cgroup.procs"), std::process::id().to_string());
    }
    let mut hierarchies: Vec<_> =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|e| e.path()).collect();
    hierarchies.push("/sys/fs/cgroup".into());
    for hierarchy in hierarchies {
        for below in ["commands", "docker", "bundle", "podman", "oci-corten", "oci-crun", "oci-runc"] {
            let _ = fs::remove_dir(hierarchy.join(CGROUP).join(below));
        }
        let _ = fs::remove_dir(hierarchy.join(CGROUP));
    }
}

/// Milliseconds of processor time that were used in the cgroup and in those that engines made beside it.
pub fn usage() -> Option<f64> {
    let mut sum = None;
    for name in [CGROUP, "corten-bench-engine"] {
        let v1 = fs::read_to_string(format!("/sys/fs/cgroup/cpuacct/{name}/cpuacct.usage"));
        let v1 =
            v1.ok().and_then(|text| text.trim().parse::<f64>().ok()).map(|nanoseconds| nanoseconds / 1e6);
        let v2 = || {
            let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}/cpu.stat")).ok()?;
            Some(text.lines().find_map(|l| l.strip_prefix("usage_usec "))?.parse::<f64>().ok()? / 1e3)
        };
        if let Some(used) = v1.or_else(v2) {
            *sum.get_or_insert(0.0) += used;
        }
    }
    sum
}

/// The most that a command and the processes that it starts have resident, in MB: the sum of their peaks.
pub fn peak(command: &mut Command) -> anyhow::Result<f64> {
    let mut child = command.spawn().context("cannot be started")?;
    let mut peaks = std::collections::HashMap::new();
    while child.try_wait()?.is_none() {
        let below = format!("/proc/{0}/task/{0}/children", child.id());
        let below = fs::read_to_string(below).unwrap_or_default();
        let pids = below.split_whitespace().filter_map(|pid| pid.parse().ok());
        for pid in pids.chain([child.id()]) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|kb| kb.trim().trim_end_matches(" kB").parse::<f64>().ok());
            peaks.extend(peak.map(|kb| (pid, kb)));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peaks.values().sum::<f64>() / 1e3)
}
