//! As whom a process runs, and what it may do.

use super::super::{Config, ConfigError};
use super::document::{Capabilities, Document, Rlimit};
use super::{Facts, Module, Place};
use kernel::caps::{Cap, CapSet};
use kernel::keys::Searchers;
use std::collections::BTreeSet;
use steps::{Credentials, Keyring, Label, Limit};

/// The last number is the kernel's word for "leave it as it is".
pub(super) fn id(field: &str, id: u32) -> Config<u32> {
    if id == u32::MAX { Err(ConfigError::new(field, format!("{id} is too large"))) } else { Ok(id) }
}

pub(super) fn groups(given: &[u32]) -> Config<Vec<u32>> {
    // The kernel's NGROUPS_MAX.
    if given.len() > 65_536 {
        return Err(ConfigError::new("process.user.additionalGids", "are more than 65536"));
    }
    given.iter().enumerate().map(|(i, gid)| id(&format!("process.user.additionalGids[{i}]"), *gid)).collect()
}

pub(super) fn umask(given: Option<u32>) -> Config<u32> {
    match given {
        None => Ok(0o022),
        Some(mask @ 0..=0o777) => Ok(mask),
        Some(mask) => Err(ConfigError::new("process.user.umask", format!("{mask:#o} is more than 0o777"))),
    }
}

pub(super) fn oom_score_adj(given: Option<i32>) -> Config<Option<i32>> {
    match given {
        Some(adjust) if !(-1000..=1000).contains(&adjust) => {
            Err(ConfigError::new("process.oomScoreAdj", format!("{adjust} is not between -1000 and 1000")))
        }
        given => Ok(given),
    }
}

/// Numbers of `RLIMIT_…` of x86, arm and all that have no numbers of their own.
const LIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

pub(super) fn limits(given: &[Rlimit]) -> Config<Vec<Limit>> {
    let mut limits: Vec<Limit> = Vec::with_capacity(given.len());
    for (index, limit) in given.iter().enumerate() {
        let wrong =
            |field: &str, why: String| ConfigError::new(format!("process.rlimits[{index}]{field}"), why);
        let Some(resource) = LIMITS.iter().position(|name| *name == limit.name) else {
            return Err(wrong(".type", format!("unknown limit '{}'", limit.name)));
        };
        let resource = resource as u32;
        if limits.iter().any(|l| l.resource == resource) {
            return Err(wrong(".type", format!("{} is given twice", limit.name)));
        }
        if limit.soft > limit.hard {
            return Err(wrong("", format!("soft {} is more than hard {}", limit.soft, limit.hard)));
        }
        let value = |v: u64| (v != u64::MAX).then_some(v);
        let (soft, hard) = (value(limit.soft), value(limit.hard));
        limits.push(Limit { resource, name: limit.name.as_str().into(), soft, hard });
    }
    Ok(limits)
}

/// The five sets. What the kernel does not know or we cannot give is passed over, with a warning: the specification asks
/// for that, and fewer rights are no hole.
pub(super) fn capabilities(
    given: Option<&Capabilities>,
    facts: &Facts,
    to: &mut Credentials,
    warnings: &mut Vec<String>,
) -> Config<()> {
    let Some(given) = given else { return Ok(()) };
    // See capabilities(7): the file contradicts itself, and the kernel refuses it. Not so a file with names of other kernels.
    let known = |name: &String| Cap::parse(name).is_ok_and(|cap| cap.name() == name && facts.known.has(cap));
    let mut beyond = given.inheritable.iter().filter(|name| !given.bounding.contains(name) && known(name));
    if let Some(name) = beyond.next().filter(|_| given.bounding.iter().all(known)) {
        let why = format!("{name} is not in the bounding set: operation not permitted");
        return Err(ConfigError::new("process.capabilities.inheritable", why));
    }
    let mut unknown = BTreeSet::new();
    let mut refused = CapSet::EMPTY;
    let mut set = |names: &[String], within: CapSet| {
        let mut set = CapSet::EMPTY;
        for name in names {
            // The names are these and no others: no prefix is guessed.
            match Cap::parse(name) {
                Ok(cap) if cap.name() == name && facts.known.has(cap) => set = set | cap.into(),
                _ => drop(unknown.insert(name.clone())),
            }
        }
        refused = refused | (set - within);
        set & within
    };
    // The kernel's own order: what is inherited must be in the bounding set, what is effective must be permitted.
    to.bounding = set(&given.bounding, facts.grantable);
    to.permitted = set(&given.permitted, facts.grantable);
    to.effective = set(&given.effective, to.permitted);
    to.inheritable = set(&given.inheritable, facts.grantable & (to.bounding | to.permitted) & to.bounding);
    to.ambient = set(&given.ambient, to.permitted & to.inheritable);
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.into_iter().collect();
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")));
    }
    if !refused.is_empty() {
        warnings.push(format!("ignoring capabilities that cannot be given: {refused}"));
    }
    Ok(())
}

/// A keyring for the container, which its further processes join by its name.
pub(super) fn keyring(from: &Document, place: &Place<'_>) -> Option<Keyring> {
    if place.no_new_keyring {
        return None;
    }
    // In a user namespace further processes come as another user than the first one's.
    let searchers = if place.user_namespace { Searchers::Others } else { Searchers::Owner };
    Some(Keyring {
        name: format!("_ses.{}", place.id).into(),
        searchers: place.first.then_some(searchers),
        label: (!from.selinux_label.is_empty()).then(|| from.selinux_label.as_str().into()),
    })
}

pub(super) fn labels(from: &Document, facts: &Facts) -> Config<Vec<Label>> {
    let mut labels = Vec::new();
    let absent = |field: &str, label: &str, module: &str| {
        let why = format!("'{label}' is asked for, but {module} does not run on this machine");
        Err(ConfigError::new(format!("process.{field}"), why))
    };
    let (profile, label) = (from.apparmor_profile.as_str(), from.selinux_label.as_str());
    if !profile.is_empty() {
        match (facts.has_module)(Module::AppArmor) {
            true => labels.push(Label::apparmor(profile)),
            // Nothing is asked for, and there is nothing.
            false if profile == "unconfined" => {}
            false => return absent("apparmorProfile", profile, "AppArmor"),
        }
    }
    if !label.is_empty() {
        match (facts.has_module)(Module::Selinux) {
            true => labels.push(Label::Selinux(label.into())),
            false => return absent("selinuxLabel", label, "SELinux"),
        }
    }
    Ok(labels)
}

/// Whether the security module runs on this machine.
pub fn has_module(module: Module) -> bool {
    const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
    match module {
        Module::AppArmor => {
            std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"))
        }
        Module::Selinux => rustix::fs::statfs("/sys/fs/selinux").is_ok_and(|s| s.f_type == SELINUX_MAGIC),
    }
}
