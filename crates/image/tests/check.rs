//! `check`: every way in which a store can be wrong is found, and repaired, and then all is well.

mod common;

use common::*;
use image::{Report, Store};
use std::path::{Path, PathBuf};

fn never(_: &str) -> bool {
    false
}

fn look(store: &Store, repair: bool) -> Vec<String> {
    let Report { faults, .. } = store.check(repair, &never).unwrap();
    faults.iter().map(ToString::to_string).collect()
}

/// One image that came compressed (its layer can be unpacked again) and one that came plain, with a layer in common with nobody.
fn bench() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let mut layout = Layout::default();
    let layers = [layer("one"), layer("two")];
    let name = r#","annotations":{"org.opencontainers.image.ref.name":"packed:1"}"#;
    let descriptor = layout.image(&[&layers[0], &layers[1]], gzip, name);
    layout.index.push(descriptor);
    bench.load(&layout.tar()).unwrap();
    bench.load(&docker_archive(&[&layer("three")], &["plain:1"])).unwrap();
    let root = bench.store.root.clone();
    assert_eq!(look(&bench.store, false), [""; 0]);
    (bench, root)
}

/// After a repair nothing is wrong, nothing is left over, and the images in `whole` are all that there are.
#[track_caller]
fn repaired(bench: &Bench, whole: &[&str]) -> Vec<String> {
    let found = look(&bench.store, false);
    let done = look(&bench.store, true);
    assert!(!done.is_empty() && done.iter().all(|line| line.ends_with(')')), "{done:?}");
    // What goes with what is only known when it has gone.
    assert!(found.len() <= done.len() + 1, "{found:?} {done:?}");
    assert_eq!(look(&bench.store, false), [""; 0]);
    let mut names: Vec<String> =
        bench.store.list().unwrap().iter().flat_map(|s| s.tags.iter().map(|t| t.familiar())).collect();
    names.sort();
    assert_eq!(names, whole);
    for name in whole {
        let image = bench.store.resolve(name).unwrap();
        for layer in &image.layers {
            std::io::copy(&mut bench.store.layer_tar(&layer.chain).unwrap(), &mut std::io::sink()).unwrap();
        }
    }
    done
}

fn tree(bench: &Bench, name: &str, at: usize) -> PathBuf {
    let image = bench.store.resolve(name).unwrap();
    bench.store.layer_path(&image.layers[at].chain)
}

/// A file of the tree that is not empty.
fn some_file(dir: &Path) -> PathBuf {
    let mut below = vec![dir.to_owned()];
    while let Some(path) = below.pop() {
        if path.is_dir() {
            below.extend(std::fs::read_dir(path).unwrap().flatten().map(|e| e.path()));
        } else if path.metadata().is_ok_and(|m| m.is_file() && m.len() > 0) {
            return path;
        }
    }
    panic!("no file in {}", dir.display());
}

#[test]
fn a_layer_that_was_changed_is_unpacked_again() {
    for damage in ["changed", "cut", "gone", "frame", "record", "all"] {
        let (bench, root) = bench();
        let dir = tree(&bench, "packed:1", 1);
        let layer = dir.parent().unwrap();
        match damage {
            "changed" => {
                let file = some_file(&dir);
                let mut bytes = std::fs::read(&file).unwrap();
                bytes[0] ^= 1;
                std::fs::write(&file, bytes).unwrap();
            }
            "cut" => std::fs::write(some_file(&dir), "").unwrap(),
            "gone" => std::fs::remove_file(some_file(&dir)).unwrap(),
            "frame" => std::fs::write(layer.join("frame.zst"), "x").unwrap(),
            "record" => std::fs::write(layer.join("layer.json"), "{").unwrap(),
            _ => std::fs::remove_dir_all(&dir).unwrap(),
        }
        let done = repaired(&bench, &["packed:1", "plain:1"]);
        let chain = &bench.store.resolve("packed:1").unwrap().layers[1].chain;
        assert!(
            done.len() == 1
                && done[0].starts_with(&format!("layer sha256:{chain}: "))
                && done[0].ends_with("(unpacked again)"),
            "{damage}: {done:?}"
        );
        assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0);
    }
}

#[test]
fn what_cannot_be_made_again_goes() {
    let (bench, _) = bench();
    std::fs::write(some_file(&tree(&bench, "plain:1", 0)), "other").unwrap();
    let done = repaired(&bench, &["packed:1"]);
    assert!(done.iter().any(|l| l.starts_with("layer ") && l.ends_with("(removed)")), "{done:?}");
    assert!(
        done.iter()
            .any(|l| l.starts_with("image ")
                && l.ends_with("is missing (removed: pull or load plain:1 again)")),
        "{done:?}"
    );
    // So it can be loaded again.
    bench.load(&docker_archive(&[&layer("three")], &["plain:1"])).unwrap();
    assert_eq!(look(&bench.store, false), [""; 0]);
}

#[test]
fn a_layer_that_a_container_uses_stays() {
    let (bench, _) = bench();
    std::fs::write(some_file(&tree(&bench, "plain:1", 0)), "other").unwrap();
    let report = bench.store.check(true, &|_| true).unwrap();
    let lines: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
    assert!(
        lines.len() == 1 && lines[0].ends_with("(not repaired: a container that runs uses it)"),
        "{lines:?}"
    );
    assert!(report.faults[0].repaired.is_none());
    assert!(bench.store.resolve("plain:1").is_ok());
}

#[test]
fn blobs_records_and_names() {
    type Damage = fn(&Store, &Path);
    let cases: &[(&str, Damage, &[&str], &str)] = &[
        (
            "config damaged",
            |store, root| {
                let id = store.resolve("plain:1").unwrap().id;
                std::fs::write(root.join("blobs/sha256").join(id), "{}").unwrap();
            },
            &["packed:1"],
            "its config is missing or damaged",
        ),
        (
            "config missing",
            |store, root| {
                let id = store.resolve("packed:1").unwrap().id;
                std::fs::remove_file(root.join("blobs/sha256").join(id)).unwrap();
            },
            &["plain:1"],
            "its config is missing or damaged",
        ),
        (
            "manifest damaged",
            |store, root| {
                let manifest = store.resolve("packed:1").unwrap().manifest.unwrap();
                std::fs::write(root.join("blobs/sha256").join(manifest), "{}").unwrap();
            },
            &["packed:1", "plain:1"],
            "(it goes on without)",
        ),
        (
            "record damaged",
            |store, root| {
                let id = store.resolve("plain:1").unwrap().id;
                std::fs::write(root.join(format!("images/{id}.json")), "nonsense").unwrap();
            },
            &["packed:1"],
            "is damaged",
        ),
        (
            "record of another",
            |store, root| {
                let [a, b] = ["plain:1", "packed:1"].map(|n| store.resolve(n).unwrap().id);
                std::fs::copy(root.join(format!("images/{a}.json")), root.join(format!("images/{b}.json")))
                    .unwrap();
            },
            &["plain:1"],
            "its record is of another image",
        ),
        (
            "record gone",
            |store, root| {
                let id = store.resolve("plain:1").unwrap().id;
                std::fs::remove_file(root.join(format!("images/{id}.json"))).unwrap();
            },
            &["packed:1"],
            "no image has it",
        ),
        (
            "strangers",
            |_, root| {
                for dir in ["images", "layers", "tags", "blobs/sha256", "tmp"] {
                    std::fs::write(root.join(dir).join("stranger"), "x").unwrap();
                    std::fs::create_dir(root.join("tmp/left")).unwrap_or_default();
                }
            },
            &["packed:1", "plain:1"],
            "tmp/left: a process that was killed left it",
        ),
        (
            "orphans",
            |_, root| {
                let hex = "0".repeat(64);
                std::fs::create_dir_all(root.join(format!("layers/{hex}/diff"))).unwrap();
                let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
                std::fs::write(root.join("blobs/sha256").join(empty), "").unwrap();
            },
            &["packed:1", "plain:1"],
            "blob sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855: no image has it (removed)",
        ),
    ];
    for (name, damage, whole, says) in cases {
        let (bench, root) = bench();
        damage(&bench.store, &root);
        let done = repaired(&bench, whole);
        assert!(done.iter().any(|line| line.contains(says)), "{name}: {done:#?}");
        assert_eq!(std::fs::read_dir(root.join("tmp")).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn references_that_lie_are_counted_again() {
    let (bench, root) = bench();
    // A record that claims layers that its config does not.
    let id = bench.store.resolve("plain:1").unwrap().id;
    let path = root.join(format!("images/{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    let other = bench.store.resolve("packed:1").unwrap().layers[0].clone();
    let own = bench.store.resolve("plain:1").unwrap().layers[0].clone();
    std::fs::write(&path, text.replace(&own.diff_id, &other.diff_id)).unwrap();
    let done = repaired(&bench, &["packed:1"]);
    assert!(done.iter().any(|l| l.contains("its record has other layers than its config")), "{done:?}");
}
