//! Groups as steps: which, where, and when.

use super::*;
use crate::GroupPaths;
use crate::group::Unit;
use crate::host::Hierarchy;
use kernel::process::CLONE_NEWCGROUP;

fn v2() -> Host {
    Host {
        cgroups: Cgroups::V2 { mount: "/c".to_owned() },
        controllers: ["cpu", "memory", "hugetlb"].map(str::to_owned).to_vec(),
        cpuset: Default::default(),
        cpus: 2,
        rootless: false,
    }
}

fn v1() -> Host {
    let of = |controllers: &[&'static str], mount: &str| Hierarchy {
        controllers: controllers.to_vec(),
        mount: format!("/c/{mount}"),
    };
    let hierarchies = vec![
        of(&["cpuset"], "cpuset"),
        of(&["devices"], "devices"),
        of(&["name=systemd"], "systemd"),
        of(&[], "unified"),
    ];
    let cpuset = ("0-1".to_owned(), "0".to_owned());
    Host { cgroups: Cgroups::V1 { hierarchies }, controllers: Vec::new(), cpuset, ..v2() }
}

fn bundle(group: &str, host: &Host) -> Spec {
    Spec {
        namespaces: CLONE_NEWCGROUP,
        groups: GroupPaths::everywhere(group, host),
        groups_shared: true,
        device_rules: vec![DeviceRule::all(false)],
        resources: Resources {
            strict: true,
            memory: Some(5),
            cpu_quota: Some(4_321),
            ..Resources::default()
        },
        group_owner: Some(1000),
        ..Spec::default()
    }
}

/// Steps as commands, and at the end where the container is born.
fn said(spec: &Spec, host: &Host) -> String {
    let mut lists = Lists::default();
    let born = plan(&mut lists, spec, host);
    let mut out = String::new();
    for (name, list) in [("host", &lists.host), ("joined", &lists.joined), ("inside", &lists.inside)] {
        for step in list {
            out += &format!("{name}: {} {}\n", step.name(), step.shell().brief());
        }
    }
    out + if born.is_some() { "born in its group" } else { "put into its groups" }
}

#[test]
fn of_a_bundle_on_v2() {
    insta::assert_snapshot!(said(&bundle("a/b", &v2()), &v2()), @r"
    host: EnsureCgroup [ -d /c/a ] || mkdir /c/a; for c in +cpu +memory +hugetlb; do echo $c >/c/cgroup.subtree_control || :; done; for c in +cpu +memory +hugetlb; do echo $c >/c/a/cgroup.subtree_control || :; done
    host: MakeCgroup mkdir /c/a/b
    host: SetCgroup echo 5 >/c/a/b/memory.max
    host: SetCgroup echo '4321 100000' >/c/a/b/cpu.max
    host: FilterDevices # only these devices may be opened: devices.deny a
    host: DelegateCgroup chown 1000 /c/a/b; (cd /c/a/b && chown -f 1000 $(cat /sys/kernel/cgroup/delegate)) || :
    host: OpenCgroup # keep /c/a/b open: the container is put there
    inside: UnshareCgroup unshare --cgroup
    born in its group
    ");
}

#[test]
fn of_a_bundle_on_v1() {
    let limits =
        Resources { strict: true, cpuset_mems: "0".to_owned(), net_class: Some(1), ..Resources::default() };
    let spec = Spec { resources: limits, ..bundle("a/b", &v1()) };
    insta::assert_snapshot!(said(&spec, &v1()), @r#"
    host: EnsureCgroup [ -d /c/cpuset/a ] || mkdir /c/cpuset/a
    host: InheritCpuset [ -n "$(cat /c/cpuset/a/cpuset.cpus)" ] || cat /c/cpuset/a/../cpuset.cpus >/c/cpuset/a/cpuset.cpus; [ -n "$(cat /c/cpuset/a/cpuset.mems)" ] || cat /c/cpuset/a/../cpuset.mems >/c/cpuset/a/cpuset.mems
    host: MakeCgroup mkdir /c/cpuset/a/b
    host: SetCgroup echo 0 >/c/cpuset/a/b/cpuset.mems
    host: InheritCpuset [ -n "$(cat /c/cpuset/a/b/cpuset.cpus)" ] || cat /c/cpuset/a/b/../cpuset.cpus >/c/cpuset/a/b/cpuset.cpus; [ -n "$(cat /c/cpuset/a/b/cpuset.mems)" ] || cat /c/cpuset/a/b/../cpuset.mems >/c/cpuset/a/b/cpuset.mems
    host: OpenCgroup # keep /c/cpuset/a/b/tasks open: the container is put there
    host: EnsureCgroup [ -d /c/devices/a ] || mkdir /c/devices/a
    host: MakeCgroup mkdir /c/devices/a/b
    host: FilterDevices echo a >/c/devices/a/b/devices.deny
    host: OpenCgroup # keep /c/devices/a/b/tasks open: the container is put there
    host: EnsureCgroup [ -d /c/systemd/a ] || mkdir /c/systemd/a
    host: MakeCgroup mkdir /c/systemd/a/b
    host: OpenCgroup # keep /c/systemd/a/b/tasks open: the container is put there
    host: EnsureCgroup [ -d /c/unified/a ] || mkdir /c/unified/a
    host: MakeCgroup mkdir /c/unified/a/b
    host: OpenCgroup # keep /c/unified/a/b open: the container is put there
    host: SetCgroup echo 1 >/c/net_cls/a/b/net_cls.classid
    inside: JoinCgroup echo 0 >/c/cpuset/a/b/cgroup.procs
    inside: JoinCgroup echo 0 >/c/devices/a/b/cgroup.procs
    inside: JoinCgroup echo 0 >/c/systemd/a/b/cgroup.procs
    inside: UnshareCgroup unshare --cgroup
    born in its group
    "#);
}

#[test]
fn of_a_unit() {
    let unit =
        Unit { name: "x-1.scope".into(), slice: "a.slice".into(), user: false, properties: Vec::new() };
    let of = |host: &Host| Spec { unit: Some(unit.clone()), ..bundle("a.slice/x-1.scope", host) };
    insta::assert_snapshot!(said(&of(&v2()), &v2()), @r"
    joined: StartUnit busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))' x-1.scope replace 13 Description s 'corten container x-1.scope' Slice s a.slice Delegate b true MemoryAccounting b true CPUAccounting b true IOAccounting b true TasksAccounting b true DefaultDependencies b false DevicePolicy s strict DeviceAllow 'a(ss)' 0 MemoryMax t 5 CPUQuotaPerSecUSec t 50000 PIDs au 1 $PID 0
    joined: MakeCgroup mkdir /c/a.slice/x-1.scope
    joined: SetCgroup echo 5 >/c/a.slice/x-1.scope/memory.max
    joined: SetCgroup echo '5000 100000' >/c/a.slice/x-1.scope/cpu.max
    joined: FilterDevices # only these devices may be opened: devices.deny a
    joined: DelegateCgroup chown 1000 /c/a.slice/x-1.scope; (cd /c/a.slice/x-1.scope && chown -f 1000 $(cat /sys/kernel/cgroup/delegate)) || :
    inside: UnshareCgroup unshare --cgroup
    put into its groups
    ");
    let on_v1 = Spec { resources: Resources::default(), ..of(&v1()) };
    insta::assert_snapshot!(said(&on_v1, &v1()), @r#"
    joined: StartUnit busctl call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))' x-1.scope replace 11 Description s 'corten container x-1.scope' Slice s a.slice Delegate b true MemoryAccounting b true CPUAccounting b true BlockIOAccounting b true TasksAccounting b true DefaultDependencies b false DevicePolicy s strict DeviceAllow 'a(ss)' 0 PIDs au 1 $PID 0
    joined: EnsureCgroup [ -d /c/cpuset/a.slice ] || mkdir /c/cpuset/a.slice
    joined: InheritCpuset [ -n "$(cat /c/cpuset/a.slice/cpuset.cpus)" ] || cat /c/cpuset/a.slice/../cpuset.cpus >/c/cpuset/a.slice/cpuset.cpus; [ -n "$(cat /c/cpuset/a.slice/cpuset.mems)" ] || cat /c/cpuset/a.slice/../cpuset.mems >/c/cpuset/a.slice/cpuset.mems
    joined: MakeCgroup mkdir /c/cpuset/a.slice/x-1.scope
    joined: InheritCpuset [ -n "$(cat /c/cpuset/a.slice/x-1.scope/cpuset.cpus)" ] || cat /c/cpuset/a.slice/x-1.scope/../cpuset.cpus >/c/cpuset/a.slice/x-1.scope/cpuset.cpus; [ -n "$(cat /c/cpuset/a.slice/x-1.scope/cpuset.mems)" ] || cat /c/cpuset/a.slice/x-1.scope/../cpuset.mems >/c/cpuset/a.slice/x-1.scope/cpuset.mems
    joined: PutIntoCgroup echo $PID >/c/cpuset/a.slice/x-1.scope/cgroup.procs
    joined: EnsureCgroup [ -d /c/devices/a.slice ] || mkdir /c/devices/a.slice
    joined: MakeCgroup mkdir /c/devices/a.slice/x-1.scope
    joined: FilterDevices echo a >/c/devices/a.slice/x-1.scope/devices.deny
    joined: PutIntoCgroup echo $PID >/c/devices/a.slice/x-1.scope/cgroup.procs
    joined: EnsureCgroup [ -d /c/unified/a.slice ] || mkdir /c/unified/a.slice
    joined: MakeCgroup mkdir /c/unified/a.slice/x-1.scope
    joined: PutIntoCgroup echo $PID >/c/unified/a.slice/x-1.scope/cgroup.procs
    inside: UnshareCgroup unshare --cgroup
    put into its groups
    "#);
}

/// Whoever may not say who may use which device, may make none either.
#[test]
fn without_rights_there_are_no_rules_for_devices() {
    let host = Host { rootless: true, ..v2() };
    assert!(!said(&bundle("a", &host), &host).contains("FilterDevices"));
    assert!(said(&bundle("a", &host), &v2()).contains("FilterDevices"));
}

#[test]
fn parents_are_outermost_first() {
    assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a", "a/b"]);
    assert_eq!(parents("a").count(), 0);
}
