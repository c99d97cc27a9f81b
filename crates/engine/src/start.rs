//! Starting a container: the plan is made, a monitor is forked, and the monitor performs it and stays.

use crate::attach::{AttachEnd, AttachOptions, Connection};
use crate::group;
use crate::life::{Birth, READY, REPORT};
use crate::monitor::{self, ContainerIo};
use crate::specify::{self, Facts};
use crate::store::make_dir;
use crate::walk::{self, Walker, Watching};
use crate::{Container, Engine, Error, Network, Result, Share, State};
use kernel::process::{self, Side};
use runtime::{GroupPaths, Host, Launched, StartError, Stdio, Watch};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::borrow::Cow;
use steps::{Join, Journal, Plan};

/// How a start is watched.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    /// The caller stays attached.
    pub attach: bool,
    /// Each step is told on standard error as it is performed.
    pub trace: bool,
}

/// A container that runs.
#[derive(Debug)]
pub struct Started {
    pub pid: i32,
    /// To its monitor, when the caller stays attached.
    pub connection: Option<Connection>,
    /// What has been performed; `None` when it ran already.
    pub plan: Option<Plan>,
}

impl Started {
    /// Follows it to its end.
    pub fn follow(self, options: &AttachOptions<'_>) -> Result<AttachEnd> {
        match self.connection {
            Some(connection) => Ok(connection.run(options)?),
            None => Err(Error::Invalid("not attached".to_owned())),
        }
    }
}

/// What a life begins with.
pub(crate) struct Ready<'a> {
    /// With the addresses that it has now.
    pub container: Cow<'a, Container>,
    pub plan: Plan,
    pub reserved: network::Reserved,
    pub held: Vec<network::Held>,
    pub host: Host,
}

impl Engine {
    /// What a start would do, in order. Nothing is done.
    pub fn plan(&self, container: &Container) -> Result<Plan> {
        let held = self.hold(container)?;
        let ports = container.settings.ports.iter().map(|p| network::PublishedPort {
            host_ip: p.host_ip.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED.into()),
            host_port: p.host_ports.map_or(0, |(first, _)| first),
            container_port: p.container_port,
            protocol: p.protocol,
        });
        let facts = self.facts(container, &held, &ports.collect::<Vec<_>>())?;
        let host = Host::read();
        let mut plan = runtime::plan(&self.specify(container, facts, &host)?, &host);
        plan.host.splice(0..0, self.first_steps(container));
        Ok(plan)
    }

    /// The plan of a container like this one that runs, as it is now: with its limits as the kernel has them, its ports as
    /// they are published, and what it has written as one more layer. It has an id and addresses that nobody has yet.
    pub fn plan_like(&self, container: &Container) -> Result<Plan> {
        let State::Running { .. } = self.state(container)? else {
            return Err(Error::NotRunning(container.id.clone()));
        };
        let mut settings = container.settings.clone();
        settings.auto_remove = true;
        let mut like = self.draft(settings, Some(&format!("{}-again", container.name)))?;
        like.lower.clone_from(&container.lower);
        if !container.upper_in_memory {
            like.lower.insert(0, self.upper_directory(container).display().to_string());
        }
        like.endpoints.clone_from(&container.endpoints);
        self.move_to_free_addresses(&mut like);
        let held = self.hold(&like)?;
        let host = Host::read();
        let facts = self.facts(&like, &held, &self.published(container))?;
        let mut plan = runtime::plan(&self.specify(&like, facts, &host)?, &host);
        for step in &mut plan.host {
            let steps::Step::SetCgroup(limit) = step else { continue };
            let theirs = limit.file.as_str().replace(&like.id, &container.id);
            let name = theirs.rsplit('/').next().unwrap_or_default();
            let is_one_number = ["memory.", "pids.", "cpu."].iter().any(|start| name.starts_with(start));
            if is_one_number && let Ok(now) = std::fs::read_to_string(theirs) {
                limit.value = now.trim_end().into();
            }
        }
        plan.host.splice(0..0, self.first_steps(&like));
        Ok(plan)
    }

    /// What is made before the first start: by `create`, and once for all containers.
    pub fn first_steps(&self, container: &Container) -> Vec<steps::Step> {
        self.shared_files().into_iter().chain(self.directories(container)).collect()
    }

    /// The container's directories, as steps.
    fn directories(&self, container: &Container) -> Vec<steps::Step> {
        let (dir, run) = (self.directory(container), self.run_directory(container));
        let make = |path: std::path::PathBuf, mode: u32| {
            steps::MakeDir { path: path.into(), mode, owner: None }.into()
        };
        let mut all = vec![
            make(run, 0o700),
            make(dir.clone(), 0o700),
            make(dir.join("merged"), 0o700),
            make(dir.join("rw"), 0o700),
        ];
        all.extend(self.limit_tree(container));
        if container.upper_in_memory {
            all.push(make(dir.join("lower"), 0o700));
        } else {
            all.push(make(dir.join("rw/upper"), 0o755));
            all.push(make(dir.join("rw/work"), 0o700));
        }
        all
    }

    pub(crate) fn facts(
        &self,
        container: &Container,
        held: &[network::Held],
        ports: &[network::PublishedPort],
    ) -> Result<Facts> {
        let s = &container.settings;
        let mut join = Vec::new();
        let mut other = |kind: &str, flag: u64, word: &str| -> Result<()> {
            let other = self.find(word)?;
            let State::Running { pid, .. } = self.state(&other)? else {
                return Err(Error::Invalid(format!(
                    "cannot join {kind} of a non running container: {}",
                    other.id
                )));
            };
            join.push(Join { kind: kind.to_owned(), flag, path: format!("/proc/{pid}/ns/{kind}") });
            Ok(())
        };
        if let Network::Container(word) = &s.network {
            other("net", process::CLONE_NEWNET, word)?;
        }
        if let Share::Container(word) = &s.ipc {
            other("ipc", process::CLONE_NEWIPC, word)?;
        }
        if let Share::Container(word) = &s.pid {
            other("pid", process::CLONE_NEWPID, word)?;
            // What the other's root owns: without its user namespace /proc could not be mounted.
            if container.id_base != 0 {
                other("user", process::CLONE_NEWUSER, word)?;
            }
        }
        let attachment = match &s.network {
            Network::Bridge => self.attachment(container, held, ports)?,
            Network::None => {
                let joined = vec![self.name_namespace(container)];
                network::Attachment { joined, ..network::alone() }
            }
            Network::Host | Network::Container(_) => network::Attachment::default(),
        };
        Ok(Facts { attachment, join })
    }

    /// The ports that a running container has on the host.
    pub fn published(&self, container: &Container) -> Vec<network::PublishedPort> {
        let path = self.run_directory(container).join("ports.json");
        std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(crate) fn write_ports(&self, container: &Container, ports: &[network::PublishedPort]) -> Result<()> {
        crate::store::write_json(&self.run_directory(container).join("ports.json"), &ports, false)
    }

    /// Starts a container that was created or has ended.
    pub fn start(&self, container: &Container, options: StartOptions) -> Result<Started> {
        self.begin(container, options, None)
    }

    /// The same, step by step. A container whose start is stopped is what it was before.
    ///
    /// Errors: as [`Engine::start`]; [`StartError`] with the code 130 when `walker` has stopped it.
    pub fn walk(&self, container: &Container, options: StartOptions, walker: Walker<'_>) -> Result<Started> {
        let before = self.state(container)?;
        let started = self.begin(container, options, Some(walker));
        if matches!(&started, Err(Error::Start(StartError { code: 130, .. }))) {
            self.set_state(container, &before)?;
        }
        started
    }

    fn begin(
        &self,
        container: &Container,
        options: StartOptions,
        walker: Option<Walker<'_>>,
    ) -> Result<Started> {
        match self.state(container)? {
            State::Running { pid, .. } => return Ok(Started { pid, connection: None, plan: None }),
            // Its monitor does that.
            State::Restarting { .. } => return Ok(Started { pid: 0, connection: None, plan: None }),
            State::Created | State::Exited { .. } => {}
        }
        self.set_stopped(container, false)?;
        crate::seal::check(container)?;
        // Nobody else has its root mounted (`cp` into one that does not run).
        let files = self.lock_files(container)?;
        let Ready { container, plan, reserved, held, host } = self.ready(container)?;
        let container = &*container;

        let failed = |e: rustix::io::Errno| Error::io("cannot fork the monitor of", &container.name, e);
        let pair = || {
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        };
        let (ours, theirs) = pair().map_err(failed)?;
        let (client, creator) = if options.attach {
            pair().map(|(a, b)| (Some(a), Some(b))).map_err(failed)?
        } else {
            (None, None)
        };
        let (walked, watching) = match (&walker, options.trace) {
            (Some(_), _) => pair().map(|(a, b)| (Some(a), Watching::Walk(b))).map_err(failed)?,
            (None, true) => (None, Watching::Trace),
            (None, false) => (None, Watching::Nobody),
        };
        let home = group::of_monitors(&host);
        let forked = process::clone(0, home.as_ref().map(AsFd::as_fd)).or_else(|_| process::fork());
        match forked.map_err(failed)? {
            Side::Parent { .. } => {
                drop((theirs, creator, reserved, held, watching));
                if let (Some(socket), Some(walker)) = (walked, walker) {
                    walk::answer(socket, &plan, walker);
                }
                let mut buffer = [0u8; REPORT];
                let mut receive =
                    || rustix::net::recv(&ours, &mut buffer[..], rustix::net::RecvFlags::empty());
                let (n, _) =
                    rustix::io::retry_on_intr(&mut receive).or_else(|_| receive()).map_err(failed)?;
                let text = String::from_utf8_lossy(&buffer[1.min(n)..n]).into_owned();
                match buffer[0] {
                    READY if n > 1 => Ok(Started {
                        pid: text.parse().unwrap_or_default(),
                        connection: client.map(Connection::from_fd),
                        plan: Some(plan),
                    }),
                    _ if n == 0 => Err(Error::Invalid(format!(
                        "the monitor of '{}' ended before its container ran",
                        container.name
                    ))),
                    code => Err(StartError { message: text, code: i32::from(code) }.into()),
                }
            }
            Side::Child => {
                drop((ours, client, home, files, walked));
                // From the first moment on: a signal to the terminal's group is not the container's end.
                process::block_all_signals(true);
                let report = Some(theirs);
                let birth =
                    Birth { plan, reserved, held, report, creator, watching, restarts: 0, lock: None };
                self.monitor(container, birth);
                process::exit(0)
            }
        }
    }

    /// Claims what a life needs, and plans it.
    pub(crate) fn ready<'a>(&self, container: &'a Container) -> Result<Ready<'a>> {
        self.prepare(container)?;
        let held = self.hold(container)?;
        let container = self.renewed(container, &held)?;
        let reserved = self.reserve(&container, &held)?;
        if !reserved.ports.is_empty() {
            self.write_ports(&container, &reserved.ports)?;
        }
        let facts = self.facts(&container, &held, &reserved.ports)?;
        let host = Host::read();
        let plan = runtime::plan(&self.specify(&container, facts, &host)?, &host);
        Ok(Ready { container, plan, reserved, held, host })
    }

    fn prepare(&self, container: &Container) -> Result<()> {
        let run = self.run_directory(container);
        make_dir(&run)?;
        // A monitor that was killed left its journal: what it names is taken back first.
        let journal = run.join("journal");
        Journal::replay(&journal).map_err(|e| Error::io("cannot replay", &journal, e))?;
        let live = steps::Live::new(0);
        let old = rustix::process::umask(Mode::empty());
        let made = self
            .shared_files()
            .iter()
            .try_for_each(|step| step.perform(&live).map_err(|f| (step.shell().brief(), f)));
        rustix::process::umask(old);
        made.map_err(|(what, failure)| Error::io("cannot prepare", what, failure.errno))?;
        Ok(())
    }

    pub(crate) fn launch(
        &self,
        container: &Container,
        plan: &Plan,
        watching: Watching,
    ) -> Result<(Launched, ContainerIo, Option<OwnedFd>)> {
        let run = self.run_directory(container);
        let journal_path = run.join("journal");
        let mut journal =
            Journal::open(&journal_path).map_err(|e| Error::io("cannot open", &journal_path, e))?;
        let pipe = || {
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                .map_err(|e| Error::io("cannot make a pipe for", &container.name, e))
        };
        let mut tell;
        let mut walked;
        let watch = match watching {
            Watching::Nobody => Watch::Nobody,
            Watching::Trace => {
                tell = runtime::teller();
                Watch::Told(&mut tell)
            }
            Watching::Walk(socket) => {
                walked = move |number, pid| walk::ask(&socket, number, pid);
                Watch::Asked(&mut walked)
            }
        };
        let mut agent = specify::agent(container, &plan.exec.credentials, "creating", None)?;
        let agent: runtime::Agent<'_> = agent.as_mut().map(|agent| agent as _);
        let (launched, io) = if container.settings.tty {
            let launched = runtime::launch(plan, &mut journal, Stdio::Terminal, watch, agent)?;
            (launched, None)
        } else {
            let (out_read, out_write) = pipe()?;
            let (err_read, err_write) = pipe()?;
            let (theirs, ours) = if container.settings.interactive {
                let (read, write) = pipe()?;
                (read, Some(write))
            } else {
                let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                (null.map_err(|e| Error::io("cannot open", "/dev/null", e))?, None)
            };
            // Its own, so that /dev/stdout can be opened anew: nginx logs that way.
            let uid = rustix::fs::Uid::from_raw(container.id_base + plan.exec.credentials.uid);
            for fd in [&out_write, &err_write].into_iter().chain(ours.is_some().then_some(&theirs)) {
                let _ = rustix::fs::fchown(fd, Some(uid), None);
            }
            let stdio = Stdio::Given([theirs, out_write, err_write]);
            let launched = runtime::launch(plan, &mut journal, stdio, watch, agent)?;
            (launched, Some(ContainerIo::Pipes { stdin: ours, stdout: out_read, stderr: err_read }))
        };
        let mut launched = launched;
        let io = match (io, launched.master.take()) {
            (Some(io), _) => io,
            (None, Some(master)) => ContainerIo::Terminal { master },
            (None, None) => {
                return Err(Error::Invalid(format!("no terminal came from '{}'", container.name)));
            }
        };
        self.begin_program(container, &launched).inspect_err(|_| {
            let _ = rustix::process::pidfd_send_signal(&launched.pidfd, rustix::process::Signal::KILL);
            let _ = rustix::process::waitid(
                rustix::process::WaitId::PidFd(launched.pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            let _ = Journal::replay(&journal_path);
        })?;
        let listener = monitor::listen(&run.join("attach.sock")).ok();
        Ok((launched, io, listener))
    }

    /// Whether the kernel's out-of-memory killer came for the container's group.
    pub(crate) fn oom_killed(&self, container: &Container) -> bool {
        let count = |text: &str| {
            let word = text.lines().find_map(|l| l.strip_prefix("oom_kill "));
            word.and_then(|n| n.trim().parse::<u64>().ok()).unwrap_or_default() > 0
        };
        GroupPaths::everywhere(&group::of(container), &Host::read()).dirs().any(|path| {
            ["memory.events", "memory.oom_control"]
                .iter()
                .any(|file| std::fs::read_to_string(format!("{path}/{file}")).is_ok_and(|t| count(&t)))
        })
    }
}
