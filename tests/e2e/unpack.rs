//! What layers turn into, file by file, beside what GNU tar and umoci make of the same ones.

use e2e::tree::{self, Tree};
use e2e::{Sandbox, images::image};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::path::{Path, PathBuf};

/// The directories of an image's layers, the lowest first.
#[track_caller]
fn layers(s: &Sandbox, name: &str) -> Vec<PathBuf> {
    let data = s.corten(&format!("image inspect -f '{{{{json .GraphDriver.Data}}}}' {name}"));
    let data: serde_json::Value = serde_json::from_str(data.ok()).expect("JSON");
    // Docker's words: the layer on top is the upper one.
    let lower = data["LowerDir"].as_str().unwrap_or_default().split(':').filter(|path| !path.is_empty());
    let mut all: Vec<PathBuf> =
        data["UpperDir"].as_str().into_iter().chain(lower).map(PathBuf::from).collect();
    all.reverse();
    all
}

/// The image as a container sees it.
fn merged(s: &Sandbox, name: &str) -> Tree {
    let mut layers = layers(s, name);
    layers.reverse();
    let at = s.dir.join("merged");
    std::fs::create_dir_all(&at).expect("the sandbox is writable");
    // A single layer is no overlay by itself.
    let empty = s.dir.join("empty");
    std::fs::create_dir_all(&empty).expect("the sandbox is writable");
    layers.push(empty);
    let names: Vec<&str> = layers.iter().filter_map(|path| path.to_str()).collect();
    let options = std::ffi::CString::new(format!("lowerdir={}", names.join(":"))).expect("no zeros");
    mount("overlay", &at, "overlay", MountFlags::RDONLY, &*options).expect("overlay can be mounted");
    let tree = tree::read(&at);
    unmount(&at, UnmountFlags::empty()).expect("it is mounted");
    tree
}

#[test]
fn layers_of_a_real_image_as_gnu_tar_unpacks_them() {
    let s = Sandbox::with(&["nginx"]);
    let layers = layers(&s, "nginx");
    let list =
        s.host(&format!("tar -xOf {} manifest.json | jq -r '.[0].Layers[]'", image("nginx.tar").display()));
    let archives: Vec<&str> = list.ok().lines().collect();
    assert_eq!(layers.len(), archives.len());
    for (number, (ours, archive)) in layers.iter().zip(archives).enumerate() {
        let to = format!("tar-{number}");
        let options = "--xattrs --xattrs-include='*' --numeric-owner --same-owner -p";
        s.host(&format!(
            "mkdir {to} && tar -xOf {} {archive} | tar {options} -x -C {to}",
            image("nginx.tar").display()
        ))
        .ok();
        let mut theirs = tree::as_overlay(tree::read(&s.dir.join(&to)));
        let mut ours = tree::plain_whiteouts(tree::read(ours));
        // No entry speaks of it in some of the layers, and then it is whatever it was made as.
        if !s
            .host(&format!("tar -xOf {} {archive} | tar -t", image("nginx.tar").display()))
            .ok()
            .lines()
            .any(|name| name == "./" || name == "/")
        {
            theirs.remove(Path::new(""));
            ours.remove(Path::new(""));
        }
        tree::assert_same(archive, &ours, &theirs);
        std::fs::remove_dir_all(s.dir.join(&to)).expect("it was made");
    }
    s.end();
}

#[test]
fn a_real_image_as_umoci_unpacks_it() {
    let s = Sandbox::with(&["nginx"]);
    s.host(&format!(
        "mkdir layout && tar -xf {} -C layout && umoci unpack --image layout:latest bundle",
        image("nginx.oci.tar").display()
    ))
    .ok();
    let (mut ours, mut theirs) = (merged(&s, "nginx"), tree::read(&s.dir.join("bundle/rootfs")));
    // None of its layers speaks of the root.
    let (root, _) = (ours.remove(Path::new("")), theirs.remove(Path::new("")));
    assert!(root.is_some_and(|line| line.starts_with("directory, 0755 0:0")));
    tree::assert_same("nginx", &ours, &theirs);
    s.end();
}

/// A bit of everything.
const TREE: &str = r#"
    mkdir -p r/d/e r/opaque r/gone r/changes && cd r
    chmod 2750 d; chown 7:8 d
    echo s >d/setuid; chmod 4755 d/setuid; chown 1:2 d/setuid; ln d/setuid d/again; chmod 4755 d/setuid
    echo s >d/sticky; chmod 1644 d/sticky; chown 70000:2000000 d/sticky
    : >d/none; chmod 0 d/none
    ln -s /nowhere/../else d/link; ln -s ../../../../climb d/climb; ln -s e d/short
    mknod d/null c 1 3; mknod d/disk b 259 300; mkfifo -m 640 d/fifo; chown 5:6 d/fifo
    cp /bin/busybox d/cap
    truncate -s 5000000 d/sparse; printf x | dd of=d/sparse bs=1 seek=3000000 conv=notrunc status=none
    truncate -s 100000 d/hole
    long=$(printf 'n%.0s' $(seq 200)); mkdir -p "d/$long/$long"; echo l >"d/$long/$long/$long"; ln "d/$long/$long/$long" "d/$long/again"
    ln -s "$long/$long/$long" d/longlink
    printf 'name' >"$(printf 'd/odd \n\303\244\377')"
    echo o >opaque/old; echo g >gone/file; echo c >changes/kind; mkdir changes/dir; echo i >changes/dir/in
    touch -d '1999-12-31 23:59:59.123456789' d/setuid d/e; touch -h -d '2001-02-03 04:05:06.5' d/link; touch -d @1500000000.000000001 d
"#;

/// cap_net_raw+ep, as capabilities(7) has it.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn attribute(path: PathBuf, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).expect("it has attributes");
}

fn make_tree(s: &Sandbox) {
    s.host(TREE).ok();
    let d = s.dir.join("r/d");
    attribute(d.join("cap"), "security.capability", CAPABILITY);
    attribute(d.join("cap"), "user.one", b"a value");
    attribute(d.join("e"), "user.dir", b"\0\x01\x02");
}

#[test]
fn a_bit_of_everything_as_gnu_tar_wrote_it() {
    let s = Sandbox::new();
    make_tree(&s);
    for (number, format) in ["posix", "gnu"].into_iter().enumerate() {
        let options = if format == "posix" { "--xattrs --xattrs-include='*'" } else { "" };
        for sparse in ["", "--sparse"] {
            let made = format!("tar --format={format} {options} {sparse} --numeric-owner -C r -cf r.tar .");
            s.host(&made).ok();
            let name = format!("t{number}{}", sparse.len());
            s.corten(&format!("import r.tar {name}")).ok();
            s.host(&format!(
                "mkdir {name} && tar {options} --numeric-owner --same-owner -p -xf r.tar -C {name}"
            ))
            .ok();
            let ours = layers(&s, &name).remove(0);
            tree::assert_same(&made, &tree::read(&ours), &tree::read(&s.dir.join(&name)));
            if !sparse.is_empty() {
                use std::os::unix::fs::MetadataExt;
                let blocks = std::fs::metadata(ours.join("d/sparse")).expect("it is there").blocks();
                assert!(blocks < 1000, "its holes are holes: {blocks} blocks");
            }
        }
    }
    s.end();
}

#[test]
fn changes_that_umoci_wrote() {
    let s = Sandbox::new();
    make_tree(&s);
    s.host(
        "umoci init --layout layout && umoci new --image layout:one && umoci unpack --image layout:one b0 2>&1 &&
         rm -rf b0/rootfs && cp -a --sparse=never r b0/rootfs && umoci repack --image layout:one b0 &&
         umoci unpack --image layout:one b1 && cd b1/rootfs &&
         rm -rf gone opaque d/setuid changes/kind changes/dir && mkdir opaque changes/kind &&
         echo n >opaque/new && echo f >changes/dir && chmod 700 d/e",
    )
    .ok();
    attribute(s.dir.join("b1/rootfs/d/cap"), "user.more", b"x");
    s.host("umoci repack --image layout:two b1 && umoci unpack --image layout:one b2 && umoci unpack --image layout:two b3").ok();
    let loaded = s.corten("load -q -i layout").ok().to_owned();
    let ids: Vec<&str> = loaded.lines().filter_map(|line| line.split("sha256:").nth(1)).collect();
    let ours: Vec<Tree> = ids.iter().map(|id| merged(&s, id)).collect();
    tree::assert_same("the first image", &ours[0], &tree::read(&s.dir.join("b2/rootfs")));
    tree::assert_same("the second image", &ours[1], &tree::read(&s.dir.join("b3/rootfs")));
    s.end();
}
