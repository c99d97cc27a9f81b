//! `cargo xtask tidy`: the house rules that no lint knows. Each is a function that adds what it dislikes to a list.

use crate::shell;
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// No source file is longer.
const LINES: usize = 600;

/// The one file of the engine that starts another program: `docker-credential-*`, which the user's configuration names.
const CREDENTIAL_HELPERS: &str = "crates/image/src/registry/helper.rs";
/// The dashboard starts this binary again, as its user would.
const DASHBOARD: &str = "crates/corten/src/ui/act.rs";

/// Lessons teach other people's programs, and run them.
const LESSONS: &str = "crates/corten/src/lab/shell.rs";
/// And the one that runs the script that `explain --verify` has printed.
const VERIFY: &str = "crates/corten/src/verify/hand.rs";

/// What each crate of the engine may import of the others: the arrows of ARCHITECTURE.md, all of them downwards.
const IMPORTS: &[(&str, &[&str])] = &[
    ("kernel", &[]),
    ("steps", &["kernel"]),
    ("image", &["steps", "kernel"]),
    ("network", &["steps", "kernel"]),
    ("runtime", &["steps", "kernel"]),
    ("engine", &["image", "network", "runtime", "steps", "kernel"]),
    ("corten", &["engine", "image", "network", "runtime", "steps", "kernel"]),
];

pub fn run() -> anyhow::Result<()> {
    let mut faults = Vec::new();
    for path in sources(&shell::root())? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = path.strip_prefix(shell::root())?;
        file(path, &text, &mut faults);
    }
    imports(&mut faults)?;
    holes(&mut faults)?;
    if !faults.is_empty() {
        bail!("house rules broken:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

/// The Rust files of the workspace.
fn sources(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            if !name.starts_with('.') && name != "target" {
                found.extend(sources(&entry.path())?);
            }
        } else if name.ends_with(".rs") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The rules for one file.
fn file(path: &Path, text: &str, faults: &mut Vec<String>) {
    let mut fault = |line: usize, what: &str| faults.push(format!("{}:{line}: {what}", path.display()));
    let count = text.lines().count();
    if count > LINES {
        fault(count, &format!("more than {LINES} lines: which idea in it wants its own file?"));
    }
    if !text.starts_with("//!") {
        fault(1, "the first line has to say what belongs in this module, as a `//!` comment");
    }
    // What builds a crate is not the engine; the init of containers is a program of its own, without a library.
    let engine = path.starts_with("crates") && !path.ends_with("build.rs");
    let kernel = path.starts_with("crates/kernel") || path.starts_with("crates/runtime/init");
    // Tests may start programs; they are at the bottom of a file, or in files and folders of their own.
    let tests = text.lines().position(|l| l.trim_start().starts_with("#[cfg(test)]")).unwrap_or(count);
    let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches");
    for (i, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or("");
        // Put together here, or this file would break its own rule.
        for left_open in [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ig", "nore]")] {
            if code.contains(left_open) {
                fault(i + 1, &format!("`{left_open}` is left open"));
            }
        }
        let helpers = [CREDENTIAL_HELPERS, DASHBOARD, LESSONS, VERIFY];
        let helper = helpers.iter().any(|file| path == Path::new(file));
        if engine && !is_test && !helper && i < tests && code.contains("process::Command") {
            fault(i + 1, "the engine runs no other program: it prints shell, it never runs it");
        }
        let marks = [concat!("unsafe", " {"), concat!("unsafe", " fn"), concat!("unsafe", " impl")];
        if !kernel && marks.iter().any(|mark| code.contains(mark)) {
            fault(i + 1, "`unsafe` belongs in the crate kernel");
        }
    }
}

/// Every test and file that docs/security.md names is there, and every test that is named after a hole is in it.
fn holes(faults: &mut Vec<String>) -> anyhow::Result<()> {
    const PAGE: &str = "docs/security.md";
    let root = shell::root();
    let page = fs::read_to_string(root.join(PAGE)).with_context(|| format!("cannot read {PAGE}"))?;
    let mut functions = Vec::new();
    for path in sources(&root)? {
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        let names = text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")?.split('(').next());
        functions.extend(names.map(|name| format!("{module}::{name}")));
    }
    let exists = |path: &str| root.join(path).exists();
    faults.extend(named(&page, &functions, exists).into_iter().map(|fault| format!("{PAGE}: {fault}")));
    Ok(())
}

fn named(page: &str, functions: &[String], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let words: Vec<&str> = page.split('`').skip(1).step_by(2).collect();
    let is_test = |word: &&&str| word.contains("::") && !word.contains([' ', '(']);
    let last_two = |word: &str| {
        word.rsplitn(3, "::").take(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("::")
    };
    let tests: Vec<String> = words.iter().filter(is_test).map(|word| last_two(word)).collect();
    let missing =
        tests.iter().filter(|test| !functions.contains(test)).map(|test| format!("there is no test {test}"));
    let of_a_hole = |function: &&String| function.contains("::cve_") || function.contains("::ghsa_");
    let untold = functions.iter().filter(of_a_hole).filter(|function| !tests.contains(function));
    let untold = untold.map(|function| format!("does not name the test {function}"));
    let paths = words.iter().filter(|word| word.starts_with("crates/") || word.starts_with("tests/"));
    let gone = paths.filter(|path| !exists(path)).map(|path| format!("there is no {path}"));
    missing.chain(untold).chain(gone).collect()
}

/// The dependencies between the crates, as their Cargo.toml say.
fn imports(faults: &mut Vec<String>) -> anyhow::Result<()> {
    let names: Vec<&str> = IMPORTS.iter().map(|(name, _)| *name).collect();
    for entry in fs::read_dir(shell::root().join("crates"))? {
        let manifest = entry?.path().join("Cargo.toml");
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let directory = manifest.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let Some((name, allowed)) = IMPORTS.iter().find(|(name, _)| *name == directory) else {
            faults.push(format!(
                "crates/{directory}: not in the table of import directions (xtask/src/tidy.rs)"
            ));
            continue;
        };
        for other in dependencies(&text) {
            if names.contains(&other) && !allowed.contains(&other) {
                faults.push(format!("crates/{name}: must not know {other}"));
            }
        }
    }
    Ok(())
}

/// The names in the `[dependencies]` section: a line each.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or("");
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    lines.filter_map(|line| line.split(['.', '=', ' ']).next()).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, text: &str) -> Vec<String> {
        let mut faults = Vec::new();
        file(Path::new(path), text, &mut faults);
        faults
    }

    #[test]
    fn a_good_file_has_no_faults() {
        assert_eq!(faults("crates/image/src/x.rs", "//! What.\n\nfn f() {}\n"), Vec::<String>::new());
    }

    #[test]
    fn each_rule_is_checked() {
        assert_eq!(faults("crates/image/src/x.rs", "fn f() {}\n").len(), 1);
        assert_eq!(faults("crates/image/src/x.rs", &format!("//! What.\n{}", "\n".repeat(LINES))).len(), 1);
        assert_eq!(faults("crates/image/src/x.rs", "//! What.\nuse std::process::Command;\n").len(), 1);
        assert_eq!(faults("tests/src/x.rs", "//! What.\nuse std::process::Command;\n").len(), 0);
        assert_eq!(faults(CREDENTIAL_HELPERS, "//! What.\nuse std::process::Command;\n").len(), 0);
        let dangerous = format!("//! What.\nfn f() {{ {} g() }} }}\n", concat!("unsafe", " {"));
        assert_eq!(faults("crates/steps/src/x.rs", &dangerous).len(), 1);
        assert_eq!(faults("crates/kernel/src/x.rs", &dangerous).len(), 0);
        let open = concat!("//! What.\nfn f() { todo", "!() }\n");
        assert_eq!(faults("crates/kernel/src/x.rs", open).len(), 1);
    }

    #[test]
    fn tests_of_holes_and_their_page_agree() {
        let functions = ["a::cve_1_x", "a::cve_2_y", "b::other"].map(String::from);
        let faults = |page: &str| named(page, &functions, |path| path == "crates/a.rs");
        assert!(faults("`e2e::a::cve_1_x`, `a::cve_2_y`, `b::other` in `crates/a.rs`, `--flag`").is_empty());
        assert_eq!(faults("`a::cve_1_x`"), ["does not name the test a::cve_2_y"]);
        let all = "`a::cve_1_x` `a::cve_2_y`";
        assert_eq!(faults(&format!("{all} `a::nosuch`")), ["there is no test a::nosuch"]);
        assert_eq!(faults(&format!("{all} `crates/b.rs`")), ["there is no crates/b.rs"]);
    }

    #[test]
    fn commands_in_unit_tests_are_fine() {
        let text = "//! What.\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use std::process::Command;\n}\n";
        assert_eq!(faults("crates/steps/src/x.rs", text), Vec::<String>::new());
    }

    #[test]
    fn dependencies_are_read_from_their_section_only() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\nkernel.workspace = true\nlibc = \"1\"\n\n[dev-dependencies]\nengine = \"1\"\n";
        assert_eq!(dependencies(manifest).collect::<Vec<_>>(), ["kernel", "libc"]);
    }
}
