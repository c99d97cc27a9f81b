//! Packing a tree and receiving it elsewhere: what `cp` is made of.

mod common;

use common::*;
use image::layer::copy::{Copy, Owners, receive};
use image::layer::pack::{Pack, pack};
use std::fs::File;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

fn open(path: &Path) -> rustix::fd::OwnedFd {
    File::open(path).unwrap().into()
}

fn packed(dir: &Path, name: &str, as_name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(&mut bytes, open(dir), name.as_bytes(), as_name.as_bytes(), Pack::default()).unwrap();
    bytes
}

fn received(stream: &[u8], dir: &Path, how: &Copy) -> Result<(), String> {
    rustix::process::umask(rustix::fs::Mode::empty());
    receive(stream, open(dir), how).map(drop).map_err(|e| e.to_string())
}

fn sh(dir: &Path, script: &str) -> String {
    // Another test of this process may have taken the umask away.
    let script = format!("umask 022\n{script}");
    let output = std::process::Command::new("bash").args(["-ec", &script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(1024);
    rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok()?;
    Some(value)
}

/// Everything that a tree is, a line each.
fn described(dir: &Path) -> String {
    sh(
        dir,
        "find . -mindepth 1 -printf '%P %y %m %U:%G %T@ %l %n ' \\( -type f -printf '%s ' -exec sha256sum {} \\; -o -printf '\\n' \\) |
         sed 's/  .*//' | sort",
    )
}

/// What was there stays until all of the new file is, and nothing else is left of one that does not come to its end.
#[test]
fn a_file_is_replaced_by_a_whole_one() {
    let dir = TempDir::new();
    sh(
        &dir.0,
        "mkdir from to; seq 100000 >from/f; echo old >to/f; ln to/f to/other; echo a >to/a; ln -s a to/link",
    );
    let (from, to) = (dir.0.join("from"), dir.0.join("to"));
    let stream = packed(&from, "f", "f");
    let how = Copy::default();
    for cut in [stream.len() / 2, 700] {
        received(&stream[..cut], &to, &how).expect_err("half a stream");
        assert_eq!(sh(&to, "ls -A; cat f"), "a\nf\nlink\nother\nold\n");
    }
    received(&stream, &to, &how).unwrap();
    // A link is replaced, and so is one of two names.
    received(&packed(&from, "f", "link"), &to, &how).unwrap();
    assert_eq!(
        sh(&to, "ls -A; cmp f ../from/f; cmp link ../from/f; cat a other; stat -c %h f"),
        "a\nf\nlink\nother\na\nold\n1\n"
    );
    sh(&to, "mkdir d");
    let error = received(&packed(&from, "f", "d"), &to, &how).expect_err("it is a directory");
    assert!(error.contains("cannot overwrite directory 'd'"), "{error}");
    assert_eq!(sh(&to, "ls -A d; ls -A | wc -l"), "5\n");
}

#[test]
fn a_tree_comes_through_as_it_is() {
    let dir = TempDir::new();
    sh(
        &dir.0,
        "mkdir -p from/a/b from/empty to; cd from; echo one >a/one; ln a/one a/b/two; ln -s ../one a/b/link; mkfifo a/fifo
         mknod a/null c 1 3; chmod 4755 a/one; chown 5:6 a/one a/b; chmod 1777 empty; chown -h 7:8 a/b/link
         printf '%s' {1..2000} >long-$(printf 'x%.0s' {1..200}); truncate -s 8M holes; printf x | dd of=holes bs=1 seek=4M conv=notrunc status=none
         touch -d '1969-12-31 23:59:58.5 UTC' old; touch -d '2020-01-01 00:00:00.123456789 UTC' a/b a; d=.; for i in {1..150}; do d=$d/$i; done; mkdir -p $d; echo deep >$d/x",
    );
    set_xattr(&dir.0.join("from/a/one"), "security.capability", CAPABILITY);
    set_xattr(&dir.0.join("from/a"), "user.dir", b"v\n\0");
    let stream = packed(&dir.0, "from", ".");
    assert!(stream.len() < 2 << 20, "holes are not written");
    let keep = Copy { owners: Owners::Keep { below: u32::MAX }, devices: true, ..Copy::default() };
    received(&stream, &dir.0.join("to"), &keep).unwrap();
    assert_eq!(described(&dir.0.join("from")), described(&dir.0.join("to")));
    let attributes =
        |dir: &Path| [xattr(&dir.join("a/one"), "security.capability"), xattr(&dir.join("a"), "user.dir")];
    assert_eq!(attributes(&dir.0.join("from")), attributes(&dir.0.join("to")));
    assert!(attributes(&dir.0.join("to")).iter().all(Option::is_some));
    assert!(dir.0.join("to/holes").metadata().unwrap().blocks() < 2048);
    // GNU tar reads the same from it.
    std::fs::write(dir.0.join("x.tar"), &stream).unwrap();
    sh(&dir.0, "mkdir gnu; tar -xpf x.tar -C gnu --xattrs --xattrs-include='*' --numeric-owner");
    assert_eq!(described(&dir.0.join("from")), described(&dir.0.join("gnu")));
}

#[test]
fn names_at_the_other_end() {
    let dir = TempDir::new();
    sh(&dir.0, "mkdir -p from/d to/there; echo f >from/d/f; ln from/d/f from/d/g; chmod 700 from");
    let as_name = |name: &str| Copy { as_name: name.into(), ..Copy::default() };
    let to = dir.0.join("to");
    received(&packed(&dir.0, "from", "."), &to, &as_name("new")).unwrap();
    assert_eq!(std::fs::read(to.join("new/d/f")).unwrap(), b"f\n");
    assert_eq!(to.join("new").metadata().unwrap().mode() & 0o777, 0o700);
    assert_eq!(to.join("new/d/g").metadata().unwrap().nlink(), 2);
    // Into a directory that is there: it stays what it is, and so does what is in it.
    received(&packed(&dir.0, "from", "."), &to.join("there"), &as_name("")).unwrap();
    assert_eq!(to.join("there").metadata().unwrap().mode() & 0o777, 0o755);
    received(&packed(&dir.0.join("from/d"), "f", "."), &to, &as_name("file")).unwrap();
    assert_eq!(std::fs::read(to.join("file")).unwrap(), b"f\n");
    // What is the one is not silently made the other.
    let error = received(&packed(&dir.0.join("from/d"), "f", "."), &to, &as_name("new")).unwrap_err();
    assert_eq!(error, "cannot overwrite directory 'new' with a non-directory");
    let error = received(&packed(&dir.0, "from", "."), &to, &as_name("file")).unwrap_err();
    assert_eq!(error, "cannot overwrite non-directory 'file' with a directory");
}

#[test]
fn who_loses_the_owner_loses_its_powers() {
    let dir = TempDir::new();
    sh(
        &dir.0,
        "mkdir from to; cd from; touch suid caps user .wh.x; chown 5:6 suid user; chmod 6755 suid; mknod null c 1 3; mknod whiteout c 0 0; chown 70000:0 caps",
    );
    set_xattr(&dir.0.join("from/caps"), "security.capability", CAPABILITY);
    set_xattr(&dir.0.join("from/user"), "user.x", b"y");
    let stat = |name: &str| dir.0.join("to").join(name).symlink_metadata().unwrap();
    received(&packed(&dir.0, "from", "."), &dir.0.join("to"), &Copy::default()).unwrap();
    assert_eq!((stat("suid").mode() & 0o7777, stat("suid").uid(), stat("suid").gid()), (0o755, 0, 0));
    assert!(
        dir.0.join("to/.wh.x").exists()
            && !dir.0.join("to/null").exists()
            && !dir.0.join("to/whiteout").exists()
    );
    assert_eq!(xattr(&dir.0.join("to/caps"), "security.capability"), None);
    assert_eq!(xattr(&dir.0.join("to/user"), "user.x").unwrap(), b"y");
    // A namespace of 65,536 ids.
    let keep = Copy { owners: Owners::Keep { below: 65536 }, devices: true, ..Copy::default() };
    received(&packed(&dir.0, "from", "."), &dir.0.join("to"), &keep).unwrap();
    assert_eq!((stat("suid").mode() & 0o7777, stat("suid").uid(), stat("suid").gid()), (0o6755, 5, 6));
    assert_eq!(stat("caps").uid(), 0);
    assert!(stat("null").file_type().is_char_device());
    let one = Copy { owners: Owners::One { uid: 8, gid: 9 }, ..Copy::default() };
    received(&packed(&dir.0, "from", "."), &dir.0.join("to"), &one).unwrap();
    assert_eq!((stat("user").uid(), stat("user").gid(), stat("suid").mode() & 0o7777), (8, 9, 0o6755));
}

#[test]
fn nothing_is_followed_out_of_the_directory() {
    let dir = TempDir::new();
    sh(
        &dir.0,
        "mkdir to outside; ln -s ../outside to/link; ln -s /etc to/etc; ln -s ../outside/new to/dangling; echo keep >outside/file",
    );
    let to = dir.0.join("to");
    let outside = || sh(&dir.0, "ls -la --full-time outside /etc/hostname 2>&1; cat outside/file");
    let before = outside();
    for tar in [
        Tar::new().file("../outside/x", b"evil"),
        Tar::new().file("link/x", b"evil"),
        Tar::new().file("etc/x", b"evil"),
        Tar::new().symlink("l", "../outside").file("l/x", b"evil"),
        Tar::new().symlink("l", "/").file("l/tmp/x", b"evil"),
        Tar::new().hard_link("h", "../outside/file"),
        Tar::new().hard_link("h", "link/file"),
        Tar::new().dir("link/").file("link/x", b"evil"),
        Tar::new().file("dangling", b"evil"),
    ] {
        // Refused, or kept inside.
        let _ = received(&tar.end(), &to, &Copy::default());
        assert_eq!(outside(), before);
    }
    // A file in the place of a link replaces the link.
    assert_eq!(std::fs::read(to.join("dangling")).unwrap(), b"evil");
    assert!(to.join("dangling").symlink_metadata().unwrap().is_file());
}

#[test]
fn compressed_and_broken_streams() {
    let dir = TempDir::new();
    let tar = Tar::new().file("f", b"f").end();
    for stream in [gzip(&tar), zstd(&tar), tar.clone()] {
        received(&stream, &dir.0, &Copy::default()).unwrap();
        std::fs::remove_file(dir.0.join("f")).unwrap();
    }
    assert_eq!(
        received(b"\xfd7zXZ\0", &dir.0, &Copy::default()).unwrap_err(),
        "xz compression is not supported"
    );
    assert_eq!(received(b"no archive at all", &dir.0, &Copy::default()).unwrap_err(), "archive is truncated");
    assert!(received(&tar[..600], &dir.0, &Copy::default()).unwrap_err().contains("truncated"));
    std::fs::set_permissions(dir.0.join("f"), std::fs::Permissions::from_mode(0o600)).unwrap();
}
