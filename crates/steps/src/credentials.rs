//! What the program may do: user, groups, capabilities, limits, labels, system calls.

use crate::shell::by_path;
use crate::{Failure, Limit, Live, Outcome, Slot, Text};
use kernel::caps::{self, Cap, CapSet};
use kernel::keys::{self, Searchers};
use kernel::schedule::{self, BitSet};
use kernel::seccomp::{self, FLAG_NEW_LISTENER, Program};
use rustix::fs::Mode;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The rights of a program, applied in the one order that works. Shared by a container's first process and by `exec`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub umask: Option<u32>,
    /// The five sets. See capabilities(7).
    pub bounding: CapSet,
    pub effective: CapSet,
    pub permitted: CapSet,
    pub inheritable: CapSet,
    pub ambient: CapSet,
    pub no_new_privileges: bool,
    pub limits: Vec<Limit>,
    /// `PER_…`, see personality(2).
    pub personality: Option<u32>,
    pub memory_policy: Option<MemoryPolicy>,
    /// Without one the program inherits that of whoever started the engine.
    pub keyring: Option<Keyring>,
    pub labels: Vec<Label>,
    #[serde(skip)]
    pub seccomp: Option<Program>,
}

/// From which NUMA nodes it gets memory. See set_mempolicy(2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryPolicy {
    /// The number of `MPOL_…`, with `MPOL_F_…`.
    pub mode: u32,
    /// The option of numactl(8) for it.
    pub option: Text,
    pub nodes: BitSet,
}

/// A session keyring of the container's own. See session-keyring(7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Keyring {
    pub name: Text,
    /// The first process makes it and lets others of the container find it.
    pub searchers: Option<Searchers>,
    /// With which SELinux label it is made.
    pub label: Option<Text>,
}

/// A confinement that the kernel puts on the program when it is executed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Label {
    /// A profile, behind the word `exec`: what the kernel's file takes. See apparmor(7).
    AppArmor(Text),
    /// A context.
    Selinux(Text),
}

impl Label {
    pub fn apparmor(profile: &str) -> Label {
        Label::AppArmor(format!("exec {profile}").into())
    }

    /// Writes it through `proc`, the host's own, which was opened before the container was entered: no label goes to a
    /// file that the container put in the place of the kernel's (CVE-2019-16884, CVE-2025-52881).
    fn apply(&self, live: &Live, proc: Slot) -> Outcome {
        let proc = live.fd(proc)?;
        match self {
            Label::AppArmor(text) => {
                match kernel::process::write_own(proc, c"attr/apparmor/exec", text.as_bytes()) {
                    // Before Linux 5.8 there was one file for all.
                    Err(Errno::NOENT) if !has_own_directory(proc) => {
                        kernel::process::write_own(proc, c"attr/exec", text.as_bytes())
                    }
                    other => other,
                }
                .map_err(|e| Failure::new(e, "apparmor profile"))
            }
            Label::Selinux(text) => kernel::process::write_own(proc, c"attr/exec", text.as_bytes())
                .map_err(|e| Failure::new(e, "selinux label")),
        }
    }

    fn command(&self) -> String {
        match self {
            Label::AppArmor(text) => {
                format!("aa-exec -p {} --", crate::quote(text.as_str().trim_start_matches("exec ")))
            }
            Label::Selinux(text) => format!("runcon {}", crate::quote(text.as_str())),
        }
    }
}

/// An unknown profile is "no such file", too: only without the directory the older file is meant.
fn has_own_directory(proc: rustix::fd::BorrowedFd<'_>) -> bool {
    rustix::fs::statat(proc, c"thread-self/attr/apparmor", rustix::fs::AtFlags::empty()).is_ok()
}

impl Credentials {
    /// What needs nothing but to come before the rest, and is seen by nobody else. Allocates nothing.
    pub fn surround(&self, live: &Live, proc: Option<Slot>) -> Outcome {
        if let Some(keyring) = &self.keyring {
            keyring.join(live, proc)?;
        }
        if let Some(persona) = self.personality {
            schedule::set_personality(persona).map_err(|e| Failure::new(e, "personality"))?;
        }
        if let Some(policy) = &self.memory_policy {
            schedule::set_memory_policy(policy.mode, &policy.nodes)
                .map_err(|e| Failure::new(e, "set_mempolicy"))?;
        }
        for label in &self.labels {
            label.apply(live, proc.ok_or(Errno::BADF)?)?;
        }
        Ok(())
    }

    /// The limits, which need the rights that [`Credentials::apply`] gives away. Allocates nothing.
    pub fn apply_limits(&self) -> Outcome {
        for limit in &self.limits {
            kernel::process::set_limit(0, limit.resource, limit.soft, limit.hard)
                .map_err(|e| Failure::new(e, "setrlimit"))?;
        }
        Ok(())
    }

    /// Becomes the user with these rights, but for what [`Credentials::finish`] does. Allocates nothing.
    pub fn apply(&self) -> Outcome {
        if let Some(umask) = self.umask {
            rustix::process::umask(Mode::from_raw_mode(umask));
        }
        caps::drop_bounding(self.bounding).map_err(|e| Failure::new(e, "drop bounding capabilities"))?;
        match kernel::process::set_groups(&self.groups) {
            // Where the user namespace denies it there is nothing to drop: they are nobody's inside. See
            // user_namespaces(7).
            Err(Errno::PERM) if self.groups.is_empty() => {}
            other => other.map_err(|e| Failure::new(e, "setgroups"))?,
        }
        caps::set_keepcaps(true).map_err(|e| Failure::new(e, "keep capabilities"))?;
        kernel::process::set_ids(self.uid, self.gid).map_err(|e| Failure::new(e, "setuid"))?;
        caps::set_keepcaps(false).map_err(|e| Failure::new(e, "keep capabilities"))?;
        // Without no_new_privs a filter needs CAP_SYS_ADMIN, which the program may not have.
        let extra = match self.seccomp.is_some() && !self.no_new_privileges {
            true => CapSet::from(Cap::SysAdmin),
            false => CapSet::EMPTY,
        };
        caps::set(self.effective | extra, self.permitted | extra, self.inheritable)
            .map_err(|e| Failure::new(e, "capset"))?;
        caps::set_ambient(self.ambient).map_err(|e| Failure::new(e, "ambient capabilities"))?;
        if self.no_new_privileges {
            caps::no_new_privs().map_err(|e| Failure::new(e, "no_new_privs"))?;
        }
        Ok(())
    }

    /// The filter, behind which nothing is left to do but to give away what it needed, and to execute. Allocates nothing.
    pub fn finish(&self) -> Outcome {
        match &self.seccomp {
            Some(program) if !self.notifies() => {
                seccomp::install(program).map_err(|e| Failure::new(e, "seccomp"))?;
                self.give_away()
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody on the host answers system calls for the program. Then the filter comes with
    /// [`Credentials::filter_with_listener`], as long as the host's side is there to pass the listener on.
    pub fn notifies(&self) -> bool {
        self.seccomp.as_ref().is_some_and(|program| program.flags & FLAG_NEW_LISTENER != 0)
    }

    /// The filter, whose listener goes to the host's side. From here on write(2) alone must not wait for an answer.
    pub fn filter_with_listener(&self, live: &Live) -> Outcome {
        let Some(program) = &self.seccomp else { return Ok(()) };
        let listener = seccomp::install_listener(program).map_err(|e| Failure::new(e, "seccomp"))?;
        live.hand_over(listener)?;
        self.give_away()
    }

    fn give_away(&self) -> Outcome {
        if self.no_new_privileges || self.effective.has(Cap::SysAdmin) {
            return Ok(());
        }
        caps::set(self.effective, self.permitted, self.inheritable).map_err(|e| Failure::new(e, "capset"))
    }

    /// Commands that do the same but for filter and user, each of which runs the rest of the line.
    pub fn commands(&self, lent: CapSet) -> Vec<String> {
        let mut commands = Vec::new();
        if self.personality == Some(PER_LINUX32) {
            commands.push(by_path("setarch linux32"));
        }
        if let Some(policy) = self.memory_policy.as_ref().filter(|policy| !policy.option.is_empty()) {
            let nodes = if policy.nodes.is_empty() { String::new() } else { format!("={}", policy.nodes) };
            commands.push(by_path(&format!("numactl {}{nodes}", policy.option)));
        }
        if let Some(keyring) = &self.keyring {
            // Few machines have it.
            let name = crate::quote(keyring.name.as_str());
            commands.push(format!("$(k=$(command -v keyctl) && echo $k session {name})"));
        }
        if !self.limits.is_empty() {
            commands.push(by_path(&format!("prlimit{}", crate::limits::options(&self.limits))));
        }
        commands.push(by_path(&self.setpriv(lent)));
        commands.extend(self.labels.iter().map(|label| by_path(&label.command())));
        commands
    }

    /// setpriv(1) with the options that do the same, but for the filter and the user.
    fn setpriv(&self, lent: CapSet) -> String {
        let list = |set: CapSet| {
            set.iter()
                .map(|c| format!("+{}", c.name().trim_start_matches("CAP_").to_lowercase()))
                .collect::<Vec<_>>()
        };
        let comma =
            |set: CapSet| std::iter::once("-all".to_owned()).chain(list(set)).collect::<Vec<_>>().join(",");
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let mut line = format!("setpriv --regid={}", self.gid);
        match groups.is_empty() {
            true => line.push_str(" --clear-groups"),
            false => line.push_str(&format!(" --groups={}", groups.join(","))),
        }
        line.push_str(&format!(
            " --inh-caps={} --bounding-set={}",
            comma(self.inheritable),
            comma(self.bounding | lent)
        ));
        if !self.ambient.is_empty() {
            line.push_str(&format!(" --ambient-caps={}", comma(self.ambient)));
        }
        if self.no_new_privileges {
            line.push_str(" --no-new-privs");
        }
        line
    }
}

/// uname(2) tells of a 32-bit machine.
pub const PER_LINUX32: u32 = 0x0008;

impl Keyring {
    fn join(&self, live: &Live, proc: Option<Slot>) -> Outcome {
        let label = |text: &[u8]| match (&self.label, proc) {
            (None, _) => Ok(()),
            (Some(_), Some(proc)) => kernel::process::write_own(live.fd(proc)?, c"attr/keycreate", text)
                .map_err(|e| Failure::new(e, "label the keyring")),
            (Some(_), None) => Err(Failure::new(Errno::BADF, "label the keyring")),
        };
        label(self.label.as_ref().map_or(b"", Text::as_bytes))?;
        match keys::join_session(self.name.as_c()) {
            // A kernel without keys has none to keep from the program.
            Err(Errno::NOSYS) => return Ok(()),
            other => other.map_err(|e| Failure::new(e, "session keyring"))?,
        }
        if let Some(searchers) = self.searchers {
            keys::let_search_session(searchers).map_err(|e| Failure::new(e, "keyring permissions"))?;
        }
        label(b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_in_the_order_in_which_they_work() {
        let limit = |name: &str| Limit { resource: 7, name: name.into(), soft: Some(5), hard: None };
        let credentials = Credentials {
            gid: 7,
            groups: vec![7, 8],
            bounding: CapSet::of(&[Cap::Chown, Cap::NetRaw]),
            inheritable: CapSet::of(&[Cap::NetRaw]),
            ambient: CapSet::of(&[Cap::NetRaw]),
            no_new_privileges: true,
            limits: vec![limit("RLIMIT_NOFILE")],
            personality: Some(PER_LINUX32),
            memory_policy: Some(MemoryPolicy {
                mode: 2,
                option: "--membind".into(),
                nodes: BitSet::parse("0-1,3").unwrap(),
            }),
            keyring: Some(Keyring { name: "_ses.a b".into(), searchers: None, label: None }),
            labels: vec![Label::apparmor("docker-default"), Label::Selinux("a:b:c:s0".into())],
            ..Credentials::default()
        };
        insta::assert_snapshot!(credentials.commands(CapSet::default()).join("\n"), @r"
        $(command -v setarch) linux32
        $(command -v numactl) --membind=0-1,3
        $(k=$(command -v keyctl) && echo $k session '_ses.a b')
        $(command -v prlimit) --nofile=5:unlimited
        $(command -v setpriv) --regid=7 --groups=7,8 --inh-caps=-all,+net_raw --bounding-set=-all,+chown,+net_raw --ambient-caps=-all,+net_raw --no-new-privs
        $(command -v aa-exec) -p docker-default --
        $(command -v runcon) a:b:c:s0
        ");
        insta::assert_snapshot!(Credentials::default().commands(CapSet::default()).join("\n"), @"$(command -v setpriv) --regid=0 --clear-groups --inh-caps=-all --bounding-set=-all");
    }
}
