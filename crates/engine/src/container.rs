//! A container on disk: what it shall be (`config.json`) and what it is (`state.json`).

use crate::Settings;
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The unchanging part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub created: Time,
    /// `sha256:…` digits of the image's id; empty with `--rootfs` and `@host`.
    pub image_id: String,
    pub settings: Settings,
    /// Layer directories on the host, topmost first.
    pub lower: Vec<String>,
    /// The upper layer lives in memory and ends with the container (`@host`).
    pub upper_in_memory: bool,
    /// The first of the container's 65,536 ids on the host; 0: no user namespace.
    pub id_base: u32,
    /// The project that its files are, where they have a limit of their own; 0: none.
    #[serde(default)]
    pub project: u32,
    /// Its places in networks, with addresses that are its own from create to rm.
    pub endpoints: Vec<network::Endpoint>,
}

impl Container {
    /// The first twelve digits.
    pub fn short_id(&self) -> &str {
        &self.id[..12]
    }

    /// The ids, 64 digits, of the images that it is made of and that it mounts.
    pub fn image_ids(&self) -> impl Iterator<Item = &str> {
        let mounted = self.settings.mounts.iter().map(|mount| mount.image_id.as_str());
        let all = std::iter::once(self.image_id.as_str()).chain(mounted);
        all.map(|id| id.trim_start_matches("sha256:")).filter(|id| !id.is_empty())
    }
}

/// What a container is doing now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum State {
    Created,
    Running {
        /// Of the container's first process, on the host.
        pid: i32,
        /// When that process started, in clock ticks after boot: a pid alone may be another process by now.
        start_ticks: u64,
        monitor: i32,
        since: Time,
        /// How often its restart policy has started it again.
        #[serde(default)]
        restarts: u32,
        /// Its processes stand still. (Never written here: it goes with the power.)
        #[serde(skip)]
        paused: bool,
    },
    /// It has ended, and its monitor will start it again.
    Restarting {
        /// How it ended.
        code: i32,
        monitor: i32,
        /// When it was started the last time, and when it ended.
        since: Time,
        at: Time,
        /// For how long it ran, by the clock that nobody sets; nobody may have noted it.
        #[serde(default)]
        ran: Option<Duration>,
        restarts: u32,
        oom_killed: bool,
    },
    Exited {
        /// The program's, or 128 and the signal's number.
        code: i32,
        started: Option<Time>,
        at: Time,
        /// For how long it ran, by the clock that nobody sets; nobody may have noted it.
        #[serde(default)]
        ran: Option<Duration>,
        oom_killed: bool,
        /// Why it could not be started; empty when it could.
        error: String,
    },
}

impl State {
    /// For how long it has been running, by the clock that nobody sets; nothing when it does not run.
    pub fn up(&self) -> Duration {
        let State::Running { start_ticks, .. } = self else { return Duration::ZERO };
        kernel::process::since_ticks(*start_ticks)
    }
}

/// Nanoseconds after 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    pub fn now() -> Time {
        Time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64)
    }

    /// How long ago; nothing when it is in the future (a clock was set back).
    pub fn age(self) -> Duration {
        Duration::from_nanos(Time::now().0.saturating_sub(self.0))
    }

    /// `2026-01-02T03:04:05.123456789Z`, as RFC 3339 has it.
    pub fn rfc3339(self) -> String {
        let (seconds, nanos) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Days to a civil date, after Howard Hinnant's "chrono-compatible low-level date algorithms".
        let z = days as i64 + 719_468;
        let era = z / 146_097;
        let doe = z - era * 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil_dates() {
        assert_eq!(Time(0).rfc3339(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Time(1_709_164_800_000_000_001).rfc3339(), "2024-02-29T00:00:00.000000001Z");
        assert_eq!(Time(1_798_761_599_500_000_000).rfc3339(), "2026-12-31T23:59:59.500000000Z");
    }
}
