//! The OCI runtime's command line, as runc has it: `corten oci …`, or this binary called `runc` or `corten-runtime`.
//! Containers are made by the same plan and the same executor as those of `corten run`.

mod console;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod flags;
mod kill;
mod list;
mod pause;
mod ps;
mod run;
mod spec;
mod start;
mod state;
mod update;

use crate::cli::{self, Failure, Outcome};
use flags::parse;
use runtime::oci::Containers;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// What stands before the command.
#[derive(Debug, Clone)]
pub struct Context {
    /// `--root`: what is known of containers.
    pub containers: Containers,
    /// `--log`: a file, or standard error.
    log: Option<PathBuf>,
    /// `--log-format json`
    json: bool,
    /// `--systemd-cgroup`: groups are made by systemd.
    pub systemd: bool,
    /// `--rootless`
    pub rootless: Option<bool>,
    /// `--debug`
    pub debug: bool,
    /// For the flags of a command.
    pub cli: cli::Context,
}

/// The names that this binary may be called by to be a runtime.
const NAMES: [&str; 3] = ["runc", "corten-runtime", "corten-oci"];

/// Whether the program was called as a runtime.
pub fn is_called(program: &str) -> bool {
    NAMES.contains(&program.rsplit('/').next().unwrap_or_default())
}

type Run = fn(&Context, Vec<String>) -> Outcome;

const COMMANDS: &[(&str, &str, Run)] = &[
    ("create", "Create a container from a bundle; it waits for its start", create::main),
    ("start", "Run the program of a created container", start::main),
    ("run", "Create and start a container", run::main),
    ("state", "Show the state of a container", state::main),
    ("kill", "Send a signal to a container", kill::main),
    ("exec", "Run a further program in a container", exec::main),
    ("pause", "Stop all processes of a container", pause::main),
    ("resume", "Let a paused container go on", pause::resume),
    ("update", "Set other limits for a container", update::main),
    ("events", "Show what a container uses", events::main),
    ("ps", "Show the processes of a container", ps::main),
    ("delete", "Remove a container that has ended", delete::main),
    ("list", "List the containers of this root", list::main),
    ("spec", "Write a new config.json", spec::main),
    ("features", "Show what this runtime can do", features::main),
];

/// What runc has besides.
const MISSING: [&str; 2] = ["checkpoint", "restore"];

fn overview() -> String {
    let mut text = String::from(
        "Usage:  corten oci [OPTIONS] COMMAND\n\nRun containers from OCI bundles, with runc's command line\n\nCommands:\n",
    );
    for (name, about, _) in COMMANDS {
        text.push_str(&format!("  {name:<10}  {about}\n"));
    }
    text.push_str(
        "\nOptions:
      --root DIR            Where the state of containers is kept (default /run/corten-oci)
      --log FILE            Write errors to a file, too
      --log-format FORMAT   text or json (default text)
      --systemd-cgroup      Let systemd make the control groups
      --rootless WORD       Go without control groups where there are no rights to make them, unless the bundle asks
                            for some: true, false, or auto, true for an ordinary user (default auto)
      --debug               Say more about what is done
  -v, --version             Show the version
",
    );
    text
}

pub fn version() -> String {
    format!("corten version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), features::SPEC_VERSION)
}

/// The whole command line after the program's name, or after `oci`.
pub fn main(words: Vec<OsString>) -> ExitCode {
    let words = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let runtime_dir = std::env::var("XDG_RUNTIME_DIR").ok().filter(|_| !rustix::process::geteuid().is_root());
    let root =
        runtime_dir.map_or_else(|| "/run/corten-oci".into(), |dir| PathBuf::from(dir).join("corten-oci"));
    let mut context = Context {
        containers: Containers { root },
        log: None,
        json: false,
        systemd: false,
        rootless: None,
        debug: false,
        cli: cli::Context {
            root: PathBuf::new(),
            state: PathBuf::new(),
            command: "oci".to_owned(),
            ..cli::Context::default()
        },
    };
    let outcome = dispatch(&mut context, words);
    match outcome {
        Ok(code) => ExitCode::from(code.clamp(0, 255) as u8),
        Err(failure) => {
            if !failure.message.is_empty() {
                context.tell(&cli::plain(&failure.message));
            }
            ExitCode::from(failure.code.clamp(1, 255) as u8)
        }
    }
}

fn dispatch(context: &mut Context, words: Vec<String>) -> Outcome {
    let mut words = words.into_iter();
    let name = loop {
        let Some(word) = words.next() else {
            cli::print(&overview())?;
            return Ok(0);
        };
        let (flag, attached) = match word.split_once('=') {
            Some((flag, value)) if word.starts_with('-') => (flag, Some(value.to_owned())),
            _ => (word.as_str(), None),
        };
        let mut value = || {
            attached
                .clone()
                .or_else(|| words.next())
                .ok_or_else(|| Failure::new(format!("flag needs an argument: {flag}")))
        };
        // As Go's flag package has it, one dash is as good as two.
        match flag.trim_start_matches('-') {
            _ if !flag.starts_with('-') => break word,
            "root" => context.containers.root = cli::absolute(value()?.into()),
            "log" => context.log = Some(value()?.into()).filter(|p: &PathBuf| !p.as_os_str().is_empty()),
            "log-format" => {
                context.json = match value()?.as_str() {
                    "json" => true,
                    "text" | "" => false,
                    other => return Err(Failure::new(format!("invalid log-format: {other}"))),
                }
            }
            "systemd-cgroup" => context.systemd = truth(flag, attached.as_deref())?,
            "criu" => drop(value()?),
            "rootless" => context.rootless = rootless(&value()?)?,
            "debug" => context.debug = truth(flag, attached.as_deref())?,
            "version" | "v" => {
                cli::print(&version())?;
                return Ok(0);
            }
            "help" | "h" => {
                cli::print(&overview())?;
                return Ok(0);
            }
            _ => return Err(Failure::new(format!("unknown flag: {flag}"))),
        }
    };
    let mut rest: Vec<String> = words.collect();
    let mut name = name;
    if matches!(name.as_str(), "help" | "h") {
        let Some(about) = rest.drain(..).next() else {
            cli::print(&overview())?;
            return Ok(0);
        };
        (name, rest) = (about, vec!["--help".to_owned()]);
    }
    if MISSING.contains(&name.as_str()) {
        return Err(Failure::new(format!("{name} is not supported: there are no checkpoints")));
    }
    let Some((_, _, run)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
        return Err(Failure { code: NO_SUCH_COMMAND, ..Failure::new(format!("unknown command: {name}")) });
    };
    context.cli.command = format!("oci {name}");
    run(context, rest).map_err(|failure| Failure {
        // 125 is Docker's word for it, not runc's.
        code: if failure.code == cli::ENGINE { 1 } else { failure.code },
        ..failure
    })
}

/// runc's exit code.
const NO_SUCH_COMMAND: i32 = 3;

/// A flag that may stand alone.
fn truth(flag: &str, value: Option<&str>) -> Result<bool, Failure> {
    let word = value.unwrap_or("true");
    cli::args::go_bool(word).map_err(|why| Failure::new(format!("invalid value '{word}' for {flag}: {why}")))
}

/// As Go reads a truth value, and `auto`.
fn rootless(word: &str) -> Result<Option<bool>, Failure> {
    match word {
        "" | "auto" => Ok(None),
        _ => cli::args::go_bool(word).map(Some).map_err(|_| {
            Failure::new(format!("invalid value '{word}' for --rootless: not true, false or auto"))
        }),
    }
}

impl Context {
    /// An error on standard error, and in the log as those expect it who called us.
    fn tell(&self, message: &str) {
        self.note("error", message);
    }

    /// What was asked for and is not done, although nothing failed.
    fn warn(&self, message: &str) {
        self.note("warning", message);
    }

    /// What only those want to know who ask.
    fn debug(&self, message: &str) {
        if self.debug {
            self.note("debug", message);
        }
    }

    fn note(&self, level: &str, message: &str) {
        let time = engine::Time::now().rfc3339();
        let line = if self.json {
            serde_json::json!({ "level": level, "msg": message, "time": time }).to_string()
        } else {
            format!("time=\"{time}\" level={level} msg={message:?}")
        };
        match &self.log {
            None if self.json => cli::say(&line),
            None => cli::say(&format!("{level}: {message}")),
            // Standard error may be the program's already: with a log, only what ends us is said there.
            Some(_) if level == "error" => cli::say(&format!("{level}: {message}")),
            Some(_) => {}
        }
        let Some(path) = &self.log else { return };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        if let Err(e) = file.and_then(|mut file| writeln!(file, "{line}")) {
            cli::say(&format!("cannot write {}: {e}", path.display()));
        }
    }
}

impl From<runtime::oci::Error> for Failure {
    fn from(error: runtime::oci::Error) -> Failure {
        Failure::new(error.message)
    }
}

impl From<runtime::group::GroupError> for Failure {
    fn from(error: runtime::group::GroupError) -> Failure {
        Failure::new(error.message)
    }
}

impl From<runtime::oci::ConfigError> for Failure {
    fn from(error: runtime::oci::ConfigError) -> Failure {
        Failure::new(error.to_string())
    }
}
