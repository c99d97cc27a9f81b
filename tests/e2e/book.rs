//! The book's chapters (docs/learn): every command in them is run, and answers what is printed there.
//!
//! A block begins with ```` ```console ````; `$ ` begins a command, all else is its output. `…` stands for any text in a line, and, on a
//! line of its own, for any lines. The commands of a chapter share one shell.

use e2e::{Background, Sandbox, binary};
use std::process::{Command, Stdio};

/// A command, and what it is said to print.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(kind) => inside = kind == "console",
            None if !inside => {}
            None => match (line.strip_prefix("$ "), all.last_mut()) {
                (Some(command), _) => {
                    all.push(Shown { line: number + 1, command: command.to_owned(), output: Vec::new() });
                }
                (None, Some(last)) => last.output.push(line.to_owned()),
                (None, None) => panic!("line {}: output of no command", number + 1),
            },
        }
    }
    all
}

/// Whether a line is as the pattern says.
fn is_like(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (i, part) in parts.iter().enumerate() {
        if i + 1 == parts.len() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

/// The same for all lines; a line that is `…` is any number of them.
fn are_like(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|n| are_like(rest, &lines[n..]))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, after)| is_like(first, line.trim_end()) && are_like(rest, after)),
    }
}

/// Runs a chapter in a sandbox where the test image is called as in the book.
fn check(name: &str, text: &str) {
    let s = Sandbox::with(&["busybox"]);
    let shown = shown(text);
    assert!(shown.len() > 3, "{name}: where are the commands?");
    let mark = |number: usize| format!("\u{1}{number}\u{1}");
    let mut script = format!("corten() {{ '{}' \"$@\"; }}\nexec 2>&1\n", binary().display());
    for (number, shown) in shown.iter().enumerate() {
        script.push_str(&format!("printf '%s\\n' '{}'\n{}\n", mark(number), shown.command));
    }
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(&s.dir).stdin(Stdio::null());
    for (key, value) in s.command("").get_envs() {
        value.map(|value| command.env(key, value));
    }
    let output = Background::start(name, &mut command).wait();
    for (number, shown) in shown.iter().enumerate() {
        let after = output.stdout.split(&format!("{}\n", mark(number))).nth(1).unwrap_or_default();
        let got = after.split('\u{1}').next().unwrap_or_default();
        let lines: Vec<&str> = got.lines().collect();
        let expected = shown.output.join("\n");
        assert!(
            are_like(&shown.output, &lines),
            "{name}:{}: $ {}\n--- the book\n{expected}\n--- the truth\n{got}\n--- all\n{}",
            shown.line,
            shown.command,
            output.stdout
        );
    }
    s.end();
}

macro_rules! chapters {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            check(concat!("docs/learn/", stringify!($name), ".md"), include_str!(concat!("../../docs/learn/", stringify!($name), ".md")));
        })*

        /// A chapter that is in the table of contents and not here would not be checked.
        #[test]
        fn all_chapters_are_checked_and_all_pages_are_there() {
            let known = [$(stringify!($name)),*];
            let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
            let summary = include_str!("../../docs/SUMMARY.md");
            for part in summary.split("](").skip(1) {
                let page = part.split(')').next().unwrap();
                if std::path::Path::new(docs).exists() {
                    assert!(std::path::Path::new(docs).join(page).exists(), "{page}");
                }
                if let Some(chapter) = page.strip_prefix("learn/").filter(|page| *page != "README.md") {
                    assert!(known.contains(&chapter.trim_end_matches(".md")), "{chapter}");
                }
            }
        }
    };
}

chapters!(namespaces, overlay, network, cgroups, container, security);

#[test]
fn patterns_are_what_they_say() {
    assert!(is_like("a…c", "abbc") && is_like("a…c", "ac") && !is_like("a…c", "acd"));
    assert!(is_like("plain", "plain") && !is_like("plain", "plainer"));
    let all = |patterns: &[&str], lines: &[&str]| {
        are_like(&patterns.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>(), lines)
    };
    assert!(all(&["…", "b", "…"], &["a", "b", "c"]) && !all(&["…", "b"], &["a", "b", "c"]));
    assert!(all(&["…"], &[]) && all(&[], &[]) && !all(&[], &["a"]));
    let text = "x\n```console\n$ one\nout\n$ two\n```\n```sh\n$ not\n```\n";
    let shown = shown(text);
    assert_eq!((shown.len(), shown[0].output.len(), &*shown[1].command), (2, 1, "two"));
}
