//! `-v`, `--mount`, `--tmpfs`, `--device`, and the volumes that an image asks for.

use super::Result;
use super::texts::{absolute, bad_flag, parse_size};
use crate::cli::ContainerArgs;
use engine::{Container, Device, Mount, MountKind, Settings};
use image::RunConfig;

/// All mounts: at one place there may be one only, and the command line goes before the image.
pub fn mounts(args: &ContainerArgs, config: &RunConfig) -> Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    for spec in &args.volume {
        mounts.push(volume(spec)?);
    }
    for spec in &args.mount {
        mounts.push(mount(spec).map_err(|cause| bad_flag("--mount", spec, &cause))?);
    }
    for spec in &args.tmpfs {
        mounts.push(tmpfs(spec)?);
    }
    let mut targets: Vec<&str> = mounts.iter().map(|m| m.target.as_str()).collect();
    targets.sort_unstable();
    if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("Duplicate mount point: {}", pair[0]));
    }
    for target in config.volumes.keys() {
        let target = clean(target);
        if target.starts_with('/') && target != "/" && !mounts.iter().any(|m| m.target == target) {
            mounts.push(Mount { kind: MountKind::Volume, target, ..Mount::default() });
        }
    }
    Ok(mounts)
}

/// `--volumes-from container[:ro]`: whose, and whether they are read-only here.
pub fn volumes_from(word: &str) -> Result<(&str, bool)> {
    match word.split_once(':') {
        None => Ok((word, false)),
        Some((name, mode)) if mode.split(',').all(|m| matches!(m, "ro" | "rw" | "z" | "Z")) => {
            Ok((name, mode.split(',').any(|m| m == "ro")))
        }
        Some((_, mode)) => Err(format!("invalid mode: {mode}")),
    }
}

/// Adds the volumes and directories of another container, where there is none yet at that place (or only one that the
/// image asks for).
pub fn add_mounts_of(settings: &mut Settings, other: &Container, read_only: bool) {
    for mount in other.settings.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs) {
        let taken =
            |m: &Mount| m.target == mount.target && (m.kind != MountKind::Volume || !m.source.is_empty());
        if settings.mounts.iter().any(taken) {
            continue;
        }
        settings.mounts.retain(|m| m.target != mount.target);
        let read_only = read_only || mount.read_only;
        settings.mounts.push(Mount { read_only, anonymous: false, ..mount.clone() });
    }
}

/// `-v [source:]target[:options]`
fn volume(spec: &str) -> Result<Mount> {
    let parts: Vec<&str> = spec.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("invalid spec: {spec}: empty section between colons"));
    }
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(format!("invalid spec: {spec}: too many colons")),
    };
    let is_path = source.starts_with(['/', '.', '~']);
    let mut mount = Mount {
        kind: if is_path { MountKind::Bind } else { MountKind::Volume },
        source: if is_path { absolute(source)? } else { source.to_owned() },
        target: target_of(target, spec)?,
        create_source: is_path,
        ..Mount::default()
    };
    if !is_path && !source.is_empty() {
        volume_name(source)?;
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "readonly" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" => mount.no_copy = true,
            word if PROPAGATIONS.contains(&word) && is_path => mount.propagation = word.to_owned(),
            // Nothing is labelled here; private is what every mount is.
            "z" | "Z" | "cached" | "delegated" | "consistent" | "rprivate" | "private" | "rbind" => {}
            "bind" => mount.non_recursive = true,
            _ => return Err(format!("invalid mode: {option}")),
        }
    }
    Ok(mount)
}

/// `--mount type=…,source=…,target=…`
fn mount(spec: &str) -> Result<Mount> {
    if spec.trim().is_empty() {
        return Err("value is empty".to_owned());
    }
    let mut mount = Mount { kind: MountKind::Volume, ..Mount::default() };
    for field in csv(spec.trim())? {
        let (key, value) = match field.split_once('=') {
            Some((key, "")) => return Err(format!("invalid value for '{key}': value is empty")),
            Some((key, value)) => (key, Some(value)),
            None => (field.as_str(), None),
        };
        let key = key.to_lowercase();
        let flag = || go_bool(&key, value);
        if value.is_none()
            && !matches!(
                key.as_str(),
                "readonly" | "ro" | "volume-nocopy" | "bind-nonrecursive" | "bind-create-src"
            )
        {
            return Err(format!("invalid field '{field}' must be a key=value pair"));
        }
        let text = value.unwrap_or_default();
        match key.as_str() {
            "type" => mount.kind = kind(text)?,
            "source" | "src" => mount.source = text.to_owned(),
            "target" | "dst" | "destination" => mount.target = text.to_owned(),
            "readonly" | "ro" => mount.read_only = flag()?,
            "bind-recursive" => match text {
                "enabled" | "writable" | "readonly" => {}
                "disabled" => mount.non_recursive = true,
                _ => {
                    return Err(format!(
                        "invalid value for {key}: {text} (must be \"enabled\", \"disabled\", \"writable\", or \"readonly\")"
                    ));
                }
            },
            "bind-nonrecursive" => mount.non_recursive = flag()?,
            "bind-create-src" => mount.create_source = flag()?,
            "bind-propagation" if matches!(text, "private" | "rprivate") => {}
            "bind-propagation" if PROPAGATIONS.contains(&text) => mount.propagation = text.to_owned(),
            "volume-nocopy" => mount.no_copy = flag()?,
            "volume-subpath" => mount.subpath = subpath(text)?,
            "volume-label" => {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                mount.labels.insert(key.to_owned(), value.to_owned());
            }
            "volume-driver" if text == "local" => {}
            "volume-driver" => return Err(format!("volume driver '{text}' is not there: only 'local' is")),
            "consistency" => {}
            "tmpfs-size" => {
                mount.size =
                    Some(parse_size(text, 1024).map_err(|_| format!("invalid value for {key}: {text}"))?)
            }
            "tmpfs-mode" => {
                mount.mode = Some(
                    u32::from_str_radix(text, 8).map_err(|_| format!("invalid value for {key}: {text}"))?,
                )
            }
            "bind-propagation" => {
                return Err(format!("invalid value for {key}: {text}"));
            }
            "volume-opt" | "image-subpath" => {
                return Err(format!("option '{key}' is not supported yet"));
            }
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    mount.target = target_of(&mount.target, spec)?;
    match mount.kind {
        MountKind::Bind if mount.source.is_empty() => {
            return Err("source is required for type=bind".to_owned());
        }
        MountKind::Bind => mount.source = absolute(&mount.source)?,
        MountKind::Volume if !mount.source.is_empty() => volume_name(&mount.source)?,
        MountKind::Tmpfs if !mount.source.is_empty() => {
            return Err("source must not be specified for type=tmpfs".to_owned());
        }
        _ => {}
    }
    let of_volumes = mount.no_copy || !mount.subpath.is_empty() || !mount.labels.is_empty();
    if mount.kind != MountKind::Volume && of_volumes {
        return Err("cannot mix 'volume-*' options with another mount type".to_owned());
    }
    let of_binds = mount.non_recursive || mount.create_source || !mount.propagation.is_empty();
    if mount.kind != MountKind::Bind && of_binds {
        return Err("cannot mix 'bind-*' options with another mount type".to_owned());
    }
    if mount.kind != MountKind::Tmpfs && (mount.size.is_some() || mount.mode.is_some()) {
        return Err("cannot mix 'tmpfs-*' options with another mount type".to_owned());
    }
    Ok(mount)
}

/// What mounts of the host's, or of the container's, are seen by the other.
const PROPAGATIONS: &[&str] = &["shared", "rshared", "slave", "rslave"];

/// A relative path that stays below where it begins.
fn subpath(text: &str) -> Result<String> {
    match clean(text) {
        path if text.starts_with('/') || path.is_empty() || text.split('/').any(|part| part == "..") => {
            Err(format!("invalid value for volume-subpath: '{text}' must be a path below the volume"))
        }
        path => Ok(path),
    }
}

fn kind(text: &str) -> Result<MountKind> {
    match text.to_lowercase().as_str() {
        "bind" => Ok(MountKind::Bind),
        "volume" => Ok(MountKind::Volume),
        "tmpfs" => Ok(MountKind::Tmpfs),
        _ => Err(format!("mount type '{text}' is not supported: use bind, volume or tmpfs")),
    }
}

/// A line of comma-separated fields; a field in quotes may hold commas (RFC 4180).
fn csv(line: &str) -> Result<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[field].push('"');
            }
            '"' if quoted || fields[field].is_empty() => quoted = !quoted,
            '"' => return Err("bare \" in non-quoted field".to_owned()),
            ',' if !quoted => fields.push(String::new()),
            _ => fields[field].push(c),
        }
    }
    if quoted { Err("extraneous or missing \" in quoted field".to_owned()) } else { Ok(fields) }
}

fn go_bool(key: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        Some(text) => Err(format!(
            "invalid value for '{key}': invalid boolean value ({text}): must be one of \"true\", \"1\", \"false\", or \"0\" (default \"true\")"
        )),
    }
}

/// `--tmpfs target[:options]`
fn tmpfs(spec: &str) -> Result<Mount> {
    let (target, options) = spec.split_once(':').unwrap_or((spec, ""));
    let mut mount = Mount { kind: MountKind::Tmpfs, target: target_of(target, spec)?, ..Mount::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", size)) => {
                mount.size = Some(parse_size(size, 1024).map_err(|cause| bad_flag("--tmpfs", spec, &cause))?);
            }
            Some(("mode", mode)) => {
                let mode = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
                mount.mode =
                    Some(mode.ok_or_else(|| bad_flag("--tmpfs", spec, "mode must be an octal number"))?);
            }
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol" | "huge", _)) => {
                mount.options.push(option.to_owned())
            }
            None if option == "ro" => mount.read_only = true,
            None if TMPFS_WORDS.contains(&option) => mount.options.push(option.to_owned()),
            _ => return Err(format!("invalid tmpfs option [\"{option}\"]")),
        }
    }
    Ok(mount)
}

const TMPFS_WORDS: &[&str] = &[
    "rw",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "sync",
    "async",
    "dirsync",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "defaults",
];

fn target_of(target: &str, spec: &str) -> Result<String> {
    if !target.starts_with('/') {
        return Err(format!("invalid mount config for '{spec}': mount path '{target}' must be absolute"));
    }
    match clean(target) {
        root if root == "/" => {
            Err(format!("invalid volume specification: '{spec}': destination can't be '/'"))
        }
        target => Ok(target),
    }
}

/// What a volume may be called.
pub fn volume_name(name: &str) -> Result<()> {
    let edge = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if edge && name.len() > 1 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Ok(());
    }
    Err(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    ))
}

/// The path without `.`, `..`, doubled and final slashes, by words alone (Go's path.Clean).
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("{}{}", if path.starts_with('/') { "/" } else { "" }, parts.join("/"))
}

/// `--device host[:inside][:rwm]`
pub fn devices(specs: &[String]) -> Result<Vec<Device>> {
    specs.iter().map(|spec| device(spec)).collect()
}

fn device(spec: &str) -> Result<Device> {
    let parts: Vec<&str> = spec.split(':').collect();
    let (source, target, access) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, access] if is_access(access) => (*source, *source, *access),
        [source, target] => (*source, *target, "rwm"),
        [source, target, access] if is_access(access) => (*source, *target, *access),
        [_, _, access] => return Err(format!("bad mode specified: {access}")),
        _ => return Err(format!("bad format for path: {spec}")),
    };
    if source.is_empty() {
        return Err(format!("bad format for path: {spec}"));
    }
    let target = if target.is_empty() { source } else { target };
    if !source.starts_with('/') || !target.starts_with('/') {
        let which = if source.starts_with('/') { target } else { source };
        return Err(format!("{which} is not an absolute path"));
    }
    Ok(Device { source: clean(source), target: clean(target), access: access.to_owned() })
}

fn is_access(text: &str) -> bool {
    let once = |c| text.matches(c).count() <= 1;
    !text.is_empty() && text.chars().all(|c| "rwm".contains(c)) && once('r') && once('w') && once('m')
}
