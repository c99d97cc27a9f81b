//! `cargo xtask scale`: a thousand containers at once, ten thousand one after the other. The test `scale::` does it and measures; here
//! its figures become the tables of `docs/reliability.md` and a picture.

mod plot;

use crate::bench::measure;
use crate::{packages, shell, test};
use anyhow::{Context, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;

const PAGE: &str = "docs/reliability.md";
const PICTURE: &str = "docs/scale.svg";

/// How much more the last start may take than the first.
const FLAT: f64 = 1.25;

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let (mut at_once, mut in_a_row) = (1000, 10_000);
    for pair in arguments.chunks(2) {
        match pair {
            [option, number] if option == "--at-once" => at_once = number.parse()?,
            [option, number] if option == "--in-a-row" => in_a_row = number.parse()?,
            _ => bail!("usage: cargo xtask scale [--at-once N] [--in-a-row N]"),
        }
    }
    packages::install(&["iproute2", "nftables"])?;
    let (corten, images) = (test::corten()?, test::images()?);
    let directory = test::target().join("scale");
    fs::create_dir_all(&directory)?;
    let directory = directory.canonicalize()?;
    let file = directory.join("scale.json");
    let _ = fs::remove_file(&file);
    let build = ["test", "--package", "e2e", "--test", "e2e", "--no-run"];
    shell::run(shell::cargo().args(build))?;
    measure::enter_cgroup()?;
    let mut command = shell::cargo();
    // Not nextest: it would end what takes minutes.
    command.args(["test", "--quiet", "--package", "e2e", "--test", "e2e", "--", "scale::"]);
    command.env("CORTEN_BIN", &corten).env("CORTEN_TEST_CACHE", &images);
    command.env("CORTEN_TEST_SCALE", format!("{at_once},{in_a_row}")).env("CORTEN_TEST_TABLES", &directory);
    let result = shell::run(&mut command);
    measure::leave_cgroup();
    result?;
    let figures: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let text = tables(&figures)?;
    println!("{text}");
    if (at_once, in_a_row) == (1000, 10_000) {
        let page = fs::read_to_string(PAGE)?;
        fs::write(PAGE, replaced(&page, &text)?)?;
        fs::write(PICTURE, plot::svg(&numbers(&figures["starts"]), FLAT))?;
        println!("written: {PAGE}, {PICTURE}");
    }
    Ok(())
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn replaced(page: &str, by: &str) -> anyhow::Result<String> {
    let (start, end) = ("<!-- scale -->\n", "<!-- end scale -->");
    let (from, to) =
        page.find(start).zip(page.find(end)).with_context(|| format!("{PAGE} has no {start}"))?;
    Ok(format!("{}{by}{}", &page[..from + start.len()], &page[to..]))
}

/// All that is told of it, as Markdown.
fn tables(figures: &Value) -> anyhow::Result<String> {
    let mut out = String::from(
        "| containers that run | `run -d`, median, ms | p10, ms | CPU, ms | × the first, by median | by CPU | `rm -f`, median, ms |\n\
         |---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let levels = figures["levels"].as_array().context("no levels")?;
    let first = levels.first().context("no levels")?;
    let number = |level: &Value, key: &str| level[key].as_f64().unwrap_or(f64::NAN);
    let ratio = |level: &Value, key: &str| number(level, key) / number(first, key);
    for level in levels {
        let _ = writeln!(
            out,
            "| {} | {:.1} | {:.1} | {:.1} | {:.2} | {:.2} | {:.1} |",
            level["running"],
            number(level, "median"),
            number(level, "p10"),
            number(level, "cpu"),
            ratio(level, "median"),
            ratio(level, "cpu"),
            number(level, "remove"),
        );
    }
    let last = levels.last().context("no levels")?;
    out.push('\n');
    for (what, key) in [("wall time", "median"), ("CPU time", "cpu")] {
        let ratio = ratio(last, key);
        let met = if ratio <= FLAT { "reached" } else { "**not reached**" };
        let _ = writeln!(out, "* {what} of the last against the first: {ratio:.2} (goal {FLAT}): {met}");
    }
    cost(&mut out, figures);
    left(&mut out, figures);
    Ok(out)
}

/// What it takes to have them all.
fn cost(out: &mut String, figures: &Value) {
    let (full, many) = (&figures["full"], figures["at_once"].as_f64().unwrap_or(1.0));
    let _ = write!(out, "\n| with {many} containers | each | the most | all |\n|---|---:|---:|---:|\n");
    let spread = [
        ("memory of the monitor, PSS, KB", "pss"),
        ("memory of the container's process (`sleep`), PSS, KB", "init"),
        ("descriptors of the monitor", "descriptors"),
        ("descriptors of the container's process", "init_descriptors"),
    ];
    for (name, key) in spread {
        let cell = |of: &str| full[key][of].as_f64().unwrap_or(f64::NAN);
        let _ =
            writeln!(out, "| {name} | {:.0} | {:.0} | {:.0} |", cell("median"), cell("most"), cell("sum"));
    }
    for (name, key) in [("state directory", "state"), ("data directory", "data")] {
        let (files, bytes) = (&full[key]["files"], &full[key]["bytes"]);
        let [files, kb] = [files.as_f64().unwrap_or(f64::NAN), bytes.as_f64().unwrap_or(f64::NAN) / 1024.0];
        let _ = writeln!(out, "| files and directories of the {name} | {:.1} | | {files:.0} |", files / many);
        let _ = writeln!(out, "| the {name}, KB on the disk | {:.1} | | {kb:.0} |", kb / many);
    }
    for set in ["told", "exact"] {
        for (kind, pair) in full["kernel"][set].as_object().into_iter().flatten() {
            let pair = numbers(pair);
            let [then, now] = pair[..] else { continue };
            let more = now - then;
            if more.abs() >= 1.0 {
                let _ = writeln!(out, "| {} | {:.1} | | {more:.0} |", named(kind), more / many);
            }
        }
    }
    out.push_str("\n| beside them | ms |\n|---|---:|\n");
    for (line, time) in full["commands"].as_object().into_iter().flatten() {
        let _ = writeln!(out, "| `{line}` | {:.1} |", time.as_f64().unwrap_or(f64::NAN));
    }
}

/// What is there before, and when all are gone.
fn left(out: &mut String, figures: &Value) {
    let seconds = |key: &str| figures[key].as_f64().unwrap_or(f64::NAN);
    let _ = write!(
        out,
        "\n`rm -f` of all {}: {:.1} s. Then {} × `run --rm busybox true`, eight at a time: {:.0} s.\n\n\
         | | before | when all are removed | after the loop |\n|---|---:|---:|---:|\n",
        figures["at_once"],
        seconds("remove"),
        figures["in_a_row"],
        seconds("loop"),
    );
    for set in ["exact", "told"] {
        for (kind, pair) in figures["removed"][set].as_object().into_iter().flatten() {
            let after = numbers(&figures["looped"][set][kind]);
            let (pair, after) = (numbers(pair), after.get(1).copied().unwrap_or(f64::NAN));
            let [before, removed] = pair[..] else { continue };
            let _ = writeln!(out, "| {} | {before} | {removed} | {after} |", named(kind));
        }
    }
}

/// A kind of thing, by its name in a table.
fn named(kind: &str) -> String {
    match kind {
        "mount" => "mounts of the engine's namespace".into(),
        "nft" => "firewall rules, sets, elements".into(),
        "cgroup" => "directories of groups, all hierarchies".into(),
        "file" => "files of the engine's (leases, ids, names, state, data)".into(),
        "directory" => "directories of the engine's".into(),
        "link" | "address" | "route" | "process" | "device" | "name" => {
            let plural = if kind == "process" || kind == "address" { "es" } else { "s" };
            format!("{kind}{plural}{}", if kind == "name" { " in /run/netns" } else { "" })
        }
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_tables() {
        let level = |running: u64, time: f64| serde_json::json!({ "running": running, "median": time, "p10": time, "remove": 1.0, "cpu": time * 2.0 });
        let kinds = serde_json::json!({ "exact": { "mount": [3, 3] }, "told": { "Slab, KB": [100, 101] } });
        let figures = serde_json::json!({
            "at_once": 1000, "in_a_row": 10000, "starts": [1.0], "levels": [level(0, 10.0), level(999, 14.0)],
            "full": { "pss": { "median": 300.4, "most": 310.0, "sum": 300_400.0 }, "kernel": kinds }, "remove": 1.0, "loop": 2.0,
            "removed": kinds, "looped": kinds,
        });
        let text = tables(&figures).unwrap();
        assert!(text.contains("| 999 | 14.0 | 14.0 | 28.0 | 1.40 | 1.40 | 1.0 |"), "{text}");
        assert!(text.contains("first: 1.40 (goal 1.25): **not reached**"), "{text}");
        assert!(text.contains("| mounts of the engine's namespace | 3 | 3 | 3 |"), "{text}");
        assert_eq!(
            replaced("a\n<!-- scale -->\nold\n<!-- end scale -->\nb", "new\n").unwrap(),
            "a\n<!-- scale -->\nnew\n<!-- end scale -->\nb"
        );
    }
}
