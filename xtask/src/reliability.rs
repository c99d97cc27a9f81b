//! `cargo xtask reliability`: the tests of crashes and faults at every one of their points, where the ordinary tests try some by chance,
//! and the tables that come of it, in `docs/reliability.md`.

use crate::{shell, test};
use anyhow::Context;
use std::fs;

const PAGE: &str = "docs/reliability.md";

/// A table in the page, the tests that it comes from, and the first cells of their rows' files.
const TABLES: &[(&str, &str)] =
    &[("crash", "crash::"), ("faults", "faults::"), ("power", "power::"), ("races", "races::")];

pub fn run(chosen: &[String]) -> anyhow::Result<()> {
    for name in chosen {
        anyhow::ensure!(
            TABLES.iter().any(|t| t.0 == name),
            "no such table: {name} (crash, faults, power, races)"
        );
    }
    let (corten, images) = (test::corten()?, test::images()?);
    let directory = test::target().join("reliability");
    for (name, tests) in TABLES.iter().filter(|t| chosen.is_empty() || chosen.iter().any(|c| c == t.0)) {
        let rows = directory.join(name);
        let _ = fs::remove_dir_all(&rows);
        fs::create_dir_all(&rows)?;
        let mut command = shell::cargo();
        // Not nextest: it would end what takes minutes.
        command.args([
            "test",
            "--package",
            "e2e",
            "--test",
            "e2e",
            "--",
            "--include-ignored",
            "--test-threads",
            "2",
            tests,
        ]);
        command.env("CORTEN_BIN", &corten).env("CORTEN_TEST_CACHE", &images);
        command.env("CORTEN_TEST_POINTS", "all").env("CORTEN_TEST_TABLES", &rows);
        if std::env::var_os("CORTEN_TEST_TRIES").is_none() {
            command.env("CORTEN_TEST_TRIES", "1000");
        }
        shell::run(&mut command)?;
        let mut all: Vec<_> = fs::read_dir(&rows)?.flatten().map(|entry| entry.path()).collect();
        all.sort();
        let text: String = all.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
        replace(name, &text)?;
    }
    println!("written: {PAGE}");
    Ok(())
}

/// Puts rows into the page, between the line that ends the table's head and the next empty line after `<!-- table: NAME -->`.
fn replace(name: &str, rows: &str) -> anyhow::Result<()> {
    let page = fs::read_to_string(PAGE)?;
    let missing = || format!("{PAGE} has no table {name}");
    let start = page.find(&format!("<!-- table: {name} -->")).with_context(missing)?;
    let head = page[start..].find("|---").with_context(missing)? + start;
    let first = page[head..].find('\n').with_context(missing)? + head + 1;
    let end = page[first..].find("\n\n").map_or(page.len(), |at| first + at + 1);
    // A table without rows yet.
    let end = if page[first..].starts_with('\n') { first } else { end };
    fs::write(PAGE, format!("{}{rows}{}", &page[..first], &page[end..]))?;
    Ok(())
}
