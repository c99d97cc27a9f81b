//! `exec -d`: a process of its own is the program's parent, which learns how it ended, and tells it.
//!
//! Whoever joins a pid namespace from outside has its children there; they remain its own. Without a parent that stays, nobody would
//! hear of the program's end.

use crate::life::{READY, REPORT, quiet, say};
use crate::{Container, Engine, Error, Event, Result, group};
use kernel::memory;
use kernel::process::{self, Side};
use runtime::{Agent, Enter, Host, StartError, Stdio};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use rustix::process::{WaitId, WaitIdOptions, waitid};

/// Comes back when the program runs, or with why it does not. `end` is told when it has ended.
pub(super) fn start(
    engine: &Engine,
    container: &Container,
    enter: &Enter<'_>,
    agent: Agent<'_>,
    end: impl Fn(&Container) -> Event,
) -> Result<()> {
    let failed = |e: Errno| Error::io("cannot leave a program alone in", &container.name, e);
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    // Beside the monitors: it shall outlive the session that this command is typed in.
    let home = group::of_monitors(&Host::read());
    let forked = process::clone(0, home.as_ref().map(AsFd::as_fd)).or_else(|_| process::fork());
    match forked.map_err(failed)? {
        Side::Parent { .. } => {
            drop(theirs);
            answer(&ours).map_err(failed)?
        }
        Side::Child => {
            let _ = rustix::process::setsid();
            process::block_all_signals(true);
            process::default_signals();
            process::set_name(c"corten-exec");
            match begin(enter, agent) {
                Err(error) => {
                    let text = error.to_string();
                    let mut message = vec![error.exit_code().clamp(1, 255) as u8];
                    message.extend_from_slice(&text.as_bytes()[..text.len().min(REPORT - 1)]);
                    say(&theirs, &message);
                }
                Ok(program) => {
                    quiet();
                    say(&theirs, &[READY]);
                    let _ = process::close_all_but(3, [program.as_raw_fd(), -1]);
                    memory::give_back();
                    wait(&program, |code| {
                        engine.tell(&[end(&engine.now(container)).with("exitCode", code)]);
                    });
                }
            }
            process::exit(0)
        }
    }
}

/// What the new process says of the start.
fn answer(from: &OwnedFd) -> std::result::Result<Result<()>, Errno> {
    let mut buffer = [0u8; REPORT];
    let (n, _) = retry_on_intr(|| rustix::net::recv(from, &mut buffer[..], RecvFlags::empty()))?;
    let text = || String::from_utf8_lossy(&buffer[1..n]).into_owned();
    Ok(match buffer[0] {
        _ if n == 0 => Err(Error::Invalid("whoever was to run the program ended before it ran".to_owned())),
        READY => Ok(()),
        code => Err(StartError { message: text(), code: i32::from(code) }.into()),
    })
}

fn begin(enter: &Enter<'_>, agent: Agent<'_>) -> Result<OwnedFd> {
    let (read, write, errors) = (super::null()?, super::null()?, super::null()?);
    Ok(runtime::enter(enter, Stdio::Given([read, write, errors]), agent)?.pidfd)
}

/// Waits for the program's end. It is told before the program is reaped: the container's own end waits for that, and comes after it in
/// the journal.
fn wait(program: &OwnedFd, tell: impl FnOnce(i32)) {
    let wait = |how| retry_on_intr(|| waitid(WaitId::PidFd(program.as_fd()), WaitIdOptions::EXITED | how));
    if let Ok(Some(status)) = wait(WaitIdOptions::NOWAIT) {
        tell(status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)));
    }
    let _ = wait(WaitIdOptions::empty());
}
