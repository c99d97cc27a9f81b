//! Unpacking where it can do no harm (rule R20): a process of its own that has no network, no file system but the directory that all
//! trees are in (Landlock), and of root's capabilities only those that owners, devices and overlay attributes take.

use super::unpack::umask;
use super::{Done, Job, LayerProgress, unpack_all};
use crate::error::{Error, Result, invalid, io};
use crate::limits::Limits;
use kernel::caps::{self, Cap, CapSet};
use kernel::landlock;
use kernel::process::{self, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWUTS, Side};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

/// What unpacking needs of root. SYS_ADMIN is for `trusted.overlay.opaque`; Landlock denies the mounts that it would allow.
const KEPT: CapSet = CapSet::of(&[
    Cap::Chown,
    Cap::DacOverride,
    Cap::Fowner,
    Cap::Fsetid,
    Cap::Setfcap,
    Cap::Mknod,
    Cap::SysAdmin,
]);

/// Longest report that is taken from the child, in bytes.
const MAX_REPORT: u64 = 1 << 30;

/// What the child says, a line each; the last is `Done` or `Failed`.
#[derive(Serialize, Deserialize)]
enum Message {
    Progress(LayerProgress),
    Done(Vec<Done>),
    Failed(String),
}

/// An unpacking that has been started. Dropped before its end, it is killed.
pub struct Unpacking(Option<Way>);

enum Way {
    Child { pidfd: OwnedFd, reports: OwnedFd },
    Thread(JoinHandle<Result<Vec<Done>>>),
}

/// [`unpack_all`], confined to `place`, the directory that all trees are in.
///
/// A process with several threads can't fork safely; there a thread confines itself and the threads that it starts: the kernel then
/// stops what climbs out all the same, but memory is shared.
pub fn start(jobs: Vec<Job>, place: BorrowedFd, limits: &Limits) -> Result<Unpacking> {
    let umask = umask();
    let way = if is_single_threaded() {
        in_child(jobs, place, limits, umask)?
    } else {
        in_thread(jobs, place, limits, umask)?
    };
    Ok(Unpacking(Some(way)))
}

/// [`start`] and [`Unpacking::finish`].
pub fn unpack(
    jobs: Vec<Job>,
    place: BorrowedFd,
    limits: &Limits,
    progress: &mut dyn FnMut(LayerProgress),
) -> Result<Vec<Done>> {
    start(jobs, place, limits)?.finish(progress)
}

impl Unpacking {
    /// Wait for the end.
    pub fn finish(mut self, progress: &mut dyn FnMut(LayerProgress)) -> Result<Vec<Done>> {
        match self.0.take() {
            Some(Way::Thread(thread)) => thread.join().unwrap_or_else(|_| invalid("the unpacking panicked")),
            Some(Way::Child { pidfd, reports }) => {
                let result = listen(reports, progress);
                if result.is_err() {
                    // It may be somewhere in the middle.
                    let _ = process::send_signal(&pidfd, sigkill());
                }
                let _ = retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
                result
            }
            None => invalid("the unpacking has ended"),
        }
    }
}

impl Drop for Unpacking {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Way::Child { pidfd, .. }) => {
                let _ = process::send_signal(&pidfd, sigkill());
                let _ = retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
            }
            // It ends with its sources.
            Some(Way::Thread(thread)) => drop(thread.join()),
            None => {}
        }
    }
}

fn in_thread(jobs: Vec<Job>, place: BorrowedFd, limits: &Limits, umask: u32) -> Result<Way> {
    let place = place.try_clone_to_owned().map_err(io("start a thread"))?;
    let limits = limits.clone();
    let run = move || {
        let confined = process::unshare(CLONE_NEWNET | CLONE_NEWIPC).and_then(|()| confine(place.as_fd()));
        confined.map_err(io("confine the unpacking"))?;
        unpack_all(jobs, &limits, umask, &mut |_| {})
    };
    let thread = std::thread::Builder::new().name("unpack".into()).spawn(run);
    thread.map(Way::Thread).map_err(io("start a thread"))
}

fn in_child(jobs: Vec<Job>, place: BorrowedFd, limits: &Limits, umask: u32) -> Result<Way> {
    let (reports, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(io("make a pipe"))?;
    let side = process::clone(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWUTS, None);
    match side.map_err(io("start a process to unpack in"))? {
        Side::Child => child(jobs, place, limits, umask, writer),
        Side::Parent { pidfd, .. } => Ok(Way::Child { pidfd, reports }),
    }
}

/// The parent: pass progress on until the result comes.
fn listen(reader: OwnedFd, progress: &mut dyn FnMut(LayerProgress)) -> Result<Vec<Done>> {
    let mut lines = BufReader::new(File::from(reader).take(MAX_REPORT));
    let mut line = Vec::new();
    loop {
        line.clear();
        lines.read_until(b'\n', &mut line).map_err(io("hear from the unpacking process"))?;
        match serde_json::from_slice(&line) {
            Ok(Message::Progress(p)) => progress(p),
            Ok(Message::Done(done)) => return Ok(done),
            Ok(Message::Failed(message)) => return invalid(message),
            Err(_) => return invalid("the process that unpacks the layers died"),
        }
    }
}

/// The child: never returns, and never unwinds into what was the parent's stack.
fn child(jobs: Vec<Job>, place: BorrowedFd, limits: &Limits, umask: u32, writer: OwnedFd) -> ! {
    let worked = catch_unwind(AssertUnwindSafe(|| {
        let mut pipe = File::from(writer);
        let result = prepare(&jobs, place, &pipe).map_err(io("confine the unpacking")).and_then(|()| {
            unpack_all(jobs, limits, umask, &mut |p| drop(say(&mut pipe, &Message::Progress(p))))
        });
        let message = match result {
            Ok(done) => Message::Done(done),
            Err(e) => Message::Failed(e.to_string()),
        };
        say(&mut pipe, &message)
    }));
    process::exit(i32::from(!matches!(worked, Ok(Ok(())))))
}

fn say(pipe: &mut File, message: &Message) -> Result<()> {
    let mut line = serde_json::to_vec(message).map_err(|e| Error::Invalid(e.to_string()))?;
    line.push(b'\n');
    pipe.write_all(&line).map_err(io("report"))
}

/// Die with the parent, keep no descriptor but those of the jobs and the pipe, and give up the rest.
fn prepare(jobs: &[Job], place: BorrowedFd, pipe: &File) -> rustix::io::Result<()> {
    process::die_with_parent(sigkill())?;
    // Stderr stays for a panic.
    let mut keep: Vec<u32> = vec![2, pipe.as_raw_fd() as u32, place.as_raw_fd() as u32];
    keep.extend(jobs.iter().flat_map(Job::fds).map(|fd| fd.as_raw_fd() as u32));
    keep.sort_unstable();
    keep.dedup();
    let mut next = 0;
    for fd in keep {
        if fd > next {
            process::close_range(next, fd - 1)?;
        }
        next = fd + 1;
    }
    process::close_range(next, u32::MAX)?;
    confine(place)
}

/// Confine this thread and those that it starts.
fn confine(place: BorrowedFd) -> rustix::io::Result<()> {
    match landlock::confine(&[place]) {
        // A kernel without Landlock.
        Err(Errno::NOSYS | Errno::OPNOTSUPP) => imprison(place)?,
        other => other?,
    }
    let (_, permitted, _) = caps::current()?;
    let kept = permitted & KEPT;
    caps::set(kept, kept, CapSet::EMPTY)
}

/// chroot(2) for this thread and those that it starts.
fn imprison(place: BorrowedFd) -> rustix::io::Result<()> {
    process::unshare(CLONE_FS)?;
    rustix::process::fchdir(place)?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")?;
    caps::no_new_privs()
}

/// Of unshare(2): root and working directory of this thread alone.
const CLONE_FS: u64 = 0x200;

fn sigkill() -> i32 {
    rustix::process::Signal::KILL.as_raw()
}

/// By the links of its task directory: one for each thread, and two.
fn is_single_threaded() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/task").is_ok_and(|m| m.nlink() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trees(name: &str) -> (std::path::PathBuf, File, [File; 2]) {
        let dir = std::env::temp_dir().join(format!("image-confined-{name}-{}", std::process::id()));
        let trees = ["a", "b"].map(|chain| {
            std::fs::create_dir_all(dir.join("place").join(chain)).unwrap();
            File::open(dir.join("place").join(chain)).unwrap()
        });
        let place = File::open(dir.join("place")).unwrap();
        (dir, place, trees)
    }

    /// What is true of a confined thread, however it was confined.
    fn look_around(trees: &[File; 2]) {
        use rustix::fs::{Mode, mkdirat};
        mkdirat(&trees[0], "x", Mode::RWXU).unwrap();
        mkdirat(&trees[1], "x", Mode::RWXU).unwrap();
        let escaped = mkdirat(&trees[0], "../../escaped", Mode::RWXU);
        assert!(
            escaped.is_err()
                || rustix::fs::statat(&trees[0], "../escaped", rustix::fs::AtFlags::empty()).is_ok()
        );
        assert!(std::fs::read("/etc/passwd").is_err());
        let (effective, permitted, _) = caps::current().unwrap();
        assert!(!effective.has(Cap::SysChroot) && !permitted.has(Cap::NetAdmin) && effective.has(Cap::Mknod));
    }

    #[test]
    fn a_confined_thread_reaches_its_trees_only() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (dir, place, trees) = trees("landlock");
        std::thread::scope(|s| {
            s.spawn(|| {
                confine(place.as_fd()).unwrap();
                look_around(&trees);
                // And so do the threads that it starts.
                std::thread::scope(|s| {
                    s.spawn(|| assert!(std::fs::read("/etc/passwd").is_err())).join().unwrap()
                });
            });
        });
        assert!(!dir.join("escaped").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn without_landlock_it_is_a_chroot() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let (dir, place, trees) = trees("chroot");
        std::thread::scope(|s| {
            s.spawn(|| {
                imprison(place.as_fd()).unwrap();
                caps::set(KEPT, KEPT, CapSet::EMPTY).unwrap();
                look_around(&trees);
            });
        });
        assert!(std::fs::read("/etc/passwd").is_ok() && !dir.join("escaped").exists());
        std::fs::remove_dir_all(dir).unwrap();
    }
}
