//! Control groups and their limits, on v1 and v2.

use super::Lists;
use crate::group::{Value, is_systemds, rounded, v1_values, v2_values};
use crate::{Cgroups, GroupPath, Host, Resources, Spec};
use kernel::bpf::DeviceRule;
use steps::*;

/// Controllers that a group of the engine's gets on v2, where the machine has them.
const V2: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Makes the groups; answers the slot into which the container is born on v2.
///
/// Those of a unit of systemd's are made when the container's first process is there: a unit is made around it.
pub(super) fn plan(lists: &mut Lists, spec: &Spec, host: &Host) -> Option<Slot> {
    let v2_alone = matches!(host.cgroups, Cgroups::V2 { .. });
    let rules = if host.rootless { &[][..] } else { &spec.device_rules[..] };
    let limits = match &spec.unit {
        Some(unit) => {
            let properties = unit.all(&spec.resources, rules, v2_alone);
            let unit = StartUnit { unit: unit.name.as_str().into(), user: unit.user, properties };
            lists.joined.push(unit.into());
            rounded(&spec.resources)
        }
        None => spec.resources.clone(),
    };
    let values = if v2_alone { v2_values(&limits) } else { v1_values(&limits) };
    let mut work = Work { lists, spec, host, values, rules, born: None };
    for path in spec.groups.iter() {
        match path.is_v2() {
            true => work.v2(path, v2_alone),
            false if spec.unit.is_some() && is_systemds(path) => {}
            false => work.v1(path),
        }
    }
    if !v2_alone && let Some(first) = spec.groups.iter().next() {
        work.missing(first);
    }
    let born = work.born;
    // Also without groups of its own: what it mounts of them shows no more than that it is in.
    if spec.namespaces & kernel::process::CLONE_NEWCGROUP != 0 {
        lists.inside.push(UnshareCgroup {}.into());
    }
    born
}

struct Work<'a> {
    lists: &'a mut Lists,
    spec: &'a Spec,
    host: &'a Host,
    values: Vec<Value>,
    rules: &'a [DeviceRule],
    born: Option<Slot>,
}

/// A value as the step that writes it.
pub(crate) fn set(dir: &str, value: &Value) -> Step {
    let text = |file: &str| Text::from(format!("{dir}/{file}"));
    SetCgroup {
        file: text(&value.file),
        value: value.value.as_str().into(),
        optional: value.optional,
        instead: value.instead.as_ref().map(|(file, value)| (text(file), value.as_str().into())),
    }
    .into()
}

/// The groups above the container's, outermost first: `a`, `a/b` of `a/b/c`.
fn parents(cgroup: &str) -> impl Iterator<Item = &str> {
    cgroup.match_indices('/').map(|(at, _)| &cgroup[..at])
}

/// What is asked for and this machine has not; a note for the user each.
pub fn ignored(r: &Resources, host: &Host) -> Vec<&'static str> {
    let v2 = matches!(host.cgroups, Cgroups::V2 { .. });
    let asked = [
        (r.swappiness.is_some(), "note: --memory-swappiness is ignored: cgroup v2 has no such value"),
        (r.oom_kill_disable, "note: --oom-kill-disable is ignored: cgroup v2 has no such switch"),
    ];
    asked.into_iter().filter(|(on, _)| *on && v2).map(|(_, note)| note).collect()
}

impl Work<'_> {
    fn push(&mut self, step: impl Into<Step>) {
        let list = if self.spec.unit.is_some() { &mut self.lists.joined } else { &mut self.lists.host };
        list.push(step.into());
    }

    /// The container gets into a group: it is born there on v2, or puts itself there (cheaper than being put, which takes a
    /// lock of all threads). Around a process that is there already, it has to be put.
    fn enter(&mut self, group: &str, v2: bool) {
        let procs: Text = format!("{group}/cgroup.procs").into();
        if self.spec.unit.is_some() {
            return self.push(PutIntoCgroup { procs });
        }
        let slot = self.lists.slot();
        if v2 {
            self.push(OpenCgroup { path: group.into(), slot, v2 });
            self.born = Some(slot);
        } else {
            self.push(OpenCgroup { path: format!("{group}/tasks").into(), slot, v2 });
            self.lists.inside.push(JoinCgroup { slot, procs }.into());
        }
    }

    fn v2(&mut self, of: &GroupPath, alone: bool) {
        // systemd makes those above its unit, and the unit's own; ours is to undo what is below it.
        if !alone || self.spec.unit.is_none() {
            self.v2_parents(of);
        }
        let group = of.dir();
        self.push(MakeCgroup { path: group.as_str().into() });
        // Beside v1 it holds nobody to anything.
        if alone {
            for value in self.values.clone() {
                self.push(set(&group, &value));
            }
            self.devices(&group, true);
            if let Some(uid) = self.spec.group_owner {
                self.push(DelegateCgroup { path: group.as_str().into(), uid });
            }
        }
        if !alone || self.spec.unit.is_none() {
            self.enter(&group, true);
        }
    }

    fn v2_parents(&mut self, of: &GroupPath) {
        let (spec, host, mount) = (self.spec, self.host, &of.mount);
        let there = |c: &&&str| host.controllers.iter().any(|h| h == *c);
        // Beside v1 there are none to give.
        let give: Vec<String> = if spec.groups_shared {
            host.controllers.iter().map(|c| format!("+{c}")).collect()
        } else {
            V2.iter().filter(there).map(|c| format!("+{c}")).collect()
        };
        let give: Text = give.join(" ").into();
        for parent in parents(&of.group) {
            let above = parent.rsplit_once('/').map_or(String::new(), |(above, _)| format!("/{above}"));
            let file = |group: &str| Text::from(format!("{mount}{group}/cgroup.subtree_control"));
            let files = [file(&above), file(&format!("/{parent}"))];
            let set = files.into_iter().filter(|_| !give.is_empty()).map(|file| (file, give.clone()));
            let path = format!("{mount}/{parent}").into();
            let (set, as_far_as_possible) = (set.collect(), spec.groups_shared);
            self.push(EnsureCgroup { path, set, as_far_as_possible });
        }
    }

    fn v1(&mut self, of: &GroupPath) {
        let (cpuset, shared) = (of.has("cpuset"), self.spec.groups_shared);
        for parent in parents(&of.group) {
            let path = format!("{}/{parent}", of.mount);
            // A group of cpuset starts without CPUs; its children shall start with the parent's.
            let mut set: Vec<(Text, Text)> = Vec::new();
            if cpuset && !shared {
                let (cpus, mems) = &self.host.cpuset;
                set.push((format!("{path}/cpuset.cpus").into(), cpus.as_str().into()));
                set.push((format!("{path}/cpuset.mems").into(), mems.as_str().into()));
                set.push((format!("{path}/cgroup.clone_children").into(), "1".into()));
            }
            self.push(EnsureCgroup { path: path.as_str().into(), set, as_far_as_possible: false });
            if cpuset && shared {
                self.push(InheritCpuset { path: path.into() });
            }
        }
        let group = of.dir();
        self.push(MakeCgroup { path: group.as_str().into() });
        let values: Vec<Value> = self.values.iter().filter(|v| of.has(&v.controller)).cloned().collect();
        for value in values {
            self.push(set(&group, &value));
        }
        if cpuset && shared {
            self.push(InheritCpuset { path: group.as_str().into() });
        }
        if of.has("devices") {
            self.devices(&group, false);
        }
        self.enter(&group, false);
    }

    fn devices(&mut self, dir: &str, v2: bool) {
        if !self.rules.is_empty() {
            self.push(FilterDevices { path: dir.into(), v2, rules: self.rules.to_vec() });
        }
    }

    /// Limits of hierarchies that this machine has not mounted fail where they are set, as all that the kernel has no file for.
    fn missing(&mut self, beside: &GroupPath) {
        let top = beside.mount.rsplit_once('/').map_or("", |(top, _)| top);
        let without = |controller: &str| format!("{top}/{controller}/{}", beside.group);
        let lacks = |v: &&Value| !v.optional && self.spec.groups.of(&v.controller).is_none();
        let values: Vec<Value> = self.values.iter().filter(lacks).cloned().collect();
        for value in values {
            self.push(set(&without(&value.controller), &value));
        }
        if self.spec.groups.of("devices").is_none() {
            self.devices(&without("devices"), false);
        }
    }
}

#[cfg(test)]
mod tests;
