//! The last step: the process becomes the container's program.

use crate::home::Home;
use crate::shell::{by_path, quote};
use crate::{Credentials, Failure, Live, Outcome, Slot, Text};
use kernel::caps::{Cap, CapSet};
use kernel::process::Strings;
use kernel::schedule::{self, BitSet};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{Access, AtFlags, CWD, FileType};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What the container's process becomes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Exec {
    pub credentials: Credentials,
    pub cwd: Text,
    /// With `init`: its own name and `--` first.
    pub argv: Strings,
    pub env: Strings,
    /// The user whose home in the container's `/etc/passwd` becomes `HOME`, which `env` lacks.
    pub home: Option<u32>,
    /// The paths to try in turn: the word itself when it has a slash, else one for each directory of `PATH`.
    pub candidates: Vec<Text>,
    /// The slave that becomes the controlling terminal and the three standard descriptors.
    pub terminal: Option<Slot>,
    /// A descriptor of a small init that runs the program and reaps orphans (`--init`).
    pub init: Option<Slot>,
    /// The host's proc, for labels.
    pub proc: Option<Slot>,
    pub affinity: Affinity,
}

/// On which processors.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Affinity {
    /// Those of whoever started the engine, as far as the container's group has them.
    #[default]
    Inherited,
    /// All that the container's group has.
    All(BitSet),
    Set(BitSet),
}

/// A program that was found, and the last that it needs.
pub struct Ready {
    /// Which of the candidates.
    program: usize,
    home: Option<Home>,
}

impl Exec {
    /// Rights, directory, all but the program itself, which may be waited with from here on: it is known to be there. Allocates
    /// nothing.
    pub fn prepare(&self, live: &Live) -> Result<Ready, Failure> {
        let c = &self.credentials;
        if let Some(slave) = self.terminal {
            take_terminal(live, slave)?;
        }
        own_standard_descriptors(c.uid)?;
        c.surround(live, self.proc)?;
        match &self.affinity {
            Affinity::Inherited => {}
            // Where even this is refused, nobody has asked for it.
            Affinity::All(cpus) => drop(schedule::set_affinity(0, cpus)),
            Affinity::Set(cpus) => {
                schedule::set_affinity(0, cpus).map_err(|e| Failure::new(e, "cpu affinity"))?;
            }
        }
        let home = self.home.map(Home::of);
        c.apply_limits()?;
        // As root, who may enter what its user may not; and once more as the user, where it is the other way round.
        let there = match rustix::process::chdir(self.cwd.as_c()) {
            Err(Errno::ACCESS | Errno::PERM) => false,
            other => other.map(|()| true).map_err(|e| Failure::new(e, WORKING_DIRECTORY))?,
        };
        c.apply()?;
        if !there {
            rustix::process::chdir(self.cwd.as_c()).map_err(|e| Failure::new(e, WORKING_DIRECTORY))?;
        }
        // After the root is changed, so that a descriptor of the host is not a directory (CVE-2024-21626).
        kernel::process::is_inside().map_err(|e| Failure::new(e, WORKING_DIRECTORY))?;
        let program = self.lookup()?;
        if c.notifies() {
            c.filter_with_listener(live)?;
        }
        Ok(Ready { program, home })
    }

    /// The program that runs, with `keep` descriptors behind the standard ones; returns only the reason why not. Allocates
    /// nothing.
    pub fn become_program(&self, live: &Live, ready: &Ready, keep: u32) -> Failure {
        let home = ready.home.as_ref().map(Home::as_c);
        let init = match self.init.map(|slot| live.fd(slot)).transpose() {
            Ok(init) => init,
            Err(e) => return Failure::new(e, "the init"),
        };
        // The kernel closes what is marked so only when the process has a memory of its own already, into which whoever
        // has the rights in the container may look (CVE-2016-9962, CVE-2024-21626). A filter with a listener may refuse it.
        let kept = [live.report.get(), init.map_or(-1, |init| init.as_raw_fd())];
        match kernel::process::close_all_but(3 + keep, kept) {
            Err(e) if !self.credentials.notifies() => return Failure::new(e, "close_range"),
            _ => {}
        }
        if init.is_some() {
            // A signal that comes before it listens would be lost: nothing stops a process 1 that has no handler.
            kernel::process::block_all_signals(true);
        }
        if let Err(failure) = self.credentials.finish() {
            return failure;
        }
        if let Some(init) = init {
            let errno = kernel::process::execveat_with(init, &self.argv, &self.env, home);
            return Failure::new(errno, "exec the init");
        }
        let Some(program) = self.candidates.get(ready.program) else {
            return Failure::new(Errno::NOENT, "exec");
        };
        Failure::new(kernel::process::execve_with(program.as_c(), &self.argv, &self.env, home), "exec")
    }

    /// As execvp(3): what is not there is passed over, what is there but may not run is remembered.
    fn lookup(&self) -> Result<usize, Failure> {
        if self.init.is_some() {
            // It looks for itself, and says how that ended.
            return Ok(0);
        }
        let mut answer = Errno::NOENT;
        for (index, path) in self.candidates.iter().enumerate() {
            match executable(path) {
                Ok(()) => return Ok(index),
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(e) => answer = e,
            }
        }
        Err(Failure::new(answer, "exec"))
    }

    /// Capabilities that the program has no right to, and that a script needs until just before it begins.
    fn lent(&self) -> CapSet {
        let c = &self.credentials;
        let root = if c.uid == 0 { CapSet::default() } else { CapSet::of(&[Cap::Setuid]) };
        let lacking = (root | Cap::SysChroot.into()) - c.bounding;
        if lacking.is_empty() { lacking } else { (lacking | Cap::Setpcap.into()) - c.bounding }
    }

    /// The command line that does the same.
    pub fn shell_line(&self) -> String {
        let env: Vec<String> = self.env.iter().map(quote).collect();
        let mut argv: Vec<String> = self.argv.iter().map(quote).collect();
        if let (Some(_), Some(name)) = (self.init, argv.first_mut()) {
            *name = format!("/proc/self/fd/{}", crate::memory::SHELL_FD);
        }
        let c = &self.credentials;
        let umask = c.umask.map_or(String::new(), |u| format!("umask {u:04o}; "));
        let lent = self.lent();
        let mut commands = c.commands(lent);
        if let Affinity::Set(cpus) = &self.affinity {
            commands.insert(0, by_path(&format!("taskset -c {cpus}")));
        }
        let home = match self.home {
            None => String::new(),
            Some(uid) => format!(" HOME=\"$(awk -F: '$3 == {uid} {{ print $6; exit }}' ./etc/passwd)\""),
        };
        // The user comes last: whoever is not root may not change the root.
        let user = if c.uid == 0 { String::new() } else { format!(" --setuid={}", c.uid) };
        let wd = quote(self.cwd.as_str());
        commands.push(match lent.is_empty() {
            true => format!("$(command -v unshare) --root=. --wd={wd}{user}"),
            false => {
                let numbers: Vec<String> = lent.iter().map(|cap| (cap as u8).to_string()).collect();
                by_path(&format!("perl -e '{}' {wd} {} {}", giving_back(), numbers.join(","), c.uid))
            }
        });
        let (env, commands, argv) = (env.join(" "), commands.join(" "), argv.join(" "));
        format!("{umask}exec env -i {env}{home} {commands} {argv}")
    }
}

/// unshare(1) changes the root and the user with the rights that the program gets. Where these are too few, Perl does it with some
/// that are lent, and gives them back.
fn giving_back() -> String {
    let prctl = if cfg!(target_arch = "x86_64") { 157 } else { 167 };
    format!(
        "chroot \".\" and chdir shift or die \"$!\\n\"; \
         for (split /,/, shift) {{ syscall({prctl}, 24, $_ + 0, 0, 0, 0) and die \"$!\\n\" }} \
         my $user = shift; ($<, $>) = ($user, $user) if $user; \
         exec {{ $ARGV[0] }} @ARGV; warn \"$ARGV[0]: $!\\n\"; exit 127"
    )
}

const WORKING_DIRECTORY: &str = "working directory";

/// Whether this process may run the file of that name.
fn executable(path: &Text) -> Result<(), Errno> {
    let mode = rustix::fs::statat(CWD, path.as_c(), AtFlags::empty())?.st_mode;
    if FileType::from_raw_mode(mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(CWD, path.as_c(), Access::EXEC_OK, AtFlags::EACCESS)
}

fn take_terminal(live: &Live, slave: Slot) -> Outcome {
    let slave = live.fd(slave)?;
    kernel::pty::take_terminal(slave).map_err(|e| Failure::new(e, "controlling terminal"))?;
    rustix::stdio::dup2_stdin(slave)?;
    rustix::stdio::dup2_stdout(slave)?;
    rustix::stdio::dup2_stderr(slave).map_err(Failure::from)
}

/// The program opens its standard descriptors again, by `/dev/stdout` say: they have to be its user's own. What cannot
/// be given to it stays as it is.
fn own_standard_descriptors(uid: u32) -> Outcome {
    // /dev/null is everybody's.
    let null = rustix::fs::makedev(1, 3);
    let own = |fd: BorrowedFd<'_>| {
        let stat = rustix::fs::fstat(fd)?;
        if stat.st_uid == uid || stat.st_rdev == null {
            return Ok(());
        }
        let answer = rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None);
        // Its owner is nobody inside; a file system that is read-only or knows no owners.
        let stays =
            matches!(answer, Err(Errno::PERM | Errno::ROFS | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS));
        if stays { Ok(()) } else { answer }
    };
    let failed = |e| Failure::new(e, "own its standard descriptors");
    for fd in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
        own(fd.as_fd()).map_err(failed)?;
    }
    Ok(())
}
