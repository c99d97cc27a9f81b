//! `corten __complete`: what could stand where somebody types, a line each, with a tab and what it is behind it. Scripts of shells ask it
//! (completion/). It changes nothing and has no errors: who completes wants no answer rather than a wrong one.

mod values;

use super::args::{Definition, describe};
use super::{COMMANDS, Command, Context, GROUPS, Outcome, alias, options_help, print};
use clap::Arg;

/// What is offered: the word, and what it is (or nothing).
pub type Offer = (String, String);

/// What could come.
#[derive(Debug, PartialEq, Eq)]
pub enum Offers {
    Words(Vec<Offer>),
    /// The shell's own names of files.
    Files,
}

/// `__complete line 'corten run --na'`, `__complete words run --na`
pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let mut words = match words.split_first() {
        Some((how, rest)) if how == "line" => {
            let line = rest.first().map_or("", String::as_str);
            split(line).into_iter().skip(1).collect()
        }
        Some((_, rest)) => rest.to_vec(),
        None => return Ok(0),
    };
    let last = words.pop().unwrap_or_default();
    let text = match offers(context, &words, &last) {
        Offers::Files => ":files\n".to_owned(),
        Offers::Words(mut found) => {
            found.sort();
            let fit = found.into_iter().filter(|(word, _)| word.starts_with(&last));
            fit.map(
                |(word, what)| {
                    if what.is_empty() { format!("{word}\n") } else { format!("{word}\t{what}\n") }
                },
            )
            .collect()
        }
    };
    print(&text)?;
    Ok(0)
}

fn offers(context: &Context, words: &[String], last: &str) -> Offers {
    let mut context = context.clone();
    let mut at = 0;
    // What stands before the command.
    while let Some(word) = words.get(at) {
        let (flag, attached) = word.split_once('=').map_or((word.as_str(), None), |(f, v)| (f, Some(v)));
        let value = attached.or_else(|| words.get(at + 1).map(String::as_str));
        match (flag, value) {
            ("--root" | "--state", None) => return Offers::Files,
            ("--root", Some(dir)) => context.root = dir.into(),
            ("--state", Some(dir)) => context.state = dir.into(),
            _ if word.starts_with('-') => {}
            _ => break,
        }
        at += if attached.is_none() && matches!(flag, "--root" | "--state") { 2 } else { 1 };
    }
    let mut rest = &words[at.min(words.len())..];
    if rest.first().is_some_and(|word| word == "help") {
        rest = &rest[1..];
    }
    let Some((name, rest)) = rest.split_first() else { return Offers::Words(top(last)) };
    if let Some(command) = COMMANDS.iter().find(|c| c.name == name) {
        return of_command(&context, command.name, command, rest, last);
    }
    let Some((group, _, commands)) = GROUPS.iter().find(|(group, ..)| group == name) else {
        return Offers::Words(Vec::new());
    };
    let Some((word, rest)) = rest.split_first() else { return Offers::Words(listed(commands)) };
    let wanted = alias(group, word).unwrap_or(word);
    match commands.iter().find(|c| c.name == wanted) {
        Some(command) => of_command(&context, &format!("{group} {wanted}"), command, rest, last),
        None => Offers::Words(Vec::new()),
    }
}

fn listed(commands: &[Command]) -> Vec<Offer> {
    commands.iter().map(|c| (c.name.to_owned(), c.about.to_owned())).collect()
}

fn top(last: &str) -> Vec<Offer> {
    if last.starts_with('-') {
        let flags = ["--root", "--state", "--help", "--version"];
        return flags.iter().map(|flag| ((*flag).to_owned(), String::new())).collect();
    }
    let mut all = listed(COMMANDS);
    all.extend(GROUPS.iter().map(|(name, about, _)| ((*name).to_owned(), (*about).to_owned())));
    all.push(("help".to_owned(), "Say how a command is used".to_owned()));
    all
}

fn of_command(context: &Context, name: &str, command: &Command, words: &[String], last: &str) -> Offers {
    let Some(definition) = describe(name, command.run) else { return Offers::Words(Vec::new()) };
    let typed = Typed::read(&definition, words);
    if let Some(flag) = typed.open {
        return values::of_flag(context, name, flag, last);
    }
    if typed.flags && last.starts_with("--") && last.contains('=') {
        let (long, value) = last.split_once('=').unwrap_or((last, ""));
        let Some(flag) = find_long(&definition, &long[2..]) else { return Offers::Words(Vec::new()) };
        return match values::of_flag(context, name, flag, value) {
            Offers::Files => Offers::Files,
            Offers::Words(all) => {
                Offers::Words(all.into_iter().map(|(word, what)| (format!("{long}={word}"), what)).collect())
            }
        };
    }
    if typed.flags && last.starts_with('-') {
        return Offers::Words(flags(&definition, last));
    }
    values::of_place(context, name, definition.usage, &typed.places, last)
}

/// All flags that are shown; single letters only to who types one.
fn flags(definition: &Definition, last: &str) -> Vec<Offer> {
    let shown = definition.flags.get_arguments().filter(|arg| !arg.is_hide_set() && !arg.is_positional());
    let mut all: Vec<Offer> = Vec::new();
    for arg in shown {
        let what = options_help::told(arg);
        if let Some(long) = arg.get_long() {
            all.push((format!("--{long}"), what.clone()));
        }
        if let Some(short) = arg.get_short().filter(|_| last.len() == 2 && !last.starts_with("--")) {
            all.push((format!("-{short}"), what));
        }
    }
    all
}

fn find_long<'a>(definition: &'a Definition, long: &str) -> Option<&'a Arg> {
    let has = |arg: &&Arg| {
        arg.get_long() == Some(long) || arg.get_all_aliases().unwrap_or_default().contains(&long)
    };
    definition.flags.get_arguments().find(has)
}

/// What has been typed before the last word.
struct Typed<'a> {
    /// The words that are no flags.
    places: Vec<String>,
    /// A flag that waits for its value.
    open: Option<&'a Arg>,
    /// A flag may still come.
    flags: bool,
}

impl<'a> Typed<'a> {
    fn read(definition: &'a Definition, words: &[String]) -> Typed<'a> {
        let mut typed = Typed { places: Vec::new(), open: None, flags: true };
        let own_words = definition.flags.get_arguments().any(Arg::is_trailing_var_arg_set);
        for word in words {
            if typed.open.take().is_some() {
                continue;
            }
            if !typed.flags || !word.starts_with('-') || word == "-" {
                typed.places.push(word.clone());
                typed.flags &= !own_words;
            } else if word == "--" {
                typed.flags = false;
            } else if let Some(long) = word.strip_prefix("--") {
                typed.open = find_long(definition, long).filter(|arg| waits(arg));
            } else {
                typed.open = last_letter(definition, word);
            }
        }
        typed
    }
}

/// Whether the next word is its value.
fn waits(arg: &Arg) -> bool {
    options_help::value_name(arg).is_some() && !arg.is_require_equals_set()
}

/// `-itv`: the flag that the next word belongs to.
fn last_letter<'a>(definition: &'a Definition, word: &str) -> Option<&'a Arg> {
    let mut letters = word[1..].chars().peekable();
    while let Some(letter) = letters.next() {
        let arg = definition.flags.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
        if waits(arg) {
            return letters.peek().is_none().then_some(arg);
        }
    }
    None
}

/// The words of a line as a shell would take them, the last one as far as it goes.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut chars = line.chars();
    let mut within = false;
    while let Some(c) = chars.next() {
        let end = words.len() - 1;
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => {
                if within {
                    words.push(String::new());
                }
                within = false;
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => words[end].extend(chars.next()),
            _ => words[end].push(c),
        }
        within = true;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let context = Context {
            root: "/nowhere".into(),
            state: "/nowhere".into(),
            command: String::new(),
            ..Context::default()
        };
        let mut words = split(line);
        let last = words.pop().unwrap_or_default();
        match offers(&context, &words, &last) {
            Offers::Files => vec![":files".to_owned()],
            Offers::Words(all) => {
                all.into_iter().map(|(word, _)| word).filter(|word| word.starts_with(&last)).collect()
            }
        }
    }

    #[test]
    fn words_are_split_as_a_shell_does() {
        assert_eq!(split("a  'b c' d\\ e \"f\\\"g\" h"), ["a", "b c", "d e", "f\"g", "h"]);
        assert_eq!(split("a "), ["a", ""]);
        assert_eq!(split("a 'b"), ["a", "b"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn commands_and_families() {
        assert_eq!(offered("ru"), ["run"]);
        assert_eq!(offered("--root /x volume cr"), ["create"]);
        assert_eq!(offered("volume c"), ["create"]);
        assert_eq!(offered("help vol"), ["volume"]);
        assert_eq!(offered("nosuch "), [""; 0]);
        assert_eq!(offered("--root "), [":files"]);
    }

    #[test]
    fn flags_and_their_values() {
        assert_eq!(offered("run --deta"), ["--detach", "--detach-keys"]);
        assert_eq!(offered("run -d"), ["-d"]);
        assert_eq!(offered("run --restart on"), ["on-failure"]);
        assert_eq!(offered("run --restart=un"), ["--restart=unless-stopped"]);
        assert_eq!(offered("run -dit --pull ne"), ["never"]);
        assert_eq!(offered("run --cap-add net_"), [""; 0]);
        assert_eq!(offered("run --cap-add NET_A"), ["NET_ADMIN"]);
        assert_eq!(offered("run -v /etc"), [":files"]);
        assert_eq!(offered("run --cidfile x"), [":files"]);
        assert_eq!(offered("run --name x --rm -it @h"), ["@host"]);
        // The program's own words are files, and its flags are not ours.
        assert_eq!(offered("run @host ls "), [":files"]);
        assert_eq!(offered("run @host ls --deta"), [":files"]);
        assert_eq!(offered("kill -s HU"), ["HUP"]);
        assert_eq!(offered("completion f"), ["fish"]);
        assert_eq!(offered("load -i x"), [":files"]);
    }

    #[test]
    fn every_command_says_what_it_takes() {
        let all = COMMANDS.iter().map(|c| (c.name.to_owned(), c));
        let families = GROUPS.iter().flat_map(|(group, _, commands)| {
            commands.iter().map(move |c| (format!("{group} {}", c.name), c))
        });
        for (name, command) in all.chain(families) {
            let definition = describe(&name, command.run).unwrap_or_else(|| panic!("{name} parses nothing"));
            definition.flags.debug_assert();
        }
    }
}
