//! From what a container shall be to what the runtime is asked for: Docker's defaults, as tables.

mod binds;
pub(crate) mod filter;
mod limits;
mod texts;

pub(crate) use filter::agent;
pub use limits::ignored_limits;
pub(crate) use limits::resources as limits_of;

use crate::devices::{device_rules, devices};
use crate::ids::ID_COUNT;
use crate::users::{self, User};
use crate::{Container, Engine, Error, Network, Result, Settings, Share};
use kernel::caps::CapSet;
use kernel::keys::Searchers;
use kernel::mount::Attr;
use kernel::process as ns;
use runtime::oci::process::Module;
use runtime::{Extra, GroupPaths, Host, Idmap, Lower, Mount, Process, Root, Spec, Writable};
use steps::{Credentials, IdRange, Join, Keyring, Label, Limit, WriteFile};

/// Hidden in every container that is not privileged: files that tell of the host or reach its hardware.
pub(crate) const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// [`MASKED`], and what only some machines have.
pub(crate) fn masked() -> Vec<String> {
    let mut all: Vec<String> = MASKED.iter().map(|path| (*path).to_owned()).collect();
    all.extend(runtime::thermal_counters(runtime::PROCESSORS));
    all
}

pub(crate) const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What the caller knows beside the settings.
#[derive(Debug)]
pub(crate) struct Facts {
    pub attachment: network::Attachment,
    /// Ids of the container's namespaces that it joins, as `/proc/PID/ns/…`.
    pub join: Vec<Join>,
}

impl Engine {
    pub(crate) fn specify(&self, container: &Container, facts: Facts, host_facts: &Host) -> Result<Spec> {
        let s = &container.settings;
        let resources = limits::resources(&s.resources)?;
        let root = self.root_of(container);
        let user = self.user_of(container, &root)?;
        let run = self.run_directory(container).display().to_string();
        let mut mounts = kernel_mounts(s);
        let mut host = Vec::new();
        self.own_files(container, &run, &mut host, &mut mounts)?;
        self.user_mounts(container, &mut mounts)?;
        let edits = crate::cdi::edits(&s.cdi)?;
        binds::described(container, &edits.mounts, &mut mounts)?;
        let asked = self.hooks(container, &edits, &root, namespaces(container))?;
        let images = self.image_mounts(container);
        let mut sysctls = s.sysctls.clone();
        sysctls.extend(facts.attachment.sysctls.iter().map(|(k, v)| (k.clone(), v.clone())));
        if s.network != Network::Host && !s.privileged {
            // Groups that the user namespace does not map are refused.
            let groups = if container.id_base == 0 { "0 2147483647" } else { "0 65535" };
            // As Docker: ports below 1024 and ping need no rights inside.
            for (key, value) in
                [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", groups)]
            {
                if !matches!(s.network, Network::Container(_)) {
                    sysctls.entry(key.to_owned()).or_insert_with(|| value.to_owned());
                }
            }
        }
        host.extend(asked.host);
        host.extend(facts.attachment.host);
        let open = s.privileged || s.security.unmask;
        let read_only_paths = READ_ONLY.iter().filter(|_| !open).map(|path| (*path).to_owned());
        Ok(Spec {
            name: container.name.clone(),
            root,
            read_only: s.read_only,
            namespaces: namespaces(container),
            join: facts.join,
            ids: ids(container),
            hostname: self.hostname(container),
            domainname: s.domainname.clone(),
            mounts,
            masked: if open { Vec::new() } else { masked() },
            read_only_paths: read_only_paths.collect(),
            empty_file: self.state.join("empty").display().to_string(),
            empty_dir: self.state.join("empty.d").display().to_string(),
            devices: devices(s, &edits)?,
            device_rules: device_rules(s, &edits)?,
            groups: GroupPaths::few(&crate::group::of(container), host_facts, &resources),
            resources,
            sysctls,
            oom_score_adj: s.resources.oom_score_adj,
            host,
            joined: facts.attachment.joined,
            inside: facts.attachment.inside,
            process: process(container, &user, &edits, &self.hostname(container))?,
            images,
            hooks: asked.hooks,
            bundle: asked.bundle,
            begin: asked.begin,
            ..Spec::default()
        })
    }

    pub(crate) fn root_of(&self, container: &Container) -> Root {
        let dir = self.directory(container);
        let path = |name: &str| dir.join(name).display().to_string();
        match &container.settings.rootfs {
            Some(rootfs) => Root::Directory { path: rootfs.clone(), idmap: Idmap::Yes },
            None => {
                // The machine's own root cannot be covered by its mapped copy: that is attached beside.
                let at =
                    |source: &String| if container.upper_in_memory { path("lower") } else { source.clone() };
                let lower = container.lower.iter().map(|l| Lower { source: l.clone(), at: at(l) }).collect();
                let (dir, in_memory) = (path("rw"), container.upper_in_memory);
                let writable = Writable { dir, in_memory, size: container.settings.storage_size };
                Root::Overlay { lower, writable, merged: path("merged") }
            }
        }
    }

    pub(crate) fn user_of(&self, container: &Container, root: &Root) -> Result<User> {
        let roots = match root {
            Root::Directory { path, .. } => vec![path.clone()],
            Root::Overlay { lower, writable, .. } => {
                let upper = format!("{}/upper", writable.dir);
                std::iter::once(upper).chain(lower.iter().map(|l| l.source.clone())).collect()
            }
        };
        let (passwd, group) = (users::read_in(&roots, "etc/passwd"), users::read_in(&roots, "etc/group"));
        users::find(&container.settings.user, &passwd, &group, &container.settings.group_add)
    }

    /// `/etc/hosts`, `/etc/hostname`, `/etc/resolv.conf`: made for each start, for the container's eyes.
    fn own_files(
        &self,
        container: &Container,
        run: &str,
        host: &mut Vec<steps::Step>,
        mounts: &mut Vec<Mount>,
    ) -> Result<()> {
        let s = &container.settings;
        let owner = (container.id_base != 0).then_some((container.id_base, container.id_base));
        for (name, content) in self.own_texts(container)? {
            let path = format!("{run}/{name}");
            host.push(WriteFile { path: path.as_str().into(), content, mode: 0o644, owner }.into());
            let target = format!("/etc/{name}");
            if s.mounts.iter().all(|m| m.target != target) {
                mounts.push(Mount::Bind {
                    source: path,
                    target,
                    attr: Attr::default(),
                    recursive: false,
                    idmap: Idmap::No,
                    file: true,
                    extra: Extra::default(),
                });
            }
        }
        Ok(())
    }
}

pub(crate) fn hostname(container: &Container) -> String {
    let s = &container.settings;
    match (&s.network, s.hostname.is_empty()) {
        (_, false) => s.hostname.clone(),
        (Network::Host, true) => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        _ => container.short_id().to_owned(),
    }
}

pub(crate) fn ids(container: &Container) -> Vec<IdRange> {
    let base = container.id_base;
    if base == 0 { Vec::new() } else { vec![IdRange { inside: 0, outside: base, count: ID_COUNT }] }
}

/// All eight, less those that are shared: the new ones.
pub(crate) fn namespaces(container: &Container) -> u64 {
    let s = &container.settings;
    let own = |share: &Share, flag: u64| if *share == Share::Private { flag } else { 0 };
    let net = if matches!(s.network, Network::Bridge | Network::None) { ns::CLONE_NEWNET } else { 0 };
    let uts = if matches!(s.network, Network::Host) && s.hostname.is_empty() && s.uts == Share::Private {
        ns::CLONE_NEWUTS
    } else {
        own(&s.uts, ns::CLONE_NEWUTS)
    };
    ns::CLONE_NEWNS
        | ns::CLONE_NEWTIME
        | net
        | uts
        | own(&s.pid, ns::CLONE_NEWPID)
        | own(&s.ipc, ns::CLONE_NEWIPC)
        | own(&s.cgroupns, ns::CLONE_NEWCGROUP)
        // That of a container whose processes it shares, which may have none.
        | if container.id_base == 0 || matches!(s.pid, Share::Container(_)) { 0 } else { ns::CLONE_NEWUSER }
}

fn kernel_mounts(s: &Settings) -> Vec<Mount> {
    let open = s.privileged;
    let fs = |fstype: &str, target: &str, attr: Attr, options: &[(&str, &str)]| Mount::Fs {
        fstype: fstype.to_owned(),
        source: if fstype == "tmpfs" { "shm" } else { fstype }.to_owned(),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        attr,
        target: target.to_owned(),
        extra: Extra { strict: true, ..Extra::default() },
    };
    let strict = Attr::NO_SUID_DEV_EXEC;
    let read_only = Attr { read_only: !open, ..strict };
    let shm = (if s.shm_size == 0 { 64 << 20 } else { s.shm_size }).to_string();
    let dev = vec![("mode".to_owned(), "755".to_owned()), ("size".to_owned(), "65536k".to_owned())];
    vec![
        fs("proc", "/proc", strict, &[]),
        Mount::Dev { attr: Attr { nosuid: true, strictatime: true, ..Attr::default() }, options: dev },
        fs(
            "devpts",
            "/dev/pts",
            Attr { nodev: false, ..strict },
            &[("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")],
        ),
        fs("sysfs", "/sys", read_only, &[]),
        Mount::Cgroup { attr: read_only, target: "/sys/fs/cgroup".to_owned() },
        fs("mqueue", "/dev/mqueue", strict, &[]),
        fs("tmpfs", "/dev/shm", strict, &[("mode", "1777"), ("size", &shm)]),
    ]
}

/// The capabilities that a container is given.
pub(crate) fn capabilities(s: &Settings) -> CapSet {
    let base = if s.privileged { CapSet::ALL } else { CapSet::DOCKER_DEFAULT };
    // `--cap-drop ALL --cap-add X` leaves X; `--cap-add ALL --cap-drop X` all but X.
    let mut set =
        if s.cap_drop == CapSet::ALL { CapSet::EMPTY | s.cap_add } else { (base | s.cap_add) - s.cap_drop };
    if let Ok(last) = kernel::caps::last_cap() {
        set = set & CapSet(u64::MAX >> (63 - last.min(63)));
    }
    let all = s.privileged || s.cap_add == CapSet::ALL;
    // "All" on the host's terms is all that we have ourselves: a machine may keep some from its root.
    match kernel::caps::current() {
        Ok((_, permitted, _)) if all && s.userns == Share::Host => set & permitted,
        _ => set,
    }
}

/// Numbers of RLIMIT_…, by the names of `--ulimit`.
const LIMITS: [(&str, u32); 15] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

pub(crate) fn credentials(s: &Settings, user: &User, privileged: bool) -> Result<Credentials> {
    let caps = if privileged {
        CapSet::ALL
            & capabilities(&Settings { privileged: true, userns: s.userns.clone(), ..Settings::default() })
    } else {
        capabilities(s)
    };
    // A user who is not root has them in reserve only, for programs with file capabilities (as Docker).
    let held = if user.uid == 0 { caps } else { CapSet::EMPTY };
    let limit = |u: &crate::Ulimit| {
        let resource = LIMITS.iter().find(|(name, _)| *name == u.name).map(|(_, n)| *n);
        let value = |v: i64| u64::try_from(v).ok();
        resource
            .map(|resource| Limit {
                resource,
                name: u.name.as_str().into(),
                soft: value(u.soft),
                hard: value(u.hard),
            })
            .ok_or_else(|| Error::Invalid(format!("invalid ulimit type: {}", u.name)))
    };
    Ok(Credentials {
        uid: user.uid,
        gid: user.gid,
        groups: std::iter::once(user.gid).chain(user.groups.iter().copied()).collect(),
        umask: Some(0o022),
        bounding: caps,
        effective: held,
        permitted: held,
        inheritable: CapSet::EMPTY,
        ambient: CapSet::EMPTY,
        no_new_privileges: s.security.no_new_privileges,
        limits: s.ulimits.iter().map(limit).collect::<Result<_>>()?,
        labels: labels(s, privileged)?,
        seccomp: filter::seccomp(s, caps, privileged)?,
        ..Credentials::default()
    })
}

/// A profile that is asked for and cannot be had is an error, and no silence.
fn labels(s: &Settings, privileged: bool) -> Result<Vec<Label>> {
    let profile = match s.security.apparmor.as_deref() {
        None => return Ok(Vec::new()),
        Some(_) if privileged || s.privileged => "unconfined",
        Some(profile) => profile,
    };
    match runtime::oci::process::has_module(Module::AppArmor) {
        true => Ok(vec![Label::apparmor(profile)]),
        false if profile == "unconfined" => Ok(Vec::new()),
        false => Err(Error::Invalid(format!(
            "the AppArmor profile '{profile}' is asked for, but AppArmor does not run on this machine"
        ))),
    }
}

/// A session keyring of the container's own: the host's keys stay out, and `exec` finds those of the first process.
pub(crate) fn keyring(container: &Container, searchers: Option<Searchers>) -> Keyring {
    Keyring { name: format!("_ses.{}", container.id).into(), searchers, label: None }
}

fn process(container: &Container, user: &User, edits: &crate::cdi::Edits, hostname: &str) -> Result<Process> {
    let s = &container.settings;
    let mut env = s.env.clone();
    for line in &edits.env {
        let name = line.split('=').next();
        env.retain(|old| old.split('=').next() != name);
        env.push(line.clone());
    }
    let mut default = |name: &str, value: &str| {
        if !env.iter().any(|e| e.split_once('=').is_some_and(|(k, _)| k == name)) {
            env.push(format!("{name}={value}"));
        }
    };
    default("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    default("HOSTNAME", hostname);
    if s.tty {
        default("TERM", "xterm");
    }
    default("HOME", &user.home);
    let argv = s.entrypoint.iter().chain(&s.cmd).cloned().collect();
    let mut credentials = credentials(s, user, false)?;
    let searchers = if container.id_base == 0 { Searchers::Owner } else { Searchers::Others };
    credentials.groups.extend(edits.groups.iter().filter(|group| !user.groups.contains(group)));
    credentials.keyring = Some(keyring(container, Some(searchers)));
    Ok(Process {
        argv,
        env,
        cwd: s.workdir.clone(),
        terminal: s.tty,
        terminal_size: crate::attach::terminal_size().filter(|_| s.tty),
        init: s.init,
        credentials,
        ..Process::default()
    })
}
