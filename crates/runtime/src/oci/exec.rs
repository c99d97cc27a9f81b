//! `exec`: a further program in a container.

use super::process::{Document, Facts, LinuxPart, Place};
use super::record::{Containers, Record, Status};
use super::{Error, Result};
use crate::{Enter, GroupPath, GroupPaths, Launched, Stdio, enter};
use kernel::process as ns;
use rustix::fd::{AsFd, OwnedFd};

/// What is asked for.
#[derive(Debug, Default)]
pub struct Exec {
    /// As in `process.json`; what it does not say is said by the container's own.
    pub process: Document,
    /// Groups below the container's: by controller, or one for all.
    pub groups: Vec<SubGroup>,
    pub ignore_paused: bool,
    pub keep_fds: u32,
    /// From [`super::rootless::enter`].
    pub held: Vec<(u64, OwnedFd)>,
}

/// A group below the container's.
#[derive(Debug, Clone, PartialEq)]
pub struct SubGroup {
    /// `None`: of all hierarchies.
    pub controller: Option<String>,
    pub path: String,
}

impl SubGroup {
    /// `[CONTROLLER[,CONTROLLER…]:]PATH`, as often as it is given.
    pub fn parse(words: &[String]) -> Result<Vec<SubGroup>> {
        let wrong = |word: &str, why: &str| Error::new(format!("invalid --cgroup '{word}': {why}"));
        let mut groups: Vec<SubGroup> = Vec::new();
        for word in words {
            let Some((controllers, path)) = word.split_once(':') else {
                if words.len() > 1 {
                    return Err(wrong(word, "the controller is missing"));
                }
                groups.push(SubGroup { controller: None, path: word.clone() });
                continue;
            };
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return Err(wrong(word, "the controller is empty"));
                }
                if groups.iter().any(|g| g.controller.as_deref() == Some(controller)) {
                    return Err(wrong(word, &format!("{controller} is given twice")));
                }
                groups.push(SubGroup { controller: Some(controller.to_owned()), path: path.to_owned() });
            }
        }
        Ok(groups)
    }
}

/// Runs the program. `own` and `linux` are of the container's own `config.json`.
pub fn exec(
    containers: &Containers,
    record: &Record,
    (own, linux): (&Document, &LinuxPart),
    what: &Exec,
    stdio: Stdio,
    warn: &mut dyn FnMut(&str),
    debug: &mut dyn FnMut(&str),
) -> Result<Launched> {
    match containers.status(record) {
        Status::Stopped | Status::Creating => return Err(Error::new("cannot exec in a stopped container")),
        Status::Paused if !what.ignore_paused => {
            return Err(Error::new("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        _ => {}
    }
    let stopped = || Error::new("cannot exec in a stopped container");
    let pidfd = record.handle()?.ok_or_else(stopped)?;
    let namespaces = match what.held.as_slice() {
        [] => others(record.pid),
        held => held.iter().fold(0, |all, (kind, _)| all | kind),
    };
    let user_namespace = namespaces & ns::CLONE_NEWUSER != 0;
    let place = Place { id: &record.id, first: false, user_namespace, no_new_keyring: record.no_new_keyring };
    let mut document = what.process.clone();
    inherit(&mut document, own);
    let converted = super::process(&document, linux, &place, &Facts::read(user_namespace))?;
    converted.warnings.iter().for_each(|line| warn(line));
    if let Some(cpus) = &converted.first_cpus {
        debug(&format!("initial CPU affinity: {cpus:#x}"));
    }
    let enter_what = Enter {
        pidfd: pidfd.as_fd(),
        namespaces,
        held: &what.held,
        groups: groups(record, &what.groups)?,
        classes: &record.rdt,
        process: &converted.process,
        oom_score_adj: converted.oom_score_adj,
        first_cpus: converted.first_cpus,
        keep_fds: what.keep_fds,
    };
    // Of the process that is held, and of no other that got its number meanwhile.
    if record.handle()?.is_none() {
        return Err(stopped());
    }
    let mut agent = |pid: i32, fd: OwnedFd| match &converted.listener {
        Some(listener) => {
            let state = serde_json::to_value(record.told(Status::Running)).unwrap_or_default();
            listener.announce(&fd, pid, &record.oci_version, state)
        }
        None => Ok(()),
    };
    Ok(enter(&enter_what, stdio, Some(&mut agent))?)
}

/// What the file or the flags of `exec` leave open.
fn inherit(document: &mut Document, own: &Document) {
    let Document { capabilities, rlimits, apparmor_profile, selinux_label, .. } = own;
    if document.capabilities.is_none() {
        document.capabilities.clone_from(capabilities);
    }
    if document.rlimits.is_empty() {
        document.rlimits.clone_from(rlimits);
    }
    if document.apparmor_profile.is_empty() {
        document.apparmor_profile.clone_from(apparmor_profile);
    }
    if document.selinux_label.is_empty() {
        document.selinux_label.clone_from(selinux_label);
    }
    document.oom_score_adj = document.oom_score_adj.or(own.oom_score_adj);
    document.user.umask = document.user.umask.or(own.user.umask);
    document.scheduler = document.scheduler.take().or_else(|| own.scheduler.clone());
    document.io_priority = document.io_priority.take().or_else(|| own.io_priority.clone());
    document.exec_cpu_affinity = document.exec_cpu_affinity.take().or_else(|| own.exec_cpu_affinity.clone());
}

/// By their names in `/proc/PID/ns`.
pub(super) const KINDS: [(&str, u64); 8] = [
    ("user", ns::CLONE_NEWUSER),
    ("mnt", ns::CLONE_NEWNS),
    ("pid", ns::CLONE_NEWPID),
    ("net", ns::CLONE_NEWNET),
    ("ipc", ns::CLONE_NEWIPC),
    ("uts", ns::CLONE_NEWUTS),
    ("cgroup", ns::CLONE_NEWCGROUP),
    ("time", ns::CLONE_NEWTIME),
];

/// `CLONE_NEW…` of the namespaces of that process which are not ours.
fn others(pid: i32) -> u64 {
    let link = |path: String| std::fs::read_link(path).ok();
    let differs = |kind: &str| {
        let theirs = link(format!("/proc/{pid}/ns/{kind}"));
        theirs.is_some() && theirs != link(format!("/proc/self/ns/{kind}"))
    };
    KINDS.iter().filter(|(kind, _)| differs(kind)).fold(0, |all, (_, flag)| all | flag)
}

/// The container's groups, or those below them that are asked for.
fn groups(record: &Record, below: &[SubGroup]) -> Result<GroupPaths> {
    let mut groups = record.groups.beside(record.pid);
    for sub in below {
        let escapes = sub.path.split('/').any(|part| part == "..");
        let place = |group: &GroupPath| sub.controller.as_ref().is_none_or(|c| group.has(c));
        // Below its own, wherever its first process has gone.
        let mut found = false;
        for own in record.groups.iter().filter(|group| place(group)) {
            let Some(there) = groups.0.iter_mut().find(|g| g.mount == own.mount) else { continue };
            found = true;
            let path = sub.path.trim_matches('/');
            there.group = if path.is_empty() { own.group.clone() } else { format!("{}/{path}", own.group) };
            if escapes || !std::path::Path::new(&there.dir()).is_dir() {
                return Err(Error::new(format!("--cgroup: the container has no group {}", sub.path)));
            }
        }
        if !found {
            let controller = sub.controller.as_deref().unwrap_or("");
            return Err(Error::new(format!(
                "--cgroup: the container has no group of controller {controller}"
            )));
        }
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_runc_reads_them() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            SubGroup::parse(&words).map_err(|e| e.message).map(|groups| {
                let show = |g: &SubGroup| format!("{}={}", g.controller.as_deref().unwrap_or("*"), g.path);
                groups.iter().map(show).collect::<Vec<_>>().join(" ")
            })
        };
        assert_eq!(parse(&[]).as_deref(), Ok(""));
        assert_eq!(parse(&["/a"]).as_deref(), Ok("*=/a"));
        assert_eq!(parse(&["cpu,cpuacct:a", "memory:b"]).as_deref(), Ok("cpu=a cpuacct=a memory=b"));
        assert_eq!(parse(&["a", "b"]).unwrap_err(), "invalid --cgroup 'a': the controller is missing");
        assert_eq!(parse(&["cpu:a", "cpu:b"]).unwrap_err(), "invalid --cgroup 'cpu:b': cpu is given twice");
        assert_eq!(parse(&[",:a"]).unwrap_err(), "invalid --cgroup ',:a': the controller is empty");
    }

    #[test]
    fn what_is_not_said_is_the_containers() {
        let own = Document::parse(
            br#"{"apparmorProfile": "a", "user": {"umask": 7}, "oomScoreAdj": 5, "noNewPrivileges": true}"#,
        )
        .unwrap();
        let mut given = Document::parse(br#"{"apparmorProfile": "b", "capabilities": {}}"#).unwrap();
        inherit(&mut given, &own);
        assert_eq!(
            (given.apparmor_profile.as_str(), given.user.umask, given.oom_score_adj),
            ("b", Some(7), Some(5))
        );
        // Said by its absence.
        assert!(!given.no_new_privileges);
        assert_eq!(others(std::process::id().cast_signed()), 0);
    }
}
