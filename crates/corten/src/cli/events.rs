//! `corten events`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print};
use crate::fmt::template::{Template, from_json};
use crate::resolve::parse_moment;
use clap::Args;
use engine::{Event, EventQuery};
use serde_json::{Value, json};

const SHAPE: Shape = Shape {
    usage: "[OPTIONS]",
    about: "Show what happens, and with --since what has happened",
    words: (0, 0),
};

#[derive(Debug, Args)]
struct EventsArgs {
    /// Only some (container=web, type=image, event=die, image=, label=, network=, volume=, scope=)
    #[arg(short, long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Print each by a template, or as json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// From a time on (2026-11-24T08:15:00Z, 1763972100, or 42m ago)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Up to a time; without it, without end
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: EventsArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let filters = Filters::parse(&args.filter)?;
    let moment = |text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty());
        text.map(parse_moment).transpose().map_err(Failure::new)
    };
    let query = EventQuery { since: moment(&args.since)?, until: moment(&args.until)? };
    if let (Some(since), Some(until)) = (query.since, query.until)
        && until < since
    {
        return Err(Failure::new("`since` time cannot be after `until` time"));
    }
    let show = Show::new(args.format.as_deref())?;
    let engine = context.engine()?;
    let mut failed = None;
    let done = engine.events(&query, &mut |event| {
        if filters.accept(event)
            && let Err(failure) = show.line(event).and_then(|line| print(&line))
        {
            failed = Some(failure);
            return Ok(false);
        }
        Ok(true)
    });
    match failed {
        Some(failure) => Err(failure),
        None => done.map(|()| 0).map_err(Failure::from),
    }
}

/// How an event is printed.
enum Show {
    Text,
    Json,
    Template(Box<Template>),
}

impl Show {
    fn new(format: Option<&str>) -> Result<Show, Failure> {
        Ok(match format.map(str::trim) {
            None | Some("") => Show::Text,
            Some("json" | "{{json .}}") => Show::Json,
            Some(text) => {
                let text = text.replace("\\t", "\t").replace("\\n", "\n");
                let failed = |cause| Failure { code: 64, ..Failure::new(cause) };
                Show::Template(Box::new(Template::parse(&text).map_err(failed)?))
            }
        })
    }

    fn line(&self, event: &Event) -> Result<String, Failure> {
        Ok(match self {
            Show::Text => text(event) + "\n",
            Show::Json => object(event).to_string() + "\n",
            Show::Template(template) => {
                template.execute(&from_json(&titled(event))).map_err(Failure::new)? + "\n"
            }
        })
    }
}

/// `2026-11-24T09:15:00.123456789+01:00 container start 4f66ad9a… (image=busybox, name=box)`
fn text(event: &Event) -> String {
    let attributes: Vec<String> = event.actor.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let mut line = format!("{} {} {} {}", stamp(event), event.kind, event.action, event.actor.id);
    if !attributes.is_empty() {
        line.push_str(&format!(" ({})", attributes.join(", ")));
    }
    line
}

fn stamp(event: &Event) -> String {
    let nanos = event.time.0 % 1_000_000_000;
    let Some(t) = kernel::clock::local(event.seconds.cast_signed()) else { return event.time.rfc3339() };
    let zone = match t.offset {
        0 => "Z".to_owned(),
        east => {
            let (sign, east) = if east < 0 { ('-', -east) } else { ('+', east) };
            format!("{sign}{:02}:{:02}", east / 3600, east / 60 % 60)
        }
    };
    let (date, clock) = (
        format!("{:04}-{:02}-{:02}", t.year, t.month, t.day),
        format!("{:02}:{:02}:{:02}", t.hour, t.minute, t.second),
    );
    format!("{date}T{clock}.{nanos:09}{zone}")
}

/// Docker's JSON, with the fields that old scripts look for.
fn object(event: &Event) -> Value {
    let mut object = json!({});
    if matches!(event.kind.as_str(), "container" | "image") {
        object["status"] = json!(event.action);
        object["id"] = json!(event.actor.id);
    }
    if event.kind == "container" {
        object["from"] = json!(event.actor.attributes.get("image"));
    }
    if let (Value::Object(object), Ok(Value::Object(rest))) = (&mut object, serde_json::to_value(event)) {
        object.extend(rest);
    }
    object
}

/// As a template sees it: the fields of Go's struct.
fn titled(event: &Event) -> Value {
    json!({
        "Status": event.action,
        "ID": event.actor.id,
        "From": event.actor.attributes.get("image"),
        "Type": event.kind,
        "Action": event.action,
        "Actor": event.actor,
        "Scope": event.scope,
        "Time": event.seconds,
        "TimeNano": event.time.0,
    })
}

const KEYS: &[&str] =
    &["container", "daemon", "event", "image", "label", "network", "scope", "type", "volume"];

/// The same key twice means either, two keys mean both; labels are all needed.
#[derive(Debug, Default)]
struct Filters(Vec<(&'static str, Vec<String>)>);

impl Filters {
    fn parse(words: &[String]) -> Result<Filters, Failure> {
        let mut filters = Filters::default();
        for word in words {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                Failure::flag(format!(
                    "invalid argument \"{word}\" for \"-f, --filter\" flag: bad format of filter (expected name=value)"
                ))
            })?;
            let key = KEYS.iter().find(|known| **known == key.trim().to_lowercase());
            let key = key.ok_or_else(|| {
                Failure::flag(format!("invalid filter '{word}': use one of {}", KEYS.join(", ")))
            })?;
            let value = value.trim().to_owned();
            match filters.0.iter_mut().find(|(known, _)| known == key) {
                Some((_, values)) => values.push(value),
                None => filters.0.push((key, vec![value])),
            }
        }
        Ok(filters)
    }

    fn accept(&self, event: &Event) -> bool {
        self.0.iter().all(|(key, values)| match *key {
            "label" => values.iter().all(|value| has_label(event, value)),
            key => values.iter().any(|value| matches(event, key, value)),
        })
    }
}

fn has_label(event: &Event, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => event.actor.attributes.get(key).is_some_and(|v| v == value),
        None => event.actor.attributes.contains_key(wanted),
    }
}

fn matches(event: &Event, key: &str, value: &str) -> bool {
    let attribute = |name: &str| event.actor.attributes.get(name).map_or("", String::as_str);
    match key {
        "type" => event.kind == value,
        "scope" => event.scope == value,
        "event" => event.action == value || event.action.split(": ").next() == Some(value),
        "image" => {
            let name = attribute(if event.kind == "image" { "name" } else { "image" });
            [event.actor.id.as_str(), name].iter().any(|own| *own == value || repository(own) == value)
        }
        // By id, its beginning, or name; an id may come from anywhere in the world, and a name needs to be whole.
        "container" | "network" | "volume" => {
            event.kind == key && (event.actor.id.starts_with(value) || attribute("name") == value)
        }
        // There is no daemon, and all is said of this machine.
        _ => true,
    }
}

/// A reference without its tag.
fn repository(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => reference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Time;

    fn event() -> Event {
        let mut event = Event::new("container", "exec_start: ls -l", "abcdef").with("image", "nginx:latest");
        event = event.with("name", "web").with("role", "front");
        (event.seconds, event.time) = (1_709_164_800, Time(1_709_164_800_000_000_007));
        event
    }

    #[test]
    fn an_event_in_json() {
        assert_eq!(
            object(&event()).to_string(),
            r#"{"status":"exec_start: ls -l","id":"abcdef","from":"nginx:latest","Type":"container","Action":"exec_start: ls -l","Actor":{"ID":"abcdef","Attributes":{"image":"nginx:latest","name":"web","role":"front"}},"scope":"local","time":1709164800,"timeNano":1709164800000000007}"#
        );
    }

    #[test]
    fn an_event_in_words() {
        let line = text(&event());
        let rest = line.split_once(' ').map(|(_, rest)| rest);
        assert_eq!(
            rest,
            Some("container exec_start: ls -l abcdef (image=nginx:latest, name=web, role=front)")
        );
        assert!(line.contains(".000000007"), "{line}");
    }

    #[test]
    fn filters() {
        let accepts = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Filters::parse(&words).unwrap().accept(&event())
        };
        for good in [
            &[][..],
            &["container=web"],
            &["container=abc"],
            &["event=exec_start"],
            &["event=die", "event=exec_start"],
            &["image=nginx"],
            &["image=nginx:latest", "type=container"],
            &["label=role", "label=role=front"],
        ] {
            assert!(accepts(good), "{good:?}");
        }
        for bad in [
            &["container=we"][..],
            &["network=abc"],
            &["event=exec"],
            &["image=ngin"],
            &["label=role", "label=x"],
            &["type=container", "event=die"],
        ] {
            assert!(!accepts(bad), "{bad:?}");
        }
        assert!(Filters::parse(&["x=y".to_owned()]).is_err() && Filters::parse(&["x".to_owned()]).is_err());
    }
}
