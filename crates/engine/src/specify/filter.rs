//! The filter of system calls, and who answers those that it leaves to somebody.

use crate::{Container, Error, Result, Settings};
use kernel::caps::CapSet;
use kernel::seccomp::{self, Arch, Filter, Program, docker, profile};
use runtime::oci::Listener;
use rustix::fd::OwnedFd;
use steps::Credentials;

pub(crate) fn seccomp(s: &Settings, caps: CapSet, privileged: bool) -> Result<Option<Program>> {
    match s.security.seccomp.as_deref() {
        None if privileged || s.privileged => Ok(None),
        Some("unconfined") => Ok(None),
        None | Some("builtin") => Ok(Some(seccomp::default_program(caps))),
        Some(json) => {
            let (filter, _) = profile(json, caps)?;
            let too_long = |e| Error::Invalid(format!("seccomp profile: {e}"));
            seccomp::compile(&filter).map(Some).map_err(too_long)
        }
    }
}

/// A profile of the user's, and who answers the calls that it leaves to somebody.
fn profile(json: &str, caps: CapSet) -> Result<(Filter, Option<Listener>)> {
    let read = || {
        let profile = profile::read(json.as_bytes())?;
        let filter = profile.filter(Arch::NATIVE, caps, docker::kernel_version())?;
        let listener = runtime::oci::listener(&profile, &filter)?;
        Ok((filter, listener))
    };
    read().map_err(|e: profile::ProfileError| Error::Invalid(format!("seccomp profile: {e}")))
}

/// Told of the container's filter, if that has a listener: passes it on to the socket that the profile names.
pub(crate) fn agent(
    container: &Container,
    credentials: &Credentials,
    status: &'static str,
    init: Option<i32>,
) -> Result<Option<impl FnMut(i32, OwnedFd) -> std::result::Result<(), steps::Failure>>> {
    let json = container.settings.security.seccomp.as_deref().filter(|_| credentials.notifies());
    let Some(json) = json else { return Ok(None) };
    let Some(listener) = profile(json, credentials.bounding)?.1 else { return Ok(None) };
    let (id, name) = (container.id.clone(), container.name.clone());
    Ok(Some(move |pid: i32, fd: OwnedFd| {
        let state = serde_json::json!({
            "ociVersion": OCI_VERSION,
            "id": id,
            "status": status,
            "pid": init.unwrap_or(pid),
            "bundle": "",
            "annotations": { "name": name },
        });
        listener.announce(&fd, pid, OCI_VERSION, state)
    }))
}

/// Of the runtime specification whose documents are sent.
const OCI_VERSION: &str = "1.3.0";
