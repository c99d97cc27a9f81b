//! Showing a container's log.

use super::format::Local;
use super::lines::{self, Lines, Span};
use crate::Time;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// What of a log to show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Stay until the container has ended.
    pub follow: bool,
    /// Only so many of the last lines; all by default.
    pub tail: Option<u64>,
    /// Of those, only lines from then on.
    pub since: Option<Time>,
    /// Of those, only lines until then.
    pub until: Option<Time>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// And with what the log's options add to each entry.
    pub details: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// Shows the log at `path` (its first file, `log.json`): the program's standard output to `out`, its standard error to
/// `err`. A log that is not there is empty. With `follow`, ends when `alive` says that nobody writes any more; it is
/// asked when nothing came, at least once a second.
pub fn read(
    path: &Path,
    query: &LogQuery,
    out: &mut dyn Write,
    err: &mut dyn Write,
    alive: &dyn Fn() -> bool,
) -> io::Result<()> {
    let mut printer = Printer::new(query, out, err);
    let span = Span { follow: query.follow, tail: query.tail, until: query.until };
    lines::read(path, &span, &mut printer, alive)
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
}

/// An entry of either form.
struct Said<'a> {
    which: usize,
    time: Cow<'a, str>,
    attrs: BTreeMap<String, String>,
    text: Cow<'a, [u8]>,
    ends: bool,
}

impl<'a> Said<'a> {
    fn parse(line: &'a [u8]) -> Option<Said<'a>> {
        if line.first() != Some(&b'{') {
            let local = Local::parse(line)?;
            return Some(Said {
                which: local.stream as usize,
                time: local.time.rfc3339().into(),
                attrs: BTreeMap::new(),
                text: local.text.into(),
                ends: !local.partial,
            });
        }
        let entry: Entry<'a> = serde_json::from_slice(line).ok()?;
        let text = match entry.log {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let which = usize::from(entry.stream == "stderr");
        Some(Said { which, time: entry.time, attrs: entry.attrs, text, ends: false })
    }
}

struct Printer<'a> {
    query: &'a LogQuery,
    since: Option<String>,
    until: Option<String>,
    outs: [&'a mut dyn Write; 2],
    /// Lines for one of the two, not yet written.
    buffer: Vec<u8>,
    which: usize,
}

impl<'a> Printer<'a> {
    fn new(query: &'a LogQuery, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Printer<'a> {
        let text = |time: Option<Time>| time.map(Time::rfc3339);
        let (since, until) = (text(query.since), text(query.until));
        Printer { query, since, until, outs: [out, err], buffer: Vec::new(), which: 0 }
    }
}

impl Lines for Printer<'_> {
    /// Prints one line of the file. What is no entry (damage after a crash) is passed over.
    fn line(&mut self, line: &[u8]) -> io::Result<bool> {
        let Some(entry) = Said::parse(line) else { return Ok(true) };
        // Times in UTC are ordered like their texts.
        // The next ones may be from before that: clocks are set.
        if self.until.as_deref().is_some_and(|until| &*entry.time > until) {
            return Ok(true);
        }
        let which = entry.which;
        let wanted = if which == 0 { self.query.stdout } else { self.query.stderr };
        if !wanted || self.since.as_deref().is_some_and(|since| &*entry.time < since) {
            return Ok(true);
        }
        if which != self.which || self.buffer.len() > 32 * 1024 {
            self.flush()?;
            self.which = which;
        }
        if self.query.timestamps {
            self.buffer.extend_from_slice(entry.time.as_bytes());
            self.buffer.push(b' ');
        }
        if self.query.details {
            let pairs: Vec<String> =
                entry.attrs.iter().map(|(key, value)| format!("{key}={value}")).collect();
            self.buffer.extend_from_slice(pairs.join(",").as_bytes());
            self.buffer.push(b' ');
        }
        self.buffer.extend_from_slice(&entry.text);
        if entry.ends {
            self.buffer.push(b'\n');
        }
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        let out = &mut self.outs[self.which];
        if !self.buffer.is_empty() {
            out.write_all(&self.buffer)?;
            out.flush()?;
            self.buffer.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::rotated;
    use super::super::tests::{place, writer};
    use super::*;
    use crate::monitor::Stream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::{fs, thread};

    fn all() -> LogQuery {
        LogQuery { stdout: true, stderr: true, ..LogQuery::default() }
    }

    fn shown(path: &Path, query: &LogQuery) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        read(path, query, &mut out, &mut err, &|| false).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn streams_go_their_own_ways() {
        let path = place("streams");
        assert_eq!(shown(&path, &all()), (String::new(), String::new()));
        let mut log = writer(&path, 0, 3);
        log.append(Stream::Stdout, b"one\n\xff\"\n");
        log.append(Stream::Stderr, b"bad\n");
        log.append(Stream::Stdout, b"no newline");
        log.finish();
        assert_eq!(shown(&path, &all()), ("one\n\u{fffd}\"\nno newline".into(), "bad\n".into()));
        let out_only = LogQuery { stderr: false, ..all() };
        assert_eq!(shown(&path, &out_only).1, "");
        let stamped = shown(&path, &LogQuery { timestamps: true, tail: Some(2), ..all() });
        assert!(stamped.1.ends_with("Z bad\n") && stamped.0.ends_with("Z no newline"), "{stamped:?}");
    }

    #[test]
    fn the_tail_goes_back_over_files() {
        let path = place("tail");
        let mut log = writer(&path, 1000, 4);
        (0..30).for_each(|i| log.append(Stream::Stdout, format!("line {i}\n").as_bytes()));
        assert!(rotated(&path, 2).exists());
        for n in [0, 1, 5, 11, 12, 13, 20, 24] {
            let expected: String = (30 - n..30).map(|i| format!("line {i}\n")).collect();
            assert_eq!(shown(&path, &LogQuery { tail: Some(n), ..all() }).0, expected, "tail {n}");
        }
        let everything = shown(&path, &all());
        assert_eq!(shown(&path, &LogQuery { tail: Some(1000), ..all() }), everything);
        // A line of which the monitor's death left half.
        let torn = fs::read_to_string(&path).unwrap() + "{\"log\":\"half";
        fs::write(&path, torn).unwrap();
        assert_eq!(shown(&path, &all()), everything);
        assert_eq!(shown(&path, &LogQuery { tail: Some(2), ..all() }).0, "line 29\n");
    }

    #[test]
    fn times_are_limits() {
        let path = place("times");
        let mut log = writer(&path, 0, 3);
        log.append(Stream::Stdout, b"early\n");
        thread::sleep(std::time::Duration::from_millis(2));
        let between = Time::now();
        thread::sleep(std::time::Duration::from_millis(2));
        log.append(Stream::Stdout, b"late\n");
        assert_eq!(shown(&path, &LogQuery { since: Some(between), ..all() }).0, "late\n");
        assert_eq!(shown(&path, &LogQuery { until: Some(between), ..all() }).0, "early\n");
    }

    #[test]
    fn follow_survives_rotation_and_ends_with_the_container() {
        let path = place("follow");
        let alive = AtomicBool::new(true);
        let text = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let (mut out, mut err) = (Vec::new(), Vec::new());
                let query = LogQuery { follow: true, ..all() };
                read(&path, &query, &mut out, &mut err, &|| alive.load(Ordering::SeqCst)).unwrap();
                String::from_utf8(out).unwrap()
            });
            let mut log = writer(&path, 2000, 50);
            for i in 0..500 {
                log.append(Stream::Stdout, format!("line {i}\n").as_bytes());
                if i % 50 == 0 {
                    thread::sleep(std::time::Duration::from_millis(5));
                }
            }
            log.append(Stream::Stdout, b"last words");
            log.finish();
            alive.store(false, Ordering::SeqCst);
            reader.join().unwrap()
        });
        let expected: String = (0..500).map(|i| format!("line {i}\n")).collect();
        assert_eq!(text, expected + "last words");
    }
}
