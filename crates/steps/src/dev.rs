//! `/dev`: a small tmpfs that we fill before anything of the image is in reach (rule R3).

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, makedev};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// A detached tmpfs with device nodes and links. The host makes it, because nobody in a user namespace may make a
/// device; its files belong to the container's root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DevTmpfs {
    pub slot: Slot,
    /// The host's ids of the container's root.
    pub uid: u32,
    pub gid: u32,
    pub nodes: Vec<Node>,
    /// Name and what it points to.
    pub links: Vec<(Text, Text)>,
    /// Made before what is in them; a directory above another first.
    pub dirs: Vec<Text>,
    /// Empty files: places for mounts.
    pub files: Vec<Text>,
    pub attr: mount::Attr,
    /// Of the tmpfs: `mode`, `size`.
    pub options: Vec<(Text, Text)>,
    /// A file takes the place of a device that may not be made, for [`BindNodes`].
    pub lenient: bool,
}

/// One device node below `/dev`. See mknod(2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: Text,
    pub block: bool,
    /// A FIFO, which has no numbers.
    pub fifo: bool,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    /// Inside the container.
    pub uid: u32,
    pub gid: u32,
}

impl Node {
    fn kind(&self) -> FileType {
        match (self.fifo, self.block) {
            (true, _) => FileType::Fifo,
            (_, true) => FileType::BlockDevice,
            _ => FileType::CharacterDevice,
        }
    }

    fn device(&self) -> u64 {
        makedev(self.major, self.minor)
    }
}

impl DevTmpfs {
    pub fn perform(&self, live: &Live) -> Outcome {
        let options = self.options.iter().map(|(k, v)| (k.as_c(), v.as_c()));
        let fd = mount::new_fs_texts(c"tmpfs", c"tmpfs", options, self.attr)
            .map_err(|e| Failure::new(e, "tmpfs"))?;
        let mode = Mode::from_raw_mode;
        let own = |name: &Text, uid: u32, gid: u32| {
            let ids = (Some(Uid::from_raw(self.uid + uid)), Some(Gid::from_raw(self.gid + gid)));
            rustix::fs::chownat(&fd, name.as_c(), ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW)
        };
        let old = rustix::process::umask(Mode::empty());
        let made = (|| {
            for name in &self.dirs {
                rustix::fs::mkdirat(&fd, name.as_c(), mode(0o755))?;
                own(name, 0, 0)?;
            }
            for node in &self.nodes {
                let make =
                    |kind, device| rustix::fs::mknodat(&fd, node.name.as_c(), kind, mode(node.mode), device);
                let made = match make(node.kind(), node.device()) {
                    Err(Errno::PERM) if self.lenient => {
                        live.refused.set(true);
                        make(FileType::RegularFile, 0)
                    }
                    other => other,
                };
                made.map_err(|e| Failure::new(e, "mknod"))?;
                own(&node.name, node.uid, node.gid)?;
            }
            for (name, to) in &self.links {
                rustix::fs::symlinkat(to.as_c(), &fd, name.as_c())?;
                own(name, 0, 0)?;
            }
            for name in &self.files {
                rustix::fs::mknodat(&fd, name.as_c(), FileType::RegularFile, mode(0o620), 0)?;
                own(name, 0, 0)?;
            }
            let empty = Text::default();
            let ids = (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)));
            rustix::fs::chownat(&fd, empty.as_c(), ids.0, ids.1, AtFlags::EMPTY_PATH).map_err(Failure::from)
        })();
        rustix::process::umask(old);
        made?;
        live.fill(self.slot, fd);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let place = format!("$T/t/{}", self.slot.0);
        let mut options = vec![self.attr.options()];
        options.extend(self.options.iter().map(|(k, v)| format!("{k}={v}")));
        let options = options.join(",");
        let mut lines = vec![format!("mkdir {place}"), format!("mount -t tmpfs -o {options} tmpfs {place}")];
        lines.extend(self.dirs.iter().map(|name| format!("mkdir {place}/{name}")));
        for node in &self.nodes {
            let numbers = match (node.fifo, node.block) {
                (true, _) => "p".to_owned(),
                (_, block) => format!("{} {} {}", if block { 'b' } else { 'c' }, node.major, node.minor),
            };
            lines.push(format!("mknod -m {:04o} {place}/{} {numbers}", node.mode, node.name));
        }
        lines.extend(self.links.iter().map(|(name, to)| format!("ln -s {to} {place}/{name}")));
        lines.extend(self.files.iter().map(|name| format!("touch {place}/{name}")));
        let all =
            |names: Vec<&Text>| names.iter().map(|n| format!("{place}/{n}")).collect::<Vec<_>>().join(" ");
        let names: Vec<&Text> = self
            .nodes
            .iter()
            .map(|n| &n.name)
            .chain(self.links.iter().map(|l| &l.0))
            .chain(&self.dirs)
            .chain(&self.files)
            .collect();
        lines.push(format!("chown -h {}:{} {place} {}", self.uid, self.gid, all(names)));
        for node in self.nodes.iter().filter(|n| (n.uid, n.gid) != (0, 0)) {
            let (uid, gid) = (self.uid + node.uid, self.gid + node.gid);
            lines.push(format!("chown {uid}:{gid} {place}/{}", node.name));
        }
        Shell::lines(lines, "a /dev with the container's devices only", "mknod(2)").later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", "/dev", format!("tmpfs with {} devices", self.nodes.len()));
    }
}

/// A group above the container's may deny the making of devices: then those of a [`DevTmpfs`] are the host's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindNodes {
    /// `name` is the absolute path, as the container will name it.
    pub nodes: Vec<Node>,
}

impl BindNodes {
    pub fn perform(&self, live: &Live) -> Outcome {
        let wanted = self.nodes.iter().filter(|node| live.refused.get() && !node.fifo);
        for node in wanted {
            mount::bind_device(node.name.as_c(), node.kind(), node.device())
                .map_err(|e| Failure::new(e, "bind the host's device"))?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment("a device that may not be made here would be the host's own", "mknod(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// One device at any place below the root, where there is no `/dev` of ours: made by the container's side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeNode {
    /// `name` is the absolute path, as the container will name it.
    pub node: Node,
}

impl MakeNode {
    pub fn perform(&self, _: &Live) -> Outcome {
        let node = &self.node;
        let old = rustix::process::umask(Mode::empty());
        let (name, kind, device) = (node.name.as_c(), node.kind(), node.device());
        let mode = Mode::from_raw_mode(node.mode);
        let made = match mount::make_node_in_root(name, kind, mode, device, (node.uid, node.gid)) {
            Err(Errno::PERM) if !node.fifo => mount::bind_device(name, kind, device),
            other => other,
        };
        rustix::process::umask(old);
        made.map_err(|e| Failure::new(e, "mknod"))
    }

    pub fn shell(&self) -> Shell {
        let node = &self.node;
        let path = crate::shell::quote(&format!(".{}", node.name));
        let mode = node.mode;
        let make = match (node.fifo, node.block) {
            (true, _) => format!("mknod -m {mode:04o} {path} p"),
            (_, block) => {
                let kind = if block { 'b' } else { 'c' };
                format!("mknod -m {mode:04o} {path} {kind} {} {}", node.major, node.minor)
            }
        };
        let mut lines = vec![format!("mkdir -p $(dirname {path}); [ -e {path} ] || {make}")];
        if (node.uid, node.gid) != (0, 0) {
            lines.push(format!("chown {}:{} {path}", node.uid, node.gid));
        }
        Shell::lines(lines, format!("the device {}", node.name), "mknod(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("device", self.node.name.as_str(), format!("{}:{}", self.node.major, self.node.minor));
    }
}
