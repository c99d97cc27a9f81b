//! `corten oci create`, and what it shares with `run`

use super::{Context, console, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use crate::explain::{self, Form};
use clap::Args;
use engine::attach::{AttachEnd, AttachOptions, DetachKeys, pump_terminal, wait_proxying};
use runtime::oci::{self, Bundle, Create, Record};
use runtime::{Launched, Stdio};
use rustix::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] ID",
    about: "Create a container from a bundle; its program waits for `start`",
    words: (1, 1),
};

/// What both take.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// The directory with config.json and root file system
    #[arg(short, long, default_value = ".", value_name = "DIR")]
    pub bundle: PathBuf,
    /// Write the pid of the container's first process to this file
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// A socket that the terminal's master is sent to
    #[arg(long, value_name = "SOCKET")]
    pub console_socket: Option<String>,
    /// A socket that a descriptor of the first process is sent to
    #[arg(long, value_name = "SOCKET")]
    pub pidfd_socket: Option<String>,
    /// Descriptors from 3 on that the program keeps
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub preserve_fds: u32,
    /// Taken for runc's sake: the root is always changed by pivot_root(2)
    #[arg(long)]
    pub no_pivot: bool,
    /// Stay in the caller's session keyring
    #[arg(long)]
    pub no_new_keyring: bool,
    /// Print what would be done, and do nothing: text, sh or json
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "text", value_name = "FORM", value_parser = Form::parse)]
    pub explain: Option<Form>,
    /// Print each step as it is done
    #[arg(long)]
    pub trace: bool,
    pub words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: MakeArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let bundle = read(&args)?;
    if let Some(form) = args.explain {
        return explain(context, &bundle, &args, form, true);
    }
    let wants_terminal = terminal(&bundle);
    match (&args.console_socket, wants_terminal) {
        (None, true) => {
            return Err(Failure::new("config.json: process.terminal: create needs --console-socket for it"));
        }
        (Some(_), false) => {
            return Err(Failure::new("--console-socket: config.json asks for no terminal"));
        }
        _ => {}
    }
    let stdio = if wants_terminal { Stdio::Terminal } else { own_stdio()? };
    make(context, &bundle, &args, true, stdio)?;
    Ok(0)
}

/// Whether what the program is to keep is there. To be asked before anything of our own takes its place.
pub fn check_open(first: u32, count: u32) -> Result<(), Failure> {
    let missing =
        (first..).take(count as usize).find(|fd| !Path::new(&format!("/proc/self/fd/{fd}")).exists());
    match missing {
        Some(fd) => Err(Failure::new(format!("--preserve-fds: descriptor {fd} is not open"))),
        None => Ok(()),
    }
}

/// How many descriptors the caller says that it passes on. See sd_listen_fds(3).
fn passed_on() -> u32 {
    const MOST: u32 = 1 << 20;
    let said = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse::<u32>().ok());
    said.filter(|n| *n <= MOST).unwrap_or_default()
}

/// Reads the bundle, and goes on out of its reach where it has the host's ids.
pub fn read(args: &MakeArgs) -> Result<Bundle, Failure> {
    check_open(3 + passed_on(), args.preserve_fds)?;
    let mut bundle = Bundle::read(&args.bundle)?;
    if let (Some(process), count @ 1..) = (&mut bundle.config.process, passed_on()) {
        // They are the program's, which is process 1 of its namespace.
        process.env.extend([format!("LISTEN_FDS={count}"), "LISTEN_PID=1".to_owned()]);
    }
    if args.explain.is_some() {
        return Ok(bundle);
    }
    if oci::rootless::is_user() {
        engine::seal_as_user()?;
        oci::rootless::enter_new(&mut bundle)?;
    } else if !bundle.has_own_ids() {
        engine::seal()?;
    }
    Ok(bundle)
}

pub fn terminal(bundle: &Bundle) -> bool {
    bundle.config.process.as_ref().is_some_and(|process| process.terminal)
}

/// Our own input and output become the program's.
pub fn own_stdio() -> Result<Stdio, Failure> {
    let copy = |fd: rustix::fd::BorrowedFd<'_>| {
        rustix::io::fcntl_dupfd_cloexec(fd, 3)
            .map_err(|e| Failure::new(format!("cannot hand on a standard descriptor: {e}")))
    };
    Ok(Stdio::Given([
        copy(rustix::stdio::stdin())?,
        copy(rustix::stdio::stdout())?,
        copy(rustix::stdio::stderr())?,
    ]))
}

fn create(context: &Context, args: &MakeArgs, wait: bool) -> Create {
    Create {
        id: args.words[0].clone(),
        wait,
        keep_fds: args.preserve_fds.saturating_add(passed_on()),
        no_new_keyring: args.no_new_keyring,
        systemd: context.systemd,
        rootless: context.rootless,
        created: engine::Time::now().rfc3339(),
        owner: owner(),
    }
}

pub fn explain(context: &Context, bundle: &Bundle, args: &MakeArgs, form: Form, wait: bool) -> Outcome {
    let plan = oci::explain(&context.containers, bundle, &create(context, args, wait))?;
    crate::cli::print(&explain::show(&plan, form))?;
    Ok(0)
}

/// Makes the container, and hands out what the caller wants of it. A terminal that nobody wants stays with the answer.
pub fn make(
    context: &Context,
    bundle: &Bundle,
    args: &MakeArgs,
    wait: bool,
    stdio: Stdio,
) -> Result<(Record, Launched, Option<OwnedFd>), Failure> {
    let socket = |path: &Option<String>| path.as_deref().map(console::connect).transpose();
    let (console, pidfd) = (socket(&args.console_socket)?, socket(&args.pidfd_socket)?);
    let mut tell;
    let watch = if args.trace {
        tell = runtime::teller();
        runtime::Watch::Told(&mut tell)
    } else {
        runtime::Watch::Nobody
    };
    let (record, mut launched) =
        oci::create(&context.containers, bundle, &create(context, args, wait), stdio, watch, &|line| {
            context.warn(line)
        })?;
    let wanted = Wanted { console, pidfd, pidfd_name: "standard", pid_file: args.pid_file.as_deref() };
    if let Err(failure) = wanted.give(&mut launched) {
        oci::delete(&context.containers, &record, true, &|line| context.warn(line))?;
        return Err(failure);
    }
    let master = launched.master.take();
    Ok((record, launched, master))
}

/// What the caller wants to have of a new process.
pub struct Wanted<'a> {
    /// Where the terminal's master goes.
    pub console: Option<OwnedFd>,
    /// Where a hold on the process goes, by which name.
    pub pidfd: Option<OwnedFd>,
    pub pidfd_name: &'static str,
    pub pid_file: Option<&'a Path>,
}

impl Wanted<'_> {
    /// A master that has been sent is no more ours.
    pub fn give(self, launched: &mut Launched) -> Result<(), Failure> {
        if let (Some(socket), Some(master)) = (&self.console, &launched.master) {
            console::send(socket, "/dev/ptmx", master.as_fd())?;
            launched.master = None;
        }
        if let Some(socket) = &self.pidfd {
            console::send(socket, self.pidfd_name, launched.pidfd.as_fd())?;
        }
        self.pid_file.map_or(Ok(()), |path| write_pid(path, launched.pid))
    }
}

/// Stays with a program until it has ended, its terminal on ours or signals passed on to it: its exit code.
pub fn attend(master: Option<OwnedFd>, pidfd: OwnedFd) -> Result<i32, Failure> {
    let tty = master.is_some();
    let options = AttachOptions {
        tty,
        interactive: tty,
        sig_proxy: true,
        detach_keys: DetachKeys(Vec::new()),
        resized: None,
    };
    let end = match master {
        Some(master) => pump_terminal(master, pidfd, &options),
        None => wait_proxying(pidfd),
    };
    match end.map_err(|e| Failure::new(e.to_string()))? {
        AttachEnd::Exited(code) => Ok(code),
        AttachEnd::Interrupted(signal) => Ok(128 + signal),
        AttachEnd::Detached => Ok(0),
    }
}

/// Whole or not at all: the caller reads it as soon as it is there.
fn write_pid(path: &Path, pid: i32) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::new(format!("cannot write {}: {e}", path.display()));
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let new = path.with_file_name(format!(".{name}"));
    std::fs::write(&new, pid.to_string()).and_then(|()| std::fs::rename(&new, path)).map_err(failed)
}

/// The user's name, for `list`.
fn owner() -> String {
    let uid = rustix::process::getuid().as_raw();
    if uid == 0 {
        return "root".to_owned();
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = |line: &str| {
        let mut words = line.split(':');
        let name = words.next()?;
        (words.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(name).unwrap_or_else(|| format!("#{uid}"))
}
