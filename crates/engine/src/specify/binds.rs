//! What the user mounts: volumes, files and directories of the host with what is mounted below them, memory.

use crate::{Container, Engine, Error, MountKind, Result};
use kernel::mount::Attr;
use runtime::{Extra, Idmap, Mount};
use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
use std::path::{Path, PathBuf};

impl Engine {
    pub(super) fn user_mounts(&self, container: &Container, mounts: &mut Vec<Mount>) -> Result<()> {
        let mut sorted: Vec<&crate::Mount> = container.settings.mounts.iter().collect();
        let mut table = None;
        // A mount point inside another mount comes after it.
        sorted.sort_by_key(|m| m.target.matches('/').count());
        for m in sorted {
            let attr = Attr { read_only: m.read_only, ..Attr::default() };
            match m.kind {
                MountKind::Tmpfs => mounts.push(tmpfs(m)),
                MountKind::Volume => {
                    let source = self.volume(container, m)?;
                    let bind = Bind { source, target: m.target.clone(), attr, recursive: true, file: false };
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
                    let bind = Bind { source, target, attr, recursive: !m.non_recursive, file };
                    bind.mount(container, &mut table, mounts);
                }
            }
        }
        Ok(())
    }

    /// Where a volume is.
    pub(crate) fn volume_path(&self, container: &Container, m: &crate::Mount) -> PathBuf {
        if m.source.is_empty() {
            self.directory(container).join("volumes").join(m.target.replace('/', "%"))
        } else {
            self.root.join("volumes").join(&m.source).join("_data")
        }
    }

    /// The directory of a volume, made when missing; an anonymous one lives and ends with its container.
    pub(crate) fn volume(&self, container: &Container, m: &crate::Mount) -> Result<String> {
        let path = self.volume_path(container, m);
        if !path.exists() {
            std::fs::create_dir_all(&path).map_err(|e| Error::io("cannot make the volume", &path, e))?;
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
                .map_err(|e| Error::io("cannot make the volume", &path, e))?;
            self.copy_up(container, &m.target, &path);
        }
        Ok(path.display().to_string())
    }

    /// A new volume begins with the owner and mode that the image has at its place (its files are issue of volumes).
    fn copy_up(&self, container: &Container, target: &str, path: &std::path::Path) {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found =
            container.lower.iter().find_map(|l| std::fs::symlink_metadata(format!("{l}{target}")).ok());
        if let Some(meta) = found.filter(std::fs::Metadata::is_dir) {
            let _ = std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid()));
            let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(meta.mode() & 0o7777));
        }
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
    file: bool,
}

impl Bind {
    /// A tree of mounts is mapped as a whole or not at all. So with ids of its own a container gets each mount of the tree by
    /// itself: what is mounted below may be a file system that knows no mapping, such as `/proc` below `/`.
    fn mount(self, container: &Container, table: &mut Option<Vec<Entry>>, mounts: &mut Vec<Mount>) {
        let Bind { source, target, attr, recursive, file } = self;
        let extra = Extra::default();
        if container.id_base == 0 {
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
            Some(entry) if KERNEL.contains(&entry.fstype.as_str()) => Idmap::No,
            _ => Idmap::Yes,
        };
        let own = target.clone();
        mounts.push(Mount::Bind { source, target: own, attr, recursive: false, idmap, file, extra });
        if !recursive || file {
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
                attr,
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
