//! The store: lookups, names, removal, and what other processes may leave or do.

mod common;

use common::*;
use image::{Error, Input, Removed, Store, User};
use std::time::Instant;

fn nobody(_: &str) -> Option<User> {
    None
}

#[test]
fn lookups() {
    let bench = Bench::new();
    let id = bench.load(&docker_archive(&[&layer("a")], &["docker.io/library/busybox:latest"])).unwrap()[0]
        .id
        .clone();
    let store = &bench.store;
    for name in
        ["busybox", "busybox:latest", "library/busybox", "docker.io/busybox:latest", &id, &id[..12], &id[..1]]
    {
        assert_eq!(store.resolve(name).unwrap().id, id, "{name}");
    }
    assert_eq!(store.resolve(&format!("sha256:{id}")).unwrap().reference, None);
    assert_eq!(store.resolve(&format!("sha256:{}", &id[..8])).unwrap().id, id);
    assert_eq!(store.resolve("busybox").unwrap().reference.unwrap(), "busybox:latest");
    let error = |name: &str| store.resolve(name).unwrap_err().to_string();
    assert_eq!(error("x"), "no such image: x:latest");
    assert_eq!(error("busybox:2"), "no such image: busybox:2");
    assert_eq!(error("peers/nginx"), "no such image: peers/nginx:latest");
    assert_eq!(error(&"0".repeat(64)), format!("no such image: {}", "0".repeat(64)));
    assert_eq!(error("sha256:00"), "no such image: sha256:00");
    assert_eq!(error("X"), "invalid reference 'X': repository name (library/X) must be lowercase");
    assert!(store.resolve("../../etc/passwd").is_err() && store.resolve("").is_err());
}

#[test]
fn ids_by_prefix_and_names_before_ids() {
    let bench = Bench::new();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(bench.load(&docker_archive(&[&layer(&n.to_string())], &[])).unwrap()[0].id.clone());
    }
    // Twenty ids on sixteen digits.
    let shared = ids
        .iter()
        .map(|id| &id[..1])
        .find(|p| ids.iter().filter(|id| id.starts_with(p)).count() > 1)
        .unwrap();
    assert!(matches!(bench.store.resolve(shared), Err(Error::Ambiguous(_))));
    bench.store.tag(&ids[0], shared).unwrap();
    assert_eq!(bench.store.resolve(shared).unwrap().id, ids[0]);
}

#[test]
fn names_move_and_long_names_work() {
    let bench = Bench::new();
    let store = &bench.store;
    let a = bench.load(&docker_archive(&[&layer("a")], &["t:1"])).unwrap()[0].id.clone();
    let b = bench.load(&docker_archive(&[&layer("b")], &["t:1"])).unwrap()[0].id.clone();
    assert_eq!(store.resolve("t:1").unwrap().id, b);
    let long = format!("{}:{}", vec!["a".repeat(60); 4].join("/"), "t".repeat(128));
    store.tag(&a, &long).unwrap();
    assert_eq!(store.resolve(&long).unwrap().id, a);
    let list = store.list().unwrap();
    assert!(list.iter().any(|s| s.image.id == a && s.tags[0].familiar() == long));
    assert!(store.tag("none", "x").unwrap_err().is_not_found());
    assert!(store.tag(&a, "X").is_err() && store.tag(&a, &format!("x@sha256:{a}")).is_err());
    assert!(store.tag("@host", "x").is_err());
}

#[test]
fn removing() {
    let bench = Bench::new();
    let store = &bench.store;
    let (base, top) = (layer("base"), layer("top"));
    let small = bench.load(&docker_archive(&[&base], &["small:1", "small:2", "other/small:1"])).unwrap()[0]
        .id
        .clone();
    let large = bench.load(&docker_archive(&[&base, &top], &["large:1"])).unwrap()[0].id.clone();
    assert_eq!(store.remove("small:1", false, &nobody).unwrap(), [Removed::Untagged("small:1".into())]);
    let message = store.remove(&small[..12], false, &nobody).unwrap_err().to_string();
    assert!(
        message.ends_with("(must be forced) - image is referenced in multiple repositories"),
        "{message}"
    );
    store.remove("other/small:1", false, &nobody).unwrap();
    // A running container keeps its image, whatever is asked; a stopped one may lose the name of it.
    let used = |running| move |_: &str| Some(User { container: "abc".into(), running });
    let message = store.remove("small:2", true, &used(true)).unwrap_err().to_string();
    assert_eq!(
        message,
        "conflict: unable to remove repository reference \"small:2\" (cannot be forced) - image is being used by running container abc"
    );
    assert!(store.remove("small:2", false, &used(false)).is_err());
    assert_eq!(store.remove("small:2", true, &used(false)).unwrap(), [Removed::Untagged("small:2".into())]);
    assert!(store.resolve(&small).is_ok(), "the container still has its image");
    // Gone with the image is only what no other has.
    let removed = store.remove(&small, false, &nobody).unwrap();
    assert_eq!(removed, [Removed::Deleted(format!("sha256:{small}"))]);
    assert_eq!(std::fs::read_dir(store.root.join("layers")).unwrap().count(), 2);
    let removed: Vec<String> =
        store.remove("large:1", false, &nobody).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(removed.len(), 4);
    assert_eq!(removed[..2], ["Untagged: large:1".to_string(), format!("Deleted: sha256:{large}")]);
    for dir in ["layers", "images", "tags", "blobs/sha256", "tmp"] {
        assert_eq!(std::fs::read_dir(store.root.join(dir)).unwrap().count(), 0, "{dir}");
    }
    assert!(store.remove("large:1", false, &nobody).unwrap_err().is_not_found());
    assert!(matches!(store.remove("@host", true, &nobody), Err(Error::Conflict(_))));
}

#[test]
fn inspect_is_dockers_object() {
    let bench = Bench::new();
    let (a, b) = (layer("a"), layer("b"));
    let id = bench.load(&docker_archive(&[&a, &b], &["t:1"])).unwrap()[0].id.clone();
    let object = bench.store.inspect("t:1").unwrap();
    assert_eq!(object["Id"], format!("sha256:{id}"));
    assert_eq!(object["RepoTags"][0], "t:1");
    assert_eq!(object["Created"], "2024-01-02T03:04:05Z");
    assert_eq!(object["Config"]["Env"][0], "PATH=/bin");
    assert!(object["Config"]["Entrypoint"].is_null());
    assert_eq!((&object["Os"], object["Size"].as_u64()), (&"linux".into(), Some(2)));
    assert_eq!(object["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    for key in ["UpperDir", "LowerDir"] {
        assert!(std::path::Path::new(object["GraphDriver"]["Data"][key].as_str().unwrap()).is_dir());
    }
    assert_eq!(bench.store.inspect("@host").unwrap()["RepoTags"][0], "@host");
}

#[test]
fn host_needs_no_store() {
    let bench = Bench::new();
    let image = bench.store.resolve("@host").unwrap();
    assert!(image.host && image.config.cmd[0].ends_with("sh") && image.config.env[0].starts_with("PATH="));
    assert_eq!(bench.store.layer_paths(&image), [std::path::Path::new("/")]);
    assert!(snapshot(&bench.store.root).is_empty());
}

#[test]
fn what_killed_processes_left_is_swept() {
    let bench = Bench::new();
    let tmp = bench.store.root.join("tmp");
    std::fs::create_dir_all(tmp.join("dead/chain/diff/etc")).unwrap();
    std::fs::write(tmp.join("halfwritten"), "x").unwrap();
    std::fs::create_dir(tmp.join("alive")).unwrap();
    let alive = std::fs::File::open(tmp.join("alive")).unwrap();
    rustix::fs::flock(&alive, rustix::fs::FlockOperation::LockExclusive).unwrap();
    bench.load(&docker_archive(&[&layer("a")], &["t:1"])).unwrap();
    let left: Vec<_> = std::fs::read_dir(&tmp).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["alive"]);
}

#[test]
fn many_loads_at_once() {
    let bench = Bench::new();
    let archives: Vec<Vec<u8>> = (0..8)
        .map(|n| docker_archive(&[&layer("base"), &layer(&(n % 4).to_string())], &[&format!("t:{n}")]))
        .collect();
    std::thread::scope(|scope| {
        for archive in &archives {
            scope.spawn(|| {
                let store = Store::open(&bench.store.root).unwrap();
                for _ in 0..4 {
                    let loaded = store.load(Input::Reader(&mut archive.as_slice()), &mut |_| {}).unwrap();
                    // Removed by another thread that has the same image: no matter, but never half.
                    if let Ok(image) = store.resolve(&loaded[0].id) {
                        let _ = store.layer_paths(&image);
                    }
                    let _ = store.remove(&loaded[0].names[0], true, &nobody);
                }
                store.load(Input::Reader(&mut archive.as_slice()), &mut |_| {}).unwrap();
            });
        }
    });
    for n in 0..8 {
        let image = bench.store.resolve(&format!("t:{n}")).unwrap();
        for path in bench.store.layer_paths(&image) {
            assert!(path.join("etc/name").exists(), "{}", path.display());
        }
    }
    assert_eq!(std::fs::read_dir(bench.store.root.join("tmp")).unwrap().count(), 0);
}

#[test]
fn the_data_root_is_private() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    bench.load(&docker_archive(&[&layer("a")], &["t:1"])).unwrap();
    for dir in ["", "layers", "images", "tags", "blobs", "tmp"] {
        assert_eq!(bench.store.root.join(dir).metadata().unwrap().mode() & 0o777, 0o700, "{dir}");
    }
}

#[test]
fn a_lookup_is_cheap() {
    let bench = Bench::new();
    bench.load(&docker_archive(&[&layer("a")], &["t:1"])).unwrap();
    let best = (0..200)
        .map(|_| {
            let start = Instant::now();
            Store::open(&bench.store.root).unwrap().resolve("t:1").unwrap();
            start.elapsed()
        })
        .min()
        .unwrap();
    // Without optimisation; with it, 50 µs.
    assert!(best.as_micros() < 1000, "{best:?}");
}
