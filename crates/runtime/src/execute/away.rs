//! Namespaces that exist before the container: those of others that it joins, and one whose offsets must be told before
//! anybody lives in it. The host's side goes there for the clone, and comes back.

use kernel::process::{self, CLONE_NEWNS, CLONE_NEWTIME, CLONE_NEWUSER};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use steps::{Failure, Plan};

/// Where the host's side is while the container's process is made.
#[derive(Debug)]
pub(super) struct Away {
    /// Namespaces of our own, to go back to, by their flags.
    homes: Vec<(OwnedFd, u64)>,
    /// A user namespace is only opened: there is no way back from it, so the child goes there.
    pub user: Option<OwnedFd>,
    /// The host's side makes mounts of its own before it goes there: the child joins it, too.
    mounts: Option<OwnedFd>,
}

impl Away {
    pub fn go(plan: &Plan) -> Result<Away, Failure> {
        let mut away = Away { homes: Vec::new(), user: None, mounts: None };
        for join in &plan.spawn.join {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let there = rustix::fs::open(&*join.path, flags, Mode::empty())
                .map_err(|e| Failure::new(e, "open the namespace to join"))?;
            match join.flag {
                CLONE_NEWUSER => away.user = Some(there),
                CLONE_NEWNS => away.mounts = Some(there),
                flag => {
                    away.homes.push((process::open_own_namespace(&join.kind)?, flag));
                    process::set_namespace(&there, flag).map_err(|e| Failure::new(e, "join a namespace"))?;
                }
            }
        }
        if !plan.spawn.time_offsets.is_empty() {
            away.homes.push((process::open_own_namespace("time")?, CLONE_NEWTIME));
            process::unshare(CLONE_NEWTIME).map_err(|e| Failure::new(e, "unshare the clocks"))?;
            let line = |o: &steps::TimeOffset| format!("{} {} {}\n", o.clock, o.seconds, o.nanoseconds);
            let text: String = plan.spawn.time_offsets.iter().map(line).collect();
            let file = rustix::fs::open(
                "/proc/self/timens_offsets",
                OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::empty(),
            )?;
            rustix::io::write(&file, text.as_bytes()).map_err(|e| Failure::new(e, "time offsets"))?;
        }
        Ok(away)
    }

    /// Whether the child has a way to go after it is made.
    pub fn later(&self) -> bool {
        self.user.is_some() || self.mounts.is_some()
    }

    /// In the child: goes to another container's user namespace and makes the new namespaces there.
    pub fn move_in(&self, namespaces: u64) -> Result<(), Failure> {
        if let Some(user) = &self.user {
            // That container's processes see this one by now, and may not look into it (CVE-2016-9962).
            process::set_dumpable(false)?;
            process::set_namespace(user, CLONE_NEWUSER)
                .map_err(|e| Failure::new(e, "join the user namespace"))?;
            process::set_dumpable(false)?;
            process::unshare(namespaces).map_err(|e| Failure::new(e, "unshare"))?;
        }
        match &self.mounts {
            Some(mounts) => process::set_namespace(mounts, CLONE_NEWNS)
                .map_err(|e| Failure::new(e, "join the mount namespace")),
            None => Ok(()),
        }
    }

    pub fn come_back(&mut self) -> Result<(), Failure> {
        while let Some((home, flag)) = self.homes.first() {
            process::set_namespace(home, *flag)
                .map_err(|e| Failure::new(e, "go back to the host's namespaces"))?;
            self.homes.remove(0);
        }
        Ok(())
    }
}

impl Drop for Away {
    /// Where something failed meanwhile.
    fn drop(&mut self) {
        process::must_come_back(|| self.come_back());
    }
}
