//! `linux.seccomp`: a filter for system calls, and who answers those that it does not judge itself.

use super::{Config, ConfigError};
use kernel::caps::CapSet;
use kernel::seccomp::profile::{Profile, ProfileError};
use kernel::seccomp::{self, Action, Arch, FLAG_NEW_LISTENER, Filter, Program};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use steps::Failure;

/// The socket of the supervisor of a container's filter. See seccomp_unotify(2).
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    pub path: String,
    /// Passed on as it is.
    pub metadata: String,
}

/// The filter, compiled; `None` when it lets everything pass.
pub fn seccomp(from: &Profile) -> Config<(Option<Program>, Option<Listener>)> {
    let wrong = |field: &str, why: String| ConfigError::new(format!("linux.seccomp.{field}"), why);
    let calls = from.syscalls.as_deref().unwrap_or_default();
    if from.default_action.is_empty() && calls.is_empty() {
        return Ok((None, None));
    }
    errno_fits("defaultErrnoRet", &from.default_action, from.default_errno_ret)?;
    for (index, call) in calls.iter().enumerate() {
        errno_fits(&format!("syscalls[{index}].errnoRet"), &call.action, call.errno_ret)?;
        if call.names.as_ref().is_none_or(Vec::is_empty) && call.name.is_none() {
            return Err(wrong(&format!("syscalls[{index}].names"), "names no system call".to_owned()));
        }
    }
    // What a profile of Docker's makes depend on capabilities is not of this format.
    let filter = from
        .filter(Arch::NATIVE, CapSet::ALL, seccomp::docker::kernel_version())
        .map_err(|e| join_fields(ConfigError::new("linux.seccomp", e)))?;
    if filter.default == Action::Allow && filter.rules.iter().all(|rule| rule.action == Action::Allow) {
        return Ok((None, None));
    }
    let listener = listener(from, &filter).map_err(|e| join_fields(ConfigError::new("linux.seccomp", e)))?;
    let program = seccomp::compile(&filter).map_err(|e| ConfigError::new("linux.seccomp", e))?;
    for bit in (0..32).map(|n| 1 << n).filter(|bit| program.flags & bit != 0) {
        if !seccomp::flag_supported(bit | program.flags & FLAG_NEW_LISTENER) {
            return Err(wrong("flags", format!("this kernel does not know the flag {bit:#x}")));
        }
    }
    Ok((Some(program), listener))
}

/// Who answers for the filter, and whether that can work.
pub fn listener(profile: &Profile, filter: &Filter) -> Result<Option<Listener>, ProfileError> {
    let wrong =
        |field: &str, what: &str| Err(ProfileError::Field { field: field.to_owned(), what: what.to_owned() });
    let metadata = profile.listener_metadata.clone().unwrap_or_default();
    let path = profile.listener_path.clone().unwrap_or_default();
    if path.is_empty() && !metadata.is_empty() {
        return wrong("listenerMetadata", "is given without listenerPath");
    }
    let mut notifying = filter.rules.iter().filter(|rule| rule.action == Action::Notify).peekable();
    if notifying.peek().is_none() {
        return Ok(None);
    }
    // The listener leaves the container by this call, before there is anybody to answer it.
    if notifying.any(|rule| rule.call.name() == "write") {
        return wrong("syscalls", "SCMP_ACT_NOTIFY cannot be used for write");
    }
    if path.is_empty() {
        return wrong("listenerPath", "is missing, and SCMP_ACT_NOTIFY is used");
    }
    Ok(Some(Listener { path, metadata }))
}

/// Only two actions have a number.
fn errno_fits(field: &str, action: &str, number: Option<u32>) -> Config<()> {
    let fits = matches!(action, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE");
    match number {
        Some(_) if !fits => Err(ConfigError::new(
            format!("linux.seccomp.{field}"),
            format!("is given, but {action} has none"),
        )),
        _ => Ok(()),
    }
}

/// The profile's errors begin with the field.
fn join_fields(error: ConfigError) -> ConfigError {
    match error.why.split_once(": ") {
        Some((field, why)) if !field.contains(' ') => {
            ConfigError::new(format!("{}.{field}", error.field), why)
        }
        _ => error,
    }
}

impl Listener {
    /// Sends the listener's descriptor, and who it is of: `state` is that of the container, `pid` the process. See the
    /// runtime specification, config-linux.md, "The Container Process State".
    pub fn announce(
        &self,
        fd: &OwnedFd,
        pid: i32,
        version: &str,
        state: serde_json::Value,
    ) -> Result<(), Failure> {
        let mut message = serde_json::json!({ "ociVersion": version, "fds": ["seccompFd"], "pid": pid });
        if !self.metadata.is_empty() {
            message["metadata"] = self.metadata.as_str().into();
        }
        message["state"] = state;
        let text = message.to_string();
        let failed = |e: Errno| Failure::new(e, "pass the seccomp listener to its agent");
        let address = rustix::net::SocketAddrUnix::new(self.path.as_str()).map_err(failed)?;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        rustix::net::connect(&socket, &address).map_err(failed)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = SendAncillaryBuffer::new(&mut space);
        let fds = [fd.as_fd()];
        rights.push(SendAncillaryMessage::ScmRights(&fds));
        let slice = [IoSlice::new(text.as_bytes())];
        let mut sent =
            rustix::net::sendmsg(&socket, &slice, &mut rights, SendFlags::NOSIGNAL).map_err(failed)?;
        while sent < text.len() {
            sent +=
                rustix::net::send(&socket, &text.as_bytes()[sent..], SendFlags::NOSIGNAL).map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::seccomp::{Call, FLAG_WAIT_KILLABLE_RECV};
    use serde_json::{Value, json};

    fn convert(profile: Value) -> Result<(Option<Program>, Option<Listener>), String> {
        let profile: Profile = serde_json::from_value(profile).map_err(|e| e.to_string())?;
        seccomp(&profile)
            .map_err(|e| e.to_string().trim_start_matches("config.json: linux.seccomp").to_owned())
    }

    fn with(call: Value) -> Value {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [call]})
    }

    fn answer(program: &Program, name: &str) -> Action {
        let nr = seccomp::Syscall::named(name).unwrap().number(Arch::NATIVE).unwrap();
        program.answer(&Call { nr, arch: Arch::NATIVE.audit(), ip: 0, args: [0; 6] })
    }

    #[test]
    fn profiles_that_let_everything_pass_are_none() {
        for profile in [
            json!({"defaultAction": ""}),
            json!({}),
            json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]}),
            with(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW"})),
        ] {
            assert_eq!(convert(profile.clone()), Ok((None, None)), "{profile}");
        }
    }

    #[test]
    fn every_action() {
        for (action, errno, expected) in [
            ("SCMP_ACT_KILL", None, Action::KillThread),
            ("SCMP_ACT_KILL_THREAD", None, Action::KillThread),
            ("SCMP_ACT_KILL_PROCESS", None, Action::KillProcess),
            ("SCMP_ACT_TRAP", None, Action::Trap(0)),
            ("SCMP_ACT_ERRNO", None, Action::Errno(1)),
            ("SCMP_ACT_ERRNO", Some(38), Action::Errno(38)),
            ("SCMP_ACT_TRACE", Some(7), Action::Trace(7)),
            ("SCMP_ACT_LOG", None, Action::Log),
        ] {
            let profile = with(json!({"names": ["mkdir", "no_such"], "action": action, "errnoRet": errno}));
            let (program, listener) = convert(profile).unwrap();
            assert_eq!(answer(program.as_ref().unwrap(), "mkdir"), expected, "{action}");
            assert_eq!((answer(&program.unwrap(), "read"), listener), (Action::Allow, None));
        }
    }

    #[test]
    fn notify_has_a_listener() {
        let mut profile = with(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
        profile["flags"] = json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"]);
        profile["listenerPath"] = "/run/agent".into();
        profile["listenerMetadata"] = "m".into();
        let (program, listener) = convert(profile.clone()).unwrap();
        assert_eq!(program.unwrap().flags, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV);
        assert_eq!(listener, Some(Listener { path: "/run/agent".into(), metadata: "m".into() }));
        // Not used, and so of no meaning.
        profile["syscalls"][0]["action"] = "SCMP_ACT_LOG".into();
        let (program, listener) = convert(profile).unwrap();
        assert_eq!((program.unwrap().flags, listener), (0, None));
    }

    #[test]
    fn errors_name_the_field() {
        let mut notify = with(json!({"names": ["mkdir", "write"], "action": "SCMP_ACT_NOTIFY"}));
        let mut cases = vec![
            (json!({"defaultAction": "X"}), ".defaultAction: unknown action 'X'"),
            (
                json!({"defaultAction": "SCMP_ACT_NOTIFY"}),
                ".defaultAction: SCMP_ACT_NOTIFY cannot be the default",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}),
                ".defaultErrnoRet: is given, but SCMP_ACT_ALLOW has none",
            ),
            (
                with(json!({"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1})),
                ".syscalls[0].errnoRet: is given, but SCMP_ACT_KILL has none",
            ),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_VAX"]}),
                ".architectures[0]: unknown architecture 'SCMP_ARCH_VAX'",
            ),
            (json!({"defaultAction": "SCMP_ACT_LOG", "flags": ["X"]}), ".flags[0]: unknown flag 'X'"),
            (
                json!({"defaultAction": "SCMP_ACT_LOG", "listenerMetadata": "m"}),
                ".listenerMetadata: is given without listenerPath",
            ),
            (notify.clone(), ".syscalls: SCMP_ACT_NOTIFY cannot be used for write"),
        ];
        notify["syscalls"][0]["names"] = json!(["mkdir"]);
        cases.push((notify, ".listenerPath: is missing, and SCMP_ACT_NOTIFY is used"));
        for (profile, expected) in cases {
            assert_eq!(convert(profile.clone()).unwrap_err(), expected, "{profile}");
        }
    }

    #[test]
    fn the_agent_gets_the_descriptor_and_the_state() {
        let path = std::env::temp_dir().join(format!("corten-agent-{}", std::process::id()));
        let agent = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let listener = Listener { path: path.display().to_string(), metadata: "m".into() };
        let (mut reader, writer) = std::io::pipe().unwrap();
        let long = "x".repeat(100_000);
        let state = json!({"id": "web", "bundle": long});
        let sender =
            std::thread::spawn(move || listener.announce(&writer.into(), 7, "1.3.0", state).unwrap());
        let mut stream = agent.accept().unwrap().0;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut rights = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let mut first = [0u8; 10];
        let flags = rustix::net::RecvFlags::empty();
        rustix::net::recvmsg(&stream, &mut [std::io::IoSliceMut::new(&mut first)], &mut rights, flags)
            .unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut stream, &mut rest).unwrap();
        sender.join().unwrap();
        let text = String::from_utf8(first.to_vec()).unwrap() + &rest;
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(
            (&message["pid"], &message["metadata"], &message["ociVersion"]),
            (&7.into(), &"m".into(), &"1.3.0".into())
        );
        assert_eq!(message["state"]["bundle"], long);
        for message in rights.drain() {
            if let rustix::net::RecvAncillaryMessage::ScmRights(mut fds) = message {
                rustix::io::write(fds.next().unwrap(), b"got it").unwrap();
            }
        }
        let mut got = String::new();
        std::io::Read::read_to_string(&mut reader, &mut got).unwrap();
        assert_eq!(got, "got it");
        std::fs::remove_file(&path).unwrap();
    }
}
