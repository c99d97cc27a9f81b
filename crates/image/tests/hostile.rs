//! Archives that mean no good: each refused with one line that names the object, and the store unchanged.

mod common;

use common::*;
use image::digest::Digest;
use image::{Input, Limits};
use tar::EntryType;

/// Refuse a layer; gives what is said after the layer's digest.
fn refuse_layer(tar: Tar) -> String {
    let layer = tar.end();
    let message = Bench::new().refuse(&docker_archive(&[&layer], &["t:1"]));
    let prefix = format!("layer {}: ", Digest::of(&layer));
    message.strip_prefix(&prefix).unwrap_or_else(|| panic!("{message}")).to_string()
}

#[test]
fn entries_that_climb_out() {
    let outside = std::env::temp_dir().join("image-test-escaped");
    for name in
        ["../escaped", "a/../../escaped", "/../escaped", "..", "a/b/../../../../../tmp/image-test-escaped"]
    {
        let shown = format!("entry '{name}' climbs out of the image");
        assert_eq!(refuse_layer(Tar::new().file(name, b"x")), shown);
    }
    assert_eq!(refuse_layer(Tar::new().dir("a/../..")), "entry 'a/../..' climbs out of the image");
    assert_eq!(
        refuse_layer(Tar::new().file("../.wh.etc", b"")),
        "entry '../.wh.etc' climbs out of the image"
    );
    assert!(!outside.exists());
}

#[test]
fn symbolic_links_that_climb_out() {
    for target in ["../../../../tmp", "..", "a/../../..", "/../../tmp"] {
        // The link alone is harmless, and real images have such.
        Bench::new().unpack(&Tar::new().symlink("l", target).end()).unwrap();
        let message = refuse_layer(Tar::new().symlink("l", target).file("l/image-test-escaped", b"x"));
        assert_eq!(message, "entry 'l/image-test-escaped' climbs out of the image by the symbolic link 'l'");
    }
    let message = refuse_layer(Tar::new().symlink("l", "../..").hard_link("passwd", "l/etc/passwd"));
    assert_eq!(message, "entry 'passwd' climbs out of the image by the symbolic link 'l'");
    assert!(!std::path::Path::new("/tmp/image-test-escaped").exists());
}

#[test]
fn an_absolute_link_leads_into_the_image_only() {
    let bench = Bench::new();
    let real = bench.dir.0.join("real");
    std::fs::create_dir(&real).unwrap();
    let target = real.to_str().unwrap();
    let inside = format!("{}/", target.trim_start_matches('/'));
    let tar = Tar::new().dir(&inside).symlink("l", target).file("l/x", b"x");
    // Through a chain of links, too, and by a link that is swapped for a directory and back.
    let tar = tar
        .symlink("chain", "l")
        .file("chain/y", b"y")
        .dir("swap/")
        .file("swap/a", b"")
        .symlink("swap", target)
        .file("swap/z", b"z");
    let root = bench.unpack(&tar.end()).unwrap();
    assert_eq!(std::fs::read_dir(&real).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(root.join(inside)).unwrap().count(), 3);
}

#[test]
fn hard_links_to_what_is_not_in_the_layer() {
    let outside = "hard link 'passwd' climbs out of the image to '../../../etc/passwd'";
    assert_eq!(refuse_layer(Tar::new().hard_link("passwd", "../../../etc/passwd")), outside);
    let absent = "hard link 'passwd' to '/etc/passwd', which this layer doesn't have";
    assert_eq!(refuse_layer(Tar::new().hard_link("passwd", "/etc/passwd")), absent);
    let message = refuse_layer(Tar::new().symlink("etc", "/etc").hard_link("passwd", "etc/passwd"));
    assert_eq!(message, "hard link 'passwd' to 'etc/passwd', which this layer doesn't have");
    let message = refuse_layer(Tar::new().dir("d/").hard_link("e", "d"));
    assert_eq!(message, "hard link 'e' to the directory 'd'");
    // A hard link to a symbolic link is that link, not what it leads to.
    let message = refuse_layer(Tar::new().symlink("l", "/etc/passwd").hard_link("m", "l").file("m/x", b""));
    assert!(message.starts_with("'m' is a symbolic link to nowhere"), "{message}");
}

#[test]
fn parents_that_are_no_directories() {
    assert_eq!(
        refuse_layer(Tar::new().file("f", b"").file("f/x", b"")),
        "'f' is not a directory, and entries lie below it"
    );
    assert_eq!(
        refuse_layer(Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b"")),
        "'a' is a loop of symbolic links"
    );
    assert_eq!(
        refuse_layer(Tar::new().file("a/..", b"")),
        "entry 'a/..' replaces the root directory by something else"
    );
    assert_eq!(
        refuse_layer(Tar::new().symlink("/", "/etc")),
        "entry '/' replaces the root directory by something else"
    );
}

#[test]
fn whiteouts_of_no_name() {
    for name in ["a/.wh.", "a/.wh..", "a/.wh..."] {
        let message = refuse_layer(Tar::new().file(name, b""));
        assert_eq!(message, format!("entry '{name}' is a whiteout of no name"));
    }
}

#[test]
fn whiteouts_of_nothing_hide_nothing() {
    let bench = Bench::new();
    let tar = Tar::new()
        .file(".wh.nosuch", b"")
        .file("a/b/.wh.c", b"")
        .file("d/.wh..wh..opq", b"")
        .file("twice/.wh.x", b"")
        .file("twice/.wh.x", b"")
        .file("back/.wh.x", b"")
        .file("back/x", b"y");
    let root = bench.unpack(&tar.end()).unwrap();
    // Whiteouts as overlayfs has them; one whose name is there after all is none.
    for path in ["nosuch", "a/b/c", "twice/x"] {
        use std::os::unix::fs::{FileTypeExt, MetadataExt};
        let meta = root.join(path).symlink_metadata().unwrap();
        assert!(meta.file_type().is_char_device() && meta.rdev() == 0, "{path}");
    }
    assert_eq!(std::fs::read(root.join("back/x")).unwrap(), b"y");
    assert_eq!(std::fs::read_dir(root.join("d")).unwrap().count(), 0);
}

#[test]
fn duplicates_and_conflicts_end_with_the_last() {
    let bench = Bench::new();
    let mut tar = Tar::new().dir("d/").file("d/old", b"old");
    for n in 0..300 {
        tar = tar.file("same", format!("{n}").as_bytes());
    }
    // A directory in the place of a file and back, a link in the place of both, names of one inode that part again.
    let tar = tar
        .file("x", b"file")
        .dir("x/")
        .file("x/y", b"in")
        .symlink("z", "same")
        .file("z", b"no link")
        .file("one", b"1")
        .hard_link("two", "one")
        .file("two", b"2")
        .device(EntryType::Char, "null", 1, 3)
        .file("null", b"file")
        .hard_link("same", "same");
    let layer = tar.end();
    let root = bench.unpack(&layer).unwrap();
    let read = |name: &str| String::from_utf8(std::fs::read(root.join(name)).unwrap()).unwrap();
    for (name, content) in
        [("same", "299"), ("x/y", "in"), ("z", "no link"), ("one", "1"), ("two", "2"), ("null", "file")]
    {
        assert_eq!(read(name), content, "{name}");
    }
    assert!(root.join("z").symlink_metadata().unwrap().is_file());
    // And the stream comes back to the bit.
    let image = bench.load(&docker_archive(&[&layer], &["t:1"])).unwrap();
    let chain = &bench.store.image(&image[0].id).unwrap().layers[0].chain;
    let mut again = Vec::new();
    std::io::Read::read_to_end(&mut bench.store.layer_tar(chain).unwrap(), &mut again).unwrap();
    assert_eq!(again, layer);
}

#[test]
fn bombs_of_all_kinds_end_at_a_bound() {
    type Many = fn(Tar, usize) -> Tar;
    let kinds: [(&str, Many); 5] = [
        ("devices", |tar, n| tar.device(EntryType::Block, &format!("d{n}"), 8, n as u32)),
        ("links", |tar, n| tar.symlink(&format!("l{n}"), "x")),
        (
            "hard links",
            |tar, n| if n == 0 { tar.file("f", b"") } else { tar.hard_link(&format!("h{n}"), "f") },
        ),
        ("the same", |tar, _| tar.file("same", b"x")),
        ("whiteouts", |tar, n| tar.file(&format!(".wh.{n}"), b"")),
    ];
    for (kind, many) in kinds {
        let mut bench = Bench::new();
        bench.store.limits = Limits { entries: 50, ..Limits::default() };
        let layer = (0..60).fold(Tar::new(), many).end();
        let message = bench.refuse(&docker_archive(&[&layer], &["t:1"]));
        assert_eq!(message, format!("layer {}: more than 50 entries", Digest::of(&layer)), "{kind}");
    }
    // Many small things in one header.
    let records: Vec<(String, Vec<u8>)> =
        (0..20_000).map(|n| (format!("SCHILY.xattr.user.{n}"), vec![b'x'; 100])).collect();
    let records: Vec<(&str, &[u8])> = records.iter().map(|(k, v)| (k.as_str(), &v[..])).collect();
    let message = refuse_layer(Tar::new().pax(&records).file("f", b""));
    assert!(message.ends_with("PAX header is longer than 1048576 bytes"), "{message}");
}

#[test]
fn devices_out_of_range() {
    let mut header = Tar::header(b"d", EntryType::Char, 0);
    header.as_ustar_mut().unwrap().dev_major.copy_from_slice(b"7777777\0");
    assert_eq!(refuse_layer(Tar::new().raw(header, b"")), "entry 'd': device number out of range");
}

#[test]
fn overlay_attributes_that_steer() {
    for name in ["trusted.overlay.redirect", "user.overlay.redirect", "trusted.overlay.metacopy"] {
        let key = format!("SCHILY.xattr.{name}");
        let message = refuse_layer(Tar::new().pax(&[(&key, b"/etc")]).dir("d/"));
        let why = "is overlayfs' own and may not come from an image";
        assert_eq!(message, format!("entry 'd/': extended attribute '{name}' {why}"));
    }
    let message = refuse_layer(Tar::new().pax(&[("SCHILY.xattr.trusted.x", b"y")]).dir("d/"));
    assert_eq!(message, "entry 'd/': extended attribute 'trusted.x' may not come from an image");
}

#[test]
fn headers_out_of_bounds() {
    let huge = vec![b'x'; (1 << 20) + 1];
    let message = refuse_layer(Tar::new().raw(Tar::header(b"pax", EntryType::XHeader, huge.len()), &huge));
    assert_eq!(message, "entry 'pax': PAX header is longer than 1048576 bytes");
    let message =
        refuse_layer(Tar::new().raw(Tar::header(b"long", EntryType::GNULongName, huge.len()), &huge));
    assert_eq!(message, "entry 'long': long name is longer than 1048576 bytes");
    let path = "d/".repeat(600);
    let message = refuse_layer(Tar::new().pax(&[("path", path.as_bytes())]).dir("x/"));
    assert!(message.ends_with("is more than 512 directories deep"), "{message}");
    let path = "d".repeat(5000);
    let message = refuse_layer(Tar::new().pax(&[("path", path.as_bytes())]).file("x", b""));
    assert!(message.ends_with("name is longer than 4095 bytes"), "{message}");
    let path = "d".repeat(300);
    let message = refuse_layer(Tar::new().pax(&[("path", path.as_bytes())]).file("x", b""));
    assert!(
        message.starts_with("cannot create 'ddd") && message.ends_with("file name too long"),
        "{message}"
    );
    assert_eq!(
        refuse_layer(Tar::new().pax(&[("path", b"a\0b")]).file("x", b"")),
        "entry 'a\\0b': name contains a zero byte"
    );
    assert_eq!(
        refuse_layer(Tar::new().pax(&[("uid", b"4294967295")]).file("x", b"")),
        "entry 'x': uid out of range"
    );
    assert_eq!(
        refuse_layer(Tar::new().pax(&[("size", b"99999999999999999999")]).file("x", b"")),
        "entry 'pax': bad PAX value of 'size'"
    );
    assert_eq!(
        refuse_layer(Tar::new().raw(Tar::header(b"x", EntryType::new(b'?'), 0), b"")),
        "entry 'x': entry type '?' is unknown"
    );
    assert_eq!(refuse_layer(Tar::new().symlink("x", "")), "symbolic link 'x' has no target");
    let mut bad = Tar::new().file("a", b"").file("b", b"");
    bad.bytes[512 + 10] ^= 1;
    assert_eq!(refuse_layer(bad), "bad header checksum after entry 'a'");
}

#[test]
fn sparse_maps_that_lie() {
    let pax = |size: &str, map: &str, data: &[u8]| {
        refuse_layer(
            Tar::new()
                .pax(&[("GNU.sparse.size", size.as_bytes()), ("GNU.sparse.map", map.as_bytes())])
                .file("s", data),
        )
    };
    assert_eq!(pax("10", "0,3,2,3", b"abcdef"), "entry 's': extents overlap or exceed the file");
    assert_eq!(pax("10", "0,3,8,3", b"abcdef"), "entry 's': extents overlap or exceed the file");
    assert_eq!(
        pax("10", "0,18446744073709551615,8,3", b"abcdef"),
        "entry 's': extents overlap or exceed the file"
    );
    assert_eq!(pax("10", "0,3", b"abcdef"), "entry 's': extents do not add up to the data");
    assert_eq!(
        pax("9999999999999999", "0,6", b"abcdef"),
        "entry 's': size of the sparse file is missing or out of range"
    );
    let mut data = b"99999999\n".to_vec();
    data.resize(512, b'1');
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"1")];
    assert_eq!(refuse_layer(Tar::new().pax(records).file("x", &data)), "entry 's': too many extents");
}

#[test]
fn names_stay_on_one_line() {
    let message = refuse_layer(Tar::new().pax(&[("path", b"../a\nb\x1b[31m\xff")]).file("x", b""));
    assert_eq!(message, "entry '../a\\nb\\u{1b}[31m\u{fffd}' climbs out of the image");
}

#[test]
fn truncated_at_every_boundary() {
    let bench = Bench::new();
    let layer = Tar::new().dir("d/").file("d/f", &[7; 700]).end();
    let whole = docker_archive(&[&layer], &["t:1"]);
    let members = whole.len() - 1024;
    for end in (0..members).step_by(256).chain([1, 511, 513, members - 1]) {
        let message = bench.refuse(&whole[..end]);
        assert!(message.contains("truncated"), "{end}: {message}");
    }
    let name = format!("{}.tar", Digest::of(&layer).hex());
    assert_eq!(bench.refuse(&whole[..1000]), format!("archive is truncated in entry '{name}'"));
    assert!(bench.refuse(&gzip(&whole)[..300]).contains("truncated"));
    assert!(bench.refuse(&zstd(&whole)[..300]).contains("truncated"));
}

#[test]
fn truncated_layers() {
    let layer =
        Tar::new().dir("d/").file("d/f", &(0..50_000u32).map(|n| (n * n) as u8).collect::<Vec<_>>()).end();
    let packs: [Pack; 3] =
        [|l| l[..20_000].to_vec(), |l| gzip(l)[..500].to_vec(), |l| zstd(l)[..200].to_vec()];
    for pack in packs {
        let mut layout = Layout::default();
        let descriptor = layout.image(&[&layer], pack, "");
        layout.index.push(descriptor);
        let message = Bench::new().refuse(&layout.tar());
        // Without compression the digest says it first.
        let layer = format!("layer {}: ", Digest::of(&layer));
        let rest = message.strip_prefix(&layer).unwrap_or_else(|| panic!("{message}"));
        assert!(rest.starts_with("archive is truncated") || rest.starts_with("digest mismatch"), "{message}");
    }
}

#[test]
fn wrong_digests() {
    let bench = Bench::new();
    let (a, b) = (layer("a"), layer("b"));
    // The tar stream isn't what the config says.
    let config = config(&[&a]);
    let id = format!("{}.json", Digest::of(&config).hex());
    let manifest = manifest_json(&id, &["t:1"], &["l.tar".into()]);
    let archive =
        Tar::new().file("l.tar", &b).file(&id, &config).file("manifest.json", manifest.as_bytes()).end();
    let expected = format!("layer {}: digest mismatch: got {}", Digest::of(&a), Digest::of(&b));
    assert_eq!(bench.refuse(&archive), expected);
    // The config isn't what its name says.
    let archive = Tar::new()
        .file("l.tar", &a)
        .file(&id, &common::config(&[&b]))
        .file("manifest.json", manifest.as_bytes())
        .end();
    let got = Digest::of(&common::config(&[&b]));
    assert_eq!(bench.refuse(&archive), format!("config 'sha256:{}': digest mismatch: got {got}", &id[..64]));
    // Each blob of a layout in turn.
    let mut layout = Layout::default();
    let descriptor = layout.image(&[&a], gzip, "");
    layout.index.push(descriptor);
    for at in 0..layout.files.len() {
        let mut bad = layout.clone();
        // The header of gzip has bytes that mean nothing to the contents: the blob's own digest sees them.
        let byte = if at == 1 { 4 } else { 10 };
        bad.files[at].1[byte] ^= 1;
        let message = bench.refuse(&bad.tar());
        let name = bad.files[at].0.rsplit('/').next().unwrap();
        assert!(message.contains("digest mismatch") && message.contains(name), "{message}");
    }
}

#[test]
fn documents_that_are_none() {
    let bench = Bench::new();
    let a = layer("a");
    let with = |manifest: &str| {
        Tar::new()
            .file("l.tar", &a)
            .file("c.json", &config(&[&a]))
            .file("manifest.json", manifest.as_bytes())
            .end()
    };
    for bad in ["", "nonsense", "{}", "[1]", r#"[{"Layers":[]}]"#, &"[".repeat(100_000), "\u{0}"] {
        let message = bench.refuse(&with(bad));
        assert!(message.starts_with("'manifest.json' cannot be read: "), "{message}");
    }
    assert_eq!(bench.refuse(&with("[]")), "'manifest.json' lists no image");
    assert_eq!(bench.refuse(&with(&manifest_json("none.json", &["t:1"], &[]))), "'none.json' is missing");
    assert_eq!(
        bench.refuse(&with(&manifest_json("c.json", &["t:1"], &["none.tar".into()]))),
        "'none.tar' is missing"
    );
    let two = ["l.tar".to_string(), "l.tar".to_string()];
    assert!(
        bench
            .refuse(&with(&manifest_json("c.json", &["t:1"], &two)))
            .starts_with("'manifest.json' lists 2 layers, the config of sha256:")
    );
    for path in ["../../etc/passwd", "/../x", ""] {
        assert!(
            bench.refuse(&with(&manifest_json(path, &["t:1"], &[]))).ends_with("is not the name of a member")
        );
    }
    assert_eq!(bench.refuse(&with(&manifest_json("/etc/passwd", &[], &[]))), "'/etc/passwd' is missing");
    let message = bench.refuse(&with(&manifest_json("c.json", &["../../x:1"], &["l.tar".into()])));
    assert_eq!(message, "invalid reference '../../x:1': invalid reference format");
    assert_eq!(
        bench.refuse(&with(&manifest_json("l.tar", &["t:1"], &[]))).split(':').next().unwrap(),
        "image config 'l.tar' cannot be read"
    );
    assert_eq!(bench.refuse(&[1; 2000]), "it is not a tar archive");
    assert_eq!(
        bench.refuse(&Tar::new().file("x", b"").end()),
        "it is not an image archive: neither 'manifest.json' nor 'index.json' is in it"
    );
    assert_eq!(
        bench.refuse(&Tar::new().symlink("manifest.json", "../../etc/passwd").end()),
        "link 'manifest.json' climbs out of the archive"
    );
    assert_eq!(
        bench.refuse(&Tar::new().symlink("a", "manifest.json").symlink("manifest.json", "a").end()),
        "'manifest.json' is a loop of links"
    );
    assert_eq!(
        bench.refuse(&Tar::new().device(EntryType::Char, "manifest.json", 1, 5).end()),
        "entry 'manifest.json' is neither a file nor a link to one"
    );
    assert!(
        bench
            .refuse(&Tar::new().file("manifest.json", &vec![b' '; (4 << 20) + 1]).end())
            .ends_with("is longer than 4194304 bytes")
    );
}

#[test]
fn cve_2021_41190_manifest_and_index_are_not_confused() {
    let bench = Bench::new();
    let a = layer("a");
    let mut layout = Layout::default();
    let image = layout.image(&[&a], gzip, "");
    let confused = |document: &str, listed: &str| {
        let mut layout = layout.clone();
        let descriptor = layout.blob(listed, document.as_bytes(), "");
        layout.index = vec![descriptor];
        bench.refuse(&layout.tar())
    };
    let config = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0","size":1}"#;
    let both = format!(r#"{{"schemaVersion":2,"manifests":[{image}],"config":{config},"layers":[]}}"#);
    assert!(confused(&both, MANIFEST).ends_with("could be a manifest or an index"));
    assert!(confused(&both, INDEX).ends_with("could be a manifest or an index"));
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{image}]}}"#);
    assert!(confused(&index, MANIFEST).ends_with("could be a manifest or an index"));
    let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{image}]}}"#);
    let message = confused(&typed, MANIFEST);
    assert!(
        message.ends_with(&format!("says that it is '{INDEX}', but is listed as '{MANIFEST}'")),
        "{message}"
    );
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
    assert!(confused(&manifest, INDEX).ends_with("could be a manifest or an index"));
    assert!(confused(r#"{"schemaVersion":1,"fsLayers":[]}"#, MANIFEST).contains("of the first schema"));
    assert!(confused(r#"{"schemaVersion":2}"#, MANIFEST).ends_with("is neither a manifest nor an index"));
    let artifact =
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#, config.replace("image.config", "empty"));
    assert!(confused(&artifact, MANIFEST).contains("is not of a container image"));
    let foreign = r#"{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"urls":["https://example.org/x"]}"#;
    let mut other = layout.clone();
    let config = other.blob("application/vnd.oci.image.config.v1+json", &common::config(&[&a]), "");
    let document = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{foreign}]}}"#);
    let descriptor = other.blob(MANIFEST, document.as_bytes(), "");
    other.index = vec![descriptor];
    assert!(bench.refuse(&other.tar()).ends_with("is foreign: it is kept elsewhere and not in this archive"));
}

#[test]
fn a_layout_directory_leads_nowhere_else() {
    let bench = Bench::new();
    let dir = bench.dir.0.join("layout");
    std::fs::create_dir(&dir).unwrap();
    let load = || bench.store.load(Input::Path(&dir), &mut |_| {}).unwrap_err().to_string();
    std::os::unix::fs::symlink("/etc/passwd", dir.join("index.json")).unwrap();
    assert!(load().ends_with("'index.json' leads out of the directory"), "{}", load());
    std::fs::remove_file(dir.join("index.json")).unwrap();
    // CVE-2024-9676: a FIFO must not block.
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("index.json"), rustix::fs::Mode::RUSR).unwrap();
    assert!(load().ends_with("'index.json' is not a regular file"));
}

#[test]
fn bombs_are_bounded() {
    let zeros = vec![0; 8 << 20];
    let layer = Tar::new().file("zeros", &zeros).end();
    let mut layout = Layout::default();
    let descriptor = layout.image(&[&layer], gzip, "");
    layout.index.push(descriptor);
    let mut bench = Bench::new();
    bench.store.limits = Limits { layer_bytes: 1 << 20, ..Limits::default() };
    let message = bench.refuse(&layout.tar());
    assert_eq!(
        message,
        format!(
            "layer {}: entry 'zeros': no space left for more than 1048576 bytes unpacked",
            Digest::of(&layer)
        )
    );
    bench.store.limits = Limits { spool_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(bench.refuse(&gzip(&layer)), "no room for an archive of more than 1048576 bytes");
    bench.store.limits = Limits { entries: 10, ..Limits::default() };
    let many = (0..20).fold(Tar::new(), |tar, n| tar.dir(&format!("{n}/"))).end();
    let message = bench.refuse(&docker_archive(&[&many], &["t:1"]));
    assert_eq!(message, format!("layer {}: more than 10 entries", Digest::of(&many)));
}

#[test]
fn one_bad_image_spoils_all() {
    let bench = Bench::new();
    bench.load(&docker_archive(&[&layer("old")], &["keep:1"])).unwrap();
    let (good, bad) = (layer("good"), Tar::new().file("../x", b"").end());
    let mut layout = Layout::default();
    for layer in [&good, &bad] {
        let descriptor = layout.image(
            &[&layer[..]],
            gzip,
            r#","annotations":{"org.opencontainers.image.ref.name":"keep:1"}"#,
        );
        layout.index.push(descriptor.replace("keep:1", if layer == &good { "keep:1" } else { "new:1" }));
    }
    let before = bench.store.resolve("keep:1").unwrap();
    bench.refuse(&layout.tar());
    assert_eq!(bench.store.resolve("keep:1").unwrap(), before);
    assert!(bench.store.resolve("new:1").unwrap_err().is_not_found());
}

/// Flip bytes everywhere: whatever comes of it, nothing panics, and what is refused leaves nothing.
#[test]
fn flipped_bytes() {
    let layer = Tar::new().pax(&[("mtime", b"1.5")]).dir("d/").file("d/f", &[7; 700]).symlink("l", "d").end();
    let whole = docker_archive(&[&layer], &["t:1"]);
    for at in (0..whole.len() - 1024).step_by(37) {
        let mut bytes = whole.clone();
        bytes[at] = bytes[at].wrapping_add(1 + (at % 255) as u8);
        let bench = Bench::new();
        match bench.load(&bytes) {
            // Names of members and padding may change without effect.
            Ok(_) => {}
            Err(_) => assert!(!bench.refuse(&bytes).is_empty()),
        }
    }
}
