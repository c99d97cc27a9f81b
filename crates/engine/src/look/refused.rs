//! A program in a container, watched: which of its system calls the kernel refuses, and by which rule. The call is seen by ptrace(2);
//! the rule is found from what decides in the kernel: the container's own filter, run on the very arguments; capabilities and
//! mounts of the process at that moment; the list of devices; owner and mode of the file.

mod bounds;
mod paths;
mod rights;

pub use bounds::Bounds;

use super::Running;
use crate::Engine;
use crate::specify::{credentials, filter};
use kernel::bpf::DeviceRule;
use kernel::caps::{Cap, CapSet};
use kernel::process::{self, Side};
use kernel::seccomp::{Action, Call, Program};
use kernel::trace::{self, Phase, Stop};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::HashMap;
use std::io;

/// A call that was refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// `mount`, or `a netlink request`.
    pub call: String,
    /// What it was about, where it was about a file.
    pub path: Option<String>,
    /// `EPERM`, `EACCES`, `EROFS`; empty where it went well and gave nothing.
    pub errno: &'static str,
    pub pid: i32,
    pub program: String,
    pub rule: Rule,
    /// How often.
    pub times: usize,
}

/// What refused it.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// The filter of system calls; with this capability the profile lets the call through.
    Seccomp {
        with: Option<Cap>,
        kills: bool,
    },
    /// The process lacks it. Its user, who is not root, could have it: it is within the container's bounds.
    Capability {
        cap: Cap,
        within_bounds: bool,
    },
    /// It has it, but over its own user namespace only.
    OverItsOwnOnly(Cap),
    ReadOnly(Mount),
    /// Nothing of it is shown, because it tells of the host or changes it.
    Masked {
        path: String,
    },
    /// The control group allows no such access: `c 10:200`.
    Device {
        numbers: String,
    },
    /// No device can be made, or used where it was made, in a user namespace.
    DeviceInNamespace,
    /// Owner and mode of the file, or of a directory on the way to it.
    Owner {
        path: String,
        owner: u32,
        group: u32,
        mode: u32,
        user: u32,
    },
    /// The file belongs to a user of the host's who is nobody in the container.
    NotMapped {
        path: String,
    },
    NoExec(Mount),
    NoDevices(Mount),
    /// A security module confines the process: most likely that one.
    Label(String),
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub at: String,
    pub kind: String,
    pub options: String,
}

/// What is known of the container beforehand.
struct Watch<'a> {
    running: &'a Running,
    program: Option<Program>,
    /// The filter that there would be with one capability more.
    with: Vec<(Cap, Option<Program>)>,
    devices: Vec<DeviceRule>,
    masked: Vec<String>,
    found: Vec<Refused>,
}

impl Engine {
    /// Watches what `run` starts in the container (in a process of its own, whose exit code it answers), and all that comes of it.
    ///
    /// Errors: this process may not watch.
    pub fn watch(&self, running: &Running, run: impl FnOnce() -> i32) -> io::Result<(i32, Vec<Refused>)> {
        let mut watch = self.prepare_watch(running)?;
        let (gate, open) = pipe_with(PipeFlags::CLOEXEC)?;
        let first = match process::fork()? {
            Side::Parent { pid, .. } => pid,
            Side::Child => {
                drop(open);
                // It begins when it is watched, and not at all when nobody watches.
                let mut byte = [0];
                let code = if rustix::io::read(&gate, &mut byte) == Ok(1) { run() } else { 125 };
                process::exit(code)
            }
        };
        drop(gate);
        trace::seize(first)?;
        rustix::io::write(&open, b"x")?;
        let code = watch.follow(first)?;
        Ok((code, watch.found))
    }

    fn prepare_watch<'a>(&self, running: &'a Running) -> io::Result<Watch<'a>> {
        let s = &running.container.settings;
        let root = crate::users::find("0", "", "", &[]).map_err(io::Error::other)?;
        let caps = credentials(s, &root, false).map_err(io::Error::other)?.bounding;
        let program = |caps| filter::seccomp(s, caps, false).map_err(io::Error::other);
        let lacks = (CapSet::ALL - caps).iter();
        let with = lacks.map(|cap| Ok((cap, program(caps | cap.into())?))).collect::<io::Result<_>>()?;
        let open = s.privileged || s.security.unmask;
        Ok(Watch {
            running,
            program: program(caps)?,
            with,
            devices: crate::devices::all_rules(s).map_err(io::Error::other)?,
            masked: if open { Vec::new() } else { crate::specify::masked() },
            found: Vec::new(),
        })
    }
}

impl Watch<'_> {
    /// Until all have ended; the exit code of the first.
    fn follow(&mut self, first: i32) -> io::Result<i32> {
        let mut code = 0;
        // Where each stands in a call.
        let mut calls: HashMap<i32, Call> = HashMap::new();
        // Until the program has begun, what is done is the engine's.
        let mut begun = false;
        loop {
            let (pid, stop) = match trace::next() {
                Ok(stopped) => stopped,
                Err(Errno::CHILD) => return Ok(code),
                Err(error) => return Err(error.into()),
            };
            let mut signal = 0;
            match stop {
                Stop::Ended { code: its } => {
                    // A call that the filter kills for is never left.
                    if let Some(call) = calls.remove(&pid).filter(|_| its == 128 + 31) {
                        self.killed(pid, &call);
                    }
                    if pid == first {
                        code = its;
                    }
                    continue;
                }
                Stop::Executed => {
                    begun |= pid != first;
                    calls.remove(&pid);
                }
                Stop::Call => match trace::call(pid) {
                    Ok(Phase::Enter(call)) => drop(calls.insert(pid, call)),
                    Ok(Phase::Leave(answer)) => {
                        if let Some(call) = calls.remove(&pid) {
                            self.left(pid, &call, answer);
                        }
                    }
                    _ => {}
                },
                Stop::Signal(number) => signal = number,
                Stop::Born | Stop::Stopped => {}
            }
            // Killed meanwhile: that is told next.
            let _ = trace::go_on(pid, begun && pid != first, signal);
        }
    }

    fn killed(&mut self, pid: i32, call: &Call) {
        let rule = Rule::Seccomp { with: self.allowed_with(call), kills: true };
        self.add(pid, trace::name(call).to_owned(), None, "killed", rule);
    }

    fn left(&mut self, pid: i32, call: &Call, answer: i64) {
        let name = trace::name(call);
        let errno = match answer {
            -1 => "EPERM",
            -13 => "EACCES",
            -30 => "EROFS",
            0.. => return self.went_well(pid, name, call, answer),
            _ => return,
        };
        let path = paths::of_call(pid, name, call);
        let rule = self.rule(pid, name, call, answer, path.as_deref());
        self.add(pid, name.to_owned(), path, errno, rule);
    }

    /// A masked file is empty, which is no error; and netlink's answers are data.
    fn went_well(&mut self, pid: i32, name: &str, call: &Call, answer: i64) {
        if matches!(name, "open" | "openat" | "openat2") && !self.masked.is_empty() {
            let Some(path) = paths::of_call(pid, name, call) else { return };
            if let Some(masked) = self.mask_of(&path) {
                self.add(pid, name.to_owned(), Some(path), "", Rule::Masked { path: masked });
            }
        } else if paths::netlink_refusal(pid, name, call, answer) {
            let caps = rights::Rights::of(pid);
            let rule = self.by_capability(Cap::NetAdmin, &caps);
            self.add(pid, "a request of netlink(7)".to_owned(), None, "EPERM", rule);
        }
    }

    fn mask_of(&self, path: &str) -> Option<String> {
        let below = |masked: &&String| {
            path.strip_prefix(masked.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.masked.iter().find(below).cloned()
    }

    fn add(&mut self, pid: i32, call: String, path: Option<String>, errno: &'static str, rule: Rule) {
        let same = |r: &&mut Refused| r.call == call && r.path == path && r.errno == errno && r.rule == rule;
        if let Some(known) = self.found.iter_mut().find(same) {
            known.times += 1;
            return;
        }
        let program = super::spaces::command(pid);
        self.found.push(Refused { call, path, errno, pid, program, rule, times: 1 });
    }

    fn allowed_with(&self, call: &Call) -> Option<Cap> {
        let allows = |program: &Option<Program>| {
            program.as_ref().is_none_or(|program| matches!(program.answer(call), Action::Allow | Action::Log))
        };
        self.with.iter().find(|(_, program)| allows(program)).map(|(cap, _)| *cap)
    }

    fn by_capability(&self, cap: Cap, rights: &rights::Rights) -> Rule {
        match rights.effective.has(cap) {
            false => rights.lacks(cap),
            true if self.running.container.id_base != 0 => Rule::OverItsOwnOnly(cap),
            true => Rule::Unknown,
        }
    }

    /// In the order in which the kernel looks: the filter first, then mounts, then rights.
    fn rule(&self, pid: i32, name: &str, call: &Call, answer: i64, path: Option<&str>) -> Rule {
        let number = u16::try_from(-answer).unwrap_or(0);
        if self.program.as_ref().is_some_and(|program| program.answer(call) == Action::Errno(number)) {
            return Rule::Seccomp { with: self.allowed_with(call), kills: false };
        }
        let rights = rights::Rights::of(pid).inside(self.running.container.id_base);
        let file = path.map(|path| (path, paths::mount_of(pid, path)));
        if let Some((path, mount)) = &file {
            if let Some(masked) = self.mask_of(path) {
                return Rule::Masked { path: masked };
            }
            let has = |option: &str| mount.options.split(',').any(|o| o == option);
            if answer == -30 {
                return Rule::ReadOnly(mount.clone());
            }
            if name.starts_with("exec") && has("noexec") {
                return Rule::NoExec(mount.clone());
            }
            let base = self.running.container.id_base;
            if let Some(rule) = rights::of_file(pid, name, call, path, mount, &rights, &self.devices, base) {
                return rule;
            }
        }
        if name.starts_with("mknod") {
            return rights::of_mknod(name, call, &rights, &self.devices, self.running.container.id_base);
        }
        let by_capability = rights::needed(pid, name, call).map(|cap| self.by_capability(cap, &rights));
        match by_capability {
            Some(Rule::Unknown) | None => match rights.label {
                Some(label) => Rule::Label(label),
                None => Rule::Unknown,
            },
            Some(rule) => rule,
        }
    }
}
