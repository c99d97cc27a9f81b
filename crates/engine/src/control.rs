//! Stop, kill, wait, remove, rename, and taking the engine's own things down.

use crate::attach::Connection;
use crate::logs::LogQuery;
use crate::stuck::wait_for_end;
use crate::{Container, Engine, Error, Event, Result, State};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::io::Write;
use steps::Shell;

impl Engine {
    /// A hand on the container's first process; `None` when it does not run.
    pub(crate) fn handle(&self, container: &Container) -> Result<Option<(i32, OwnedFd)>> {
        let State::Running { pid, start_ticks, .. } = self.state(container)? else { return Ok(None) };
        let Some(raw) = Pid::from_raw(pid) else { return Ok(None) };
        let pidfd = match pidfd_open(raw, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            pidfd => pidfd.map_err(|e| Error::io("cannot get hold of", &container.name, e))?,
        };
        // Looked at after it is held: the number cannot have changed its owner since.
        Ok((kernel::process::start_ticks(pid) == Some(start_ticks)).then_some((pid, pidfd)))
    }

    /// Sends a signal to the first process; after KILL, the container has ended when this returns.
    ///
    /// Errors: it does not run; it was killed and does not end, because a process of it waits in the kernel.
    pub fn kill(&self, container: &Container, signal: i32) -> Result<()> {
        if is_end(container, signal) && self.hold_back(container)? {
            return Ok(());
        }
        self.send(container, signal)
    }

    /// The same, without a word to its restart policy.
    fn send(&self, container: &Container, signal: i32) -> Result<()> {
        let Some((pid, pidfd)) = self.handle(container)? else {
            return Err(Error::NotRunning(container.id.clone()));
        };
        let waiter = if signal == Signal::KILL.as_raw() { self.waiter(container) } else { None };
        // Before the signal: what comes of it comes after it.
        self.tell(&[Event::of(container, "kill").with("signal", signal)]);
        kernel::process::send_signal(&pidfd, signal).map_err(|e| match e {
            rustix::io::Errno::SRCH => Error::NotRunning(container.id.clone()),
            e => Error::io("cannot signal", &container.name, e),
        })?;
        if is_end(container, signal) {
            // Who stands still does not end.
            self.thaw(container);
        }
        if signal == Signal::KILL.as_raw() {
            wait_for_end(container, pid, &pidfd)?;
            self.settle(container, waiter);
        }
        Ok(())
    }

    /// A connection to the monitor of a running container.
    pub fn attach(&self, container: &Container) -> Result<Connection> {
        Ok(Connection::connect(&self.run_directory(container).join("attach.sock"))?)
    }

    /// A connection that learns of the container's end.
    fn waiter(&self, container: &Container) -> Option<Connection> {
        Connection::connect(&self.run_directory(container).join("attach.sock")).ok()
    }

    /// Asks it to end, waits `timeout` seconds (−1: for ever), then kills it. One that does not run is stopped already.
    /// `note` hears why it will have to wait, when that is known.
    pub fn stop(&self, container: &Container, timeout: Option<i64>, note: &dyn Fn(&str)) -> Result<()> {
        if self.hold_back(container)? {
            return Ok(());
        }
        let Some((pid, pidfd)) = self.handle(container)? else { return Ok(()) };
        let waiter = self.waiter(container);
        let signal = crate::signal::number(&container.settings.stop_signal).unwrap_or(15);
        let seconds = timeout.or(container.settings.stop_timeout).unwrap_or(10);
        if seconds != 0
            && let Some(why) = deafness(container, pid, signal)
        {
            note(&match seconds {
                0.. => format!("note: {why}; it is killed in {seconds} s"),
                _ => format!("note: {why}"),
            });
        }
        match self.kill(container, signal) {
            // One that ended just now is as good.
            Ok(()) | Err(Error::NotRunning(_)) => {}
            Err(error) => return Err(error),
        }
        self.thaw(container);
        if !ended(&pidfd, seconds) {
            self.tell(&[Event::of(container, "kill").with("signal", Signal::KILL.as_raw())]);
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            wait_for_end(container, pid, &pidfd)?;
        }
        self.settle(container, waiter);
        self.tell(&[Event::of(container, "stop")]);
        Ok(())
    }

    /// Keeps its restart policy from starting it again. `true`: it was in the pause between two lives, and has ended. A pause that was over
    /// before it could be ended is the next life, which runs.
    fn hold_back(&self, container: &Container) -> Result<bool> {
        self.set_stopped(container, true)?;
        match self.state(container) {
            Ok(State::Restarting { .. }) => self.end_pause(container),
            _ => Ok(false),
        }
    }

    /// Waits until the monitor has put everything away.
    fn settle(&self, container: &Container, waiter: Option<Connection>) {
        if waiter.is_some_and(|waiter| waiter.wait().is_ok()) {
            return;
        }
        // The monitor was killed, and may still be ending.
        for _ in 0..2000 {
            match self.state(container) {
                Ok(State::Running { .. }) => std::thread::sleep(std::time::Duration::from_millis(1)),
                _ => return,
            }
        }
    }

    /// Waits for its end and answers its exit code.
    pub fn wait(&self, container: &Container) -> Result<i32> {
        match self.state(container)? {
            State::Exited { code, .. } => Ok(code),
            State::Created => Ok(0),
            State::Restarting { .. } => {
                std::thread::sleep(std::time::Duration::from_millis(20));
                self.wait(container)
            }
            State::Running { .. } => {
                let monitor = Connection::connect(&self.run_directory(container).join("attach.sock"));
                let error = match monitor.and_then(Connection::wait) {
                    Ok(code) => {
                        return match self.state(container) {
                            Ok(State::Restarting { .. }) => self.wait(container),
                            Err(e) if !e.is_not_found() => Err(e),
                            _ => Ok(code),
                        };
                    }
                    Err(error) => error,
                };
                // It ended just now: its monitor puts it away and hears nobody any more.
                self.settle(container, None);
                match self.state(container)? {
                    State::Exited { code, .. } => Ok(code),
                    _ => Err(error.into()),
                }
            }
        }
    }

    /// Waits for the end of the life that it has now, whatever comes after it.
    pub fn wait_once(&self, container: &Container) -> Result<i32> {
        match self.attach(container).and_then(|monitor| Ok(monitor.wait()?)) {
            Ok(code) => Ok(code),
            Err(_) => {
                self.settle(container, None);
                match self.state(container) {
                    Ok(State::Exited { code, .. } | State::Restarting { code, .. }) => Ok(code),
                    Err(e) if !e.is_not_found() => Err(e),
                    _ => Ok(0),
                }
            }
        }
    }

    /// Removes it, and with `volumes` its anonymous ones; a running one only by `force`, which kills it.
    pub fn remove(&self, container: &Container, force: bool, volumes: bool) -> Result<()> {
        if force {
            // Where there is no room for the note, its end will do: what is removed is not started again.
            let _ = self.set_stopped(container, true);
        }
        if matches!(self.state(container)?, State::Restarting { .. }) {
            if !force {
                return Err(Error::Running(container.name.clone()));
            }
            self.end_pause(container)?;
        }
        if self.handle(container)?.is_some() {
            if !force {
                return Err(Error::Running(container.name.clone()));
            }
            match self.send(container, Signal::KILL.as_raw()) {
                // One that ended just now is as good.
                Ok(()) | Err(Error::NotRunning(_)) => {}
                Err(_) if self.handle(container)?.is_none() => {}
                Err(error) => return Err(error),
            }
        } else if self.runs(container)? {
            // It has ended, and its monitor is putting things away: the last of them into what is to be removed.
            let waiter = self.waiter(container);
            self.settle(container, waiter);
        }
        let run = self.run_directory(container);
        let journal = run.join("journal");
        steps::Journal::replay(&journal).map_err(|e| Error::io("cannot replay", &journal, e))?;
        self.remove_run(container);
        let there = self.directory(container).exists();
        let removed = self.discard(container, volumes);
        if there {
            self.tell(&[Event::of(container, "destroy")]);
        }
        removed
    }

    /// The file that is written.
    pub(crate) fn log_path(&self, container: &Container) -> std::path::PathBuf {
        self.directory(container).join(crate::logs::file(&container.settings))
    }

    /// Writes its log to the two streams, in the way that `query` asks for.
    pub fn logs(
        &self,
        container: &Container,
        query: &LogQuery,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> Result<()> {
        let path = self.log_path(container);
        if !path.exists() && !query.follow {
            return Ok(());
        }
        // To be unable to know whether it runs is not to know that it has ended.
        let failed = std::cell::Cell::new(None);
        let alive = || match self.runs(container) {
            Ok(runs) => runs,
            Err(e) => {
                failed.set(Some(e));
                false
            }
        };
        crate::logs::read(&path, query, out, err, &alive).map_err(|e| Error::io("cannot read", &path, e))?;
        failed.take().map_or(Ok(()), Err)
    }

    /// Whether it has a life now. One that is not there has none.
    fn runs(&self, container: &Container) -> Result<bool> {
        match self.state(container) {
            Ok(state) => Ok(matches!(state, State::Running { .. })),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives a container another name.
    pub fn rename(&self, container: &Container, name: &str) -> Result<()> {
        if name == container.name {
            return Err(Error::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let names = self.root.join("names");
        let path = names.join(name);
        // The file stays the one that claims the ids, see `Engine::release_ids`.
        std::fs::hard_link(names.join(&container.name), &path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let id = std::fs::read_link(&path).map(|p| p.display().to_string()).unwrap_or_default();
                Error::NameInUse { name: name.to_owned(), id }
            }
            _ => Error::io("cannot claim the name", &path, e),
        })?;
        let lock = self.lock_container(container)?;
        let renamed = Container { name: name.to_owned(), ..self.read(&container.id)? };
        self.write_config(&renamed)?;
        drop(lock);
        let _ = std::fs::remove_file(names.join(&container.name));
        self.tell(&[Event::of(&renamed, "rename").with("oldName", format!("/{}", container.name))]);
        Ok(())
    }

    /// What is to be said when whoever was attached has left by `signal` and the container goes on; `None` when it does not.
    pub fn goes_on(&self, container: &Container, signal: i32) -> Option<String> {
        let Ok(State::Running { pid, .. }) = self.state(container) else { return None };
        let why = deafness(container, pid, signal).map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("note: '{0}' goes on, 'stop {0}' ends it{why}", container.name))
    }

    /// Whether anything is there that [`Engine::down`] takes down.
    pub fn is_up(&self) -> Result<bool> {
        let has_link = |link: &str| kernel::netlink::route::link_index(link).is_ok();
        Ok(self.networks().list()?.iter().any(|network| has_link(&network.link)) || crate::group::is_there())
    }

    /// Takes down what is kept for all containers: bridge, firewall table, parent cgroups. Only when none runs.
    pub fn down(&self) -> Result<()> {
        if let Some((container, _)) =
            self.list()?.iter().find(|(_, s)| matches!(s, State::Running { .. } | State::Restarting { .. }))
        {
            return Err(Error::Invalid(format!("container {} is running: stop it first", container.name)));
        }
        let networks = self.networks().list()?;
        for network in &networks {
            network::remove::table(&network.table)?;
            network::remove::from_others(network)?;
            network::remove::bridge(network)?;
        }
        crate::group::remove();
        Ok(())
    }
}

/// Whether a signal is to end the container: then its restart policy has nothing to say.
fn is_end(container: &Container, signal: i32) -> bool {
    let stop = crate::signal::number(&container.settings.stop_signal).unwrap_or(15);
    signal == Signal::KILL.as_raw() || signal == stop
}

/// The same as commands; nothing is done.
impl Engine {
    pub fn kill_by_hand(&self, container: &Container, signal: i32) -> Result<Vec<Shell>> {
        let Some((pid, _)) = self.handle(container)? else {
            return Err(Error::NotRunning(container.id.clone()));
        };
        let mut all = vec![send(pid, signal, "its first process gets the signal")];
        if signal == Signal::KILL.as_raw() {
            all.extend(self.end_by_hand(container)?);
        }
        Ok(all)
    }

    pub fn stop_by_hand(&self, container: &Container, timeout: Option<i64>) -> Result<Vec<Shell>> {
        let Some((pid, _)) = self.handle(container)? else {
            return Ok(vec![Shell::comment(format!("'{}' does not run", container.name), "")]);
        };
        let signal = crate::signal::number(&container.settings.stop_signal).unwrap_or(15);
        let mut all = vec![send(pid, signal, "its first process is asked to end")];
        if self.is_paused(container) {
            all.extend(self.unpause_by_hand(container)?);
        }
        let gone = format!("tail --pid={pid} -f /dev/null");
        let wait = match timeout.or(container.settings.stop_timeout).unwrap_or(10) {
            seconds @ 0.. => format!("timeout {seconds} {gone} || kill -s KILL {pid}"),
            _ => gone,
        };
        all.push(
            Shell::exact(wait, "wait for its end; in the end, make it end", "tail(1)")
                .near("waited for by a descriptor of the process, which tells of its end at once"),
        );
        all.extend(self.end_by_hand(container)?);
        Ok(all)
    }

    /// What its monitor does when it has ended: the journal, from its end to its beginning.
    fn end_by_hand(&self, container: &Container) -> Result<Vec<Shell>> {
        let path = self.run_directory(container).join("journal");
        let steps = steps::Journal::read(&path).map_err(|e| Error::io("cannot read", &path, e))?;
        let theirs = |line: String, man| Shell::comment(format!("its monitor then does: {line}"), man);
        let said = steps.iter().map(steps::Step::shell).filter(|shell| !shell.lines.is_empty());
        let mut all: Vec<Shell> = said.map(|shell| theirs(shell.lines.join("; "), shell.man)).collect();
        let run = steps::quote(&self.run_directory(container).display().to_string());
        all.push(theirs(format!("rm -rf {run}"), "rm(1)"));
        if let State::Running { monitor, .. } = self.state(container)? {
            let wait = format!("timeout 10 tail --pid={monitor} -f /dev/null || :");
            all.push(Shell::exact(wait, "wait until it has", "tail(1)").near("it says when it has"));
        }
        Ok(all)
    }

    pub fn remove_by_hand(&self, container: &Container, force: bool, volumes: bool) -> Result<Vec<Shell>> {
        let runs = self.handle(container)?.is_some();
        if runs && !force {
            return Err(Error::Running(container.name.clone()));
        }
        let mut all = if runs { self.kill_by_hand(container, Signal::KILL.as_raw())? } else { Vec::new() };
        let word = |path: std::path::PathBuf| steps::quote(&path.display().to_string());
        let dir = word(self.directory(container));
        all.push(Shell::exact(
            format!("rm -rf {dir}"),
            "what it has written, its log and its configuration",
            "rm(1)",
        ));
        for address in container.endpoints.iter().flat_map(network::Endpoint::addresses) {
            let lease = word(self.root.join("leases").join(address.to_string()));
            all.push(Shell::exact(format!("rm -f {lease}"), "its address is free", "unlink(2)"));
        }
        if volumes || container.settings.auto_remove {
            for mount in container.settings.mounts.iter().filter(|mount| mount.anonymous) {
                let volume = word(self.root.join("volumes").join(&mount.source));
                all.push(Shell::exact(format!("rm -rf {volume}"), "a volume that nobody named", "rm(1)"));
            }
        }
        let mut claims = vec![word(self.root.join("names").join(&container.name))];
        // Containers that share processes or networks share their ids.
        let is_last =
            !self.list()?.iter().any(|(c, _)| c.id != container.id && c.id_base == container.id_base);
        let range = Engine::id_range(container).filter(|_| is_last);
        claims.extend(range.map(|range| word(self.root.join("ids").join(range.to_string()))));
        claims.extend(self.project_claim(container).map(word));
        if container.project != 0 {
            let root = word(self.root.clone());
            let line =
                format!("setquota -P {} 0 0 0 0 \"$(findmnt -nro TARGET -T {root})\"", container.project);
            all.push(Shell::exact(line, "its project has no files any more, and no limit", "quotactl(2)"));
        }
        all.push(Shell::exact(
            format!("rm -f {}", claims.join(" ")),
            "its name and its ids are free",
            "unlink(2)",
        ));
        Ok(all)
    }

    pub fn rename_by_hand(&self, container: &Container, name: &str) -> Result<Vec<Shell>> {
        if self.find(name).is_ok() {
            let id = self.find(name).map(|other| other.id).unwrap_or_default();
            return Err(Error::NameInUse { name: name.to_owned(), id });
        }
        let word = |path: std::path::PathBuf| steps::quote(&path.display().to_string());
        let names = self.root.join("names");
        let (old, new) = (word(names.join(&container.name)), word(names.join(name)));
        let config = word(self.directory(container).join("config.json"));
        Ok(vec![
            Shell::exact(
                format!("ln -P {old} {new}"),
                "the new name is claimed, if nobody has it",
                "link(2)",
            ),
            Shell::exact(
                format!("sed -i 's/\"name\":\"{}\"/\"name\":\"{name}\"/' {config}", container.name),
                "its configuration",
                "sed(1)",
            )
            .near("under a lock of its directory"),
            Shell::exact(format!("rm {old}"), "the old name is free", "unlink(2)"),
        ])
    }
}

fn send(pid: i32, signal: i32, why: &str) -> Shell {
    let word = crate::signal::name(signal).map_or_else(|| signal.to_string(), str::to_owned);
    Shell::exact(format!("kill -s {word} {pid}"), why, "kill(1)")
        .near("by a descriptor of the process, so that none that has its number later gets it")
}

/// Why a signal will not end a container: its first process has no handler for it, and as the first of its pid namespace it
/// is spared what the signal would do to others. See pid_namespaces(7).
fn deafness(container: &Container, pid: i32, signal: i32) -> Option<String> {
    let s = &container.settings;
    if s.init || s.pid != crate::Share::Private || !(1..=64).contains(&signal) || signal == 9 {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name| kernel::process::status_field(&status, name);
    let caught = u64::from_str_radix(field("SigCgt")?, 16).ok()?;
    let blocked = u64::from_str_radix(field("SigBlk")?, 16).ok()?;
    let bit = 1u64 << (signal - 1);
    // One that blocks it may be waiting for it by other means.
    if (caught | blocked) & bit != 0 {
        return None;
    }
    let program = field("Name").unwrap_or("?");
    let word =
        crate::signal::name(signal).map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"));
    Some(format!(
        "'{}' will not end by {word}: its first process, '{program}', has no handler for it. 'run --init' puts an init before it that ends it",
        container.name
    ))
}

/// Whether a process ends within so many seconds; −1 waits for ever.
pub(crate) fn ended(pidfd: &OwnedFd, seconds: i64) -> bool {
    let limit = Timespec { tv_sec: seconds.max(0), tv_nsec: 0 };
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    loop {
        match poll(&mut fds, if seconds < 0 { None } else { Some(&limit) }) {
            Ok(n) => return n > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
