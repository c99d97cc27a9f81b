//! The pages that stand before any single command: what there is, by what one wants to do.

use super::{COMMANDS, Command, GROUPS};
use std::fmt::Write;

const HEAD: &str = "\
corten runs containers, and can say how: every step is a shell command that you could have typed.

Usage:  corten [--root DIR] [--state DIR] COMMAND

Try this first:
  corten run --rm -it @host bash          a shell in a container, with this machine's own files
  corten run --explain @host bash         the same, only told: each step and why

";

const FOOT: &str = "
Options:
  --root DIR    where images and containers are kept (CORTEN_ROOT; /var/lib/corten)
  --state DIR   what ends with the machine's power (CORTEN_STATE; /run/corten)
  --version     the version

'corten COMMAND --help' tells more about a command.
";

/// `corten help`
pub fn overview() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("Commands:\n");
    lines(&mut text, COMMANDS);
    text.push_str("\nFamilies of commands:\n");
    for (name, about, _) in GROUPS {
        let _ = writeln!(text, "  {name:<10}{about}");
    }
    text.push_str(FOOT);
    text
}

/// `corten container`
pub fn group(name: &str, about: &str, commands: &[Command]) -> String {
    let mut text = format!("Usage:  corten {name} COMMAND\n\n{about}\n\nCommands:\n");
    lines(&mut text, commands);
    let _ = writeln!(text, "\n'corten {name} COMMAND --help' tells more about a command.");
    text
}

fn lines(text: &mut String, commands: &[Command]) {
    for command in commands {
        let _ = writeln!(text, "  {:<11}{}", command.name, command.about);
    }
}

/// ` (did you mean 'ps'?)` where a command is close to what was typed.
pub fn suggestion(typed: &str) -> String {
    nearest(typed, COMMANDS.iter().map(|c| c.name))
}

/// The same of any words.
pub fn nearest<W: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = W>) -> String {
    let near = known.into_iter().min_by_key(|word| distance(typed, word.as_ref()));
    match near {
        Some(word) if distance(typed, word.as_ref()) <= (typed.len() / 3).min(2) => {
            format!(" (did you mean '{}'?)", word.as_ref())
        }
        _ => String::new(),
    }
}

/// How many letters must be changed, added, taken away or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_named() {
        assert_eq!(suggestion("inpsect"), " (did you mean 'inspect'?)");
        assert_eq!(suggestion("imgaes"), " (did you mean 'images'?)");
        assert_eq!(suggestion("rnu"), " (did you mean 'run'?)");
        assert_eq!(suggestion("foo"), "");
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in overview().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
