//! The monitor's life: it performs the plan, supervises the container to its end, puts everything away, and begins again where
//! the restart policy says so.

use crate::events::{self, Event};
use crate::health::Watch;
use crate::logs::Log;
use crate::monitor::{self, Clients, Names, Supervision};
use crate::net::Keeper;
use crate::start::Ready;
use crate::store::{may_be_there, missing_is_fine, twice};
use crate::walk::Watching;
use crate::{Container, Engine, Error, Result, State, Time};
use kernel::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::retry_on_intr;
use rustix::net::SendFlags;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs::File;
use std::time::{Duration, Instant};
use steps::{Journal, Plan};

/// A started monitor's first word: 0 and the pid, or the exit code and why not.
pub(crate) const READY: u8 = 0;
pub(crate) const REPORT: usize = 4096;

/// What a start needs and makes only once.
pub(crate) struct Birth {
    pub plan: Plan,
    pub reserved: network::Reserved,
    pub held: Vec<network::Held>,
    /// Where the command that started it waits for the first word; none when the monitor itself starts it again.
    pub report: Option<OwnedFd>,
    pub creator: Option<OwnedFd>,
    pub watching: Watching,
    /// How many times it was started again.
    pub restarts: u32,
    /// Of one that is started again: whoever stops it meanwhile waits for this.
    pub lock: Option<File>,
}

/// How a container's life went.
struct Life {
    code: i32,
    since: Option<Time>,
    /// For how long it ran, whatever was done to the machine's clock meanwhile.
    ran: Option<Duration>,
    oom_killed: bool,
    /// Why it could not be started.
    error: String,
    /// It is to be started again whatever its policy is.
    again: bool,
    clients: Option<Clients>,
}

/// The first pause, doubled up to the longest; a life longer than [`GOOD`] begins anew.
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
const GOOD: Duration = Duration::from_secs(10);

impl Engine {
    /// The monitor's whole life, in the forked process.
    pub(crate) fn monitor(&self, container: &Container, birth: Birth) {
        let _ = rustix::process::setsid();
        process::set_name(c"corten-monitor");
        let (mut next, mut pause, mut restarts) = (Ok(birth), FIRST, 0);
        let mut current = container.clone();
        loop {
            let first = next.as_ref().is_ok_and(|birth| birth.report.is_some());
            let life = match next {
                Ok(birth) => self.live(&current, birth),
                Err(stillborn) => Some(stillborn),
            };
            let Some(life) = life else { return };
            if first && life.since.is_none() {
                // The command that started it has been told.
                return;
            }
            if current.settings.auto_remove {
                return self.over(&current, life, restarts);
            }
            // Its policy may have been changed while it ran.
            current = self.read(&current.id).unwrap_or(current);
            let again = life.again || current.settings.restart.again(life.code, restarts);
            if !again || self.is_stopped(&current) {
                return self.over(&current, life, restarts);
            }
            restarts += 1;
            if life.ran > Some(GOOD) {
                pause = FIRST;
            }
            next = match self.again(&current, life, restarts, pause) {
                Some(next) => next,
                None => return,
            };
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// The end, for good.
    fn over(&self, container: &Container, life: Life, restarts: u32) {
        self.remove_run(container);
        let Life { code, since: started, ran, oom_killed, error, clients, .. } = life;
        let state = State::Exited { code, started, at: Time::now(), ran, oom_killed, error, restarts };
        if container.settings.auto_remove {
            let event = Event::of(&self.now(container), "destroy");
            let _ = self.discard(container, true);
            self.tell(&[event]);
        } else {
            let _ = twice(|| self.set_state(container, &state));
        }
        if let Some(clients) = clients {
            clients.finish(code, oom_killed);
        }
    }

    /// One life: from the plan to the end of the first process, with everything put away. `None` when it could not be started
    /// and whoever started it has been told.
    fn live(&self, container: &Container, birth: Birth) -> Option<Life> {
        let run = self.run_directory(container);
        let Birth { plan, reserved, held, report, creator, watching, restarts, lock } = birth;
        // Before the program can write anything that would be lost.
        let started = Log::open(&self.directory(container), container)
            .map_err(|e| match e.kind() {
                std::io::ErrorKind::Other => {
                    Error::Invalid(format!("failed to initialize logging driver: {e}"))
                }
                _ => Error::io("cannot open the log", self.log_path(container), e),
            })
            .and_then(|log| Ok((self.launch(container, &plan, watching)?, log)));
        let ((launched, io, listener), log) = match started {
            Ok(started) => started,
            Err(error) => return self.stillborn(container, &error, report),
        };
        drop(plan);
        let (since, began) = (Time::now(), Instant::now());
        let start_ticks = launched.start_ticks;
        let monitor = rustix::process::getpid().as_raw_nonzero().get();
        let state =
            State::Running { pid: launched.pid, start_ticks, monitor, since, restarts, paused: false };
        if let Err(error) = self.set_state(container, &state) {
            // It would run, and nobody would know.
            let _ = rustix::process::pidfd_send_signal(&launched.pidfd, rustix::process::Signal::KILL);
            let _ = retry_on_intr(|| waitid(WaitId::PidFd(launched.pidfd.as_fd()), WaitIdOptions::EXITED));
            let _ = Journal::replay(&run.join("journal"));
            return self.stillborn(container, &error, report);
        }
        self.tell(&beginning(container, &held, creator.is_some()));
        if let Some(report) = report {
            let mut message = vec![READY];
            message.extend_from_slice(launched.pid.to_string().as_bytes());
            say(&report, &message);
        }
        match lock {
            None => quiet(),
            // Not only closed: the container's processes may have had it for a moment.
            Some(lock) => drop(flock(&lock, FlockOperation::Unlock)),
        }
        let zone = self.zone(container, &held).ok().flatten();
        let names = zone.zip(launched.names).map(|(zone, sockets)| Names { sockets: Some(sockets), zone });
        let mut keeper = Keeper { engine: self, id: container.id.clone(), pid: launched.pid, reserved, held };
        let mut watch = Watch::new(self, container);
        let ended = monitor::supervise(Supervision {
            pidfd: launched.pidfd,
            pid: launched.pid,
            io,
            log,
            listener,
            creator,
            keep_stdin_open: container.settings.interactive,
            names,
            keeper: Some(&mut keeper),
            health: watch.as_mut().map(|watch| watch as _),
        });
        let held = std::mem::take(&mut keeper.held);
        drop(keeper);
        let oom_killed = ended.code == 137 && self.oom_killed(container);
        let _ = Journal::replay(&run.join("journal"));
        let ran = began.elapsed();
        self.after(container);
        self.tell(&end(&self.now(container), &held, ended.code, ran, oom_killed));
        drop(held);
        let again = watch.is_some_and(|watch| watch.again);
        let (code, since, ran) = (ended.code, Some(since), Some(ran));
        Some(Life { code, since, ran, oom_killed, error: String::new(), again, clients: Some(ended.clients) })
    }

    /// Removes what a run had below the state directory, once all that its journal names is taken back: else that is a check's to do.
    pub(crate) fn remove_run(&self, container: &Container) {
        let run = self.run_directory(container);
        if Journal::replay(&run.join("journal")).is_ok_and(|failed| failed.is_empty()) {
            let _ = twice(|| missing_is_fine(std::fs::remove_dir_all(&run)));
        }
    }

    fn stillborn(&self, container: &Container, error: &Error, report: Option<OwnedFd>) -> Option<Life> {
        let (code, text) = (error.exit_code(), error.to_string());
        let Some(report) = report else {
            let _ = Journal::replay(&self.run_directory(container).join("journal"));
            return Some(Life {
                code,
                since: None,
                ran: None,
                oom_killed: false,
                error: text,
                again: false,
                clients: None,
            });
        };
        self.remove_run(container);
        let (at, started, oom_killed) = (Time::now(), None, false);
        let state =
            State::Exited { code, started, at, ran: None, oom_killed, error: text.clone(), restarts: 0 };
        let _ = twice(|| self.set_state(container, &state));
        let mut message = vec![code.clamp(1, 255) as u8];
        message.extend_from_slice(&text.as_bytes()[..text.len().min(REPORT - 1)]);
        say(&report, &message);
        None
    }

    /// Waits, then prepares the next life. `None` when it was stopped meanwhile; an error is a life that ended before it began: the restart
    /// policy says whether there is another one.
    fn again(
        &self,
        container: &Container,
        mut life: Life,
        restarts: u32,
        pause: Duration,
    ) -> Option<std::result::Result<Birth, Life>> {
        let monitor = rustix::process::getpid().as_raw_nonzero().get();
        let since = *life.since.get_or_insert_with(Time::now);
        let (code, ran, oom_killed) = (life.code, life.ran, life.oom_killed);
        let at = Time::now();
        let _ = self
            .set_state(container, &State::Restarting { code, monitor, since, at, ran, restarts, oom_killed });
        if let Some(clients) = life.clients.take() {
            clients.finish(code, oom_killed);
        }
        std::thread::sleep(pause);
        let lock = lock(&self.run_directory(container));
        if self.is_stopped(container) {
            self.over(container, life, restarts - 1);
            return None;
        }
        match self.ready(container) {
            Ok(Ready { plan, reserved, held, .. }) => {
                let watching = Watching::Nobody;
                Some(Ok(Birth {
                    plan,
                    reserved,
                    held,
                    report: None,
                    creator: None,
                    watching,
                    restarts,
                    lock,
                }))
            }
            Err(error) => {
                drop(lock);
                let (code, error) = (error.exit_code(), error.to_string());
                Some(Err(Life { code, error, ran: None, again: false, ..life }))
            }
        }
    }

    /// The user has stopped it, or nothing would be left to start.
    pub(crate) fn is_stopped(&self, container: &Container) -> bool {
        let dir = self.directory(container);
        // To be unable to look is no word of the user's.
        !may_be_there(&dir) || twice(|| dir.join("stopped").try_exists()).unwrap_or(false)
    }

    /// Whether a container that does not run shall be started when the machine is.
    pub fn wants_boot(&self, container: &Container, state: &State) -> bool {
        let State::Exited { code, .. } = state else { return false };
        match container.settings.restart {
            crate::Restart::No => false,
            crate::Restart::Always => true,
            crate::Restart::UnlessStopped => !self.is_stopped(container),
            // Also one that the power has ended.
            crate::Restart::OnFailure(_) => *code != 0 && !self.is_stopped(container),
        }
    }

    /// Notes that the user wants it to stand still, for the restart policy, or no longer does. One without a policy needs no note, nor does
    /// one that is gone.
    pub(crate) fn set_stopped(&self, container: &Container, stopped: bool) -> Result<()> {
        if !container.settings.may_start_again() {
            return Ok(());
        }
        let path = self.directory(container).join("stopped");
        let note = || match stopped {
            true => File::create(&path).map(drop),
            false => std::fs::remove_file(&path),
        };
        twice(|| missing_is_fine(note())).map_err(|e| {
            let (name, path, e) = (&container.name, path.display(), crate::error::words(&e));
            Error::Invalid(format!("cannot note for the restart policy of '{name}' in {path}: {e}"))
        })
    }

    /// Ends the pause between two lives, which was noted as [`Engine::set_stopped`]. `false`: it runs by now, or has ended.
    pub(crate) fn end_pause(&self, container: &Container) -> Result<bool> {
        let run = self.run_directory(container);
        let held = lock(&run);
        let State::Restarting { code, monitor, since, ran, oom_killed, restarts, .. } =
            self.state(container)?
        else {
            drop(held);
            return Ok(false);
        };
        // It sleeps, or waits for our lock, and nothing of the container is there.
        if let Some(pid) = rustix::process::Pid::from_raw(monitor)
            && let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
            && process::start_ticks(monitor).is_some()
        {
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
        }
        self.over(
            container,
            Life {
                code,
                since: Some(since),
                ran,
                oom_killed,
                error: String::new(),
                again: false,
                clients: None,
            },
            // The next life was counted before the pause.
            restarts.saturating_sub(1),
        );
        Ok(true)
    }
}

/// The first word, to whoever has started it and waits.
pub(crate) fn say(report: &OwnedFd, message: &[u8]) {
    let _ = twice(|| rustix::net::send(report, message, SendFlags::NOSIGNAL));
}

/// What happens when a container begins to run.
fn beginning(container: &Container, held: &[network::Held], attached: bool) -> Vec<Event> {
    let mut all: Vec<Event> = attached.then(|| Event::of(container, "attach")).into_iter().collect();
    all.extend(events::of_networks(container, held, "connect"));
    all.extend(events::of_volumes(container, "mount"));
    all.push(Event::of(container, "start"));
    all
}

/// What happens when it has ended.
fn end(
    container: &Container,
    held: &[network::Held],
    code: i32,
    ran: Duration,
    oom_killed: bool,
) -> Vec<Event> {
    let mut all: Vec<Event> = oom_killed.then(|| Event::of(container, "oom")).into_iter().collect();
    all.push(Event::of(container, "die").with("execDuration", ran.as_secs()).with("exitCode", code));
    all.extend(events::of_networks(container, held, "disconnect"));
    all.extend(events::of_volumes(container, "unmount"));
    all
}

/// Whoever starts a container again, or stops it between two lives, has this.
fn lock(run: &std::path::Path) -> Option<File> {
    let file = File::open(run).ok()?;
    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive)).ok()?;
    Some(file)
}

/// The monitor lets go of the terminal and of whatever else it was started with.
pub(crate) fn quiet() {
    let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) else {
        return;
    };
    let _ = rustix::stdio::dup2_stdin(null.as_fd());
    let _ = rustix::stdio::dup2_stdout(null.as_fd());
    let _ = rustix::stdio::dup2_stderr(null.as_fd());
    let _ = rustix::process::chdir("/");
}
