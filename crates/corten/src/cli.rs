//! The command line: one file a command, with what it takes and what it does. Here is the way from words to the command.

pub mod args;
mod attach;
mod boot;
mod cgroup;
mod commit;
mod compare;
mod complete;
mod completion;
mod confirm;
mod container_prune;
mod cp;
mod create;
mod diff;
mod events;
mod examples;
mod exec;
mod explain;
mod export;
mod help;
mod history;
mod image_inspect;
mod image_prune;
mod image_tree;
mod images;
mod import;
mod inspect;
mod inspect_as;
mod kill;
mod lab;
mod layers;
mod line;
mod load;
mod login;
mod logs;
mod man;
mod manifest;
mod map;
mod network;
mod ns;
mod options;
mod options_docker;
mod options_help;
mod pattern;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system;
mod system_check;
mod system_df;
mod system_prune;
mod tag;
mod top;
mod ui;
mod update;
mod version;
mod volume;
mod wait;
mod why;

pub use args::parse;
pub use options::ContainerArgs;
pub use options_docker::MoreArgs;
pub use options_help::{width, wrapped};
pub use ps::status as status_words;
pub use pull::for_run as pull_for_run;
pub use run::io_words;
#[cfg(test)]
pub use run::{run_help, test_parse};

use crate::config::Config;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// What every command knows.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Images and containers: `--root`, CORTEN_ROOT.
    pub root: PathBuf,
    /// What ends with the machine's power: `--state`, CORTEN_STATE.
    pub state: PathBuf,
    /// The command as it was typed, for messages: `container run`.
    pub command: String,
    pub config: Config,
    /// What is wrong with the configuration file: nothing is done before it is mended.
    pub mistake: Option<String>,
}

impl Context {
    /// Where the command line says nothing, the environment does, then the configuration file.
    fn new() -> Context {
        let (config, mistake) = match Config::read() {
            Ok(config) => (config, None),
            Err(mistake) => (Config::default(), Some(mistake)),
        };
        let place = |variable: &str, configured: &Option<PathBuf>, usual: &str| {
            let told = std::env::var_os(variable).filter(|value| !value.is_empty());
            absolute(told.map(PathBuf::from).or_else(|| configured.clone()).unwrap_or_else(|| usual.into()))
        };
        Context {
            root: place("CORTEN_ROOT", &config.data_root, "/var/lib/corten"),
            state: place("CORTEN_STATE", &config.exec_root, "/run/corten"),
            command: String::new(),
            config,
            mistake,
        }
    }

    pub fn engine(&self) -> Result<engine::Engine, Failure> {
        if let Some(mistake) = &self.mistake {
            return Err(Failure::new(mistake.clone()));
        }
        Ok(engine::Engine::open(&self.root, &self.state)?)
    }
}

/// Steps and journals name files by it, whatever directory they are performed or taken back in.
pub fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// How a command ends: the exit code, or why it did not do what it should.
pub type Outcome = Result<i32, Failure>;

/// An error as it is shown to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub code: i32,
    /// One line; empty when all has been said.
    pub message: String,
    /// The command was not understood: its help is pointed to.
    pub usage: bool,
}

impl Failure {
    /// What a command answers when it can't do its work.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure { code: 1, message: message.into(), usage: false }
    }

    /// A flag that is wrong.
    pub fn flag(message: impl Into<String>) -> Failure {
        Failure { code: ENGINE, message: message.into(), usage: true }
    }
}

impl From<engine::Error> for Failure {
    fn from(error: engine::Error) -> Failure {
        // 126 and 127 are the program's; all else is 1, or 125 with `run`.
        let code = match error.exit_code() {
            ENGINE => 1,
            code => code,
        };
        Failure { code, ..Failure::new(error.to_string()) }
    }
}

impl From<image::Error> for Failure {
    fn from(error: image::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

/// Output that can't be written: nobody reads it any more.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { code: 141, message: String::new(), usage: false },
            _ => Failure::new(format!("cannot write the output: {error}")),
        }
    }
}

/// The engine could not do what `run` or `create` asked, or a flag was wrong.
pub const ENGINE: i32 = 125;

/// A command: its name, one line about it, and its function.
struct Command {
    name: &'static str,
    about: &'static str,
    run: fn(&Context, Vec<String>) -> Outcome,
}

const fn command(
    name: &'static str,
    about: &'static str,
    run: fn(&Context, Vec<String>) -> Outcome,
) -> Command {
    Command { name, about, run }
}

/// What is known at the top, in the order of the help.
const COMMANDS: &[Command] = &[
    command("run", "Create a container from an image and start it", run::main),
    command("exec", "Run a command in a running container", exec::main),
    command("ps", "List containers", ps::main),
    command("logs", "Show what a container has written", logs::main),
    command("stop", "Ask containers to end, then make them", stop::main),
    command("rm", "Remove containers", rm::main),
    command("create", "Create a container without starting it", create::main),
    command("start", "Start containers that are created or have ended", start::main),
    command("restart", "Stop and start containers", restart::main),
    command("kill", "Send a signal to containers", kill::main),
    command("attach", "Show what a running container writes, and type into it", attach::main),
    command("wait", "Wait until containers end and print their exit codes", wait::main),
    command("pause", "Let all processes of containers stand still", pause::pause),
    command("unpause", "Let paused containers go on", pause::unpause),
    command("rename", "Give a container another name", rename::main),
    command("cp", "Copy files out of a container, or into one", cp::main),
    command("diff", "Show what a container has changed in its files", diff::main),
    command("export", "Write all files of a container as a tar archive", export::main),
    command("commit", "Make an image from what a container has written", commit::main),
    command("inspect", "Show everything about containers and images", inspect::main),
    command("top", "Show the processes of a container", top::main),
    command("stats", "Show what containers use: CPU, memory, network, disks", stats::main),
    command("port", "Show the published ports of a container", port::main),
    command("update", "Change limits, ports, mounts and more of containers", update::main),
    command("images", "List images", images::main),
    command("pull", "Download an image from a registry", pull::main),
    command("push", "Upload an image to a registry", push::main),
    command("login", "Let a registry know who you are", login::main),
    command("logout", "Forget who you are to a registry", login::logout),
    command("search", "Search a registry for images", search::main),
    command("load", "Load images from an archive", load::main),
    command("save", "Save images to an archive", save::main),
    command("import", "Make an image from a tar archive of a root file system", import::main),
    command("history", "Show how an image came about", history::main),
    command("tag", "Give an image another name", tag::main),
    command("rmi", "Remove images", rmi::main),
    command("ui", "Watch containers in the terminal, and act on them by keys", ui::main),
    command("events", "Show what happens, now and earlier", events::main),
    command("map", "Draw what there is now, and how it hangs together", map::main),
    command("layers", "Show which layer gives which file, and what is hidden", layers::main),
    command("compare", "Show what the kernel treats differently in two containers", compare::main),
    command("lab", "Learn what a container is made of, step by step", lab::main),
    command("explain", "Print what a command would do, or prove that it is true", explain::main),
    command("version", "Show the version", version::main),
    command("info", "Show what the engine uses and holds", system::info),
    command("completion", "Let a shell complete commands, flags and names", completion::main),
    command("man", "Write manual pages", man::main),
];

const CONTAINER: &[Command] = &[
    command("attach", "Show what a running container writes, and type into it", attach::main),
    command("commit", "Make an image from what a container has written", commit::main),
    command("cp", "Copy files out of a container, or into one", cp::main),
    command("create", "Create a container without starting it", create::main),
    command("diff", "Show what a container has changed in its files", diff::main),
    command("exec", "Run a command in a running container", exec::main),
    command("export", "Write all files of a container as a tar archive", export::main),
    command("inspect", "Show everything about containers", inspect::container),
    command("kill", "Send a signal to containers", kill::main),
    command("logs", "Show what a container has written", logs::main),
    command("ls", "List containers", ps::main),
    command("pause", "Let all processes of containers stand still", pause::pause),
    command("port", "Show the published ports of a container", port::main),
    command("prune", "Remove all containers that do not run", container_prune::main),
    command("rename", "Give a container another name", rename::main),
    command("restart", "Stop and start containers", restart::main),
    command("rm", "Remove containers", rm::main),
    command("run", "Create a container from an image and start it", run::main),
    command("start", "Start containers that are created or have ended", start::main),
    command("stats", "Show what containers use: CPU, memory, network, disks", stats::main),
    command("stop", "Ask containers to end, then make them", stop::main),
    command("top", "Show the processes of a container", top::main),
    command("unpause", "Let paused containers go on", pause::unpause),
    command("update", "Change limits, ports, mounts and more of containers", update::main),
    command("wait", "Wait until containers end and print their exit codes", wait::main),
];

const IMAGE: &[Command] = &[
    command("history", "Show how an image came about", history::main),
    command("import", "Make an image from a tar archive of a root file system", import::main),
    command("inspect", "Show everything about images", image_inspect::main),
    command("load", "Load images from an archive", load::main),
    command("ls", "List images", images::main),
    command("prune", "Remove images that nothing uses", image_prune::main),
    command("pull", "Download an image from a registry", pull::main),
    command("push", "Upload an image to a registry", push::main),
    command("rm", "Remove images", rmi::main),
    command("save", "Save images to an archive", save::main),
    command("tag", "Give an image another name", tag::main),
    command("tree", "Show the layers of an image", image_tree::main),
];

const CGROUP: &[Command] =
    &[command("tree", "Show control groups: their limits, and what is used of them", cgroup::tree)];

const NETWORK: &[Command] = &[
    command("connect", "Connect a container to a network", network::connect::connect),
    command("create", "Create a network", network::create::main),
    command("disconnect", "Take a container out of a network", network::connect::disconnect),
    command("inspect", "Show everything about networks", network::inspect::main),
    command("ls", "List networks", network::ls::main),
    command("prune", "Remove networks that no container is in", network::prune::main),
    command("reload", "Put back what somebody has taken away", network::reload::main),
    command("rm", "Remove networks", network::rm::main),
];

const NS: &[Command] = &[
    command("enter", "Run a command in namespaces of a container", ns::enter::main),
    command("ls", "List namespaces and who is in them", ns::ls::main),
    command("run", "Run a command in new namespaces", ns::run::main),
];

const WHY: &[Command] = &[
    command("denied", "Which rule refuses what a program in a container wants", why::denied),
    command("exited", "How a container came to its end", why::exited),
    command("port", "Who answers on a port, and from where it can be reached", why::port),
    command("slow", "What a running container waits for", why::slow),
];

const SYSTEM: &[Command] = &[
    command("boot", "Start the containers whose restart policy wants them to run", boot::boot),
    command("boot-unit", "Install a unit of systemd that does so when the machine starts", boot::unit),
    command("df", "Show how much of the disk is used, and by what", system_df::main),
    command("check", "Tell what is not as it should be on the disk, and repair it", system_check::main),
    command(
        "down",
        "Remove the bridge, the firewall table and the cgroup when no container is left",
        system::down,
    ),
    command("ui", "Watch containers in the terminal, and act on them by keys", ui::main),
    command("events", "Show what happens, now and earlier", events::main),
    command("info", "Show what the engine uses and holds", system::info),
    command("prune", "Remove all that nothing uses", system_prune::main),
];

const VOLUME: &[Command] = &[
    command("create", "Make a volume", volume::create::main),
    command("export", "Write all files of a volume as a tar archive", volume::transfer::export),
    command("import", "Unpack a tar archive into a volume", volume::transfer::import),
    command("inspect", "Show everything about volumes", volume::inspect::main),
    command("ls", "List volumes", volume::ls::main),
    command("prune", "Remove volumes that no container has", volume::prune::main),
    command("rm", "Remove volumes", volume::rm::main),
];

const MANIFEST: &[Command] =
    &[command("inspect", "Show a manifest or an index in a registry", manifest::inspect)];

/// Families of commands: `corten container ls`.
const GROUPS: &[(&str, &str, &[Command])] = &[
    ("cgroup", "Look at control groups", CGROUP),
    ("container", "Manage containers", CONTAINER),
    ("image", "Manage images", IMAGE),
    ("manifest", "Look at manifests in registries", MANIFEST),
    ("network", "Manage networks", NETWORK),
    ("ns", "Look at namespaces, enter them, make them", NS),
    ("system", "Manage the engine", SYSTEM),
    ("why", "Ask why things are as they are", WHY),
    ("volume", "Manage volumes", VOLUME),
];

/// Other words for the same command.
fn alias(group: &str, name: &str) -> Option<&'static str> {
    match (group, name) {
        ("container", "list" | "ps") => Some("ls"),
        ("container", "remove") => Some("rm"),
        ("image" | "network" | "volume", "list") => Some("ls"),
        ("network" | "volume", "remove") => Some("rm"),
        ("image", "remove" | "rmi") => Some("rm"),
        _ => None,
    }
}

/// The whole program: understands the words, runs the command, says what went wrong.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let mut words_utf8 = Vec::with_capacity(words.len());
    for word in words {
        match word.into_string() {
            Ok(word) => words_utf8.push(word),
            Err(word) => return end(Err(Failure::flag(format!("{word:?} is not valid UTF-8"))), ""),
        }
    }
    let mut context = Context::new();
    let outcome = dispatch(&mut context, words_utf8);
    end(outcome, &context.command)
}

fn dispatch(context: &mut Context, words: Vec<String>) -> Outcome {
    let mut words = words.into_iter();
    let name = loop {
        let Some(word) = words.next() else {
            print(&help::overview())?;
            return Ok(0);
        };
        let (flag, attached) = match word.split_once('=') {
            Some((flag, value)) if word.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
            _ => (word.clone(), None),
        };
        match flag.as_str() {
            "--root" | "--state" => {
                let Some(value) = attached.or_else(|| words.next()) else {
                    return Err(Failure::flag(format!("flag needs an argument: {flag}")));
                };
                let place = if flag == "--root" { &mut context.root } else { &mut context.state };
                *place = absolute(value.into());
            }
            "--version" | "-v" => {
                print(&version::line())?;
                return Ok(0);
            }
            "--help" | "-h" => {
                print(&help::overview())?;
                return Ok(0);
            }
            _ if word.starts_with("--") => return Err(Failure::flag(format!("unknown flag: {flag}"))),
            _ if word.starts_with('-') && word.len() > 1 => {
                let letter = word.chars().nth(1).unwrap_or('-');
                return Err(Failure::flag(format!("unknown shorthand flag: '{letter}' in {word}")));
            }
            _ => break word,
        }
    };
    let rest: Vec<String> = words.collect();
    if name == "help" {
        return self::help(context, rest);
    }
    if name == "__complete" {
        return complete::main(context, rest);
    }
    find_and_run(context, name, rest)
}

fn find_and_run(context: &mut Context, name: String, mut rest: Vec<String>) -> Outcome {
    let unknown = |typed: &str| Failure {
        usage: true,
        ..Failure::new(format!("unknown command: corten {typed}{}", help::suggestion(typed)))
    };
    if let Some(command) = COMMANDS.iter().find(|c| c.name == name) {
        context.command = name;
        return (command.run)(context, rest);
    }
    let Some((group, about, commands)) = GROUPS.iter().find(|(group, ..)| *group == name) else {
        return Err(unknown(&name));
    };
    if rest.is_empty() || matches!(rest[0].as_str(), "--help" | "-h" | "help") {
        print(&help::group(group, about, commands))?;
        return Ok(0);
    }
    let word = rest.remove(0);
    let wanted = alias(group, &word).unwrap_or(&word);
    let Some(command) = commands.iter().find(|c| c.name == wanted) else {
        context.command = name.clone();
        return Err(unknown(&format!("{name} {word}")));
    };
    context.command = format!("{name} {wanted}");
    (command.run)(context, rest)
}

/// Whether there is a command, or a family of them, of that name.
fn is_command(name: &str) -> bool {
    COMMANDS.iter().any(|c| c.name == name) || GROUPS.iter().any(|(group, ..)| *group == name)
}

/// The name of every command, with what it takes.
#[cfg(test)]
pub fn every_command() -> Vec<(String, args::Definition)> {
    let top = COMMANDS.iter().map(|command| (command.name.to_owned(), command));
    let families = GROUPS.iter().flat_map(|(group, _, commands)| {
        commands.iter().map(move |command| (format!("{group} {}", command.name), command))
    });
    let taken = |(name, command): (String, &Command)| {
        let definition = args::describe(&name, command.run).expect("a command says what it takes");
        (name, definition)
    };
    top.chain(families).map(taken).collect()
}

/// `corten help [command]`
fn help(context: &mut Context, words: Vec<String>) -> Outcome {
    let mut words = words.into_iter();
    match words.next() {
        None => {
            print(&help::overview())?;
            Ok(0)
        }
        Some(name) => {
            if name == "help" || name.starts_with('-') {
                print(&help::overview())?;
                return Ok(0);
            }
            let rest = words.chain(["--help".to_owned()]).collect();
            find_and_run(context, name, rest)
        }
    }
}

/// Standard output, as far as somebody reads it.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// One line on standard error that is not the end: a note, a warning, one of several errors.
pub fn say(line: &str) {
    // Nobody to tell is no reason to fail.
    let _ = writeln!(io::stderr(), "{line}");
}

/// An error's words without the system's number for it: `x: No such file or directory (os error 2)` as `x: no such file or directory`.
pub fn plain(message: &str) -> String {
    let (mut said, mut rest) = (String::new(), message);
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let (start, words) = before.split_at(before.rfind(": ").map_or(0, |colon| colon + 2));
        said.push_str(start);
        let mut letters = words.chars();
        match letters.next() {
            // An abbreviation keeps its capitals.
            Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
                said.extend(first.to_lowercase().chain(letters));
            }
            _ => said.push_str(words),
        }
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    said + rest
}

fn end(outcome: Outcome, command: &str) -> ExitCode {
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => {
            let space = if command.is_empty() { "" } else { " " };
            let hint =
                if failure.usage { format!(" (see 'corten{space}{command} --help')") } else { String::new() };
            if !failure.message.is_empty() {
                say(&format!("corten: {}{hint}", plain(&failure.message)));
            }
            failure.code
        }
    };
    ExitCode::from(code.clamp(0, 255) as u8)
}

/// Before containers are started: where one of them has the host's ids, this process begins again, out of its reach.
pub fn seal_for(engine: &engine::Engine, names: &[String]) -> Result<(), Failure> {
    // A name that nobody has is an error later, in its turn.
    let has_host_ids = |name: &String| engine.find(name).is_ok_and(|container| container.id_base == 0);
    if names.iter().any(has_host_ids) {
        engine::seal()?;
    }
    Ok(())
}

/// Does `action` with each of `names`, prints the name of each that went well, and goes on after one that did not.
pub fn for_each(names: &[String], mut action: impl FnMut(&str) -> Result<(), Failure>) -> Outcome {
    let mut code = 0;
    for name in names {
        match action(name) {
            Ok(()) => print(&format!("{name}\n"))?,
            Err(failure) => {
                say(&format!("corten: {}", plain(&failure.message)));
                code = failure.code;
            }
        }
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn errors_have_no_numbers() {
        assert_eq!(
            plain("x: No such file or directory (os error 2) (a note)"),
            "x: no such file or directory (a note)"
        );
        assert_eq!(plain("RPC failed (os error 1): File exists (os error 17)"), "RPC failed: file exists");
        assert_eq!(plain("nothing of the kind: OK"), "nothing of the kind: OK");
    }
}
