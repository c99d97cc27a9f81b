//! clap on Docker's terms: flags stop at the first word where a container's own command begins, booleans take `=false`,
//! a flag may be repeated, and mistakes are said in Docker's words.

use super::{Context, ENGINE, Failure, Outcome, options_help, print};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Args, Command};
use std::cell::RefCell;

/// What stands around a command's flags.
pub struct Shape {
    /// `[OPTIONS] IMAGE [COMMAND] [ARG...]`
    pub usage: &'static str,
    pub about: &'static str,
    /// How many words besides the flags there must be, and may be.
    pub words: (usize, usize),
}

/// What a command takes: for completion and man pages, which have no list of their own.
#[derive(Debug, Clone)]
pub struct Definition {
    pub usage: &'static str,
    pub about: &'static str,
    pub flags: Command,
}

thread_local! {
    /// `Some`: the next parse says what it would take, and the command goes no further.
    static ASKED: RefCell<Option<Option<Definition>>> = const { RefCell::new(None) };
}

/// Asks a command what it takes. Nothing is done: parsing is the first thing that each does.
pub fn describe(name: &str, main: fn(&Context, Vec<String>) -> Outcome) -> Option<Definition> {
    ASKED.with(|asked| *asked.borrow_mut() = Some(None));
    let context =
        Context { root: "/".into(), state: "/".into(), command: name.to_owned(), ..Context::default() };
    let _ = main(&context, Vec::new());
    ASKED.with(|asked| asked.borrow_mut().take().flatten())
}

/// Reads `words` as the flags `A`. `Err(Ok(code))` where the help was asked for and has been printed.
pub fn parse<A: Args>(context: &Context, shape: &Shape, words: Vec<String>) -> Result<A, Outcome> {
    if ASKED.with(|asked| asked.borrow().is_some()) {
        let flags = build::<A>();
        let definition = Definition { usage: shape.usage, about: shape.about, flags };
        ASKED.with(|asked| *asked.borrow_mut() = Some(Some(definition)));
        return Err(Ok(0));
    }
    let command = build::<A>().mut_args(boolean);
    // Only a mistake needs the names of all flags.
    let known = || -> Vec<String> {
        let command = build::<A>();
        let longs = command.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(|arg| arg.get_long());
        longs.map(|long| format!("--{long}")).collect()
    };
    let matches = match command.try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Err(print(&help::<A>(&context.command, shape)).map(|()| 0));
        }
        Err(error) => return Err(Err(refuse(&context.command, shape, &words, &error, &known()))),
    };
    let given = matches.try_get_raw(WORDS).ok().flatten().map_or(0, |raw| raw.len());
    count(&context.command, shape, given).map_err(Err)?;
    A::from_arg_matches(&matches).map_err(|e| Err(refuse(&context.command, shape, &words, &e, &known())))
}

/// The help of a command. It shows booleans as what they are; `--flag=false` is for scripts.
pub fn help<A: Args>(name: &str, shape: &Shape) -> String {
    let mut text = format!("Usage:  corten {name} {}", shape.usage).trim_end().to_owned();
    text.push_str("\n\n");
    text.push_str(&options_help::about(name, shape.about));
    text.push_str(&options_help::options(name, &build::<A>()));
    text
}

/// The name, in every command's struct, of the field that takes what is no flag.
const WORDS: &str = "words";

fn build<A: Args>() -> Command {
    let command = A::augment_args(Command::new("corten"));
    let short_taken = command.get_arguments().any(|a| a.get_short() == Some('h'));
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this");
    command
        .no_binary_name(true)
        .disable_help_flag(true)
        .args_override_self(true)
        .arg(if short_taken { help } else { help.short('h') })
        .mut_args(|arg| match arg.get_action() {
            // As in Docker, a flag that takes a value takes the next word whatever it looks like: `-t -1`.
            ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_hyphen_values(true),
            _ if arg.get_id() == WORDS => arg.hide(true),
            _ => arg,
        })
}

/// `--rm`, `--rm=true`, `--rm=false`.
fn boolean(arg: Arg) -> Arg {
    match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_parser(go_bool),
        _ => arg,
    }
}

pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

fn count(name: &str, shape: &Shape, given: usize) -> Result<(), Failure> {
    let (least, most) = shape.words;
    let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
    let message = if given >= least && given <= most {
        return Ok(());
    } else if most == 0 {
        format!("'corten {name}' accepts no arguments")
    } else if least == most {
        format!("'corten {name}' requires {least} {}", plural(least))
    } else if given < least {
        format!("'corten {name}' requires at least {least} {}", plural(least))
    } else {
        format!("'corten {name}' requires at most {most} {}", plural(most))
    };
    Err(Failure { usage: true, ..Failure::new(message) })
}

/// clap's error in Docker's words.
fn refuse(name: &str, shape: &Shape, words: &[String], error: &clap::Error, known: &[String]) -> Failure {
    let text = |kind: ContextKind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        _ => String::new(),
    };
    let argument = text(ContextKind::InvalidArg);
    let value = text(ContextKind::InvalidValue);
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let message = match error.kind() {
        ErrorKind::UnknownArgument if flag.starts_with("--") => {
            format!("unknown flag: {flag}{}", super::help::nearest(&flag, known))
        }
        ErrorKind::UnknownArgument if flag.starts_with('-') => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            let typed =
                words.iter().find(|w| !w.starts_with("--") && w.starts_with('-') && w.contains(letter));
            format!("unknown shorthand flag: '{letter}' in {}", typed.unwrap_or(&flag))
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => {
            return count(name, shape, usize::MAX).err().unwrap_or_else(|| Failure::flag(error.to_string()));
        }
        ErrorKind::InvalidValue if value.is_empty() => format!("flag needs an argument: {flag}"),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let cause = std::error::Error::source(error)
                .map_or_else(|| "invalid syntax".to_owned(), |e| e.to_string());
            format!("invalid argument \"{value}\" for \"{flag}\" flag: {cause}")
        }
        _ => {
            let all = error.to_string();
            let first = all.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    };
    Failure { code: ENGINE, message, usage: true }
}
