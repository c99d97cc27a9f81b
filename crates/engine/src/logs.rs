//! A container's output on disk: Docker's JSON lines (`json-file`) or short lines of our own (`local`), in files that take turns.
//!
//! One entry of the first is one line, `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.123456789Z"}`. A line longer
//! than 16 KiB is several entries, all but the last without `\n`. `log.json` is written; when it would outgrow its
//! limit it becomes `log.json.1`, that one `log.json.2`, and so on, compressed where that is wanted.

mod apart;
mod escape;
mod format;
mod gzip;
mod journal;
pub(crate) mod lines;
mod open;
mod reader;

pub use apart::Apart;
pub use open::Log;
pub(crate) use open::file;
pub use reader::{LogQuery, read};

use crate::LogOptions;
use crate::monitor::Stream;
use format::{Format, Stamp};
use gzip::Compressing;
use journal::Journal;
use lines::rotated;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// The longest piece of a line in one entry, as in Docker.
const PIECE: usize = 16 * 1024;
/// Entries are collected up to about this size before they are written.
const BATCH: usize = 48 * 1024;

/// Writes one container's log. Output is never held up and never fails for the log's sake: entries that the disk has
/// no room for are dropped, whole.
#[derive(Debug)]
pub struct LogWriter {
    path: std::path::PathBuf,
    file: OwnedFd,
    size: u64,
    max_size: u64,
    max_files: u32,
    /// Wanted, and the one that is at work.
    compress: bool,
    compressing: Option<Compressing>,
    format: Format,
    journal: Option<Journal>,
    /// The beginning of a line whose end has not been seen, of each stream.
    partial: [Vec<u8>; 2],
    /// Entries not yet written.
    batch: Vec<u8>,
}

impl LogWriter {
    /// Opens or creates the log, to go on at its end; `None` with the driver `none`.
    pub fn open(path: &Path, options: &LogOptions) -> io::Result<Option<LogWriter>> {
        if options.driver == "none" {
            return Ok(None);
        }
        let file = create(path, OFlags::empty())?;
        let mut size = rustix::fs::fstat(&file)?.st_size.max(0) as u64;
        // A monitor that was killed may have left half a line.
        if size > 0 {
            let mut last = [0];
            if rustix::io::pread(&file, &mut last, size - 1)? == 1 && last[0] != b'\n' {
                size += rustix::io::write(&file, b"\n")? as u64;
            }
        }
        Ok(Some(LogWriter {
            path: path.to_owned(),
            file,
            size,
            max_size: options.max_size,
            max_files: options.max_files.max(1),
            compress: options.compress && options.max_files > 1,
            compressing: None,
            format: match options.driver.as_str() {
                "json-file" => Format::Json { more: String::new() },
                _ => Format::Local,
            },
            journal: None,
            partial: [Vec::new(), Vec::new()],
            batch: Vec::new(),
        }))
    }

    /// Logs what was read at once: all its whole lines, by one write(2) unless they are many.
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) {
        let stamp = (stream, self.format.stamp(stream));
        let mut rest = bytes;
        let mut partial = std::mem::take(&mut self.partial[stream as usize]);
        while !partial.is_empty() && !rest.is_empty() {
            let room = PIECE.saturating_sub(partial.len()).min(rest.len());
            let taken = rest[..room].iter().position(|b| *b == b'\n').map_or(room, |at| at + 1);
            partial.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if partial.last() != Some(&b'\n') && partial.len() < PIECE {
                break;
            }
            let used = self.entry(&partial, &stamp, true);
            partial.drain(..used);
        }
        while !rest.is_empty() {
            let used = self.entry(rest, &stamp, false);
            if used == 0 {
                partial.extend_from_slice(rest);
                break;
            }
            rest = &rest[used..];
        }
        self.partial[stream as usize] = partial;
        self.write_batch(self.batch.len());
    }

    /// Logs the beginnings of lines that never ended.
    pub fn finish(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut self.partial[stream as usize]);
            if !partial.is_empty() {
                let stamp = (stream, self.format.stamp(stream));
                self.entry(&partial, &stamp, true);
            }
        }
        self.write_batch(self.batch.len());
        if let Some(compressing) = self.compressing.take() {
            compressing.is_over(10);
        }
    }

    /// Adds one entry, up to and with the next newline; returns how many bytes of `text` it holds. Without a newline in
    /// the first 16 KiB it is a piece; of less than that nothing is used, unless `whole` says that this is all.
    fn entry(&mut self, text: &[u8], stamp: &(Stream, Stamp), whole: bool) -> usize {
        let start = self.batch.len();
        let (stream, stamp) = stamp;
        let piece = &text[..text.len().min(PIECE)];
        let mut used = self.format.entry(piece, stamp, &mut self.batch);
        if !piece[..used].ends_with(b"\n") {
            if piece.len() < PIECE && !whole {
                self.batch.truncate(start);
                return 0;
            }
            // Not through the middle of a character.
            let cut = if piece.len() == PIECE { escape::incomplete_end(piece) } else { 0 };
            if cut > 0 {
                self.batch.truncate(start);
                used = self.format.entry(&piece[..PIECE - cut], stamp, &mut self.batch);
            }
        }
        if let Some(journal) = &self.journal {
            journal.send(*stream, &piece[..used]);
        }
        if self.max_size > 0 && self.size + self.batch.len() as u64 > self.max_size {
            self.write_batch(start);
            if self.size > 0 {
                self.rotate();
            }
        }
        if self.batch.len() >= BATCH {
            self.write_batch(self.batch.len());
        }
        used
    }

    /// Writes the first `len` bytes of the batch; half an entry is taken back.
    fn write_batch(&mut self, len: usize) {
        let mut written = 0;
        while written < len {
            match rustix::io::write(&self.file, &self.batch[written..len]) {
                Ok(n) if n > 0 => written += n,
                Err(Errno::INTR) => {}
                _ => {
                    let _ = rustix::fs::ftruncate(&self.file, self.size);
                    written = 0;
                    break;
                }
            }
        }
        self.size += written as u64;
        self.batch.drain(..len);
        // What a flood of escapes took is not kept for the long quiet after it.
        if self.batch.is_empty() && self.batch.capacity() > 2 * BATCH {
            self.batch.shrink_to(BATCH);
        }
    }

    /// Begins a new file. When that fails the old one just grows on, as it does while the one before it is being compressed.
    fn rotate(&mut self) {
        if self.max_files == 1 {
            if rustix::fs::ftruncate(&self.file, 0).is_ok() {
                self.size = 0;
            }
            return;
        }
        if self.compressing.as_ref().is_some_and(|compressing| !compressing.is_over(0)) {
            return;
        }
        self.compressing = None;
        // Renaming onto a file would make ext4 write the renamed one to the disk at once (auto_da_alloc).
        let last = rotated(&self.path, self.max_files - 1);
        let _ = rustix::fs::unlink(gzip::name(&last));
        let _ = rustix::fs::unlink(&last);
        for number in (1..self.max_files).rev() {
            // What is not there cannot be moved, and need not.
            let (from, to) = (rotated(&self.path, number - 1), rotated(&self.path, number));
            let _ = rustix::fs::rename(&from, &to);
            if self.compress && number > 1 {
                let _ = rustix::fs::rename(gzip::name(&from), gzip::name(&to));
            }
        }
        if let Ok(file) = create(&self.path, OFlags::EXCL) {
            self.file = file;
            self.size = 0;
            if self.compress {
                self.compressing = Compressing::start(&rotated(&self.path, 1));
            }
        }
    }
}

fn create(path: &Path, more: OFlags) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | more;
    Ok(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    pub(super) fn place(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("corten-log-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir.join("log.json")
    }

    pub(super) fn writer(path: &Path, max_size: u64, max_files: u32) -> LogWriter {
        let options = LogOptions { max_size, max_files, ..LogOptions::default() };
        LogWriter::open(path, &options).unwrap().unwrap()
    }

    fn entries(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let log = |line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["log"].as_str().unwrap().to_owned()
        };
        text.lines().map(log).collect()
    }

    #[test]
    fn lines_are_entries_as_docker_writes_them() {
        let path = place("lines");
        writer(&path, 0, 3).append(Stream::Stderr, b"say \"<hi>\"\t\\ \xff\xe2\x82\n\n");
        let text = fs::read_to_string(&path).unwrap();
        let (first, second) = text.split_once('\n').unwrap();
        let said =
            r#"{"log":"say \"\u003chi\u003e\"\u0009\\ \ufffd\ufffd\ufffd\n","stream":"stderr","time":""#;
        assert!(first.starts_with(said), "{first}");
        assert!(second.starts_with(r#"{"log":"\n","#), "{second}");
        assert!(second.ends_with("Z\"}\n"));
    }

    #[test]
    fn a_line_in_pieces_is_one_entry() {
        let path = place("pieces");
        let mut log = writer(&path, 0, 3);
        log.append(Stream::Stdout, b"one\ntw");
        log.append(Stream::Stderr, b"err");
        log.append(Stream::Stdout, b"o");
        log.append(Stream::Stdout, b"!\nthree\nend");
        assert_eq!(entries(&path), ["one\n", "two!\n", "three\n"]);
        log.finish();
        assert_eq!(entries(&path)[3..], ["end", "err"]);
    }

    #[test]
    fn a_long_line_is_cut_at_16_kib_between_characters() {
        let path = place("long");
        let mut log = writer(&path, 0, 3);
        let text = "é".repeat(20_000) + "\n";
        for part in text.as_bytes().chunks(4097) {
            log.append(Stream::Stdout, part);
        }
        let got = entries(&path);
        assert_eq!(got.concat(), text);
        assert_eq!(got.iter().map(String::len).collect::<Vec<_>>(), [16384, 16384, 7233]);
        // One byte off: the cut would go through a character.
        let text = "x".to_owned() + &text;
        log.append(Stream::Stdout, text.as_bytes());
        assert_eq!(entries(&path)[3].len(), 16383);
        assert_eq!(entries(&path)[3..].concat(), text);
    }

    #[test]
    fn files_take_turns_and_none_is_too_large() {
        let path = place("rotate");
        let mut log = writer(&path, 1000, 3);
        for i in 0..100 {
            log.append(Stream::Stdout, format!("line {i}\nsecond {i}\n").as_bytes());
        }
        let mut all = Vec::new();
        for file in [rotated(&path, 2), rotated(&path, 1), path.clone()] {
            assert!(fs::metadata(&file).unwrap().len() <= 1000);
            all.extend(entries(&file));
        }
        assert!(!rotated(&path, 3).exists());
        assert_eq!(all.last().unwrap(), "second 99\n");
        let first: Vec<&str> = all[0].split_whitespace().collect();
        assert!(all.len() > 20, "{}: {first:?}", all.len());
        let single = place("single");
        let mut log = writer(&single, 500, 1);
        (0..50).for_each(|i| log.append(Stream::Stdout, format!("{i}\n").as_bytes()));
        assert!(fs::metadata(&single).unwrap().len() <= 500);
        assert_eq!(entries(&single).last().unwrap(), "49\n");
    }

    #[test]
    fn a_local_log_is_shorter_and_says_the_same() {
        let path = place("local");
        let options = LogOptions { driver: "local".to_owned(), ..LogOptions::default() };
        let mut log = LogWriter::open(&path, &options).unwrap().unwrap();
        log.append(Stream::Stdout, b"one \"\xff\"\ntw");
        log.append(Stream::Stdout, b"o\n");
        log.append(Stream::Stderr, b"no end");
        log.finish();
        let query = LogQuery { stdout: true, stderr: true, ..LogQuery::default() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        read(&path, &query, &mut out, &mut err, &|| false).unwrap();
        assert_eq!(out, b"one \"\xff\"\ntwo\n");
        assert_eq!(err, b"no end");
        assert!(fs::metadata(&path).unwrap().len() < 80);
    }

    #[test]
    fn compressed_files_are_read_like_others() {
        let path = place("gzip");
        let mut log = writer(&path, 1000, 4);
        (0..25).for_each(|i| log.append(Stream::Stdout, format!("line {i}\n").as_bytes()));
        gzip::compress(&rotated(&path, 1)).unwrap();
        gzip::compress(&rotated(&path, 2)).unwrap();
        assert!(!rotated(&path, 1).exists() && gzip::name(&rotated(&path, 2)).exists());
        let shown = |tail| {
            let query = LogQuery { stdout: true, tail, ..LogQuery::default() };
            let mut out = Vec::new();
            read(&path, &query, &mut out, &mut Vec::new(), &|| false).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines = |from: u32| (from..25).map(|i| format!("line {i}\n")).collect::<String>();
        assert_eq!(shown(None), lines(0));
        assert_eq!(shown(Some(20)), lines(5));
    }

    #[test]
    fn a_torn_last_line_gets_its_end() {
        let path = place("torn");
        fs::write(&path, "{\"log\":\"half").unwrap();
        writer(&path, 0, 3).append(Stream::Stdout, b"whole\n");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"log\":\"half\n{\"log\":\"whole\\n\""), "{text}");
    }
}
