//! What a container must not be able to do; the rules of docs/security.md, and the holes that they close.

use e2e::Sandbox;
use std::fs;

/// The 14 capabilities of a container, as a mask: CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP
/// NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP.
const DEFAULT: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

/// Fields of /proc/self/status inside a container, in this order.
fn status(s: &Sandbox, flags: &str, fields: &[&str]) -> Vec<String> {
    let output = s.corten(&format!("run --rm {flags} busybox cat /proc/self/status"));
    let value = |field: &&str| {
        let line = output.ok().lines().find_map(|l| l.strip_prefix(&format!("{field}:")));
        line.unwrap_or_else(|| panic!("no {field}")).trim().to_string()
    };
    fields.iter().map(value).collect()
}

#[test]
fn capabilities() {
    let s = Sandbox::with(&["busybox"]);
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    assert_eq!(status(&s, "", &sets), [NONE, DEFAULT, DEFAULT, DEFAULT, NONE]);
    assert_eq!(status(&s, "-u user", &sets), [NONE, NONE, NONE, DEFAULT, NONE], "CVE-2022-24769");
    assert_eq!(status(&s, "--cap-drop ALL", &sets), [NONE; 5]);
    let one = "0000000000000400";
    assert_eq!(status(&s, "--cap-drop ALL --cap-add NET_BIND_SERVICE", &sets), [NONE, one, one, one, NONE]);
    assert_eq!(status(&s, "--cap-drop mknod --cap-add CAP_SYS_PTRACE", &["CapEff"]), ["00000000a00c25fb"]);
    let all = u64::from_str_radix(&status(&s, "--cap-add ALL", &["CapEff"])[0], 16).expect("a mask");
    assert!(all.count_ones() >= 39, "{all:x}");
    s.corten("run --rm --cap-add FLY busybox true").fails(125, &["FLY"]);
    s.end();
}

#[test]
fn seccomp_and_no_new_privileges() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(status(&s, "", &["Seccomp", "NoNewPrivs"]), ["2", "0"]);
    assert_eq!(status(&s, "--security-opt no-new-privileges", &["Seccomp", "NoNewPrivs"]), ["2", "1"]);
    assert_eq!(status(&s, "--security-opt seccomp=unconfined", &["Seccomp"]), ["0"]);
    let refused = s.corten("run --rm busybox unshare -m true");
    assert!(refused.code != 0 && refused.stderr.contains("not permitted"), "{refused}");
    s.corten("run --rm --security-opt bogus busybox true").fails(125, &["bogus"]);
    s.corten("run --rm --security-opt seccomp=/nosuch.json busybox true").fails(125, &["/nosuch.json"]);
    s.end();
}

#[test]
fn the_hosts_keys_stay_outside() {
    // Without a session keyring of its own a program finds the keys of whoever started the engine.
    let s = Sandbox::with(&["busybox"]);
    let id = s.corten("run -d --name box --userns host busybox sleep 100").ok().to_owned();
    let keys = fs::read_to_string("/proc/keys").unwrap_or_default();
    // A kernel without keys has none to keep outside.
    let own = || fs::read_to_string("/proc/keys").unwrap_or_default().matches(&format!("_ses.{id}")).count();
    assert!(keys.is_empty() || own() == 1, "{keys}");
    s.corten("exec box true").ok();
    assert!(own() <= 1, "exec has joined another keyring");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn a_seccomp_profile_of_the_users() {
    let s = Sandbox::with(&["busybox"]);
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}"#;
    fs::write(s.dir.join("profile.json"), profile).expect("writable");
    let refused = s.corten("run --rm --security-opt seccomp=profile.json busybox mkdir /x");
    assert!(refused.code == 1 && refused.stderr.contains("Permission denied"), "{refused}");
    s.end();
}

#[test]
fn apparmor() {
    let s = Sandbox::with(&["busybox"]);
    if !fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y")) {
        s.corten("run --rm --security-opt apparmor=acme busybox true")
            .fails(125, &["'acme'", "AppArmor does not run"]);
        s.corten("run --rm --security-opt apparmor=unconfined busybox true").ok();
        return s.end();
    }
    s.corten("run --rm --security-opt apparmor=acme busybox true").fails(125, &["apparmor profile"]);
    if s.host("command -v apparmor_parser && test -e /sys/kernel/security/apparmor/.replace").code == 0 {
        let profile = "profile corten-test flags=(attach_disconnected) { file, capability, signal, deny /etc/group r, }";
        fs::write(s.dir.join("profile"), profile).expect("writable");
        s.host("apparmor_parser -r profile").ok();
        let own = "cat /proc/self/attr/current; cat /etc/group";
        for flags in ["", "--userns host", "--security-opt no-new-privileges"] {
            let output = s.corten(&format!(
                "run --rm --security-opt apparmor=corten-test {flags} busybox sh -c '{own}'"
            ));
            assert!(output.stdout.trim() == "corten-test (enforce)" && output.code == 1, "{output}");
        }
        s.detached("--name box --security-opt apparmor=corten-test busybox sleep 100");
        assert_eq!(s.corten("exec box cat /proc/self/attr/current").ok(), "corten-test (enforce)");
        s.corten("rm -f box").ok();
        s.host("apparmor_parser -R profile").ok();
    }
    s.end();
}

#[test]
fn an_agent_answers_system_calls() {
    use kernel::seccomp::notify::Answer;
    let s = Sandbox::with(&["busybox"]);
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "PATH", "listenerMetadata": "m",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let write = |path: &str, profile: &str| {
        fs::write(s.dir.join("profile.json"), profile.replace("PATH", path)).expect("writable");
    };
    let path = s.dir.join("agent");
    write(&path.display().to_string(), profile);
    let run = "run --rm --security-opt seccomp=profile.json --name box busybox mkdir /x";
    // Without an agent the container does not run at all.
    s.corten(run).fails(125, &["agent", "o such file"]);
    let agent = e2e::Agent::listen(&path, |_| Answer::Error(rustix::io::Errno::DQUOT));
    let output = s.corten(run);
    assert!(output.code == 1 && output.stderr.contains("quota exceeded"), "{output}");
    let state = agent.state();
    assert_eq!((&state["metadata"], &state["fds"]), (&"m".into(), &serde_json::json!(["seccompFd"])));
    assert_eq!(state["state"]["annotations"]["name"], "box");
    assert!(
        state["pid"].as_i64().is_some_and(|pid| pid > 1) && state["pid"] == state["state"]["pid"],
        "{state}"
    );
    write("", profile);
    s.corten(run).fails(125, &["seccomp profile: listenerMetadata: is given without listenerPath"]);
    write("", &profile.replace(r#""m""#, r#""""#));
    s.corten(run).fails(125, &["seccomp profile: listenerPath: is missing"]);
    write("/x", &profile.replace("mkdirat", "write"));
    s.corten(run).fails(125, &["SCMP_ACT_NOTIFY cannot be used for write"]);
    s.end();
}

#[test]
fn masked_and_read_only_paths() {
    let s = Sandbox::with(&["busybox"]);
    let masked = "for p in acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats; do
          p=/proc/$p
          if [ -d $p ]; then [ -z \"$(ls $p)\" ] || echo $p is seen; elif [ -e $p ]; then [ -z \"$(head -c 10 $p)\" ] || echo $p is read; fi
        done
        for p in /sys/firmware /sys/devices/virtual/powercap; do [ -z \"$(ls $p 2>/dev/null)\" ] || echo $p is seen; done";
    assert_eq!(s.corten(&format!("run --rm busybox sh -c '{masked}'")).ok(), "");
    let read_only = "for p in bus fs irq sys sysrq-trigger; do
          [ ! -e /proc/$p ] || grep -q \" /proc/$p .* ro,\" /proc/mounts || echo /proc/$p is writable
        done
        grep -q \" /sys sysfs ro,\" /proc/mounts || echo /sys is writable
        echo x 2>/dev/null >/proc/sysrq-trigger && echo sysrq; true";
    assert_eq!(s.corten(&format!("run --rm busybox sh -c '{read_only}'")).ok(), "");
    s.end();
}

#[test]
fn no_descriptor_is_inherited() {
    // CVE-2024-21626: a descriptor of a host directory leaked into the container.
    let s = Sandbox::with(&["busybox"]);
    // 0, 1, 2 and the directory that ls reads.
    let own = "0\n1\n2\n3";
    assert_eq!(s.corten("run --rm busybox ls /proc/self/fd").ok(), own);
    // The same when the caller has left descriptors open without close-on-exec; and with a terminal, an init, the host's ids.
    s.detached("--name box busybox sleep 100");
    let variables = [
        ("ROOT", s.scope.root.display().to_string()),
        ("STATE", s.scope.state.display().to_string()),
        ("CGROUP_PARENT", s.scope.cgroup_parent.clone()),
    ];
    let variables: String = variables.iter().map(|(name, value)| format!("CORTEN_{name}={value} ")).collect();
    let binary = s.command("").get_program().display().to_string();
    for command in
        ["run --rm busybox", "run --rm --init busybox", "run --rm --userns host busybox", "exec box"]
    {
        let script = format!("exec 7</etc 8</; {variables} {binary} {command} ls /proc/self/fd");
        assert_eq!(s.host(&script).ok(), own, "{command}");
    }
    assert_eq!(s.pty("run --rm -it busybox ls /proc/self/fd").wait().stdout.split_whitespace().count(), 4);
    s.corten("rm -f box").ok();
    s.corten("run --rm -w /proc/self/fd/7 busybox true").exits(125);
    s.end();
}

#[test]
fn the_engines_binary_is_out_of_reach() {
    // CVE-2019-5736: a container overwrote its runtime by /proc/self/exe.
    let s = Sandbox::with(&["busybox"]);
    let binary = s.command("").get_program().to_owned();
    let before = fs::read(&binary).expect("readable");
    fs::write(s.dir.join("x"), "#!/proc/self/exe\n").expect("writable");
    s.host("chmod 755 x").ok();
    for flags in ["", "--userns host", "--privileged"] {
        let write = "sh -c 'cat /bin/true >/proc/1/exe || echo refused'";
        let output = s.corten(&format!("run --rm --init {flags} busybox {write}"));
        assert!(output.stdout.contains("refused"), "{flags}: {output}");
        // What runs then is the engine, in the container: it knows no such command.
        let output = s.corten(&format!("run --rm {flags} -v ./x:/x busybox /x"));
        assert!(output.code != 0 && output.stderr.contains("unknown command"), "{flags}: {output}");

        // While the engine is a program of the container, somebody opens it, and writes when nobody runs it any more.
        s.detached(&format!("--name box {flags} busybox sleep 100"));
        let mut running = s.start_fed("exec -i box /proc/self/exe load");
        let find = || s.processes().into_iter().find(|(_, line)| line.trim_end() == "/proc/self/exe load");
        e2e::wait_until("the engine to run in the container", 10, || find().is_some());
        let pid = find().expect("it was there").0;
        let script = "for p in /proc/[0-9]*; do grep -q load $p/cmdline && echo x >>$p/exe; done; true";
        let refused = s.corten(&format!("exec box sh -c '{script}'"));
        assert!(refused.stderr.contains("can't create"), "{refused}");
        let held = fs::File::open(format!("/proc/{pid}/exe")).expect("root can open it");
        running.close_input();
        running.wait();
        s.corten("rm -f box").ok();
        if flags.is_empty() {
            // The test is root on the host, nobody in that container is: the owner of the file kept it out.
            assert!(refused.stderr.contains("Permission denied"), "{refused}");
            continue;
        }
        let flags_of_mount = rustix::fs::fstatvfs(&held).expect("a file").f_flag;
        assert!(
            flags_of_mount.contains(rustix::fs::StatVfsMountFlags::RDONLY),
            "{flags}: its mount can be written"
        );
    }
    assert!(fs::read(&binary).expect("readable") == before, "the binary has changed");
    s.end();
}

#[test]
fn links_in_the_image_do_not_lead_outside() {
    // CVE-2021-30465, CVE-2019-19921, CVE-2025-31133, CVE-2026-41579: a mount point in the image is a link.
    let s = Sandbox::new();
    let root = s.dir.join("rootfs");
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).expect("writable");
    for target in ["data", "proc", "dev", "sys", "etc"] {
        let _ = fs::remove_dir_all(&root);
        e2e::images::unpack("busybox", &root);
        let place = root.join(target);
        let _ = fs::remove_dir_all(&place);
        std::os::unix::fs::symlink(&outside, &place).expect("writable");
        let output = s.corten("run --rm --rootfs -v /etc:/data/x:ro rootfs /bin/true");
        assert!([0, 125].contains(&output.code), "{output}");
        let inside = fs::read_dir(&outside).expect("readable").count();
        assert_eq!(inside, 0, "a link at /{target} led outside");
        fs::remove_file(place).ok();
    }
    s.end();
}

#[test]
fn state_is_private() {
    // CVE-2021-41091: the data root could be entered by everybody.
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 100");
    for directory in [&s.scope.root, &s.scope.state] {
        let mode = fs::metadata(directory).map_or(0o700, |m| m.permissions().mode() & 0o777);
        assert_eq!(mode, 0o700, "{}", directory.display());
    }
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn privileged_containers() {
    let s = Sandbox::with(&["busybox"]);
    let [seccomp, effective] = &status(&s, "--privileged", &["Seccomp", "CapEff"])[..] else {
        panic!("two fields")
    };
    assert_eq!(seccomp, "0");
    assert!(u64::from_str_radix(effective, 16).is_ok_and(|m| m.count_ones() >= 39), "{effective}");
    let script = "grep -q \" /sys sysfs rw,\" /proc/mounts && mount -t tmpfs x /tmp && find /dev -type b -o -type c | wc -l";
    let devices = s.corten(&format!("run --rm --privileged busybox sh -c '{script}'"));
    assert!(devices.ok().parse::<u32>().is_ok_and(|n| n > 20), "{devices}");
    assert_eq!(devices.stderr.matches("--privileged implies").count(), 1, "told once: {devices}");
    s.end();
}
