//! Layers on their way: several at once, each written to its file and resumed where it broke off, while another process unpacks what is there.

use super::http::{Call, said};
use super::partial::Partial;
use super::{Event, Session, State, http, short};
use crate::digest::Digest;
use crate::error::{Error, Result, invalid, io};
use crate::layer::feed::Head;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bytes that are written, and told of, at once.
const CHUNK: usize = 256 << 10;
/// How often progress is told.
const PACE: Duration = Duration::from_millis(80);
/// Interruptions of one layer that are borne as long as each brings something.
const MOST: u32 = 200;

/// One layer to fetch.
#[derive(Debug)]
pub struct Download {
    pub digest: Digest,
    pub size: u64,
    pub partial: Partial,
    /// Who reads along; dropped with the download.
    pub heads: Vec<Head>,
}

impl Download {
    fn event(&self, session: &Session, state: State) {
        (session.listener)(&Event::Layer { layer: short(self.digest.hex()), state });
    }

    fn tell(&self, bytes: u64) -> Result<()> {
        // Nobody listens: whoever unpacked has failed, and says why.
        self.heads.iter().try_for_each(|head| head.tell(bytes)).map_err(io("pass on a layer"))
    }
}

/// Fetch all, in this order, `parallel` at once. The first failure ends them all, and is returned.
pub fn run(sessions: &[&Session], downloads: Vec<Download>, parallel: usize) -> Result<()> {
    let count = parallel.clamp(1, 16).min(downloads.len());
    let queue: Vec<Mutex<Option<Download>>> = downloads.into_iter().map(|d| Mutex::new(Some(d))).collect();
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..count {
            let work = || {
                while let Some(slot) = queue.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(download) = super::locked(slot).take() else { continue };
                    if let Err(e) = fetch(sessions, &download, &stop) {
                        super::locked(&failure).get_or_insert(e);
                        stop.store(true, Ordering::Relaxed);
                    }
                    if stop.load(Ordering::Relaxed) {
                        // The heads of what will not come have to go, or their readers wait for ever.
                        queue.iter().for_each(|slot| drop(super::locked(slot).take()));
                    }
                }
            };
            let started = std::thread::Builder::new().name("download".into()).spawn_scoped(scope, work);
            if let Err(e) = started {
                super::locked(&failure).get_or_insert(io("start a thread")(e));
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

/// One layer, from the first place that has it.
fn fetch(sessions: &[&Session], download: &Download, stop: &AtomicBool) -> Result<()> {
    let mut have = download.partial.had;
    if have == download.size
        && let Some(session) = sessions.first()
    {
        download.event(session, State::Downloaded);
    }
    if have > 0 {
        download.tell(have)?;
    }
    let mut failure = None;
    for session in sessions {
        match fetch_from(session, download, &mut have, stop) {
            Ok(()) => return Ok(()),
            Err(e) if stop.load(Ordering::Relaxed) => return Err(e),
            Err(e) => _ = failure.get_or_insert(e),
        }
    }
    let cause = failure.unwrap_or_else(|| Error::Invalid("there is no place to fetch it from".into()));
    Err(Error::Layer { digest: download.digest.to_string(), cause: Box::new(cause) })
}

/// From one place, however often it breaks off, as long as it goes on.
fn fetch_from(session: &Session, download: &Download, have: &mut u64, stop: &AtomicBool) -> Result<()> {
    let mut pause = Duration::from_secs(1);
    let mut idle = 0;
    for _ in 0..MOST {
        if *have == download.size {
            return Ok(());
        }
        let before = *have;
        let broken = match once(session, download, have, stop)? {
            None => return Ok(()),
            Some(cause) => cause,
        };
        if stop.load(Ordering::Relaxed) {
            return invalid("interrupted");
        }
        if *have > before {
            (idle, pause) = (0, Duration::from_secs(1));
        }
        idle += 1;
        if idle >= http::TRIES {
            return invalid(format!("{}: {broken}", session.endpoint.host));
        }
        download.event(session, State::Retrying { seconds: pause.as_secs() });
        session.client.http.sleep(pause)?;
        pause *= 2;
    }
    invalid(format!("{} breaks off again and again", session.endpoint.host))
}

/// One request. None: all is there. Otherwise why it broke off.
fn once(session: &Session, download: &Download, have: &mut u64, stop: &AtomicBool) -> Result<Option<String>> {
    let Download { digest, size, .. } = download;
    let mut call = Call::get(session.url(&format!("blobs/{digest}"))?);
    if *have > 0 {
        call = call.header("range", format!("bytes={have}-"));
    }
    let answer = session.send(&call, short(digest.hex()))?;
    let wrong = |length: u64| invalid(format!("{} has {length} bytes, not {size}", session.endpoint.host));
    // What comes that is there already.
    let mut skip = match answer.status {
        200 => *have,
        206 if *have > 0 => match range(answer.header("content-range").unwrap_or_default()) {
            Some((_, Some(total))) if total != *size => return wrong(total),
            Some((start, _)) if start == *have => 0,
            // Not what was asked for: begin anew rather than sew two things together.
            _ => {
                *have = 0;
                return Ok(Some("it resumes at the wrong place".into()));
            }
        },
        416 => return invalid(format!("{} has no more than {have} bytes of {size}", session.endpoint.host)),
        _ => return Err(session.refusal(answer, &format!("layer {digest}"))),
    };
    if let Some(Ok(length)) = answer.header("content-length").map(str::parse::<u64>)
        && length.checked_add(*have - skip) != Some(*size)
    {
        return wrong(length.saturating_add(*have - skip));
    }
    let mut body = answer.into_reader();
    let mut buffer = vec![0; CHUNK];
    let mut shown = Instant::now();
    loop {
        // A byte more than there should be, so that too many are seen.
        let want = (*size - *have).saturating_add(skip).saturating_add(1).min(CHUNK as u64) as usize;
        let n = match body.read(&mut buffer[..want]) {
            Ok(0) if *have == *size && skip == 0 => return Ok(None),
            Ok(0) => return Ok(Some("the connection ended too early".into())),
            Ok(n) => n,
            Err(e) if *have == *size && skip == 0 => return Err(io("read the end of the layer")(e)),
            Err(e) => return Ok(Some(said(e).cause)),
        };
        if stop.load(Ordering::Relaxed) {
            return invalid("interrupted");
        }
        let old = skip.min(n as u64) as usize;
        skip -= old as u64;
        let new = &buffer[old..n];
        if new.len() as u64 > *size - *have {
            return invalid(format!("{} gives more than {size} bytes", session.endpoint.host));
        }
        let file = &download.partial.file;
        file.write_all_at(new, *have).map_err(io(format!("write layer {digest}")))?;
        *have += new.len() as u64;
        if *have == *size && !new.is_empty() {
            download.event(session, State::Downloaded);
        }
        if !new.is_empty() {
            download.tell(*have)?;
        }
        if shown.elapsed() >= PACE {
            download.event(session, State::Downloading { done: *have, total: *size });
            shown = Instant::now();
        }
    }
}

/// `bytes 7-99/100`: where it starts, and the whole length where it is known.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.trim().split_once('-')?;
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((start.parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes 7-99/100"), Some((7, Some(100))));
        assert_eq!(range("bytes 7-99/*"), Some((7, None)));
        for bad in ["", "bytes", "bytes 7", "bytes x-9/10", "bytes */100", "items 7-9/10", "bytes 7-9/-1"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
