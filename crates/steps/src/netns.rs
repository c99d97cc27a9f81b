//! A name for a container's network namespace where ip-netns(8) looks for names.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "/run/netns";

/// `/run/netns/<name>`, a link to `kept`, which is a link to the namespace of the container's first process. Links cost
/// nothing and keep nothing alive. A name that somebody else has, he keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameNamespace {
    pub name: Text,
    /// In the container's own directory below the state directory, and gone with it.
    pub kept: Text,
}

impl NameNamespace {
    pub fn perform(&self, live: &Live) -> Outcome {
        let kept = Path::new(self.kept.as_str());
        let target = format!("/proc/{}/ns/net", live.pid.get());
        let failed =
            |e: std::io::Error| Failure::new(Errno::from_io_error(&e).unwrap_or(Errno::IO), "a link");
        let _ = std::fs::remove_file(kept);
        symlink(target, kept).map_err(failed)?;
        let name = path(&self.name);
        let made = match symlink(kept, &name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                std::fs::create_dir_all(DIRECTORY).and_then(|()| symlink(kept, &name))
            }
            // What leads nowhere is left by an engine that was killed.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && is_stale(&name, kept) => {
                std::fs::remove_file(&name).and_then(|()| symlink(kept, &name))
            }
            made => made,
        };
        // The container does without.
        drop(made);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let (kept, name) = (quote(self.kept.as_str()), quote(&path(&self.name).display().to_string()));
        Shell::lines(
            vec![
                format!("ln -sfn /proc/$PID/ns/net {kept}"),
                format!("mkdir -p {DIRECTORY}; [ -e {name} ] || ln -sfn {kept} {name}"),
            ],
            "ip(8) knows the container's network by name",
            "ip-netns(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        Some(UnnameNamespace { name: self.name.clone(), kept: self.kept.clone() }.into())
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The reverse of [`NameNamespace`]. A name that leads elsewhere by now stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnnameNamespace {
    pub name: Text,
    pub kept: Text,
}

impl UnnameNamespace {
    pub fn perform(&self, _: &Live) -> Outcome {
        let name = path(&self.name);
        let failed = |e: std::io::Error| match e.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(Failure::new(Errno::from_io_error(&e).unwrap_or(Errno::IO), "a link")),
        };
        match std::fs::read_link(&name) {
            Ok(target) if target == Path::new(self.kept.as_str()) => {
                std::fs::remove_file(&name).or_else(failed)?;
            }
            // Somebody else's: what is no link, too.
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::InvalidInput => {}
            Err(e) => failed(e)?,
        }
        std::fs::remove_file(self.kept.as_str()).or_else(failed)
    }

    pub fn shell(&self) -> Shell {
        let (kept, name) = (quote(self.kept.as_str()), quote(&path(&self.name).display().to_string()));
        let line = format!("[ \"$(readlink {name})\" != {kept} ] || rm -f {name}; rm -f {kept}");
        Shell::exact(line, "ip(8) knows the container's network no longer", "ip-netns(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Names of containers are one word without a slash.
fn path(name: &Text) -> PathBuf {
    Path::new(DIRECTORY).join(name.as_str().replace('/', "_"))
}

fn is_stale(name: &Path, kept: &Path) -> bool {
    let target = std::fs::read_link(name);
    target.is_ok_and(|target| target == kept || !target.exists())
}
