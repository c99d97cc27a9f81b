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
