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
    engine::nearest(typed, known).map_or_else(String::new, |word| format!(" (did you mean '{word}'?)"))
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
    }

    #[test]
    fn help_fits_a_terminal() {
        for line in overview().lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}
