//! From a specification to a plan: a pure function, told all facts.

mod cgroup;
mod images;
mod mounts;
mod process;
#[cfg(test)]
mod tests;

use crate::{Host, Idmap, Root, Spec};
use kernel::mount::Attr;
use steps::*;

pub use cgroup::ignored as ignored_limits;
pub use process::{INIT, WAIT, program_by_hand};
pub(crate) use process::{candidates, exec, labelled};

/// The meeting points of a start.
const ROOT_READY: u8 = 1;
const ALL_READY: u8 = 2;
/// Only with hooks: the container is there, and may go on.
const MOUNTED: u8 = 1;
const HOOKED: u8 = 3;

/// Collects the four lists while slots are given out.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    host: Vec<Step>,
    joined: Vec<Step>,
    inside: Vec<Step>,
    /// Mappings of trees: all of them stand before the first meeting point, because a tree that is attached cannot be mapped.
    idmaps: Vec<Step>,
    slots: u16,
}

impl Lists {
    fn slot(&mut self) -> Slot {
        self.slots += 1;
        Slot(self.slots - 1)
    }
}

/// The plan of `spec` on `host`. Nothing is read and nothing is done.
pub fn plan(spec: &Spec, host: &Host) -> Plan {
    let mut lists = Lists::default();
    // Slot 0: the socket by which a terminal's master comes out.
    let socket = lists.slot();
    let cgroup = cgroup::plan(&mut lists, spec, host);
    lists.host.extend(spec.host.iter().cloned());

    if !spec.ids.is_empty() && !joins_user(spec) {
        let gids = if spec.group_ids.is_empty() { &spec.ids } else { &spec.group_ids };
        lists.joined.push(WriteIdMaps { uids: spec.ids.clone(), gids: gids.clone() }.into());
    }
    if let Some(adjust) = spec.oom_score_adj {
        lists.joined.push(OomScore { adjust }.into());
    }
    let idmaps_at = lists.joined.len();
    let covers = mounts::covers(&mut lists, spec);
    let root = root(&mut lists, spec, covers);
    let images = images::assemble(&mut lists, spec);
    lists.joined.push(Release { point: ROOT_READY }.into());

    lists.inside.insert(0, Await { point: ROOT_READY }.into());
    lists.inside.push(EnterRoot { path: root.as_str().into() }.into());
    lists.inside.push(BecomeRoot {}.into());
    let proc = mounts::plan(&mut lists, spec, host, socket);
    images::attach(&mut lists, spec, images);
    if spec.namespaces & kernel::process::CLONE_NEWUTS != 0
        && !(spec.hostname.is_empty() && spec.domainname.is_empty())
    {
        let hostname =
            SetHostname { name: spec.hostname.as_str().into(), domain: spec.domainname.as_str().into() };
        lists.inside.push(hostname.into());
    }
    lists.joined.extend(spec.joined.iter().cloned());
    process::privileges(&mut lists, spec);
    lists.joined.push(Release { point: ALL_READY }.into());
    lists.inside.push(Await { point: ALL_READY }.into());
    lists.inside.extend(spec.inside.iter().cloned());
    mounts::protect(&mut lists, spec, proc.slot, covers);
    let cwd = if spec.process.cwd.is_empty() { "/" } else { spec.process.cwd.as_str() };
    if cwd != "/" {
        lists.inside.push(MakeInside { path: cwd.into() }.into());
    }
    if !spec.hooks.is_empty() {
        lists.inside.push(Arrive { point: MOUNTED }.into());
        lists.inside.push(Await { point: HOOKED }.into());
        lists.joined.push(Expect { point: MOUNTED }.into());
        if let Some(bundle) = &spec.bundle {
            lists.joined.extend([EnterMounts {}.into(), bundle.clone().into(), LeaveMounts {}.into()]);
        }
        lists.joined.extend(spec.hooks.iter().cloned().map(Step::from));
        lists.joined.push(Release { point: HOOKED }.into());
    }
    lists.inside.push(PivotRoot { read_only: spec.read_only }.into());
    // As slaves they were made before; what single mounts are told to be since then stays.
    if let Some((kind, recursive)) = spec.propagation.filter(|(kind, _)| *kind != cut(spec)) {
        lists.inside.push(Propagate { target: None, kind, recursive }.into());
    }
    begin(&mut lists, spec);
    lists.joined.splice(idmaps_at..idmaps_at, lists.idmaps.drain(..));
    let exec = process::plan(&mut lists, spec, proc.slave);

    // The cgroup namespace is made inside, after the group is entered: at the clone it would show the parent's group.
    let mut namespaces = spec.namespaces & !kernel::process::CLONE_NEWCGROUP;
    if !spec.time_offsets.is_empty() {
        // Offsets are told to a namespace that nobody is in yet: it is made before the clone.
        namespaces &= !kernel::process::CLONE_NEWTIME;
    }
    Plan {
        name: spec.name.clone(),
        host: lists.host,
        spawn: Spawn {
            namespaces,
            join: spec.join.clone(),
            cgroup,
            time_offsets: spec.time_offsets.clone(),
            keep_fds: spec.keep_fds,
        },
        joined: lists.joined,
        inside: lists.inside,
        exec,
        slots: lists.slots,
    }
}

/// Where a container waits for its start, and for those who want to enter before it.
fn begin(lists: &mut Lists, spec: &Spec) {
    let Some(path) = &spec.begin else { return };
    let mut listen = |path: &str| {
        let (slot, path): (Slot, Text) = (lists.slot(), path.into());
        lists.host.push(Listen { slot, path: path.clone() }.into());
        (slot, path)
    };
    let (slot, path) = listen(path);
    let visited = spec.visit.as_deref().map(|path| listen(path).0);
    let visitors = visited.map(|slot| {
        let (proc, first) = (lists.slot(), lists.slot());
        lists.slots = first.0 + KEPT as u16;
        lists.host.push(OpenProc { slot: proc }.into());
        lists.inside.push(KeepNamespaces { proc, first }.into());
        Visitors { slot, first }
    });
    lists.inside.push(AwaitStart { slot, path, visitors }.into());
}

/// What adds mounts to a container that runs.
#[derive(Debug)]
pub struct MoreMounts {
    /// By the host's side.
    pub host: Vec<Step>,
    /// By a process in the container's namespaces, whose root is the present directory.
    pub inside: Vec<Step>,
    pub slots: u16,
}

/// The steps that add `mounts` to a container with these ids.
pub fn more_mounts(mounts: Vec<crate::Mount>, ids: Vec<IdRange>, host: &Host) -> MoreMounts {
    let mut lists = Lists::default();
    let socket = lists.slot();
    let spec = Spec { mounts, ids, ..Spec::default() };
    mounts::plan(&mut lists, &spec, host, socket);
    lists.host.append(&mut lists.idmaps);
    MoreMounts { host: lists.host, inside: lists.inside, slots: lists.slots }
}

/// Whether the container has no user namespace of its own, but another's.
fn joins_user(spec: &Spec) -> bool {
    spec.join.iter().any(|join| join.flag == kernel::process::CLONE_NEWUSER)
}

/// The root file system, mounted by the host's side in the container's mount namespace; answers where.
fn root(lists: &mut Lists, spec: &Spec, covers: Option<(Slot, Slot)>) -> String {
    let idmap = if spec.ids.is_empty() { Idmap::No } else { Idmap::Yes };
    match &spec.root {
        Root::Directory { path, idmap: wanted } => {
            let slot = lists.slot();
            let idmap = if idmap == Idmap::No { idmap } else { *wanted };
            tree(lists, slot, path, true, idmap, Attr::default());
            enter_mounts(lists, spec, covers);
            lists.joined.push(AttachAt { slot, at: path.as_str().into(), keep: false }.into());
            // As a mount of the host's that is shared, it would show there what is mounted below it here.
            let kind = cut(spec);
            if kind == Propagation::Slave {
                let target = Some(path.as_str().into());
                lists.joined.push(Propagate { target, kind, recursive: true }.into());
            }
            lists.joined.push(LeaveMounts {}.into());
            path.clone()
        }
        Root::Overlay { lower, writable, merged } => {
            let owner = spec.ids.first().map(|range| (range.outside, range.outside));
            let mut attach: Vec<Step> = Vec::new();
            for layer in lower {
                if idmap == Idmap::Yes || layer.at != layer.source {
                    let slot = lists.slot();
                    tree(lists, slot, &layer.source, false, idmap, Attr::default());
                    attach.push(AttachAt { slot, at: layer.at.as_str().into(), keep: false }.into());
                }
            }
            let (upper, work) = (format!("{}/upper", writable.dir), format!("{}/work", writable.dir));
            if writable.in_memory {
                // Files in it belong to the container's ids as they are: it needs no mapping, and dies with the container.
                let slot = lists.slot();
                let mut options: Vec<(Text, Text)> = vec![("mode".into(), "755".into())];
                if writable.size != 0 {
                    options.push(("size".into(), writable.size.to_string().into()));
                }
                let source: Text = "tmpfs".into();
                lists.host.push(
                    MakeFs { slot, fstype: source.clone(), source, options, attr: Attr::default() }.into(),
                );
                attach.push(AttachAt { slot, at: writable.dir.as_str().into(), keep: false }.into());
                attach.push(MakeDir { path: upper.as_str().into(), mode: 0o755, owner }.into());
                attach.push(MakeDir { path: work.as_str().into(), mode: 0o700, owner }.into());
            } else if idmap == Idmap::Yes {
                let slot = lists.slot();
                tree(lists, slot, &writable.dir, false, idmap, Attr::default());
                attach.push(AttachAt { slot, at: writable.dir.as_str().into(), keep: false }.into());
            }
            let lower = lower.iter().map(|layer| layer.at.as_str().into()).collect();
            enter_mounts(lists, spec, covers);
            lists.joined.append(&mut attach);
            lists.joined.push(
                Overlay {
                    lower,
                    upper: upper.into(),
                    work: work.into(),
                    at: merged.as_str().into(),
                    owner: owner.map_or(0, |o| o.0),
                }
                .into(),
            );
            lists.joined.push(LeaveMounts {}.into());
            merged.clone()
        }
    }
}

/// A copy of a host path's mount, mapped when the container has ids of its own.
fn tree(lists: &mut Lists, slot: Slot, source: &str, recursive: bool, idmap: Idmap, attr: Attr) {
    tree_at(lists, slot, (source, ""), recursive, idmap, attr);
}

/// The same of a place below that path.
fn tree_at(
    lists: &mut Lists,
    slot: Slot,
    (source, subpath): (&str, &str),
    recursive: bool,
    idmap: Idmap,
    attr: Attr,
) {
    let (source, subpath): (Text, Text) = (source.into(), subpath.into());
    lists.host.push(OpenTree { slot, source: source.clone(), subpath, recursive, attr }.into());
    if idmap != Idmap::No {
        let optional = idmap == Idmap::IfPossible;
        let recursive = recursive && idmap != Idmap::Top;
        lists.idmaps.push(IdmapTree { slot, source, recursive, optional }.into());
    }
}

/// The host's side goes to the container's mounts; from then on none crosses over.
fn enter_mounts(lists: &mut Lists, spec: &Spec, covers: Option<(Slot, Slot)>) {
    lists.joined.push(EnterMounts {}.into());
    lists.joined.push(Propagate { target: None, kind: cut(spec), recursive: true }.into());
    attach_covers(lists, spec, covers);
}

/// How the container's mounts hang on the host's: not at all, or so that those of the host appear inside.
fn cut(spec: &Spec) -> Propagation {
    match spec.propagation {
        None | Some((Propagation::Private | Propagation::Unbindable, _)) => Propagation::Private,
        Some((Propagation::Slave | Propagation::Shared, _)) => Propagation::Slave,
    }
}

/// The file and the directory that hidden paths are covered with.
fn attach_covers(lists: &mut Lists, spec: &Spec, covers: Option<(Slot, Slot)>) {
    let Some((file, dir)) = covers else { return };
    for (slot, at) in [(file, &spec.empty_file), (dir, &spec.empty_dir)] {
        lists.joined.push(AttachAt { slot, at: at.as_str().into(), keep: true }.into());
    }
}
