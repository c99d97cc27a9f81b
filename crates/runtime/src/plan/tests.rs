//! What must hold for every plan.

use super::*;
use crate::{Cgroups, Lower, Mount, Writable};

fn host() -> Host {
    Host {
        cgroups: Cgroups::V2 { mount: "/sys/fs/cgroup".to_owned() },
        controllers: vec!["cpu".to_owned(), "memory".to_owned()],
        cpuset: Default::default(),
        cpus: 2,
        rootless: false,
    }
}

fn spec() -> Spec {
    let writable = Writable { dir: "/c/rw".to_owned(), in_memory: false, size: 0 };
    let lower = vec![Lower { source: "/l/1".to_owned(), at: "/l/1".to_owned() }];
    Spec {
        name: "web".to_owned(),
        root: Root::Overlay { lower, writable, merged: "/c/merged".to_owned() },
        namespaces: kernel::process::CLONE_NEWUSER
            | kernel::process::CLONE_NEWNS
            | kernel::process::CLONE_NEWCGROUP,
        ids: vec![IdRange { inside: 0, outside: 100_000, count: 65_536 }],
        groups: crate::GroupPaths::everywhere("corten/web", &host()),
        mounts: vec![Mount::Bind {
            source: "/data".to_owned(),
            target: "/data".to_owned(),
            attr: Attr::default(),
            recursive: true,
            idmap: crate::Idmap::Yes,
            file: false,
            extra: crate::Extra::default(),
        }],
        masked: vec!["/proc/kcore".to_owned()],
        ..Spec::default()
    }
}

fn names(steps: &[Step]) -> Vec<&'static str> {
    steps.iter().map(Step::name).collect()
}

/// The container attaches its trees once it is released: one that is mapped later is refused, or worse, seen unmapped.
#[test]
fn trees_are_mapped_before_the_container_is_released() {
    let plan = plan(&spec(), &host());
    let joined = names(&plan.joined);
    let first = joined.iter().position(|n| *n == "Release").unwrap();
    assert_eq!(joined.iter().filter(|n| **n == "IdmapTree").count(), 3, "{joined:?}");
    assert!(joined.iter().rposition(|n| *n == "IdmapTree").unwrap() < first, "{joined:?}");
    assert_eq!(joined[0], "WriteIdMaps");
}

/// The group is entered before its namespace is made, and the root is left last of all.
#[test]
fn the_inside_is_in_order() {
    let plan = plan(&spec(), &host());
    let inside = names(&plan.inside);
    let at = |name: &str| {
        inside.iter().position(|n| *n == name).unwrap_or_else(|| panic!("no {name} in {inside:?}"))
    };
    assert_eq!(at("Await"), 0);
    assert!(at("UnshareCgroup") < at("EnterRoot"));
    // No mount crosses over from before the first one is made.
    let joined = names(&plan.joined);
    let cut = joined.iter().position(|n| *n == "Propagate").unwrap();
    assert_eq!(joined[cut - 1], "EnterMounts");
    assert!(joined.iter().position(|n| *n == "AttachAt").unwrap() > cut);
    assert!(
        at("EnterRoot") < at("BecomeRoot")
            && at("BecomeRoot") < at("AttachTree")
            && at("AttachTree") < at("Mask")
    );
    assert_eq!(*inside.last().unwrap(), "PivotRoot");
    assert_eq!(plan.spawn.namespaces & kernel::process::CLONE_NEWCGROUP, 0);
}

/// Every object of the host that a plan makes, it can take back; what is only ensured has no reverse.
#[test]
fn what_is_made_on_the_host_is_taken_back() {
    let plan = plan(&spec(), &host());
    for step in &plan.host {
        let expected =
            matches!(step, Step::MakeDir(_) | Step::WriteFile(_) | Step::MakeCgroup(_) | Step::Publish(_));
        assert_eq!(step.undo().is_some(), expected, "{}", step.name());
    }
}
