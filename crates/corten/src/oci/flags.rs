//! Flags as runc's command line takes them: one dash is as good as two.

use super::Context;
use crate::cli::{self, Outcome, args::Shape};
use clap::{Arg, ArgAction, Args, Command};

/// Reads `words` as the flags `A`. `Err(Ok(code))` where the help was asked for and has been printed.
pub fn parse<A: Args>(context: &Context, shape: &Shape, words: Vec<String>) -> Result<A, Outcome> {
    cli::parse(&context.cli, shape, with_two_dashes(&A::augment_args(Command::new("corten")), words))
}

/// `-pid-file` becomes `--pid-file`, as far as flags go.
fn with_two_dashes(command: &Command, mut words: Vec<String>) -> Vec<String> {
    // Behind its first word everything is the program's.
    let ends = command.get_arguments().any(Arg::is_trailing_var_arg_set);
    let mut rest = words.iter_mut();
    while let Some(word) = rest.next() {
        let name = word.trim_start_matches('-');
        let (dashes, (name, attached)) =
            (word.len() - name.len(), name.split_once('=').map_or((name, false), |(name, _)| (name, true)));
        if word == "--" || dashes == 0 && ends {
            break;
        }
        let is = |arg: &&Arg| match (dashes, name.chars().count()) {
            (0, _) => false,
            (1, 1) => arg.get_short() == name.chars().next(),
            _ => arg.get_long() == Some(name),
        };
        let Some(arg) = command.get_arguments().find(is) else { continue };
        let waits = takes_a_word(arg) && !attached;
        if dashes == 1 && name.len() > 1 {
            word.insert(0, '-');
        }
        if waits {
            rest.next();
        }
    }
    words
}

fn takes_a_word(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
        && arg.get_num_args().is_none_or(|range| range.min_values() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dash_is_as_good_as_two() {
        let flags = |line: &str, ends: bool| {
            let command = Command::new("x").args([
                Arg::new("pid-file").long("pid-file").short('p'),
                Arg::new("tty").long("tty").short('t').action(ArgAction::SetTrue),
                Arg::new("words").num_args(0..).trailing_var_arg(ends),
            ]);
            with_two_dashes(&command, line.split(' ').map(str::to_owned).collect()).join(" ")
        };
        assert_eq!(flags("-pid-file x -tty id", true), "--pid-file x --tty id");
        assert_eq!(
            flags("-pid-file=x --tty=false -tty=true id", true),
            "--pid-file=x --tty=false --tty=true id"
        );
        // What a flag is given is no flag, and neither is what the program is given.
        assert_eq!(flags("-p -tty -pid-file -tty id", true), "-p -tty --pid-file -tty id");
        assert_eq!(flags("id -tty", true), "id -tty");
        assert_eq!(flags("id -tty -- -tty", false), "id --tty -- -tty");
        // Letters together, and what nobody knows.
        assert_eq!(flags("-tp x -fly", true), "-tp x -fly");
    }
}
