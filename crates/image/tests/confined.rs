//! Loading from a process with one thread, as the command line does: layers are unpacked in a child of their own.

mod common;

use common::*;
use std::time::Instant;

fn main() {
    // What test runners ask before they run anything.
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("confined: test");
        }
        return;
    }
    if !rustix::process::geteuid().is_root() {
        return;
    }
    loads_and_refusals_come_through();
    the_child_can_do_nothing_else();
    children_are_gone_and_cheap();
    println!("test result: ok. confined");
}

fn loads_and_refusals_come_through() {
    let bench = Bench::new();
    bench.load(&docker_archive(&[&layer("a"), &layer("b")], &["t:1"])).unwrap();
    let paths = bench.store.layer_paths(&bench.store.resolve("t:1").unwrap());
    assert_eq!(std::fs::read(paths[0].join("etc/name")).unwrap(), b"b");
    let tar = Tar::new().file("../x", b"").end();
    let message = bench.refuse(&docker_archive(&[&tar], &["t:2"]));
    assert!(message.ends_with("entry '../x' climbs out of the image"), "{message}");
    let message = bench.refuse(&docker_archive(&[&Tar::new().pax(&[("uid", b"x")]).end()], &["t:2"]));
    assert!(message.ends_with("bad PAX value of 'uid'"), "{message}");
    // Whiteouts, devices and capabilities take privileges that the child must have kept.
    let tar = Tar::new()
        .file("d/.wh..wh..opq", b"")
        .file(".wh.x", b"")
        .device(tar::EntryType::Char, "null", 1, 3)
        .pax(&[("SCHILY.xattr.security.capability", b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0")])
        .mode("cap", 0o4755, 5, 6)
        .end();
    bench.load(&docker_archive(&[&tar], &["t:3"])).unwrap();
}

/// It waits for its input while we look at it.
fn the_child_can_do_nothing_else() {
    use image::layer::{Job, Source, confined};
    let dir = TempDir::new();
    std::fs::create_dir_all(dir.0.join("layer/diff")).unwrap();
    let open = |path: &str| std::fs::File::open(dir.0.join(path)).unwrap();
    let (read, mut write) = image::make::pipe().unwrap();
    let job = Job {
        source: Source::Pipe { pipe: read, size: None },
        blob_digest: None,
        diff_id: None,
        layer: Some(open("layer").into()),
        keep: None,
    };
    let place = open(".");
    let limits = image::Limits::default();
    let unpacking = confined::start(vec![job], std::os::fd::AsFd::as_fd(&place), &limits).unwrap();
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    let pid: u32 = children.trim().parse().unwrap();
    let status = || std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let start = Instant::now();
    while !status().contains("NoNewPrivs:\t1") {
        assert!(start.elapsed().as_secs() < 60, "{}", status());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for kind in ["net", "ipc", "pid", "uts"] {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of("self"), of(&pid.to_string()), "{kind}");
    }
    // chown, dac_override, fowner, fsetid, sys_admin, mknod, setfcap: for owners, devices and attributes of overlayfs; no other.
    let kept: u64 = [0, 1, 3, 4, 21, 27, 31].iter().map(|bit| 1u64 << bit).sum();
    let effective = || {
        let status = status();
        let line = status.lines().find_map(|l| l.strip_prefix("CapEff:\t")).unwrap().to_owned();
        u64::from_str_radix(&line, 16).unwrap()
    };
    while effective() & !kept != 0 {
        assert!(start.elapsed().as_secs() < 60, "{}", status());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // Nothing of ours is open in it but standard error, the pipes, and the directories of the job.
    let open: Vec<_> =
        std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|e| e.path()).collect();
    assert!(open.len() <= 8, "{open:?}");
    for path in open {
        let target = std::fs::read_link(&path).unwrap_or_default();
        let target = target.display().to_string();
        let harmless = target.starts_with("pipe:") || target.starts_with(&dir.0.display().to_string());
        assert!(harmless || path.ends_with("2"), "{target}");
    }
    std::io::Write::write_all(&mut write, &layer("x")).unwrap();
    drop(write);
    unpacking.finish(&mut |_| {}).unwrap();
    assert_eq!(std::fs::read(dir.0.join("layer/diff/etc/name")).unwrap(), b"x");
}

fn children_are_gone_and_cheap() {
    let children = || std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    let mut best = u128::MAX;
    for n in 0..10 {
        let bench = Bench::new();
        let archive = docker_archive(&[&layer(&n.to_string())], &["t:1"]);
        let start = Instant::now();
        bench.load(&archive).unwrap();
        best = best.min(start.elapsed().as_micros());
        assert_eq!(children(), "");
    }
    println!("a small load: {best} µs");
}
