//! The command line that made a container, changed as `update` changes the container: what `inspect --as-run` prints is always the line that
//! would make it as it is.

use super::args::{Definition, describe};
use super::{options_help, run, update};
use crate::resolve;
use clap::Arg;

/// A flag as it was typed, or a word that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    words: Vec<String>,
    /// Its long name.
    flag: String,
    value: String,
}

/// `line`, which begins with `corten run` or `corten create`, after an update with the flags `changes`.
pub fn updated(line: &[String], changes: &[String]) -> Vec<String> {
    let (Some(taken), Some(known)) = (describe("run", run::main), describe("update", update::main)) else {
        return line.to_vec();
    };
    if line.len() < 2 {
        return line.to_vec();
    }
    let (mut flags, rest) = pieces(&taken, &line[2..]);
    for change in pieces(&known, changes).0 {
        apply(&mut flags, &change);
    }
    let flags = flags.into_iter().flat_map(|piece| piece.words);
    line[..2].iter().cloned().chain(flags).chain(rest).collect()
}

fn apply(flags: &mut Vec<Piece>, change: &Piece) {
    let name = |text: &str| text.split('=').next().unwrap_or_default().to_owned();
    let value = &change.value;
    let mut add = |flag: &str| {
        let words = vec![format!("--{flag}"), value.clone()];
        flags.push(Piece { words, flag: flag.to_owned(), value: value.clone() });
    };
    match change.flag.as_str() {
        "publish" => add("publish"),
        "unpublish" => flags.retain(|old| old.flag != "publish" || !same_port(&old.value, value)),
        "env" | "label" => {
            flags.retain(|old| old.flag != change.flag || name(&old.value) != name(value));
            let words = vec![format!("--{}", change.flag), value.clone()];
            flags.push(Piece { words, ..change.clone() });
        }
        "env-rm" => flags.retain(|old| old.flag != "env" || name(&old.value) != *value),
        "label-rm" => flags.retain(|old| old.flag != "label" || name(&old.value) != *value),
        "mount-rm" => {
            let target = engine::clean_path(value);
            flags.retain(|old| target_of(old).as_ref() != Some(&target));
        }
        "mount-add" => add(if resolve::is_long_mount(value) { "mount" } else { "volume" }),
        // The last one counts.
        other => {
            flags.retain(|old| old.flag != other);
            flags.push(change.clone());
        }
    }
}

fn same_port(one: &str, other: &str) -> bool {
    one == other || network::ports::parse(one).ok() == network::ports::parse(other).ok()
}

/// Where a flag mounts something.
fn target_of(piece: &Piece) -> Option<String> {
    let mount = match piece.flag.as_str() {
        "volume" | "mount" => resolve::mount_of(&piece.value).ok()?,
        "tmpfs" => return Some(engine::clean_path(piece.value.split(':').next().unwrap_or_default())),
        _ => return None,
    };
    Some(mount.target)
}

/// The flags of a line, and the words from the first on that is none. Letters that were typed together come apart where one has a value.
fn pieces(definition: &Definition, words: &[String]) -> (Vec<Piece>, Vec<String>) {
    let takes = |arg: &Arg| options_help::value_name(arg).is_some();
    let own_words = definition.flags.get_arguments().any(Arg::is_trailing_var_arg_set);
    let mut found = Vec::new();
    let mut rest = words.iter().cloned();
    let mut others = Vec::new();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') || word == "-" || word == "--" {
            others.push(word);
            if own_words {
                break;
            }
            continue;
        }
        if let Some(long) = word.strip_prefix("--") {
            let (long, attached) =
                long.split_once('=').map_or((long, None), |(l, v)| (l, Some(v.to_owned())));
            let arg = definition.flags.get_arguments().find(|arg| {
                arg.get_long() == Some(long) || arg.get_all_aliases().unwrap_or_default().contains(&long)
            });
            let flag = arg.and_then(Arg::get_long).unwrap_or(long).to_owned();
            let waits =
                arg.is_some_and(|arg| takes(arg) && !arg.is_require_equals_set()) && attached.is_none();
            let next = if waits { rest.next() } else { None };
            let value = attached.or_else(|| next.clone()).unwrap_or_default();
            found.push(Piece { words: std::iter::once(word.clone()).chain(next).collect(), flag, value });
            continue;
        }
        let mut plain = String::new();
        for (at, letter) in word.char_indices().skip(1) {
            let arg = definition.flags.get_arguments().find(|arg| arg.get_short() == Some(letter));
            let Some(arg) = arg.filter(|arg| takes(arg)) else {
                plain.push(letter);
                continue;
            };
            let attached = word[at + letter.len_utf8()..].trim_start_matches('=');
            let value =
                if attached.is_empty() { rest.next().unwrap_or_default() } else { attached.to_owned() };
            let flag = arg.get_long().unwrap_or_default().to_owned();
            if !plain.is_empty() {
                let words = vec![format!("-{}", std::mem::take(&mut plain))];
                found.push(Piece { words, flag: String::new(), value: String::new() });
            }
            found.push(Piece { words: vec![format!("-{letter}"), value.clone()], flag, value });
            break;
        }
        if !plain.is_empty() {
            found.push(Piece { words: vec![format!("-{plain}")], flag: String::new(), value: String::new() });
        }
    }
    others.extend(rest);
    (found, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str, changes: &str) -> String {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        updated(&words(line), &words(changes)).join(" ")
    }

    #[test]
    fn a_line_says_what_is_now() {
        let line = "corten run -dp 80:80 -e A=1 --env=B=2 -v data:/data --rm busybox sh -e A=1";
        assert_eq!(
            after(line, "-e A=9 web"),
            "corten run -d -p 80:80 --env=B=2 -v data:/data --rm --env A=9 busybox sh -e A=1"
        );
        assert_eq!(
            after(line, "--env-rm B --unpublish 80:80 web"),
            "corten run -d -e A=1 -v data:/data --rm busybox sh -e A=1"
        );
        assert_eq!(
            after(line, "--mount-rm /data/ --mount-add other:/o web"),
            "corten run -d -p 80:80 -e A=1 --env=B=2 --rm --volume other:/o busybox sh -e A=1"
        );
        assert_eq!(
            after("corten create -m 64m -it x", "--memory=1g --restart always web"),
            "corten create -it --memory=1g --restart always x"
        );
        assert_eq!(
            after("corten run x", "--mount-add type=tmpfs,dst=/t c"),
            "corten run --mount type=tmpfs,dst=/t x"
        );
    }
}
