//! Reading a container's log: the last lines without reading it all, over all files, and on while it is written.

use super::rotated;
use crate::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
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
    // Watched before it is read, so that nothing is missed between.
    let watch = if query.follow { Some(watch(path)?) } else { None };
    let mut files = open_all(path)?;
    if let Some(tail) = query.tail {
        seek_to_tail(&mut files, tail)?;
    }
    let last = files.pop();
    for mut file in files {
        if !file.print(&mut printer)? {
            return printer.flush();
        }
    }
    let mut current = last;
    loop {
        // First whether it still runs, then what it wrote: so the last words are not lost.
        let running = watch.is_some() && alive();
        let mut news = false;
        loop {
            if let Some(file) = &mut current {
                let before = file.at;
                if !file.print(&mut printer)? {
                    return printer.flush();
                }
                news |= file.at != before;
            }
            match successor(path, current.as_ref())? {
                // The old file may have got a last line before the new one was begun.
                Some(next) => {
                    if let Some(mut old) = current.replace(next)
                        && !old.print(&mut printer)?
                    {
                        return printer.flush();
                    }
                }
                None => break,
            }
        }
        printer.flush()?;
        let over = query.until.is_some_and(|until| Time::now() > until);
        let Some(watch) = watch.as_ref().filter(|_| running && !over) else { return Ok(()) };
        if !news {
            wait(watch)?;
        }
    }
}

/// One file of the log.
struct LogFile {
    file: File,
    inode: (u64, u64),
    /// Where to read on.
    at: u64,
    /// A line whose end has not been read.
    rest: Vec<u8>,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<LogFile>> {
        match File::open(path) {
            Ok(file) => {
                let meta = file.metadata()?;
                Ok(Some(LogFile { file, inode: (meta.dev(), meta.ino()), at: 0, rest: Vec::new() }))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Prints all whole lines to the file's present end; false when no later line is wanted.
    fn print(&mut self, printer: &mut Printer<'_>) -> io::Result<bool> {
        // The writer takes half a line back when the disk is full, and begins again when it may have one file only.
        if self.file.metadata()?.len() < self.at {
            self.at = if self.rest.is_empty() { 0 } else { self.at - self.rest.len() as u64 };
            self.rest.clear();
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = match self.file.read_at(&mut buffer, self.at) {
                Ok(0) => return Ok(true),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.at += read as u64;
            let mut bytes = &buffer[..read];
            while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
                let (line, next) = (&bytes[..end], &bytes[end + 1..]);
                let wanted = if self.rest.is_empty() {
                    printer.line(line)?
                } else {
                    self.rest.extend_from_slice(line);
                    let wanted = printer.line(&self.rest)?;
                    self.rest.clear();
                    wanted
                };
                if !wanted {
                    return Ok(false);
                }
                bytes = next;
            }
            self.rest.extend_from_slice(bytes);
        }
    }
}

/// All files of the log, the oldest first. A rotation meanwhile shows a file under two names: it is taken once.
fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    for number in 0.. {
        match LogFile::open(&rotated(path, number))? {
            Some(file) if files.iter().any(|f| f.inode == file.inode) => {}
            Some(file) => files.push(file),
            // The first is missing for a moment while files change their names.
            None if number == 0 => {}
            None => break,
        }
    }
    files.reverse();
    Ok(files)
}

/// The file that was begun after `current`, when there is one.
fn successor(path: &Path, current: Option<&LogFile>) -> io::Result<Option<LogFile>> {
    let Some(current) = current else { return LogFile::open(path) };
    match path.metadata() {
        Ok(meta) if (meta.dev(), meta.ino()) == current.inode => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let files = open_all(path)?;
    // Not among them: so much was written meanwhile that it is gone already, and the oldest is next.
    let next = files.iter().position(|f| f.inode == current.inode).map_or(0, |at| at + 1);
    Ok(files.into_iter().nth(next))
}

/// Moves to the last `lines` lines, reading from the end.
fn seek_to_tail(files: &mut Vec<LogFile>, mut lines: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    for index in (0..files.len()).rev() {
        let LogFile { file, at, .. } = &mut files[index];
        let size = file.metadata()?.len();
        let mut position = size;
        if lines == 0 {
            *at = size;
            files.drain(..index);
            return Ok(());
        }
        while position > 0 {
            let length = position.min(buffer.len() as u64) as usize;
            position -= length as u64;
            file.read_exact_at(&mut buffer[..length], position)?;
            for offset in (0..length).rev() {
                // The newline that ends the file begins no line. Half a last line counts as none.
                let line_start = position + offset as u64 + 1;
                if buffer[offset] != b'\n' || line_start == size {
                    continue;
                }
                lines -= 1;
                if lines == 0 {
                    *at = line_start;
                    files.drain(..index);
                    return Ok(());
                }
            }
        }
        // The first line of the file has no newline before it.
        lines -= u64::from(size > 0);
        if lines == 0 {
            files.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
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

    /// Prints one line of the file. What is no entry (damage after a crash) is passed over.
    fn line(&mut self, line: &[u8]) -> io::Result<bool> {
        let Ok(entry) = serde_json::from_slice::<Entry<'_>>(line) else { return Ok(true) };
        // Times in UTC are ordered like their texts.
        if self.until.as_deref().is_some_and(|until| &*entry.time > until) {
            return Ok(false);
        }
        let which = usize::from(entry.stream == "stderr");
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
        self.buffer.extend_from_slice(entry.log.as_bytes());
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

/// Watches the directory: writes, new files, the change of the container's state.
fn watch(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
    inotify::add_watch(&watch, directory, flags)?;
    Ok(File::from(watch))
}

/// Until something happens, at most a second: the writer may have been killed.
fn wait(mut watch: &File) -> io::Result<()> {
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    match poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&second)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut buffer = [0; 4096];
    while watch.read(&mut buffer).is_ok_and(|n| n > 0) {}
    Ok(())
}

#[cfg(test)]
mod tests {
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
