//! `mounts`: what the options of mount(8) and of the runtime specification mean.

use super::document::{IdMapping, Mount as Given};
use super::{Config, ConfigError};
use crate::{Extra, Idmap, Mapping, Mount};
use kernel::mount::{Attr, Propagation};
use std::path::Path;
use steps::IdRange;

/// What the options of one mount say.
#[derive(Debug, Default)]
struct Options {
    set: Attr,
    extra: Extra,
    bind: bool,
    recursive: bool,
    /// `idmap` or `ridmap`; the second with all mounts below.
    idmap: Option<bool>,
    /// For the file system itself.
    data: Vec<(String, String)>,
}

/// The words that set and clear a flag, and the flag.
type Flag = (&'static str, &'static str, fn(&mut Attr) -> &mut bool);

const FLAGS: [Flag; 9] = [
    ("ro", "rw", |attr| &mut attr.read_only),
    ("nosuid", "suid", |attr| &mut attr.nosuid),
    ("nodev", "dev", |attr| &mut attr.nodev),
    ("noexec", "exec", |attr| &mut attr.noexec),
    ("noatime", "atime", |attr| &mut attr.noatime),
    ("strictatime", "nostrictatime", |attr| &mut attr.strictatime),
    ("relatime", "norelatime", |attr| &mut attr.relatime),
    ("nodiratime", "diratime", |attr| &mut attr.nodiratime),
    ("nosymfollow", "symfollow", |attr| &mut attr.nosymfollow),
];

/// Notes a flag that is set or cleared; of two opposite words the last counts. Whether `word` is one.
fn flag(word: &str, set: &mut Attr, clear: &mut Attr) -> bool {
    let Some((on, _, field)) = FLAGS.iter().find(|(on, off, _)| [*on, *off].contains(&word)) else {
        return false;
    };
    (*field(set), *field(clear)) = (word == *on, word != *on);
    true
}

fn propagation(word: &str) -> Option<(Propagation, bool)> {
    let kind = |word: &str| match word {
        "private" => Some(Propagation::Private),
        "slave" => Some(Propagation::Slave),
        "shared" => Some(Propagation::Shared),
        "unbindable" => Some(Propagation::Unbindable),
        _ => None,
    };
    match kind(word) {
        Some(kind) => Some((kind, false)),
        None => word.strip_prefix('r').and_then(kind).map(|kind| (kind, true)),
    }
}

/// Also of `linux.rootfsPropagation`.
pub(super) fn root_propagation(word: &str) -> Config<(Propagation, bool)> {
    propagation(word)
        .ok_or_else(|| ConfigError::new("linux.rootfsPropagation", format!("unknown propagation '{word}'")))
}

/// Every word that is understood, for `features`.
pub fn mount_options() -> Vec<String> {
    let plain = [
        "async",
        "atime",
        "bind",
        "defaults",
        "dev",
        "diratime",
        "dirsync",
        "exec",
        "idmap",
        "iversion",
        "lazytime",
        "loud",
        "mand",
        "noatime",
        "nodev",
        "nodiratime",
        "noexec",
        "noiversion",
        "nolazytime",
        "nomand",
        "norelatime",
        "nostrictatime",
        "nosuid",
        "nosymfollow",
        "private",
        "rbind",
        "relatime",
        "remount",
        "ridmap",
        "ro",
        "rprivate",
        "rshared",
        "rslave",
        "runbindable",
        "rw",
        "shared",
        "silent",
        "slave",
        "strictatime",
        "suid",
        "symfollow",
        "sync",
        "tmpcopyup",
        "unbindable",
    ];
    let (mut set, mut clear) = (Attr::default(), Attr::default());
    let below = plain.iter().filter(|word| flag(word, &mut set, &mut clear));
    let mut all: Vec<String> = below.map(|word| format!("r{word}")).collect();
    all.extend(plain.iter().map(|word| (*word).to_owned()));
    all.sort();
    all
}

impl Options {
    fn read(words: &[String]) -> Options {
        let mut options = Options::default();
        for word in words {
            options.word(word);
        }
        options
    }

    fn word(&mut self, word: &str) {
        match word {
            "" | "defaults" | "remount" | "async" | "nomand" | "loud" => return,
            "bind" => return self.bind = true,
            "rbind" => return (self.bind, self.recursive) = (true, true),
            "idmap" => return self.idmap = Some(false),
            "ridmap" => return self.idmap = Some(true),
            "tmpcopyup" => return self.extra.copy_up = true,
            _ => {}
        }
        if let Some(found) = propagation(word) {
            return self.extra.propagation = Some(found);
        }
        if flag(word, &mut self.set, &mut self.extra.clear) {
            return;
        }
        let (set, clear) = &mut self.extra.below;
        if word.strip_prefix('r').is_some_and(|word| flag(word, set, clear)) {
            return;
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        self.data.push((key.to_owned(), value.to_owned()));
    }
}

/// The mapping of ids that a part of the file gives, and what is wrong with it.
pub(super) fn ranges(from: &[IdMapping]) -> Result<Vec<IdRange>, String> {
    // See user_namespaces(7).
    const LINES: usize = 340;
    if from.len() > LINES {
        return Err(format!("{} ranges are more than the kernel takes, {LINES}", from.len()));
    }
    let mut all = Vec::<IdRange>::new();
    for (index, m) in from.iter().enumerate() {
        let (Some(inside), Some(outside)) = (m.container_id, m.host_id) else {
            return Err(format!("[{index}]: containerID or hostID is missing"));
        };
        let range = IdRange { inside, outside, count: m.size };
        for (word, first) in [("container", inside), ("host", outside)] {
            if m.size == 0 || first.checked_add(m.size - 1).is_none_or(|last| last == u32::MAX) {
                return Err(format!("[{index}]: {} {word} ids from {first} on", m.size));
            }
        }
        let meet = |a: u32, b: u32, other: &IdRange| a <= b + (other.count - 1) && b <= a + (m.size - 1);
        if all.iter().any(|o| meet(inside, o.inside, o) || meet(outside, o.outside, o)) {
            return Err(format!("[{index}]: overlaps with another range"));
        }
        all.push(range);
    }
    Ok(all)
}

/// A path that the kernel can take.
pub(super) fn fits(path: &str) -> bool {
    path.len() < 4096 && path.split('/').all(|part| part.len() < 256)
}

/// One mount. `bundle` is what relative sources start from.
pub(super) fn mount(given: &Given, index: usize, bundle: &Path, user: bool) -> Config<Mount> {
    let wrong = |field: &str, why: String| ConfigError::new(format!("mounts[{index}].{field}"), why);
    let target = given.destination.clone();
    if !fits(&target) {
        return Err(wrong("destination", format!("a path of {} bytes is too long", target.len())));
    }
    if !target.starts_with('/') {
        return Err(wrong("destination", format!("'{target}' is not an absolute path")));
    }
    if target.split('/').any(|part| part == "..") {
        return Err(wrong("destination", format!("'{target}' goes up")));
    }
    let empty = Vec::new();
    let mut options = Options::read(given.options.as_ref().unwrap_or(&empty));
    let fstype = given.kind.clone().unwrap_or_default();
    let source = given.source.clone().unwrap_or_default();
    options.extra.strict = matches!(fstype.as_str(), "proc" | "sysfs") || target == "/dev";
    mapping(given, &mut options, user).map_err(|(field, why)| wrong(field, why))?;
    if options.bind || fstype == "bind" {
        return bind(options, source, target, bundle).map_err(|why| wrong("source", why));
    }
    let Options { set, extra, data, .. } = options;
    if extra.below != Default::default() && extra.below.1 != Attr::default() {
        return Err(wrong(
            "options",
            "a new file system has no mounts below it to clear flags of".to_owned(),
        ));
    }
    let attr = join(set, extra.below.0);
    match fstype.as_str() {
        "" => Err(wrong("type", "a mount that is no bind mount needs a type".to_owned())),
        "cgroup" | "cgroup2" => Ok(Mount::Cgroup { attr, target }),
        "tmpfs" if target.trim_end_matches('/') == "/dev" => Ok(Mount::Dev { attr, options: data }),
        "proc" if target != "/proc" && target.starts_with("/proc/") => {
            Err(wrong("destination", format!("'{target}' cannot be mounted because it is inside /proc")))
        }
        _ => {
            let source = if source.is_empty() { fstype.clone() } else { source };
            Ok(Mount::Fs { fstype, source, options: data, attr, target, extra })
        }
    }
}

fn join(a: Attr, b: Attr) -> Attr {
    Attr {
        read_only: a.read_only || b.read_only,
        nosuid: a.nosuid || b.nosuid,
        nodev: a.nodev || b.nodev,
        noexec: a.noexec || b.noexec,
        noatime: a.noatime || b.noatime,
        strictatime: a.strictatime || b.strictatime,
        relatime: a.relatime || b.relatime,
        nodiratime: a.nodiratime || b.nodiratime,
        nosymfollow: a.nosymfollow || b.nosymfollow,
    }
}

/// `idmap` without ranges is by the container's own; ranges without the word are for this mount alone.
fn mapping(given: &Given, options: &mut Options, user: bool) -> Result<(), (&'static str, String)> {
    let of = |field, m: &Option<Vec<IdMapping>>| {
        ranges(m.as_deref().unwrap_or_default()).map_err(|why| (field, why))
    };
    let uids = of("uidMappings", &given.uid_mappings)?;
    let gids = of("gidMappings", &given.gid_mappings)?;
    if uids.is_empty() != gids.is_empty() {
        let field = if gids.is_empty() { "uidMappings" } else { "gidMappings" };
        return Err((field, "users and groups are mapped together or not at all".to_owned()));
    }
    if uids.is_empty() {
        return match options.idmap {
            Some(_) if !user => {
                Err(("options", "idmap needs a user namespace, or ranges of its own".to_owned()))
            }
            _ => Ok(()),
        };
    }
    let recursive = options.idmap.unwrap_or(false);
    options.idmap = None;
    options.extra.mapping = Some(Mapping { uids, gids, recursive });
    Ok(())
}

fn bind(options: Options, source: String, target: String, bundle: &Path) -> Result<Mount, String> {
    if source.is_empty() {
        return Err("a bind mount needs a source".to_owned());
    }
    let source = bundle.join(source);
    let meta = std::fs::metadata(&source).map_err(|e| format!("{}: {}", source.display(), reason(&e)))?;
    let Options { mut extra, set, recursive, idmap, .. } = options;
    // The flags of a tree are its topmost mount's, unless it was said otherwise: `rro`.
    let attr = if recursive { Attr::default() } else { set };
    extra.top = if recursive { set } else { Attr::default() };
    let idmap = match idmap {
        None => Idmap::No,
        Some(false) => Idmap::Top,
        Some(true) => Idmap::Yes,
    };
    let (source, file) = (source.display().to_string(), !meta.is_dir());
    Ok(Mount::Bind { source, target, attr, recursive, idmap, file, extra })
}

/// The system's words, without the number.
pub(super) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// `linux.mountLabel`: what is in a new file system of the container's bears it. The kernel takes none for `proc` and `sysfs`,
/// and queues get theirs from who makes them. See mount(8), `context`.
pub(super) fn label(mount: &mut Mount, text: &str) {
    const WITHOUT: [&str; 3] = ["proc", "sysfs", "mqueue"];
    let options = match mount {
        Mount::Fs { fstype, options, .. } if !WITHOUT.contains(&fstype.as_str()) => options,
        Mount::Dev { options, .. } => options,
        _ => return,
    };
    // One of its own comes first.
    if options.iter().all(|(key, _)| key != "context") {
        options.push(("context".to_owned(), text.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(json: &str) -> Config<Mount> {
        mount(&serde_json::from_str(json).unwrap(), 3, Path::new("/bundle"), false)
    }

    #[test]
    fn new_file_systems_bear_the_label() {
        let context = |json: &str| {
            let mut mount = given(json).unwrap();
            label(&mut mount, "system_u:object_r:container_file_t:s0:c1,c2");
            let (Mount::Fs { options, .. } | Mount::Dev { options, .. }) = mount else {
                return String::new();
            };
            let own = options.into_iter().filter(|(key, _)| key == "context");
            own.map(|(_, value)| value).collect::<Vec<_>>().join(" ")
        };
        let text = "system_u:object_r:container_file_t:s0:c1,c2";
        assert_eq!(context(r#"{"destination":"/t","type":"tmpfs"}"#), text);
        assert_eq!(context(r#"{"destination":"/dev","type":"tmpfs","source":"tmpfs"}"#), text);
        assert_eq!(context(r#"{"destination":"/dev/pts","type":"devpts"}"#), text);
        assert_eq!(context(r#"{"destination":"/t","type":"tmpfs","options":["context=x"]}"#), "x");
        assert_eq!(context(r#"{"destination":"/proc","type":"proc"}"#), "");
        assert_eq!(context(r#"{"destination":"/b","source":"/etc","options":["bind"]}"#), "");
    }

    #[test]
    fn options_are_told_apart() {
        let Mount::Bind { attr, recursive, extra, file, .. } = given(
            r#"{"destination":"/x","source":"/etc/passwd","options":["rbind","rro","rslave","nosuid"]}"#,
        )
        .unwrap() else {
            panic!("not a bind mount")
        };
        assert!(recursive && file && extra.below.0.read_only && extra.top.nosuid);
        assert_eq!((attr, extra.propagation), (Attr::default(), Some((Propagation::Slave, true))));
        let Mount::Fs { options, attr, extra, .. } = given(
            r#"{"destination":"/t","type":"tmpfs","options":["ro","rw","size=1k","tmpcopyup","noexec","exec"]}"#,
        )
        .unwrap() else {
            panic!("not a file system")
        };
        assert_eq!(options, [("size".to_owned(), "1k".to_owned())]);
        assert!(!attr.read_only && !attr.noexec && extra.copy_up);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let why = |json: &str| given(json).unwrap_err().to_string();
        insta::assert_snapshot!(why(r#"{"destination":"x","type":"tmpfs"}"#), @"config.json: mounts[3].destination: 'x' is not an absolute path");
        insta::assert_snapshot!(why(r#"{"destination":"/x"}"#), @"config.json: mounts[3].type: a mount that is no bind mount needs a type");
        insta::assert_snapshot!(why(r#"{"destination":"/x","source":"/no/such","options":["bind"]}"#), @"config.json: mounts[3].source: /no/such: no such file or directory");
        insta::assert_snapshot!(why(r#"{"destination":"/x","source":"/etc","options":["bind","idmap"]}"#), @"config.json: mounts[3].options: idmap needs a user namespace, or ranges of its own");
    }
}
