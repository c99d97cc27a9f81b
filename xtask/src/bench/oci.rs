//! The OCI runtime beside crun and runc: the same bundle, the same command line.

use super::measure::{self, Contender, Figure, figure, interleaved};
use super::report::Section;
use super::{Bench, RUN};
use crate::shell;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub const NAMES: [&str; 4] = ["oci-run", "oci-life", "oci-exec", "oci-memory"];

pub const RUNTIMES: [&str; 3] = ["corten", "crun", "runc"];

pub fn measure(bench: &Bench, name: &str) -> anyhow::Result<Section> {
    match name {
        "oci-run" => run(bench),
        "oci-life" => life(bench),
        "oci-exec" => exec(bench),
        _ => memory(bench),
    }
}

fn run(bench: &Bench) -> anyhow::Result<Section> {
    let contenders = contenders(bench, &["true"], "RUNTIME run bench")?;
    Ok(compared("oci-run", "`run` of a bundle with `true`", interleaved(&contenders, 25)?))
}

fn life(bench: &Bench) -> anyhow::Result<Section> {
    let script = "RUNTIME create bench && RUNTIME start bench && RUNTIME delete --force bench";
    let contenders = contenders(bench, &["true"], script)?;
    Ok(compared("oci-life", "`create`, `start`, `delete`", interleaved(&contenders, 25)?))
}

fn exec(bench: &Bench) -> anyhow::Result<Section> {
    for started in contenders(bench, &["sleep", "1000"], "RUNTIME run --detach bench")? {
        started.run()?;
    }
    let figures = contenders(bench, &["sleep", "1000"], "RUNTIME exec bench true")
        .and_then(|contenders| interleaved(&contenders, 25));
    for ended in contenders(bench, &["sleep", "1000"], "RUNTIME delete --force bench")? {
        let _ = ended.run();
    }
    Ok(compared("oci-exec", "`exec` of `true`", figures?))
}

/// The smallest limit of memory with which `true` still runs, three times in a row.
fn memory(bench: &Bench) -> anyhow::Result<Section> {
    let mut figures = Vec::new();
    for runtime in RUNTIMES {
        // In pages: one is too few for all, and nobody needs 64 MB.
        let (mut fails, mut works) = (1_u64, 16_384);
        while works - fails > 1 {
            let pages = u64::midpoint(fails, works);
            let command =
                runtime_command(bench, runtime, &["true"], "RUNTIME run bench", Some(pages * 4096))?;
            if (0..3).all(|_| command.command().status().is_ok_and(|status| status.success())) {
                works = pages;
            } else {
                fails = pages;
            }
        }
        figures.push(figure(runtime, vec![(works * 4) as f64], None));
    }
    let ours = figures[0].median;
    let title = "the smallest memory limit with which `true` runs";
    let mut section = Section { name: "oci-memory", title, unit: "KB", figures, goals: Vec::new() };
    section.ratio("KB", Some(ours), Some(1.0), 512.0);
    Ok(section)
}

fn compared(name: &'static str, title: &'static str, figures: Vec<Figure>) -> Section {
    let mut section = Section { name, title, unit: "ms", figures, goals: Vec::new() };
    let of = |name: &str| section.of(name).cloned();
    let (ours, crun) = (of("corten"), of("crun"));
    let median = |figure: &Option<Figure>| figure.as_ref().map(|f| f.median);
    let cpu = |figure: &Option<Figure>| figure.as_ref().and_then(|f| f.cpu);
    section.ratio("wall time against crun", median(&ours), median(&crun), 0.5);
    section.ratio("CPU time against crun", cpu(&ours), cpu(&crun), 0.5);
    section
}

fn contenders(bench: &Bench, args: &[&str], script: &str) -> anyhow::Result<Vec<Contender>> {
    RUNTIMES.iter().map(|runtime| runtime_command(bench, runtime, args, script, None)).collect()
}

/// A command line in a bundle of the runtime's own, which runs `args`.
fn runtime_command(
    bench: &Bench,
    runtime: &str,
    args: &[&str],
    script: &str,
    memory: Option<u64>,
) -> anyhow::Result<Contender> {
    let bundle = bench.dir.join(format!("bundle-{runtime}"));
    if !bundle.exists() {
        shell::run(Command::new("cp").args(["-aT"]).args([&bench.dir.join("bundle"), &bundle]))?;
    }
    let mut config: Value = serde_json::from_slice(&fs::read(bench.dir.join("bundle/config.json"))?)?;
    config["process"]["args"] = json!(args);
    config["linux"]["cgroupsPath"] = json!(format!("/{}/oci-{runtime}", measure::CGROUP));
    if let Some(bytes) = memory {
        config["linux"]["resources"]["memory"] = json!({ "limit": bytes });
    }
    fs::write(bundle.join("config.json"), config.to_string())?;
    let program = if runtime == "corten" { called_as_runtime(bench)? } else { runtime.into() };
    let program = format!("{} --root {RUN}/oci-{runtime}", program.display());
    let script = script.replace("RUNTIME", &program);
    // One command needs no shell.
    let words = if script.contains("&&") {
        vec!["sh".into(), "-c".into(), script]
    } else {
        script.split(' ').map(String::from).collect()
    };
    let dir = Some(bundle.to_string_lossy().into_owned());
    Ok(Contender { name: runtime.into(), words, env: vec![], dir })
}

/// Our binary by the name that makes it a runtime.
fn called_as_runtime(bench: &Bench) -> anyhow::Result<PathBuf> {
    let link = bench.dir.join("corten-runtime");
    let _ = fs::remove_file(&link);
    std::os::unix::fs::symlink(&bench.corten, &link)?;
    Ok(link)
}
