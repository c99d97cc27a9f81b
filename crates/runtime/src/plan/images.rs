//! Images as read-only directories. Their layers are mapped and laid over one another by the host's side, in the container's mount
//! namespace and in memory that has no place elsewhere; the container's side attaches copies.

use super::{Lists, tree};
use crate::{Idmap, Spec};
use kernel::mount::Attr;
use steps::*;

/// Puts the images together; answers the slot of the directory that they are in.
pub(super) fn assemble(lists: &mut Lists, spec: &Spec) -> Option<Slot> {
    let workshop = &spec.images.first()?.workshop;
    let memory = lists.slot();
    lists.host.push(MakeDir { path: workshop.as_str().into(), mode: 0o700, owner: None }.into());
    let (fstype, options) = (Text::from("tmpfs"), vec![("mode".into(), "755".into())]);
    let attr = Attr::NO_SUID_DEV_EXEC;
    lists.host.push(MakeFs { slot: memory, fstype: fstype.clone(), source: fstype, options, attr }.into());
    let idmap = if spec.ids.is_empty() { Idmap::No } else { Idmap::Yes };
    let mut layers: Vec<&str> =
        spec.images.iter().flat_map(|image| image.layers.iter().map(String::as_str)).collect();
    layers.sort_unstable();
    layers.dedup();
    let mut attach: Vec<Step> = Vec::new();
    for layer in layers.into_iter().filter(|_| idmap == Idmap::Yes) {
        let slot = lists.slot();
        tree(lists, slot, layer, false, idmap, Attr { read_only: true, ..Attr::default() });
        attach.push(AttachAt { slot, at: layer.into(), keep: false }.into());
    }
    lists.joined.push(EnterMounts {}.into());
    lists.joined.push(AttachAt { slot: memory, at: workshop.as_str().into(), keep: false }.into());
    lists.joined.extend(attach);
    for (number, image) in spec.images.iter().enumerate() {
        let at: Text = format!("{workshop}/{number}").into();
        let mut lower: Vec<Text> = image.layers.iter().map(|layer| layer.as_str().into()).collect();
        // There must be two; an empty one adds nothing.
        lower.push(spec.empty_dir.as_str().into());
        lists.joined.push(MakeDir { path: at.clone(), mode: 0o755, owner: None }.into());
        lists.joined.push(ImageOverlay { lower, at }.into());
    }
    lists.joined.push(LeaveMounts {}.into());
    Some(memory)
}

/// Where the container sees them.
pub(super) fn attach(lists: &mut Lists, spec: &Spec, memory: Option<Slot>) {
    let Some(slot) = memory else { return };
    for (number, image) in spec.images.iter().enumerate() {
        lists.inside.push(
            AttachBelow {
                slot,
                at: image.workshop.as_str().into(),
                name: number.to_string().into(),
                subpath: image.subpath.as_str().into(),
                target: image.target.as_str().into(),
            }
            .into(),
        );
    }
}
