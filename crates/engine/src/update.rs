//! Other limits and another restart policy for a container that is there, and at once for one that runs.

mod edits;

pub use edits::Edits;

use crate::{Container, Engine, Error, Resources, Restart, Result, group};
use runtime::{GroupPaths, Host};
use steps::{Shell, Step};

/// What shall change: limits that are given, and the policy when it is.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    pub resources: Resources,
    pub restart: Option<Restart>,
}

impl Engine {
    /// Errors: a limit that the kernel refuses, such as less memory than is used; a policy for one that removes itself.
    pub fn update(&self, container: &Container, changes: &Changes) -> Result<()> {
        let lock = self.lock_container(container)?;
        let mut now = self.read(&container.id)?;
        if changes.restart.is_some_and(|policy| policy != Restart::No) && now.settings.auto_remove {
            return Err(Error::Invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned(),
            ));
        }
        let old = now.settings.resources.clone();
        now.settings.resources = merged(&old, &changes.resources);
        now.settings.restart = changes.restart.unwrap_or(now.settings.restart);
        if now.settings.resources != old && self.handle(container)?.is_some() {
            let limits = crate::specify::limits_of(&now.settings.resources)?;
            let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
            runtime::group::update(&groups, None, &limits)
                .map_err(|e| Error::Invalid(format!("cannot update container {}: {e}", container.name)))?;
        }
        self.write_config(&now)?;
        drop(lock);
        self.tell(&[crate::Event::of(&now, "update")]);
        Ok(())
    }

    /// The same as commands: the steps of a start with these limits that set limits.
    pub fn update_by_hand(&self, container: &Container, changes: &Changes) -> Result<Vec<Shell>> {
        let mut now = container.clone();
        now.settings.resources = merged(&container.settings.resources, &changes.resources);
        let mut all = Vec::new();
        if now.settings.resources != container.settings.resources && self.handle(container)?.is_some() {
            let (before, after) = (self.plan(container)?, self.plan(&now)?);
            let is_new = |step: &&Step| matches!(step, Step::SetCgroup(_)) && !before.host.contains(step);
            all.extend(after.host.iter().filter(is_new).map(Step::shell));
        }
        let config = self.directory(container).join("config.json");
        let why = format!("noted in {} for the next start", config.display());
        all.push(Shell::comment(why, "rename(2)"));
        Ok(all)
    }
}

/// The new limits where they are given, else the old ones. CPUs are limited by their number or by quota and period, and the
/// later way counts.
fn merged(old: &Resources, new: &Resources) -> Resources {
    let text = |new: &String, old: &String| if new.is_empty() { old.clone() } else { new.clone() };
    let by_time = new.cpu_period.is_some() || new.cpu_quota.is_some();
    let by_number = new.nano_cpus.is_some();
    Resources {
        memory: new.memory.or(old.memory),
        memory_swap: new.memory_swap.or(old.memory_swap),
        memory_reservation: new.memory_reservation.or(old.memory_reservation),
        nano_cpus: new.nano_cpus.or(old.nano_cpus.filter(|_| !by_time)),
        cpu_period: new.cpu_period.or(old.cpu_period.filter(|_| !by_number)),
        cpu_quota: new.cpu_quota.or(old.cpu_quota.filter(|_| !by_number)),
        cpu_shares: new.cpu_shares.or(old.cpu_shares),
        cpuset_cpus: text(&new.cpuset_cpus, &old.cpuset_cpus),
        cpuset_mems: text(&new.cpuset_mems, &old.cpuset_mems),
        pids_limit: new.pids_limit.or(old.pids_limit),
        blkio_weight: new.blkio_weight.or(old.blkio_weight),
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_are_not_given_stay() {
        let old = Resources {
            memory: Some(1),
            nano_cpus: Some(2),
            cpuset_cpus: "0".into(),
            ..Resources::default()
        };
        let new = Resources { cpu_quota: Some(5), pids_limit: Some(9), ..Resources::default() };
        let all = merged(&old, &new);
        assert_eq!(
            (all.memory, all.nano_cpus, all.cpu_quota, all.pids_limit),
            (Some(1), None, Some(5), Some(9))
        );
        assert_eq!(all.cpuset_cpus, "0");
        assert_eq!(merged(&all, &old).cpu_quota, None);
    }
}
