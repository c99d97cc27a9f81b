//! The engine's own binary, out of the reach of containers without a user namespace (rule R4).

use crate::{Container, Engine, Error, Result, Settings, Share};
use kernel::mount::{self, Attr};
use kernel::process::{Strings, execveat, set_name};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::os::unix::ffi::OsStringExt;

const PROGRAM: &std::ffi::CStr = c"/proc/self/exe";

/// Runs this process's program again, from the start, as a read-only copy of its own mount; returns at once in the
/// process that this made.
///
/// Root in a container without a user namespace is root of the host's files. It has no path to the engine's binary, but
/// `/proc/PID/exe` of a process that is about to become the container's program leads to it (CVE-2019-5736), past all
/// mounts and past the text that is busy only while it runs. What is read-only by its mount stays so. With a user
/// namespace nobody inside owns the file.
///
/// To be called before anything has been done that would be done again.
pub fn seal() -> Result<()> {
    let failed = |e: Errno| Error::io("cannot keep containers from the engine's binary", "/proc/self/exe", e);
    if sealed().map_err(failed)? {
        // Some kernels name a process after the number of the descriptor that it was run from.
        set_name(c"corten");
        return Ok(());
    }
    let program = mount::open_tree(PROGRAM, false).map_err(failed)?;
    mount::set_attr(&program, &Attr { read_only: true, ..Attr::default() }, false).map_err(failed)?;
    Err(again(program, failed))
}

/// Runs a copy of this program with our own words; comes back only with an error.
fn again(program: OwnedFd, failed: impl Fn(Errno) -> Error) -> Error {
    let argv = Strings::new(std::env::args_os().map(OsStringExt::into_vec));
    let env = Strings::new(std::env::vars_os().map(|(name, value)| {
        let mut text = name.into_vec();
        text.push(b'=');
        text.extend(value.into_vec());
        text
    }));
    failed(execveat(program, &argv, &env))
}

/// [`seal`] for an ordinary user, who may copy no mount. If the binary is the user's own, so it is for the root of the user's
/// containers: then this process goes on as a sealed copy in memory. See memfd_create(2).
pub fn seal_as_user() -> Result<()> {
    use rustix::fs::{MemfdFlags, SealFlags};
    let failed = |e: Errno| Error::io("cannot keep containers from the engine's binary", "/proc/self/exe", e);
    let program =
        rustix::fs::open(PROGRAM, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let owner = rustix::fs::fstat(&program).map_err(failed)?.st_uid;
    if owner != rustix::process::geteuid().as_raw() || sealed().map_err(failed)? {
        return Ok(());
    }
    if rustix::fs::fcntl_get_seals(&program).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        set_name(c"corten");
        return Ok(());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(c"corten", flags).map_err(failed)?;
    let mut copy = std::fs::File::from(copy);
    std::io::copy(&mut std::fs::File::from(program), &mut copy)
        .map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    let all = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, all).map_err(failed)?;
    Err(again(copy.into(), failed))
}

fn sealed() -> std::result::Result<bool, Errno> {
    Ok(rustix::fs::statvfs(PROGRAM)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// No container that could write the engine's binary is started or entered from one that can be written (rule R15).
pub(crate) fn check(container: &Container) -> Result<()> {
    if container.id_base != 0 || sealed().unwrap_or(false) {
        return Ok(());
    }
    Err(Error::Invalid(format!("the engine's binary can be written from the container '{}'", container.name)))
}

impl Engine {
    /// Whether a container of these settings has the host's own ids: then [`seal`] comes first.
    pub fn has_host_ids(&self, settings: &Settings) -> Result<bool> {
        Ok(settings.userns == Share::Host || self.shared_ids(settings)? == Some(0))
    }
}
