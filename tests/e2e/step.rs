//! `--step`: a start that one walks through.

use e2e::Sandbox;

/// How many steps are announced.
fn steps(text: &str) -> usize {
    let head = text.split(" steps.").next().and_then(|head| head.rsplit(' ').next());
    head.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count of steps: {text}"))
}

#[test]
fn a_run_can_be_walked_through_step_by_step() {
    let s = Sandbox::with(&["busybox"]);
    let done = s.corten("run -d --step --yes --name box -m 64m -p 8080:80 busybox sleep 1000");
    let text = done.ok();
    // What each step did, as the kernel tells it.
    for line in [
        "     $ echo 67108864 >",
        "     + 67108864",
        "== the clone ==",
        "     + net: ",
        ": 1 ports",
        "     - link lo: hardware, number 1, down",
        "     + link lo: hardware, number 1, up",
        "     + root: overlay",
        "     + command: sleep 1000",
        "     + system calls: filtered by 1",
    ] {
        assert!(text.contains(line), "no {line:?}: {done}");
    }
    let total = steps(text);
    assert!(text.contains(&format!("\n{total}/{total}  become the program")), "{done}");
    assert!(text.ends_with(&s.inspect("box", "{{.Id}}")), "{done}");
    assert_eq!(s.inspect("box", "{{.State.Running}}"), "true");
    s.corten("rm -f box").ok();
    // The same with one that is there, by another command, to its end.
    s.corten("create --name box busybox echo hello").ok();
    let again = s.corten("start --step --yes -a box");
    assert!(again.ok().contains("The program is process") && again.ok().ends_with("hello"), "{again}");
    s.corten("start --yes box").fails(125, &["--yes is for --step"]);
    s.corten("rm box").ok();

    // What follows the answers is the program's.
    let fed = s.corten_fed("run --step --rm -i busybox cat", "\n\n\nc\nfor the program\n");
    assert!(fed.ok().ends_with("for the program"), "{fed}");
    s.end();
}

#[test]
fn a_walk_that_is_stopped_leaves_nothing() {
    let s = Sandbox::with(&["busybox"]);
    let next = "[Enter] does it";
    let stopped = |line: &str, steps: usize, key: &str| {
        let mut walk = s.pty(line);
        for _ in 0..steps {
            walk.expect(next);
            walk.send("\r");
        }
        walk.expect(next);
        walk.send(key);
        walk.expect("is not started: all taken back");
        assert_eq!(walk.wait().code, 130);
    };
    let plan = s.corten("run --explain=json --name box busybox true");
    let plan: serde_json::Value = serde_json::from_str(plan.ok()).expect("JSON");
    let phases = plan["steps"].as_array().expect("a list").iter().map(|step| step["phase"].as_str());
    let count = |phase: &str| phases.clone().filter(|one| *one == Some(phase)).count();
    // Nothing to read is an answer, too. What `create` does is done by then, and no step of the walk.
    let first = s.corten("run --step --rm --name box busybox true");
    assert_eq!(first.code, 130, "{first}");
    let host = count("host") - (phases.clone().count() - steps(&first.stdout));
    // In the midst of each list: the clone is one more.
    for (steps, key) in [(3, "q\r"), (host + 3, "\x03"), (host + 1 + count("joined") + 2, "q\r")] {
        stopped("run --step --name box busybox true", steps, key);
        assert_eq!(s.corten("ps -aq").ok(), "");
        assert_eq!(s.host("ip -o link | grep -v lo:; nft list tables").stdout, "");
    }
    // A container that was there stays what it was.
    s.corten("create --name box busybox true").ok();
    stopped("start --step box", 5, "q\r");
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "created");
    // Whoever walks may be killed: its monitor takes back what it had done.
    let mut walk = s.pty("start --step box");
    for _ in 0..host + 2 {
        walk.expect(next);
        walk.send("\r");
    }
    walk.expect(next);
    drop(walk);
    e2e::wait_until("it is taken back", 20, || s.inspect("box", "{{.State.ExitCode}}") == "130");
    s.corten("start -a box").ok();
    s.corten("rm box").ok();
    s.end();
}
