//! A further program in a running container.

mod detached;

use crate::attach::{AttachEnd, AttachOptions, DetachKeys, pump_pipes, pump_terminal};
use crate::group;
use crate::specify::{self, credentials, keyring, namespaces};
use crate::{Container, Engine, Error, Event, Network, Result, Share, users};
use kernel::process;
use runtime::{Agent, Enter, GroupPaths, Host, Launched, Process, Stdio};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use steps::Shell;

/// `exec`'s options.
#[derive(Debug, Clone, Default)]
pub struct ExecSettings {
    pub argv: Vec<String>,
    /// `NAME=value`, added to the container's.
    pub env: Vec<String>,
    /// Empty: the container's.
    pub workdir: String,
    /// Empty: the container's.
    pub user: String,
    pub tty: bool,
    pub interactive: bool,
    pub detach: bool,
    pub privileged: bool,
    pub detach_keys: DetachKeys,
}

impl Engine {
    /// Runs it and answers its exit code; 0 at once when detached.
    pub fn exec(&self, container: &Container, what: &ExecSettings) -> Result<i32> {
        let id: String = crate::store::random().iter().map(|byte| format!("{byte:02x}")).collect();
        let event = |action: String| Event::of(container, action).with("execID", &id);
        let line = what.argv.join(" ");
        let end = self.enter(container, what, |enter, owner, agent| {
            self.tell(&[event(format!("exec_create: {line}")), event(format!("exec_start: {line}"))]);
            if what.detach {
                let end = |now: &Container| Event::of(now, "exec_die").with("execID", &id);
                return detached::start(self, container, enter, agent, end).map(|()| AttachEnd::Exited(0));
            }
            let options = AttachOptions {
                tty: what.tty,
                interactive: what.interactive,
                sig_proxy: true,
                detach_keys: what.detach_keys.clone(),
                resized: None,
            };
            if what.tty { terminal(enter, &options, agent) } else { pipes(enter, &options, owner, agent) }
        })?;
        let code = match end {
            AttachEnd::Exited(code) => code,
            AttachEnd::Detached => 0,
            AttachEnd::Interrupted(signal) => 128 + signal,
        };
        match end {
            AttachEnd::Exited(_) if what.detach => {}
            AttachEnd::Exited(code) => self.tell(&[event("exec_die".to_owned()).with("exitCode", code)]),
            AttachEnd::Detached | AttachEnd::Interrupted(_) => self.tell(&[event("exec_detach".to_owned())]),
        }
        Ok(code)
    }

    /// [`Engine::exec`] as commands; nothing is done.
    pub fn exec_by_hand(&self, container: &Container, what: &ExecSettings) -> Result<Vec<Shell>> {
        let Some((pid, _)) = self.handle(container)? else {
            return Err(Error::NotRunning(container.id.clone()));
        };
        self.enter(container, what, |enter, _, _| {
            let kinds = crate::look::spaces::KINDS.iter().filter(|kind| enter.namespaces & kind.flag != 0);
            // The root is entered by its path: the host's own programs are needed until the end.
            let options = kinds.filter(|kind| kind.name != "mnt").map(|kind| match kind.name {
                "user" => "--user --setuid 0 --setgid 0".to_owned(),
                name => format!("--{name}"),
            });
            let options: Vec<String> = options.collect();
            let groups: Vec<String> = enter
                .groups
                .dirs()
                .filter(|dir| std::path::Path::new(dir).is_dir())
                .map(|dir| format!("echo $$ >{dir}/cgroup.procs"))
                .collect();
            let line = steps::quote(&runtime::program_by_hand(enter.process));
            Ok(vec![
                Shell::lines(groups, "into the container's control groups", "cgroups(7)")
                    .near("the shell that runs this goes there, and stays"),
                Shell::exact(format!("cd /proc/{pid}/root"), "the container's files", "proc_pid_root(5)"),
                Shell::exact(
                    format!("nsenter -t {pid} {} bash -c {line}", options.join(" ")),
                    "the program, in the container's namespaces, with its rights",
                    "nsenter(1)",
                )
                .near("its mounts are seen by its root only, and no filter of system calls is loaded"),
            ])
        })
    }

    /// Makes everything ready for a program in the container; `then` runs it. It also gets the program's user, by the
    /// host's number.
    pub(crate) fn enter<T>(
        &self,
        container: &Container,
        what: &ExecSettings,
        then: impl FnOnce(&Enter<'_>, u32, Agent<'_>) -> Result<T>,
    ) -> Result<T> {
        let s = &container.settings;
        let Some((pid, pidfd)) = self.handle(container)? else {
            return Err(Error::NotRunning(container.id.clone()));
        };
        if self.is_paused(container) {
            return Err(Error::Invalid(format!(
                "Container {} is paused, unpause the container before exec",
                container.name
            )));
        }
        crate::seal::check(container)?;
        let roots = [format!("/proc/{pid}/root")];
        let (passwd, group) = (users::read_in(&roots, "etc/passwd"), users::read_in(&roots, "etc/group"));
        let word = if what.user.is_empty() { &s.user } else { &what.user };
        let user = users::find(word, &passwd, &group, &s.group_add)?;
        let mut env = s.env.clone();
        env.extend(what.env.iter().cloned());
        for (name, value) in
            [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("HOME", &user.home)]
        {
            if !env.iter().any(|e| e.starts_with(&format!("{name}="))) {
                env.push(format!("{name}={value}"));
            }
        }
        if what.tty && !env.iter().any(|e| e.starts_with("TERM=")) {
            env.push("TERM=xterm".to_owned());
        }
        // Its own and those of other containers that it shares.
        let mut flags = namespaces(container);
        let shared = |share: &Share, flag: u64| if matches!(share, Share::Container(_)) { flag } else { 0 };
        flags |= shared(&s.ipc, process::CLONE_NEWIPC) | shared(&s.pid, process::CLONE_NEWPID);
        if !matches!(s.network, Network::Host) {
            flags |= process::CLONE_NEWNET;
        }
        if container.id_base != 0 {
            flags |= process::CLONE_NEWUSER;
        }
        let mut credentials = credentials(s, &user, what.privileged)?;
        credentials.keyring = Some(keyring(container, None));
        let process = Process {
            argv: what.argv.clone(),
            env,
            cwd: if what.workdir.is_empty() { s.workdir.clone() } else { what.workdir.clone() },
            terminal: what.tty,
            terminal_size: crate::attach::terminal_size().filter(|_| what.tty),
            credentials,
            ..Process::default()
        };
        let enter = Enter {
            classes: &[],
            pidfd: pidfd.as_fd(),
            namespaces: flags,
            held: &[],
            groups: GroupPaths::everywhere(&group::of(container), &Host::read()).beside(pid),
            process: &process,
            oom_score_adj: None,
            first_cpus: None,
            keep_fds: 0,
        };
        let mut agent = specify::agent(container, &process.credentials, "running", Some(pid))?;
        let agent: Agent<'_> = agent.as_mut().map(|agent| agent as _);
        then(&enter, container.id_base + user.uid, agent)
    }
}

fn terminal(enter: &Enter<'_>, options: &AttachOptions<'_>, agent: Agent<'_>) -> Result<AttachEnd> {
    let Launched { pidfd, master, .. } = runtime::enter(enter, Stdio::Terminal, agent)?;
    let master = master.ok_or_else(|| Error::Invalid("no terminal came from the container".to_owned()))?;
    Ok(pump_terminal(master, pidfd, options)?)
}

fn pipes(enter: &Enter<'_>, options: &AttachOptions<'_>, owner: u32, agent: Agent<'_>) -> Result<AttachEnd> {
    let pipe = || {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Error::io("cannot make a", "pipe", e))
    };
    let (out_read, out_write) = pipe()?;
    let (err_read, err_write) = pipe()?;
    let (theirs, ours) =
        if options.interactive { pipe().map(|(r, w)| (r, Some(w)))? } else { (null()?, None) };
    for fd in [&out_write, &err_write] {
        let _ = rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(owner)), None);
    }
    let launched = runtime::enter(enter, Stdio::Given([theirs, out_write, err_write]), agent)?;
    Ok(pump_pipes(ours, out_read, err_read, launched.pidfd, options)?)
}

pub(crate) fn null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("cannot open", "/dev/null", e))
}
