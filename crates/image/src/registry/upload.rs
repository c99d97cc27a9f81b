//! Blobs on their way to a registry: found there, mounted from another repository, or sent in pieces.

use super::http::{Answer, Call};
use super::url::{Url, encode};
use super::{Session, http};
use crate::digest::Digest;
use crate::error::{Result, invalid, io};
use std::io::Read;
use std::time::Duration;
use ureq::http::Method;

/// Bytes of one request: some registries refuse more.
const PIECE: usize = 4 << 20;
/// The largest piece that a registry may insist on.
const MOST: usize = 64 << 20;
const BYTES: &str = "application/octet-stream";

/// How a blob got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    There,
    Mounted,
    Sent,
}

impl Session<'_> {
    /// The repository has the blob.
    pub fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let call = Call::new(Method::HEAD, self.url(&format!("blobs/{digest}"))?);
        let answer = self.send(&call, "a layer")?;
        match answer.status {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.refusal(answer, &format!("blob {digest}"))),
        }
    }

    /// Ask for the blob to be mounted from another repository of this registry. `Err` of the inner result: it isn't; there the upload can go on.
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<std::result::Result<(), Option<Url>>> {
        let url = self.url("blobs/uploads/")?.with("mount", &digest.to_string()).with("from", from);
        let answer = self.send(&Call::new(Method::POST, url), "a layer")?;
        match answer.status {
            201 => Ok(Ok(())),
            202 => Ok(Err(location(&answer))),
            // A registry that knows no mounting, or one that we may not read from.
            _ => Ok(Err(None)),
        }
    }

    /// Send a blob. `open` gives its bytes from the start, again if need be.
    pub fn upload(
        &self,
        digest: &Digest,
        size: u64,
        begun: Option<Url>,
        open: &dyn Fn() -> Result<Box<dyn Read + Send>>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let mut pause = Duration::from_secs(1);
        let mut begun = begun;
        for left in (0..http::TRIES).rev() {
            let cause = match self.upload_once(digest, size, begun.take(), open, progress) {
                Ok(None) => return Ok(()),
                Ok(Some(cause)) if left > 0 => cause,
                Ok(Some(cause)) => return invalid(format!("{}: {cause}", self.endpoint.host)),
                Err(e) => return Err(e),
            };
            (self.listener)(&super::Event::Waiting {
                what: super::short(digest.hex()),
                cause: &cause,
                seconds: pause.as_secs(),
            });
            self.client.http.sleep(pause)?;
            pause *= 2;
        }
        Ok(())
    }

    /// One upload from its beginning. `Some`: why it broke off.
    fn upload_once(
        &self,
        digest: &Digest,
        size: u64,
        begun: Option<Url>,
        open: &dyn Fn() -> Result<Box<dyn Read + Send>>,
        progress: &dyn Fn(u64),
    ) -> Result<Option<String>> {
        let (mut to, least) = match begun {
            Some(to) => (to, 0),
            None => {
                let answer = self.send(&Call::new(Method::POST, self.url("blobs/uploads/")?), "a layer")?;
                let least =
                    answer.header("oci-chunk-min-length").and_then(|v| v.trim().parse::<usize>().ok());
                match location(&answer) {
                    Some(to) if answer.status == 202 => (to, least.unwrap_or(0)),
                    _ => {
                        return Err(
                            self.refusal(answer, &format!("an upload to {}", self.endpoint.repository))
                        );
                    }
                }
            }
        };
        let piece = PIECE.max(least.min(MOST));
        let mut input = open()?;
        let mut sent = 0;
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = input.by_ref().take(piece as u64).read_to_end(&mut bytes);
            read.map_err(io(format!("read blob {digest}")))?;
            let end = sent + bytes.len() as u64;
            if end > size || (end < size && bytes.len() < piece) {
                return invalid(format!("blob {digest} has another size than its manifest says"));
            }
            let last = end == size;
            // What fits into one request is sent with its digest at once; else pieces, and a last word.
            let call = if last && sent == 0 {
                Call::new(Method::PUT, finish(&to, digest)).body(BYTES, &bytes)
            } else {
                let range = format!("{sent}-{}", end.saturating_sub(1));
                Call::new(Method::PATCH, to.clone()).body(BYTES, &bytes).header("content-range", range)
            };
            let answer = match self.send_once(&call)? {
                Ok(answer) => answer,
                Err(cause) => return Ok(Some(cause)),
            };
            match (answer.status, last && sent == 0) {
                (201 | 204, true) => return Ok(None),
                (202 | 201 | 204, false) => to = location(&answer).unwrap_or(to),
                (408 | 416 | 429 | 500..=599, _) => {
                    return Ok(Some(self.refusal(answer, "a piece of a layer").to_string()));
                }
                _ => return Err(self.refusal(answer, &format!("blob {digest}"))),
            }
            sent = end;
            progress(sent);
            if last {
                break;
            }
        }
        let answer = match self.send_once(&Call::new(Method::PUT, finish(&to, digest)).body(BYTES, &[]))? {
            Ok(answer) => answer,
            Err(cause) => return Ok(Some(cause)),
        };
        match answer.status {
            201 | 204 => Ok(None),
            408 | 429 | 500..=599 => Ok(Some(self.refusal(answer, "the end of a layer").to_string())),
            _ => Err(self.refusal(answer, &format!("blob {digest}"))),
        }
    }

    /// A small blob, or nothing if it is there.
    pub fn upload_small(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.has_blob(digest)? {
            return Ok(());
        }
        let open = || -> Result<Box<dyn Read + Send>> { Ok(Box::new(std::io::Cursor::new(bytes.to_vec()))) };
        self.upload(digest, bytes.len() as u64, None, &open, &|_| {})
    }

    /// Publish a manifest by a tag or its digest.
    pub fn put_manifest(&self, which: &str, kind: &str, bytes: &[u8]) -> Result<()> {
        let url = self.url(&format!("manifests/{which}"))?;
        let mut answer = self.send(&Call::new(Method::PUT, url).body(kind, bytes), "the manifest")?;
        if !answer.is_success() {
            let what = format!("{}:{which}", self.endpoint.repository);
            return Err(self.refusal(answer, &what));
        }
        let digest = Digest::of(bytes);
        if let Some(Ok(said)) = answer.header("docker-content-digest").map(Digest::parse)
            && said != digest
        {
            return invalid(format!("{} has kept manifest {said}, not {digest}", self.endpoint.host));
        }
        // The connection is free for the next one when this is read.
        let _ = answer.read("the answer", 1 << 16);
        Ok(())
    }
}

fn location(answer: &Answer) -> Option<Url> {
    answer.url.join(answer.header("location")?)
}

fn finish(to: &Url, digest: &Digest) -> Url {
    let separator = if to.path.contains('?') { '&' } else { '?' };
    Url { path: format!("{}{separator}digest={}", to.path, encode(&digest.to_string())), ..to.clone() }
}
