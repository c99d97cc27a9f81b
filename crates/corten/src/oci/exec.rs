//! `corten oci exec`

use super::{Context, console, create, parse};
use crate::cli::{Failure, Outcome, args::Shape};
use clap::Args;
use runtime::Stdio;
use runtime::oci::process::{Capabilities, Document};
use runtime::oci::{self, Exec, SubGroup};
use std::path::PathBuf;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] ID COMMAND [ARG...], or --process FILE ID",
    about: "Run a further program in a container",
    words: (1, usize::MAX),
};

#[derive(Debug, Args)]
struct ExecArgs {
    /// The file that says what to run: a `process` as in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// A socket that the terminal's master is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<String>,
    /// A socket that a descriptor of the process is sent to
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<String>,
    /// Write the process' pid to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// The directory in which it starts
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Add an environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Its user, and group: numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Further groups: numbers
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<String>,
    /// Add a capability
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    /// Nothing that it executes gets more rights
    #[arg(long)]
    no_new_privs: Option<Option<String>>,
    /// Its AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Its SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Descriptors from 3 on that it keeps
    #[arg(long, default_value_t = 0, value_name = "N")]
    preserve_fds: u32,
    /// A control group below the container's to run it in
    #[arg(long, value_name = "[CONTROLLER:]GROUP")]
    cgroup: Vec<String>,
    /// Also in a container that is paused
    #[arg(long)]
    ignore_paused: bool,
    #[arg(trailing_var_arg = true)]
    words: Vec<String>,
}

/// What runc answers for its own errors.
const FAILED: i32 = 255;

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ExecArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    run(context, &args).map_err(|failure| Failure {
        code: FAILED,
        message: format!("exec failed: {}", failure.message),
        ..failure
    })
}

fn run(context: &Context, args: &ExecArgs) -> Outcome {
    create::check_open(3, args.preserve_fds)?;
    let record = context.containers.load(&args.words[0])?;
    let mut held = Vec::new();
    if oci::rootless::is_user() {
        engine::seal_as_user()?;
        held = oci::rootless::enter(&context.containers, &record)?;
    } else if !record.has_own_ids() {
        engine::seal()?;
    }
    let own = oci::kept(&context.containers, &record)?;
    let linux = own.linux.unwrap_or_default().part();
    let container = own.process.unwrap_or_default();
    let what = Exec {
        process: document(args, &container)?,
        groups: SubGroup::parse(&args.cgroup)?,
        ignore_paused: args.ignore_paused,
        keep_fds: args.preserve_fds,
        held,
    };
    let tty = what.process.terminal;
    match &args.console_socket {
        None if args.detach && tty => {
            return Err(Failure::new("a terminal and --detach need --console-socket"));
        }
        Some(_) if !args.detach || !tty => {
            return Err(Failure::new("--console-socket: only with --detach and a terminal"));
        }
        _ => {}
    }
    let socket = |path: &Option<String>| path.as_deref().map(console::connect).transpose();
    let (terminal, pidfd) = (socket(&args.console_socket)?, socket(&args.pidfd_socket)?);
    let stdio = if tty { Stdio::Terminal } else { create::own_stdio()? };
    let (mut warn, mut debug) = (|line: &str| context.warn(line), |line: &str| context.debug(line));
    let own = (&container, &linux);
    let mut launched = oci::exec(&context.containers, &record, own, &what, stdio, &mut warn, &mut debug)?;
    let pid_file = args.pid_file.as_deref();
    let wanted = create::Wanted { console: terminal, pidfd, pidfd_name: "setns", pid_file };
    if let Err(failure) = wanted.give(&mut launched) {
        let _ = rustix::process::pidfd_send_signal(&launched.pidfd, rustix::process::Signal::KILL);
        return Err(failure);
    }
    if args.detach {
        return Ok(0);
    }
    create::attend(launched.master.take(), launched.pidfd)
}

/// What to run: the file, or the container's own process with what the flags say instead.
fn document(args: &ExecArgs, own: &Document) -> Result<Document, Failure> {
    if let Some(path) = &args.process {
        let json = std::fs::read(path).map_err(|e| {
            Failure::new(format!("cannot read {}: {}", path.display(), crate::cli::io_words(&e)))
        })?;
        return Ok(Document::parse(&json)?);
    }
    let mut document = own.clone();
    document.args = args.words[1..].to_vec();
    if document.args.is_empty() {
        return Err(Failure::new("exec args cannot be empty"));
    }
    document.terminal = args.tty;
    if document.terminal && !args.detach {
        // Its size is that of the terminal that it is shown on.
        document.console_size = engine::attach::terminal_size()
            .map(|(rows, columns)| oci::process::ConsoleSize { height: rows.into(), width: columns.into() });
    }
    document.env.extend(args.env.iter().cloned());
    if let Some(cwd) = args.cwd.as_ref().filter(|cwd| !cwd.is_empty()) {
        document.cwd.clone_from(cwd);
    }
    if let Some(profile) = &args.apparmor {
        document.apparmor_profile.clone_from(profile);
    }
    if let Some(label) = &args.process_label {
        document.selinux_label.clone_from(label);
    }
    match args.no_new_privs.as_ref().map(|value| value.as_deref().unwrap_or("true")) {
        None => {}
        Some(word) => {
            document.no_new_privileges = crate::cli::args::go_bool(word)
                .map_err(|why| Failure::new(format!("invalid value '{word}' for --no-new-privs: {why}")))?;
        }
    }
    if !args.cap.is_empty() {
        add(document.capabilities.get_or_insert_default(), &args.cap);
    }
    if let Some(user) = args.user.as_ref().filter(|user| !user.is_empty()) {
        let (uid, gid) = user.split_once(':').map_or((user.as_str(), None), |(uid, gid)| (uid, Some(gid)));
        document.user.uid = number("uid", uid)?;
        if let Some(gid) = gid {
            document.user.gid = number("gid", gid)?;
        }
    }
    for gid in &args.additional_gids {
        document.user.additional_gids.push(number("gid", gid)?);
    }
    Ok(document)
}

/// Ambient ones only where the container's has inheritable ones: without, they cannot be.
fn add(capabilities: &mut Capabilities, more: &[String]) {
    let Capabilities { bounding, effective, permitted, inheritable, ambient } = capabilities;
    for set in [bounding, effective, permitted] {
        set.extend(more.iter().cloned());
    }
    if !inheritable.is_empty() {
        ambient.extend(more.iter().cloned());
    }
}

/// A number and nothing else (CVE-2024-40635, CVE-2026-30892).
fn number(what: &str, word: &str) -> Result<u32, Failure> {
    let digits = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    match word.parse::<u32>() {
        Ok(n) if digits && n <= i32::MAX as u32 => Ok(n),
        _ => Err(Failure::new(format!("bad {what} '{word}': not a number between 0 and 2147483647"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> ExecArgs {
        let cli = crate::cli::Context {
            root: PathBuf::new(),
            state: PathBuf::new(),
            command: "oci exec".to_owned(),
            ..crate::cli::Context::default()
        };
        let words = line.split_whitespace().map(str::to_owned).collect();
        crate::cli::parse(&cli, &SHAPE, words).unwrap_or_else(|_| panic!("{line}"))
    }

    fn own() -> Document {
        Document::parse(
            br#"{"terminal": true, "cwd": "/own", "env": ["A=1"], "user": {"uid": 7, "additionalGids": [3]},
                "capabilities": {"bounding": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}, "noNewPrivileges": true}"#,
        )
        .unwrap()
    }

    #[test]
    fn flags_come_before_the_containers_own() {
        let d = document(&parsed("web sh -c exit"), &own()).unwrap();
        assert_eq!((d.args.join(" ").as_str(), d.terminal, d.cwd.as_str()), ("sh -c exit", false, "/own"));
        assert!(d.no_new_privileges && d.user.uid == 7);
        let d = document(
            &parsed("-t --cwd /x -e B=2 --env=C=3 -u 1:2 -g 4 -g 5 -c CAP_CHOWN --no-new-privs=false --apparmor a --process-label b web -x -t"),
            &own(),
        )
        .unwrap();
        assert_eq!((d.args.join(" ").as_str(), d.terminal, d.cwd.as_str()), ("-x -t", true, "/x"));
        assert_eq!((d.env.join(" ").as_str(), d.user.uid, d.user.gid), ("A=1 B=2 C=3", 1, 2));
        assert_eq!(d.user.additional_gids, [3, 4, 5]);
        assert_eq!(
            (d.no_new_privileges, d.apparmor_profile.as_str(), d.selinux_label.as_str()),
            (false, "a", "b")
        );
        let caps = d.capabilities.unwrap();
        assert_eq!(
            (caps.bounding.join(" ").as_str(), caps.ambient.join(" ").as_str()),
            ("CAP_KILL CAP_CHOWN", "CAP_CHOWN")
        );
        assert_eq!(caps.permitted, ["CAP_CHOWN"]);
    }

    #[test]
    fn what_is_no_number_is_nobody() {
        for line in [
            "-u root web a",
            "-u -1 web a",
            "-u 2147483648 web a",
            "-u 1: web a",
            "-u +1 web a",
            "-g x web a",
        ] {
            let error = document(&parsed(line), &own()).unwrap_err();
            assert!(error.message.contains("not a number"), "{line}: {}", error.message);
        }
        assert!(document(&parsed("web"), &own()).is_err());
    }
}
