//! `process`, `linux.seccomp`, `linux.personality` and `linux.memoryPolicy` of a bundle: what the kernel says of the
//! process that runs. The first process and those of `exec` get the same.

use e2e::{Agent, Bundle, Sandbox};
use kernel::seccomp::notify::Answer;
use serde_json::{Value, json};
use std::fs;

/// A field of /proc/PID/status.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What `args` prints as the first process of the bundle, and as a further one in it.
#[track_caller]
fn both(s: &Sandbox, bundle: &mut Bundle, args: &[&str]) -> [String; 2] {
    bundle.set("/process/args", json!(args)).write();
    let first = s.oci("run -b box first").ok().to_owned();
    bundle.set("/process/args", json!(["sleep", "100"])).write();
    s.oci_apart("run -d -b box box");
    let mut process = bundle.config["process"].clone();
    process["args"] = json!(args);
    fs::write(s.dir.join("process.json"), process.to_string()).expect("writable");
    let further = s.oci("exec -p process.json box").ok().to_owned();
    s.oci("delete -f box").ok();
    [first, further]
}

#[test]
fn users_groups_and_capabilities() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 7, "umask": 0o27, "additionalGids": [5, 6]}));
    bundle.set(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "CAP_CHOWN", "CAP_NET_RAW"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_CHOWN"],
        }),
    );
    for (nnp, user_namespace) in [(true, false), (false, false), (true, true)] {
        bundle.set("/process/noNewPrivileges", json!(nnp));
        if user_namespace {
            let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
            bundle.set("/linux/namespaces/-", json!({"type": "user"}));
            s.host("chown -R 100000:100000 box/rootfs").ok();
        }
        for status in both(&s, &mut bundle, &["cat", "/proc/self/status"]) {
            let of = |name| field(&status, name);
            assert_eq!([of("Uid"), of("Gid")], ["1000 1000 1000 1000", "7 7 7 7"]);
            assert_eq!(
                [of("Groups"), of("Umask"), of("NoNewPrivs")],
                ["5 6", "0027", &u8::from(nnp).to_string()]
            );
            // After the exec a user who is not root has what is ambient; CAP_KILL is in the bounding set alone.
            let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(of);
            let (chown, bounding) = ("0000000000000001", "0000000000002021");
            assert_eq!(sets, [chown, chown, chown, bounding, chown], "{nnp} {user_namespace}");
        }
    }
    s.end();
}

#[test]
fn capabilities_that_nobody_knows_are_a_warning() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["grep", "Cap", "/proc/self/status"]);
    let names = json!(["CAP_KILL", "CAP_FLY"]);
    bundle
        .set("/process/capabilities", json!({"bounding": names, "permitted": names, "effective": names}))
        .write();
    let output = s.oci("run -b box box");
    assert!(output.ok().contains("CapEff:\t0000000000000020"), "{output}");
    assert_eq!(output.stderr.lines().count(), 1, "{output}");
    assert!(output.stderr.contains("CAP_FLY") && !output.stderr.contains("CAP_KILL"), "{output}");
    s.end();
}

#[test]
fn limits_and_priorities() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    bundle.set(
        "/process/rlimits",
        json!([
            {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 18_446_744_073_709_551_615u64},
            {"type": "RLIMIT_RTPRIO", "soft": 0, "hard": 0},
        ]),
    );
    bundle.set("/process/scheduler", json!({"policy": "SCHED_BATCH", "nice": 5}));
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 6}));
    bundle.set("/process/oomScoreAdj", json!(500));
    let script = "cat /proc/self/limits /proc/self/oom_score_adj; cut -d')' -f2 /proc/self/stat; ionice";
    for user_namespace in [false, true] {
        if user_namespace {
            let ids = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
            bundle.set("/linux/namespaces/-", json!({"type": "user"}));
            s.host("chown -R 100000:100000 box/rootfs").ok();
        }
        for said in both(&s, &mut bundle, &["sh", "-c", script]) {
            let limit = |name: &str| {
                let line = said.lines().find(|line| line.starts_with(name)).expect(name);
                line[26..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(limit("Max open files"), ["100", "200"]);
            assert_eq!(limit("Max core file size"), ["0", "unlimited"]);
            let lines: Vec<&str> = said.lines().collect();
            let [adjust, stat, io] = lines[lines.len() - 3..] else { panic!("{said}") };
            let stat: Vec<&str> = stat.split_whitespace().collect();
            // Behind the name: the state is the first; nice and policy by proc_pid_stat(5).
            assert_eq!((adjust, stat[16], stat[38]), ("500", "5", "3"), "{said}");
            assert_eq!(io, "best-effort: prio 6");
        }
    }
    s.end();
}

/// Where the machine lets anybody in a group of his own be scheduled so.
#[test]
fn real_time_and_idle_scheduling() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    // Behind the name the state is the first: priority of a real-time process and policy by proc_pid_stat(5).
    let args = ["sh", "-c", "cut -d')' -f2 /proc/self/stat | cut -d' ' -f39,40; ionice"];
    bundle.set("/process/scheduler", json!({"policy": "SCHED_IDLE"}));
    bundle.set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0}));
    for said in both(&s, &mut bundle, &args) {
        assert_eq!(said, "0 5\nidle");
    }
    bundle.remove("/process/ioPriority");
    let real_time = json!({"policy": "SCHED_RR", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
    bundle.set("/process/scheduler", real_time).write();
    if s.host("chrt -r 7 true").code != 0
        || fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap_or(true)
    {
        return s.end();
    }
    bundle.set("/process/args", json!(["cat", "/proc/self/stat"])).write();
    let stat = s.oci("run -b box box").ok().to_owned();
    let words: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(words[37..39], ["7", "2"], "{stat}");
    s.end();
}

#[test]
fn personality_memory_and_processors() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    bundle.set("/linux/personality", json!({"domain": "LINUX32"}));
    bundle.set("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"}));
    let script =
        "uname -m; grep -m1 -o 'bind:0' /proc/self/numa_maps || [ ! -e /proc/self/numa_maps ] && echo bind:0";
    for said in both(&s, &mut bundle, &["sh", "-c", script]) {
        assert!(said.starts_with("i686") || cfg!(not(target_arch = "x86_64")), "{said}");
        assert!(said.contains("bind:0"), "{said}");
    }
    // Where the caller may run is no matter of the container's.
    bundle.set("/process/execCPUAffinity", json!({"final": "0"}));
    bundle.set("/process/args", json!(["sleep", "100"])).write();
    let cpus = |output: &str| field(output, "Cpus_allowed_list");
    s.oci_apart("run -d -b box box");
    let all = cpus(&fs::read_to_string("/proc/self/status").expect("it is there"));
    let status = |pid: &Value| fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert_eq!(cpus(&status(&s.oci_state("box")["pid"])), all);
    assert_eq!(cpus(s.oci("exec box cat /proc/self/status").ok()), "0");
    s.oci("delete -f box").ok();
    bundle.set("/process/execCPUAffinity", json!({"initial": "65535"})).write();
    s.oci_apart("run -d -b box box");
    s.oci("exec box true").fails(255, &["first cpu affinity"]);
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn the_environment() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    bundle.set("/process/env", json!(["A=1", "PATH=/no:/bin", "HOME=", "A=2"]));
    let passwd = s.dir.join("box/rootfs/etc/passwd");
    let home = |s: &Sandbox, bundle: &mut Bundle| both(s, bundle, &["env"]).map(|env| env.replace('\n', " "));
    fs::write(&passwd, "root:x:0:0::/root:/bin/sh\nweb:x:1000:1000::/srv/web:\n").expect("writable");
    for said in home(&s, &mut bundle) {
        assert_eq!(said, "PATH=/no:/bin A=2 HOME=/root");
    }
    bundle.set("/process/user/uid", json!(1000));
    assert!(home(&s, &mut bundle)[0].ends_with("HOME=/srv/web"));
    bundle.set("/process/user/uid", json!(1001));
    assert!(home(&s, &mut bundle)[0].ends_with("HOME=/"));
    // CVE-2024-9676: a FIFO in its place hangs whoever reads it; a link may not lead to a descriptor.
    for make in ["mkfifo box/rootfs/etc/passwd", "ln -s /proc/self/fd/0 box/rootfs/etc/passwd"] {
        fs::remove_file(&passwd).expect("it is there");
        s.host(make).ok();
        assert!(home(&s, &mut bundle)[1].ends_with("HOME=/"), "{make}");
    }
    s.end();
}

#[test]
fn programs_are_looked_up_before_the_start() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    fs::write(s.dir.join("box/rootfs/plain"), "no program").expect("writable");
    fs::create_dir(s.dir.join("box/rootfs/bin/dir")).expect("writable");
    for (word, named) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/no/such", "exec: \"/no/such\": stat /no/such: no such file or directory"),
        ("/plain", "exec: \"/plain\": permission denied"),
        ("/bin/dir", "exec: \"/bin/dir\""),
    ] {
        bundle.set("/process/args", json!([word])).write();
        s.oci("create -b box box").fails(1, &[named]);
        s.oci("state box").fails(1, &["box"]);
    }
    bundle.set("/process/args", json!(["/bin/sleep", "100"])).write();
    s.oci_apart("create -b box box");
    // That it is gone when it is to run is an error of the start.
    s.host("rm box/rootfs/bin/sleep").ok();
    s.oci("start box").fails(1, &["exec: \"/bin/sleep\""]);
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn the_working_directory() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    s.host("mkdir -m 700 box/rootfs/private; mkdir box/rootfs/own; chmod 700 box/rootfs/own; chown 1000 box/rootfs/own").ok();
    // As runc: root may enter it, and the program is there.
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000}));
    for cwd in ["/private", "/own", "/made/here"] {
        bundle.set("/process/cwd", json!(cwd));
        assert_eq!(both(&s, &mut bundle, &["pwd"]), [cwd, cwd]);
    }
    bundle.set("/process/cwd", json!("/etc/passwd")).write();
    s.oci("run -b box box").fails(1, &["etc/passwd"]);
    s.end();
}

#[test]
fn a_session_keyring() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "100"]);
    bundle.remove("/linux/maskedPaths").write();
    // A name that no other test has.
    let id = format!("keys-{}", std::process::id());
    let keys = || fs::read_to_string("/proc/keys").unwrap_or_default();
    if keys().is_empty() {
        return s.end();
    }
    let count = || keys().matches(&format!("_ses.{id}:")).count();
    s.oci_apart(&format!("run -d -b box {id}"));
    assert_eq!(count(), 1, "{}", keys());
    // That of the container, found by its name: there is one all the time.
    let seen = s.oci(&format!("exec {id} cat /proc/keys"));
    assert_eq!(seen.ok().matches(&format!("_ses.{id}:")).count(), 1, "{seen}");
    s.oci(&format!("delete -f {id}")).ok();
    s.oci_apart(&format!("run -d --no-new-keyring -b box {id}-not"));
    s.oci(&format!("exec {id}-not true")).ok();
    assert_eq!(keys().matches(&format!("_ses.{id}-not")).count(), 0);
    s.oci(&format!("delete -f {id}-not")).ok();
    s.end();
}

#[test]
fn seccomp_verdicts() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &[]);
    bundle.set(
        "/linux/seccomp",
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_S390X"],
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"],
            "syscalls": [
                {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122},
                {"names": ["rmdir"], "action": "SCMP_ACT_KILL_PROCESS"},
                {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 7, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}]},
            ],
        }),
    );
    let script = "mkdir /x; rmdir /tmp; echo $?; kill -4 $$ 2>&1; kill -0 $$ && echo alive; grep Seccomp: /proc/self/status";
    for nnp in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(nnp));
        for said in both(&s, &mut bundle, &["sh", "-c", &format!("exec 2>&1; {script}")]) {
            assert!(said.contains("mkdir: can't create directory '/x'"), "{said}");
            assert!(said.contains("quota exceeded") && said.contains("\n159\n"), "{said}");
            assert!(said.contains("not permitted") && said.contains("alive\nSeccomp:\t2"), "{said}");
        }
    }
    s.end();
}

/// The runtime needs no call behind the filter but these two.
#[test]
fn a_filter_that_lets_little_pass() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    // What a static busybox calls on its way to `true`.
    let program = [
        "arch_prctl",
        "brk",
        "exit_group",
        "getuid",
        "getrandom",
        "mprotect",
        "prctl",
        "prlimit64",
        "readlink",
        "readlinkat",
        "rseq",
        "set_robust_list",
        "set_tid_address",
        "setuid",
        "setgid",
        "getgid",
        "newfstatat",
        "mmap",
    ];
    let mut names = program.to_vec();
    names.extend(["execve", "capset"]);
    let allowed = json!([{"names": names, "action": "SCMP_ACT_ALLOW"}]);
    bundle.set("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_KILL_PROCESS", "syscalls": allowed}));
    for nnp in [false, true] {
        bundle.set("/process/noNewPrivileges", json!(nnp)).write();
        s.oci("run -b box box").ok();
        s.oci_apart("create -b box box");
        s.oci("start box").ok();
        s.oci_wait("box", "stopped");
        s.oci("delete box").ok();
    }
    s.end();
}

#[test]
fn an_agent_answers_system_calls() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "mkdir /x; echo $?; sleep 100"]);
    let path = s.dir.join("agent");
    let notify = |names: Value| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": path, "listenerMetadata": "words of the user's",
            "syscalls": [{"names": names, "action": "SCMP_ACT_NOTIFY"}],
        })
    };
    let quota = |_: &_| Answer::Error(rustix::io::Errno::DQUOT);
    bundle.set("/annotations", json!({"a": "b"}));
    for nnp in [true, false] {
        bundle.set("/process/noNewPrivileges", json!(nnp));
        bundle.set("/linux/seccomp", notify(json!(["mkdir", "mkdirat"]))).write();
        s.oci("create -b box box").fails(1, &["agent"]);
        let agent = Agent::listen(&path, quota);
        s.oci_apart("create -b box box");
        let pid = s.oci_state("box")["pid"].clone();
        s.oci("start box").ok();
        fs::remove_file(&path).expect("the agent's");
        // Each further process brings a listener of its own.
        let further = Agent::listen(&path, quota);
        let output = s.oci("exec box mkdir /y");
        assert!(output.code == 1 && output.stderr.contains("quota exceeded"), "{output}");
        s.oci("delete -f box").ok();
        fs::remove_file(&path).expect("the agent's");
        let state = agent.state();
        assert_eq!(state["fds"], json!(["seccompFd"]));
        assert_eq!((&state["pid"], &state["metadata"]), (&pid, &"words of the user's".into()));
        let told = &state["state"];
        assert_eq!((&told["id"], &told["status"], &told["pid"]), (&"box".into(), &"creating".into(), &pid));
        assert_eq!(told["annotations"], json!({"a": "b"}));
        let state = further.state();
        assert_eq!((&state["state"]["status"], &state["state"]["pid"]), (&"running".into(), &pid));
        assert_ne!(state["pid"], pid);
    }
    // The agent may be asked before the program runs: for what is left to do behind the filter.
    let agent = Agent::listen(&path, |_| Answer::Continue);
    bundle.set("/process/args", json!(["true"]));
    bundle.set("/linux/seccomp", notify(json!(["execve", "capset", "read", "close", "prctl"]))).write();
    s.oci("run -b box box").ok();
    agent.state();
    s.end();
}

#[test]
fn standard_descriptors_are_the_users_own() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "echo again >/dev/stdout; stat -L -c %u /dev/stdin"]);
    bundle.set("/process/user", json!({"uid": 1000, "gid": 1000})).write();
    assert_eq!(s.oci("run -b box box").ok(), "again\n0");
    s.end();
}
