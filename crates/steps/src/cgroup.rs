//! Control groups: the directories that hold a container's processes to their share. See cgroups(7).

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Slot, Step, Text};
use kernel::bpf::DeviceRule;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// The parent of all containers' groups; kept when it is there, and when they are gone.
///
/// One that is there may be another's, or be made by a start of this very moment: it is completed when it lacks something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsureCgroup {
    pub path: Text,
    /// Files to write, such as `cgroup.subtree_control`; when the last has its value, all have.
    pub set: Vec<(Text, Text)>,
}

impl EnsureCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::mkdir(self.path.as_c(), Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            // Written again only when it must be: on v2 that waits for groups below that are just going.
            Err(Errno::EXIST) if self.set.last().is_none_or(|(file, value)| has(file, value)) => {
                return Ok(());
            }
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        for (file, value) in &self.set {
            write(file, value)?;
        }
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        let path = quote(self.path.as_str());
        let mut lines = vec![format!("[ -d {path} ] || mkdir {path}")];
        lines.extend(self.set.iter().map(|(file, value)| echo(file, value)));
        Shell::lines(lines, "the group above all containers", "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A group of the container's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MakeCgroup {
    pub path: Text,
}

impl MakeCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        match rustix::fs::mkdir(self.path.as_c(), Mode::from_raw_mode(0o755)) {
            // Left behind by a run that was killed: it is ours by its name.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("mkdir {}", quote(self.path.as_str())),
            "a control group for the container",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        Some(RemoveCgroup { path: self.path.clone() }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.path.as_str(), "control group");
    }
}

/// Removes a group whose first process is gone; what it left behind (with the host's process ids nothing dies with it) goes
/// too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveCgroup {
    pub path: Text,
}

impl RemoveCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        // A process that was just killed stays in its group for some moments.
        for attempt in 0..100u64 {
            match rustix::fs::rmdir(self.path.as_c()) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(Errno::BUSY) if attempt == 2 => kill_processes(self.path.as_str()),
                Err(Errno::BUSY) if attempt == 3 => remove_children(self.path.as_str()),
                Err(Errno::BUSY) => {}
                Err(e) => return Err(e.into()),
            }
            std::thread::sleep(std::time::Duration::from_micros(50 << attempt.min(9)));
        }
        Err(Failure::new(Errno::BUSY, "processes are still in it"))
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("rmdir {}", quote(self.path.as_str())),
            "the group has no process left",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// Ends all processes of a group and of those below: at once from Linux 5.14 on, one by one on v1.
fn kill_processes(path: &str) {
    if std::fs::write(format!("{path}/cgroup.kill"), "1").is_ok() {
        return;
    }
    let list = || std::fs::read_to_string(format!("{path}/cgroup.procs")).unwrap_or_default();
    for line in list().lines() {
        let Some(pid) = line.parse().ok().and_then(Pid::from_raw) else { continue };
        let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else { continue };
        // Still there while it is held: the number was not given to another meanwhile.
        if list().lines().any(|l| l == line) {
            let _ = pidfd_send_signal(&held, Signal::KILL);
        }
    }
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        kill_processes(&entry.path().to_string_lossy());
    }
}

/// Groups that the container made below its own, deepest first.
fn remove_children(path: &str) {
    let Ok(entries) = std::fs::read_dir(path) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_children(&entry.path().to_string_lossy());
        let _ = std::fs::remove_dir(entry.path());
    }
}

/// One value of one file, such as `memory.max`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetCgroup {
    pub file: Text,
    pub value: Text,
    /// The group may lack the file (a controller that is not enabled): then nothing is done.
    pub optional: bool,
}

impl SetCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        match write(&self.file, &self.value) {
            Err(failure) if self.optional && matches!(failure.errno, Errno::NOENT | Errno::OPNOTSUPP) => {
                Ok(())
            }
            other => other,
        }
    }

    pub fn shell(&self) -> Shell {
        let name = self.file.as_str().rsplit('/').next().unwrap_or_default();
        Shell::exact(echo(&self.file, &self.value), format!("{name} = {}", self.value), "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.file.as_str(), self.value.as_str());
    }
}

fn write(file: &Text, value: &Text) -> Outcome {
    let fd = rustix::fs::open(file.as_c(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(fd, value.as_bytes())?;
    Ok(())
}

/// Whether a file has all words of `value`, less the `+` by which controllers are given.
fn has(file: &Text, value: &Text) -> bool {
    let text = std::fs::read_to_string(file.as_str()).unwrap_or_default();
    let there = |word: &str| text.split_whitespace().any(|w| w == word.trim_start_matches('+'));
    value.as_str().split_whitespace().all(there)
}

fn echo(file: &Text, value: &Text) -> String {
    format!("echo {} >{}", quote(value.as_str()), quote(file.as_str()))
}

/// Which devices the group's processes may open: the device controller on v1, a program of eBPF on v2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterDevices {
    pub path: Text,
    pub v2: bool,
    /// The first that matches counts last, as in devices.list: later rules override earlier ones.
    pub rules: Vec<DeviceRule>,
}

impl FilterDevices {
    pub fn perform(&self, _: &Live) -> Outcome {
        let dir = rustix::fs::open(
            self.path.as_c(),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if self.v2 {
            return kernel::bpf::attach_device_filter(&dir, &self.rules).map_err(Failure::from);
        }
        for (file, line) in self.v1_lines() {
            let fd = rustix::fs::openat(&dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(fd, line.as_bytes())?;
        }
        Ok(())
    }

    fn v1_lines(&self) -> Vec<(&'static str, String)> {
        let file = |rule: &DeviceRule| if rule.allow { "devices.allow" } else { "devices.deny" };
        self.rules.iter().map(|rule| (file(rule), rule.v1_line())).collect()
    }

    pub fn shell(&self) -> Shell {
        let why = "only these devices may be opened";
        if self.v2 {
            let text: Vec<String> =
                self.v1_lines().iter().map(|(file, line)| format!("{file} {line}")).collect();
            return Shell::comment(format!("{why}: {}", text.join(", ")), "bpf(2)");
        }
        let path = quote(self.path.as_str());
        let lines = self
            .v1_lines()
            .iter()
            .map(|(file, line)| format!("echo {} >{path}/{file}", quote(line)))
            .collect();
        Shell::lines(lines, why, "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.path.as_str(), format!("{} device rules", self.rules.len()));
    }
}

/// Opens the way into a group, for a container that cannot reach it by name: `tasks` (v1) or the directory (v2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenCgroup {
    pub path: Text,
    pub slot: Slot,
    pub v2: bool,
}

impl OpenCgroup {
    pub fn perform(&self, live: &Live) -> Outcome {
        let flags = if self.v2 { OFlags::PATH | OFlags::DIRECTORY } else { OFlags::WRONLY };
        live.fill(self.slot, rustix::fs::open(self.path.as_c(), flags | OFlags::CLOEXEC, Mode::empty())?);
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::comment(format!("keep {} open: the container is put there", self.path), "open(2)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The container's process puts itself into a v1 group: cheaper than being put there, which takes a lock of all threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinCgroup {
    pub slot: Slot,
    /// For the shell: the group's `cgroup.procs`.
    pub procs: Text,
}

impl JoinCgroup {
    pub fn perform(&self, live: &Live) -> Outcome {
        rustix::io::write(live.fd(self.slot)?, b"0")?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(
            format!("echo 0 >{}", quote(self.procs.as_str())),
            "enter the control group",
            "cgroups(7)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// A cgroup namespace: the group that the process is in becomes the root that it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnshareCgroup {}

impl UnshareCgroup {
    pub fn perform(&self, _: &Live) -> Outcome {
        kernel::process::unshare(kernel::process::CLONE_NEWCGROUP).map_err(Failure::from)
    }

    pub fn shell(&self) -> Shell {
        Shell::wrap("unshare --cgroup", "its control group is the root that it sees", "cgroup_namespaces(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("namespace", "cgroup", "new");
    }
}
