//! A change of a container's places in networks is noted until it is whole: whoever finds the note of one that was cut short ends it.

use super::connect::Running;
use crate::store::write_json;
use crate::{Container, Engine, Error, Result};
use network::Endpoint;
use std::fs::File;
use std::path::PathBuf;

impl Engine {
    fn note_of_change(&self, container: &Container) -> PathBuf {
        self.directory(container).join("changing.json")
    }

    /// Notes that this place comes or goes; the caller has the container's lock.
    pub(super) fn begin_change(&self, container: &Container, endpoint: &Endpoint) -> Result<()> {
        write_json(&self.note_of_change(container), endpoint, false)
    }

    /// The change is whole.
    pub(super) fn end_change(&self, container: &Container) {
        let _ = std::fs::remove_file(self.note_of_change(container));
    }

    /// The place that comes or goes just now, or did when somebody was killed.
    pub(crate) fn changing(&self, container: &Container) -> Option<Endpoint> {
        serde_json::from_slice(&std::fs::read(self.note_of_change(container)).ok()?).ok()
    }

    /// The container's lock, where nobody has it.
    pub(crate) fn try_lock_container(&self, container: &Container) -> Option<File> {
        let file = File::open(self.directory(container)).ok()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(file)
    }

    /// Ends a change that was cut short, in the direction that the configuration says; the caller has the container's lock.
    pub(crate) fn finish_change(&self, now: &Container) -> Result<()> {
        let Some(endpoint) = self.changing(now) else { return Ok(()) };
        let is_it = |e: &Endpoint| e.network == endpoint.network;
        let comes = now.endpoints.iter().any(is_it);
        let mut other = now.clone();
        if comes {
            other.endpoints.retain(|e| !is_it(e));
        } else {
            other.endpoints.push(endpoint.clone());
        }
        if let Some(running) = self.running(now)? {
            if !comes {
                self.pull_out_again(&other, &endpoint, &running)?;
            }
            // Its monitor may be no more.
            let _ = self.follow(now, &self.own_texts(&other)?, &self.targets_of(&other)?);
        }
        if !comes {
            self.release_endpoint(&now.id, &endpoint)?;
        }
        self.end_change(now);
        Ok(())
    }

    /// `container` has the place that goes as its last.
    fn pull_out_again(&self, container: &Container, endpoint: &Endpoint, running: &Running) -> Result<()> {
        match self.hold(container) {
            Ok(held) => self.pull_out(container, &held, container.endpoints.len() - 1, running),
            // The network is no more.
            Err(_) => match running.link(endpoint) {
                Some(number) => running.delete_link(&format!("eth{number}")),
                None => Ok(()),
            },
        }
        .map_err(|e| match e {
            Error::Io { cause, .. } => Error::io("cannot take a link from", &container.name, cause),
            other => other,
        })
    }
}
