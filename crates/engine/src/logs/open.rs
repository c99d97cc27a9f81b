//! The log of a container, by its driver and options.

use super::journal::{Journal, field_name};
use super::{Apart, Format, LogWriter};
use crate::monitor::Stream;
use crate::{Container, Settings};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Who writes it.
#[derive(Debug)]
pub enum Log {
    /// The monitor itself.
    Here(LogWriter),
    /// A process of its own.
    Apart(Apart),
}

impl Log {
    /// Opens the log of a container that is about to be started, below its directory; `None` with the driver `none`.
    ///
    /// Errors: a disk that refuses; no journal to write to.
    pub fn open(directory: &Path, container: &Container) -> io::Result<Option<Log>> {
        let options = &container.settings.log;
        let path = directory.join(file(&container.settings));
        let open = || -> io::Result<Option<LogWriter>> {
            let Some(mut log) = LogWriter::open(&path, options)? else { return Ok(None) };
            let attributes = attributes(container);
            if let (Format::Json { more }, false) = (&mut log.format, attributes.is_empty()) {
                let text = serde_json::to_string(&attributes).unwrap_or_default();
                *more = format!(",\"attrs\":{text}");
            }
            if options.driver == "journald" {
                log.journal = Some(Journal::connect(&fields(container, &attributes))?);
            }
            Ok(Some(log))
        };
        Ok(match open()? {
            Some(log) if options.max_buffer > 0 => {
                drop(log);
                Some(Log::Apart(Apart::start(options.max_buffer, open)?))
            }
            log => log.map(Log::Here),
        })
    }

    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        match self {
            Log::Here(log) => log.append(stream, bytes),
            Log::Apart(log) => log.append(stream, bytes),
        }
    }

    /// There is no more to come.
    pub fn finish(&mut self) {
        match self {
            Log::Here(log) => log.finish(),
            Log::Apart(log) => log.finish(),
        }
    }
}

/// The name of the first file, in the container's directory.
pub(crate) fn file(settings: &Settings) -> PathBuf {
    match settings.log.driver.as_str() {
        "local" | "journald" => "log.local".into(),
        _ => "log.json".into(),
    }
}

/// What `labels`, `env` and `tag` ask for, by name.
fn attributes(container: &Container) -> BTreeMap<String, String> {
    let s = &container.settings;
    let option = |name: &str| s.log.options.get(name).map_or("", String::as_str);
    let mut all = BTreeMap::new();
    let mut list = |names: &str, value: &dyn Fn(&str) -> Option<String>| {
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            all.extend(value(name).map(|value| (name.to_owned(), value)));
        }
    };
    list(option("labels"), &|name| s.labels.get(name).cloned());
    list(option("env"), &|name| {
        let find =
            |line: &String| line.split_once('=').filter(|(key, _)| *key == name).map(|(_, v)| v.to_owned());
        s.env.iter().find_map(find)
    });
    if s.log.driver == "json-file" && !option("tag").is_empty() {
        all.insert("tag".to_owned(), tag(container));
    }
    all
}

/// The `tag`, with its placeholders filled in; without one, the short id.
fn tag(container: &Container) -> String {
    let text = container.settings.log.options.get("tag").filter(|text| !text.is_empty());
    let Some(text) = text else { return container.short_id().to_owned() };
    let image = container.image_id.trim_start_matches("sha256:");
    let words = [
        ("{{.ID}}", container.short_id()),
        ("{{.FullID}}", &container.id),
        ("{{.Name}}", &container.name),
        ("{{.ImageName}}", &container.settings.image),
        ("{{.ImageID}}", image.get(..12).unwrap_or(image)),
        ("{{.ImageFullID}}", image),
        ("{{.DaemonName}}", "corten"),
    ];
    words.into_iter().fold(text.clone(), |text, (word, value)| text.replace(word, value))
}

/// The fields of a container's entries in the journal, as Docker names them.
fn fields(container: &Container, attributes: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let tag = tag(container);
    let own = [
        ("CONTAINER_ID", container.short_id().to_owned()),
        ("CONTAINER_ID_FULL", container.id.clone()),
        ("CONTAINER_NAME", container.name.clone()),
        ("CONTAINER_TAG", tag.clone()),
        ("IMAGE_NAME", container.settings.image.clone()),
        ("SYSLOG_IDENTIFIER", tag),
    ];
    let more = attributes.iter().map(|(name, value)| (field_name(name), value.clone()));
    own.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .chain(more.filter(|(n, _)| !n.is_empty()))
        .collect()
}
