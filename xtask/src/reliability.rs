//! `cargo xtask reliability`: the tests of crashes and faults at every one of their points, where the ordinary tests try some by chance,
//! and the tables that come of it, in `docs/reliability.md`.

use crate::{shell, test};
use anyhow::Context;
use std::fs;

const PAGE: &str = "docs/reliability.md";

/// The tables in the page. The module of the tests that each comes from is called as it is.
const TABLES: [&str; 4] = ["crash", "faults", "power", "races"];

/// `chosen`: tables, or parts of one by the names of their tests (`faults::stop`); none: all.
pub fn run(chosen: &[String]) -> anyhow::Result<()> {
    let table = |word: &str| word.split("::").next().unwrap_or_default().to_owned();
    for word in chosen {
        let known = TABLES.contains(&table(word).as_str());
        anyhow::ensure!(
            known,
            "no such table: {word} (crash, faults, power, races, or a test, as faults::stop)"
        );
    }
    let all = TABLES.map(str::to_owned);
    let chosen = if chosen.is_empty() { &all[..] } else { chosen };
    let (corten, images) = (test::corten()?, test::images()?);
    let directory = test::target().join("reliability");
    let mut failed = Vec::new();
    let threads = (2 * std::thread::available_parallelism()?.get()).to_string();
    for name in TABLES {
        let words: Vec<&String> = chosen.iter().filter(|word| table(word) == name).collect();
        if words.is_empty() {
            continue;
        }
        let whole = words.iter().any(|word| *word == name);
        let tests = match whole {
            true => vec![format!("{name}::")],
            false => words.into_iter().cloned().collect(),
        };
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
            // They wait for the kernel half of the time.
            "--test-threads",
            &threads,
        ]);
        command.args(&tests);
        command.env("CORTEN_BIN", &corten).env("CORTEN_TEST_CACHE", &images);
        command.env("CORTEN_TEST_POINTS", "all").env("CORTEN_TEST_TABLES", &rows);
        if std::env::var_os("CORTEN_TEST_TRIES").is_none() {
            command.env("CORTEN_TEST_TRIES", "1000");
        }
        let passed = shell::run(&mut command);
        let mut all: Vec<_> = fs::read_dir(&rows)?.flatten().map(|entry| entry.path()).collect();
        all.sort();
        let text: String = all.iter().map(fs::read_to_string).collect::<Result<_, _>>()?;
        // Of a test that failed there is no row, and the old one stays.
        replace(name, &text, whole && passed.is_ok())?;
        failed.extend(passed.err().map(|_| name));
    }
    println!("written: {PAGE}");
    anyhow::ensure!(failed.is_empty(), "not all passed: {}", failed.join(", "));
    Ok(())
}

/// Puts rows into the page, between the line that ends the table's head and the next empty line after `<!-- table: NAME -->`; of a table that
/// was not made as a whole, those of other commands stay.
fn replace(name: &str, rows: &str, whole: bool) -> anyhow::Result<()> {
    let page = fs::read_to_string(PAGE)?;
    let missing = || format!("{PAGE} has no table {name}");
    let start = page.find(&format!("<!-- table: {name} -->")).with_context(missing)?;
    let head = page[start..].find("|---").with_context(missing)? + start;
    let first = page[head..].find('\n').with_context(missing)? + head + 1;
    let end = page[first..].find("\n\n").map_or(page.len(), |at| first + at + 1);
    // A table without rows yet.
    let end = if page[first..].starts_with('\n') { first } else { end };
    let cell = |row: &str| row.split(" | ").next().unwrap_or_default().to_owned();
    let mut all: Vec<&str> = rows.lines().collect();
    if !whole {
        let new: Vec<String> = rows.lines().map(cell).collect();
        all.extend(page[first..end].lines().filter(|row| !row.is_empty() && !new.contains(&cell(row))));
        all.sort_unstable();
    }
    let rows: String = all.iter().map(|row| format!("{row}\n")).collect();
    fs::write(PAGE, format!("{}{rows}{}", &page[..first], &page[end..]))?;
    Ok(())
}
