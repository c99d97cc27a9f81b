//! `corten run`: what was typed becomes settings (resolve/), settings a container, the container a process.

use super::args::Shape;
use super::{ContainerArgs, Context, ENGINE, Failure, Outcome, parse, print, say};
use crate::step::{StepArgs, is_stopped};
use crate::{explain, resolve};
use clap::Args;
use engine::attach::{AttachEnd, AttachOptions, Connection, DetachKeys};
use engine::{Container, Engine, Event, Settings, StartOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

pub const SHAPE: Shape = Shape {
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a container from an image and start it.\nIMAGE may be @host: this machine's own files, read-only, with changes kept in memory.",
    words: (1, usize::MAX),
};

/// What only `run` takes.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run in the background and print the container's id
    #[arg(short, long)]
    detach: bool,
    /// Print what would be done and do nothing: text, sh (a script) or json
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<String>,
    /// Print each step and its time while it is done
    #[arg(long)]
    trace: bool,
    #[command(flatten)]
    step: StepArgs,
    /// Pass signals to the program
    #[arg(long, action = clap::ArgAction::Set, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", value_parser = super::args::go_bool)]
    sig_proxy: bool,
    /// The keys that leave a container without ending it [ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<String>,
    #[command(flatten)]
    pub container: ContainerArgs,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let line = words.clone();
    let mut args: RunArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    if args.detach && args.container.attaches_output() {
        return Err(Failure::flag("conflicting options: cannot specify both --attach and --detach"));
    }
    args.step.check()?;
    let form = args.explain.as_deref().map(explain::Form::parse).transpose().map_err(Failure::flag)?;
    let engine = context.engine().map_err(engine_failed)?;
    // What is only told changes nothing.
    let (mut settings, notes) = settings(context, &engine, &mut args.container, form.is_none())?;
    settings.attach = !args.detach;
    settings.command_line = ["corten", "run"].iter().map(|w| (*w).to_owned()).chain(line).collect();
    if let Some(form) = form {
        notes.iter().for_each(|note| say(note));
        let container = engine.draft(settings, args.container.name.as_deref()).map_err(engine_failed)?;
        let plan = engine.plan(&container).map_err(engine_failed)?;
        print(&explain::show(&plan, form))?;
        return Ok(0);
    }
    if engine.has_host_ids(&settings).map_err(engine_failed)? {
        engine::seal().map_err(engine_failed)?;
    }
    // Not before: sealed, this process begins again.
    notes.iter().for_each(|note| say(note));
    run(context, &engine, &args, settings)
}

fn run(context: &Context, engine: &Engine, args: &RunArgs, settings: Settings) -> Outcome {
    let (tty, interactive, auto_remove) = (settings.tty, settings.interactive, settings.auto_remove);
    if tty && interactive && !args.detach && !rustix::termios::isatty(std::io::stdin()) {
        return Err(Failure {
            code: 1,
            ..Failure::new("cannot attach stdin to a TTY-enabled container because stdin is not a terminal")
        });
    }
    let detach_keys = detach_keys(context, args.detach_keys.as_deref())?;
    let shared = !args.step.step || engine.is_up()?;
    let cid_file = args.container.cidfile.as_deref().map(CidFile::claim).transpose()?;
    let container = engine.create(settings, args.container.name.as_deref()).map_err(engine_failed)?;
    if let Some(file) = cid_file {
        file.write(&container.id)?;
    }
    let options = StartOptions { attach: !args.detach, trace: args.trace };
    let started = match args.step.start(engine, &container, options) {
        Ok(started) => started,
        Err(failure) => {
            // As with Docker, what could not be started stays for `inspect`, unless it was to be removed.
            let stopped = is_stopped(&failure);
            if auto_remove || stopped {
                let _ = engine.remove(&container, true, true);
            }
            if stopped {
                let _ = args.container.cidfile.as_ref().map(std::fs::remove_file);
                // What containers share was made for this one.
                let _ = if shared { Ok(()) } else { engine.down() };
            }
            return Err(engine_failed(failure));
        }
    };
    let Some(connection) = started.connection else {
        print(&format!("{}\n", container.id))?;
        return Ok(0);
    };
    let options = AttachOptions { tty, interactive, sig_proxy: args.sig_proxy, detach_keys, resized: None };
    attached(engine, &container, connection, &options)
}

/// Stays attached to a container until one of them ends; answers the command's exit code.
pub fn attached(
    engine: &Engine,
    container: &Container,
    connection: Connection,
    options: &AttachOptions<'_>,
) -> Outcome {
    let resized = |rows: u16, columns: u16| {
        let event = Event::of(container, "resize").with("height", rows).with("width", columns);
        engine.tell(&[event]);
    };
    let end = connection.run(&AttachOptions { resized: Some(&resized), ..options.clone() });
    if let Ok(AttachEnd::Detached) = end {
        engine.tell(&[Event::of(container, "detach")]);
    }
    if let Ok(AttachEnd::Interrupted(signal)) = end
        && let Some(note) = engine.goes_on(container, signal)
    {
        say(&note);
    }
    match end {
        Ok(AttachEnd::Exited(code)) => Ok(code),
        Ok(AttachEnd::Detached) => Ok(0),
        Ok(AttachEnd::Interrupted(signal)) => Ok(128 + signal),
        Err(error) => Err(Failure { code: ENGINE, ..Failure::new(error.to_string()) }),
    }
}

/// Errors of `run` and `create`: 126 and 127 where the program can't be run or isn't there, else 125.
pub fn engine_failed(error: impl Into<Failure>) -> Failure {
    let failure = error.into();
    Failure { code: if failure.code == 1 { ENGINE } else { failure.code }, ..failure }
}

/// The image is looked up, the flags are understood, and both are put together; and what the caller should be told about that.
pub fn settings(
    context: &Context,
    engine: &Engine,
    args: &mut ContainerArgs,
    may_pull: bool,
) -> Result<(Settings, Vec<String>), Failure> {
    context.config.fill(args);
    let args = &*args;
    let image = resolve::image(engine, args, may_pull)?;
    let failed = |message: String| Failure { code: ENGINE, ..Failure::new(message) };
    let (mut settings, mut notes) = resolve::resolve(args, image.as_ref()).map_err(failed)?;
    context.config.fill_settings(&mut settings);
    for word in &args.volumes_from {
        let (name, read_only) = resolve::volumes_from(word).map_err(failed)?;
        let other = engine.find(name).map_err(engine_failed)?;
        resolve::add_mounts_of(&mut settings, &other, read_only);
    }
    notes.extend(engine::ignored_limits(&settings).into_iter().map(str::to_owned));
    Ok((settings, notes))
}

/// `--detach-keys`, else the usual ones.
pub fn detach_keys(context: &Context, text: Option<&str>) -> Result<DetachKeys, Failure> {
    match text.or(context.config.detach_keys.as_deref()) {
        None => Ok(DetachKeys::default()),
        Some(text) => text.parse().map_err(|e| Failure::flag(format!("{e}"))),
    }
}

/// `--cidfile`: claimed before anything is made, so that two runs can't share one.
pub struct CidFile {
    path: PathBuf,
    file: std::fs::File,
}

impl CidFile {
    pub fn claim(path: &str) -> Result<CidFile, Failure> {
        let failed = |cause: String| Failure { code: ENGINE, ..Failure::new(cause) };
        match std::fs::File::create_new(path) {
            Ok(file) => Ok(CidFile { path: path.into(), file }),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Err(failed(format!(
                "container ID file found, make sure the other container isn't running or delete {path}"
            ))),
            Err(e) => Err(failed(format!("failed to create the container ID file {path}: {}", io_words(&e)))),
        }
    }

    pub fn write(mut self, id: &str) -> Result<(), Failure> {
        let outcome = self.file.write_all(id.as_bytes());
        let path = std::mem::take(&mut self.path);
        outcome.map_err(|e| Failure {
            code: ENGINE,
            ..Failure::new(format!("cannot write the container ID file '{}': {e}", path.display()))
        })
    }
}

/// A claim that was not used leaves no empty file.
impl Drop for CidFile {
    fn drop(&mut self) {
        if self.path != Path::new("") {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// `No such file or directory (os error 2)` as `no such file or directory`.
pub fn io_words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// What `run` makes of words, for the tests of what they mean.
#[cfg(test)]
pub fn test_parse(words: Vec<String>) -> Result<ContainerArgs, Failure> {
    let context =
        Context { root: "/r".into(), state: "/s".into(), command: "run".to_owned(), ..Context::default() };
    match parse::<RunArgs>(&context, &SHAPE, words) {
        Ok(args) => Ok(args.container),
        Err(outcome) => Err(outcome.err().unwrap_or_else(|| Failure::new("help"))),
    }
}

#[cfg(test)]
pub fn run_help(context: &Context) -> String {
    super::args::help::<RunArgs>(&context.command, &SHAPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_passed_on_unless_told_otherwise() {
        let context = Context {
            root: "/r".into(),
            state: "/s".into(),
            command: "run".to_owned(),
            ..Context::default()
        };
        let proxy = |line: &str| {
            let words = line.split(' ').map(str::to_owned).collect();
            parse::<RunArgs>(&context, &SHAPE, words).map(|args| args.sig_proxy).unwrap()
        };
        assert!(proxy("busybox"));
        assert!(proxy("--sig-proxy busybox"));
        assert!(!proxy("--sig-proxy=false busybox"));
    }
}
