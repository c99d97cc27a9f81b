//! What a flag's value, or a word at its place, can be: told by the names that stand in a command's usage.

use super::{Offer, Offers};
use crate::cli::{Context, options_help};
use clap::Arg;
use engine::{Engine, State};

/// What kind of thing is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Containers(Which),
    Images,
    Volumes,
    Networks,
    Files,
    Few(&'static [&'static str]),
    Capabilities,
    Signals,
    Any,
}

/// Which containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    Running,
    Paused,
    Ended,
}

/// Flags whose values are known, by name.
const FLAGS: &[(&str, Kind)] = &[
    ("restart", Kind::Few(&["no", "on-failure", "always", "unless-stopped"])),
    ("pull", Kind::Few(&["missing", "never", "always"])),
    ("network", Kind::Networks),
    ("volumes-from", Kind::Containers(Which::All)),
    ("link", Kind::Containers(Which::Running)),
    ("cap-add", Kind::Capabilities),
    ("cap-drop", Kind::Capabilities),
    ("signal", Kind::Signals),
    ("stop-signal", Kind::Signals),
    ("explain", Kind::Few(&["text", "sh", "json"])),
    ("format", Kind::Few(&["json", "table"])),
    ("log-driver", Kind::Few(&["json-file", "local", "journald", "none"])),
    ("on-unhealthy", Kind::Few(&["restart", "stop", "kill", "none"])),
    ("attach", Kind::Few(&["stdin", "stdout", "stderr"])),
    ("pid", Kind::Few(&["host", "container:"])),
    ("ipc", Kind::Few(&["private", "host", "container:"])),
    ("uts", Kind::Few(&["host"])),
    ("userns", Kind::Few(&["private", "host"])),
    ("cgroupns", Kind::Few(&["private", "host"])),
    ("platform", Kind::Few(&["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/riscv64"])),
    (
        "security-opt",
        Kind::Few(&["no-new-privileges", "seccomp=", "apparmor=", "systempaths=unconfined", "label=disable"]),
    ),
    ("mount", Kind::Few(&["type=bind,", "type=volume,", "type=tmpfs,", "type=image,"])),
    ("ulimit", Kind::Few(&["nofile=", "nproc=", "core=", "memlock=", "stack="])),
    ("type", Kind::Few(&["container", "image", "network", "volume"])),
    ("driver", Kind::Few(&["bridge", "macvlan", "local"])),
    ("condition", Kind::Few(&["not-running", "next-exit", "removed"])),
    ("device", Kind::Files),
    ("input", Kind::Files),
    ("output", Kind::Files),
];

pub fn of_flag(context: &Context, command: &str, flag: &Arg, last: &str) -> Offers {
    let long = flag.get_long().unwrap_or_default();
    let value = options_help::value_name(flag).unwrap_or_default();
    let kind = match (long, value.as_str()) {
        // A path, or a volume's name.
        ("volume" | "mount-add", _) if last.starts_with(['/', '.', '~']) => Kind::Files,
        ("volume" | "mount-add", _) => Kind::Volumes,
        ("network", _) if command.ends_with("run") || command.ends_with("create") => {
            let mut words = words(context, Kind::Networks);
            words.extend(["none", "host", "container:"].map(|word| (word.to_owned(), String::new())));
            return Offers::Words(words);
        }
        (_, "FILE" | "DIR" | "DIRECTORY" | "PATH") => Kind::Files,
        _ => FLAGS.iter().find(|(name, _)| *name == long).map_or(Kind::Any, |(_, kind)| *kind),
    };
    offers(context, kind)
}

/// What can stand at a place, after `before`.
pub fn of_place(context: &Context, command: &str, usage: &str, before: &[String], last: &str) -> Offers {
    let plain = command.rsplit(' ').next().unwrap_or(command);
    if plain == "cp" && last.starts_with(['/', '.', '~']) {
        return Offers::Files;
    }
    if command.starts_with("image ") && plain == "inspect" {
        return Offers::Words(words(context, Kind::Images));
    }
    let names: Vec<&str> = usage
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .filter(|word| !matches!(*word, "[OPTIONS]" | "[ps" | "OPTIONS]"))
        .collect();
    let last_name = names.last().copied().filter(|name| name.ends_with("...]"));
    let Some(name) = names.get(before.len()).copied().or(last_name) else { return Offers::Words(Vec::new()) };
    let name = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches("...");
    let found = match name {
        "CONTAINER:SRC_PATH" => {
            let names = words(context, Kind::Containers(Which::All)).into_iter();
            return Offers::Words(names.map(|(name, what)| (format!("{name}:"), what)).collect());
        }
        "NAME|ID" => [Kind::Containers(Which::All), Kind::Images, Kind::Volumes, Kind::Networks]
            .iter()
            .flat_map(|kind| words(context, *kind))
            .collect(),
        _ => return offers(context, kind_of(plain, name)),
    };
    Offers::Words(found)
}

fn kind_of(command: &str, name: &str) -> Kind {
    match name {
        "CONTAINER" => Kind::Containers(match command {
            "start" => Which::Ended,
            "exec" | "attach" | "top" | "stats" | "pause" | "kill" | "stop" | "slow" => Which::Running,
            "unpause" => Which::Paused,
            _ => Which::All,
        }),
        "IMAGE" | "SOURCE_IMAGE[:TAG" | "NAME[:TAG" | "REPOSITORY[:TAG" => Kind::Images,
        "VOLUME" => Kind::Volumes,
        "NETWORK" => Kind::Networks,
        "bash|zsh|fish" => Kind::Few(&["bash", "zsh", "fish"]),
        "FILE|-" | "FILE" | "DIR" | "DEST_PATH|-" | "COMMAND" | "ARG" => Kind::Files,
        _ => Kind::Any,
    }
}

fn offers(context: &Context, kind: Kind) -> Offers {
    if kind == Kind::Files { Offers::Files } else { Offers::Words(words(context, kind)) }
}

/// Who may not look gets nothing, and what is not there is not made.
fn words(context: &Context, kind: Kind) -> Vec<Offer> {
    let plain = |names: Vec<String>| names.into_iter().map(|name| (name, String::new())).collect();
    match kind {
        Kind::Any | Kind::Files => Vec::new(),
        Kind::Few(all) => plain(all.iter().map(|word| (*word).to_owned()).collect()),
        Kind::Capabilities => {
            let names = kernel::caps::CapSet::ALL.iter();
            plain(
                names
                    .map(|cap| cap.name().trim_start_matches("CAP_").to_owned())
                    .chain(["ALL".into()])
                    .collect(),
            )
        }
        Kind::Signals => plain((1..=31).filter_map(engine::signal::name).map(str::to_owned).collect()),
        Kind::Containers(_) | Kind::Volumes | Kind::Networks if !context.root.is_dir() => Vec::new(),
        Kind::Containers(which) => containers(context, which),
        Kind::Images => images(context),
        Kind::Volumes => {
            let all = engine(context).and_then(|engine| engine.volumes().ok()).unwrap_or_default();
            plain(all.into_iter().filter(|volume| !volume.anonymous).map(|volume| volume.name).collect())
        }
        Kind::Networks => {
            let all = engine(context).and_then(|engine| engine.networks().list().ok()).unwrap_or_default();
            plain(all.into_iter().map(|network| network.name).collect())
        }
    }
}

fn engine(context: &Context) -> Option<Engine> {
    context.engine().ok()
}

fn containers(context: &Context, which: Which) -> Vec<Offer> {
    let all = engine(context).and_then(|engine| engine.list().ok()).unwrap_or_default();
    let wanted = |state: &State| match (which, state) {
        (Which::All, _) => true,
        (Which::Paused, State::Running { paused, .. }) => *paused,
        (Which::Running, State::Running { .. } | State::Restarting { .. }) => true,
        (Which::Ended, State::Created | State::Exited { .. }) => true,
        _ => false,
    };
    let fit = all.into_iter().filter(|(_, state)| wanted(state));
    fit.map(|(container, _)| (container.name, container.settings.image)).collect()
}

fn images(context: &Context) -> Vec<Offer> {
    let mut names: Vec<Offer> = vec![("@host".to_owned(), "this machine's own files".to_owned())];
    if !context.root.is_dir() {
        return names;
    }
    let all = engine(context).and_then(|engine| engine.images().list().ok()).unwrap_or_default();
    names.extend(all.iter().flat_map(|image| &image.tags).map(|name| (name.familiar(), String::new())));
    names
}
