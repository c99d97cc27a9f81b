//! The layered root: read-only layers of an image under one writable directory.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::mount;
use serde::{Deserialize, Serialize};
use std::os::fd::IntoRawFd;

/// The host's side steps into the container's mount namespace, keeping its own credentials: what it mounts there exists
/// in no other table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnterMounts {}

impl EnterMounts {
    pub fn perform(&self, live: &Live) -> Outcome {
        let home = kernel::process::open_own_namespace("mnt")?;
        live.home.set(home.into_raw_fd());
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let cwd = rustix::fs::open(c".", flags, rustix::fs::Mode::empty())?;
        live.cwd.set(cwd.into_raw_fd());
        let there = kernel::process::open_namespace(live.pid.get(), "mnt")?;
        kernel::process::set_namespace(&there, kernel::process::CLONE_NEWNS).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::comment("in the container's mount namespace (nsenter -t $PID -m):", "setns(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// And back home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaveMounts {}

impl LeaveMounts {
    pub fn perform(&self, live: &Live) -> Outcome {
        live.come_home().map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::comment("back in the host's mount namespace", "setns(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// An overlay. See overlayfs in the kernel's documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// Topmost first.
    pub lower: Vec<Text>,
    pub upper: Text,
    pub work: Text,
    pub at: Text,
    /// The container's root, on the host: the overlay's own work is done in its name, because a mapped upper directory
    /// knows no other.
    pub owner: u32,
}

impl Overlay {
    pub fn perform(&self, _: &Live) -> Outcome {
        let lower: Vec<&std::ffi::CStr> = self.lower.iter().map(Text::as_c).collect();
        let make = || mount::overlay(&lower, self.upper.as_c(), self.work.as_c(), self.at.as_c());
        if self.owner == 0 { make() } else { kernel::process::as_owner(self.owner, make) }
            .map_err(|e| Failure::new(e, "mount"))
    }

    pub fn shell(&self) -> Shell {
        let lower: Vec<&str> = self.lower.iter().map(Text::as_str).collect();
        let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), self.upper, self.work);
        let owner = self.owner;
        let as_owner = if owner == 0 {
            String::new()
        } else {
            // All that the overlay does for the container later on, it does with the rights that it is made with. mount(8) is
            // setuid root, and would give them away again.
            let caps =
                "-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+mknod,+setfcap,+sys_admin";
            let rights = format!("--inh-caps={caps} --ambient-caps={caps} --no-new-privs");
            format!("setpriv --reuid={owner} --regid={owner} --clear-groups {rights} ")
        };
        Shell::exact(
            format!("{as_owner}mount -t overlay -o {} overlay {}", quote(&options), quote(self.at.as_str())),
            format!("{} read-only layers under a writable one", self.lower.len()),
            "mount(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("root", self.at.as_str(), format!("overlay of {} layers", self.lower.len()));
        for lower in &self.lower {
            picture.add("layer", lower.as_str(), "read-only");
        }
        picture.add("layer", self.upper.as_str(), "writable");
    }
}

/// The layers of an image, one over the other, with nothing to write to: `--mount type=image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageOverlay {
    /// Topmost first; at least two.
    pub lower: Vec<Text>,
    pub at: Text,
}

impl ImageOverlay {
    pub fn perform(&self, _: &Live) -> Outcome {
        let lower: Vec<&std::ffi::CStr> = self.lower.iter().map(Text::as_c).collect();
        mount::overlay_to_read(&lower, self.at.as_c()).map_err(|e| Failure::new(e, "mount"))
    }

    pub fn shell(&self) -> Shell {
        let lower: Vec<&str> = self.lower.iter().map(Text::as_str).collect();
        let options = format!("ro,lowerdir={}", lower.join(":"));
        Shell::exact(
            format!("mount -t overlay -o {} overlay {}", quote(&options), quote(self.at.as_str())),
            "the layers of an image, read-only",
            "mount(8)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("mount", self.at.as_str(), format!("image of {} layers", self.lower.len()));
    }
}
