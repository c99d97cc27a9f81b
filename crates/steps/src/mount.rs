//! The container's own mounts: kernel file systems made in its namespaces, and the change of root. See mount_namespaces(7).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::mount::{self, Attr, Propagation};
use rustix::fs::{Mode, OFlags};
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

/// How mounts cross between the host and the container, for a mount of the container's and (`recursive`) all below it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Propagate {
    /// Below the present directory, as the container will name it; `None` is the process's own `/`.
    pub target: Option<Text>,
    pub kind: Propagation,
    pub recursive: bool,
}

impl Propagate {
    pub fn perform(&self, _: &Live) -> Outcome {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let mount = match &self.target {
            Some(target) => mount::find_in_root(target.as_c()),
            None => rustix::fs::open(c"/", flags, Mode::empty()),
        }?;
        mount::set_propagation(mount, self.kind, self.recursive).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let kind = format!("{}{}", if self.recursive { "r" } else { "" }, self.kind.word());
        let place = self.target.as_ref().map_or("/".to_owned(), |t| format!(".{t}"));
        let why = match (self.kind, &self.target) {
            (Propagation::Private, None) => "no mount crosses between host and container".to_owned(),
            (Propagation::Slave, None) => "mounts of the host reach the container, none come back".to_owned(),
            _ => format!("mounts at {place} are {}", self.kind.word()),
        };
        Shell::exact(format!("mount --make-{kind} {}", quote(&place)), why, "mount_namespaces(7)")
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
    /// What the root has there is copied into it before it is covered.
    pub copy_up: bool,
}

/// Why there is no place to mount on.
pub(crate) fn no_mount_point(errno: rustix::io::Errno) -> &'static str {
    match errno {
        rustix::io::Errno::LOOP => "must be mounted on ordinary directory, not on a link",
        _ => "make the mount point",
    }
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
            .map_err(|e| Failure::new(e, no_mount_point(e)))?;
        if self.copy_up {
            use rustix::fd::AsFd;
            crate::copy_up::copy_tree(target.as_fd(), fd.as_fd())
                .map_err(|e| Failure::new(e, "copy what is there"))?;
        }
        mount::attach(&fd, &target).map_err(|e| Failure::new(e, "move_mount"))?;
        if let Some(slot) = self.keep {
            live.fill(slot, fd);
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let target = quote(&format!(".{}", self.target));
        // mount(8) would make the whole file system read-only, not only this mount of it.
        let flag = options_flag(Attr { read_only: false, ..self.attr }, &self.options);
        let mount = format!("mount -t {} {flag}{} {target}", self.fstype, self.source);
        let mut lines = vec![format!("mkdir -p {target}"), mount];
        if self.copy_up {
            lines.insert(1, format!("C=$(mktemp -d); cp -a {target}/. $C"));
            lines.push(format!("cp -a $C/. {target}; rm -rf $C"));
        }
        if self.attr.read_only {
            lines.push(format!("mount -o remount,bind,{} {target}", self.attr.options()));
        }
        Shell::lines(lines, format!("{} in the container", self.target), "mount(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.target.as_str(), self.fstype.as_str());
    }
}

/// A mount that was filled becomes read-only; what is mounted in it keeps its own flags.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// Kept by [`MountFs`].
    pub mount: Slot,
    /// Where it is, and the flags that it has, for the shell.
    pub target: Text,
    pub attr: Attr,
}

impl Seal {
    pub fn perform(&self, live: &Live) -> Outcome {
        let attr = Attr { read_only: true, ..Attr::default() };
        mount::set_attr(live.fd(self.mount)?, &attr, false).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let options = Attr { read_only: true, ..self.attr }.options();
        let line = format!("mount -o remount,bind,{options} {}", quote(&format!(".{}", self.target)));
        Shell::exact(line, format!("{} is complete: read-only from now on", self.target), "mount_setattr(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A detached kernel file system that the host's side makes, for namespaces that the container does not own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeFs {
    pub slot: Slot,
    pub fstype: Text,
    pub source: Text,
    pub options: Vec<(Text, Text)>,
    pub attr: Attr,
}

impl MakeFs {
    pub fn perform(&self, live: &Live) -> Outcome {
        let options = self.options.iter().map(|(k, v)| (k.as_c(), v.as_c()));
        let fd = mount::new_fs_texts(self.fstype.as_c(), self.source.as_c(), options, self.attr)
            .map_err(|e| Failure::new(e, "fsopen"))?;
        live.fill(self.slot, fd);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let place = format!("$T/t/{}", self.slot.0);
        let flag = options_flag(self.attr, &self.options);
        let mount = format!("mount -t {} {flag}{} {place}", self.fstype, self.source);
        Shell::lines(
            vec![format!("mkdir {place}"), mount],
            format!("a {} of the host's", self.fstype),
            "fsopen(2)",
        )
        .later()
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// `-o …` of mount(8), or nothing.
fn options_flag(attr: Attr, options: &[(Text, Text)]) -> String {
    let mut words = vec![attr.options()];
    words.extend(options.iter().map(|(k, v)| if v.is_empty() { k.to_string() } else { format!("{k}={v}") }));
    words.retain(|w| !w.is_empty());
    if words.is_empty() { String::new() } else { format!("-o {} ", quote(&words.join(","))) }
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
            .near("pivot_root(2) takes the host's files away; here they are below what is moved over them, and chroot(2), which follows, keeps in only who lacks CAP_SYS_CHROOT")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
