//! `explain --verify`: the plan of a container is performed in one sandbox and its script runs in another, and what the kernel
//! tells of the two is compared, fact by fact.

mod hand;
mod sandbox;
mod told;

use crate::cli::Failure;
use engine::look::facts::{Fact, Pair, pairs};
use engine::look::{deep, spaces};
use engine::{Container, Engine, MountKind, Network, Settings, Share, StartOptions, VolumeWish};
use sandbox::{Sandbox, Side};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a side may take until its program runs.
const LONGEST: Duration = Duration::from_secs(60);

/// What came out.
pub struct Verdict {
    pub pairs: Vec<Pair>,
    /// Facts that no script can have, and why.
    pub left_out: Vec<(String, &'static str)>,
}

impl Verdict {
    pub fn equal(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_equal()).count()
    }
}

/// Makes the container of `settings` in both ways.
///
/// Its program is replaced by one that waits to be looked at, with the words of the real one as its arguments: nothing of the
/// image is executed.
pub fn verify(engine: &Engine, settings: Settings, name: Option<&str>) -> Result<Verdict, Failure> {
    check(&settings)?;
    let sandbox = Sandbox::make(engine)?;
    let settings = prepared(settings, &sandbox);
    let (container, script, done) = sandbox.within(|side| performed(side, settings, name))?;
    let said = sandbox.within(|side| by_hand(side, &container, &script))?;
    let mut pairs = pairs(done, said);
    let left_out = left_out(&container, &mut pairs);
    Ok(Verdict { pairs, left_out })
}

/// What would reach out of the sandboxes.
fn check(settings: &Settings) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(format!("cannot verify it: {why}")));
    let shares = [&settings.pid, &settings.ipc, &settings.uts, &settings.cgroupns, &settings.userns];
    if shares.iter().any(|share| matches!(share, Share::Container(_)))
        || matches!(settings.network, Network::Container(_))
    {
        return refuse("the sandboxes know no other container to share namespaces with".to_owned());
    }
    if let Some(rootfs) = &settings.rootfs {
        return refuse(format!("mount points would be made in '{rootfs}'; verify it with an image"));
    }
    for mount in settings.mounts.iter().filter(|mount| mount.kind == MountKind::Bind) {
        if !Path::new(&mount.source).exists() {
            return refuse(format!("'{}' would be made on this machine", mount.source));
        }
    }
    if settings.init && !hand::has(&["tini-static", "docker-init"]) {
        return refuse(
            "a script takes tini-static or docker-init for --init, and neither is here".to_owned(),
        );
    }
    for program in ["bash", "unshare", "nsenter", "setpriv", "mount", "ip", "nft"] {
        if !hand::has(&[program]) {
            return refuse(format!("the script needs {program}, which is not here"));
        }
    }
    Ok(())
}

/// The same container with another program, and nothing left open.
fn prepared(mut settings: Settings, sandbox: &Sandbox) -> Settings {
    settings.cmd = settings.entrypoint.drain(..).chain(settings.cmd.drain(..)).collect();
    settings.entrypoint = vec![runtime::WAIT.to_owned()];
    settings.mounts.push(engine::Mount {
        source: sandbox.program().display().to_string(),
        target: runtime::WAIT.to_owned(),
        read_only: true,
        ..engine::Mount::default()
    });
    (settings.interactive, settings.auto_remove, settings.attach) = (false, true, false);
    settings.restart = engine::Restart::No;
    settings
}

type Performed = (Container, String, Vec<Fact>);

/// By the engine.
fn performed(side: &Side, settings: Settings, name: Option<&str>) -> Result<Performed, Failure> {
    let engine = &side.engine;
    let container = engine.create(settings, name)?;
    let first = engine.first_steps(&container);
    let plan = engine.start(&container, StartOptions::default())?.plan;
    let looked = facts(side, &container, || Ok(()));
    let removed = engine.remove(&container, true, true);
    let facts = looked?;
    removed?;
    let Some(mut plan) = plan else { return Err(Failure::new("it ran already")) };
    plan.host.splice(0..0, first);
    Ok((container, steps::script(&plan), facts))
}

/// By the script. The directories that `create` makes are the script's own to make; volumes are made by another command.
fn by_hand(side: &Side, container: &Container, script: &str) -> Result<Vec<Fact>, Failure> {
    for mount in container.settings.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        side.engine.create_volume(&VolumeWish { name: mount.source.clone(), ..VolumeWish::default() })?;
    }
    let mut script = hand::Script::start(&side.base, script)?;
    let looked = facts(side, container, || script.check());
    for pid in side.engine.processes_of(container) {
        kill(pid);
    }
    script.end();
    looked
}

fn kill(pid: i32) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// The facts of the program that waits, once it does, and of the machine around it.
fn facts(
    side: &Side,
    container: &Container,
    mut check: impl FnMut() -> Result<(), Failure>,
) -> Result<Vec<Fact>, Failure> {
    let began = Instant::now();
    // It sleeps, so execve(2) is over: that gives a name before it gives words and variables.
    let is_it = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.contains(&format!(" ({}) S ", &runtime::WAIT[1..]))
    };
    let pid = loop {
        if let Some(pid) = side.engine.processes_of(container).into_iter().find(is_it) {
            break pid;
        }
        check()?;
        if began.elapsed() > LONGEST {
            return Err(Failure::new("cannot verify it: its program has not been started in time"));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let failed = |e: std::io::Error| Failure::new(format!("cannot look at process {pid}: {e}"));
    let mut facts = deep::of(pid).map_err(failed)?;
    let own = spaces::of(std::process::id().cast_signed()).map_err(failed)?.map(|n| n.to_string());
    let kinds: Vec<&str> = spaces::KINDS.iter().map(|kind| kind.name).collect();
    for fact in facts.iter_mut().filter(|fact| fact.group == "namespaces") {
        let same = kinds.iter().position(|kind| *kind == fact.name).is_some_and(|i| own[i] == fact.value);
        fact.value = if same { "this machine's" } else { "its own" }.to_owned();
    }
    facts.extend(hand::network(Some(pid))?);
    facts.extend(hand::network(None)?);
    Ok(facts)
}

/// Takes out what a script cannot do.
fn left_out(container: &Container, pairs: &mut Vec<Pair>) -> Vec<(String, &'static str)> {
    let s = &container.settings;
    let mut left_out = Vec::new();
    let mut leave_out = |group: &str, names: &[&str], why: &'static str| {
        pairs.retain(|pair| {
            let out = pair.fact.group == group
                && !pair.is_equal()
                && names.iter().any(|name| pair.fact.name.starts_with(name));
            if out {
                left_out.push((format!("{} {}", pair.fact.group, pair.fact.name), why));
            }
            !out
        });
    };
    leave_out(
        "rights",
        &["system calls"],
        "no command loads a filter of system calls that lasts through chroot(8)",
    );
    if s.tty {
        let why = "a script keeps the terminal that it was started on";
        leave_out("mounts", &["/dev/console"], why);
        leave_out("devices", &["/dev/console", "/dev/pts/"], why);
        leave_out("process", &["open descriptors"], why);
        leave_out("files", &["mounts"], why);
    }
    if s.pid == Share::Host {
        leave_out("process", &["number inside"], "this machine numbers it");
    }
    if s.init {
        leave_out("process", &["number inside"], "its init has started other programs before");
        leave_out("process", &["open descriptors"], "a script keeps the init by a descriptor");
    }
    left_out
}
