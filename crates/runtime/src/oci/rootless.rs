//! Containers of an ordinary user, without anybody's help. He may do nothing on the host that a plan begins with: so the
//! runtime itself goes into the user namespace that the file asks for, is root there, and makes the container inside.

use super::record::{Containers, Record, Status};
use super::{Bundle, ConfigError, Error, Result};
use kernel::process::{self, CLONE_NEWNS, CLONE_NEWUSER};
use oci_spec::runtime::LinuxNamespaceType;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::process::{getegid, geteuid};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;

/// Whether we are neither root nor in a user namespace that somebody made for us.
pub fn is_user() -> bool {
    !geteuid().is_root()
}

/// Makes the user namespace of the file and goes there; what is left of the file then asks for none. The caller has one
/// thread.
pub fn enter_new(bundle: &mut Bundle) -> Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    check(bundle, uid, gid)?;
    let failed = |what: &str, e: std::io::Error| Error::new(format!("cannot {what}: {e}"));
    process::unshare(CLONE_NEWUSER | CLONE_NEWNS)
        .map_err(|e| failed("make a user namespace as an ordinary user", e.into()))?;
    // Who could leave his groups would have the rights that they are denied. See user_namespaces(7).
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {uid} 1")),
        ("gid_map", format!("0 {gid} 1")),
    ];
    for (file, text) in maps {
        std::fs::write(format!("/proc/self/{file}"), text)
            .map_err(|e| failed(&format!("write {file}"), e))?;
    }
    if let Some(linux) = &mut bundle.config.linux {
        if let Some(spaces) = &mut linux.namespaces {
            spaces.retain(|n| n.typ() != LinuxNamespaceType::User);
        }
        (linux.uid_mappings, linux.gid_mappings) = (None, None);
    }
    Ok(())
}

/// Other ids than our own are given out by newuidmap(1) alone, and no other program is run here.
fn check(bundle: &Bundle, uid: u32, gid: u32) -> Result<()> {
    let linux = bundle.config.linux.clone().unwrap_or_default();
    let mut spaces = linux.namespaces.iter().flatten();
    let Some(user) = spaces.find(|n| n.typ() == LinuxNamespaceType::User) else {
        return Err(ConfigError::new("linux.namespaces", "an ordinary user needs a user namespace").into());
    };
    if user.path().as_ref().is_some_and(|path| !path.as_os_str().is_empty()) {
        return Err(ConfigError::new(
            "linux.namespaces",
            "an ordinary user needs a user namespace of its own",
        )
        .into());
    }
    let own = |id: u32| format!("an ordinary user can map one id, its own: 0 to {id}");
    for (field, maps, id) in
        [("linux.uidMappings", &linux.uid_mappings, uid), ("linux.gidMappings", &linux.gid_mappings, gid)]
    {
        match maps.as_deref().unwrap_or_default() {
            [one] if (one.container_id, one.host_id, one.size) == (Some(0), Some(id), 1) => {}
            _ => return Err(ConfigError::new(field, own(id)).into()),
        }
    }
    Ok(())
}

/// Goes to the user namespace of a container that [`enter_new`] made; answers its other namespaces, with their kinds, where
/// they cannot be had by its process.
pub fn enter(containers: &Containers, record: &Record) -> Result<Vec<(u64, OwnedFd)>> {
    let failed =
        |e: Errno| Error::new(format!("cannot enter the user namespace of container '{}': {e}", record.id));
    if containers.status(record) != Status::Created {
        let there = process::open_namespace(record.pid, "user").map_err(failed)?;
        process::set_namespace(there, CLONE_NEWUSER).map_err(failed)?;
        return Ok(Vec::new());
    }
    let kind = |fd: OwnedFd| process::namespace_kind(&fd).map(|kind| (kind, fd));
    let mut held = ask(containers, record)?
        .into_iter()
        .map(kind)
        .collect::<std::result::Result<Vec<_>, Errno>>()
        .map_err(failed)?;
    let user = held.iter().position(|(kind, _)| *kind == CLONE_NEWUSER).ok_or(Errno::BADF).map_err(failed)?;
    process::set_namespace(held.remove(user).1, CLONE_NEWUSER).map_err(failed)?;
    held.retain(|(_, fd)| !is_ours(fd));
    Ok(held)
}

/// The namespaces of a created container that are not ours.
pub fn others(containers: &Containers, record: &Record) -> Result<Vec<OwnedFd>> {
    let mut held = ask(containers, record)?;
    held.retain(|fd| !is_ours(fd));
    Ok(held)
}

/// The namespaces of a created container, the user namespace first, from its process: before the start it is one of the
/// runtime's, into which only the machine's root may look (CVE-2016-9962), so that its user cannot open them.
fn ask(containers: &Containers, record: &Record) -> Result<Vec<OwnedFd>> {
    let asked = || {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(containers.visit(&record.id))?)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(steps::KEPT))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0u8; 1];
        let mut text = [IoSliceMut::new(&mut byte)];
        rustix::net::recvmsg(&socket, &mut text, &mut rights, RecvFlags::CMSG_CLOEXEC)?;
        let mut fds = Vec::new();
        for message in rights.drain() {
            if let RecvAncillaryMessage::ScmRights(more) = message {
                fds.extend(more);
            }
        }
        Ok(fds)
    };
    asked().map_err(|e: Errno| Error::new(format!("cannot enter the created container '{}': {e}", record.id)))
}

/// Whether this process is in that namespace.
fn is_ours(fd: &OwnedFd) -> bool {
    let number = rustix::fs::fstat(fd).map(|stat| stat.st_ino);
    super::exec::KINDS.iter().any(|(kind, _)| {
        let own = rustix::fs::stat(format!("/proc/self/ns/{kind}")).map(|stat| stat.st_ino);
        own.is_ok() && own == number
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_cannot_have_is_named() {
        let of = |linux: serde_json::Value| {
            let text = serde_json::json!({ "ociVersion": "1.0.2", "linux": linux }).to_string();
            let bundle = Bundle { dir: "/".into(), config: super::super::parse(&text).unwrap(), text };
            check(&bundle, 1000, 100).map_err(|e| e.to_string())
        };
        let map =
            |host: u32, size: u32| serde_json::json!([{ "containerID": 0, "hostID": host, "size": size }]);
        let user = serde_json::json!([{ "type": "mount" }, { "type": "user" }]);
        let with = |uids, gids| {
            of(serde_json::json!({ "namespaces": user, "uidMappings": uids, "gidMappings": gids }))
        };
        assert_eq!(with(map(1000, 1), map(100, 1)), Ok(()));
        assert_eq!(
            with(map(1000, 2), map(100, 1)).unwrap_err(),
            "config.json: linux.uidMappings: an ordinary user can map one id, its own: 0 to 1000"
        );
        assert_eq!(
            with(map(1000, 1), map(1000, 1)).unwrap_err(),
            "config.json: linux.gidMappings: an ordinary user can map one id, its own: 0 to 100"
        );
        assert_eq!(
            of(serde_json::json!({ "namespaces": [{ "type": "mount" }] })).unwrap_err(),
            "config.json: linux.namespaces: an ordinary user needs a user namespace"
        );
    }
}
