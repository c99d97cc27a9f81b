//! Control groups, as the engine names them: one above all, one for each container, one for the monitors.

use crate::Container;
use runtime::{Cgroups, GroupPaths, Host};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::time::Duration;

/// The group above all: `CORTEN_CGROUP_PARENT`, below the root of every hierarchy.
pub fn parent() -> String {
    let parent = std::env::var("CORTEN_CGROUP_PARENT").unwrap_or_else(|_| "corten".to_owned());
    parent.trim_matches('/').to_owned()
}

/// The container's.
pub fn of(container: &Container) -> String {
    format!("{}/{}", parent(), container.id)
}

/// On v2 monitors have a group. Who starts a container may be a service or a session that ends: systemd then ends all that
/// is in its group, and the container would run on with nobody to keep its log and its exit code.
pub fn of_monitors(host: &Host) -> Option<OwnedFd> {
    let Cgroups::V2 { mount } = &host.cgroups else { return None };
    let path = format!("{mount}/{}/monitors", parent());
    let open =
        || rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    open().or_else(|| {
        std::fs::create_dir_all(&path).ok()?;
        open()
    })
}

/// Removes the groups that are there for all containers.
pub fn remove() {
    for path in GroupPaths::everywhere(&parent(), &Host::read()).dirs() {
        // A monitor whose last container is gone is going.
        for _ in 0..100 {
            match rustix::fs::rmdir(format!("{path}/monitors")) {
                Err(Errno::BUSY) => std::thread::sleep(Duration::from_millis(5)),
                _ => break,
            }
        }
        let _ = std::fs::remove_dir(path);
    }
}
