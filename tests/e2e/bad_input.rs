//! Bad input: one line that names the object, the right code, and nothing left.

use e2e::{Sandbox, images::image};
use std::fs;

#[test]
fn unknown_words() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --frobnicate busybox true").fails(125, &["--frobnicate"]);
    s.corten("run").fails(1, &["at least 1 argument"]);
    s.corten("frobnicate").fails(1, &["frobnicate"]);
    s.corten("ps --frobnicate").fails(125, &["--frobnicate"]);
    // Docker's lines: what is looked for, where, and why it cannot be had.
    let missing = s.corten("run --rm nosuch:tag true");
    missing.exits(125);
    let lines: Vec<&str> = missing.stderr.lines().collect();
    assert_eq!(lines[..2], ["Unable to find image 'nosuch:tag' locally", "tag: Pulling from library/nosuch"]);
    // Why no name server answers depends on the machine.
    assert!(lines.len() == 3 && lines[2].starts_with("corten: cannot pull 'nosuch:tag': "), "{missing}");
    s.corten("run --rm UPPER true").fails(125, &["UPPER"]);
    s.corten("run --rm --name '-bad name' busybox true").fails(125, &["-bad name"]);
    s.corten("run --rm --env-file nosuchfile busybox true").fails(125, &["nosuchfile"]);
    s.corten("run --rm -h 'bad host' busybox true").exits(125);
    s.end();
}

#[test]
fn a_name_in_use() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.detached("--name box busybox sleep 100");
    s.corten("run --rm --name box busybox true").fails(125, &["box", &id[..12]]);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn archives_that_are_none() {
    let s = Sandbox::new();
    let load = |name: &str| s.corten(&format!("load -i {name}"));
    load("nosuch.tar").fails(1, &["nosuch.tar"]);
    fs::write(s.dir.join("empty.tar"), "").expect("writable");
    load("empty.tar").fails(1, &["empty.tar"]);
    fs::write(s.dir.join("text.tar"), "this is no archive\n".repeat(1000)).expect("writable");
    load("text.tar").fails(1, &["text.tar"]);
    s.host("mkdir d && echo x >d/file && tar -cf other.tar d").ok();
    load("other.tar").fails(1, &["other.tar"]);
    load("d").fails(1, &["d"]);
    assert_eq!(s.corten("images -q").ok(), "");
    s.end();
}

#[test]
fn a_truncated_archive() {
    let s = Sandbox::new();
    let whole = fs::read(image("busybox.tar")).expect("readable");
    for part in [whole.len() / 2, whole.len() - 100_000, 700] {
        fs::write(s.dir.join("cut.tar"), &whole[..part]).expect("writable");
        s.corten("load -i cut.tar").fails(1, &["cut.tar"]);
    }
    assert_eq!(s.corten("images -q").ok(), "");
    nothing_unpacked(&s);
    s.end();
}

#[test]
fn a_wrong_digest() {
    let s = Sandbox::new();
    // One bit of the layer is another: busybox' own bytes, in the middle of the archive.
    let mut bytes = fs::read(image("busybox.tar")).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(s.dir.join("flipped.tar"), bytes).expect("writable");
    s.corten("load -i flipped.tar").fails(1, &["flipped.tar"]);
    // The same in an OCI layout.
    s.host(&format!("cp -a {} layout && chmod -R u+w layout", image("busybox.oci").display())).ok();
    s.host("f=$(ls -S layout/blobs/sha256/* | head -n 1); printf x | dd of=$f bs=1 seek=5000 conv=notrunc status=none").ok();
    s.corten("load -i layout").fails(1, &["sha256:"]);
    assert_eq!(s.corten("images -q").ok(), "");
    nothing_unpacked(&s);
    s.end();
}

#[test]
fn a_missing_config_and_a_missing_layer() {
    let s = Sandbox::new();
    let unpack = format!("rm -rf u && mkdir u && tar -xf {} -C u", image("busybox.tar").display());
    s.host(&format!(
        "{unpack} && rm u/*.json && tar -xf {} -C u manifest.json && tar -C u -cf noconfig.tar .",
        image("busybox.tar").display()
    ))
    .ok();
    s.corten("load -i noconfig.tar").fails(1, &["noconfig.tar"]);
    s.host(&format!("{unpack} && find u -name '*.tar' -delete && tar -C u -cf nolayer.tar .")).ok();
    s.corten("load -i nolayer.tar").fails(1, &["nolayer.tar"]);
    s.end();
}

/// An archive whose only layer is the tar `layer.tar` of the sandbox' directory, as `evil.tar`.
fn archive(s: &Sandbox) {
    let config = r#"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Cmd\":[\"/bin/true\"]},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$d\"]}}"#;
    s.host(&format!(
        "rm -rf e && mkdir e && cp layer.tar e/layer.tar && d=$(sha256sum <layer.tar | cut -d' ' -f1) &&
         echo \"{config}\" >e/config.json &&
         echo '[{{\"Config\":\"config.json\",\"RepoTags\":[\"evil:1\"],\"Layers\":[\"layer.tar\"]}}]' >e/manifest.json &&
         tar -C e -cf evil.tar manifest.json config.json layer.tar"
    ))
    .ok();
}

#[test]
fn a_path_that_climbs_out() {
    let s = Sandbox::new();
    let outside = s.scope.root.join("outside");
    for (transform, extra) in [
        ("s,^file$,../../../../outside,", ""),
        ("s,^file$,/../../../../../../../../../../../../../../tmp/corten-outside,", ""),
        ("s,^file$,link/outside,", "ln -s ../../../.. l/link"),
        ("s,^file$,link/corten-outside,", "ln -s /tmp l/link"),
    ] {
        let make = format!("rm -rf l && mkdir l && echo evil >l/file && {{ {extra}; }}");
        let make = if extra.is_empty() { "rm -rf l && mkdir l && echo evil >l/file".into() } else { make };
        // The link first, then the file through it.
        s.host(&format!(
            "{make}; cd l && tar -cPf ../layer.tar --transform '{transform}' $(ls -d link 2>/dev/null) file"
        ))
        .ok();
        archive(&s);
        let output = s.corten("load -i evil.tar");
        assert!([0, 1].contains(&output.code) && !output.stderr.contains("panicked"), "{output}");
        assert!(
            !outside.exists() && !std::path::Path::new("/tmp/corten-outside").exists(),
            "{transform}: {output}"
        );
        assert!(!s.scope.root.join("layers/outside").exists(), "{transform}");
    }
    s.end();
}

#[test]
fn a_hard_link_that_climbs_out() {
    let s = Sandbox::new();
    let secret = s.dir.join("secret");
    fs::write(&secret, "secret\n").expect("writable");
    s.host("rm -rf l && mkdir l && echo x >l/a && ln l/a l/b && cd l && tar -cPf ../layer.tar --transform 's,^a$,../../../../../secret,RSh' a b").ok();
    archive(&s);
    let output = s.corten("load -i evil.tar");
    assert!(!output.stderr.contains("panicked"), "{output}");
    assert_eq!(fs::read_to_string(&secret).expect("still there"), "secret\n");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(&secret).map(|m| m.nlink()).ok(), Some(1));
    s.end();
}

#[test]
fn a_full_disk() {
    let s = Sandbox::new();
    fs::create_dir_all(&s.scope.root).expect("writable");
    let root = s.scope.root.display().to_string();
    s.host(&format!("mount -t tmpfs -o size=1m,mode=700 small {root}")).ok();
    let output = s.corten(&format!("load -i {}", image("busybox.tar").display()));
    output.fails(1, &["no space left"]);
    assert_eq!(s.corten("images -q").ok(), "");
    nothing_unpacked(&s);
    s.host(&format!("umount {root}")).ok();
    s.end();
}

/// A load that failed leaves no layer, finished or half.
#[track_caller]
fn nothing_unpacked(s: &Sandbox) {
    for directory in ["layers", "images", "blobs/sha256"] {
        let left: Vec<_> =
            fs::read_dir(s.scope.root.join(directory)).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "left in {directory}: {left:?}");
    }
}
