//! `-v`, `--mount`, `--tmpfs`, and the volumes that an image asks for.

use super::Result;
use super::texts::{absolute, bad_flag, parse_size};
use crate::cli::ContainerArgs;
use engine::{Container, Mount, MountKind, OwnerMap, Settings, clean_path};
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
        let target = clean_path(target);
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
    let joined;
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        // The one option with a colon of its own.
        [source, target, options, group] if options.split(',').any(|option| option.starts_with("map=")) => {
            joined = format!("{options}:{group}");
            (*source, *target, joined.as_str())
        }
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
            word if word.starts_with("map=") => mount.map = Some(owner_map(&word[4..])?),
            "U" => {
                return Err("invalid mode: U: no owner is changed on the disk; map=me or map=UID:GID shows files as the program's".to_owned());
            }
            _ => return Err(format!("invalid mode: {option}")),
        }
    }
    Ok(mount)
}

/// Whether it is spelled out as for `--mount`, and not short as for `-v`.
pub fn is_long_mount(spec: &str) -> bool {
    let known = |field: &str| {
        let key = field.split('=').next().unwrap_or_default().to_lowercase();
        field.contains('=')
            && matches!(key.as_str(), "type" | "source" | "src" | "target" | "dst" | "destination")
    };
    spec.split(',').any(known)
}

/// A mount in either spelling.
pub fn mount_of(spec: &str) -> Result<Mount> {
    match is_long_mount(spec) {
        true => mount(spec).map_err(|cause| bad_flag("--mount-add", spec, &cause)),
        false => volume(spec),
    }
}

/// `--mount type=…,source=…,target=…`
fn mount(spec: &str) -> Result<Mount> {
    if spec.trim().is_empty() {
        return Err("value is empty".to_owned());
    }
    let mut mount = Mount { kind: MountKind::Volume, ..Mount::default() };
    let mut subpath_of = String::new();
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
                "enabled" | "readonly" => {}
                "writable" => mount.writable_below = true,
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
            "volume-subpath" | "image-subpath" => {
                mount.subpath = subpath(text)?;
                subpath_of = key.split('-').next().unwrap_or_default().to_owned();
            }
            "map" | "idmap" => mount.map = Some(owner_map(text)?),
            "volume-opt" => {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                mount.volume_options.insert(key.to_owned(), value.to_owned());
            }
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
            _ => return Err(format!("unknown option '{key}' in '{field}'")),
        }
    }
    if mount.target.is_empty() {
        return Err("target is required".to_owned());
    }
    mount.target = target_of(&mount.target, spec)?;
    fits(&mut mount, &subpath_of)?;
    Ok(mount)
}

/// What is said about a mount must be about its kind.
fn fits(mount: &mut Mount, subpath_of: &str) -> Result<()> {
    match mount.kind {
        MountKind::Bind if mount.source.is_empty() => {
            return Err("source is required for type=bind".to_owned());
        }
        MountKind::Bind => mount.source = absolute(&mount.source)?,
        MountKind::Volume if !mount.source.is_empty() => volume_name(&mount.source)?,
        MountKind::Tmpfs if !mount.source.is_empty() => {
            return Err("source must not be specified for type=tmpfs".to_owned());
        }
        MountKind::Image if mount.source.is_empty() => {
            return Err("source is required for type=image".to_owned());
        }
        MountKind::Image if mount.source == "@host" => {
            return Err("@host is this machine itself: mount its directories with type=bind".to_owned());
        }
        // Nobody can write an image.
        MountKind::Image => mount.read_only = true,
        _ => {}
    }
    if subpath_of == "image" && mount.kind != MountKind::Image {
        return Err("cannot mix 'image-*' options with another mount type".to_owned());
    }
    let of_volumes = mount.no_copy
        || subpath_of == "volume"
        || !mount.labels.is_empty()
        || !mount.volume_options.is_empty();
    if mount.kind != MountKind::Volume && of_volumes {
        return Err("cannot mix 'volume-*' options with another mount type".to_owned());
    }
    let of_binds =
        mount.non_recursive || mount.create_source || mount.writable_below || !mount.propagation.is_empty();
    if mount.kind != MountKind::Bind && of_binds {
        return Err("cannot mix 'bind-*' options with another mount type".to_owned());
    }
    if mount.kind != MountKind::Tmpfs && (mount.size.is_some() || mount.mode.is_some()) {
        return Err("cannot mix 'tmpfs-*' options with another mount type".to_owned());
    }
    if mount.map.is_some() && !matches!(mount.kind, MountKind::Bind | MountKind::Volume) {
        return Err("option 'map' is for directories and volumes".to_owned());
    }
    Ok(())
}

/// `me`, `owner`, `UID`, `UID:GID`: whose the files are on this machine that are the program's inside.
fn owner_map(text: &str) -> Result<OwnerMap> {
    let number = |text: &str| {
        text.parse::<u32>()
            .ok()
            .filter(|n| *n <= i32::MAX as u32)
            .ok_or_else(|| format!("invalid value for 'map': {text} (must be me, owner, UID or UID:GID)"))
    };
    // Who became root by sudo or doas is meant, not root.
    let by_sudo = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match text {
        "owner" => Ok(OwnerMap::Owner),
        "me" => Ok(OwnerMap::Ids(
            by_sudo("SUDO_UID").unwrap_or_else(|| rustix::process::getuid().as_raw()),
            by_sudo("SUDO_GID").unwrap_or_else(|| rustix::process::getgid().as_raw()),
        )),
        _ => match text.split_once(':') {
            Some((user, group)) => Ok(OwnerMap::Ids(number(user)?, number(group)?)),
            None => number(text).map(|id| OwnerMap::Ids(id, id)),
        },
    }
}

/// What mounts of the host's, or of the container's, are seen by the other.
const PROPAGATIONS: &[&str] = &["shared", "rshared", "slave", "rslave"];

/// A relative path that stays below where it begins.
fn subpath(text: &str) -> Result<String> {
    match clean_path(text) {
        path if text.starts_with('/') || path.is_empty() || text.split('/').any(|part| part == "..") => {
            Err(format!("invalid value for a subpath: '{text}' must be a path below the source"))
        }
        path => Ok(path),
    }
}

fn kind(text: &str) -> Result<MountKind> {
    match text.to_lowercase().as_str() {
        "bind" => Ok(MountKind::Bind),
        "volume" => Ok(MountKind::Volume),
        "tmpfs" => Ok(MountKind::Tmpfs),
        "image" => Ok(MountKind::Image),
        _ => Err(format!("mount type '{text}' is not supported: use bind, volume, tmpfs or image")),
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
    match clean_path(target) {
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
