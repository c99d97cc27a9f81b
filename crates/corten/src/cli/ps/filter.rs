//! `-f`: which containers are listed. The same key twice means either, two keys mean both; labels are all needed.

use super::super::pattern;
use super::{network_names, state_word};
use crate::resolve::Result;
use engine::{Container, Engine, State, Time};
use regex::Regex;
use std::collections::BTreeMap;

/// What was typed: values by key.
pub struct Filters {
    by_key: BTreeMap<&'static str, Vec<String>>,
    /// Those of `name`, once more.
    names: Vec<Regex>,
}

const KEYS: &[&str] = &[
    "ancestor", "before", "exited", "expose", "health", "id", "is-task", "label", "name", "network",
    "publish", "since", "status", "volume",
];
const STATES: &[&str] = &["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTHS: &[&str] = &["none", "starting", "healthy", "unhealthy"];

impl Filters {
    pub fn parse(words: &[String]) -> Result<Filters> {
        let mut by_key: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
        for word in words.iter().flat_map(|word| word.split_terminator('\n')) {
            let bad = |cause: &str| format!("invalid argument \"{word}\" for \"-f, --filter\" flag: {cause}");
            let (key, value) =
                word.split_once('=').ok_or_else(|| bad("bad format of filter (expected name=value)"))?;
            let key = key.trim().to_lowercase();
            let key =
                KEYS.iter().find(|known| **known == key).ok_or_else(|| format!("invalid filter '{key}'"))?;
            let value = value.trim();
            match *key {
                "status" if !STATES.contains(&value) => {
                    return Err(format!("invalid filter 'status={value}': use one of {}", STATES.join(", ")));
                }
                "health" if !HEALTHS.contains(&value) => {
                    return Err(format!(
                        "invalid filter 'health={value}': use one of {}",
                        HEALTHS.join(", ")
                    ));
                }
                "exited" if value.parse::<i32>().is_err() => {
                    return Err(format!("invalid filter 'exited={value}'"));
                }
                _ => by_key.entry(key).or_default().push(value.to_owned()),
            }
        }
        let names = pattern::all(by_key.get("name"))?;
        Ok(Filters { by_key, names })
    }

    /// Filters by which containers are found that don't run.
    pub fn wants_all(&self) -> bool {
        self.by_key.contains_key("status") || self.by_key.contains_key("exited")
    }

    /// Filters that name containers which need not run.
    pub fn names_containers(&self) -> bool {
        self.by_key.contains_key("before") || self.by_key.contains_key("since")
    }

    /// Looks up what the values mean.
    pub fn resolve<'a>(&'a self, engine: &'a Engine, all: &[(Container, State)]) -> Result<Keep<'a>> {
        let moment = |key: &str| -> Result<Option<Time>> {
            let Some(word) = self.by_key.get(key).and_then(|words| words.last()) else { return Ok(None) };
            let found = all.iter().find(|(c, _)| c.name == *word || c.id == *word);
            let found = found.or_else(|| all.iter().find(|(c, _)| c.id.starts_with(word.as_str())));
            found.map(|(c, _)| Some(c.created)).ok_or_else(|| format!("No such container: {word}"))
        };
        let (before, since) = (moment("before")?, moment("since")?);
        let ancestors = self.by_key.get("ancestor").map(|names| {
            names
                .iter()
                .map(|name| engine.images().resolve(name).map_or_else(|_| name.clone(), |i| i.id))
                .collect()
        });
        Ok(Keep { filters: self, engine, before, since, ancestors })
    }
}

pub struct Keep<'a> {
    filters: &'a Filters,
    engine: &'a Engine,
    before: Option<Time>,
    since: Option<Time>,
    /// Image ids, or names that no image has.
    ancestors: Option<Vec<String>>,
}

impl Keep<'_> {
    pub fn accepts(&self, c: &Container, state: &State) -> bool {
        let created = c.created;
        let image = c.image_id.strip_prefix("sha256:").unwrap_or(&c.image_id);
        self.before.is_none_or(|t| created < t)
            && self.since.is_none_or(|t| created > t)
            && self
                .ancestors
                .as_ref()
                .is_none_or(|ids| ids.iter().any(|id| id == image || *id == c.settings.image))
            && self.filters.by_key.iter().all(|(key, values)| match *key {
                "label" => values.iter().all(|value| has_label(c, value)),
                "before" | "since" | "ancestor" | "is-task" => true,
                "health" => {
                    let health = self.engine.health(c, state).map_or("none", |health| health.status.word());
                    values.iter().any(|value| value == health)
                }
                "name" => self.filters.names.iter().any(|name| is_name(name, &c.name)),
                "publish" => {
                    let ports = self.engine.published(c);
                    let has = |value: &String| {
                        ports.iter().any(|p| port_matches(value, p.host_port, &p.protocol.to_string()))
                    };
                    values.iter().any(has)
                }
                key => values.iter().any(|value| matches(key, value, c, state)),
            })
    }
}

fn has_label(c: &Container, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => c.settings.labels.get(key).is_some_and(|v| v == value),
        None => c.settings.labels.contains_key(wanted),
    }
}

fn matches(key: &str, value: &str, c: &Container, state: &State) -> bool {
    let settings = &c.settings;
    match key {
        "id" => c.id.starts_with(value),
        "status" => state_word(state) == value,
        "exited" => {
            matches!(state, State::Exited { code, started: Some(_), .. } if code.to_string() == value)
        }
        "network" => {
            network_names(c).iter().any(|name| name == value)
                || value.len() > 2 && c.endpoints.iter().any(|e| e.network_id.starts_with(value))
        }
        "volume" => settings.mounts.iter().any(|m| m.source == value || m.target == value),
        "expose" => settings.exposed.iter().any(|exposed| {
            let (port, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
            port.parse().is_ok_and(|port| port_matches(value, port, protocol))
        }),
        _ => true,
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn port_matches(wanted: &str, port: u16, protocol: &str) -> bool {
    let (range, of) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let inside =
        matches!((first.parse::<u16>(), last.parse::<u16>()), (Ok(a), Ok(b)) if (a..=b).contains(&port));
    inside && of == protocol
}

/// Docker's names begin with a slash, which people may write and may leave out.
fn is_name(pattern: &Regex, name: &str) -> bool {
    pattern.is_match(name) || pattern.is_match(&format!("/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_regular_expressions() {
        let name_matches = |name: &str, pattern: &str| is_name(&Regex::new(pattern).unwrap(), name);
        assert!(name_matches("web-1", "web"));
        assert!(name_matches("my-web", "web"));
        assert!(!name_matches("my-web", "^web"));
        assert!(name_matches("web", "^/web$"));
        assert!(name_matches("web", "^/?web$"));
        assert!(!name_matches("web-1", "^web$"));
        assert!(name_matches("db", "^(web|db)$") && !name_matches("db2", "^(web|db)$"));
        assert!(name_matches("web-1", "web-[0-9]+") && name_matches("web", "web*"));
    }

    #[test]
    fn bad_filters_are_named() {
        let parse = |word: &str| Filters::parse(&[word.to_owned()]).err();
        assert_eq!(parse("status=exited"), None);
        assert_eq!(parse("foo=bar").as_deref(), Some("invalid filter 'foo'"));
        assert!(parse("foo").unwrap().contains("expected name=value"));
        assert!(parse("status=asleep").unwrap().contains("created, running"));
        assert!(parse("exited=x").is_some());
        assert!(parse("name=web[").unwrap().starts_with("invalid filter 'name=web['"));
    }

    #[test]
    fn ports_in_ranges() {
        assert!(port_matches("80", 80, "tcp"));
        assert!(!port_matches("80", 80, "udp"));
        assert!(port_matches("8000-8010/udp", 8005, "udp"));
        assert!(!port_matches("x", 80, "tcp"));
    }
}
