//! `cargo xtask fuzz`: the fuzz targets in `fuzz/`, built with libFuzzer by the toolchain that is there.
//!
//! What cargo-fuzz asks a nightly compiler for is the address sanitizer, which code without `unsafe` does not need. The
//! instrumentation for coverage is a pass of LLVM's, and the flags that ask for it are stable ones.

use crate::{packages, shell};
use anyhow::{Context, bail};
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A C++ compiler for libFuzzer's runtime.
const PACKAGES: &[&str] = &["g++"];

const TARGETS: &[&str] =
    &["config", "tar", "manifest", "seccomp", "dns", "words", "users", "netlink", "templates"];

/// How long each is run, unless it is said: of processor time, since others may run beside it.
const USUAL: Duration = Duration::from_secs(60);

const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut time = USUAL;
    let mut chosen = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => {
                time = Duration::from_secs(words.next().context("--seconds needs a number")?.parse()?);
            }
            name => match TARGETS.iter().find(|target| **target == name) {
                Some(target) => chosen.push(*target),
                None => bail!("no such fuzz target: {name}"),
            },
        }
    }
    if chosen.is_empty() {
        chosen = TARGETS.to_vec();
    }
    packages::install(PACKAGES)?;
    let fuzzing = Fuzzing { programs: build()?, time, until: None };
    fuzzing.each(&chosen, &|line| println!("{line}")).map(drop)
}

/// All targets, beside what runs meanwhile and in the time that it leaves, until each has had its minute, or `until` has come. What is
/// waited for says what was done.
pub fn beside(until: Instant) -> anyhow::Result<JoinHandle<anyhow::Result<Vec<String>>>> {
    packages::install(PACKAGES)?;
    let work = move || {
        // Of this thread and all that comes of it, see SCHED_IDLE in sched(7).
        let thread = rustix::thread::gettid().to_string();
        shell::run(Command::new("chrt").args(["--idle", "--pid", "0", &thread]))?;
        let fuzzing = Fuzzing { programs: build()?, time: USUAL, until: Some(until) };
        fuzzing.each(TARGETS, &|_| ())
    };
    Ok(thread::spawn(work))
}

struct Fuzzing {
    /// Where the programs are.
    programs: PathBuf,
    /// Processor time of each.
    time: Duration,
    /// None goes on after that.
    until: Option<Instant>,
}

impl Fuzzing {
    /// As many targets side by side as there are processors.
    fn each(&self, targets: &[&str], tell: &(dyn Fn(&str) + Sync)) -> anyhow::Result<Vec<String>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut results = Vec::new();
            while let Some(name) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                results.push(self.one(name).inspect(|line| tell(line)));
            }
            results
        };
        let results: Vec<anyhow::Result<String>> = thread::scope(|scope| {
            let workers: Vec<_> = (0..at_once()).map(|_| scope.spawn(work)).collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("it does not panic")).collect()
        });
        let (lines, failures): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        let failures: Vec<_> =
            failures.into_iter().filter_map(|r| r.err().map(|e| format!("{e:#}"))).collect();
        match failures.is_empty() {
            true => Ok(lines.into_iter().flatten().collect()),
            false => bail!("{}", failures.join("\n")),
        }
    }

    /// One target: from its seeds, into a corpus that later runs go on with.
    fn one(&self, name: &str) -> anyhow::Result<String> {
        let directory = |kind: &str| self.programs.join(kind);
        let (corpus, found) = (directory("corpus").join(name), directory("found"));
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&found)?;
        let log = found.join(format!("{name}.log"));
        let mut command = Command::new(self.programs.join(name));
        command.arg(&corpus).arg(Path::new("fuzz/seeds").join(name));
        command.arg(format!("-artifact_prefix={}/{name}-", found.display()));
        command.args([
            "-timeout=60",
            "-rss_limit_mb=2048",
            "-max_len=65536",
            "-verbosity=0",
            "-print_final_stats=1",
        ]);
        command.stderr(fs::File::create(&log)?);
        let mut child = command.spawn().with_context(|| format!("cannot start the fuzz target {name}"))?;
        let mut used = Duration::ZERO;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            used = processor_time(child.id()).unwrap_or(used);
            if used >= self.time || self.until.is_some_and(|until| Instant::now() >= until) {
                // libFuzzer ends the input that it is at, and tells what it has done.
                let pid = rustix::process::Pid::from_child(&child);
                rustix::process::kill_process(pid, rustix::process::Signal::USR1)?;
            }
            thread::sleep(Duration::from_millis(250));
        };
        let said = fs::read_to_string(&log).unwrap_or_default();
        if !status.success() {
            let lines: Vec<&str> = said.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            bail!("the fuzz target {name} failed; the input is in {}", found.display());
        }
        let tried = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let tried =
            tried.with_context(|| format!("the fuzz target {name} does not say what it did: {said}"))?;
        Ok(format!("{name}: {} inputs in {} s", tried.trim(), used.as_secs()))
    }
}

/// What a process has used, by the ticks in its stat file: see proc_pid_stat(5).
fn processor_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut words = stat[stat.rfind(')')? + 2..].split(' ').skip(11);
    let mut ticks = || words.next()?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (ticks()? + ticks()?)))
}

fn at_once() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Builds all targets and says where they are.
fn build() -> anyhow::Result<PathBuf> {
    let target = crate::test::target().join("fuzz");
    let mut cargo = shell::cargo();
    cargo
        .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"])
        .arg(&target);
    // Instead of those in .cargo/config.toml: libFuzzer's runtime is not linked statically.
    cargo.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    shell::run(&mut cargo)?;
    crate::test::built_in(&target, "release", TARGETS[0])?
        .parent()
        .map(Path::to_path_buf)
        .context("no directory")
}
