//! Other variables, labels and mounts for a container that is there. Mounts come and go at once in one that runs; variables are its program's
//! when it starts again.

use crate::files::Helper;
use crate::{Container, Engine, Error, Mount, MountKind, Result, error, specify};
use kernel::process::{CLONE_NEWNS, CLONE_NEWUSER};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::ffi::CString;
use steps::{Live, Slot, Step};

/// What shall change.
#[derive(Debug, Clone, Default)]
pub struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Names.
    pub env_gone: Vec<String>,
    pub labels: Vec<(String, String)>,
    pub labels_gone: Vec<String>,
    pub mounts: Vec<Mount>,
    /// Places in the container.
    pub mounts_gone: Vec<String>,
    /// The command line that would make it as it is then.
    pub command_line: Option<Vec<String>>,
}

impl Engine {
    /// Answers what is not so yet, a note each.
    ///
    /// Errors: a place where nothing is mounted, or something is already; a mount that the kernel refuses. What came before stays.
    pub fn edit(&self, container: &Container, edits: &Edits) -> Result<Vec<String>> {
        let _lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        let running = self.handle(&now)?;
        let mut notes = Vec::new();
        let old = (now.settings.env.clone(), now.settings.labels.clone());
        set_variables(&mut now.settings.env, edits);
        for (key, value) in &edits.labels {
            now.settings.labels.insert(key.clone(), value.clone());
        }
        now.settings.labels.retain(|key, _| !edits.labels_gone.contains(key));
        if running.is_some() && old.0 != now.settings.env {
            notes.push(format!(
                "note: {} runs: its program has the new environment when it starts again, exec at once",
                now.name
            ));
        }
        if old != (now.settings.env.clone(), now.settings.labels.clone()) {
            self.write_config(&now)?;
        }
        for target in &edits.mounts_gone {
            self.take_mount(&mut now, target, running.as_ref())?;
            self.write_config(&now)?;
        }
        for mount in &edits.mounts {
            notes.extend(self.give_mount(&mut now, mount.clone(), running.as_ref())?);
            self.write_config(&now)?;
        }
        if let Some(line) = &edits.command_line {
            now.settings.command_line.clone_from(line);
            self.write_config(&now)?;
        }
        Ok(notes)
    }

    fn take_mount(&self, now: &mut Container, target: &str, running: Option<&(i32, OwnedFd)>) -> Result<()> {
        let Some(at) = now.settings.mounts.iter().position(|m| m.target == target) else {
            return Err(Error::Invalid(format!("container {} mounts nothing at {target}", now.name)));
        };
        if let Some((_, pidfd)) = running {
            let path = path_of(target)?;
            self.inside(now, pidfd, &[], || match kernel::mount::detach_in_root(&path) {
                // Its root has taken it away itself, or never had it.
                Err(Errno::INVAL | Errno::NOENT) => Ok(()),
                other => other.map_err(|e| format!("cannot unmount {target}: {}", error::words(&e.into()))),
            })?;
        }
        let gone = now.settings.mounts.remove(at);
        if gone.kind == MountKind::Volume
            && !crate::volumes::volume_names(now).any(|volume| volume == gone.source)
        {
            self.let_go_of_volume(&gone.source, &now.id);
        }
        Ok(())
    }

    fn give_mount(
        &self,
        now: &mut Container,
        mut mount: Mount,
        running: Option<&(i32, OwnedFd)>,
    ) -> Result<Option<String>> {
        if now.settings.mounts.iter().any(|m| m.target == mount.target) {
            return Err(Error::Invalid(format!("Duplicate mount point: {}", mount.target)));
        }
        if mount.kind == MountKind::Volume && mount.source.is_empty() {
            (mount.source, mount.anonymous) = (crate::volumes::anonymous_name(), true);
        }
        self.find_mounted_image(&mut mount)?;
        let _volumes = self.hold_volumes(&now.id, std::slice::from_ref(&mount))?;
        let mut note = None;
        match running {
            Some(_) if mount.kind == MountKind::Image => {
                note = Some(format!("note: {} is mounted when {} starts again", mount.target, now.name));
            }
            Some((pid, pidfd)) => self.mount_now(now, &mount, *pid, pidfd)?,
            None => {}
        }
        now.settings.mounts.push(mount);
        Ok(note)
    }

    /// What a start does for a mount, in a container that runs: the tree is made and mapped here, and attached by a process in there.
    fn mount_now(&self, container: &Container, mount: &Mount, pid: i32, pidfd: &OwnedFd) -> Result<()> {
        let mut mounts = Vec::new();
        self.mounts_from(container, std::slice::from_ref(mount), &mut mounts)?;
        let more = runtime::more_mounts(mounts, specify::ids(container), &runtime::Host::read());
        let live = Live::new(more.slots);
        live.pid.set(pid);
        let said = |step: &Step, failure: steps::Failure| {
            let cause = error::words(&failure.errno.into());
            let what = if failure.note.is_empty() { step.shell().brief() } else { failure.note.to_owned() };
            format!("cannot mount {} at {}: {what}: {cause}", mount.source, mount.target)
        };
        for step in &more.host {
            step.perform(&live).map_err(|failure| Error::Invalid(said(step, failure)))?;
        }
        let trees: Vec<_> = (0..more.slots).filter_map(|slot| live.fd(Slot(slot)).ok()).collect();
        self.inside(container, pidfd, &trees, || {
            more.inside.iter().try_for_each(|step| step.perform(&live).map_err(|failure| said(step, failure)))
        })
    }

    /// Has `work` done as the container's root, in its mounts and at its root.
    fn inside(
        &self,
        container: &Container,
        pidfd: &OwnedFd,
        keep: &[rustix::fd::BorrowedFd<'_>],
        work: impl FnOnce() -> std::result::Result<(), String>,
    ) -> Result<()> {
        crate::seal::check(container)?;
        let mut kept = vec![pidfd.as_fd()];
        kept.extend_from_slice(keep);
        let user = if container.id_base == 0 { 0 } else { CLONE_NEWUSER };
        let helper = Helper::start(&kept, |_| {
            let enter = || -> rustix::io::Result<()> {
                kernel::process::set_namespace(pidfd, CLONE_NEWNS | user)?;
                if user != 0 {
                    kernel::process::set_groups(&[])?;
                    kernel::process::set_ids(0, 0)?;
                }
                rustix::process::chdir(c"/")
            };
            enter().map_err(|e| format!("cannot enter the container: {}", error::words(&e.into())))?;
            work()
        })?;
        helper.finish()
    }
}

fn path_of(target: &str) -> Result<CString> {
    CString::new(target).map_err(|_| Error::Invalid("a path has a zero byte".to_owned()))
}

/// Variables that are there keep their places.
fn set_variables(env: &mut Vec<String>, edits: &Edits) {
    let name = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    for line in &edits.env {
        match env.iter_mut().find(|old| name(old) == name(line)) {
            Some(old) => old.clone_from(line),
            None => env.push(line.clone()),
        }
    }
    env.retain(|line| !edits.env_gone.contains(&name(line)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_changed_in_place() {
        let words = |all: &[&str]| all.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let mut env = words(&["PATH=/bin", "A=1", "B=2"]);
        let edits = Edits { env: words(&["A=x=y", "C="]), env_gone: words(&["B", "Z"]), ..Edits::default() };
        set_variables(&mut env, &edits);
        assert_eq!(env, ["PATH=/bin", "A=x=y", "C="]);
    }
}
