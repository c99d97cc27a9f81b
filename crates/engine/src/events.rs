//! What has happened: a journal of JSON lines in the data root, which every process of the engine appends to and `events` reads.
//!
//! An event is one write(2) to a file opened with O_APPEND: no lock, and nothing that waits for the disk. When the file has outgrown
//! [`LIMIT`] it becomes `events.json.1`, and the one that was called so goes.

use crate::logs::lines::{self, Lines, Span};
use crate::{Container, Engine, Error, Result, Time};
use rustix::fs::{FlockOperation, Mode, OFlags, SeekFrom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// One thing that has happened, as Docker's API has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// `container`, `image`, `network`, `volume`
    #[serde(rename = "Type")]
    pub kind: String,
    /// `start`; some say more: `health_status: healthy`, `exec_start: ls -l`
    pub action: String,
    pub actor: Actor,
    /// `local`
    #[serde(rename = "scope")]
    pub scope: String,
    /// Seconds after 1970.
    #[serde(rename = "time")]
    pub seconds: u64,
    #[serde(rename = "timeNano")]
    pub time: Time,
}

/// Whom it has happened to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes", default)]
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// Something that happens now.
    pub fn new(kind: &str, action: impl Into<String>, id: impl Into<String>) -> Event {
        let time = Time::now();
        Event {
            kind: kind.to_owned(),
            action: action.into(),
            actor: Actor { id: id.into(), attributes: BTreeMap::new() },
            scope: "local".to_owned(),
            seconds: time.0 / 1_000_000_000,
            time,
        }
    }

    /// To a container: its labels, image and name are told.
    pub fn of(container: &Container, action: impl Into<String>) -> Event {
        let mut event = Event::new("container", action, &container.id);
        let s = &container.settings;
        event.actor.attributes = s.labels.clone();
        event.with("image", s.rootfs.as_ref().unwrap_or(&s.image)).with("name", &container.name)
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Event {
        self.actor.attributes.insert(key.to_owned(), value.to_string());
        self
    }
}

/// Bytes of one file; there are two at most.
const LIMIT: u64 = 4 << 20;

/// To the networks that a container is plugged into, one by one.
pub(crate) fn of_networks(container: &Container, held: &[network::Held], action: &str) -> Vec<Event> {
    held.iter().map(|held| of_network(&held.network, action).with("container", &container.id)).collect()
}

pub(crate) fn of_network(network: &network::Network, action: &str) -> Event {
    Event::new("network", action, &network.id).with("name", &network.name).with("type", network.driver.name())
}

/// The volumes that it mounts.
pub(crate) fn of_volumes(container: &Container, action: &str) -> Vec<Event> {
    let volumes = container.settings.mounts.iter().filter(|m| m.kind == crate::MountKind::Volume);
    let one = |mount: &crate::Mount| {
        let event = Event::new("volume", action, &mount.source).with("container", &container.id);
        let event = event.with("driver", "local");
        match action {
            "mount" => event
                .with("destination", &mount.target)
                .with("propagation", &mount.propagation)
                .with("read/write", !mount.read_only),
            _ => event,
        }
    };
    volumes.map(one).collect()
}

/// Which events are shown.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Those from then on. Without it and an end, only what happens from now on.
    pub since: Option<Time>,
    /// Up to then, which may be later than now; without it, without end.
    pub until: Option<Time>,
}

impl Engine {
    fn events_path(&self) -> PathBuf {
        self.root.join("events.json")
    }

    /// Writes down what has happened, all by one write. A journal that cannot be written stops nobody.
    pub fn tell(&self, events: &[Event]) {
        let mut text = Vec::with_capacity(256 * events.len());
        for event in events {
            let start = text.len();
            match serde_json::to_writer(&mut text, event) {
                Ok(()) => text.push(b'\n'),
                Err(_) => text.truncate(start),
            }
        }
        if !text.is_empty() {
            let _ = append(&self.events_path(), &text);
        }
    }

    /// Shows `each` event in order; it answers `false` to end. What is asked for without an end in the past is waited for.
    pub fn events(&self, query: &EventQuery, each: &mut dyn FnMut(&Event) -> io::Result<bool>) -> Result<()> {
        let path = self.events_path();
        let span = Span {
            follow: query.until.is_none_or(|until| until > Time::now()),
            tail: (query.since.is_none() && query.until.is_none()).then_some(0),
            until: query.until,
        };
        let mut reader = Reader { query, each };
        lines::read(&path, &span, &mut reader, &|| true).map_err(|e| Error::io("cannot read", &path, e))
    }
}

struct Reader<'a> {
    query: &'a EventQuery,
    each: &'a mut dyn FnMut(&Event) -> io::Result<bool>,
}

impl Lines for Reader<'_> {
    fn line(&mut self, line: &[u8]) -> io::Result<bool> {
        let Some(event) = parse(line) else { return Ok(true) };
        if self.query.since.is_some_and(|since| event.time < since) {
            return Ok(true);
        }
        // Those of several processes are not quite in order.
        if self.query.until.is_some_and(|until| event.time > until) {
            return Ok(true);
        }
        (self.each)(&event)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the power's end has left half a line, the next event stands behind it.
fn parse(line: &[u8]) -> Option<Event> {
    const BEGINNING: &[u8] = b"{\"Type\":";
    let whole = serde_json::from_slice(line);
    whole.ok().or_else(|| {
        let last = line.windows(BEGINNING.len()).rposition(|window| window == BEGINNING)?;
        serde_json::from_slice(&line[last..]).ok()
    })
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?;
    rustix::io::write(&file, text)?;
    // After an append this is the file's size.
    if rustix::fs::seek(&file, SeekFrom::Current(0))? > LIMIT {
        rotate(path)?;
    }
    Ok(())
}

fn rotate(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(path.with_extension("lock"), flags, Mode::RUSR | Mode::WUSR)?;
    // Whoever has it does it.
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
    if std::fs::metadata(path)?.len() > LIMIT {
        let old = lines::rotated(path, 1);
        let _ = std::fs::remove_file(&old);
        std::fs::rename(path, &old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_docker_s_json() {
        let mut event = Event::new("container", "start", "abc").with("name", "box");
        (event.seconds, event.time) = (17, Time(17_000_000_001));
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"Type":"container","Action":"start","Actor":{"ID":"abc","Attributes":{"name":"box"}},"scope":"local","time":17,"timeNano":17000000001}"#
        );
        assert_eq!(parse(text.as_bytes()), Some(event.clone()));
        let torn = format!("{}{text}", &text[..30]);
        assert_eq!(parse(torn.as_bytes()), Some(event));
        assert_eq!(parse(b"{\"Type\":"), None);
    }

    #[test]
    fn the_journal_is_bounded_and_read_over_its_files() {
        let base = std::env::temp_dir().join(format!("corten-events-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        let engine = Engine::open(&base.join("root"), &base.join("state")).unwrap();
        let filler = "x".repeat(1 << 20);
        for i in 0..10 {
            engine.tell(&[Event::new("volume", "create", format!("v{i}")).with("filler", &filler)]);
        }
        let journal = engine.events_path();
        let size = |path: &Path| std::fs::metadata(path).map(|m| m.len()).unwrap_or_default();
        assert!(size(&journal) <= LIMIT + (2 << 20) && size(&lines::rotated(&journal, 1)) > LIMIT);
        let mut seen = Vec::new();
        let query = EventQuery { since: Some(Time(0)), until: Some(Time::now()) };
        engine
            .events(&query, &mut |event| {
                seen.push(event.actor.id.clone());
                Ok(true)
            })
            .unwrap();
        let last: Vec<String> = (10 - seen.len()..10).map(|i| format!("v{i}")).collect();
        assert!(seen.len() >= 5, "{seen:?}");
        assert_eq!(seen, last);
        std::fs::remove_dir_all(&base).unwrap();
    }
}
