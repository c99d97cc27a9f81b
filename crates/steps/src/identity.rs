//! Who the container is: its range of user and group ids. See user_namespaces(7).

use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};
use serde::{Deserialize, Serialize};

/// `count` ids from `inside` on are those from `outside` on of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// Gives the user namespace its ids: `/proc/PID/uid_map` and `gid_map`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteIdMaps {
    pub uids: Vec<IdRange>,
    pub gids: Vec<IdRange>,
}

impl WriteIdMaps {
    pub fn perform(&self, live: &Live) -> Outcome {
        for (file, ranges) in [("gid_map", &self.gids), ("uid_map", &self.uids)] {
            kernel::process::write_proc(live.pid.get(), file, map_text(ranges).as_bytes())?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let line = |file: &str, ranges: &[IdRange]| {
            format!("printf '{}' >/proc/$PID/{file}", map_text(ranges).replace('\n', "\\n"))
        };
        let lines = vec![line("gid_map", &self.gids), line("uid_map", &self.uids)];
        Shell::lines(lines, "root inside is nobody outside", "user_namespaces(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        for range in &self.uids {
            picture.add(
                "identity",
                format!("uid {}", range.inside),
                format!("{} outside, {} ids", range.outside, range.count),
            );
        }
    }
}

/// A user namespace that nobody lives in, for a mapping of ids. It is held by the descriptor alone.
pub(crate) fn user_namespace(uids: &[IdRange], gids: &[IdRange]) -> Result<OwnedFd, Errno> {
    use kernel::process::{CLONE_NEWUSER, Side, clone, exit};
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (pid, pidfd) = match clone(CLONE_NEWUSER, None)? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => {
            drop(write);
            // Until the parent has what it wants, or is gone.
            let _ = rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut [0u8; 1]));
            exit(0)
        }
    };
    drop(read);
    let made = kernel::process::write_proc(pid, "gid_map", map_text(gids).as_bytes())
        .and_then(|()| kernel::process::write_proc(pid, "uid_map", map_text(uids).as_bytes()))
        .and_then(|()| kernel::process::open_namespace(pid, "user"));
    drop(write);
    let _ = rustix::io::retry_on_intr(|| {
        rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED,
        )
    });
    made
}

fn map_text(ranges: &[IdRange]) -> String {
    ranges.iter().map(|r| format!("{} {} {}\n", r.inside, r.outside, r.count)).collect()
}

/// The container's first process becomes root of its user namespace; the groups it was born with are dropped
/// (CVE-2022-36109).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BecomeRoot {}

impl BecomeRoot {
    pub fn perform(&self, _: &Live) -> Outcome {
        match set_thread_groups(&[]) {
            // Denied in the user namespace of somebody who may not leave his groups: nobody inside may.
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(e) => return Err(Failure::new(e, "setgroups")),
        }
        set_thread_gid(rustix::process::Gid::ROOT).map_err(|e| Failure::new(e, "setgid"))?;
        set_thread_uid(rustix::process::Uid::ROOT).map_err(|e| Failure::new(e, "setuid"))
    }

    pub fn shell(&self) -> Shell {
        Shell::wrap(
            "setpriv --reuid=0 --regid=0 --clear-groups",
            "root, of the container's own ids",
            "setuid(2)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Opens the host's own proc, through which the program is labelled when it is inside: no file there is the container's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenProc {
    pub slot: Slot,
}

impl OpenProc {
    pub fn perform(&self, live: &Live) -> Outcome {
        let proc = kernel::process::open_proc().map_err(|e| Failure::new(e, "open /proc"))?;
        live.fill(self.slot, proc);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment("the host's /proc, to write the program's label through", "proc(5)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// How soon the kernel's out-of-memory killer comes for the container: −1000 never, 1000 first. See proc_pid_oom_score_adj(5).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OomScore {
    pub adjust: i32,
}

impl OomScore {
    pub fn perform(&self, live: &Live) -> Outcome {
        kernel::process::write_proc(live.pid.get(), "oom_score_adj", self.adjust.to_string().as_bytes())
            .map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        let line = format!("echo {} >/proc/$PID/oom_score_adj", self.adjust);
        Shell::exact(line, "its rank for the out-of-memory killer", "proc_pid_oom_score_adj(5)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
