//! Detached mount trees: a copy of a directory's mount that has no place in any table until it is attached in the
//! container. What has no place cannot be left behind. See open_tree(2), move_mount(2), mount_setattr(2).

use crate::shell::quote;
use crate::{Failure, IdRange, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount::{self, Attr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Copies the mount of a host path (with what is mounted below it when `recursive`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenTree {
    pub slot: Slot,
    pub source: Text,
    /// Not the source itself but this place in it, to which no link out of it leads; empty for itself.
    pub subpath: Text,
    pub recursive: bool,
    /// Read-only and the like, set before anybody can reach it.
    pub attr: Attr,
}

impl OpenTree {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = match self.subpath.is_empty() {
            true => mount::open_tree(self.source.as_c(), self.recursive),
            false => mount::open_tree_below(self.source.as_c(), self.subpath.as_c()),
        }
        .map_err(|e| Failure::new(e, "open_tree"))?;
        if self.attr != Attr::default() {
            mount::set_attr(&fd, &self.attr, self.recursive).map_err(|e| Failure::new(e, "mount_setattr"))?;
        }
        live.fill(self.slot, fd);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let bind = if self.recursive { "rbind" } else { "bind" };
        let place = format!("$T/t/{}", self.slot.0);
        let source = match self.subpath.is_empty() {
            true => quote(self.source.as_str()),
            false => quote(&format!("{}/{}", self.source, self.subpath)),
        };
        let mut lines = vec![
            format!("if [ -d {source} ]; then mkdir {place}; else touch {place}; fi"),
            format!("mount --{bind} {source} {place}"),
        ];
        let options = self.attr.options();
        if !options.is_empty() {
            lines.push(format!("mount -o remount,bind,{options} {place}"));
        }
        Shell::lines(lines, format!("a copy of the mount of {}", self.source), "open_tree(2)")
            .near("a shell needs a place to keep a mount; here it has none until it is attached")
            .later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.source.as_str(), self.attr.options());
    }
}

/// Maps the owners of a detached tree through the container's user namespace: files keep their owners on disk, and the
/// container's root is their owner's equal inside only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdmapTree {
    pub slot: Slot,
    pub source: Text,
    pub recursive: bool,
    /// A file system that knows no mapping stays as it is: its files are nobody's.
    pub optional: bool,
}

impl IdmapTree {
    pub fn perform(&self, live: &Live) -> Outcome {
        let user = kernel::process::open_namespace(live.pid.get(), "user")?;
        mount::idmap(live.fd(self.slot)?, &user, self.recursive)
            .or_else(|e| if self.optional && e == Errno::INVAL { Ok(()) } else { Err(e) })
            .map_err(|e| Failure::new(e, "mount_setattr(MOUNT_ATTR_IDMAP)"))
    }

    pub fn shell(&self) -> Shell {
        let bind = if self.recursive { "rbind" } else { "bind" };
        let place = format!("$T/t/{}", self.slot.0);
        let or_not = if self.optional { " || true" } else { "" };
        Shell::exact(
            format!("mount --{bind} -o X-mount.idmap=/proc/$PID/ns/user {place} {place}{or_not}"),
            format!("owners of {} seen through the container's ids", self.source),
            "mount_setattr(2)",
        )
        .later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Maps the owners of a detached tree by ranges of its own, whatever ids the container has: `inside` are those on disk,
/// `outside` those of the host that they are seen as.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdmapTreeBy {
    pub slot: Slot,
    pub source: Text,
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
    pub recursive: bool,
}

impl IdmapTreeBy {
    pub fn perform(&self, live: &Live) -> Outcome {
        let user = crate::identity::user_namespace(&self.uids, &self.gids)
            .map_err(|e| Failure::new(e, "a user namespace for the mapping"))?;
        mount::idmap(live.fd(self.slot)?, &user, self.recursive).map_err(|e| match e {
            Errno::INVAL => Failure::new(e, "its file system cannot show other owners (MOUNT_ATTR_IDMAP)"),
            e => Failure::new(e, "mount_setattr(MOUNT_ATTR_IDMAP)"),
        })
    }

    pub fn shell(&self) -> Shell {
        let bind = if self.recursive { "rbind" } else { "bind" };
        let place = format!("$T/t/{}", self.slot.0);
        let words = |kind: char, all: &[IdRange]| {
            all.iter().map(|r| format!("{kind}:{}:{}:{}", r.inside, r.outside, r.count)).collect::<Vec<_>>()
        };
        let map = [words('u', &self.uids), words('g', &self.gids)].concat().join(" ");
        Shell::exact(
            format!("mount --{bind} -o {} {place} {place}", quote(&format!("X-mount.idmap={map}"))),
            format!("owners of {} seen through ids of its own", self.source),
            "mount_setattr(2)",
        )
        .later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Sets and clears flags of a detached tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeTree {
    pub slot: Slot,
    pub source: Text,
    pub set: Attr,
    pub clear: Attr,
    pub recursive: bool,
}

impl ChangeTree {
    pub fn perform(&self, live: &Live) -> Outcome {
        mount::change_attr(live.fd(self.slot)?, &self.set, &self.clear, self.recursive)
            .map_err(|e| Failure::new(e, "mount_setattr"))
    }

    pub fn shell(&self) -> Shell {
        let bind = if self.recursive { "rbind" } else { "bind" };
        let words = [self.set.options(), self.clear.cleared()];
        let words: Vec<&str> = words.iter().map(String::as_str).filter(|w| !w.is_empty()).collect();
        Shell::exact(
            format!("mount -o remount,{bind},{} $T/t/{}", words.join(","), self.slot.0),
            format!("the flags of {}", self.source),
            "mount_setattr(2)",
        )
        .later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Attaches a detached tree at a host path, seen from inside the container's mount namespace only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachAt {
    pub slot: Slot,
    pub at: Text,
    /// It is the source of further copies: only what has a place in the container's table can be copied there.
    pub keep: bool,
}

impl AttachAt {
    pub fn perform(&self, live: &Live) -> Outcome {
        mount::attach_at(live.fd(self.slot)?, self.at.as_c()).map_err(|e| Failure::new(e, "move_mount"))?;
        if !self.keep {
            live.empty(self.slot);
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        if self.keep {
            return Shell::comment(format!("{} stays where it is, to be copied", self.at), "move_mount(2)");
        }
        let line = format!("mount --move $T/t/{} {}", self.slot.0, quote(self.at.as_str()));
        Shell::exact(line, "attached, in the container's mount table only", "move_mount(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Attaches a detached tree below the container's root; the place is made when it is missing, and resolved so that no
/// link can lead out of the root (CVE-2021-30465, CVE-2019-19921).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachTree {
    pub slot: Slot,
    /// Absolute, as the container will name it.
    pub target: Text,
    /// A file is mounted on a file, a directory on a directory.
    pub file: bool,
    /// The last part of the target must not be a link (`/dev`, CVE-2026-41579).
    pub strict: bool,
}

impl AttachTree {
    pub fn perform(&self, live: &Live) -> Outcome {
        let target = mount::place_in_root(self.target.as_c(), self.file, self.strict)
            .map_err(|e| Failure::new(e, crate::mount::no_mount_point(e)))?;
        mount::attach(live.fd(self.slot)?, &target).map_err(|e| Failure::new(e, "move_mount"))?;
        live.empty(self.slot);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let target = quote(&format!(".{}", self.target));
        let make = if self.file {
            format!("[ -e {target} ] || {{ mkdir -p $(dirname {target}); touch {target}; }}")
        } else {
            format!("mkdir -p {target}")
        };
        let lines = vec![make, format!("mount --move $T/t/{} {target}", self.slot.0)];
        Shell::lines(lines, format!("{} in the container", self.target), "move_mount(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.target.as_str(), "attached");
    }
}

/// Attaches a copy of what is mounted at a place of a tree that the host's side has filled: an image, or a directory or file
/// in it. No link leads out of the image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttachBelow {
    /// The tree, and where the host's side has put it.
    pub slot: Slot,
    pub at: Text,
    /// The place in the tree, one name.
    pub name: Text,
    /// A place below that; empty for itself.
    pub subpath: Text,
    /// Absolute, as the container will name it.
    pub target: Text,
}

impl AttachBelow {
    pub fn perform(&self, live: &Live) -> Outcome {
        let tree = mount::copy_below(live.fd(self.slot)?, self.name.as_c(), self.subpath.as_c())
            .map_err(|e| Failure::new(e, "open_tree"))?;
        let attr = Attr { read_only: true, nosuid: true, nodev: true, ..Attr::default() };
        mount::set_attr(&tree, &attr, false).map_err(|e| Failure::new(e, "mount_setattr"))?;
        let file = !mount::is_dir(&tree)?;
        let target = mount::place_in_root(self.target.as_c(), file, false)
            .map_err(|e| Failure::new(e, crate::mount::no_mount_point(e)))?;
        mount::attach(&tree, &target).map_err(|e| Failure::new(e, "move_mount"))
    }

    pub fn shell(&self) -> Shell {
        let target = quote(&format!(".{}", self.target));
        let source = match self.subpath.is_empty() {
            true => format!("{}/{}", self.at, self.name),
            false => format!("{}/{}/{}", self.at, self.name, self.subpath),
        };
        let source = quote(&source);
        let lines = vec![
            format!(
                "if [ -d {source} ]; then mkdir -p {target}; else mkdir -p $(dirname {target}); touch {target}; fi"
            ),
            format!("mount --bind {source} {target}"),
            format!("mount -o remount,bind,ro,nosuid,nodev {target}"),
        ];
        Shell::lines(lines, format!("{} in the container", self.target), "open_tree(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.target.as_str(), "image, read-only");
    }
}
