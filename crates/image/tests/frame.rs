//! A layer's tar stream comes out of the store bit by bit as it went in.

mod common;

use common::*;
use image::Store;
use std::io::Read;
use tar::EntryType;

/// Load one layer and read its stream again.
fn again(bench: &Bench, layer: &[u8]) -> Result<Vec<u8>, String> {
    let loaded = bench.load(&docker_archive(&[layer], &["t:1"])).unwrap();
    let image = bench.store.resolve(&loaded[0].id).unwrap();
    stream(&bench.store, &image.layers[0].chain)
}

fn stream(store: &Store, chain: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut stream = store.layer_tar(chain).map_err(|e| e.to_string())?;
    stream.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

#[track_caller]
fn same(layer: Vec<u8>) {
    let bench = Bench::new();
    assert!(again(&bench, &layer).unwrap() == layer, "another stream");
}

#[test]
fn plain_files_links_and_what_comes_after_the_end() {
    let big: Vec<u8> = (0..700_000u32).map(|n| (n.wrapping_mul(7919) >> 5) as u8).collect();
    let tar = Tar::new()
        .dir("d/")
        .file("d/empty", b"")
        .file("d/one", b"1")
        .file("d/big", &big)
        .hard_link("d/again", "d/big")
        .symlink("l", "d/one")
        .device(EntryType::Fifo, "fifo", 0, 0)
        .pax(&[("mtime", b"1.5"), ("path", "ä/b".as_bytes())])
        .file("x", b"named by pax")
        .file("d/.wh.gone", b"")
        .file(".wh..wh.plnk/1.2", b"nobody keeps this")
        .end();
    same(tar.clone());
    // Blocking to 10 KiB, as GNU tar does it, and remains of something.
    same([&tar[..], &[0; 9000]].concat());
    same([&tar[..], b"not zero, not read"].concat());
    // Without any end, and nothing at all.
    same(tar[..tar.len() - 1024].to_vec());
    same(vec![0; 1024]);
}

#[test]
fn what_later_entries_replace_is_not_lost() {
    same(
        Tar::new()
            .file("x", b"one")
            .hard_link("y", "x")
            .file("x", b"two")
            .file("x", b"three")
            // A second name is replaced: the content stays under the first.
            .file("y", b"four")
            .dir("d/")
            .file("d/sub/f", b"five")
            .hard_link("d/sub/g", "d/sub/f")
            .file("d/h", b"six")
            .file("d", b"now a file")
            .symlink("h", "x")
            .hard_link("h", "x")
            .end(),
    );
}

#[test]
fn files_by_way_of_links() {
    same(
        Tar::new()
            .dir("usr/bin/")
            .symlink("bin", "usr/bin")
            .file("bin/tool", b"tool")
            .symlink("a", "/bin/../bin/.")
            .dir("a/deep/")
            .file("a/deep/er/file", b"deep")
            .file("a/tool", b"replaced by another way")
            // The way is gone, the file isn't.
            .file("a", b"no link any more")
            .symlink("bin", "nowhere")
            .end(),
    );
}

#[test]
fn sparse_files() {
    let mut gnu = tar::Header::new_gnu();
    gnu.as_old_mut().name[..3].copy_from_slice(b"gnu");
    gnu.set_entry_type(EntryType::GNUSparse);
    gnu.set_mode(0o644);
    gnu.set_uid(0);
    gnu.set_gid(0);
    gnu.set_mtime(0);
    gnu.set_size(6);
    let fields = gnu.as_gnu_mut().unwrap();
    fields.set_real_size(1 << 20);
    fields.sparse[0].set_offset(0);
    fields.sparse[0].set_length(3);
    fields.sparse[1].set_offset(1 << 19);
    fields.sparse[1].set_length(3);
    let mut data = b"2\n0\n3\n4096\n3\n".to_vec();
    data.resize(512, 0);
    data.extend_from_slice(b"abcdef");
    same(
        Tar::new()
            .raw(gnu, b"abcdef")
            .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"8192")])
            .file("b", &data)
            .end(),
    );
}

#[test]
fn a_changed_tree_is_noticed() {
    let bench = Bench::new();
    let layer = Tar::new().file("a", b"abc").file("b", b"def").end();
    assert!(again(&bench, &layer).unwrap() == layer);
    let image = bench.store.resolve("t:1").unwrap();
    let (chain, tree) = (&image.layers[0].chain, bench.store.layer_paths(&image).remove(0));
    std::fs::write(tree.join("b"), b"dxf").unwrap();
    let message = stream(&bench.store, chain).unwrap_err();
    assert!(message.contains("not those that were unpacked"), "{message}");
    std::fs::write(tree.join("b"), b"d").unwrap();
    assert_eq!(stream(&bench.store, chain).unwrap_err(), "'b' is of 1 bytes, not 3");
    std::fs::remove_file(tree.join("b")).unwrap();
    std::os::unix::fs::symlink("a", tree.join("b")).unwrap();
    assert!(stream(&bench.store, chain).unwrap_err().starts_with("'b': "));
    let frame = tree.parent().unwrap().join("frame.zst");
    let bytes = std::fs::read(&frame).unwrap();
    std::fs::write(&frame, &bytes[..bytes.len() / 2]).unwrap();
    assert!(stream(&bench.store, chain).is_err());
}

#[test]
fn compressed_layers_are_kept_as_they_came() {
    for pack in [gzip as Pack, zstd] {
        let bench = Bench::new();
        let (a, b) = (layer("a"), layer("b"));
        let mut layout = Layout::default();
        let descriptor = layout.image(&[&a, &b], pack, "");
        layout.index.push(descriptor);
        let id = bench.load(&layout.tar()).unwrap()[0].id.clone();
        let image = bench.store.resolve(&id).unwrap();
        assert!(stream(&bench.store, &image.layers[1].chain).unwrap() == b);
        let blob = |bytes: &[u8]| {
            let digest = image::digest::Digest::of(bytes);
            let mut out = Vec::new();
            bench.store.blob(&digest).unwrap()?.read_to_end(&mut out).unwrap();
            Some(out)
        };
        assert_eq!(blob(&pack(&a)).unwrap(), pack(&a));
        assert_eq!(blob(&pack(&b)).unwrap(), pack(&b));
        // Nothing of it is left with the image.
        bench.store.remove(&id, false, &|_| None).unwrap();
        assert_eq!(std::fs::read_dir(bench.store.root.join("blobs/sha256")).unwrap().count(), 0);
    }
}

#[test]
fn a_blob_is_kept_where_its_layer_is_there_already() {
    let bench = Bench::new();
    let a = layer("a");
    bench.load(&docker_archive(&[&a], &["t:1"])).unwrap();
    let mut layout = Layout::default();
    let descriptor = layout.image(&[&a], gzip, "");
    layout.index.push(descriptor);
    bench.load(&layout.tar()).unwrap();
    assert!(bench.store.blob(&image::digest::Digest::of(&gzip(&a))).unwrap().is_some());
    // A damaged blob is noticed at its end.
    let path = bench.store.root.join("blobs/sha256").join(image::digest::Digest::of(&gzip(&a)).hex());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut blob = bench.store.blob(&image::digest::Digest::of(&gzip(&a))).unwrap().unwrap();
    assert!(blob.read_to_end(&mut Vec::new()).unwrap_err().to_string().contains("digest mismatch"));
}

#[test]
fn more_layers_than_descriptors_or_rules() {
    let bench = Bench::new();
    let layers: Vec<Vec<u8>> = (0..120).map(|n| layer(&n.to_string())).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    bench.load(&docker_archive(&layers, &["t:1"])).unwrap();
    assert_eq!(bench.store.layer_paths(&bench.store.resolve("t:1").unwrap()).len(), 120);
}
