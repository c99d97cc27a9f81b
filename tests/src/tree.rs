//! A directory tree as text, a line for each file, with all that an archive can say of it: to compare what two programs have unpacked.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Path below the root → kind, mode, owner, time, size and content or target, extended attributes, the first of its other names.
pub type Tree = BTreeMap<PathBuf, String>;

/// Reads the tree below `root`, the root included.
pub fn read(root: &Path) -> Tree {
    let mut names = vec![PathBuf::new()];
    let mut tree = Tree::new();
    let mut first = HashMap::new();
    while let Some(name) = names.pop() {
        let path = root.join(&name);
        let stat = path.symlink_metadata().expect("the tree is not changed meanwhile");
        if stat.is_dir() {
            let entries = fs::read_dir(&path).expect("root reads every directory");
            let mut below: Vec<OsString> =
                entries.map(|entry| entry.expect("it is read").file_name()).collect();
            // The last is read first.
            below.sort_by(|a, b| b.cmp(a));
            names.extend(below.into_iter().map(|child| name.join(child)));
        }
        let mut line = describe(&path, &stat);
        if stat.nlink() > 1 && !stat.is_dir() {
            let first = first.entry((stat.dev(), stat.ino())).or_insert_with(|| name.clone());
            line.push_str(&format!(" of {} names, first '{}'", stat.nlink(), first.display()));
        }
        tree.insert(name, line);
    }
    tree
}

fn describe(path: &Path, stat: &Metadata) -> String {
    let kind = stat.file_type();
    let what = if kind.is_dir() {
        "directory".into()
    } else if kind.is_symlink() {
        format!("link to {:?}", fs::read_link(path).expect("it is a link"))
    } else if kind.is_file() {
        format!("file of {} bytes, content {:016x}", stat.size(), content(path))
    } else {
        let kind = if kind.is_fifo() {
            "fifo"
        } else if kind.is_char_device() {
            "character device"
        } else if kind.is_block_device() {
            "block device"
        } else {
            "something else"
        };
        format!("{kind} {:x}", stat.rdev())
    };
    format!(
        "{what}, {:04o} {}:{}, at {}.{:09}{}",
        stat.mode() & 0o7777,
        stat.uid(),
        stat.gid(),
        stat.mtime(),
        stat.mtime_nsec(),
        attributes(path)
    )
}

fn content(path: &Path) -> u64 {
    let mut file = fs::File::open(path).expect("root reads every file");
    let (mut hasher, mut buffer) = (DefaultHasher::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).expect("it is read") {
            0 => return hasher.finish(),
            n => hasher.write(&buffer[..n]),
        }
    }
}

fn attributes(path: &Path) -> String {
    let mut names = Vec::with_capacity(64 << 10);
    if rustix::fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)).is_err() {
        return String::new();
    }
    let mut list: Vec<String> = names
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty())
        .map(|name| {
            let mut value = Vec::with_capacity(64 << 10);
            let read = rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value));
            read.expect("a listed attribute is there");
            format!(", {}={}", name.escape_ascii(), value.escape_ascii())
        })
        .collect();
    list.sort();
    list.concat()
}

/// Fails with the first differences.
#[track_caller]
pub fn assert_same(what: &str, ours: &Tree, theirs: &Tree) {
    let names: std::collections::BTreeSet<&PathBuf> = ours.keys().chain(theirs.keys()).collect();
    let none = String::from("nothing");
    let differences: Vec<String> = names
        .into_iter()
        .filter(|name| ours.get(*name) != theirs.get(*name))
        .map(|name| {
            let of = |tree: &Tree| tree.get(name).unwrap_or(&none).clone();
            format!("'{}'\n  ours:   {}\n  theirs: {}", name.display(), of(ours), of(theirs))
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{what}: {} of {} files differ\n{}",
        differences.len(),
        theirs.len(),
        differences.into_iter().take(20).collect::<Vec<_>>().join("\n")
    );
}

/// The whiteouts that an archive has as names, as overlay has them: what `.wh.x` says is a device named `x`, and an opaque directory an
/// attribute.
pub fn as_overlay(tree: Tree) -> Tree {
    let mut seen = Tree::new();
    let mut opaque = Vec::new();
    for (path, line) in tree {
        let name = path.file_name().unwrap_or_default().as_bytes();
        match name.strip_prefix(b".wh.") {
            Some(b".wh..opq") => opaque.push(path.parent().map(Path::to_path_buf).unwrap_or_default()),
            Some(hidden) => {
                seen.insert(path.with_file_name(std::ffi::OsStr::from_bytes(hidden)), WHITEOUT.into());
            }
            None => _ = seen.insert(path, line),
        }
    }
    for path in opaque {
        if let Some(line) = seen.get_mut(&path) {
            line.push_str(", trusted.overlay.opaque=y");
        }
    }
    seen
}

const WHITEOUT: &str = "whiteout";

/// Whiteouts without their owners and times, which mean nothing.
pub fn plain_whiteouts(tree: Tree) -> Tree {
    let plain = |line: String| if line.starts_with("character device 0,") { WHITEOUT.into() } else { line };
    tree.into_iter().map(|(path, line)| (path, plain(line))).collect()
}
