//! The container's own mounts: kernel file systems made in its namespaces, and the change of root. See mount_namespaces(7).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount::{self, Attr};
use serde::{Deserialize, Serialize};

/// Goes to the directory that will be the root. Every later target is resolved below it, never as a path of the host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnterRoot {
    pub path: Text,
}

impl EnterRoot {
    pub fn perform(&self, _: &Live) -> Outcome {
        rustix::process::chdir(self.path.as_c()).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(format!("cd {}", quote(self.path.as_str())), "the directory that will be /", "chdir(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("root", self.path.as_str(), "becomes /");
    }
}

/// Cuts the container's mount table off the host's: no mount crosses over from now on. When the root is a plain
/// directory it is made a mount of its own, as pivot_root(2) wants it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakePrivate {
    /// `private`, or `slave` where mounts of the host shall appear inside.
    pub slave: bool,
}

impl MakePrivate {
    pub fn perform(&self, _: &Live) -> Outcome {
        mount::set_propagation(c"/", self.slave).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let kind = if self.slave { "rslave" } else { "rprivate" };
        Shell::exact(
            format!("mount --make-{kind} /"),
            "no mount crosses between host and container",
            "mount_namespaces(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A new kernel file system (`proc`, `tmpfs`, `devpts`…) at a place below the root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MountFs {
    pub fstype: Text,
    pub source: Text,
    /// `key`, `value`; a key without a value is a flag.
    pub options: Vec<(Text, Text)>,
    pub attr: Attr,
    /// Absolute, as the container will name it.
    pub target: Text,
    /// Where the mount stays reachable for later steps, untouched by what is in the root (rule R2).
    pub keep: Option<Slot>,
    /// The target must not be reached by a link.
    pub strict: bool,
}

impl MountFs {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = mount::new_fs_texts(
            self.fstype.as_c(),
            self.source.as_c(),
            self.options.iter().map(|(k, v)| (k.as_c(), v.as_c())),
            self.attr,
        )
        .map_err(|e| Failure::new(e, "fsopen"))?;
        let target = mount::place_in_root(self.target.as_c(), false, self.strict)
            .map_err(|e| Failure::new(e, "make the mount point"))?;
        mount::attach(&fd, &target).map_err(|e| Failure::new(e, "move_mount"))?;
        if let Some(slot) = self.keep {
            live.fill(slot, fd);
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let mut options = self.attr.options();
        for (key, value) in &self.options {
            if !options.is_empty() {
                options.push(',');
            }
            options.push_str(key.as_str());
            if !value.is_empty() {
                options.push('=');
                options.push_str(value.as_str());
            }
        }
        let target = quote(&format!(".{}", self.target));
        let flag = if options.is_empty() { String::new() } else { format!("-o {} ", quote(&options)) };
        let mount = format!("mount -t {} {flag}{} {target}", self.fstype, self.source);
        Shell::lines(
            vec![format!("mkdir -p {target}"), mount],
            format!("{} in the container", self.target),
            "mount(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.target.as_str(), self.fstype.as_str());
    }
}

/// The present directory becomes `/`; the host's tree is let go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PivotRoot {
    /// Last of all, the root itself becomes read-only.
    pub read_only: bool,
}

impl PivotRoot {
    pub fn perform(&self, _: &Live) -> Outcome {
        mount::pivot_here().map_err(Failure::from)?;
        if self.read_only {
            mount::remount_read_only_root().map_err(|e| Failure::new(e, "read-only root"))?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let mut lines = Vec::new();
        if self.read_only {
            lines.push("mount -o remount,bind,ro .".to_owned());
        }
        lines.push("mount --move . /".to_owned());
        Shell::lines(lines, "the container's directory becomes the root", "pivot_root(2)")
            .near("pivot_root(2) leaves no way back, chroot(1), which follows below, needs the dropped CAP_SYS_CHROOT for that")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
