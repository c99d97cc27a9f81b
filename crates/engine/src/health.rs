//! Health checks: what a container's health is, by the rules of Docker's HEALTHCHECK, and where it is kept.

mod probe;
mod watch;

pub(crate) use watch::Watch;

use crate::{Container, Engine, Settings, State, Time};
use image::Healthcheck;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is done with a container that has become unhealthy: `--on-unhealthy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    #[default]
    None,
    /// Stopped, and started again whatever its restart policy is.
    Restart,
    /// Stopped, and not started again.
    Stop,
    /// Killed; its restart policy says what comes then.
    Kill,
}

impl OnUnhealthy {
    /// As it is typed.
    pub fn word(self) -> &'static str {
        match self {
            OnUnhealthy::None => "none",
            OnUnhealthy::Restart => "restart",
            OnUnhealthy::Stop => "stop",
            OnUnhealthy::Kill => "kill",
        }
    }
}

/// As Docker has it: `starting` until the first success, or until enough failures after the start period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    #[default]
    Starting,
    Healthy,
    Unhealthy,
}

impl HealthStatus {
    pub fn word(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// `.State.Health`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Health {
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last probes, at most [`LOG`], the oldest first.
    pub log: Vec<Probed>,
}

/// How one probe went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Probed {
    pub start: Time,
    pub end: Time,
    /// 0 is healthy; −1: it could not be run, or took too long.
    pub exit_code: i32,
    /// The beginning of what it wrote to either stream.
    pub output: String,
}

/// Probes that are remembered.
pub const LOG: usize = 5;
/// Bytes of a probe's output that are.
pub const OUTPUT: usize = 4096;

/// A check with every choice made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    pub argv: Vec<String>,
    pub interval: Duration,
    pub timeout: Duration,
    pub start_period: Duration,
    pub start_interval: Duration,
    pub retries: u32,
}

impl Check {
    /// `None` for a container that has none, or `NONE`.
    pub fn of(settings: &Settings) -> Option<Check> {
        let wish = settings.healthcheck.as_ref()?;
        let argv = match wish.test.split_first()? {
            (kind, words) if words.is_empty() || kind == "NONE" => return None,
            (kind, words) if kind == "CMD" => words.to_vec(),
            (kind, words) if kind == "CMD-SHELL" => {
                let usual = ["/bin/sh".to_owned(), "-c".to_owned()];
                let shell = if settings.shell.is_empty() { &usual[..] } else { &settings.shell };
                [shell, words].concat()
            }
            _ => return None,
        };
        let time = |nanos: i64, usual: u64| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => Duration::from_secs(usual),
        };
        Some(Check {
            argv,
            interval: time(wish.interval, 30),
            timeout: time(wish.timeout, 30),
            start_period: time(wish.start_period, 0),
            start_interval: time(wish.start_interval, 5),
            retries: u32::try_from(wish.retries).ok().filter(|n| *n > 0).unwrap_or(3),
        })
    }
}

impl Health {
    /// Takes in how a probe went that began `age` after the container's start; `true` when the status has changed.
    pub(crate) fn take(&mut self, probed: Probed, age: Duration, check: &Check) -> bool {
        let before = self.status;
        if probed.exit_code == 0 {
            self.failing_streak = 0;
            self.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || age >= check.start_period {
            self.failing_streak = self.failing_streak.saturating_add(1);
            if self.failing_streak >= check.retries {
                self.status = HealthStatus::Unhealthy;
            }
        }
        let gone = (self.log.len() + 1).saturating_sub(LOG);
        self.log.drain(..gone);
        self.log.push(probed);
        self.status != before
    }

    /// How long to wait for the next probe.
    pub(crate) fn pause(&self, age: Duration, check: &Check) -> Duration {
        match self.status {
            HealthStatus::Starting if age < check.start_period => check.start_interval,
            _ => check.interval,
        }
    }
}

impl Settings {
    /// Whether a health check is run.
    pub fn is_checked(&self) -> bool {
        Check::of(self).is_some()
    }

    /// Whether its monitor may start it again: then whoever stops it leaves a note.
    pub(crate) fn may_start_again(&self) -> bool {
        self.restart != crate::Restart::No || self.on_unhealthy == OnUnhealthy::Restart
    }
}

impl Engine {
    /// `None` for a container without a check, or one that has never run.
    pub fn health(&self, container: &Container, state: &State) -> Option<Health> {
        if !container.settings.is_checked() {
            return None;
        }
        let (dir, missing) = match state {
            State::Created | State::Exited { started: None, .. } => return None,
            State::Running { .. } => (self.run_directory(container), Some(Health::default())),
            State::Restarting { .. } | State::Exited { .. } => (self.directory(container), None),
        };
        let text = std::fs::read(dir.join(FILE)).ok();
        text.and_then(|text| serde_json::from_slice(&text).ok()).or(missing)
    }
}

/// In the run directory while it runs, in the container's directory after its end.
const FILE: &str = "health.json";

/// Its times, in nanoseconds, by Docker's names.
pub fn times(check: &Healthcheck) -> [(&'static str, i64); 4] {
    [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str]) -> Option<Check> {
        let test = words.iter().map(|w| (*w).to_owned()).collect();
        let healthcheck = Some(Healthcheck { test, retries: 2, ..Healthcheck::default() });
        Check::of(&Settings { healthcheck, ..Settings::default() })
    }

    fn probed(exit_code: i32) -> Probed {
        Probed { exit_code, ..Probed::default() }
    }

    #[test]
    fn commands() {
        assert_eq!(check(&["CMD", "a", "b c"]).unwrap().argv, ["a", "b c"]);
        assert_eq!(check(&["CMD-SHELL", "a | b"]).unwrap().argv, ["/bin/sh", "-c", "a | b"]);
        for none in [&["NONE"][..], &["NONE", "x"], &[], &["CMD"], &["SOMETHING", "x"]] {
            assert_eq!(check(none), None, "{none:?}");
        }
        let all = check(&["CMD", "x"]).unwrap();
        assert_eq!(
            (all.interval.as_secs(), all.timeout.as_secs(), all.start_interval.as_secs()),
            (30, 30, 5)
        );
    }

    #[test]
    fn failures_count_in_a_row_and_after_the_start_period() {
        let check = Check { start_period: Duration::from_secs(10), ..check(&["CMD", "x"]).unwrap() };
        let (early, late) = (Duration::from_secs(1), Duration::from_secs(11));
        let mut health = Health::default();
        assert_eq!(health.pause(early, &check).as_secs(), 5);
        for _ in 0..7 {
            assert!(!health.take(probed(1), early, &check));
        }
        assert_eq!((health.failing_streak, health.log.len()), (0, LOG));
        assert!(!health.take(probed(-1), late, &check));
        assert!(health.take(probed(1), late, &check));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Unhealthy, 2));
        assert!(health.take(probed(0), late, &check));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 0));
        // Once it has been healthy every failure counts.
        assert!(!health.take(probed(3), early, &check));
        assert_eq!((health.status, health.failing_streak), (HealthStatus::Healthy, 1));
        assert_eq!(health.pause(early, &check).as_secs(), 30);
    }
}
