//! What commands that were killed have left of volumes, networks, and changes of containers.

use super::{Containers, Found, addresses_of, name_of};
use crate::{Container, Result, State};
use std::fs;
use std::path::PathBuf;

impl Found<'_> {
    /// Directories in the place of containers: half made, or half removed.
    pub(super) fn directories(&mut self, strangers: Vec<PathBuf>) {
        let engine = self.engine;
        for dir in strangers {
            let what = format!(
                "container {}: a process that was killed left it half made or removed",
                name_of(&dir)
            );
            self.report(what, "removed", || {
                if !dir.is_dir() {
                    return fs::remove_file(&dir);
                }
                engine.remove_marked_volumes(&dir);
                fs::remove_dir_all(&dir)
            });
        }
    }

    pub(super) fn volumes(&mut self) {
        let (unfinished, _still) = self.engine.unfinished_volumes();
        for path in unfinished {
            let what =
                format!("volumes/{}: a process that was killed left it half made or removed", name_of(&path));
            self.report(what, "removed", || fs::remove_dir_all(&path));
        }
    }

    pub(super) fn networks(&mut self) -> Result<()> {
        let networks = self.engine.networks();
        if networks.unfinished().is_empty() {
            return Ok(());
        }
        let _lock = networks.lock()?;
        for path in networks.unfinished() {
            let what = format!("networks/{}: a process that was killed left it", name_of(&path));
            self.report(what, "removed", || fs::remove_file(&path));
        }
        Ok(())
    }

    /// Containers that were being connected to a network, or disconnected from one.
    pub(super) fn changes(&mut self, containers: &mut Containers) -> Result<()> {
        let engine = self.engine;
        for container in containers.values_mut() {
            if engine.changing(container).is_none() {
                continue;
            }
            let Some(_lock) = engine.try_lock_container(container) else { continue };
            let Some(endpoint) = engine.changing(container) else { continue };
            *container = engine.read(&container.id)?;
            let what = format!(
                "container {}: a process that was killed left its place in network {} half changed",
                container.name, endpoint.network
            );
            let finish = || engine.finish_change(container).map_err(std::io::Error::other);
            self.report(what, "finished", finish);
        }
        Ok(())
    }

    /// A container's address that is in none of its places: `network connect` was killed before it had one.
    pub(super) fn lease_without_place(
        &mut self,
        container: &Container,
        address: std::net::IpAddr,
    ) -> Result<()> {
        let engine = self.engine;
        let Some(_lock) = engine.try_lock_container(container) else { return Ok(()) };
        let now = engine.read(&container.id)?;
        let changing = engine.changing(&now);
        if now.endpoints.iter().chain(&changing).flat_map(addresses_of).any(|a| a == address) {
            return Ok(());
        }
        let what = format!("address {address}: container {} has no use of it", now.name);
        self.report(what, "released", || {
            network::lease::release(&engine.root, address, &now.id).map_err(std::io::Error::other)
        });
        Ok(())
    }

    /// Containers that stand still for somebody who was killed.
    pub(super) fn forgotten(&mut self, containers: &Containers) {
        let engine = self.engine;
        for container in containers.values() {
            if !matches!(engine.state(container), Ok(State::Running { .. }))
                || !engine.is_forgotten(container)
            {
                continue;
            }
            let what =
                format!("container {}: a process that was killed left it standing still", container.name);
            self.report(what, "goes on", || engine.let_go_on(container));
        }
    }

    /// Containers that were killed and do not end.
    pub(super) fn stuck(&mut self, containers: &Containers) {
        for container in containers.values() {
            let Ok(State::Running { pid, .. }) = self.engine.state(container) else { continue };
            if let Some(process) = crate::stuck::killed_in_vain(pid) {
                self.tell(format!(
                    "container {}: was killed, but its process {process} waits in the kernel and takes no signal until what it waits for answers",
                    container.name
                ));
            }
        }
    }
}
