//! The pages that stand before any single command: what there is, by what one wants to do.

use super::{COMMANDS, Command, GROUPS, options_help};
use std::fmt::Write;

const HEAD: &str = "\
corten runs containers, and can say how: every step is a shell command that you
could have typed.

Usage:  corten [--root DIR] [--state DIR] COMMAND

Try this first:
  corten run --rm -it @host bash    a shell in a container, with files of here
  corten run --explain @host bash   the same, only told: each step and why
";

const FOOT: &str = "
Options:
  --root DIR   Where images and containers are kept [/var/lib/corten]
  --state DIR  What ends with the machine's power [/run/corten]
  --version    Print the version

'corten help COMMAND' tells more about a command, or a family of them.
";

/// What the environment says.
pub const VARIABLES: &[(&str, &str)] = &[
    ("CORTEN_ROOT", "Where images and containers are kept: /var/lib/corten if nothing is said"),
    ("CORTEN_STATE", "What ends with the machine's power: /run/corten if nothing is said"),
    ("CORTEN_CGROUP_PARENT", "The control group that those of containers are below"),
];

/// Titles of groups of commands, by what one wants to do. What no group names comes last.
const SECTIONS: &[(&str, &[&str])] = &[
    ("Run containers", &["run", "exec", "ps", "logs", "stop", "rm"]),
    (
        "Their lives",
        &["create", "start", "restart", "kill", "pause", "unpause", "wait", "attach", "rename", "update"],
    ),
    ("Look at them", &["inspect", "top", "stats", "ui", "port", "events", "diff"]),
    ("Their files", &["cp", "export", "commit"]),
    (
        "Images",
        &[
            "images", "pull", "push", "build", "tag", "rmi", "history", "load", "save", "import", "search",
            "login", "logout",
        ],
    ),
    ("Understand", &["map", "layers", "explain", "compare", "lab", "probe"]),
    ("The engine", &["info", "version", "completion", "man"]),
];

/// The commands in their groups.
pub fn sections() -> Vec<(&'static str, Vec<&'static Command>)> {
    let named = |name: &&str| COMMANDS.iter().find(|command| command.name == *name);
    let mut all: Vec<(&str, Vec<&Command>)> =
        SECTIONS.iter().map(|(title, names)| (*title, names.iter().filter_map(named).collect())).collect();
    let known = |command: &&Command| SECTIONS.iter().any(|(_, names)| names.contains(&command.name));
    all.push(("More", COMMANDS.iter().filter(|command| !known(command)).collect()));
    all.retain(|(_, commands)| !commands.is_empty());
    all
}

/// `corten help`
pub fn overview() -> String {
    let mut text = HEAD.to_owned();
    for (title, commands) in sections() {
        let _ = writeln!(text, "\n{title}:");
        lines(&mut text, commands);
    }
    text.push_str("\nFamilies of commands:\n");
    for (name, about, _) in GROUPS {
        let _ = writeln!(text, "  {name:<11}{about}");
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

fn lines<'a>(text: &mut String, commands: impl IntoIterator<Item = &'a Command>) {
    for command in commands {
        let about = options_help::wrapped(command.about, 13, 80);
        let _ = writeln!(text, "  {:<11}{about}", command.name);
    }
}

/// Commands of Docker's and Podman's that are not ours, and what serves instead.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (
        &["build", "buildx", "builder"],
        "corten builds no images: 'buildah build -t oci-archive:image.tar .', then 'corten load -i image.tar'; or 'corten commit'",
    ),
    (&["compose"], "corten reads no compose files; 'corten inspect --as-compose NAME' writes one"),
    (
        &["swarm", "node", "service", "stack", "secret", "config", "pod", "play", "kube"],
        "corten is no cluster: Kubernetes, Nomad and Podman drive it as their runtime, 'corten oci'",
    ),
    (&["context"], "there is no daemon to choose; '--root' and '--state' choose another store"),
    (&["plugin"], "there are no plugins"),
    (
        &["checkpoint"],
        "containers are not written to disk while they run; 'corten pause' stops their processes",
    ),
    (
        &["trust", "scan", "scout"],
        "signatures and known holes are the matter of tools such as cosign, grype or trivy",
    ),
    (&["machine"], "corten runs on the machine that it is called on"),
    (&["unshare"], "'corten ns run' starts a command in new namespaces"),
];

/// What to say of a command that there is none of: where it can be had, or ` (did you mean 'ps'?)`.
pub fn suggestion(typed: &str) -> String {
    let elsewhere = ELSEWHERE.iter().find(|(names, _)| names.contains(&typed));
    elsewhere.map_or_else(
        || nearest(typed, COMMANDS.iter().map(|c| c.name)),
        |(_, instead)| format!(": {instead}"),
    )
}

/// The same of any words.
pub fn nearest<W: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = W>) -> String {
    steps::Near::of(typed, known).to_string()
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
        assert_eq!(suggestion("plugin"), ": there are no plugins");
    }

    #[test]
    fn nothing_that_is_here_is_said_to_be_elsewhere() {
        let ours = COMMANDS.iter().map(|c| c.name).chain(GROUPS.iter().map(|(name, ..)| *name));
        let ours: Vec<&str> = ours.collect();
        let elsewhere = ELSEWHERE.iter().flat_map(|(names, _)| *names);
        assert_eq!(elsewhere.filter(|name| ours.contains(name)).collect::<Vec<_>>(), Vec::<&&str>::new());
    }

    #[test]
    fn help_fits_a_terminal() {
        let families = GROUPS.iter().map(|(name, about, commands)| group(name, about, commands));
        for text in families.chain([overview()]) {
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
