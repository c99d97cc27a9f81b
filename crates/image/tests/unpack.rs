//! What a layer turns into on disk: exactly what the archive says, and what overlayfs takes for whiteouts.

mod common;

use common::*;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use tar::EntryType;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(1024);
    rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

fn is_whiteout(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

#[test]
fn owners_modes_times_and_kinds() {
    if !is_root() {
        return;
    }
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .mode("d/", 0o2750, 7, 8)
        .mode("d/setuid", 0o4755, 1, 2)
        .mode("d/all", 0o7777, 70_000, 2_000_000)
        .mode("d/none", 0, 0, 0)
        .hard_link("d/again", "d/setuid")
        .symlink("d/link", "/nowhere/../else")
        .device(EntryType::Char, "d/null", 1, 3)
        .device(EntryType::Block, "d/disk", 259, 300)
        .device(EntryType::Fifo, "d/fifo", 0, 0)
        .pax(&[("mtime", b"1700000000.123456789"), ("SCHILY.xattr.user.x", b"1\n2\0")])
        .file("d/nano", b"n")
        .pax(&[("mtime", b"-1.5"), ("SCHILY.xattr.security.capability", capability), ("uid", b"3000000")])
        .mode("d/cap", 0o755, 5, 5)
        .pax(&[("SCHILY.xattr.user.dir", b"v")])
        .mode("late/", 0o1777, 3, 4)
        .file("late/x", b"")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    let stat = |name: &str| root.join(name).symlink_metadata().unwrap();
    let owned = |name: &str| (stat(name).mode() & 0o7777, stat(name).uid(), stat(name).gid());
    assert_eq!(owned("d"), (0o2750, 7, 8));
    assert_eq!(owned("d/setuid"), (0o4755, 1, 2));
    assert_eq!(owned("d/all"), (0o7777, 70_000, 2_000_000));
    // The setgid directory must not lend its group.
    assert_eq!(owned("d/none"), (0, 0, 0));
    assert_eq!((stat("d/again").ino(), stat("d/again").nlink()), (stat("d/setuid").ino(), 2));
    assert_eq!(std::fs::read_link(root.join("d/link")).unwrap(), Path::new("/nowhere/../else"));
    assert!(
        stat("d/null").file_type().is_char_device() && stat("d/null").rdev() == rustix::fs::makedev(1, 3)
    );
    assert!(
        stat("d/disk").file_type().is_block_device()
            && stat("d/disk").rdev() == rustix::fs::makedev(259, 300)
    );
    assert!(stat("d/fifo").file_type().is_fifo());
    assert_eq!((stat("d/nano").mtime(), stat("d/nano").mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!(xattr(&root.join("d/nano"), "user.x").unwrap(), b"1\n2\0");
    assert_eq!(
        (stat("d/cap").mtime(), stat("d/cap").mtime_nsec(), stat("d/cap").uid()),
        (-2, 500_000_000, 3_000_000)
    );
    assert_eq!(xattr(&root.join("d/cap"), "security.capability").unwrap(), capability);
    assert_eq!(owned("late"), (0o1777, 3, 4));
    assert_eq!(xattr(&root.join("late"), "user.dir").unwrap(), b"v");
    for name in ["d", "d/link", "d/null", "d/setuid", "late"] {
        assert_eq!(stat(name).mtime(), 1_000_000_000, "{name}");
    }
}

#[test]
fn whiteouts_become_overlay_whiteouts() {
    if !is_root() {
        return;
    }
    let tar = Tar::new()
        .file("etc/.wh.gone", b"")
        .file(".wh.never-was", b"")
        .file("opaque/.wh..wh..opq", b"")
        .file("opaque/new", b"n")
        // Removed and brought again as a directory, in either order: it must not merge with the old one.
        .file(".wh.before", b"")
        .dir("before/")
        .dir("after/")
        .file(".wh.after", b"")
        .file("kept", b"k")
        .file(".wh.kept", b"")
        .file(".wh.replaced", b"")
        .file("replaced", b"r")
        .file(".wh..wh.plnk/1.2", b"aufs")
        // Below what is no directory there is nothing to hide.
        .file("file", b"f")
        .file("file/.wh.x", b"")
        .file("file/y/.wh.z", b"")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    assert!(is_whiteout(&root.join("etc/gone")) && is_whiteout(&root.join("never-was")));
    for name in ["opaque", "before", "after"] {
        assert_eq!(xattr(&root.join(name), "trusted.overlay.opaque").unwrap(), b"y", "{name}");
    }
    assert_eq!(std::fs::read(root.join("kept")).unwrap(), b"k");
    assert_eq!(std::fs::read(root.join("file")).unwrap(), b"f");
    assert_eq!(std::fs::read(root.join("replaced")).unwrap(), b"r");
    assert!(!snapshot(&root).iter().any(|name| name.contains(".wh.")));
}

#[test]
fn the_last_of_a_name_wins() {
    let tar = Tar::new()
        .file("x", b"one")
        .hard_link("other", "x")
        .file("x", b"two")
        .dir("d/")
        .file("d/sub/f", b"")
        .file("d", b"now a file")
        .file("f", b"")
        .dir("f/")
        .file("f/g", b"now a directory")
        .symlink("l", "elsewhere")
        .file("l", b"not through the link")
        .symlink("ld", "f")
        .dir("ld/")
        .hard_link("x", "x")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    assert_eq!((read("x"), read("other")), ("two".into(), "one".into()));
    assert_eq!(read("d"), "now a file");
    assert_eq!(read("f/g"), "now a directory");
    assert_eq!(read("l"), "not through the link");
    assert!(!root.join("elsewhere").exists());
    assert!(root.join("ld").symlink_metadata().unwrap().is_dir());
}

#[test]
fn links_are_followed_inside_the_image_only() {
    let tar = Tar::new()
        .dir("usr/bin/")
        .symlink("bin", "usr/bin")
        .file("bin/tool", b"t")
        .dir("run/")
        .symlink("var/run", "/run")
        .file("var/run/pid", b"p")
        .hard_link("bin/tool2", "bin/tool")
        .file("/absolute", b"a")
        .file("./a/../dotted", b"d")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    for name in ["usr/bin/tool", "usr/bin/tool2", "run/pid", "absolute", "dotted"] {
        assert!(root.join(name).symlink_metadata().unwrap().is_file(), "{name}");
    }
    assert!(!Path::new("/absolute").exists());
}

#[test]
fn sparse_files_in_all_formats() {
    const MB: u64 = 1 << 20;
    // GNU: two extents in the header.
    let mut gnu = tar::Header::new_gnu();
    gnu.as_old_mut().name[..3].copy_from_slice(b"gnu");
    gnu.set_entry_type(EntryType::GNUSparse);
    gnu.set_mode(0o644);
    gnu.set_uid(0);
    gnu.set_gid(0);
    gnu.set_mtime(0);
    gnu.set_size(6);
    let fields = gnu.as_gnu_mut().unwrap();
    fields.set_real_size(4 * MB);
    fields.sparse[0].set_offset(0);
    fields.sparse[0].set_length(3);
    fields.sparse[1].set_offset(2 * MB);
    fields.sparse[1].set_length(3);
    // PAX 1.0: the map is in the data.
    let map = format!("2\n0\n3\n{}\n3\n", 2 * MB);
    let mut data = map.into_bytes();
    data.resize(512, 0);
    data.extend_from_slice(b"abcdef");
    let (size, map01) = (format!("{}", 4 * MB), format!("0,3,{},3", 2 * MB));
    let second = format!("{}", 2 * MB);
    let size = size.as_bytes();
    let tar = Tar::new()
        .raw(gnu, b"abcdef")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax10"),
            ("GNU.sparse.realsize", size),
        ])
        .file("GNUSparseFile.0/pax10", &data)
        .pax(&[
            ("GNU.sparse.size", size),
            ("GNU.sparse.name", b"pax01"),
            ("GNU.sparse.map", map01.as_bytes()),
        ])
        .file("GNUSparseFile.0/pax01", b"abcdef")
        .pax(&[
            ("GNU.sparse.size", size),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"3"),
            ("GNU.sparse.offset", second.as_bytes()),
            ("GNU.sparse.numbytes", b"3"),
        ])
        .file("pax00", b"abcdef")
        .file("after", b"a")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    for name in ["gnu", "pax10", "pax01", "pax00"] {
        let bytes = std::fs::read(root.join(name)).unwrap();
        assert_eq!(bytes.len() as u64, 4 * MB, "{name}");
        assert_eq!((&bytes[..4], &bytes[2 * MB as usize..][..4]), (&b"abc\0"[..], &b"def\0"[..]), "{name}");
        assert!(root.join(name).metadata().unwrap().blocks() * 512 < MB, "{name} has its holes");
    }
    assert!(root.join("after").exists() && !root.join("GNUSparseFile.0").exists());
}

#[test]
fn long_names() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(250));
    let gnu = |kind, text: &str| Tar::header(b"././@LongLink", kind, text.len() + 1);
    let text = format!("{long}\0");
    let tar = Tar::new()
        .raw(gnu(EntryType::GNULongName, &long), text.as_bytes())
        .file("short", b"gnu")
        .raw(gnu(EntryType::GNULongName, "l"), b"l\0")
        .raw(gnu(EntryType::GNULongLink, &long), text.as_bytes())
        .symlink("x", "y")
        .pax(&[("path", format!("{long}2").as_bytes()[..long.len()].as_ref())])
        .file("x", b"pax")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    assert_eq!(std::fs::read(root.join(&long)).unwrap(), b"pax");
    assert_eq!(std::fs::read_link(root.join("l")).unwrap().to_str().unwrap(), long);
}

#[test]
fn implied_directories_are_those_of_the_layer_below() {
    if !is_root() {
        return;
    }
    let lower = Tar::new().mode("tmp/", 0o1777, 0, 0).mode("home/", 0o750, 5, 6).end();
    let upper = Tar::new().file("tmp/x", b"").file("home/new/y", b"").file(".wh.z", b"").end();
    let bench = Bench::new();
    bench.load(&docker_archive(&[&lower, &upper], &["t:1"])).unwrap();
    let root = bench.store.layer_paths(&bench.store.resolve("t:1").unwrap()).remove(0);
    let stat = |name: &str| root.join(name).symlink_metadata().unwrap();
    assert_eq!((stat("tmp").mode() & 0o7777, stat("tmp").mtime()), (0o1777, 1_000_000_000));
    assert_eq!((stat("home").mode() & 0o7777, stat("home").uid(), stat("home").gid()), (0o750, 5, 6));
    assert_eq!(stat("home/new").mode() & 0o7777, 0o755);
    assert_eq!(root.symlink_metadata().unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn xattrs_that_are_not_the_images() {
    if !is_root() {
        return;
    }
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y"), ("SCHILY.xattr.security.selinux", b"label")])
        .dir("d/")
        .end();
    let bench = Bench::new();
    let root = bench.unpack(&tar).unwrap();
    assert!(xattr(&root.join("d"), "trusted.overlay.opaque").is_none());
}
