//! Holding a container's processes still for a while.

use crate::{Container, Engine, Error, Event, Result, State, group};
use runtime::{GroupPaths, Host};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::{Journal, Shell, WriteFile, quote};

/// The processes of a container, standing still as long as this lives.
pub(crate) struct Frozen {
    groups: GroupPaths,
    /// The group of v1's freezer that was made for this: containers have none without need.
    made: Option<PathBuf>,
    /// The top of its hierarchy.
    top: PathBuf,
}

impl Frozen {
    /// `journal`: of the container's run.
    pub fn new(container: &Container, journal: &mut Journal) -> Result<Frozen> {
        let failed = |cause: String| Error::Invalid(format!("cannot pause {}: {cause}", container.name));
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        let mut frozen = Frozen { groups, made: None, top: PathBuf::new() };
        if let Some(path) = frozen.groups.of("freezer").map(runtime::GroupPath::dir).map(PathBuf::from) {
            frozen.top = frozen.groups.of("freezer").map(|p| p.mount.clone().into()).unwrap_or_default();
            if !path.is_dir() {
                // Its end takes the group away where we are killed.
                let group = path.to_string_lossy().as_ref().into();
                journal.note(&steps::MakeCgroup { path: group }.into()).map_err(|e| failed(e.to_string()))?;
                std::fs::create_dir_all(&path).map_err(|e| failed(e.to_string()))?;
                frozen.made = Some(path.clone());
                frozen.enroll(&path).map_err(|e| failed(e.to_string()))?;
            }
        }
        runtime::group::freeze(&frozen.groups).map_err(|e| failed(e.to_string()))?;
        Ok(frozen)
    }

    /// Brings all processes into the new group; those born meanwhile, too.
    fn enroll(&self, freezer: &Path) -> std::io::Result<()> {
        let other = |dir: &PathBuf| dir != freezer && dir.is_dir();
        let Some(dir) = self.groups.dirs().map(PathBuf::from).find(other) else { return Ok(()) };
        for _ in 0..1000 {
            let there = processes(freezer);
            let missing: Vec<i32> = processes(&dir).difference(&there).copied().collect();
            if missing.is_empty() {
                return Ok(());
            }
            for pid in missing {
                match std::fs::write(freezer.join("cgroup.procs"), pid.to_string()) {
                    // Gone already.
                    Err(e) if e.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                    other => other?,
                }
            }
        }
        Err(std::io::Error::other("its processes multiply too fast"))
    }
}

impl Engine {
    /// Lets all processes of a container stand still.
    pub fn pause(&self, container: &Container) -> Result<()> {
        match self.state(container)? {
            State::Running { paused: false, .. } => {}
            State::Running { .. } => {
                return Err(Error::Invalid(format!("Container {} is already paused", container.name)));
            }
            _ => return Err(Error::NotRunning(container.id.clone())),
        }
        let run = self.run_directory(container);
        let note = run.join("paused");
        let failed = |e: std::io::Error| Error::io("cannot pause", &container.name, e);
        // What an end or the next start takes back.
        let mut journal = Journal::open(&run.join("journal")).map_err(failed)?;
        let mark = WriteFile { path: note.into(), content: String::new(), mode: 0o600, owner: None };
        let mark: steps::Step = mark.into();
        journal.note(&mark).map_err(failed)?;
        mark.perform(&steps::Live::new(0)).map_err(|f| failed(f.errno.into()))?;
        match Frozen::new(container, &mut journal) {
            Ok(frozen) => {
                std::mem::forget(frozen);
                self.tell(&[Event::of(container, "pause")]);
            }
            Err(error) => {
                let _ = std::fs::remove_file(run.join("paused"));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets them go on.
    pub fn unpause(&self, container: &Container) -> Result<()> {
        match self.state(container)? {
            State::Running { paused: true, .. } => {}
            State::Running { .. } => {
                return Err(Error::Invalid(format!("Container {} is not paused", container.name)));
            }
            _ => return Err(Error::NotRunning(container.id.clone())),
        }
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        runtime::group::thaw(&groups)
            .map_err(|e| Error::Invalid(format!("cannot unpause {}: {e}", container.name)))?;
        let _ = std::fs::remove_file(self.run_directory(container).join("paused"));
        self.tell(&[Event::of(container, "unpause")]);
        Ok(())
    }

    /// The same as commands; nothing is done.
    pub fn pause_by_hand(&self, container: &Container) -> Result<Vec<Shell>> {
        if !matches!(self.state(container)?, State::Running { paused: false, .. }) {
            return Err(Error::Invalid(format!(
                "Container {} does not run, or is paused already",
                container.name
            )));
        }
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        let mut all = Vec::new();
        let v1 = groups.of("freezer").filter(|path| !path.is_v2()).map(runtime::GroupPath::dir);
        if let Some(dir) = v1.as_ref().filter(|dir| !Path::new(dir).is_dir()) {
            let other =
                groups.dirs().find(|other| other != dir && Path::new(other).is_dir()).unwrap_or_default();
            let made: steps::Step = steps::MakeCgroup { path: dir.as_str().into() }.into();
            let journal = quote(&self.run_directory(container).join("journal").display().to_string());
            let undo = made.undo().map(|undo| serde_json::to_string(&undo).unwrap_or_default());
            let lines = vec![
                format!("echo {} >>{journal}", quote(&undo.unwrap_or_default())),
                format!("mkdir -p {dir}"),
                format!("for p in $(cat {other}/cgroup.procs); do echo $p >{dir}/cgroup.procs; done"),
            ];
            all.push(Shell::lines(
                lines,
                "a group that can be frozen, with all processes of the container",
                "cgroups(7)",
            ));
        }
        all.push(freezer(&groups, v1, true));
        let note = quote(&self.run_directory(container).join("paused").display().to_string());
        all.push(Shell::exact(format!("touch {note}"), "noted for others", "touch(1)"));
        Ok(all)
    }

    pub fn unpause_by_hand(&self, container: &Container) -> Result<Vec<Shell>> {
        if !matches!(self.state(container)?, State::Running { paused: true, .. }) {
            return Err(Error::Invalid(format!("Container {} is not paused", container.name)));
        }
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        let v1 = groups.of("freezer").filter(|path| !path.is_v2()).map(runtime::GroupPath::dir);
        let note = quote(&self.run_directory(container).join("paused").display().to_string());
        Ok(vec![
            freezer(&groups, v1, false),
            Shell::exact(format!("rm -f {note}"), "noted for others", "rm(1)"),
        ])
    }

    /// The same for one that may not be paused, or was by somebody who was killed.
    pub(crate) fn thaw(&self, container: &Container) {
        if self.is_paused(container) {
            let _ = self.unpause(container);
        } else if self.is_forgotten(container) {
            let _ = self.let_go_on(container);
        }
    }

    /// Whether its processes stand still, though nobody has paused it and nobody is looking at it: who did was killed.
    pub(crate) fn is_forgotten(&self, container: &Container) -> bool {
        let free = || Journal::open(&self.run_directory(container).join("journal"))?.try_lock();
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        !self.is_paused(container)
            && runtime::group::is_frozen(&groups).unwrap_or_default()
            && free().unwrap_or_default()
    }

    /// Lets its processes go on, whoever stopped them.
    pub(crate) fn let_go_on(&self, container: &Container) -> std::io::Result<()> {
        let groups = GroupPaths::everywhere(&group::of(container), &Host::read());
        runtime::group::thaw(&groups).map_err(|e| std::io::Error::other(e.to_string()))
    }

    pub(crate) fn is_paused(&self, container: &Container) -> bool {
        self.run_directory(container).join("paused").exists()
    }
}

fn freezer(groups: &GroupPaths, v1: Option<String>, freeze: bool) -> Shell {
    let line = match (v1, groups.unified()) {
        (Some(dir), _) => format!("echo {} >{dir}/freezer.state", if freeze { "FROZEN" } else { "THAWED" }),
        (None, Some(path)) => format!("echo {} >{}/cgroup.freeze", u8::from(freeze), path.dir()),
        (None, None) => return Shell::comment("there is no group that could be frozen", "cgroups(7)"),
    };
    let why = if freeze { "no process of it runs until it is thawed" } else { "its processes go on" };
    Shell::exact(line, why, "cgroups(7)")
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = runtime::group::thaw(&self.groups);
        let Some(made) = &self.made else { return };
        for _ in 0..200 {
            for pid in processes(made) {
                let _ = std::fs::write(self.top.join("cgroup.procs"), pid.to_string());
            }
            if std::fs::remove_dir(made).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        // The parent, if nobody else is in it.
        if let Some(parent) = made.parent().filter(|parent| *parent != self.top) {
            let _ = std::fs::remove_dir(parent);
        }
    }
}

/// Of a group and of those below it.
fn processes(dir: &Path) -> BTreeSet<i32> {
    let text = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut all: BTreeSet<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            all.append(&mut processes(&entry.path()));
        }
    }
    all
}
