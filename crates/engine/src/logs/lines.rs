//! Lines in files that take turns: the last ones without reading all, over all files, and on while they are written.

use super::gzip::{self, Compressed};
use crate::Time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who takes the lines.
pub trait Lines {
    /// One line, without its end; `false` when no later one is wanted.
    fn line(&mut self, line: &[u8]) -> io::Result<bool>;
    /// There are no more for now.
    fn flush(&mut self) -> io::Result<()>;
}

/// Which lines are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Span {
    /// Stay until nobody writes any more.
    pub follow: bool,
    /// Only so many of the last lines; all by default.
    pub tail: Option<u64>,
    /// Stay no longer than that.
    pub until: Option<Time>,
}

/// Reads the file at `path` and those that it has been called before. What is not there is empty. With `follow`, ends when
/// `alive` says that nobody writes any more; it is asked when nothing came, at least once a second.
pub fn read(path: &Path, span: &Span, out: &mut dyn Lines, alive: &dyn Fn() -> bool) -> io::Result<()> {
    // Watched before it is read, so that nothing is missed between.
    let watch = if span.follow { Some(watch(path)?) } else { None };
    let mut files = open_all(path)?;
    if let Some(tail) = span.tail {
        seek_to_tail(&mut files, tail)?;
    }
    let last = files.pop();
    for mut file in files {
        if !file.print(out)? {
            return out.flush();
        }
    }
    let mut current = last;
    loop {
        // First whether it still runs, then what it wrote: so the last words are not lost.
        let over = span.until.is_some_and(|until| Time::now() > until);
        let running = watch.is_some() && !over && alive();
        let mut news = false;
        loop {
            if let Some(file) = &mut current {
                let before = file.at;
                if !file.print(out)? {
                    return out.flush();
                }
                news |= file.at != before;
            }
            match successor(path, current.as_ref())? {
                // The old file may have got a last line before the new one was begun.
                Some(next) => {
                    if let Some(mut old) = current.replace(next)
                        && !old.print(out)?
                    {
                        return out.flush();
                    }
                }
                None => break,
            }
        }
        out.flush()?;
        let Some(watch) = watch.as_ref().filter(|_| running) else { return Ok(()) };
        if !news {
            let left = span.until.map(|until| Duration::from_nanos(until.0.saturating_sub(Time::now().0)));
            wait(watch, left)?;
        }
    }
}

/// `log.json` for 0, `log.json.2` for 2.
pub fn rotated(path: &Path, number: u32) -> PathBuf {
    match number {
        0 => path.to_owned(),
        _ => PathBuf::from(format!("{}.{number}", path.display())),
    }
}

/// One of the files.
struct LogFile {
    source: Source,
    /// Which file it is, whatever it is called by now.
    identity: String,
    /// Where to read on.
    at: u64,
    /// A line whose end has not been read.
    rest: Vec<u8>,
}

enum Source {
    Plain(File),
    /// Unpacked when it is read.
    Compressed(Option<Box<Compressed>>),
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<LogFile>> {
        let new = |source, identity| LogFile { source, identity, at: 0, rest: Vec::new() };
        match File::open(path) {
            Ok(file) => {
                let identity = kernel::identity::of(&file)?;
                Ok(Some(new(Source::Plain(file), identity)))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => match Compressed::open(&gzip::name(path)) {
                Ok((file, was)) => Ok(Some(new(Source::Compressed(Some(Box::new(file))), was))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    fn file(&mut self) -> io::Result<&File> {
        if let Source::Compressed(file) = &mut self.source {
            let file = file.take().ok_or(ErrorKind::UnexpectedEof)?;
            self.source = Source::Plain(file.unpack()?);
        }
        match &self.source {
            Source::Plain(file) => Ok(file),
            Source::Compressed(_) => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Prints all whole lines to the file's present end; false when no later line is wanted.
    fn print(&mut self, printer: &mut dyn Lines) -> io::Result<bool> {
        // The writer takes half a line back when the disk is full, and begins again when it may have one file only.
        if self.file()?.metadata()?.len() < self.at {
            self.at = if self.rest.is_empty() { 0 } else { self.at - self.rest.len() as u64 };
            self.rest.clear();
        }
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let at = self.at;
            let read = match self.file()?.read_at(&mut buffer, at) {
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

/// All files, the oldest first. A rotation meanwhile shows a file under two names: it is taken once.
fn open_all(path: &Path) -> io::Result<Vec<LogFile>> {
    let mut files: Vec<LogFile> = Vec::new();
    for number in 0.. {
        match LogFile::open(&rotated(path, number))? {
            Some(file) if files.iter().any(|f| f.identity == file.identity) => {}
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
    match File::open(path) {
        Ok(file) if kernel::identity::of(&file)? == current.identity => return Ok(None),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    let files = open_all(path)?;
    // Not among them: so much was written meanwhile that it is gone already, and the oldest is next.
    let next = files.iter().position(|f| f.identity == current.identity).map_or(0, |at| at + 1);
    Ok(files.into_iter().nth(next))
}

/// Moves to the last `lines` lines, reading from the end.
fn seek_to_tail(files: &mut Vec<LogFile>, mut lines: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    for index in (0..files.len()).rev() {
        let file = files[index].file()?;
        let size = file.metadata()?.len();
        let mut position = size;
        if lines == 0 {
            files[index].at = size;
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
                    files[index].at = line_start;
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

/// Watches the directory: writes, new files, the change of the container's state.
fn watch(path: &Path) -> io::Result<File> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
    inotify::add_watch(&watch, directory, flags)?;
    Ok(File::from(watch))
}

/// Until something happens, at most a second: the writer may have been killed.
fn wait(mut watch: &File, left: Option<Duration>) -> io::Result<()> {
    let second = Duration::from_secs(1);
    let time = left.map_or(second, |left| second.min(left + Duration::from_millis(1)));
    let limit = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
    match poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&limit)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let mut buffer = [0; 4096];
    while watch.read(&mut buffer).is_ok_and(|n| n > 0) {}
    Ok(())
}
