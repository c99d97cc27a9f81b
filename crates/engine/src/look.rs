//! What the kernel says of containers that run: the ground on which `ns`, `compare` and `why` stand.

pub mod deep;
pub mod facts;
pub mod groups;
pub mod layers;
pub mod map;
pub mod refused;
pub mod sockets;
pub mod spaces;

use crate::{Container, Engine, Error, Result, State};
use runtime::{GroupPath, GroupPaths, Host};

/// A running container, as far as one has to know it to look at it from outside.
#[derive(Debug, Clone)]
pub struct Running {
    pub container: Container,
    /// Of its first process, on the host.
    pub pid: i32,
}

impl Engine {
    /// The container by its name or id, which has to run.
    pub fn find_running(&self, word: &str) -> Result<Running> {
        let container = self.find(word)?;
        match self.state(&container)? {
            State::Running { pid, .. } => Ok(Running { container, pid }),
            _ => Err(Error::NotRunning(container.id)),
        }
    }

    /// All that run, by name.
    pub fn all_running(&self) -> Result<Vec<Running>> {
        let mut all: Vec<Running> = self
            .list()?
            .into_iter()
            .filter_map(|(container, state)| match state {
                State::Running { pid, .. } => Some(Running { container, pid }),
                _ => None,
            })
            .collect();
        all.sort_by(|a, b| a.container.name.cmp(&b.container.name));
        Ok(all)
    }

    /// The processes in a container's control group, which may have been made by somebody else.
    pub fn processes_of(&self, container: &Container) -> Vec<i32> {
        runtime::group::processes(&group_paths(container)).unwrap_or_default()
    }

    /// What a running container has used until now, and the directory where its memory is counted.
    pub fn group_usage(
        &self,
        running: &Running,
    ) -> std::result::Result<(runtime::group::Stats, String), runtime::group::GroupError> {
        let paths = group_paths(&running.container);
        let directory = counted(&paths, "memory").map(|path| path.dir()).unwrap_or_default();
        Ok((runtime::group::stats(&paths)?, directory))
    }
}

/// The control groups of a container.
fn group_paths(container: &Container) -> GroupPaths {
    GroupPaths::everywhere(&crate::group::of(container), &Host::read())
}

/// Where a controller counts: its hierarchy of v1, or the one of v2.
fn counted<'a>(paths: &'a GroupPaths, controller: &str) -> Option<&'a GroupPath> {
    paths.of(controller).or_else(|| paths.unified())
}
