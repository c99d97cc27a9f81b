//! The flags of a command as a person reads them: in groups, in two columns, no wider than the terminal.

use super::examples;
use clap::{Arg, ArgAction, Command};
use std::fmt::Write;

/// Where the text of a flag begins.
const COLUMN: usize = 30;

/// Groups of flags: what most people want first. Flags that no group names come last.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Most used",
        &[
            "detach",
            "interactive",
            "tty",
            "rm",
            "name",
            "publish",
            "volume",
            "env",
            "workdir",
            "user",
            "entrypoint",
            "restart",
            "memory",
            "cpus",
            "explain",
        ],
    ),
    (
        "What runs",
        &[
            "env-file",
            "init",
            "stop-signal",
            "stop-timeout",
            "group-add",
            "hostname",
            "domainname",
            "label",
            "label-file",
            "annotation",
            "platform",
            "pull",
            "quiet",
            "rootfs",
            "cidfile",
            "attach",
            "sig-proxy",
            "detach-keys",
            "trace",
            "step",
            "yes",
            "verify",
        ],
    ),
    (
        "Files",
        &[
            "mount",
            "tmpfs",
            "volumes-from",
            "volume-driver",
            "read-only",
            "shm-size",
            "storage-opt",
            "device",
            "gpus",
        ],
    ),
    (
        "Network",
        &[
            "network",
            "network-alias",
            "publish-all",
            "expose",
            "ip",
            "ip6",
            "mac-address",
            "link",
            "link-local-ip",
            "add-host",
            "dns",
            "dns-search",
            "dns-option",
        ],
    ),
    (
        "Health and logs",
        &[
            "health-cmd",
            "health-interval",
            "health-timeout",
            "health-retries",
            "health-start-period",
            "health-start-interval",
            "no-healthcheck",
            "on-unhealthy",
            "log-driver",
            "log-opt",
        ],
    ),
    (
        "Limits",
        &[
            "memory-reservation",
            "memory-swap",
            "memory-swappiness",
            "oom-kill-disable",
            "oom-score-adj",
            "pids-limit",
            "cpu-shares",
            "cpu-period",
            "cpu-quota",
            "cpu-rt-period",
            "cpu-rt-runtime",
            "cpuset-cpus",
            "cpuset-mems",
            "blkio-weight",
            "blkio-weight-device",
            "device-read-bps",
            "device-write-bps",
            "device-read-iops",
            "device-write-iops",
            "ulimit",
            "cgroup-parent",
        ],
    ),
    (
        "Walls",
        &[
            "cap-add",
            "cap-drop",
            "privileged",
            "security-opt",
            "device-cgroup-rule",
            "sysctl",
            "userns",
            "pid",
            "ipc",
            "uts",
            "cgroupns",
        ],
    ),
];

/// What the command is for, and how it is used, by example.
pub fn about(name: &str, about: &str) -> String {
    let mut text: String = about.lines().map(|line| wrapped(line, 0, width()) + "\n").collect();
    let examples = examples::of(name);
    if !examples.is_empty() {
        text.push_str("\nExamples:\n");
        for (line, what) in examples {
            let _ = match line.len() < 44 {
                true => writeln!(text, "  {line:<44}{what}"),
                false => writeln!(text, "  {line}\n  {:44}{what}", ""),
            };
        }
    }
    text
}

/// The options of a command, with a title for each group where there are many.
pub fn options(name: &str, command: &Command) -> String {
    let mut text = String::new();
    for (title, flags) in groups(name, command) {
        let _ = writeln!(text, "\n{title}:");
        for flag in flags {
            text.push_str(&option(flag, width()));
        }
    }
    text
}

/// The flags that are shown, by group.
pub fn groups<'a>(name: &str, command: &'a Command) -> Vec<(&'static str, Vec<&'a Arg>)> {
    let shown = |arg: &&Arg| !arg.is_hide_set() && !arg.is_positional();
    let all: Vec<&Arg> = command.get_arguments().filter(shown).collect();
    if !matches!(name.trim_start_matches("container "), "run" | "create") {
        return vec![("Options", all)];
    }
    let long = |arg: &Arg| arg.get_long().unwrap_or_default().to_owned();
    let mut grouped: Vec<(&str, Vec<&Arg>)> = Vec::new();
    for (title, names) in GROUPS {
        let of = names.iter().filter_map(|name| all.iter().find(|arg| long(arg) == *name).copied());
        grouped.push((title, of.collect()));
    }
    let rest = all.iter().filter(|arg| !GROUPS.iter().any(|(_, names)| names.contains(&&*long(arg))));
    grouped.push(("Other options", rest.copied().collect()));
    grouped.retain(|(_, flags)| !flags.is_empty());
    grouped
}

/// `-v, --volume SOURCE:TARGET`
pub fn spelled(arg: &Arg) -> String {
    let long = arg.get_long().unwrap_or_default();
    let short = arg.get_short().map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = match value_name(arg) {
        None => String::new(),
        Some(value) if arg.is_require_equals_set() => format!("[={value}]"),
        Some(value) => format!(" {value}"),
    };
    format!("{short}--{long}{value}")
}

/// What stands behind a flag; `None` for one that has no value.
pub fn value_name(arg: &Arg) -> Option<String> {
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append => Some(
            arg.get_value_names()
                .and_then(|names| names.first())
                .map_or_else(|| arg.get_long().unwrap_or_default().to_uppercase(), ToString::to_string),
        ),
        _ => None,
    }
}

/// What a flag does, with its other spellings.
pub fn told(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let aliases: Vec<String> =
        arg.get_visible_aliases().unwrap_or_default().iter().map(|alias| format!("--{alias}")).collect();
    if !aliases.is_empty() {
        let _ = write!(text, " (also {})", aliases.join(", "));
    }
    text
}

fn option(arg: &Arg, width: usize) -> String {
    let name = format!("  {}", spelled(arg));
    let text = wrapped(&told(arg), COLUMN, width);
    match name.len() + 2 <= COLUMN {
        true => format!("{name:<COLUMN$}{text}\n"),
        false => format!("{name}\n{:COLUMN$}{text}\n", ""),
    }
}

/// The columns of the terminal, 80 where there is none; no more than can be read well.
pub fn width() -> usize {
    let wanted = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let there = || rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| size.ws_col.into());
    wanted.or_else(there).filter(|n| *n >= 40).unwrap_or(80).min(100)
}

/// A text that begins at a column and goes on there on the next line.
pub fn wrapped(text: &str, column: usize, width: usize) -> String {
    let mut out = String::new();
    let mut at = column;
    for word in text.split(' ') {
        let length = word.chars().count();
        if at > column && at + 1 + length > width {
            let _ = write!(out, "\n{:column$}", "");
            at = column;
        } else if at > column {
            out.push(' ');
            at += 1;
        }
        out.push_str(word);
        at += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Arg;

    #[test]
    fn two_columns_that_fit() {
        let arg =
            Arg::new("v").short('v').long("volume").value_name("SOURCE:TARGET").action(ArgAction::Append);
        let arg = arg
            .help("Mount a directory of the host or a volume, at a place that is made where it is missing");
        let text = option(&arg, 80);
        let lines: Vec<&str> = text.lines().collect();
        let (start, end) =
            ("Mount a directory of the host or a volume, at a", "place that is made where it is missing");
        assert_eq!(lines, [format!("  -v, --volume SOURCE:TARGET  {start}"), format!("{:30}{end}", "")]);
        let arg = Arg::new("f").long("volumes-from").value_name("CONTAINER[:ro]").action(ArgAction::Append);
        let text = option(&arg.help("Mount what another has"), 80);
        assert_eq!(text, format!("      --volumes-from CONTAINER[:ro]\n{:30}Mount what another has\n", ""));
        let arg = Arg::new("d").long("detach").action(ArgAction::SetTrue).help("Run in the background");
        assert_eq!(option(&arg, 80), "      --detach                Run in the background\n");
    }

    #[test]
    fn no_flag_is_in_two_groups() {
        let mut all: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
