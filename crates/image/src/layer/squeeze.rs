//! Compressing a layer on all processors: a gzip file of many members, which every reader takes for one (RFC 1952, section 2.2). The same bytes
//! always give the same file.

use crate::digest::Digest;
use flate2::{Compression, GzBuilder};
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Bytes of one member, before: large enough that the restart of the dictionary costs nothing to speak of.
const MEMBER: usize = 1 << 20;
/// As small as what others push, in two thirds of the time of level 6.
const LEVEL: u32 = 3;
/// Members under way for each processor.
const AHEAD: usize = 2;

/// A member on its way: the bytes, and where what becomes of them goes.
type Task = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// Compress all of `input` to `out`. Returns the digest and the length of what was written.
pub fn squeeze(input: &mut dyn Read, out: &mut File) -> io::Result<(Digest, u64)> {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(1, 16);
    let (tasks, queue) = sync_channel::<Task>(threads * AHEAD);
    let queue = std::sync::Mutex::new(queue);
    let (order, results) = sync_channel::<Receiver<io::Result<Vec<u8>>>>(threads * AHEAD);
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let task = queue.lock().map(|queue| queue.recv());
                let Ok(Ok((bytes, result))) = task else { return };
                // Nobody waits for it any more: the writer has failed.
                let _ = result.send(member(&bytes));
            }
        };
        for number in 0..threads {
            match std::thread::Builder::new().spawn_scoped(scope, work) {
                Err(e) if number == 0 => return Err(e),
                // Fewer do it too.
                _ => {}
            }
        }
        let writer = std::thread::Builder::new().spawn_scoped(scope, move || write(out, results))?;
        let fed = feed(input, tasks, order);
        let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("the compression panicked")));
        fed.and(written)
    })
}

/// Cut the input into members, in order.
fn feed(
    input: &mut dyn Read,
    tasks: SyncSender<Task>,
    order: SyncSender<Receiver<io::Result<Vec<u8>>>>,
) -> io::Result<()> {
    let mut first = true;
    loop {
        let mut bytes = Vec::with_capacity(MEMBER);
        input.take(MEMBER as u64).read_to_end(&mut bytes)?;
        if bytes.is_empty() && !first {
            return Ok(());
        }
        first = false;
        let (result, receiver) = sync_channel(1);
        // A writer that failed has its own error to tell.
        if order.send(receiver).is_err() || tasks.send((bytes, result)).is_err() {
            return Ok(());
        }
    }
}

fn member(bytes: &[u8]) -> io::Result<Vec<u8>> {
    // Without a name and a time, and always "from Unix".
    let out = Vec::with_capacity(bytes.len() / 2);
    let mut encoder = GzBuilder::new().operating_system(3).write(out, Compression::new(LEVEL));
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn write(out: &mut File, results: Receiver<Receiver<io::Result<Vec<u8>>>>) -> io::Result<(Digest, u64)> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    for result in results {
        let bytes = result.recv().map_err(|_| io::Error::other("the compression ended"))??;
        hash.update(&bytes);
        out.write_all(&bytes)?;
        size += bytes.len() as u64;
    }
    Ok((Digest::finish(hash), size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Seek;

    fn round(bytes: &[u8]) -> (Digest, u64) {
        let path = std::env::temp_dir().join(format!("image-squeeze-{}-{}", std::process::id(), bytes.len()));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let (digest, size) = squeeze(&mut &*bytes, &mut file).unwrap();
        file.rewind().unwrap();
        let mut squeezed = Vec::new();
        file.read_to_end(&mut squeezed).unwrap();
        assert_eq!((Digest::of(&squeezed), squeezed.len() as u64), (digest.clone(), size));
        let mut back = Vec::new();
        flate2::read::MultiGzDecoder::new(&*squeezed).read_to_end(&mut back).unwrap();
        assert!(back == bytes);
        (digest, size)
    }

    #[test]
    fn many_members_are_one_file() {
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n / 7 % 251) as u8).collect();
        let (digest, size) = round(&bytes);
        assert!(size < 500_000);
        assert_eq!(round(&bytes), (digest, size), "the same bytes give the same file");
        round(&[]);
        round(&bytes[..MEMBER]);
    }

    #[test]
    fn a_failing_input_fails_it() {
        struct Failing(usize);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                self.0 += buffer.len();
                if self.0 > 3 << 20 { Err(io::Error::other("no more")) } else { Ok(buffer.len()) }
            }
        }
        let mut file = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(squeeze(&mut Failing(0), &mut file).unwrap_err().to_string(), "no more");
    }
}
