//! The devices of a container: which nodes are in its `/dev`, and which it may use.

use crate::cdi::Edits;
use crate::{Device, Error, Result, Settings};
use kernel::bpf::{DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use steps::Node;

/// The devices of every container: name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Below the host's `/dev`, but a container's own: file systems, and terminals.
const OWN: [&str; 5] = ["pts", "shm", "mqueue", "ptmx", "console"];

/// Each name once; a privileged container has all of the host's.
pub(crate) fn devices(s: &Settings, edits: &Edits) -> Result<Vec<Node>> {
    let node = |name: &str, (block, major, minor): (bool, u32, u32)| Node {
        name: name.into(),
        block,
        fifo: false,
        major,
        minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    let mut all: Vec<Node> = DEVICES.iter().map(|(name, a, b)| node(name, (false, *a, *b))).collect();
    if s.privileged {
        let mut found = Vec::new();
        walk(Path::new("/dev"), "", &mut found);
        found.retain(|node| all.iter().all(|known| known.name != node.name));
        all.append(&mut found);
    }
    for d in expanded(&s.devices)? {
        let device = device(&d.source)?;
        let name = d.target.strip_prefix("/dev/").filter(|name| is_place(name));
        let Some(name) = name else {
            return Err(Error::Invalid(format!(
                "a device must have a place of its own below /dev: {}",
                d.target
            )));
        };
        all.retain(|known| known.name.as_str() != name);
        all.push(node(name, device));
    }
    for described in &edits.nodes {
        all.retain(|known| known.name != described.name);
        all.push(described.clone());
    }
    Ok(all)
}

/// Whether a node can be there, below `/dev`.
pub(crate) fn is_place(name: &str) -> bool {
    !name.split('/').any(|part| matches!(part, "" | "." | ".."))
        && !OWN.contains(&name.split('/').next().unwrap_or_default())
}

/// A directory stands for all devices in it, as with Docker: `/dev/snd`.
fn expanded(devices: &[Device]) -> Result<Vec<Device>> {
    let mut all = Vec::new();
    for d in devices {
        let directory = Path::new(&d.source);
        if !directory.is_dir() {
            all.push(d.clone());
            continue;
        }
        let mut found = Vec::new();
        walk(directory, "/", &mut found);
        if found.is_empty() {
            return Err(Error::Invalid(format!("no device node in the directory {}", d.source)));
        }
        let below = |path: &str, node: &Node| format!("{}{}", path.trim_end_matches('/'), node.name);
        all.extend(found.iter().map(|node| Device {
            source: below(&d.source, node),
            target: below(&d.target, node),
            access: d.access.clone(),
        }));
    }
    Ok(all)
}

/// The nodes below a directory, by name. What goes away meanwhile, or cannot be read, is not there.
fn walk(directory: &Path, prefix: &str, found: &mut Vec<Node>) {
    let mut entries: Vec<_> = std::fs::read_dir(directory).into_iter().flatten().flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        // A name that is not UTF-8 is nothing that a driver makes.
        let Some(name) = name.to_str() else { continue };
        let Ok(meta) = entry.metadata() else { continue };
        if prefix.is_empty() && OWN.contains(&name) {
            continue;
        }
        let name = format!("{prefix}{name}");
        if meta.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found);
        } else if let Some((block, major, minor)) = numbers(&meta) {
            let (mode, uid, gid) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
            found.push(Node { name: name.into(), block, fifo: false, major, minor, mode, uid, gid });
        }
    }
}

/// The host's device behind a path.
pub(crate) fn device(path: &str) -> Result<(bool, u32, u32)> {
    let meta = std::fs::metadata(path).map_err(|e| Error::io("cannot give the device", path, e))?;
    numbers(&meta).ok_or_else(|| Error::Invalid(format!("not a device node: {path}")))
}

/// Whether it is a block device, its major and its minor number.
fn numbers(meta: &Metadata) -> Option<(bool, u32, u32)> {
    let (block, char) = (meta.file_type().is_block_device(), meta.file_type().is_char_device());
    (block || char).then(|| (block, rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())))
}

/// With what the descriptions of its devices say.
pub(crate) fn all_rules(s: &Settings) -> Result<Vec<DeviceRule>> {
    device_rules(s, &crate::cdi::edits(&s.cdi)?)
}

/// Nothing, then these: Docker's list.
pub(crate) fn device_rules(s: &Settings, edits: &Edits) -> Result<Vec<DeviceRule>> {
    if s.privileged {
        return Ok(vec![DeviceRule::all(true)]);
    }
    let rule = |kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: u8| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let all = READ | WRITE | MKNOD;
    let mut rules = vec![
        DeviceRule::all(false),
        rule(DeviceKind::Char, None, None, MKNOD),
        rule(DeviceKind::Block, None, None, MKNOD),
    ];
    rules.extend(
        DEVICES.iter().map(|(_, major, minor)| rule(DeviceKind::Char, Some(*major), Some(*minor), all)),
    );
    // /dev/ptmx, and the terminals of devpts.
    rules.push(rule(DeviceKind::Char, Some(5), Some(2), all));
    rules.push(rule(DeviceKind::Char, Some(136), None, all));
    for d in expanded(&s.devices)? {
        let (block, major, minor) = device(&d.source)?;
        let access = d.access.bytes().fold(0, |bits, b| {
            bits | match b {
                b'r' => READ,
                b'w' => WRITE,
                _ => MKNOD,
            }
        });
        let kind = if block { DeviceKind::Block } else { DeviceKind::Char };
        rules.push(rule(kind, Some(major), Some(minor), if d.access.is_empty() { all } else { access }));
    }
    rules.extend(edits.rules.iter().cloned());
    rules.extend(s.device_rules.iter().filter_map(|text| device_rule(text)));
    Ok(rules)
}

/// `c 189:* rmw`, `b 8:0 r`, `a *:* rwm`: a rule as control groups of v1 spell it. `None` is none.
pub fn device_rule(text: &str) -> Option<DeviceRule> {
    let [kind, numbers, access] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let kind = match kind {
        "a" => DeviceKind::All,
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        _ => return None,
    };
    let number = |text: &str| match text {
        "*" => Some(None),
        _ if text.bytes().all(|b| b.is_ascii_digit()) => text.parse::<u32>().ok().map(Some),
        _ => None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let bits = access_bits(access).filter(|_| access.len() <= 3)?;
    Some(DeviceRule { allow: true, kind, major: number(major)?, minor: number(minor)?, access: bits })
}

/// `rwm`; `None` for another letter, or none at all.
pub(crate) fn access_bits(text: &str) -> Option<u8> {
    let bit = |b: u8| match b {
        b'r' => Some(READ),
        b'w' => Some(WRITE),
        b'm' => Some(MKNOD),
        _ => None,
    };
    text.bytes().try_fold(0, |bits, b| Some(bits | bit(b)?)).filter(|bits| *bits != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Device;

    #[test]
    fn privileged_containers_have_all_of_the_hosts() {
        let s = Settings { privileged: true, ..Settings::default() };
        let names: Vec<String> =
            devices(&s, &Edits::default()).unwrap().iter().map(|n| n.name.as_str().to_owned()).collect();
        assert!(names.len() > DEVICES.len(), "{names:?}");
        assert!(names.iter().all(|name| !name.starts_with("pts/") && name != "console"), "{names:?}");
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len());
    }

    #[test]
    fn rules_as_control_groups_spell_them() {
        let rule = device_rule("c 189:* rmw").unwrap();
        assert_eq!((rule.major, rule.minor, rule.access), (Some(189), None, READ | WRITE | MKNOD));
        assert!(device_rule("b 8:0 r").is_some() && device_rule("a *:* rwm").is_some());
        for bad in
            ["", "c", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 rwmr", "c -1:3 r", "c  1:3 r", "c 1:3 "]
        {
            assert!(device_rule(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_device_has_a_place_of_its_own() {
        let with = |target: &str| {
            let device = Device { source: "/dev/zero".into(), target: target.into(), access: String::new() };
            let s = Settings { devices: vec![device], ..Settings::default() };
            devices(&s, &Edits::default())
                .map(|all| all.last().map(|n| n.name.as_str().to_owned()).unwrap_or_default())
        };
        assert_eq!(with("/dev/net/tun").unwrap(), "net/tun");
        assert_eq!(with("/dev/null").unwrap(), "null");
        for target in ["/dev", "/dev/", "/etc/x", "/dev/../x", "/dev/a//b", "/dev/pts/0", "/dev/ptmx"] {
            assert!(with(target).unwrap_err().to_string().contains(target), "{target}");
        }
    }
}
