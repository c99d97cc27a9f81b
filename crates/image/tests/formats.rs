//! Every format of archive that other tools write, loaded into a store.

mod common;

use common::*;
use image::digest::Digest;
use image::{Input, Progress};

#[test]
fn skopeo_docker_archive() {
    let bench = Bench::new();
    let (a, b) = (layer("a"), layer("b"));
    let loaded =
        bench.load(&docker_archive(&[&a, &b], &["docker.io/peers/nginx:1", "localhost/x:y"])).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].names, ["peers/nginx:1", "localhost/x:y"]);
    let image = bench.store.resolve("peers/nginx:1").unwrap();
    assert_eq!(
        (image.id.as_str(), image.reference.as_deref()),
        (loaded[0].id.as_str(), Some("peers/nginx:1"))
    );
    assert_eq!((image.config.cmd.as_slice(), image.size), (&["sh".to_string()][..], 2));
    let paths = bench.store.layer_paths(&image);
    // The topmost first.
    assert_eq!(std::fs::read(paths[0].join("etc/name")).unwrap(), b"b");
    assert_eq!(std::fs::read(paths[1].join("etc/name")).unwrap(), b"a");
}

#[test]
fn docker_save_of_old_with_linked_layers() {
    let (a, b) = (layer("a"), layer("b"));
    let config = config(&[&a, &b, &a]);
    let id = format!("{}.json", Digest::of(&config).hex());
    let (one, two, three) = ("1".repeat(64), "2".repeat(64), "3".repeat(64));
    let layers: Vec<String> = [&one, &two, &three].map(|l| format!("{l}/layer.tar")).into();
    let tar = Tar::new()
        .dir(&format!("{one}/"))
        .file(&format!("{one}/VERSION"), b"1.0")
        .file(&format!("{one}/json"), b"{}")
        .file(&layers[0], &a)
        .file(&layers[1], &b)
        .symlink(&layers[2], &format!("../{one}/layer.tar"))
        .file(&id, &config)
        .file("repositories", format!(r#"{{"x":{{"y":"{two}"}}}}"#).as_bytes())
        .file("manifest.json", manifest_json(&id, &["x:y"], &layers).as_bytes())
        .end();
    let bench = Bench::new();
    bench.load(&tar).unwrap();
    let paths = bench.store.layer_paths(&bench.store.resolve("x:y").unwrap());
    let names: Vec<_> = paths.iter().map(|p| std::fs::read_to_string(p.join("etc/name")).unwrap()).collect();
    assert_eq!(names, ["a", "b", "a"]);
}

#[test]
fn docker_save_of_today() {
    let a = layer("a");
    let mut layout = Layout::default();
    let descriptor = layout.image(&[&a], |l| l.to_vec(), "");
    layout.index.push(descriptor);
    let config = format!("blobs/sha256/{}", Digest::of(&config(&[&a])).hex());
    let manifest = manifest_json(&config, &["new:1"], &[format!("blobs/sha256/{}", Digest::of(&a).hex())]);
    layout.files.push(("manifest.json".into(), manifest.into_bytes()));
    let bench = Bench::new();
    assert_eq!(bench.load(&layout.tar()).unwrap()[0].names, ["new:1"]);
}

#[test]
fn oci_layout_as_tar_and_directory_in_every_compression() {
    let packs: [Pack; 3] = [|l| l.to_vec(), gzip, zstd];
    for pack in packs {
        let (a, b) = (layer("a"), layer("b"));
        let mut layout = Layout::default();
        let name = r#","annotations":{"org.opencontainers.image.ref.name":"registry.example.org/a/b:c"}"#;
        let descriptor = layout.image(&[&a, &b], pack, name);
        layout.index.push(descriptor);
        let bench = Bench::new();
        let loaded = bench.load(&layout.tar()).unwrap();
        assert_eq!(loaded[0].names, ["registry.example.org/a/b:c"]);
        let other = Bench::new();
        let dir = other.dir.0.join("layout");
        layout.write(&dir);
        assert_eq!(other.store.load(Input::Path(&dir), &mut |_| {}).unwrap(), loaded);
        let image = other.store.resolve("registry.example.org/a/b:c").unwrap();
        // The manifest's digest is a name, too.
        let digested = format!("registry.example.org/a/b@sha256:{}", image.manifest.as_ref().unwrap());
        assert_eq!(other.store.resolve(&digested).unwrap().id, image.id);
        let inspect = other.store.inspect(&image.id).unwrap();
        assert_eq!(inspect["RepoDigests"][0], digested);
    }
}

#[test]
fn names_of_oci_layouts() {
    let bench = Bench::new();
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let mut layout = Layout::default();
    let both = r#","annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"docker.io/library/x:1"}"#;
    for (layer, more) in
        [(&a, both), (&b, r#","annotations":{"org.opencontainers.image.ref.name":"latest"}"#), (&c, "")]
    {
        let descriptor = layout.image(&[layer], gzip, more);
        layout.index.push(descriptor);
    }
    let names: Vec<Vec<String>> = bench.load(&layout.tar()).unwrap().into_iter().map(|l| l.names).collect();
    // A bare tag is no name.
    assert_eq!(names, [vec!["x:1".to_string()], vec![], vec![]]);
    assert_eq!(bench.store.list().unwrap().len(), 3);
}

#[test]
fn an_index_gives_this_machines_platform() {
    let ours = image::config::machine_architecture();
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let mut layout = Layout::default();
    let platform = |arch: &str| format!(r#","platform":{{"os":"linux","architecture":"{arch}"}}"#);
    let other = layout.image(&[&a], gzip, &platform("s390x"));
    let mine = layout.image(&[&b], gzip, &platform(ours));
    let attestation = layout.image(&[&c], gzip, r#","platform":{"os":"unknown","architecture":"unknown"}"#);
    let manifests = [other.clone(), attestation.clone(), mine].join(",");
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{manifests}]}}"#);
    let named = r#","annotations":{"org.opencontainers.image.ref.name":"multi:1"}"#;
    let descriptor = layout.blob(INDEX, index.as_bytes(), named);
    layout.index = vec![descriptor];
    let bench = Bench::new();
    bench.load(&layout.tar()).unwrap();
    let path = bench.store.layer_paths(&bench.store.resolve("multi:1").unwrap()).remove(0);
    assert_eq!(std::fs::read(path.join("etc/name")).unwrap(), b"b");

    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{other},{attestation}]}}"#);
    let descriptor = layout.blob(INDEX, index.as_bytes(), named);
    layout.index = vec![descriptor];
    let message = bench.refuse(&layout.tar());
    assert_eq!(message, format!("no image for linux/{ours}; there are: linux/s390x"));
}

#[test]
fn outer_compression_and_streams() {
    let a = layer("a");
    let plain = docker_archive(&[&a], &["t:1"]);
    for archive in [plain.clone(), gzip(&plain), zstd(&plain)] {
        let bench = Bench::new();
        bench.load(&archive).unwrap();
        let stream = Bench::new();
        stream.store.load(Input::Reader(&mut archive.as_slice()), &mut |_| {}).unwrap();
        assert_eq!(snapshot(&stream.store.root), snapshot(&bench.store.root));
    }
    let bench = Bench::new();
    assert_eq!(bench.refuse(b"\xfd7zXZ\0rest"), "xz compression is not supported");
}

#[test]
fn concatenated_gzip_members_and_zstd_frames() {
    let a = layer("abc");
    let mut layout = Layout::default();
    let descriptor = layout.image(&[&a], |l| [gzip(&l[..700]), gzip(&l[700..])].concat(), "");
    layout.index.push(descriptor);
    let bench = Bench::new();
    bench.load(&layout.tar()).unwrap();
    let mut layout = Layout::default();
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0note";
    assert_eq!(skippable.len(), 12);
    let descriptor = layout.image(
        &[&layer("d")],
        |l| [b"\x50\x2a\x4d\x18\x04\0\0\0note".to_vec(), zstd(&l[..700]), zstd(&l[700..])].concat(),
        "",
    );
    layout.index.push(descriptor);
    bench.load(&layout.tar()).unwrap();
}

#[test]
fn several_images_share_layers() {
    let (a, b, c) = (layer("a"), layer("b"), layer("c"));
    let one = docker_members(&[&a, &b], &[]).bytes;
    let (config_b, config_c) = (config(&[&a, &b]), config(&[&a, &c]));
    let (id_b, id_c) = (Digest::of(&config_b).hex().to_string(), Digest::of(&config_c).hex().to_string());
    let tar = |l: &[u8]| format!("{}.tar", Digest::of(l).hex());
    let item =
        |id: &str, tag: &str, top: &[u8]| manifest_item(&format!("{id}.json"), &[tag], &[tar(&a), tar(top)]);
    let manifest = format!("[{},{}]", item(&id_b, "one:1", &b), item(&id_c, "two:1", &c));
    let archive = Tar { bytes: one }
        .file(&tar(&c), &c)
        .file(&format!("{id_c}.json"), &config_c)
        .file("manifest.json", manifest.as_bytes())
        .end();
    let bench = Bench::new();
    let mut exists = 0;
    let mut count = |p: Progress| exists += usize::from(matches!(p, Progress::Exists { .. }));
    let loaded = bench.store.load(Input::Reader(&mut archive.as_slice()), &mut count).unwrap();
    assert_eq!(loaded.iter().map(|l| l.names[0].as_str()).collect::<Vec<_>>(), ["one:1", "two:1"]);
    assert_eq!(std::fs::read_dir(bench.store.root.join("layers")).unwrap().count(), 3);
    // Again: nothing is unpacked, and nothing changes.
    let before = snapshot(&bench.store.root);
    bench.store.load(Input::Reader(&mut archive.as_slice()), &mut count).unwrap();
    assert_eq!((snapshot(&bench.store.root), exists), (before, 4));
}

#[test]
fn an_image_without_layers() {
    let bench = Bench::new();
    bench.load(&docker_archive(&[], &["scratch:1"])).unwrap();
    assert!(bench.store.layer_paths(&bench.store.resolve("scratch:1").unwrap()).is_empty());
}
