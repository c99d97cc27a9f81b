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
        /// How often its restart policy had started it again.
        #[serde(default)]
        restarts: u32,
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

    /// Containers outlive the build that made them: what it wrote down is read by all later ones. A field that comes later has a
    /// default; one that only a later build knows is passed over, since its monitors may stand beside ours.
    #[test]
    fn what_older_builds_wrote_is_read() {
        let text = r#"{"id":"4da000826b7f","name":"full","created":1795701849311828565,"image_id":"e1f1","settings":{"image":"busybox",
            "cmd":["sleep","1000"],"env":["A=b"],"workdir":"/","labels":{"x":"y"},"restart":{"on-failure":3},"later":[1],
            "healthcheck":{"Test":["CMD-SHELL","true"],"Interval":0,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":0},
            "init":true,"mounts":[{"kind":"volume","source":"vol1","target":"/data"},
            {"source":"/etc","target":"/e","read_only":true,"create_source":true},{"kind":"tmpfs","target":"/t"}],
            "exposed":["80/tcp"],"networks":[{"network":"nn","ipv4":"10.78.0.9","ipv6":null,"mac":null,"aliases":["al"],"links":[],
            "priority":0,"options":{}}],"ports":[{"host_ip":null,"host_ports":[8088,8088],"container_port":80,"protocol":"tcp"}],
            "resources":{"memory":67108864,"nano_cpus":500000000},"cap_drop":2199023255551,"security":{"no_new_privileges":true},
            "ulimits":[{"name":"nofile","soft":10,"hard":20}],"sysctls":{"net.core.somaxconn":"7"},
            "devices":[{"source":"/dev/null","target":"/dev/null","access":"rwm"}],"cgroup_parent":"/a",
            "log":{"driver":"local","max_size":20000000,"max_files":5,"compress":true},"command_line":["corten","run"]},
            "lower":["/var/lib/corten/init"],"upper_in_memory":false,"id_base":1293418496,"endpoints":[{"network":"nn",
            "network_id":"4fa5","ipv4":"10.78.0.9","ipv6":null,"mac":[2,66,10,78,0,9],"wish":{"network":"nn","ipv4":"10.78.0.9",
            "ipv6":null,"mac":null,"aliases":["al"],"links":[],"priority":0,"options":{}}}],"later":{}}"#;
        let container: Container = serde_json::from_str(text).expect("a container of an older build");
        let s = &container.settings;
        assert_eq!((container.project, s.mounts.len(), s.ports.len(), s.devices.len()), (0, 3, 1, 1));
        assert_eq!((s.resources.memory, s.restart), (Some(64 << 20), crate::Restart::OnFailure(3)));
        assert!(s.security.no_new_privileges && s.init && container.endpoints[0].wish.aliases == ["al"]);

        let state =
            |text: &str| serde_json::from_str::<State>(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(state(r#""Created""#), State::Created);
        let running = state(r#"{"Running":{"pid":7,"start_ticks":5,"monitor":6,"since":9}}"#);
        assert!(matches!(running, State::Running { pid: 7, restarts: 0, .. }));
        let text = r#"{"Restarting":{"code":1,"monitor":6,"since":1,"at":2,"restarts":3,"oom_killed":false,"later":0}}"#;
        assert!(matches!(state(text), State::Restarting { restarts: 3, .. }));
        let text = r#"{"Exited":{"code":137,"started":1,"at":2,"oom_killed":true,"error":""}}"#;
        assert!(matches!(state(text), State::Exited { code: 137, restarts: 0, .. }));
    }

    #[test]
    fn times_are_civil_dates() {
        assert_eq!(Time(0).rfc3339(), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(Time(1_709_164_800_000_000_001).rfc3339(), "2024-02-29T00:00:00.000000001Z");
        assert_eq!(Time(1_798_761_599_500_000_000).rfc3339(), "2026-12-31T23:59:59.500000000Z");
    }
}
