//! Control groups and their limits, on v1 and v2.

use super::Lists;
use crate::group::{Value, v1_values, v2_values};
use crate::{Cgroups, GroupPath, Host, Resources, Spec};
use steps::*;

/// Controllers that a group of the engine's gets on v2, where the machine has them.
const V2: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Makes the groups; answers the slot into which the container is born on v2.
pub(super) fn plan(lists: &mut Lists, spec: &Spec, host: &Host) -> Option<Slot> {
    let mut born = None;
    let v1_set =
        if matches!(host.cgroups, Cgroups::V1 { .. }) { v1_values(&spec.resources) } else { Vec::new() };
    for path in spec.groups.iter() {
        if path.is_v2() {
            born = Some(v2(lists, spec, host, path));
        } else {
            v1(lists, spec, host, path, &v1_set);
        }
    }
    if let Some(first) = spec.groups.iter().find(|path| !path.is_v2()) {
        missing(lists, spec, host, first, &v1_set);
    }
    if !spec.groups.is_empty() && spec.namespaces & kernel::process::CLONE_NEWCGROUP != 0 {
        lists.inside.push(UnshareCgroup {}.into());
    }
    born
}

/// Limits of hierarchies that this machine has not mounted fail where they are set, as all that the kernel has no file for.
fn missing(lists: &mut Lists, spec: &Spec, host: &Host, beside: &GroupPath, values: &[Value]) {
    let without = |controller: &str| {
        let top = beside.mount.rsplit_once('/').map_or("", |(top, _)| top);
        format!("{top}/{controller}/{}", beside.group)
    };
    for value in values.iter().filter(|v| !v.optional && spec.groups.of(&v.controller).is_none()) {
        lists.host.push(set(&without(&value.controller), value));
    }
    if spec.groups.of("devices").is_none() {
        devices(lists, spec, host, &without("devices"), false);
    }
}

fn devices(lists: &mut Lists, spec: &Spec, host: &Host, dir: &str, v2: bool) {
    if !spec.device_rules.is_empty() && !host.user_namespace {
        let rules = spec.device_rules.clone();
        lists.host.push(FilterDevices { path: dir.into(), v2, rules }.into());
    }
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

fn v2(lists: &mut Lists, spec: &Spec, host: &Host, of: &GroupPath) -> Slot {
    let mount = &of.mount;
    // Beside v1 there are none to give.
    let there = |c: &&&str| host.controllers.iter().any(|h| h == *c);
    let give: Vec<String> = if spec.groups_shared {
        host.controllers.iter().map(|c| format!("+{c}")).collect()
    } else {
        V2.iter().filter(there).map(|c| format!("+{c}")).collect()
    };
    let give: Text = give.join(" ").into();
    for parent in parents(&of.group) {
        let above = parent.rsplit_once('/').map_or(String::new(), |(above, _)| format!("/{above}"));
        let set = if give.is_empty() {
            Vec::new()
        } else {
            vec![
                (format!("{mount}{above}/cgroup.subtree_control").into(), give.clone()),
                (format!("{mount}/{parent}/cgroup.subtree_control").into(), give.clone()),
            ]
        };
        let path = format!("{mount}/{parent}").into();
        lists.host.push(EnsureCgroup { path, set, as_far_as_possible: spec.groups_shared }.into());
    }
    let group = of.dir();
    let path: Text = group.as_str().into();
    lists.host.push(MakeCgroup { path: path.clone() }.into());
    if matches!(host.cgroups, Cgroups::V2 { .. }) {
        for value in v2_values(&spec.resources) {
            lists.host.push(set(&group, &value));
        }
        devices(lists, spec, host, &group, true);
        if let Some(uid) = spec.group_owner {
            lists.host.push(DelegateCgroup { path: path.clone(), uid }.into());
        }
    }
    let slot = lists.slot();
    lists.host.push(OpenCgroup { path, slot, v2: true }.into());
    slot
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

fn v1(lists: &mut Lists, spec: &Spec, host: &Host, of: &GroupPath, values: &[Value]) {
    let cpuset = of.has("cpuset");
    for parent in parents(&of.group) {
        let path = format!("{}/{parent}", of.mount);
        // A group of cpuset starts without CPUs; its children shall start with the parent's.
        let mut set: Vec<(Text, Text)> = Vec::new();
        if cpuset && !spec.groups_shared {
            set.push((format!("{path}/cpuset.cpus").into(), host.cpuset.0.as_str().into()));
            set.push((format!("{path}/cpuset.mems").into(), host.cpuset.1.as_str().into()));
            set.push((format!("{path}/cgroup.clone_children").into(), "1".into()));
        }
        lists.host.push(EnsureCgroup { path: path.as_str().into(), set, as_far_as_possible: false }.into());
        if cpuset && spec.groups_shared {
            lists.host.push(InheritCpuset { path: path.into() }.into());
        }
    }
    let group = of.dir();
    lists.host.push(MakeCgroup { path: group.as_str().into() }.into());
    for value in values.iter().filter(|v| of.has(&v.controller)) {
        lists.host.push(set(&group, value));
    }
    if cpuset && spec.groups_shared {
        lists.host.push(InheritCpuset { path: group.as_str().into() }.into());
    }
    if of.has("devices") {
        devices(lists, spec, host, &group, false);
    }
    let slot = lists.slot();
    lists.host.push(OpenCgroup { path: format!("{group}/tasks").into(), slot, v2: false }.into());
    lists.inside.push(JoinCgroup { slot, procs: format!("{group}/cgroup.procs").into() }.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_outermost_first() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
    }
}
