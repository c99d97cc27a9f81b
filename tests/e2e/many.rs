//! Many containers: what a command does to one of them does not grow with what the others are, and a list reads each once.

use e2e::Sandbox;
use e2e::trace::{Call, Injection, QUIET, Traced, in_sandbox};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const FEW: usize = 10;

/// `CORTEN_TEST_MANY`, which should be a thousand to be sure.
fn many() -> usize {
    std::env::var("CORTEN_TEST_MANY").ok().and_then(|n| n.parse().ok()).unwrap_or(300).max(300)
}

/// More containers like this one, as its files in another's name: it has no address, and its ids are nobody's concern here.
fn multiply(root: &Path, id: &str, numbers: std::ops::Range<usize>) {
    let record =
        fs::read_to_string(root.join("containers").join(id).join("config.json")).expect("it is there");
    for number in numbers {
        let new = format!("{number:012x}{}", &id[12..]);
        let dir = root.join("containers").join(&new);
        fs::create_dir_all(dir.join("rw/upper")).expect("the sandbox is writable");
        fs::create_dir(dir.join("rw/work")).expect("the sandbox is writable");
        let text =
            record.replace(id, &new).replace("\"name\":\"model\"", &format!("\"name\":\"many-{number}\""));
        fs::write(dir.join("config.json"), text).expect("the sandbox is writable");
        symlink(&new, root.join("names").join(format!("many-{number}"))).expect("the name is free");
    }
}

/// How many system calls a command makes, and how many of them open files.
fn calls(s: &Sandbox, line: &str) -> (usize, usize) {
    let opened = Cell::new(0);
    let counts = |call: &Call| {
        opened.set(opened.get() + usize::from(matches!(call.name, "open" | "openat" | "openat2")));
        true
    };
    let traced: Traced = in_sandbox(s, line, &[], &Injection { counts: &counts, at: None, quiet: QUIET });
    assert_eq!(traced.code, 0, "{traced}");
    (traced.points, opened.get())
}

/// A life, one command after the other. (`top` looks at all processes of the machine: who is in a control group is told no other way.)
const LIFE: &[&str] = &[
    "create --name box --network none -v data:/data busybox sleep 1000",
    "inspect box",
    "rename box other",
    "rename other box",
    "start box",
    "exec box true",
    "pause box",
    "unpause box",
    "update --pids-limit 50 box",
    "stop -t 0 box",
    "logs box",
    "rm box",
    "run --rm --network none busybox true",
];

#[test]
fn no_command_s_work_grows_with_what_it_does_not_touch() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.corten("create --name model --network none busybox true").ok().to_owned();
    s.corten("volume create data").ok();
    let life = || -> Vec<usize> { LIFE.iter().map(|line| calls(&s, line).0).collect() };
    multiply(&s.scope.root, &id, 0..FEW);
    // What is made once for all is there.
    s.corten("run --rm --network none busybox true").ok();
    let before = life();
    let few = ["ps", "ps -a"].map(|line| calls(&s, line));
    let number = many();
    multiply(&s.scope.root, &id, FEW..number);
    let after = life();
    for ((line, few), many) in LIFE.iter().zip(&before).zip(&after) {
        // Directories are read in pieces, and whoever waits for somebody asks more or less often.
        assert!(many.abs_diff(*few) < 150, "{line}: {few} calls beside {FEW}, {many} beside {number}");
    }
    let many = ["ps", "ps -a"].map(|line| calls(&s, line));
    let each = |few: usize, many: usize| (many - few) as f64 / (number - FEW) as f64;
    // Those that do not run are not read to find that out.
    let asked = each(few[0].0, many[0].0);
    assert!(asked < 1.5, "ps: {asked} calls a container");
    // The record once, and that there is neither a state of one that runs nor of one that has ended. (A debug build asks once more
    // whether what it closes is open.)
    let (all, opened) = (each(few[1].0, many[1].0), each(few[1].1, many[1].1));
    assert!(all < 6.5 && opened < 3.1, "ps -a: {all} calls a container, of which {opened} open files");
    let root = s.scope.root.display();
    s.host(&format!("rm -rf {root}/containers/0* {root}/names/many-*")).ok();
    s.corten("rm model").ok();
    s.corten("volume rm data").ok();
    s.end();
}
