//! What it costs that everything can be explained: without a flag, nothing; the plan is there anyway. Counted in system calls, which no busy
//! machine changes.

use e2e::Sandbox;
use e2e::trace::{Injection, QUIET, in_sandbox};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// How often each is called differs from run to run: they wait for others and try again, or get memory. Reading a clock is no system call
/// but where the machine's clock is a slow one.
const WAITING: &[&str] = &[
    "brk",
    "clock_gettime",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_wait",
    "futex",
    "madvise",
    "mmap",
    "mprotect",
    "mremap",
    "munmap",
    "nanosleep",
    "poll",
    "ppoll",
    "read",
    "recvfrom",
    "recvmsg",
    "restart_syscall",
    "rmdir",
    "rt_sigreturn",
    "sched_yield",
    "wait4",
    "waitid",
];

/// System calls by name, of the command, its monitor, and the container's first process until it is its program.
fn calls(s: &Sandbox, line: &str) -> BTreeMap<&'static str, usize> {
    let all = RefCell::new(BTreeMap::new());
    let counts = |call: &e2e::trace::Call| {
        *all.borrow_mut().entry(call.name).or_insert(0) += 1;
        true
    };
    let done = in_sandbox(s, line, &[], &Injection { counts: &counts, at: None, quiet: QUIET });
    assert!(done.code == 0 && !done.hung, "{done}");
    all.take()
}

#[test]
fn being_explained_costs_a_run_no_system_call() {
    let s = Sandbox::with(&["busybox"]);
    let run = "run --rm --network none busybox true";
    // The first one makes what all share.
    s.corten(run).ok();
    let json = s.corten(&run.replace("--rm", "--explain=json"));
    let plan: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
    let steps = plan["steps"].as_array().expect("a list").len();
    let (plain, traced) = (calls(&s, run), calls(&s, &run.replace("--rm", "--rm --trace")));
    let total: usize = plain.values().sum();
    println!("{steps} steps, {total} system calls: {plain:?}");
    println!("with --trace {}: {traced:?}", traced.values().sum::<usize>());
    // A step is two or three; all that is around them is the rest.
    assert!(total < 8 * steps + 600, "{total} system calls for {steps} steps: {plain:?}");
    // To look at a step is to read a clock, which is no system call, and to write a line; and once to ask how wide the terminal is.
    let counted = |calls: &BTreeMap<&'static str, usize>| -> BTreeMap<&'static str, usize> {
        let kept =
            calls.iter().filter(|(name, _)| !["write", "ioctl"].contains(*name) && !WAITING.contains(name));
        kept.map(|(name, count)| (*name, *count)).collect()
    };
    assert_eq!(counted(&plain), counted(&traced));
    let asked = |calls: &BTreeMap<&'static str, usize>| calls.get("ioctl").copied().unwrap_or(0);
    assert_eq!(asked(&plain) + 1, asked(&traced));
    let lines = s.corten(&run.replace("--rm", "--rm --trace")).stderr.lines().count();
    let written = traced["write"] - plain["write"];
    assert!(written.abs_diff(lines) <= 2, "{written} more writes for {lines} lines");
    s.end();
}
