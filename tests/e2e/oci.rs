//! The runtime on OCI bundles: the life of a container, hooks, mounts, namespaces, devices.

use e2e::{Bundle, Sandbox, receive_descriptor, wait_until};
use serde_json::json;
use std::fs;

#[test]
fn a_life() {
    let s = Sandbox::new();
    s.bundle("box", &["sh", "-c", "echo ran; sleep 100"]);
    s.oci_apart("create --bundle box --pid-file pid box");
    let state = s.oci_state("box");
    assert_eq!((state["status"].as_str(), state["id"].as_str()), (Some("created"), Some("box")));
    assert_eq!(state["pid"].to_string(), fs::read_to_string(s.dir.join("pid")).unwrap());
    assert_eq!(state["bundle"].as_str(), s.dir.join("box").to_str());
    s.oci("create --bundle box box").fails(1, &["box", "exists"]);
    s.oci("start box").ok();
    s.oci_wait("box", "running");
    s.oci("start box").fails(1, &["box", "running"]);
    s.oci("delete box").fails(1, &["box", "running"]);
    assert!(s.oci("list").ok().contains("running"));
    assert_eq!(s.oci("list -q").ok(), "box");
    s.oci("kill box KILL").ok();
    s.oci_wait("box", "stopped");
    s.oci("kill box TERM").fails(1, &["container not running"]);
    s.oci("delete box").ok();
    s.oci("state box").fails(1, &["container does not exist", "box"]);
    s.oci("delete --force box").ok();
    s.end();
}

#[test]
fn what_is_explained_is_not_done_and_can_be_typed() {
    let s = Sandbox::new();
    s.bundle("box", &["echo", "by", "hand"]);
    // On a machine on which the runtime was never called.
    let script = s.oci("run --explain=sh --bundle box box").ok().to_owned();
    let left = fs::read_dir(&s.scope.oci).into_iter().flatten().count();
    assert_eq!(left, 0, "it made something");
    // The usual bundle's program may not change its root.
    fs::write(s.dir.join("script"), script).unwrap();
    assert_eq!(s.host("bash script").ok(), "by hand");
    assert_eq!(s.oci("run --bundle box box").ok(), "by hand");
    s.end();
}

#[test]
fn the_programs_code_and_output_are_those_of_run() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "echo out; echo err >&2; exit 7"]);
    let output = s.oci("run --bundle box box");
    assert_eq!((output.code, output.stdout.trim(), output.stderr.trim()), (7, "out", "err"));
    bundle.set("/process/args", json!(["sh", "-c", "kill -9 $$"])).write();
    // The kernel spares process 1.
    assert_eq!(s.oci("run --bundle box box").code, 0);
    bundle.set("/process/args", json!(["nosuch"])).write();
    s.oci("run --bundle box box").fails(1, &["nosuch", "executable file not found in $PATH"]);
    s.oci("create --bundle box box").fails(1, &["nosuch", "executable file not found in $PATH"]);
    s.end();
}

#[test]
fn a_container_that_was_never_started_is_removed() {
    let s = Sandbox::new();
    s.bundle("box", &["true"]);
    s.oci_apart("create --bundle box box");
    s.oci("delete box").ok();
    s.end();
}

#[test]
fn a_container_that_is_about_to_end_is_removed() {
    let s = Sandbox::new();
    s.bundle("box", &["sleep", "0.05"]);
    let mut removed = false;
    // One life is enough; a busy machine may be late.
    for _ in 0..5 {
        s.oci_apart("create --bundle box box");
        s.oci("start box").ok();
        removed = removed || s.oci("delete box").code == 0;
        s.oci("delete --force box").ok();
    }
    assert!(removed);
    s.end();
}

/// A hook at each point; each appends its name and what it was told to a file.
fn hooks(bundle: &mut Bundle, file: &str) {
    for point in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let script = format!("(echo {point} $(cat)) >>{file}");
        let hook =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"] }]);
        bundle.set(&format!("/hooks/{point}"), hook);
    }
}

#[test]
fn hooks_run_in_their_order_and_are_told_the_state() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "100"]);
    let file = s.dir.join("hooks");
    hooks(&mut bundle, file.to_str().unwrap());
    // In the container its own root is all there is.
    let inside = json!([{ "path": "/bin/sh", "args": ["sh", "-c", "echo startContainer $(cat) >/hook"] }]);
    bundle.set("/hooks/startContainer", inside).write();
    s.oci_apart("create --bundle box box");
    let told = |line: &str| -> (String, serde_json::Value) {
        let (point, state) = line.split_once(' ').expect("a state");
        (point.to_owned(), serde_json::from_str(state).expect(state))
    };
    let lines = || fs::read_to_string(&file).unwrap().lines().map(told).collect::<Vec<_>>();
    let pid = s.oci_state("box")["pid"].clone();
    let created = lines();
    let points: Vec<&str> = created.iter().map(|(point, _)| point.as_str()).collect();
    assert_eq!(points, ["prestart", "createRuntime", "createContainer"]);
    for ((point, state), status) in created.iter().zip(["created", "creating", "creating"]) {
        let told = (&state["status"], &state["pid"], &state["id"]);
        assert_eq!(told, (&json!(status), &pid, &json!("box")), "{point}");
    }
    s.oci("start box").ok();
    let inside = fs::read_to_string(bundle.dir.join("rootfs/hook")).unwrap();
    assert_eq!(told(inside.trim()).1["status"], "created");
    assert_eq!(
        lines().last().map(|(point, state)| (point.clone(), state["status"].clone())),
        Some(("poststart".to_owned(), json!("running")))
    );
    s.oci("delete --force box").ok();
    let (point, state) = lines().pop().unwrap();
    assert_eq!((point.as_str(), &state["status"]), ("poststop", &json!("stopped")));
    assert!(state.get("pid").is_none(), "{state}");
    s.end();
}

#[test]
fn a_hook_that_fails_stops_the_creation() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let stop = s.dir.join("stopped");
    let hook = |script: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    bundle.set("/hooks/poststop", hook(&format!("echo >{}", stop.display())));
    for point in ["prestart", "createRuntime", "createContainer"] {
        bundle.set(&format!("/hooks/{point}"), hook("exit 3")).write();
        s.oci("create --bundle box box").fails(1, &[point, "exit status 3"]);
        assert!(stop.exists(), "poststop after {point}");
        fs::remove_file(&stop).unwrap();
        bundle.remove(&format!("/hooks/{point}"));
    }
    bundle.set(
        "/hooks/createRuntime",
        json!([{ "path": "/bin/sleep", "args": ["sleep", "100"], "timeout": 1 }]),
    );
    bundle.write();
    s.oci("create --bundle box box").fails(1, &["createRuntime", "too long"]);
    bundle.remove("/hooks/createRuntime");
    bundle.set("/hooks/startContainer", hook("exit 4")).write();
    s.oci_apart("create --bundle box box");
    s.oci("start box").fails(1, &["startContainer", "exit status 4"]);
    s.oci_wait("box", "stopped");
    s.oci("delete box").ok();
    bundle.remove("/hooks/startContainer");
    bundle.set("/hooks/poststart", hook("exit 5")).set("/process/args", json!(["sleep", "100"])).write();
    s.oci("run --bundle box box").fails(1, &["poststart", "exit status 5"]);
    s.oci_apart("create --bundle box box");
    s.oci("start box").fails(1, &["poststart", "exit status 5"]);
    s.oci_wait("box", "stopped");
    s.oci("delete box").ok();
    // Only one that runs when all is over stops nothing.
    bundle.remove("/hooks/poststart");
    bundle.set("/hooks/poststop", hook("exit 6")).write();
    s.oci_apart("create --bundle box box");
    let output = s.oci("delete box");
    assert!(output.code == 0 && output.stderr.contains("poststop"), "{output}");
    s.end();
}

#[test]
fn namespaces_are_new_or_joined() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "100"]);
    bundle.set("/linux/namespaces/-", json!({ "type": "time" }));
    bundle.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1_000_000 } })).write();
    s.oci_apart("run --detach --bundle box box");
    let pid = s.oci_state("box")["pid"].to_string();
    let link = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["pid", "net", "ipc", "uts", "mnt", "time"] {
        assert_ne!(link(&pid, kind), link("self", kind), "{kind}");
    }
    let mut other = s.bundle("other", &["sh", "-c", "cut -d. -f1 /proc/uptime; hostname; cat /proc/1/comm"]);
    let path = |kind: &str| format!("/proc/{pid}/ns/{kind}");
    let spaces = [("pid", "pid"), ("network", "net"), ("uts", "uts"), ("time", "time")];
    let mut spaces: Vec<_> = spaces.map(|(typ, kind)| json!({ "type": typ, "path": path(kind) })).into();
    spaces.push(json!({ "type": "mount" }));
    other.set("/linux/namespaces", json!(spaces)).remove("/hostname").write();
    let output = s.oci("run --bundle other other");
    let lines: Vec<&str> = output.ok().lines().collect();
    assert!(lines[0].parse::<u64>().unwrap() > 1_000_000, "{output}");
    assert_eq!(lines[1..], ["bundle", "sleep"]);
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn a_user_namespace_maps_ids() {
    let s = Sandbox::new();
    let script =
        "id -u; cat /proc/self/uid_map; stat -c %u /data /dev/null; echo x >/dev/null && mknod /tmp/n c 1 3";
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    let data = s.dir.join("data");
    fs::create_dir(&data).unwrap();
    let map = json!([{ "containerID": 0, "hostID": 200_000, "size": 65_536 }]);
    bundle.set("/linux/namespaces/-", json!({ "type": "user" }));
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    bundle.set("/mounts/-", json!({ "destination": "/data", "source": data, "options": ["bind", "idmap"] }));
    bundle.write();
    s.host("chown -R 200000:200000 box/rootfs").ok();
    let output = s.oci("run --bundle box box");
    let words: Vec<&str> = output.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "200000", "65536", "0", "0"], "{output}");
    assert!(output.stderr.contains("not permitted"), "a device was made: {output}");
    s.end();
}

/// `idmap` is for one mount, `ridmap` for all below it, too.
#[test]
fn a_tree_is_mapped_as_far_as_its_option_says() {
    let s = Sandbox::new();
    let mut bundle =
        s.bundle("box", &["stat", "-c", "%u", "/one", "/one/below", "/all", "/all/below", "/own/below"]);
    for dir in ["source/below", "other"] {
        fs::create_dir_all(s.dir.join(dir)).unwrap();
    }
    s.host("chown 0 source && chown 7 other && mount --bind other source/below").ok();
    let source = s.dir.join("source");
    let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 65_536 }]);
    bundle.set("/linux/namespaces/-", json!({ "type": "user" }));
    bundle.set("/linux/uidMappings", map(200_000)).set("/linux/gidMappings", map(200_000));
    let mount =
        |to: &str, option: &str| json!({ "destination": to, "source": source, "options": ["rbind", option] });
    bundle.set("/mounts/-", mount("/one", "idmap")).set("/mounts/-", mount("/all", "ridmap"));
    // By ranges of its own: 100 more than the container's.
    let mut own = mount("/own", "ridmap");
    (own["uidMappings"], own["gidMappings"]) = (map(200_100), map(200_100));
    bundle.set("/mounts/-", own).write();
    s.host("chown -R 200000:200000 box/rootfs").ok();
    let output = s.oci("run --bundle box box");
    s.host("umount source/below").ok();
    assert_eq!(
        output.ok().split_whitespace().collect::<Vec<_>>(),
        ["0", "65534", "0", "7", "107"],
        "{output}"
    );
    s.end();
}

#[test]
fn mounts_have_their_flags() {
    let s = Sandbox::new();
    let script =
        "grep -E ' /(a|b|c|d|e) | /a/below ' /proc/self/mountinfo | sed 's/ - .*//' | cut -d' ' -f5-; ls /c";
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    let source = s.dir.join("source");
    fs::create_dir_all(source.join("below")).unwrap();
    s.host("mount -t tmpfs tmpfs source/below").ok();
    fs::create_dir_all(bundle.dir.join("rootfs/c")).unwrap();
    fs::write(bundle.dir.join("rootfs/c/file"), "x").unwrap();
    let bind =
        |to: &str, options: &[&str]| json!({ "destination": to, "source": source, "options": options });
    bundle.set("/mounts/-", bind("/a", &["rbind", "rro", "nosuid", "rprivate"]));
    bundle.set("/mounts/-", bind("/b", &["bind", "ro", "noexec", "nodev", "unbindable"]));
    let tmpfs = json!({ "destination": "/c", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "noatime", "size=1m"] });
    bundle.set("/mounts/-", tmpfs);
    let relative = json!({ "destination": "/d", "source": "rootfs", "options": ["bind", "shared"] });
    bundle.set("/mounts/-", relative).write();
    let output = s.oci("run --bundle box box");
    s.host("umount source/below").ok();
    let lines: Vec<&str> = output.ok().lines().collect();
    let of = |place: &str| *lines.iter().find(|l| l.starts_with(&format!("{place} "))).expect(place);
    assert!(of("/a").contains("ro,nosuid") && of("/a/below").contains("ro,"), "{output}");
    assert!(!of("/a/below").contains("nosuid"), "{output}");
    assert!(of("/b").contains("ro,nodev,noexec") && of("/b").contains("unbindable"), "{output}");
    assert!(of("/c").contains("noatime") && of("/d").contains("shared:"), "{output}");
    assert_eq!(lines.last(), Some(&"file"));
    s.end();
}

#[test]
fn devices_are_made() {
    let s = Sandbox::new();
    let mut bundle =
        s.bundle("box", &["sh", "-c", "stat -c '%F %t:%T %a %u' /dev/fuse /dev/net/tun /other /pipe"]);
    bundle.set(
        "/linux/devices",
        json!([
            { "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600 },
            { "path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200, "uid": 5 },
            { "path": "/other", "type": "b", "major": 7, "minor": 3, "fileMode": 0o640 },
            { "path": "/pipe", "type": "p", "fileMode": 0o622 },
        ]),
    );
    bundle.write();
    let output = s.oci("run --bundle box box");
    let wanted = "character special file a:e5 600 0\ncharacter special file a:c8 666 5\nblock special file 7:3 640 0\nfifo 0:0 622 0";
    assert_eq!(output.ok(), wanted);
    s.end();
}

#[test]
fn the_terminals_master_goes_to_the_socket() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "tty; stat -c %t:%T /dev/console"]);
    bundle.set("/process/terminal", json!(true)).write();
    s.oci("create --bundle box box").fails(1, &["--console-socket"]);
    s.oci("create --bundle box --console-socket nosuch box").fails(1, &["nosuch"]);
    let mut pty = s.oci_pty("run --bundle box box");
    pty.expect("/dev/pts/0");
    assert_eq!(pty.wait().code, 0);
    s.end();
}

#[test]
fn descriptors_are_kept_only_where_asked_for() {
    let s = Sandbox::new();
    s.bundle("box", &["sh", "-c", "ls /proc/self/fd | sort -n | tr '\\n' ' '"]);
    let line = |keep: &str| {
        let corten = e2e::binary();
        let root = s.scope.oci.display().to_string();
        format!(
            "exec 3</dev/null 4</dev/null 5</dev/null; {} oci --root {root} run {keep} -b box box",
            corten.display()
        )
    };
    // 3 is the directory that ls reads.
    assert_eq!(s.host(&line("")).ok().trim(), "0 1 2 3");
    assert_eq!(s.host(&line("--preserve-fds 2")).ok().trim(), "0 1 2 3 4 5");
    s.end();
}

/// As systemd passes sockets on: see sd_listen_fds(3).
#[test]
fn descriptors_of_an_activated_service_are_the_programs() {
    let s = Sandbox::new();
    let script = "ls /proc/self/fd | sort -n | tr '\\n' ' '; echo $LISTEN_FDS $LISTEN_PID";
    s.bundle("box", &["sh", "-c", script]);
    let line = |before: &str, flags: &str| {
        let (corten, root) = (e2e::binary().display().to_string(), s.scope.oci.display().to_string());
        s.host(&format!("{before} exec {corten} oci --root {root} run {flags} -b box box"))
    };
    // The last is the directory that ls reads.
    let opened = "exec 3</dev/null 4</dev/null 5</dev/null; export LISTEN_FDS=2;";
    assert_eq!(line(opened, "").ok(), "0 1 2 3 4 5 2 1");
    assert_eq!(line(opened, "--preserve-fds 1").ok(), "0 1 2 3 4 5 6 2 1");
    line("", "--preserve-fds 90").fails(1, &["--preserve-fds", "not open"]);
    s.end();
}

#[test]
fn a_hold_on_the_first_process_goes_to_the_socket() {
    let s = Sandbox::new();
    s.bundle("box", &["sleep", "1000"]);
    let socket = std::os::unix::net::UnixListener::bind(s.dir.join("pidfd")).expect("a path");
    for command in ["create", "run --detach"] {
        s.oci_apart(&format!("{command} --bundle box --pidfd-socket pidfd box"));
        let (name, pidfd) = receive_descriptor(&socket.accept().expect("a connection").0);
        assert_eq!(name, b"standard");
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("it is a process");
        s.oci_wait("box", "stopped");
        s.oci("delete box").ok();
    }
    s.oci("create --bundle box --pidfd-socket nosuch box").fails(1, &["nosuch"]);
    s.oci("state box").fails(1, &["box"]);
    s.end();
}

#[test]
fn debug_tells_where_exec_begins() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "100"]);
    bundle.set("/process/execCPUAffinity", json!({ "initial": "0" })).write();
    s.oci_apart("create --bundle box box");
    s.oci("start box").ok();
    let output = s.oci("--debug exec box true");
    assert!(output.code == 0 && output.stderr.contains("affinity: 0x1"), "{output}");
    assert_eq!(s.oci("exec box true").stderr, "");
    s.oci("delete --force box").ok();
    s.end();
}

#[test]
fn a_new_network_has_a_loopback() {
    let s = Sandbox::new();
    s.bundle("box", &["sh", "-c", "nc -l -p 80 -e echo heard & sleep 0.2; nc 127.0.0.1 80"]);
    assert_eq!(s.oci("run --bundle box box").ok(), "heard");
    s.end();
}

#[test]
fn links_move_into_the_container() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "ip -o addr show dev inner"]);
    bundle.set("/linux/netDevices", json!({ "outer7": { "name": "inner" } })).write();
    s.host("ip link add outer7 type veth peer name outer8 && ip addr add 10.99.0.7/24 dev outer7").ok();
    let output = s.oci("run --bundle box box");
    assert!(output.ok().contains("10.99.0.7/24"), "{output}");
    s.oci("run --bundle box box").fails(1, &["outer7"]);
    s.end();
}

#[test]
fn sysctls_are_those_of_namespaces() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax"]);
    bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1", "kernel.msgmax": "4321" })).write();
    assert_eq!(s.oci("run --bundle box box").ok(), "1\n4321");
    // Without /proc too.
    bundle.set("/process/args", json!(["true"])).remove("/mounts/0").write();
    s.oci("run --bundle box box").ok();
    s.end();
}

#[test]
fn a_killed_create_leaves_nothing_that_delete_does_not_find() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let hook = json!([{ "path": "/bin/sleep", "args": ["sleep", "100"] }]);
    bundle.set("/hooks/createRuntime", hook).write();
    let running = s.oci_start("create --bundle box box");
    wait_until("the hook to run", 20, || s.oci("list -q").stdout.contains("box"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    running.signal(rustix::process::Signal::KILL);
    running.wait();
    s.oci("delete --force box").ok();
    s.end();
}
