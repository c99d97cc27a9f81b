//! The operations of the OCI runtime: create, start, run, kill, delete. See runtime.md of the specification.

use super::hooks::{self, Point, Told};
use super::record::{Containers, Record, Status};
use super::{Bundle, Error, Options, Result, config, rootless};
use crate::group::{self, Unit};
use crate::{GroupPaths, Host, Launched, Resources, StartError, Stdio, Watch, launch, plan};
use kernel::process::{self, Side};
use rustix::event::Timespec;
use rustix::fd::{AsFd, OwnedFd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::path::Path;
use steps::{IdRange, Journal, Plan};

/// How a container is made.
#[derive(Debug, Clone, Default)]
pub struct Create {
    pub id: String,
    /// It waits for [`start`]; otherwise it is started at once.
    pub wait: bool,
    pub keep_fds: u32,
    pub no_new_keyring: bool,
    /// systemd makes its groups.
    pub systemd: bool,
    /// Whether to go without groups that we have no rights to; `None`: where the user is an ordinary one.
    pub rootless: Option<bool>,
    /// For the record.
    pub created: String,
    pub owner: String,
}

/// Where what was asked for and is not done goes, a line each.
pub type Warn<'a> = &'a dyn Fn(&str);

/// What would be done.
pub fn explain(containers: &Containers, bundle: &Bundle, create: &Create) -> Result<Plan> {
    let mut plan = prepare(containers, bundle, create)?.plan;
    // What is made once for all of them, and never taken back, is no step of a container's.
    plan.host.splice(0..0, containers.covers_by_hand());
    Ok(plan)
}

/// Makes the container, and starts it unless it is to wait. On failure nothing is left.
pub fn create(
    containers: &Containers,
    bundle: &Bundle,
    create: &Create,
    stdio: Stdio,
    watch: Watch<'_>,
    warn: Warn<'_>,
) -> Result<(Record, Launched)> {
    let dir = containers.claim(&create.id)?;
    let made = made(containers, bundle, create, stdio, watch, warn);
    if made.is_err() {
        let _ = Journal::replay(&dir.join("journal"));
        let _ = std::fs::remove_dir_all(&dir);
    }
    made
}

/// All that is decided before anything is done.
struct Prepared {
    record: Record,
    plan: Plan,
    listener: Option<super::Listener>,
    warnings: Vec<String>,
}

fn prepare(containers: &Containers, bundle: &Bundle, create: &Create) -> Result<Prepared> {
    let (empty_file, empty_dir) = containers.covers();
    let has =
        |point: Point| !hooks::steps(bundle.config.hooks.as_ref(), point, &Told::default(), 0).is_empty();
    // A hook that runs just before the program needs a program that waits.
    let wait = create.wait || has(Point::StartContainer);
    let host = Host::read();
    let socket = |path: std::path::PathBuf| wait.then(|| path.display().to_string());
    let options = Options {
        id: create.id.clone(),
        empty_file: empty_file.display().to_string(),
        empty_dir: empty_dir.display().to_string(),
        begin: socket(containers.begin(&create.id)),
        visit: socket(containers.visit(&create.id)).filter(|_| host.rootless),
        keep_fds: create.keep_fds,
        no_new_keyring: create.no_new_keyring,
        joined_ids: joined_ids(bundle)?,
    };
    let config::Understood { mut spec, rdt, listener, warnings } = config::spec(bundle, &options)?;
    super::check(&spec.resources, &host)?;
    (spec.groups, spec.unit) = groups(bundle, create, &spec.resources, &host)?;
    spec.groups_shared = true;
    let namespaces = spec.namespaces | spec.join.iter().fold(0, |all, join| all | join.flag);
    let record = Record {
        oci_version: bundle.config.oci_version.clone(),
        id: create.id.clone(),
        bundle: bundle.dir.display().to_string(),
        rootfs: bundle.rootfs()?.display().to_string(),
        created: create.created.clone(),
        owner: create.owner.clone(),
        annotations: bundle.config.annotations.clone().unwrap_or_default(),
        groups: spec.groups.clone(),
        unit: spec.unit.clone(),
        shares_pids: spec.namespaces & process::CLONE_NEWPID == 0,
        namespaces,
        no_new_keyring: create.no_new_keyring,
        rdt,
        ..Record::default()
    };
    let told = record.told(Status::Creating);
    for point in [Point::Prestart, Point::CreateRuntime, Point::CreateContainer] {
        spec.hooks.extend(hooks::steps(bundle.config.hooks.as_ref(), point, &told, namespaces));
    }
    let plan = plan(&spec, &host);
    Ok(Prepared { record, plan, listener, warnings })
}

fn made(
    containers: &Containers,
    bundle: &Bundle,
    create: &Create,
    stdio: Stdio,
    watch: Watch<'_>,
    warn: Warn<'_>,
) -> Result<(Record, Launched)> {
    containers.make_covers()?;
    let Prepared { mut record, plan, listener, warnings } = prepare(containers, bundle, create)?;
    for warning in warnings {
        warn(&warning);
    }
    group::check_unused(&record.groups).map_err(|e| Error::new(e.to_string()))?;
    let dir = containers.directory(&create.id);
    // What `exec` goes by later is what the container was made from.
    let copy = dir.join("config.json");
    std::fs::write(&copy, &bundle.text).map_err(|e| Error::io("cannot write", &copy, e))?;
    let path = dir.join("journal");
    let mut journal = Journal::open(&path).map_err(|e| Error::io("cannot open", &path, e))?;
    let mut announce = |pid: i32, fd: OwnedFd| match &listener {
        Some(listener) => {
            let told = Record { pid, ..record.clone() }.told(Status::Creating);
            let state = serde_json::to_value(told).unwrap_or_default();
            listener.announce(&fd, pid, &record.oci_version, state)
        }
        None => Ok(()),
    };
    let agent: crate::Agent<'_> = if listener.is_some() { Some(&mut announce) } else { None };
    let launched = launch(&plan, &mut journal, stdio, watch, agent).inspect_err(|_| {
        stopped(bundle.config.hooks.as_ref(), &record, warn);
    })?;
    record.pid = launched.pid;
    record.start_ticks = launched.start_ticks;
    containers.save(&record)?;
    if !create.wait && containers.begin(&create.id).exists() {
        start(containers, &record)?;
    } else if !create.wait {
        started(bundle.config.hooks.as_ref(), &record)?;
    }
    Ok((record, launched))
}

/// Where the file says; with systemd, the unit that they belong to.
fn groups(
    bundle: &Bundle,
    create: &Create,
    limits: &Resources,
    host: &Host,
) -> Result<(GroupPaths, Option<Unit>)> {
    let path = bundle.config.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    let path = path.unwrap_or_default();
    if create.systemd {
        let annotations = bundle.config.annotations.clone().unwrap_or_default();
        let unit = super::unit(path, &create.id, host.rootless, &annotations)?;
        return Ok((unit.paths(host).map_err(|e| Error::new(e.to_string()))?, Some(unit)));
    }
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = GroupPaths::of_bundle(path, &create.id, host, &own);
    // Whoever has no rights goes without groups, unless the file asks for them.
    let lenient = create.rootless.unwrap_or(host.rootless);
    let unlimited = *limits == Resources { strict: true, ..Resources::default() };
    Ok((if lenient && path.is_empty() && unlimited { groups.possible() } else { groups }, None))
}

/// The ids of a user namespace that is joined: a process goes there to be looked at.
fn joined_ids(bundle: &Bundle) -> Result<Option<(Vec<IdRange>, Vec<IdRange>)>> {
    use oci_spec::runtime::LinuxNamespaceType::User;
    let linux = bundle.config.linux.as_ref();
    let spaces = linux.and_then(|l| l.namespaces.as_ref()).into_iter().flatten();
    let Some(path) = spaces.filter(|n| n.typ() == User).find_map(|n| n.path().clone()) else {
        return Ok(None);
    };
    let there = std::fs::File::open(&path).map_err(|e| Error::io("cannot open", &path, e))?;
    let failed = |e: rustix::io::Errno| Error::io("cannot look into", &path, e);
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
    let (told_read, told_write) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(failed)?;
    let (pid, pidfd) = match process::fork().map_err(failed)? {
        Side::Parent { pid, pidfd } => (pid, pidfd),
        Side::Child => {
            drop((write, told_read));
            // The same one is no other: EINVAL.
            let _ = process::set_namespace(&there, process::CLONE_NEWUSER);
            drop(told_write);
            let _ = rustix::io::read(&read, &mut [0u8; 1]);
            process::exit(0)
        }
    };
    drop((read, told_write));
    let _ = rustix::io::read(&told_read, &mut [0u8; 1]);
    let ranges = |file: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let range = |line: &str| {
            let mut words = line.split_whitespace().map(|w| w.parse().ok());
            Some(IdRange { inside: words.next()??, outside: words.next()??, count: words.next()?? })
        };
        text.lines().filter_map(range).collect::<Vec<_>>()
    };
    let ids = (ranges("uid_map"), ranges("gid_map"));
    drop(write);
    crate::execute::reap(pidfd.as_fd());
    Ok(Some(ids))
}

/// Lets a created container become its program.
pub fn start(containers: &Containers, record: &Record) -> Result<()> {
    let id = &record.id;
    match containers.status(record) {
        Status::Created => {}
        status => {
            return Err(Error::new(format!("cannot start container '{id}': it is {}", status.word())));
        }
    }
    let bundle = kept(containers, record)?;
    let told = record.told(Status::Created);
    let program = bundle.process.clone().unwrap_or_default();
    let hooks = hooks::steps(bundle.hooks.as_ref(), Point::StartContainer, &told, record.namespaces);
    // What an ordinary user made cannot be entered in any other way.
    let held = match !hooks.is_empty() && containers.visit(id).exists() {
        true => rootless::others(containers, record)?,
        false => Vec::new(),
    };
    for mut hook in hooks {
        if hook.env.is_empty() {
            // As if the program ran it.
            hook.env = process::Strings::new(&program.env);
        }
        run_hook(record, &hook, &held)?;
    }
    let word = program.args.first().map_or("", String::as_str);
    go(&containers.begin(id), word, &program.cwd)?;
    started(bundle.hooks.as_ref(), record)
}

/// Gives the word to a container that waits for it at the socket. `word` is the program, for what is said where it cannot run.
pub fn go(path: &Path, word: &str, cwd: &str) -> std::result::Result<(), StartError> {
    let failed =
        |e: rustix::io::Errno| StartError { message: format!("cannot let it start: {e}"), code: 125 };
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(failed)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    rustix::net::connect(&socket, &address).map_err(failed)?;
    // From now on it is no more the one that waits: that is what its state is known by.
    let _ = std::fs::remove_file(path).or_else(|_| std::fs::remove_file(path));
    crate::execute::report(socket.as_fd())
        .map_err(|(_, _, failure)| crate::execute::exec_error(word, cwd, failure))
}

/// The program runs.
fn started(hooks: Option<&oci_spec::runtime::Hooks>, record: &Record) -> Result<()> {
    let told = record.told(Status::Running);
    hooks::steps(hooks, Point::Poststart, &told, record.namespaces)
        .iter()
        .try_for_each(|hook| run_hook(record, hook, &[]))
}

/// A hook without which the container does not live on. See runtime.md of the specification, "Lifecycle". `held` are its
/// namespaces where they cannot be had by its process.
fn run_hook(record: &Record, hook: &steps::RunHook, held: &[OwnedFd]) -> Result<()> {
    hook.run_in(record.pid, held).map_err(|failure| {
        let _ = kill_all(record);
        hook_failed(&record.id, hook, &failure)
    })
}

/// The file that the container was made from.
pub fn kept(containers: &Containers, record: &Record) -> Result<super::Document> {
    let path = containers.directory(&record.id).join("config.json");
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io("cannot read", &path, e))?;
    Ok(config::parse(&text)?)
}

/// Hooks whose failure stops nothing: it is said, and the next one runs.
fn stopped(hooks: Option<&oci_spec::runtime::Hooks>, record: &Record, warn: Warn<'_>) {
    for hook in hooks::steps(hooks, Point::Poststop, &record.told(Status::Stopped), record.namespaces) {
        if let Err(failure) = hook.run(0) {
            warn(&hook_failed(&record.id, &hook, &failure).to_string());
        }
    }
}

fn hook_failed(id: &str, hook: &steps::RunHook, failure: &steps::Failure) -> Error {
    use rustix::io::Errno;
    let why = match (failure.errno, failure.note) {
        (Errno::CANCELED | Errno::TIME, note) => note.to_owned(),
        (errno, _) => super::mounts::reason(&errno.into()),
    };
    Error::new(format!("container '{id}': {} hook {}: {why}", hook.kind, hook.path))
}

/// Sends a signal to its first process.
pub fn kill(containers: &Containers, record: &Record, signal: i32) -> Result<()> {
    let handle = match containers.status(record) {
        Status::Stopped | Status::Creating => None,
        _ => record.handle()?,
    };
    let Some(handle) = handle else { return Err(Error::new("container not running")) };
    let failed =
        |why: &dyn std::fmt::Display| Error::new(format!("cannot signal container '{}': {why}", record.id));
    const KILL: i32 = 9;
    // With the first process of a pid namespace all others end; without one they would live on.
    if signal == KILL && record.shares_pids && group::processes(&record.groups).is_ok_and(|p| !p.is_empty()) {
        return group::signal_all(&record.groups, signal).map_err(|e| failed(&e));
    }
    process::send_signal(&handle, signal).map_err(|e| failed(&e))?;
    // Nobody dies in v1's freezer.
    if signal == KILL && group::is_frozen(&record.groups).unwrap_or_default() {
        group::thaw(&record.groups).map_err(|e| failed(&e))?;
    }
    Ok(())
}

/// Ends all that is in the container, and waits until its first process is gone.
pub fn kill_all(record: &Record) -> Result<()> {
    let handle = record.handle()?;
    if let Some(handle) = &handle {
        let _ = process::send_signal(handle, 9);
    }
    group::kill_all(&record.groups)
        .or_else(|e| if handle.is_some() { Ok(()) } else { Err(Error::new(e.to_string())) })?;
    if let Some(handle) = handle {
        wait(&handle);
    }
    Ok(())
}

/// Waits for the end of a process that is not our child.
fn wait(handle: &OwnedFd) {
    wait_at_most(handle, Timespec { tv_sec: 10, tv_nsec: 0 });
}

fn wait_at_most(handle: &OwnedFd, limit: Timespec) {
    use rustix::event::{PollFd, PollFlags, poll};
    while let Err(rustix::io::Errno::INTR) = poll(&mut [PollFd::new(handle, PollFlags::IN)], Some(&limit)) {}
}

/// How long `delete` waits for a program that is about to end: whoever has seen its last output, or has killed it, has
/// not seen it end yet.
const LAST_MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Removes what is left of a container that has ended; with `force` it is ended first.
pub fn delete(containers: &Containers, record: &Record, force: bool, warn: Warn<'_>) -> Result<()> {
    let id = &record.id;
    let mut status = containers.status(record);
    if status == Status::Running && !force {
        if let Some(handle) = record.handle()? {
            wait_at_most(&handle, LAST_MOMENT);
        }
        status = containers.status(record);
    }
    match status {
        Status::Stopped => {}
        // As nobody has seen it run, nobody misses it.
        Status::Created => kill_all(record)?,
        _ if force => kill_all(record)?,
        status => {
            return Err(Error::new(format!(
                "cannot delete container '{id}': it is {}, not stopped",
                status.word()
            )));
        }
    }
    // Without a pid namespace of its own others may live on.
    group::kill_all(&record.groups)
        .map_err(|e| Error::new(format!("cannot delete container '{id}': {e}")))?;
    let dir = containers.directory(id);
    let path = dir.join("journal");
    let failed = Journal::replay(&path).map_err(|e| Error::io("cannot replay", &path, e))?;
    if let Some((step, failure)) = failed.first() {
        return Err(Error::new(format!(
            "cannot delete container '{id}': {}: {}",
            step.shell().brief(),
            failure.errno
        )));
    }
    let kept = kept(containers, record);
    // Once more where it failed: what is half removed can only be deleted by force.
    let remove = || std::fs::remove_dir_all(&dir);
    match remove().or_else(|_| remove()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("cannot remove", &dir, e));
        }
        _ => {}
    }
    if let Ok(config) = kept {
        stopped(config.hooks.as_ref(), record, warn);
    }
    Ok(())
}
