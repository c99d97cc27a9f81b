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
    format!("{}/{}", parent_of(&container.settings.cgroup_parent), container.id)
}

/// `--cgroup-parent`: `/group` is below the root of every hierarchy, `group` below the engine's own, and `a-b.slice` where
/// systemd has it, in `a.slice`.
fn parent_of(wish: &str) -> String {
    match (wish.strip_prefix('/'), wish.strip_suffix(".slice").filter(|name| !name.contains('/'))) {
        _ if wish.is_empty() => parent(),
        (None, Some(name)) => {
            let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
            ends.map(|end| format!("{}.slice", &name[..end])).collect::<Vec<_>>().join("/")
        }
        (Some(group), _) => group.to_owned(),
        (None, None) => format!("{}/{wish}", parent()),
    }
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

pub fn is_there() -> bool {
    GroupPaths::everywhere(&parent(), &Host::read()).dirs().any(|path| std::path::Path::new(&path).exists())
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
        remove_empty(std::path::Path::new(&path), 0);
    }
}

/// With `--cgroup-parent` there are groups between ours and a container's; only those that hold nobody can be removed.
fn remove_empty(path: &std::path::Path, depth: usize) {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| depth < 16 && entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path(), depth + 1);
    }
    let _ = std::fs::remove_dir(path);
}

#[cfg(test)]
mod tests {
    use super::parent_of;

    #[test]
    fn where_a_container_s_group_is() {
        assert_eq!(parent_of("/a/b"), "a/b");
        assert_eq!(parent_of("x"), format!("{}/x", super::parent()));
        assert_eq!(parent_of("system-web-a.slice"), "system.slice/system-web.slice/system-web-a.slice");
        assert_eq!(parent_of("/system.slice/x.slice"), "system.slice/x.slice");
    }
}
