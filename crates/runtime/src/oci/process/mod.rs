//! `process`: what runs, as whom, with which rights; in `config.json` and in the file of `exec --process`.
//!
//! The types are our own: names of capabilities and flags that are not known are a matter of judgement, not of syntax.

mod document;
mod priorities;
mod rights;
#[cfg(test)]
mod tests;

pub use document::{Capabilities, ConsoleSize, Document, LinuxPart, MemoryPolicy, Personality};
pub use rights::has_module;

use super::{Config, ConfigError, Listener};
use crate::Process;
use kernel::caps::{self, CapSet};
use kernel::schedule::BitSet;
use steps::{Affinity, Credentials};

/// What the conversion asks of the machine.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// What can be given at most: all that the kernel knows in a user namespace of the container's, else what we have.
    pub grantable: CapSet,
    /// All that the kernel knows.
    pub known: CapSet,
    /// Whether the security module runs; asked only for a label.
    pub has_module: fn(Module) -> bool,
}

/// A security module whose labels are known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    AppArmor,
    Selinux,
}

impl Facts {
    /// Of this machine, for a container with a user namespace of its own or without.
    pub fn read(user_namespace: bool) -> Facts {
        let known = CapSet(u64::MAX >> (63 - caps::last_cap().unwrap_or(40).min(63)));
        let held = caps::current().map_or(CapSet::EMPTY, |(_, permitted, _)| permitted);
        let grantable = if user_namespace { known } else { known & held };
        Facts { grantable, known, has_module: rights::has_module }
    }
}

/// Where the process belongs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The container's.
    pub id: &'a str,
    /// Its first process, or a further one.
    pub first: bool,
    /// The container has a user namespace of its own.
    pub user_namespace: bool,
    /// It keeps the session keyring of the caller (`--no-new-keyring`).
    pub no_new_keyring: bool,
}

/// What became of a `process`.
#[derive(Debug)]
pub struct Converted {
    pub process: Process,
    /// See [`crate::Spec::oom_score_adj`].
    pub oom_score_adj: Option<i32>,
    /// `execCPUAffinity.initial`.
    pub first_cpus: Option<BitSet>,
    /// Who answers system calls for it.
    pub listener: Option<Listener>,
    /// What was asked for and is not given: a line each.
    pub warnings: Vec<String>,
}

/// The program of a container or of an `exec`. `linux` is what `config.json` says of all processes of the container.
pub fn process(from: &Document, linux: &LinuxPart, place: &Place<'_>, facts: &Facts) -> Config<Converted> {
    let wrong = |field: &str, why: &str| ConfigError::new(format!("process.{field}"), why);
    if from.args.first().is_none_or(String::is_empty) {
        return Err(wrong("args", "is empty"));
    }
    // See execve(2), MAX_ARG_STRLEN.
    if let Some(long) = from.args.iter().find(|arg| arg.len() >= 131_072) {
        return Err(wrong(
            "args",
            &format!("a word of {} bytes is longer than the kernel takes", long.len()),
        ));
    }
    if from.args.iter().any(|arg| arg.contains('\0')) {
        return Err(wrong("args", "contains a zero byte"));
    }
    if from.cwd.is_empty() {
        return Err(wrong("cwd", "is missing"));
    }
    if !from.cwd.starts_with('/') || from.cwd.contains('\0') {
        return Err(wrong("cwd", &format!("'{}' is not an absolute path", from.cwd)));
    }
    let mut warnings = Vec::new();
    let (seccomp, listener) = match &linux.seccomp {
        None => (None, None),
        Some(profile) => {
            let (program, listener) = super::seccomp(profile)?;
            (program, listener)
        }
    };
    let user = &from.user;
    let mut credentials = Credentials {
        uid: rights::id("process.user.uid", user.uid)?,
        gid: rights::id("process.user.gid", user.gid)?,
        groups: rights::groups(&user.additional_gids)?,
        umask: Some(rights::umask(user.umask)?),
        no_new_privileges: from.no_new_privileges,
        limits: rights::limits(&from.rlimits)?,
        personality: priorities::personality(linux.personality.as_ref(), &mut warnings)?,
        memory_policy: priorities::memory_policy(linux.memory_policy.as_ref())?,
        keyring: rights::keyring(from, place),
        labels: rights::labels(from, facts)?,
        seccomp,
        ..Credentials::default()
    };
    rights::capabilities(from.capabilities.as_ref(), facts, &mut credentials, &mut warnings)?;
    let (first_cpus, cpus) = priorities::affinity(from.exec_cpu_affinity.as_ref())?;
    let process = Process {
        argv: from.args.clone(),
        env: environment(&from.env)?,
        cwd: from.cwd.clone(),
        terminal: from.terminal,
        terminal_size: terminal_size(from)?,
        init: false,
        home: true,
        credentials,
        scheduler: priorities::scheduler(from.scheduler.as_ref())?,
        io_priority: priorities::io_priority(from.io_priority.as_ref())?,
        affinity: match (place.first, first_cpus.is_some(), cpus) {
            // Not that of whoever called the runtime.
            (true, _, _) | (false, false, None) => Affinity::All(BitSet::all()),
            (false, true, None) => Affinity::Inherited,
            (false, _, Some(cpus)) => Affinity::Set(cpus),
        },
    };
    Ok(Converted {
        process,
        oom_score_adj: rights::oom_score_adj(from.oom_score_adj)?,
        first_cpus: first_cpus.filter(|_| !place.first),
        listener,
        warnings,
    })
}

/// The last of two of the same name wins; an empty `HOME` is none.
fn environment(given: &[String]) -> Config<Vec<String>> {
    let mut env: Vec<String> = Vec::with_capacity(given.len());
    let mut seen = std::collections::HashSet::with_capacity(given.len());
    for (index, entry) in given.iter().enumerate().rev() {
        let wrong = |why: &str| ConfigError::new(format!("process.env[{index}]"), why);
        match entry.split_once('=') {
            None => return Err(wrong(&format!("'{entry}' has no '='"))),
            Some(("", _)) => return Err(wrong(&format!("'{entry}' has no name"))),
            Some(_) if entry.contains('\0') => return Err(wrong("contains a zero byte")),
            Some((name, value)) => {
                if seen.insert(name) && !(name == "HOME" && value.is_empty()) {
                    env.push(entry.clone());
                }
            }
        }
    }
    env.reverse();
    Ok(env)
}

fn terminal_size(from: &Document) -> Config<Option<(u16, u16)>> {
    let Some(size) = from.console_size.as_ref().filter(|_| from.terminal) else { return Ok(None) };
    let of = |field: &str, n: u64| {
        u16::try_from(n).map_err(|_| {
            ConfigError::new(format!("process.consoleSize.{field}"), format!("{n} is too large"))
        })
    };
    let size = (of("height", size.height)?, of("width", size.width)?);
    Ok(Some(size).filter(|(rows, columns)| *rows != 0 && *columns != 0))
}
