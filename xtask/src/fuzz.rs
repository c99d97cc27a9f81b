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
use std::thread;
use std::time::{Duration, Instant};

/// A C++ compiler for libFuzzer's runtime.
const PACKAGES: &[&str] = &["g++"];

const TARGETS: &[&str] =
    &["config", "tar", "manifest", "seccomp", "dns", "words", "users", "netlink", "templates"];

/// How long each is run, unless it is said.
const USUAL: Duration = Duration::from_secs(60);

/// What building them takes on two processors.
const BUILDING: Duration = Duration::from_secs(2 * 60);

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
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    fuzz_each(&build()?, &chosen, time, at_once)
}

/// All targets at once for a minute by the clock, if that, and building them, can be done until `end`.
pub fn until(end: Instant) -> anyhow::Result<()> {
    if end.saturating_duration_since(Instant::now()) < BUILDING + USUAL {
        println!("left out, this machine is slow: `cargo xtask fuzz` does it");
        return Ok(());
    }
    fuzz_each(&build()?, TARGETS, USUAL, TARGETS.len())
}

/// So many targets side by side.
fn fuzz_each(programs: &Path, targets: &[&str], time: Duration, at_once: usize) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(name) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            failures.extend(fuzz(programs, name, time).err());
        }
        failures
    };
    let failures: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it does not panic")).collect()
    });
    match failures.as_slice() {
        [] => Ok(()),
        all => bail!("{}", all.iter().map(|e| format!("{e:#}")).collect::<Vec<_>>().join("\n")),
    }
}

/// Builds all targets and says where they are.
fn build() -> anyhow::Result<PathBuf> {
    packages::install(PACKAGES)?;
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

/// One target for so long: from its seeds, into a corpus that later runs go on with.
fn fuzz(programs: &Path, name: &str, time: Duration) -> anyhow::Result<()> {
    let seconds = time.as_secs();
    let corpus = programs.join("corpus").join(name);
    let found = programs.join("found");
    fs::create_dir_all(&corpus)?;
    fs::create_dir_all(&found)?;
    let seeds = Path::new("fuzz/seeds").join(name);
    let mut command = Command::new(programs.join(name));
    command.arg(&corpus).arg(&seeds);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/{name}-", found.display()));
    command.args([
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-max_len=65536",
        "-verbosity=0",
        "-print_final_stats=1",
    ]);
    let output = command.output().with_context(|| format!("cannot start the fuzz target {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(60)..].join("\n"));
        bail!("the fuzz target {name} failed; the input is in {}", found.display());
    }
    let tried = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{name}: {} inputs in {seconds} s", tried.unwrap_or("?").trim());
    Ok(())
}
