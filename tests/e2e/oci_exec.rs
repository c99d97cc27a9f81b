//! `corten oci exec`: a further program in a container.

use e2e::{Cgroups, Sandbox, receive_descriptor, trace, wait_until};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A container that sleeps.
fn sleeping(s: &Sandbox) {
    s.bundle("box", &["sleep", "1000"]);
    s.oci_apart("run -d -b box box");
}

#[test]
fn flags() {
    let s = Sandbox::new();
    sleeping(&s);
    let said = s.oci("exec -e A=1 --env B=2 -u 1000:5 -g 7 -g 8 --cwd /tmp box sh -c 'id; env; pwd; umask'");
    let lines: Vec<&str> = said.ok().lines().collect();
    assert_eq!(
        lines[0].split(' ').map(|w| w.split('(').next().unwrap_or(w)).collect::<Vec<_>>(),
        ["uid=1000", "gid=5", "groups=7,8"]
    );
    for line in ["A=1", "B=2", "PWD=/tmp", "/tmp", "0022"] {
        assert!(lines.contains(&line), "no {line}: {said}");
    }
    let caps = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status";
    let said = s.oci(&format!("exec -c CAP_SYS_CHROOT --no-new-privs=false box {caps}"));
    assert_eq!(said.ok(), "CapEff:\t0000000020040420\nCapBnd:\t0000000020040420\nNoNewPrivs:\t0");
    assert!(s.oci(&format!("exec box {caps}")).ok().ends_with("NoNewPrivs:\t1"));
    // Behind the id everything is the command's.
    assert_eq!(s.oci("exec box echo -t -d --user x").ok(), "-t -d --user x");
    s.oci("exec box").fails(255, &["args"]);
    s.oci("exec nosuch true").fails(255, &["nosuch"]);
    s.oci("exec").exits(1);
    s.oci("exec --fly box true").exits(1);
    for user in ["root", "-1", "2147483648", "1:x", "99999999999999999999"] {
        // CVE-2026-30892, CVE-2024-40635: no number that is none ends as root.
        s.oci(&format!("exec -u {user} box id")).fails(255, &["not a number"]);
    }
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn codes_and_signals() {
    let s = Sandbox::new();
    sleeping(&s);
    s.oci("exec box sh -c 'exit 7'").exits(7);
    s.oci("exec box sh -c 'kill -9 $$'").exits(137);
    s.oci("exec box nosuch")
        .fails(255, &["exec failed", "exec: \"nosuch\": executable file not found in $PATH"]);
    s.oci("exec --cwd /no/such box true").fails(255, &["/no/such"]);
    let running = s.oci_start(
        "exec box sh -c 'trap \"echo got it; exit 3\" USR1; echo ready; while :; do sleep 0.1; done'",
    );
    running.expect("ready");
    running.signal(rustix::process::Signal::USR1);
    assert_eq!(running.wait().exits(3), "ready\ngot it");
    // Its input is ours.
    let mut command = s.command(&format!("oci --root {} exec box cat", s.scope.oci.display()));
    let mut running = e2e::Background::start("cat", command.stdin(std::process::Stdio::piped()));
    running.input("some words\n");
    running.expect("some words");
    running.close_input();
    running.wait().ok();
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn apart() {
    let s = Sandbox::new();
    sleeping(&s);
    s.oci_apart("exec -d --pid-file pid box sleep 77");
    let pid = fs::read_to_string(s.dir.join("pid")).expect("it was written");
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    assert_eq!(line, "sleep\x0077\0");
    // It is in all that the first one is in.
    let first = s.oci_state("box")["pid"].to_string();
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("it runs");
        assert_eq!(of(&pid), of(&first), "{kind}");
    }
    let groups = |pid: &str| fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert_eq!(groups(&pid), groups(&first));
    s.oci("exec -d -t box true").fails(255, &["--console-socket"]);
    s.oci("exec --console-socket x box true").fails(255, &["--console-socket"]);
    s.oci("exec --pid-file /no/such/dir/pid -d box sleep 1").fails(255, &["/no/such/dir/pid"]);
    // It ends with the container.
    s.oci("delete -f box").ok();
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap_or(true));
    s.oci("exec box true").fails(255, &["box"]);
    s.end();
}

#[test]
fn in_a_container_that_is_not_running() {
    let s = Sandbox::new();
    s.bundle("box", &["sleep", "1000"]);
    s.oci_apart("create -b box box");
    // As runc: there is a process to join.
    assert_eq!(s.oci("exec box hostname").ok(), "bundle");
    s.oci("start box").ok();
    s.oci("pause box").ok();
    s.oci("exec box true").fails(255, &["paused", "--ignore-paused"]);
    let waits = s.oci_start("exec --ignore-paused box echo thawed");
    s.oci("resume box").ok();
    waits.wait().ok();
    s.oci("kill box KILL").ok();
    s.oci_wait("box", "stopped");
    s.oci("exec box true").fails(255, &["stopped"]);
    s.oci("delete box").ok();
    s.end();
}

#[test]
fn terminals() {
    let s = Sandbox::new();
    sleeping(&s);
    let mut pty = s.oci_pty("exec -t box sh");
    pty.send("tty; stty size; echo $((40+2))\r");
    pty.expect("/dev/pts/0");
    pty.expect("24 80");
    pty.expect("42");
    pty.send("exit 5\r");
    assert_eq!(pty.wait().code, 5);
    // For a caller who pumps himself.
    let socket = std::os::unix::net::UnixListener::bind(s.dir.join("console")).expect("a path");
    s.oci_apart("exec -d -t --console-socket console --pid-file pid box sh -c 'tty; sleep 1000'");
    let mut master = fs::File::from(receive_descriptor(&socket.accept().expect("a connection").0).1);
    // A terminal may pass on a line in parts.
    let (mut said, mut byte) = (Vec::new(), [0]);
    while said.last() != Some(&b'\n') {
        std::io::Read::read_exact(&mut master, &mut byte).expect("it speaks");
        said.push(byte[0]);
    }
    assert_eq!(said, b"/dev/pts/0\r\n");
    // Its end hangs the terminal up.
    drop(master);
    let pid = fs::read_to_string(s.dir.join("pid")).expect("it was written").parse().expect("a number");
    wait_until("the program to be hung up", 10, || e2e::ended(pid));
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn descriptors() {
    let s = Sandbox::new();
    sleeping(&s);
    let (corten, root) = (e2e::binary().display().to_string(), s.scope.oci.display().to_string());
    let line = |flags: &str| {
        format!(
            "exec 3</dev/null 4</dev/null 7</etc; {corten} oci --root {root} exec {flags} box sh -c 'ls /proc/self/fd | tr \"\\n\" \" \"'"
        )
    };
    // The last is the directory that ls reads. CVE-2024-21626: a directory of the host's among them.
    assert_eq!(s.host(&line("")).ok().trim(), "0 1 2 3");
    assert_eq!(s.host(&line("--preserve-fds 2")).ok().trim(), "0 1 2 3 4 5");
    s.oci("exec --preserve-fds 90 box true").fails(255, &["--preserve-fds", "not open"]);
    s.oci("exec --cwd /proc/self/fd/7 box true").exits(255);
    let socket = std::os::unix::net::UnixListener::bind(s.dir.join("pidfd")).expect("a path");
    s.oci_apart("exec -d --pidfd-socket pidfd box sleep 1000");
    let (_, pidfd) = receive_descriptor(&socket.accept().expect("a connection").0);
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("it is a process");
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn groups_below() {
    let s = Sandbox::new();
    sleeping(&s);
    let first = s.oci_state("box")["pid"].to_string();
    let groups = fs::read_to_string(format!("/proc/{first}/cgroup")).expect("it runs");
    let own = format!("/{}/box", s.scope.cgroup_parent);
    let v1 = groups.lines().any(|line| line.contains(":memory:"));
    let (place, flag, line) = match v1 {
        true => ("/sys/fs/cgroup/memory", "--cgroup memory:sub", format!(":memory:{own}/sub")),
        false => ("/sys/fs/cgroup", "--cgroup /sub", format!("0::{own}/sub")),
    };
    fs::create_dir(format!("{place}{own}/sub")).expect("a group");
    s.oci_apart(&format!("exec -d --pid-file pid {flag} box sleep 1000"));
    let pid = fs::read_to_string(s.dir.join("pid")).expect("it was written");
    let there = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    assert!(there.lines().any(|l| l.ends_with(&line)), "{there}");
    for wrong in ["nosuch:a", "/no/such", "/../..", "a:b:c"] {
        s.oci(&format!("exec --cgroup {wrong} box true")).fails(255, &["--cgroup"]);
    }
    s.oci("exec --cgroup a --cgroup b box true").fails(255, &["--cgroup 'a'"]);
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn a_process_file() {
    let s = Sandbox::new();
    sleeping(&s);
    let write = |process: serde_json::Value| {
        fs::write(s.dir.join("process.json"), process.to_string()).expect("writable");
    };
    write(
        json!({"cwd": "/tmp", "args": ["sh", "-c", "pwd; id -u; grep CapEff /proc/self/status"], "user": {"uid": 3, "gid": 0}}),
    );
    assert_eq!(s.oci("exec --process process.json box").ok(), "/tmp\n3\nCapEff:\t0000000000000000");
    for (process, named) in [
        (json!({"cwd": "/", "args": []}), "process.args"),
        (json!({"args": ["true"]}), "process.cwd"),
        (json!({"cwd": "/", "args": ["true"], "user": {"uid": -1}}), "process.user.uid"),
        (json!([]), "process"),
    ] {
        write(process);
        s.oci("exec -p process.json box").fails(255, &[named]);
    }
    s.oci("exec -p nosuch.json box").fails(255, &["nosuch.json"]);
    s.oci("delete -f box").ok();
    s.end();
}

/// Root of a container looks into a process that comes from outside, at each system call of it until it is the program: what it has
/// open, and what it is made of. With the host's ids, and with its own and all rights over them.
#[test]
fn cve_2016_9962_nobody_looks_into_who_comes() {
    let s = Sandbox::new();
    // Asked by a FIFO, which it keeps open for both, it answers by a file that appears whole.
    let script = "mkfifo /ask; exec 3<>/ask; touch /ready; n=0; while read -r p <&3; do n=$((n + 1))
        ls -ln /proc/$p/exe /proc/$p/cwd /proc/$p/fd >/new 2>/dev/null; mv /new /answer.$n; done";
    for own_ids in [false, true] {
        let mut bundle = s.bundle("box", &["sh", "-c", script]);
        if own_ids {
            // The same numbers: where they change the kernel closes it by itself.
            let ids = json!([{"containerID": 0, "hostID": 0, "size": 65_536}]);
            bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
            bundle.set("/linux/namespaces/-", json!({"type": "user"})).everything();
        }
        bundle.write();
        s.oci_apart("run -d -b box box");
        let root = bundle.dir.join("rootfs");
        wait_until("the one who looks", 20, || root.join("ready").exists());
        let asked = Cell::new(0);
        let look = |pid: &str| {
            asked.set(asked.get() + 1);
            fs::write(root.join("ask"), format!("{pid}\n")).expect("it reads");
            let path = root.join(format!("answer.{}", asked.get()));
            let start = std::time::Instant::now();
            while !path.exists() {
                assert!(start.elapsed() < Duration::from_secs(120), "it does not answer");
                std::thread::sleep(Duration::from_micros(300));
            }
            let answer = fs::read_to_string(path).expect("it answers");
            answer.lines().filter(|line| line.contains(" -> ")).map(String::from).collect::<Vec<_>>()
        };
        let found = RefCell::new(Vec::new());
        let inside = |call: &trace::Call| {
            let status = fs::read_to_string(format!("/proc/{}/status", call.pid)).unwrap_or_default();
            let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
            if let [_, .., pid] = ids.split_whitespace().collect::<Vec<_>>()[..] {
                found.borrow_mut().extend(look(pid).iter().map(|seen| format!("{}: {seen}", call.name)));
            }
            false
        };
        let line = format!("oci --root {} exec box true", s.scope.oci.display());
        let injection = trace::Injection { counts: &inside, at: None, quiet: trace::QUIET };
        let traced = trace::in_sandbox(&s, &line, &[], &injection);
        assert_eq!(traced.code, 0, "{traced}");
        assert!(asked.get() > 5, "{} system calls inside", asked.get());
        assert_eq!(found.into_inner(), Vec::<String>::new(), "own ids: {own_ids}");
        // What is a program of the container's is seen.
        let other = s.oci_start("exec box sh -c 'echo $$; exec sleep 1000'");
        other.expect("\n");
        assert!(look(other.stdout().trim()).iter().any(|line| line.contains("busybox")));
        s.oci("delete -f box").ok();
        other.wait();
        fs::remove_dir_all(&bundle.dir).expect("nobody is there");
    }
    s.end();
}

/// The first process may go below its group, to give controllers on to others: only then its group takes nobody else.
#[test]
fn a_group_that_its_first_process_has_left() {
    let s = Sandbox::new();
    if Sandbox::cgroups() != Cgroups::V2 {
        return s.end();
    }
    s.bundle("box", &["sleep", "1000"]);
    s.oci_apart("run --detach --bundle box box");
    let own = PathBuf::from(format!("/sys/fs/cgroup/{}/box", s.scope.cgroup_parent));
    fs::create_dir(own.join("below")).expect("a group below");
    fs::write(own.join("below/cgroup.procs"), s.oci_state("box")["pid"].to_string()).expect("it moves");
    let group = || s.oci("exec box cat /proc/self/cgroup").ok().replace(&s.scope.cgroup_parent, "parent");
    assert_eq!(group(), "0::/parent/box");
    fs::write(own.join("cgroup.subtree_control"), "+memory").expect("nobody is in it");
    assert_eq!(group(), "0::/parent/box/below");
    s.oci("delete --force box").ok();
    s.end();
}
