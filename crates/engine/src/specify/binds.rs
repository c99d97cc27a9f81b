//! What the user mounts: volumes, files and directories of the host with what is mounted below them, memory.

use crate::{Container, Engine, Error, MountKind, OwnerMap, Result, State, Volume};
use kernel::mount::{Attr, Propagation};
use runtime::{Extra, Idmap, ImageMount, Mapping, Mount};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::path::{Path, PathBuf};
use steps::IdRange;

impl Engine {
    pub(super) fn user_mounts(&self, container: &Container, mounts: &mut Vec<Mount>) -> Result<()> {
        self.mounts_from(container, &container.settings.mounts, mounts)
    }

    /// What some of its mounts are for the runtime.
    pub(crate) fn mounts_from(
        &self,
        container: &Container,
        from: &[crate::Mount],
        mounts: &mut Vec<Mount>,
    ) -> Result<()> {
        let mut sorted: Vec<&crate::Mount> = from.iter().collect();
        let mut table = None;
        // A mount point inside another mount comes after it.
        sorted.sort_by_key(|m| m.target.matches('/').count());
        for m in sorted {
            let attr = Attr { read_only: m.read_only, ..Attr::default() };
            match m.kind {
                MountKind::Tmpfs => mounts.push(tmpfs(m)),
                // Made after all others: it covers nothing that is mounted below.
                MountKind::Image => {}
                MountKind::Volume => {
                    let bind = self.volume_bind(container, m, attr)?;
                    bind.mount(container, &mut table, mounts);
                }
                MountKind::Bind => {
                    let file = match std::fs::metadata(&m.source) {
                        Ok(meta) => !meta.is_dir(),
                        Err(_) if m.create_source => {
                            std::fs::create_dir_all(&m.source)
                                .map_err(|e| Error::io("cannot make the bind source", &m.source, e))?;
                            false
                        }
                        Err(_) => {
                            return Err(Error::Invalid(format!(
                                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                                m.source
                            )));
                        }
                    };
                    let (source, target) = (m.source.clone(), m.target.clone());
                    let mapping = self.mapping(container, m, Path::new(&m.source))?;
                    let extra =
                        Extra { propagation: propagation(&m.propagation), mapping, ..Extra::default() };
                    let below = !m.writable_below;
                    let bind = Bind { source, target, attr, recursive: !m.non_recursive, below, file, extra };
                    bind.mount(container, &mut table, mounts);
                }
            }
        }
        Ok(())
    }

    /// A volume is there since its container was created. On the container's first start an empty one is filled.
    fn volume_bind(&self, container: &Container, m: &crate::Mount, attr: Attr) -> Result<Bind> {
        let volume = self.volume_of(m);
        let path = self.mountpoint(&volume);
        let mut extra = Extra::default();
        let mut file = false;
        if m.subpath.is_empty() {
            let empty = || std::fs::read_dir(&path).map_or(true, |mut entries| entries.next().is_none());
            extra.copy_up = !m.no_copy && empty() && self.is_new(container);
            extra.keep_owner = volume.owned;
        } else {
            file = !is_directory(&path, &m.subpath)?;
            extra.subpath = m.subpath.clone();
        }
        extra.mapping = self.mapping(container, m, &path)?;
        let source = path.display().to_string();
        Ok(Bind { source, target: m.target.clone(), attr, recursive: true, below: true, file, extra })
    }

    /// `map=`: one user and one group of the disk are the program's; nobody else has anything there.
    fn mapping(&self, container: &Container, m: &crate::Mount, source: &Path) -> Result<Option<Mapping>> {
        let (uid, gid) = match m.map {
            None => return Ok(None),
            Some(OwnerMap::Ids(uid, gid)) => (uid, gid),
            Some(OwnerMap::Owner) => {
                use std::os::unix::fs::MetadataExt;
                let meta = std::fs::metadata(source).map_err(|e| Error::io("cannot mount", source, e))?;
                (meta.uid(), meta.gid())
            }
        };
        let user = self.user_of(container, &self.root_of(container))?;
        let base = container.id_base;
        let one = |disk: u32, seen: u32| vec![IdRange { inside: disk, outside: base + seen, count: 1 }];
        Ok(Some(Mapping { uids: one(uid, user.uid), gids: one(gid, user.gid), recursive: false }))
    }

    /// The images that it mounts; what is mounted below another comes later.
    pub(super) fn image_mounts(&self, container: &Container) -> Vec<ImageMount> {
        let mut all: Vec<&crate::Mount> =
            container.settings.mounts.iter().filter(|m| m.kind == MountKind::Image).collect();
        all.sort_by_key(|m| m.target.matches('/').count());
        let workshop = self.directory(container).join("images").display().to_string();
        let one = |m: &crate::Mount| ImageMount {
            layers: m.layers.clone(),
            subpath: m.subpath.clone(),
            target: m.target.clone(),
            workshop: workshop.clone(),
        };
        all.into_iter().map(one).collect()
    }

    /// What is only explained has made nothing yet.
    fn volume_of(&self, m: &crate::Mount) -> Volume {
        self.volume(&m.source).unwrap_or(Volume { name: m.source.clone(), ..Volume::default() })
    }

    /// Where a volume's files are.
    pub(crate) fn volume_path(&self, m: &crate::Mount) -> PathBuf {
        self.mountpoint(&self.volume_of(m))
    }

    fn is_new(&self, container: &Container) -> bool {
        matches!(
            self.state(container),
            Ok(State::Created | State::Exited { started: None, .. }) | Err(Error::NoSuchContainer(..))
        )
    }
}

/// What the description of a device mounts.
pub(super) fn described(
    container: &Container,
    all: &[crate::cdi::CdiMount],
    mounts: &mut Vec<Mount>,
) -> Result<()> {
    let mut table = None;
    for m in all {
        let has = |word: &str| m.options.iter().any(|option| option == word);
        let meta = std::fs::metadata(&m.host_path)
            .map_err(|e| Error::io("cannot mount, as its CDI description says,", &m.host_path, e))?;
        let attr = Attr {
            read_only: has("ro"),
            nosuid: has("nosuid"),
            nodev: has("nodev"),
            noexec: has("noexec"),
            ..Attr::default()
        };
        let (source, target) = (m.host_path.clone(), m.container_path.clone());
        let (recursive, file, extra) = (has("rbind"), !meta.is_dir(), Extra::default());
        let bind = Bind { source, target, attr, recursive, below: true, file, extra };
        bind.mount(container, &mut table, mounts);
    }
    Ok(())
}

/// What a place in a volume is: the volume is the container's to write, so no link out of it is followed.
fn is_directory(volume: &Path, subpath: &str) -> Result<bool> {
    let failed = |e: rustix::io::Errno| {
        Error::io("cannot mount the volume's subpath", volume.join(subpath), std::io::Error::from(e))
    };
    let base = std::ffi::CString::new(volume.as_os_str().as_encoded_bytes());
    let (Ok(base), Ok(below)) = (base, std::ffi::CString::new(subpath)) else {
        return Err(failed(rustix::io::Errno::INVAL));
    };
    let place = kernel::mount::find_below(&base, &below).map_err(failed)?;
    kernel::mount::is_dir(&place).map_err(failed)
}

fn propagation(word: &str) -> Option<(Propagation, bool)> {
    let recursive = word.starts_with('r');
    match word.trim_start_matches('r') {
        "slave" => Some((Propagation::Slave, recursive)),
        "shared" => Some((Propagation::Shared, recursive)),
        _ => None,
    }
}

fn tmpfs(m: &crate::Mount) -> Mount {
    let has = |word: &str| m.options.iter().any(|o| o == word);
    let attr = Attr {
        read_only: m.read_only || has("ro"),
        nosuid: !has("suid"),
        nodev: !has("dev"),
        noexec: !has("exec"),
        ..Attr::default()
    };
    let mut options = Vec::new();
    if let Some(size) = m.size {
        options.push(("size".to_owned(), size.to_string()));
    }
    options.push(("mode".to_owned(), format!("{:o}", m.mode.unwrap_or(0o1777))));
    for option in &m.options {
        if let Some((key, value)) = option.split_once('=').filter(|(key, _)| !matches!(*key, "size" | "mode"))
        {
            options.push((key.to_owned(), value.to_owned()));
        }
    }
    Mount::Fs {
        fstype: "tmpfs".to_owned(),
        source: "tmpfs".to_owned(),
        options,
        attr,
        target: m.target.clone(),
        extra: Extra { strict: true, ..Extra::default() },
    }
}

/// A volume, or a file or directory of the host.
struct Bind {
    source: String,
    target: String,
    attr: Attr,
    recursive: bool,
    /// The flags are those of what is mounted below, too.
    below: bool,
    file: bool,
    extra: Extra,
}

impl Bind {
    /// A tree of mounts is mapped as a whole or not at all. So with ids of its own a container gets each mount of the tree by
    /// itself: what is mounted below may be a file system that knows no mapping, such as `/proc` below `/`.
    fn mount(self, container: &Container, table: &mut Option<Vec<Entry>>, mounts: &mut Vec<Mount>) {
        let Bind { source, target, attr, recursive, below, file, mut extra } = self;
        if container.id_base == 0 {
            let (attr, top) = if below { (attr, Attr::default()) } else { (Attr::default(), attr) };
            extra.top = top;
            return mounts.push(Mount::Bind {
                source,
                target,
                attr,
                recursive,
                idmap: Idmap::No,
                file,
                extra,
            });
        }
        let table = table.get_or_insert_with(read_table);
        let real = std::fs::canonicalize(&source).unwrap_or_else(|_| PathBuf::from(&source));
        let id = mount_of(&real);
        let idmap = match table.iter().find(|entry| Some(entry.id) == id) {
            _ if extra.mapping.is_some() => Idmap::No,
            Some(entry) if KERNEL.contains(&entry.fstype.as_str()) => Idmap::No,
            _ => Idmap::Yes,
        };
        let (own, inside) = (target.clone(), !extra.subpath.is_empty());
        mounts.push(Mount::Bind { source, target: own, attr, recursive: false, idmap, file, extra });
        if !recursive || file || inside {
            return;
        }
        for entry in table.iter() {
            let Ok(rest) = entry.at.strip_prefix(&real) else { continue };
            // One that lies under another is not to be seen.
            if rest.as_os_str().is_empty() || mount_of(&entry.at) != Some(entry.id) {
                continue;
            }
            let idmap = if KERNEL.contains(&entry.fstype.as_str()) { Idmap::No } else { Idmap::IfPossible };
            mounts.push(Mount::Bind {
                source: entry.at.display().to_string(),
                target: format!("{}/{}", target.trim_end_matches('/'), rest.display()),
                attr: if below { attr } else { Attr::default() },
                recursive: false,
                idmap,
                file: !entry.at.is_dir(),
                extra: Extra::default(),
            });
        }
    }
}

/// File systems whose files are the kernel's own: there are no owners to map.
const KERNEL: [&str; 20] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// A line of mountinfo. See proc_pid_mountinfo(5).
#[derive(Debug, PartialEq)]
struct Entry {
    id: u64,
    at: PathBuf,
    fstype: String,
}

fn read_table() -> Vec<Entry> {
    let text = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|b| *b == b'\n').filter_map(parse).collect()
}

/// `None` for a line that is none, and for mounts that are not copied with the tree they are in: unbindable ones, and mount
/// namespaces.
fn parse(line: &[u8]) -> Option<Entry> {
    use std::os::unix::ffi::OsStringExt;
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let dash = words.iter().position(|w| *w == b"-")?;
    let optional = words.get(6..dash)?;
    if optional.contains(&&b"unbindable"[..]) || words[3].starts_with(b"mnt:") {
        return None;
    }
    Some(Entry {
        id: std::str::from_utf8(words[0]).ok()?.parse().ok()?,
        at: PathBuf::from(std::ffi::OsString::from_vec(unescape(words[4]))),
        fstype: String::from_utf8_lossy(words.get(dash + 1)?).into_owned(),
    })
}

/// `\040` is a space.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|d| *first == b'\\' && d.iter().all(|b| (b'0'..b'8').contains(b)));
        match digits {
            Some(d) => {
                out.push(d.iter().fold(0u8, |n, b| n.wrapping_mul(8).wrapping_add(b - b'0')));
                rest = &after[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

/// The id of the mount that a path leads to; no server is asked.
fn mount_of(path: &Path) -> Option<u64> {
    let flags = AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let mask = StatxFlags::from_bits_retain(0x1000); // STATX_MNT_ID
    statx(CWD, path, flags, mask).ok().map(|s| s.stx_mnt_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_mount_table() {
        let line = br"36 25 0:31 / /a\040b\134 rw,relatime shared:1 master:2 - tmpfs none rw,size=1k";
        let entry = Entry { id: 36, at: r"/a b\".into(), fstype: "tmpfs".to_owned() };
        assert_eq!(parse(line), Some(entry));
        assert_eq!(parse(b"36 25 0:31 / /a rw unbindable - tmpfs none rw"), None);
        assert_eq!(parse(b"36 25 0:4 mnt:[4026532] /a rw - nsfs nsfs rw"), None);
        assert_eq!(parse(b""), None);
    }
}
