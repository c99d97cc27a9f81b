//! The monitor's part in health checks: when the next probe is due, what a probe's answer means, and what is done about it.

use super::probe::Running;
use super::{Check, FILE, Health, HealthStatus, OnUnhealthy, Probed};
use crate::store::twice;
use crate::{Container, Engine, Time};
use kernel::process;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::time::{Duration, Instant};

/// A container's health, as its monitor keeps it.
pub(crate) struct Watch<'a> {
    engine: &'a Engine,
    container: &'a Container,
    check: Check,
    start: Instant,
    health: Health,
    /// When the next probe begins; none while one runs.
    next: Option<Instant>,
    probe: Option<(Running, Time, Duration)>,
    /// It has been told to end; when it is killed.
    kill: Option<Instant>,
    /// It is to be started again.
    pub again: bool,
}

impl<'a> Watch<'a> {
    /// Of a container that has just begun to run; `None` without a check.
    pub fn new(engine: &'a Engine, container: &'a Container) -> Option<Watch<'a>> {
        let check = Check::of(&container.settings)?;
        // What was before its last end stays in the list, as in Docker.
        let old = std::fs::read(engine.directory(container).join(FILE)).ok();
        let old: Option<Health> = old.and_then(|text| serde_json::from_slice(&text).ok());
        let health = Health { log: old.map(|old| old.log).unwrap_or_default(), ..Health::default() };
        let start = Instant::now();
        let next = Some(start + health.pause(Duration::ZERO, &check));
        Some(Watch { engine, container, check, start, health, next, probe: None, kill: None, again: false })
    }
}

impl crate::monitor::Checker for Watch<'_> {
    fn deadline(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.kill).min()
    }

    /// Begins the probe that is due, or kills who has not ended in time.
    fn tick(&mut self, epoll: &OwnedFd, token: u64, container: &OwnedFd) {
        let now = Instant::now();
        if self.kill.is_some_and(|at| at <= now) {
            self.kill = None;
            let _ = process::send_signal(container, 9);
        }
        if self.next.is_none_or(|at| at > now) {
            return;
        }
        self.next = None;
        // Who stands still can't answer, and that says nothing of its health.
        if self.engine.is_paused(self.container) {
            return self.rest();
        }
        let (begun, age) = (Time::now(), self.start.elapsed());
        match Running::start(self.engine, self.container, &self.check) {
            Ok(probe) => {
                let watched =
                    twice(|| epoll::add(epoll, &probe.report, EventData::new_u64(token), EventFlags::IN));
                self.probe = Some((probe, begun, age));
                if watched.is_err() {
                    // Nobody would hear its answer: it has failed.
                    self.report(epoll, container);
                }
            }
            Err(error) => {
                let output = format!("cannot start a process for the health check: {error}");
                self.take(Probed { start: begun, end: Time::now(), exit_code: -1, output }, age, container);
            }
        }
    }

    fn report(&mut self, epoll: &OwnedFd, container: &OwnedFd) {
        let Some((probe, start, age)) = self.probe.take() else { return };
        let _ = epoll::delete(epoll, &probe.report);
        let (exit_code, output) = probe.finish();
        if self.engine.is_paused(self.container) {
            return self.rest();
        }
        self.take(Probed { start, end: Time::now(), exit_code, output }, age, container);
    }

    fn end(&mut self) {
        if let Some((probe, ..)) = self.probe.take() {
            probe.stop();
        }
        (self.next, self.kill) = (None, None);
        if self.container.settings.auto_remove {
            return;
        }
        // As Docker: one that does not run is not healthy.
        self.health.status = HealthStatus::Unhealthy;
        let path = self.engine.directory(self.container).join(FILE);
        let _ = twice(|| crate::store::write_json(&path, &self.health, false));
    }
}

impl Watch<'_> {
    fn rest(&mut self) {
        self.next = Some(Instant::now() + self.health.pause(self.start.elapsed(), &self.check));
    }

    fn take(&mut self, probed: Probed, age: Duration, container: &OwnedFd) {
        let changed = self.health.take(probed, age, &self.check);
        let path = self.engine.run_directory(self.container).join(FILE);
        let _ = twice(|| crate::store::write_json(&path, &self.health, false));
        // The list of probes is the only thing of some size that a monitor at rest has.
        kernel::memory::give_back();
        self.rest();
        if changed {
            let action = format!("health_status: {}", self.health.status.word());
            self.engine.tell(&[crate::Event::of(&self.engine.now(self.container), action)]);
        }
        if changed && self.health.status == HealthStatus::Unhealthy {
            self.act(container);
        }
    }

    fn act(&mut self, container: &OwnedFd) {
        let s = &self.container.settings;
        let signal = match s.on_unhealthy {
            OnUnhealthy::None => return,
            OnUnhealthy::Kill => 9,
            OnUnhealthy::Restart => {
                self.again = true;
                crate::signal::number(&s.stop_signal).unwrap_or(15)
            }
            OnUnhealthy::Stop => {
                // Nobody is there to be told that it may be started again all the same.
                let _ = self.engine.set_stopped(self.container, true);
                crate::signal::number(&s.stop_signal).unwrap_or(15)
            }
        };
        // Nothing more is to be learnt.
        self.next = None;
        let _ = process::send_signal(container, signal);
        let patience = s.stop_timeout.unwrap_or(10);
        self.kill = u64::try_from(patience).ok().map(|s| Instant::now() + Duration::from_secs(s));
    }
}
