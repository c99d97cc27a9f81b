//! The container's mounts, its terminal, and what is hidden from it.

use super::{Lists, tree, tree_at};
use crate::{Cgroups, Extra, GroupPath, Host, Idmap, Mapping, Mount, Spec};
use kernel::mount::Attr;
use kernel::process::{CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWPID};
use steps::*;

/// What later steps need of the mounts.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// The engine's own mount of `proc`.
    pub slot: Option<Slot>,
    /// The terminal's slave.
    pub slave: Option<Slot>,
}

/// The mounts, in the order of the specification.
pub(super) fn plan(lists: &mut Lists, spec: &Spec, host: &Host, socket: Slot) -> Kept {
    let mut kept = Kept::default();
    let mut devpts = None;
    for mount in &spec.mounts {
        match mount {
            Mount::Fs { fstype, target, extra, .. } => {
                let keep = match fstype.as_str() {
                    "proc" if !spec.sysctls.is_empty() && kept.slot.is_none() => {
                        kept.slot = Some(lists.slot());
                        kept.slot
                    }
                    "devpts" if spec.process.terminal => {
                        devpts = Some(lists.slot());
                        devpts
                    }
                    _ => None,
                };
                file_system(lists, spec, mount, keep);
                propagate(lists, target, extra);
            }
            Mount::Bind { target, extra, .. } => {
                bind(lists, spec, mount);
                propagate(lists, target, extra);
            }
            Mount::Dev { attr, options } => dev(lists, spec, host, *attr, options),
            Mount::Cgroup { attr, target } => cgroup(lists, spec, host, *attr, target),
        }
    }
    if kept.slot.is_none() && !spec.sysctls.is_empty() {
        // The container has no /proc: one that has no place serves to write to.
        let slot = lists.slot();
        let (fstype, source, attr) = ("proc".into(), "proc".into(), Attr::NO_SUID_DEV_EXEC);
        lists.inside.push(MakeFs { slot, fstype, source, options: Vec::new(), attr }.into());
        kept.slot = Some(slot);
    }
    for node in &spec.nodes {
        match is_bound(node, host) {
            true => bind_node(lists, spec, node.name.as_str()),
            false => lists.inside.push(MakeNode { node: node.clone() }.into()),
        }
    }
    if let Some(devpts) = devpts {
        let slave = lists.slot();
        kept.slave = Some(slave);
        let (uid, size) = (spec.process.credentials.uid, spec.process.terminal_size);
        lists.inside.push(OpenTerminal { devpts, socket, slave, uid, console: true, size }.into());
    }
    kept
}

fn file_system(lists: &mut Lists, spec: &Spec, mount: &Mount, keep: Option<Slot>) {
    let Mount::Fs { fstype, source, options, attr, target, extra } = mount else { return };
    let options = options.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    let (fstype, source, target) =
        (Text::from(fstype.as_str()), source.as_str().into(), Text::from(target.as_str()));
    let (attr, strict) = (*attr, extra.strict);
    if foreign(spec, fstype.as_str()) {
        let slot = lists.slot();
        lists.host.push(MakeFs { slot, fstype, source, options, attr }.into());
        lists.inside.push(AttachTree { slot, target, file: false, strict }.into());
    } else {
        let copy_up = extra.copy_up;
        lists.inside.push(MountFs { fstype, source, options, attr, target, keep, strict, copy_up }.into());
    }
}

fn bind(lists: &mut Lists, spec: &Spec, mount: &Mount) {
    let Mount::Bind { source, target, attr, recursive, idmap, file, extra } = mount else { return };
    let slot = lists.slot();
    let idmap = if spec.ids.is_empty() { Idmap::No } else { *idmap };
    let text: Text = source.as_str().into();
    let subpath = extra.subpath.as_str();
    let none = Attr::default();
    let read_only = attr.read_only;
    // What is to be filled can be written until then.
    let attr = Attr { read_only: attr.read_only && !extra.copy_up, ..*attr };
    let mut changes: Vec<Step> = Vec::new();
    for (set, clear, recursive) in [(extra.top, extra.clear, false), (extra.below.0, extra.below.1, true)] {
        if (set, clear) != (none, none) {
            changes.push(ChangeTree { slot, source: text.clone(), set, clear, recursive }.into());
        }
    }
    if let Some(Mapping { uids, gids, recursive }) = &extra.mapping {
        let (uids, gids, recursive) = (uids.clone(), gids.clone(), *recursive);
        changes.push(IdmapTreeBy { slot, source: text.clone(), uids, gids, recursive }.into());
    }
    // As the host's mount, and not a copy of it: what the container mounts below it appears on the host too.
    let shared = |kind: Option<(Propagation, bool)>| matches!(kind, Some((Propagation::Shared, _)));
    let peer = shared(extra.propagation) && shared(spec.propagation);
    if in_order(spec) && extra.mapping.is_none() && !peer {
        let subpath = subpath.into();
        lists.inside.push(OpenTree { slot, source: text, subpath, recursive: *recursive, attr }.into());
        lists.inside.extend(changes);
    } else {
        tree_at(lists, slot, (source, subpath), *recursive, idmap, attr);
        lists.host.extend(changes);
    }
    let target: Text = target.as_str().into();
    if extra.copy_up {
        let (keep_owner, read_only) = (extra.keep_owner, read_only);
        lists.inside.push(FillTree { slot, target: target.clone(), keep_owner, read_only }.into());
    }
    lists.inside.push(AttachTree { slot, target, file: *file, strict: extra.strict }.into());
}

/// Whether mounts are made where they are needed, one after the other: a table of mounts is sorted by their age since
/// Linux 6.8, and those who ask for an order look there. The host's side makes beforehand what cannot be made inside: with a
/// user namespace, and what is to stay a peer of the host's mount. A container that is cut off from the host's mounts
/// has none to copy.
fn in_order(spec: &Spec) -> bool {
    spec.ids.is_empty() && !super::joins_user(spec) && spec.propagation.is_some()
}

fn propagate(lists: &mut Lists, target: &str, extra: &Extra) {
    if let Some((kind, recursive)) = extra.propagation {
        lists.inside.push(Propagate { target: Some(target.into()), kind, recursive }.into());
    }
}

/// A file system whose namespace the container does not own must be made by the host's side.
fn foreign(spec: &Spec, fstype: &str) -> bool {
    let owned = |flag: u64| spec.namespaces & flag != 0;
    match fstype {
        _ if spec.ids.is_empty() => false,
        "sysfs" => !owned(CLONE_NEWNET),
        // Of the pid namespace that the mounting process is in: in another container's, only its own can.
        "proc" => !owned(CLONE_NEWPID) && !super::joins_user(spec),
        "mqueue" => !owned(kernel::process::CLONE_NEWIPC),
        _ => false,
    }
}

fn dev(lists: &mut Lists, spec: &Spec, host: &Host, attr: Attr, options: &[(String, String)]) {
    let slot = lists.slot();
    let id = spec.ids.first().map_or(0, |range| range.outside);
    let links = [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
        ("core", "/proc/kcore"),
    ];
    let links = links.iter().map(|(name, to)| ((*name).into(), (*to).into())).collect();
    let mut dirs: Vec<Text> = ["pts", "shm", "mqueue"].iter().map(|d| (*d).into()).collect();
    for node in &spec.devices {
        let name = node.name.as_str();
        for (end, _) in name.match_indices('/') {
            if dirs.iter().all(|known| known.as_str() != &name[..end]) {
                dirs.push(name[..end].into());
            }
        }
    }
    let files = if spec.process.terminal { vec!["console".into()] } else { Vec::new() };
    let options = options.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
    let gid = spec.group_ids.first().map_or(id, |range| range.outside);
    let (bound, nodes): (Vec<Node>, Vec<Node>) =
        spec.devices.iter().cloned().partition(|node| is_bound(node, host));
    // The host's side is in no group that could deny the making of devices.
    let lenient = in_order(spec);
    let absolute = |node: &Node| Node { name: format!("/dev/{}", node.name).into(), ..node.clone() };
    let bind = BindNodes { nodes: nodes.iter().map(absolute).collect() };
    let list = if lenient { &mut lists.inside } else { &mut lists.host };
    list.push(DevTmpfs { slot, uid: id, gid, nodes, links, dirs, files, attr, options, lenient }.into());
    lists.inside.push(AttachTree { slot, target: "/dev".into(), file: false, strict: true }.into());
    if lenient {
        lists.inside.push(bind.into());
    }
    for node in bound {
        bind_node(lists, spec, &format!("/dev/{}", node.name));
    }
}

/// Nobody in a user namespace may make a device: it is the host's own of that name.
fn is_bound(node: &Node, host: &Host) -> bool {
    host.rootless && !node.fifo
}

fn bind_node(lists: &mut Lists, spec: &Spec, path: &str) {
    let slot = lists.slot();
    let (source, target) = (Text::from(path), Text::from(path));
    let list = if in_order(spec) { &mut lists.inside } else { &mut lists.host };
    let (subpath, attr) = (Text::default(), Attr::default());
    list.push(OpenTree { slot, source, subpath, recursive: false, attr }.into());
    lists.inside.push(AttachTree { slot, target, file: true, strict: true }.into());
}

/// `/sys/fs/cgroup`: in a cgroup namespace of its own the container sees its own group as the root. One that shares the
/// host's may not mount groups itself: the host's side does it.
fn cgroup(lists: &mut Lists, spec: &Spec, host: &Host, attr: Attr, base: &str) {
    let own = spec.ids.is_empty() || spec.namespaces & CLONE_NEWCGROUP != 0;
    let fs =
        |lists: &mut Lists, fstype: &str, options: Vec<(Text, Text)>, attr: Attr, target: String, keep| {
            let (fstype, source, target) = (Text::from(fstype), fstype.into(), Text::from(target));
            if own || fstype.as_str() == "tmpfs" {
                let (strict, copy_up) = (true, false);
                let step = MountFs { fstype, source, options, attr, target, keep, strict, copy_up };
                lists.inside.push(step.into());
            } else {
                let slot = lists.slot();
                lists.host.push(MakeFs { slot, fstype, source, options, attr }.into());
                lists.inside.push(AttachTree { slot, target, file: false, strict: true }.into());
            }
        };
    // Of a container that shares the groups of others only its own are shown.
    let joins = spec.join.iter().any(|join| join.flag == CLONE_NEWCGROUP);
    let bound = spec.groups_shared && spec.namespaces & CLONE_NEWCGROUP == 0 && !joins;
    let show = |lists: &mut Lists, source: &str, target: &str| {
        let slot = lists.slot();
        if spec.unit.is_some() {
            // systemd makes it when the container is there already; it opens it itself, as long as it sees the host's root.
            lists.inside.push(
                OpenTree { slot, subpath: Text::default(), source: source.into(), recursive: false, attr }
                    .into(),
            );
        } else {
            tree(lists, slot, source, false, Idmap::No, attr);
        }
        lists.inside.push(AttachTree { slot, target: target.into(), file: false, strict: true }.into());
    };
    match &host.cgroups {
        // The host's own view is a copy of its mount: to mount groups anew from there sets the flags of all their mounts on
        // the machine (nsdelegate would be gone).
        Cgroups::V2 { mount } if spec.namespaces & CLONE_NEWCGROUP == 0 && !joins => {
            let own = spec.groups.unified().filter(|_| bound).map(GroupPath::dir);
            show(lists, own.as_ref().unwrap_or(mount), base);
        }
        Cgroups::V2 { .. } => fs(lists, "cgroup2", Vec::new(), attr, base.to_owned(), None),
        Cgroups::V1 { .. } => {
            let size = vec![("mode".into(), "755".into()), ("size".into(), "64k".into())];
            let mount = lists.slot();
            fs(lists, "tmpfs", size, Attr { read_only: false, ..attr }, base.to_owned(), Some(mount));
            for path in spec.groups.iter() {
                let (fstype, name, options) = hierarchy(path);
                let target = format!("{base}/{name}");
                if bound {
                    show(lists, &path.dir(), &target);
                } else {
                    fs(lists, fstype, options, attr, target, None);
                }
                for controller in path.controllers.iter().filter(|_| path.controllers.len() > 1) {
                    let (name, to, target) = (controller.as_str().into(), name.as_str().into(), base.into());
                    lists.inside.push(LinkController { mount, name, to, target }.into());
                }
            }
            if attr.read_only {
                lists.inside.push(Seal { mount, target: base.into(), attr }.into());
            }
        }
    }
}

/// How a hierarchy is mounted: the file system, the name of its directory, and options.
fn hierarchy(path: &GroupPath) -> (&'static str, String, Vec<(Text, Text)>) {
    let option = |c: &String| match c.split_once('=') {
        Some((key, name)) => (key.into(), name.into()),
        None => (c.as_str().into(), Text::default()),
    };
    let mut options: Vec<(Text, Text)> = path.controllers.iter().map(option).collect();
    let all = path.controllers.join(",");
    match all.strip_prefix("name=") {
        _ if path.is_v2() => ("cgroup2", "unified".to_owned(), options),
        Some(name) => {
            options.push(("none".into(), Text::default()));
            ("cgroup", name.to_owned(), options)
        }
        None => ("cgroup", all, options),
    }
}

/// Kernel parameters, then what is hidden and what is read-only.
pub(super) fn protect(lists: &mut Lists, spec: &Spec, proc: Option<Slot>, covers: Option<(Slot, Slot)>) {
    if let Some(proc) = proc {
        for (key, value) in &spec.sysctls {
            // With slashes a name may have dots in it, such as that of a VLAN.
            let path = if key.contains('/') { key.clone() } else { key.replace('.', "/") };
            let file = format!("sys/{path}").into();
            lists.inside.push(SetSysctl { proc, file, value: value.as_str().into() }.into());
        }
    }
    if let Some((file, dir)) = covers {
        for path in &spec.masked {
            lists.inside.push(Mask { target: path.as_str().into(), file, dir }.into());
        }
    }
    for path in &spec.read_only_paths {
        lists.inside.push(ReadOnly { target: path.as_str().into() }.into());
    }
}

/// An empty file and an empty directory of the engine's, to cover with; `None` when nothing is hidden.
pub(super) fn covers(lists: &mut Lists, spec: &Spec) -> Option<(Slot, Slot)> {
    if spec.masked.is_empty() {
        return None;
    }
    let (file, dir) = (lists.slot(), lists.slot());
    let attr = Attr { read_only: true, ..Attr::NO_SUID_DEV_EXEC };
    tree(lists, file, &spec.empty_file, false, Idmap::No, attr);
    tree(lists, dir, &spec.empty_dir, false, Idmap::No, attr);
    Some((file, dir))
}
