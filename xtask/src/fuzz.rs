//! `cargo xtask fuzz`: the fuzz targets in `fuzz/`, built with libFuzzer by the toolchain that is there.
//!
//! What cargo-fuzz asks a nightly compiler for is the address sanitizer, which code without `unsafe` does not need. The
//! instrumentation for coverage is a pass of LLVM's, and the flags that ask for it are stable ones.

use crate::{packages, shell};
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A C++ compiler for libFuzzer's runtime.
const PACKAGES: &[&str] = &["g++"];

/// Each target, and its seconds in `cargo xtask test`.
const TARGETS: &[(&str, u32)] = &[
    ("config", 60),
    ("tar", 8),
    ("manifest", 8),
    ("seccomp", 5),
    ("dns", 5),
    ("words", 5),
    ("users", 5),
    ("netlink", 3),
    ("templates", 5),
];

const FLAGS: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut seconds = None;
    let mut chosen = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seconds" => seconds = Some(words.next().context("--seconds needs a number")?.parse()?),
            name => match TARGETS.iter().find(|target| target.0 == name) {
                Some(target) => chosen.push(*target),
                None => bail!("no such fuzz target: {name}"),
            },
        }
    }
    if chosen.is_empty() {
        chosen = TARGETS.to_vec();
    }
    packages::install(PACKAGES)?;
    let programs = build()?;
    for (name, usual) in chosen {
        fuzz(&programs, name, seconds.unwrap_or(usual))?;
    }
    Ok(())
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
    crate::test::built_in(&target, "release", TARGETS[0].0)?
        .parent()
        .map(Path::to_path_buf)
        .context("no directory")
}

/// One target for so long: from its seeds, into a corpus that later runs go on with.
fn fuzz(programs: &Path, name: &str, seconds: u32) -> anyhow::Result<()> {
    println!("fuzzing {name} for {seconds} s");
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
        "-timeout=10",
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
    said.lines().filter(|line| line.starts_with("stat::number")).for_each(|line| println!("  {line}"));
    Ok(())
}
