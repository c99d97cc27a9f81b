//! The whole file: from an OCI bundle to what the planner is asked for.

use super::document::{Device, Document, Linux};
use super::mounts::{label, mount, ranges, reason, root_propagation};
use super::process::{Facts, Place};
use super::{Config, ConfigError, hooks};
use crate::{Extra, Idmap, Mount, Resources, Root, Spec};
use kernel::bpf::DeviceRule;
use kernel::process as ns;
use oci_spec::runtime::LinuxNamespaceType;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use steps::{IdRange, Join, MoveLink, Node, TimeOffset, WriteResctrl};

/// A directory with a `config.json`, read.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute.
    pub dir: PathBuf,
    pub config: Document,
    /// The text of the file.
    pub text: String,
}

/// A `config.json` is some tens of kilobytes long; beyond this it is something else.
const LIMIT: u64 = 16 << 20;
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

impl Bundle {
    /// Reads the bundle in `dir`.
    pub fn read(dir: &Path) -> Config<Bundle> {
        let wrong = |why: String| ConfigError::new(dir.join("config.json").display().to_string(), why);
        let dir = dir
            .canonicalize()
            .map_err(|e| ConfigError::new(format!("the bundle {}", dir.display()), reason(&e)))?;
        let path = dir.join("config.json");
        // A FIFO would keep us waiting.
        let file = std::fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(&path);
        let file = file.map_err(|e| wrong(reason(&e)))?;
        let meta = file.metadata().map_err(|e| wrong(reason(&e)))?;
        if !meta.is_file() {
            return Err(wrong("is not a file".to_owned()));
        }
        if meta.len() > LIMIT {
            return Err(wrong(format!("{} bytes are too many", meta.len())));
        }
        let mut bytes = Vec::new();
        file.take(LIMIT).read_to_end(&mut bytes).map_err(|e| wrong(reason(&e)))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let config = parse(&text)?;
        Ok(Bundle { dir, config, text })
    }

    /// Whether its root is nobody outside: it has a user namespace.
    pub fn has_own_ids(&self) -> bool {
        let spaces = self.config.linux.as_ref().and_then(|linux| linux.namespaces.as_ref());
        spaces.into_iter().flatten().any(|n| n.typ() == LinuxNamespaceType::User)
    }

    /// The directory that will be `/`.
    pub fn rootfs(&self) -> Config<PathBuf> {
        let Some(root) = &self.config.root else { return Err(ConfigError::new("root", "is missing")) };
        if root.path.is_empty() {
            return Err(ConfigError::new("root.path", "is missing"));
        }
        if !super::mounts::fits(&root.path) {
            let why = format!("a path of {} bytes is too long", root.path.len());
            return Err(ConfigError::new("root.path", why));
        }
        let path = self.dir.join(&root.path);
        let path = path
            .canonicalize()
            .map_err(|e| ConfigError::new("root.path", format!("{}: {}", path.display(), reason(&e))))?;
        if !path.is_dir() {
            return Err(ConfigError::new("root.path", format!("{} is not a directory", path.display())));
        }
        Ok(path)
    }
}

/// Understands the text of a `config.json`; errors name the field.
pub fn parse(text: &str) -> Config<Document> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let spec: Document = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let field = e.path().to_string();
        ConfigError::new(
            if matches!(field.as_str(), "." | "?") { "the file".to_owned() } else { field },
            e.inner(),
        )
    })?;
    reader.end().map_err(|e| ConfigError::new("the file", e))?;
    if text.contains("\\u0000") {
        no_zeros(text)?;
    }
    version(&spec.oci_version)?;
    Ok(spec)
}

/// No name of the kernel's has a zero byte in it: what stands behind it would be cut off in silence.
fn no_zeros(text: &str) -> Config<()> {
    fn find(at: &str, value: &serde_json::Value) -> Option<String> {
        match value {
            serde_json::Value::String(text) => text.contains('\0').then(|| at.to_owned()),
            serde_json::Value::Array(list) => {
                list.iter().enumerate().find_map(|(i, value)| find(&format!("{at}[{i}]"), value))
            }
            serde_json::Value::Object(fields) => fields.iter().find_map(|(name, value)| {
                let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                if name.contains('\0') { Some(at) } else { find(&at, value) }
            }),
            _ => None,
        }
    }
    let value = serde_json::from_str(text).map_err(|e| ConfigError::new("the file", e))?;
    match find("", &value) {
        Some(field) => Err(ConfigError::new(field.replace('\0', "\\0"), "contains a zero byte")),
        None => Ok(()),
    }
}

/// Versions 1.x are one language, whose words grow.
fn version(text: &str) -> Config<()> {
    let wrong = || ConfigError::new("ociVersion", format!("unknown version '{text}'"));
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<Option<u32>> = numbers.split('.').map(|n| n.parse().ok()).collect();
    match parts[..] {
        [Some(1), Some(_), Some(_)] => Ok(()),
        _ => Err(wrong()),
    }
}

/// `y` of the version `1.y.z`.
fn minor_version(text: &str) -> u32 {
    text.split('.').nth(1).and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// Paths of the container's. They have to be absolute; whoever writes them without their slash means no others.
fn from_root(field: &str, paths: &mut [String]) -> Config<()> {
    for path in paths {
        if path.is_empty() {
            return Err(ConfigError::new(field, "a path is empty"));
        }
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
    }
    Ok(())
}

/// What is not in the file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The container's.
    pub id: String,
    /// Empty, unreadable: to cover with.
    pub empty_file: String,
    pub empty_dir: String,
    /// The socket at which it waits for its start.
    pub begin: Option<String>,
    /// The socket at which who wants to enter before that is given its namespaces.
    pub visit: Option<String>,
    pub keep_fds: u32,
    pub no_new_keyring: bool,
    /// The ids of a user namespace that is joined, where the file does not say them.
    pub joined_ids: Option<(Vec<IdRange>, Vec<IdRange>)>,
}

/// What a file asks for.
#[derive(Debug)]
pub struct Understood {
    pub spec: Spec,
    /// Files of resctrl that its processes are written into.
    pub rdt: Vec<String>,
    /// Who answers system calls for it.
    pub listener: Option<super::Listener>,
    /// What was asked for and is not given: a line each.
    pub warnings: Vec<String>,
}

/// Also where the file says nothing of them: then only the usual devices may be used.
fn limits(linux: &Linux, version: &str) -> Config<(Resources, Vec<DeviceRule>)> {
    let (mut resources, rules) = super::resources(&linux.resources.clone().unwrap_or_default())?;
    if resources.pids == Some(0) && minor_version(version) < 3 {
        // Zero has been a limit since 1.3; before, it was the value of a field that is not set.
        resources.pids = Some(-1);
    }
    Ok((resources, rules))
}

/// What the planner is asked for. Control groups are chosen by the caller.
pub fn spec(bundle: &Bundle, options: &Options) -> Config<Understood> {
    let config = &bundle.config;
    let linux = config.linux.clone().unwrap_or_default();
    let (namespaces, join) = namespaces(&linux)?;
    let all = namespaces | join.iter().fold(0, |all, j| all | j.flag);
    let (ids, group_ids) = ids(&linux, namespaces, &join, options)?;
    let Some(process) = &config.process else { return Err(ConfigError::new("process", "is missing")) };
    let user_namespace = all & ns::CLONE_NEWUSER != 0;
    let place =
        Place { id: &options.id, first: true, user_namespace, no_new_keyring: options.no_new_keyring };
    let converted = super::process(process, &linux.part(), &place, &Facts::read(user_namespace))?;
    let root = bundle.rootfs()?.display().to_string();
    let idmap = Idmap::No;
    let mut spec = Spec {
        name: options.id.clone(),
        root: Root::Directory { path: root, idmap },
        read_only: config.root.as_ref().is_some_and(|root| root.readonly),
        namespaces,
        join,
        ids,
        group_ids,
        time_offsets: time_offsets(&linux, namespaces)?,
        propagation: Some(match linux.rootfs_propagation.as_deref() {
            None | Some("") => (kernel::mount::Propagation::Slave, true),
            Some(word) => root_propagation(word)?,
        }),
        hostname: uts(config.hostname.as_ref(), "hostname", all)?,
        domainname: uts(config.domainname.as_ref(), "domainname", all)?,
        masked: linux.masked_paths.clone().unwrap_or_default(),
        read_only_paths: linux.readonly_paths.clone().unwrap_or_default(),
        empty_file: options.empty_file.clone(),
        empty_dir: options.empty_dir.clone(),
        begin: options.begin.clone(),
        visit: options.visit.clone(),
        keep_fds: options.keep_fds,
        process: converted.process,
        oom_score_adj: converted.oom_score_adj,
        ..Spec::default()
    };
    from_root("linux.maskedPaths", &mut spec.masked)?;
    from_root("linux.readonlyPaths", &mut spec.read_only_paths)?;
    for (index, given) in config.mounts.iter().flatten().enumerate() {
        spec.mounts.push(mount(given, index, &bundle.dir, all & ns::CLONE_NEWUSER != 0)?);
    }
    devices(&linux, &mut spec)?;
    sysctls(&linux, all, &mut spec)?;
    (spec.resources, spec.device_rules) = limits(&linux, &config.oci_version)?;
    spec.group_owner = group_owner(&spec);
    links(&linux, all, &mut spec)?;
    if namespaces & ns::CLONE_NEWNET != 0 {
        // Others bring it up, and who calls us relies on it.
        spec.inside.push(steps::ConfigureLinks::new(Vec::new()).into());
    }
    if let Some(text) = linux.mount_label.as_deref().filter(|label| !label.is_empty()) {
        if !super::process::has_module(super::process::Module::Selinux) {
            return Err(ConfigError::new("linux.mountLabel", "SELinux does not run here"));
        }
        spec.mounts.iter_mut().for_each(|mount| label(mount, text));
    }
    if linux.cgroups_path.as_deref().is_some_and(|path| path.split('/').any(|part| part == "..")) {
        return Err(ConfigError::new("linux.cgroupsPath", "goes up"));
    }
    let mut rdt = Vec::new();
    if let Some(given) = &linux.intel_rdt {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let classes = super::rdt::classes(given, &options.id, super::rdt::mount_point(&mounts).as_deref())?;
        spec.host.extend(classes.make);
        let enter = |file: &String| WriteResctrl { file: file.as_str().into(), line: None }.into();
        spec.joined.extend(classes.tasks.iter().map(enter));
        rdt = classes.tasks;
    }
    hooks::check(config.hooks.as_ref())?;
    mapped(&spec)?;
    Ok(Understood { spec, rdt, listener: converted.listener, warnings: converted.warnings })
}

/// A group that the container sees as its root, and may write to, is its user's.
fn group_owner(spec: &Spec) -> Option<u32> {
    let writable = |m: &Mount| matches!(m, Mount::Cgroup { attr, .. } if !attr.read_only);
    let uid = spec.process.credentials.uid;
    let outside = |range: &IdRange| {
        let within = uid.checked_sub(range.inside).filter(|n| *n < range.count)?;
        Some(range.outside + within)
    };
    if spec.namespaces & ns::CLONE_NEWCGROUP == 0 || !spec.mounts.iter().any(writable) {
        return None;
    }
    if spec.ids.is_empty() { Some(uid) } else { spec.ids.iter().find_map(outside) }
}

/// Each kind with its bit, and its name below `/proc/PID/ns`.
const KINDS: [(LinuxNamespaceType, u64, &str); 8] = [
    (LinuxNamespaceType::Mount, ns::CLONE_NEWNS, "mnt"),
    (LinuxNamespaceType::Cgroup, ns::CLONE_NEWCGROUP, "cgroup"),
    (LinuxNamespaceType::Uts, ns::CLONE_NEWUTS, "uts"),
    (LinuxNamespaceType::Ipc, ns::CLONE_NEWIPC, "ipc"),
    (LinuxNamespaceType::User, ns::CLONE_NEWUSER, "user"),
    (LinuxNamespaceType::Pid, ns::CLONE_NEWPID, "pid"),
    (LinuxNamespaceType::Network, ns::CLONE_NEWNET, "net"),
    (LinuxNamespaceType::Time, ns::CLONE_NEWTIME, "time"),
];

fn namespaces(linux: &Linux) -> Config<(u64, Vec<Join>)> {
    let (mut new, mut join, mut seen) = (0, Vec::<Join>::new(), 0);
    for (index, given) in linux.namespaces.iter().flatten().enumerate() {
        let wrong =
            |field: &str, why: String| ConfigError::new(format!("linux.namespaces[{index}].{field}"), why);
        let kind = KINDS.iter().find(|(typ, _, _)| *typ == given.typ());
        let Some((typ, flag, name)) = kind else {
            return Err(wrong("type", "unknown kind".to_owned()));
        };
        if seen & flag != 0 {
            return Err(wrong("type", format!("there are two of the kind {typ}")));
        }
        seen |= flag;
        match given.path().as_ref().filter(|p| !p.as_os_str().is_empty()) {
            None => new |= flag,
            Some(path) => {
                let path = path.display().to_string();
                if !path.starts_with('/') {
                    return Err(wrong("path", format!("'{path}' is not an absolute path")));
                }
                // The one that the runtime is in already: nothing is to be done.
                if same_namespace(&path, name, *flag)
                    .map_err(|why| wrong("path", format!("{path}: {why}")))?
                {
                    continue;
                }
                join.push(Join { kind: (*name).to_owned(), flag: *flag, path });
            }
        }
    }
    // The caller's own is none either: its root would be changed.
    if new & ns::CLONE_NEWNS == 0 && !join.iter().any(|join| join.flag == ns::CLONE_NEWNS) {
        return Err(ConfigError::new("linux.namespaces", "a container needs a mount namespace"));
    }
    Ok((new, join))
}

/// Whether the namespace at `path` is our own; an error when it is none of that kind.
fn same_namespace(path: &str, name: &str, flag: u64) -> Result<bool, String> {
    use std::os::unix::fs::MetadataExt;
    let there = std::fs::File::open(path).map_err(|e| reason(&e))?;
    if ns::namespace_kind(&there) != Ok(flag) {
        return Err(format!("is no {name} namespace"));
    }
    let there = there.metadata().map_err(|e| reason(&e))?;
    let own = std::fs::metadata(format!("/proc/self/ns/{name}")).map_err(|e| reason(&e))?;
    Ok(there.dev() == own.dev() && there.ino() == own.ino())
}

/// `[3]: why` is about the fourth of `field`.
fn at_index(field: &str, why: &str) -> ConfigError {
    match why.split_once(": ") {
        Some((index, why)) if index.starts_with('[') => ConfigError::new(format!("{field}{index}"), why),
        _ => ConfigError::new(field, why),
    }
}

type Ids = (Vec<IdRange>, Vec<IdRange>);

fn ids(linux: &Linux, new: u64, join: &[Join], options: &Options) -> Config<Ids> {
    let of = |field: &str, given: &Option<Vec<_>>| {
        ranges(given.as_deref().unwrap_or_default()).map_err(|why| at_index(field, &why))
    };
    let uids = of("linux.uidMappings", &linux.uid_mappings)?;
    let gids = of("linux.gidMappings", &linux.gid_mappings)?;
    let joins = join.iter().any(|j| j.flag == ns::CLONE_NEWUSER);
    for (field, ranges) in [("linux.uidMappings", &uids), ("linux.gidMappings", &gids)] {
        if new & ns::CLONE_NEWUSER != 0 && ranges.is_empty() {
            return Err(ConfigError::new(field, "a user namespace needs a mapping"));
        }
        if new & ns::CLONE_NEWUSER == 0 && !joins && !ranges.is_empty() {
            return Err(ConfigError::new(field, "there is no user namespace to map ids of"));
        }
    }
    match &options.joined_ids {
        Some(ids) if joins && uids.is_empty() => Ok(ids.clone()),
        _ => Ok((uids, gids)),
    }
}

/// Who a container is made as, and who its program is, must be somebody in its user namespace.
fn mapped(spec: &Spec) -> Config<()> {
    let credentials = &spec.process.credentials;
    let groups = if spec.group_ids.is_empty() { &spec.ids } else { &spec.group_ids };
    for (field, ranges, id) in
        [("process.user.uid", &spec.ids, credentials.uid), ("process.user.gid", groups, credentials.gid)]
    {
        for id in [0, id] {
            let of = |r: &IdRange| id.checked_sub(r.inside).is_some_and(|at| at < r.count);
            if !ranges.is_empty() && !ranges.iter().any(of) {
                return Err(ConfigError::new(field, format!("the id {id} is not mapped")));
            }
        }
    }
    Ok(())
}

fn time_offsets(linux: &Linux, new: u64) -> Config<Vec<TimeOffset>> {
    let mut all = Vec::new();
    for (clock, offset) in linux.time_offsets.iter().flatten() {
        let field = format!("linux.timeOffsets.{clock}");
        if new & ns::CLONE_NEWTIME == 0 {
            return Err(ConfigError::new(field, "there is no new time namespace"));
        }
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(ConfigError::new(field, "unknown clock"));
        }
        let nanoseconds = offset.nanosecs().unwrap_or_default();
        if nanoseconds >= 1_000_000_000 {
            return Err(ConfigError::new(field, "a second has fewer nanoseconds"));
        }
        let seconds = offset.secs().unwrap_or_default();
        all.push(TimeOffset { clock: clock.clone(), seconds, nanoseconds });
    }
    all.sort_by(|a, b| a.clock.cmp(&b.clock));
    Ok(all)
}

fn uts(name: Option<&String>, field: &str, namespaces: u64) -> Config<String> {
    match name {
        Some(name) if !name.is_empty() && namespaces & ns::CLONE_NEWUTS == 0 => {
            Err(ConfigError::new(field, "needs a UTS namespace of the container's own"))
        }
        Some(name) if name.len() > 64 => Err(ConfigError::new(field, "is longer than 64 bytes")),
        name => Ok(name.cloned().unwrap_or_default()),
    }
}

/// Those that every container has.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

fn devices(linux: &Linux, spec: &mut Spec) -> Config<()> {
    let target = |m: &Mount| match m {
        Mount::Dev { .. } => Some(true),
        Mount::Bind { target, .. } if target.trim_end_matches('/') == "/dev" => Some(false),
        _ => None,
    };
    // A bind mount over /dev brings the devices along.
    let own = spec.mounts.iter().find_map(target);
    let (dev, bound) = (own == Some(true), own == Some(false));
    let mut nodes = Vec::new();
    for (index, given) in linux.devices.iter().flatten().enumerate() {
        nodes.push(node(given, index)?);
    }
    for (name, major, minor) in DEVICES {
        let name = format!("/dev/{name}");
        if !bound && nodes.iter().all(|n| n.name.as_str() != name) {
            let (name, mode) = (name.into(), 0o666);
            nodes.push(Node { name, block: false, fifo: false, major, minor, mode, uid: 0, gid: 0 });
        }
    }
    for mut node in nodes {
        let path = node.name.as_str().to_owned();
        match path.strip_prefix("/dev/") {
            // Our own terminal is there.
            Some("console" | "ptmx") => {}
            Some(name) if dev => {
                node.name = name.into();
                spec.devices.push(node);
            }
            _ if bound && path.starts_with("/dev/") => {}
            _ if spec.ids.is_empty() => spec.nodes.push(node),
            // Nobody may make a device in a user namespace: the host's own is shown.
            _ => spec.mounts.push(Mount::Bind {
                source: path.clone(),
                target: path,
                attr: Default::default(),
                recursive: false,
                idmap: Idmap::No,
                file: true,
                extra: Extra::default(),
            }),
        }
    }
    Ok(())
}

fn node(given: &Device, index: usize) -> Config<Node> {
    let wrong = |field: &str, why: String| ConfigError::new(format!("linux.devices[{index}].{field}"), why);
    let path = &given.path;
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") || path.trim_matches('/').is_empty()
    {
        return Err(wrong("path", format!("'{path}' is not an absolute path")));
    }
    let fifo = given.kind == "p";
    if !fifo && !matches!(given.kind.as_str(), "c" | "u" | "b") {
        return Err(wrong("type", format!("'{}' is no kind of device: c, u, b or p", given.kind)));
    }
    // See makedev(3): twelve and twenty bits are what the kernel has.
    let number = |field: &str, value: Option<i64>, bits: u32| match value {
        _ if fifo => Ok(0),
        None => Err(wrong(field, "is missing".to_owned())),
        Some(value) => u32::try_from(value)
            .ok()
            .filter(|n| *n < 1 << bits)
            .ok_or_else(|| wrong(field, format!("{value} is no device number"))),
    };
    let mode = given.file_mode.unwrap_or(0o666);
    if mode > 0o177_777 {
        return Err(wrong("fileMode", format!("{mode:#o} is no mode of a file")));
    }
    let id = |field: &str, id: Option<u32>| match id.unwrap_or_default() {
        u32::MAX => Err(wrong(field, "nobody has this id".to_owned())),
        id => Ok(id),
    };
    Ok(Node {
        name: path.trim_end_matches('/').into(),
        block: given.kind == "b",
        fifo,
        major: number("major", given.major, 12)?,
        minor: number("minor", given.minor, 20)?,
        // Some write the type of the file into it, too.
        mode: mode & 0o7777,
        uid: id("uid", given.uid)?,
        gid: id("gid", given.gid)?,
    })
}

/// Keys of namespaces, and which namespace.
const IPC_KEYS: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

fn sysctls(linux: &Linux, namespaces: u64, spec: &mut Spec) -> Config<()> {
    for (key, value) in linux.sysctl.iter().flatten() {
        let wrong = |why: String| ConfigError::new(format!("linux.sysctl.{key}"), why);
        // With slashes instead of dots a name may have dots in it, such as that of a VLAN.
        let path = if key.contains('/') { key.clone() } else { key.replace('.', "/") };
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-:@".contains(c))
        };
        if !path.split('/').all(plain) {
            return Err(wrong("is no name of a kernel parameter".to_owned()));
        }
        let dotted = path.replace('/', ".");
        // One parameter, one value: nothing that starts another (CVE-2022-0811).
        if value.contains(['\n', '\0']) {
            return Err(wrong("its value has more than one line".to_owned()));
        }
        let (flag, kind) = if dotted.starts_with("net.") {
            (ns::CLONE_NEWNET, "network")
        } else if IPC_KEYS.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
            (ns::CLONE_NEWIPC, "ipc")
        } else if matches!(dotted.as_str(), "kernel.domainname" | "kernel.hostname") {
            (ns::CLONE_NEWUTS, "uts")
        } else {
            return Err(wrong("is not a parameter of a namespace".to_owned()));
        };
        if namespaces & flag == 0 {
            return Err(wrong(format!("needs a {kind} namespace of the container's own")));
        }
        if dotted == "kernel.hostname" && !spec.hostname.is_empty() {
            return Err(wrong("the host name is set by hostname".to_owned()));
        }
        spec.sysctls.insert(path, value.clone());
    }
    Ok(())
}

fn links(linux: &Linux, namespaces: u64, spec: &mut Spec) -> Config<()> {
    let mut links: Vec<_> = linux.net_devices.iter().flatten().collect();
    links.sort_by_key(|(name, _)| name.as_str());
    let bad = |name: &str| {
        name.is_empty() || name.len() > 15 || matches!(name, "." | "..") || name.contains(['/', ':', ' '])
    };
    for (name, device) in links {
        let field = format!("linux.netDevices.{name}");
        let to = device.name().clone().filter(|to| !to.is_empty()).unwrap_or_else(|| name.clone());
        if bad(name) || bad(&to) {
            return Err(ConfigError::new(field, "is no name of a network device"));
        }
        if namespaces & ns::CLONE_NEWNET == 0 {
            return Err(ConfigError::new(field, "needs a network namespace of the container's own"));
        }
        if kernel::netlink::route::link_index(name).is_err() {
            return Err(ConfigError::new(field, "there is no such device"));
        }
        spec.joined.push(MoveLink { name: name.as_str().into(), to: to.into() }.into());
    }
    Ok(())
}
