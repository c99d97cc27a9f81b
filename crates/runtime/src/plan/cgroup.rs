//! Control groups and their limits, on v1 and v2.

use super::Lists;
use crate::{Cgroups, GroupPath, Host, Resources, Spec};
use steps::*;

/// Controllers that a group of v2 gets, where the machine has them.
const V2: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// Makes the groups; answers the slot into which the container is born on v2.
pub(super) fn plan(lists: &mut Lists, spec: &Spec, host: &Host) -> Option<Slot> {
    let mut born = None;
    for path in spec.groups.iter() {
        if path.is_v2() {
            born = Some(v2(lists, spec, host, path));
        } else {
            v1(lists, spec, host, path);
        }
    }
    if !spec.groups.is_empty() && spec.namespaces & kernel::process::CLONE_NEWCGROUP != 0 {
        lists.inside.push(UnshareCgroup {}.into());
    }
    born
}

/// The groups above the container's, outermost first: `a`, `a/b` of `a/b/c`.
fn parents(cgroup: &str) -> impl Iterator<Item = &str> {
    cgroup.match_indices('/').map(|(at, _)| &cgroup[..at])
}

fn v2(lists: &mut Lists, spec: &Spec, host: &Host, of: &GroupPath) -> Slot {
    let mount = &of.mount;
    let give: Vec<String> =
        V2.iter().filter(|c| host.controllers.iter().any(|h| h == *c)).map(|c| format!("+{c}")).collect();
    let give: Text = give.join(" ").into();
    for parent in parents(&of.group) {
        let above = parent.rsplit_once('/').map_or(String::new(), |(above, _)| format!("/{above}"));
        let set = vec![
            (format!("{mount}{above}/cgroup.subtree_control").into(), give.clone()),
            (format!("{mount}/{parent}/cgroup.subtree_control").into(), give.clone()),
        ];
        lists.host.push(EnsureCgroup { path: format!("{mount}/{parent}").into(), set }.into());
    }
    let group = of.dir();
    let path: Text = group.as_str().into();
    lists.host.push(MakeCgroup { path: path.clone() }.into());
    for (file, value, optional) in v2_values(&spec.resources) {
        lists
            .host
            .push(SetCgroup { file: format!("{group}/{file}").into(), value: value.into(), optional }.into());
    }
    if !spec.device_rules.is_empty() {
        lists
            .host
            .push(FilterDevices { path: path.clone(), v2: true, rules: spec.device_rules.clone() }.into());
    }
    let slot = lists.slot();
    lists.host.push(OpenCgroup { path, slot, v2: true }.into());
    slot
}

/// Files of a v2 group: name, value, and whether it may be missing.
fn v2_values(r: &Resources) -> Vec<(&'static str, String, bool)> {
    let bytes = |v: i64| if v < 0 { "max".to_owned() } else { v.to_string() };
    let mut set = Vec::new();
    if let Some(memory) = r.memory {
        set.push(("memory.max", bytes(memory), false));
    }
    if let Some(both) = r.memory_swap {
        // v2 counts swap alone, the specification both together.
        let swap =
            if both < 0 { "max".to_owned() } else { (both - r.memory.unwrap_or(0)).max(0).to_string() };
        set.push(("memory.swap.max", swap, true));
    }
    if let Some(low) = r.memory_reservation {
        set.push(("memory.low", bytes(low), false));
    }
    if let Some(shares) = r.cpu_shares.filter(|s| *s != 0) {
        set.push(("cpu.weight", weight(shares).to_string(), false));
    }
    if r.cpu_quota.is_some() || r.cpu_period.is_some() {
        let quota = r.cpu_quota.filter(|q| *q > 0).map_or("max".to_owned(), |q| q.to_string());
        set.push(("cpu.max", format!("{quota} {}", r.cpu_period.unwrap_or(100_000)), false));
    }
    if !r.cpuset_cpus.is_empty() {
        set.push(("cpuset.cpus", r.cpuset_cpus.clone(), false));
    }
    if !r.cpuset_mems.is_empty() {
        set.push(("cpuset.mems", r.cpuset_mems.clone(), false));
    }
    if let Some(pids) = r.pids {
        set.push(("pids.max", bytes(pids), false));
    }
    if let Some(io) = r.blkio_weight {
        // Which of the two there is depends on the scheduler of the disk.
        set.push(("io.bfq.weight", io.to_string(), true));
        set.push(("io.weight", format!("default {}", 1 + (u64::from(io) - 10) * 9_999 / 990), true));
    }
    set
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

/// Shares as the weight that keeps their proportions: 1024 of v1 are 100 of v2. (The usual formula of other runtimes maps
/// 2…262144 onto 1…10000 and turns 77 : 19 : 3 into 70 : 24 : 6.)
fn weight(shares: u64) -> u64 {
    ((shares * 100 + 512) / 1024).clamp(1, 10_000)
}

fn v1(lists: &mut Lists, spec: &Spec, host: &Host, of: &GroupPath) {
    let has = |c: &str| of.has(c);
    for parent in parents(&of.group) {
        let path = format!("{}/{parent}", of.mount);
        // A group of cpuset starts without CPUs; its children shall start with the parent's.
        let mut set: Vec<(Text, Text)> = Vec::new();
        if has("cpuset") {
            set.push((format!("{path}/cpuset.cpus").into(), host.cpuset.0.as_str().into()));
            set.push((format!("{path}/cpuset.mems").into(), host.cpuset.1.as_str().into()));
            set.push((format!("{path}/cgroup.clone_children").into(), "1".into()));
        }
        lists.host.push(EnsureCgroup { path: path.into(), set }.into());
    }
    let group = of.dir();
    lists.host.push(MakeCgroup { path: group.as_str().into() }.into());
    for (controller, file, value, optional) in v1_values(&spec.resources) {
        if has(controller) {
            lists.host.push(
                SetCgroup { file: format!("{group}/{file}").into(), value: value.into(), optional }.into(),
            );
        }
    }
    if has("devices") && !spec.device_rules.is_empty() {
        let path = group.as_str().into();
        lists.host.push(FilterDevices { path, v2: false, rules: spec.device_rules.clone() }.into());
    }
    let slot = lists.slot();
    lists.host.push(OpenCgroup { path: format!("{group}/tasks").into(), slot, v2: false }.into());
    lists.inside.push(JoinCgroup { slot, procs: format!("{group}/cgroup.procs").into() }.into());
}

/// Files of v1 groups: controller, name, value, and whether it may be missing.
fn v1_values(r: &Resources) -> Vec<(&'static str, &'static str, String, bool)> {
    let mut set = Vec::new();
    let mut put = |controller, file, value: String, optional| set.push((controller, file, value, optional));
    if let Some(memory) = r.memory {
        put("memory", "memory.limit_in_bytes", memory.to_string(), false);
    }
    if let Some(both) = r.memory_swap {
        // Not there on a kernel without swap accounting.
        put("memory", "memory.memsw.limit_in_bytes", both.to_string(), true);
    }
    if let Some(soft) = r.memory_reservation {
        put("memory", "memory.soft_limit_in_bytes", soft.to_string(), false);
    }
    if let Some(swappiness) = r.swappiness {
        put("memory", "memory.swappiness", swappiness.to_string(), false);
    }
    if r.oom_kill_disable {
        put("memory", "memory.oom_control", "1".to_owned(), false);
    }
    if let Some(shares) = r.cpu_shares.filter(|s| *s != 0) {
        put("cpu", "cpu.shares", shares.to_string(), false);
    }
    if let Some(period) = r.cpu_period {
        put("cpu", "cpu.cfs_period_us", period.to_string(), false);
    }
    if let Some(quota) = r.cpu_quota {
        put("cpu", "cpu.cfs_quota_us", quota.to_string(), false);
    }
    if !r.cpuset_cpus.is_empty() {
        put("cpuset", "cpuset.cpus", r.cpuset_cpus.clone(), false);
    }
    if !r.cpuset_mems.is_empty() {
        put("cpuset", "cpuset.mems", r.cpuset_mems.clone(), false);
    }
    if let Some(pids) = r.pids {
        put("pids", "pids.max", if pids < 0 { "max".to_owned() } else { pids.to_string() }, false);
    }
    if let Some(weight) = r.blkio_weight {
        put("blkio", "blkio.weight", weight.to_string(), true);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_keep_the_proportions_of_shares() {
        assert_eq!([2048, 512, 80, 1024, 2, 262_144].map(weight), [200, 50, 8, 100, 1, 10_000]);
    }

    #[test]
    fn parents_are_outermost_first() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!(parents("a").count(), 0);
    }
}
