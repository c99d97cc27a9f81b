//! Hostile root file systems under a trusted config.json: each test bears the number of the hole that others had.

use e2e::peers::uncorrected;
use e2e::{Bundle, Sandbox, wait_until};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;

/// Debian 12's. Of other versions nothing is claimed.
const RUNC: &str = "1.1.5+ds1-1+deb12u1";

fn rootfs(bundle: &Bundle) -> std::path::PathBuf {
    bundle.dir.join("rootfs")
}

/// Puts a link to `to` where the root file system has something else.
fn replace(bundle: &Bundle, name: &str, to: &str) {
    let path = rootfs(bundle).join(name);
    if path.is_dir() {
        fs::remove_dir_all(&path).unwrap();
    } else {
        let _ = fs::remove_file(&path);
    }
    symlink(to, path).unwrap();
}

#[test]
fn cve_2019_19921_proc_that_is_a_link() {
    let s = Sandbox::new();
    let bundle = s.bundle("box", &["true"]);
    replace(&bundle, "proc", "/tmp");
    s.oci("run -b box box").fails(1, &["/proc"]);
    // Neither by way of a volume (CVE-2023-27561), nor the other one.
    let mut bundle = s.bundle("other", &["true"]);
    let volume = json!({ "destination": "/volume", "source": s.dir.join("volume"), "options": ["bind"] });
    bundle.config["mounts"].as_array_mut().unwrap().insert(0, volume);
    bundle.write();
    fs::create_dir_all(s.dir.join("volume/fake")).unwrap();
    for name in ["proc", "sys"] {
        replace(&bundle, name, "/volume/fake");
        s.oci("run -b other box").fails(1, &[&format!("/{name}")]);
        fs::remove_file(rootfs(&bundle).join(name)).unwrap();
    }
    s.end();
}

#[test]
fn cve_2026_41579_dev_that_is_a_link() {
    let s = Sandbox::new();
    let bundle = s.bundle("box", &["true"]);
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    replace(&bundle, "dev", outside.to_str().unwrap());
    // Nor where it leads inside the root.
    fs::create_dir_all(rootfs(&bundle).join(outside.strip_prefix("/").unwrap())).unwrap();
    s.oci("run -b box box").fails(1, &["/dev"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    s.end();
}

#[test]
fn cve_2021_30465_mount_targets_that_lead_out() {
    let s = Sandbox::new();
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    let mut bundle = s.bundle("box", &["sh", "-c", "cat /proc/self/mountinfo"]);
    symlink(&outside, rootfs(&bundle).join("link")).unwrap();
    symlink("../../../../..", rootfs(&bundle).join("up")).unwrap();
    fs::create_dir_all(rootfs(&bundle).join(outside.strip_prefix("/").unwrap())).unwrap();
    for target in ["/link/made", "/up/etc/made"] {
        bundle.set("/mounts/-", json!({ "destination": target, "type": "tmpfs", "source": "tmpfs" }));
    }
    bundle.write();
    let output = s.oci("run -b box box");
    // Where it leads inside the root.
    assert!(output.ok().contains(&format!(" {}/made ", outside.display())), "{output}");
    assert!(output.stdout.contains(" /etc/made "), "{output}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "CVE-2024-45310");
    s.end();
}

#[test]
fn cve_2024_21626_a_working_directory_that_is_a_descriptor() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "pwd; ls ../../../../etc/hostname; ls ../../.."]);
    for fd in 3..12 {
        bundle.set("/process/cwd", json!(format!("/proc/self/fd/{fd}"))).write();
        let output = s.oci("run -b box box");
        assert_ne!(output.code, 0, "descriptor {fd}: {output}");
        assert_eq!(output.stdout, "", "descriptor {fd}");
    }
    bundle.set("/process/cwd", json!("/")).set("/process/args", json!(["sleep", "100"])).write();
    // Nor one that the container is given.
    bundle.set("/process/cwd", json!("/proc/self/fd/3")).write();
    let binary = e2e::binary();
    let given = |line: &str| {
        s.host(&format!("exec 3</; {} oci --root {} {line}", binary.display(), s.scope.oci.display()))
    };
    let output = given("run --preserve-fds 1 -b box box");
    assert_ne!(output.code, 0, "{output}");
    bundle.set("/process/cwd", json!("/")).write();
    s.oci_apart("run -d -b box box");
    let output = given("exec --preserve-fds 1 --cwd /proc/self/fd/3 box ls ../../..");
    assert_ne!(output.code, 0, "{output}");
    for fd in 3..12 {
        let output = s.oci(&format!("exec --cwd /proc/self/fd/{fd} box ls ../../.."));
        assert_ne!(output.code, 0, "descriptor {fd}: {output}");
    }
    s.oci("delete -f box").ok();
    s.end();
}

#[test]
fn cve_2025_31133_a_null_device_that_is_a_link() {
    let s = Sandbox::new();
    // The container's own view of a parameter, which is read-only there; what is written to it stays in its UTS namespace.
    let link = "/proc/sys/kernel/domainname";
    let mut bundle = s
        .bundle("box", &["sh", "-c", &format!("echo evil; cat /masked {link} >/seen; ls /masked.d >>/seen")]);
    // No /dev of ours: the image's own is there.
    let mounts = bundle.config["mounts"].as_array().unwrap().clone();
    let kept: Vec<_> =
        mounts.into_iter().filter(|m| !m["destination"].as_str().unwrap().starts_with("/dev")).collect();
    bundle.set("/mounts", json!(kept)).set("/ociVersion", json!("1.0.2"));
    fs::create_dir_all(rootfs(&bundle).join("dev")).unwrap();
    replace(&bundle, "dev/null", link);
    fs::write(rootfs(&bundle).join("masked"), "visible").unwrap();
    fs::create_dir(rootfs(&bundle).join("masked.d")).unwrap();
    fs::write(rootfs(&bundle).join("masked.d/visible"), "").unwrap();
    bundle.set("/linux/maskedPaths", json!(["/masked", "/masked.d"])).write();
    let seen = || fs::read_to_string(rootfs(&bundle).join("seen")).unwrap();
    let output = s.oci("run -b box box");
    assert!(!seen().contains("visible") && !seen().contains("evil"), "{}: {output}", seen());
    assert_eq!(output.ok(), "evil");
    if uncorrected("runc", RUNC) {
        // Its mask is what the link leads to, and what it takes for /dev/null it gives the program as standard output.
        s.peer("runc", "run -b box box");
        assert_eq!(seen(), "evil\nevil\n", "runc's mask and what it wrote");
    }
    s.end();
}

/// What stands in a list without its slash is not left open: it is meant from the root.
#[test]
fn paths_to_hide_without_a_slash() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sh", "-c", "cat masked dir/../kept; touch kept"]);
    fs::create_dir(rootfs(&bundle).join("dir")).unwrap();
    fs::write(rootfs(&bundle).join("masked"), "visible").unwrap();
    fs::write(rootfs(&bundle).join("kept"), "kept\n").unwrap();
    bundle.set("/linux/maskedPaths", json!(["masked", "nosuch"]));
    bundle.set("/linux/readonlyPaths", json!(["dir/../kept", "../nosuch"])).write();
    let output = s.oci("run -b box box");
    assert_eq!((output.code, output.stdout.as_str()), (1, "kept\n"), "{output}");
    assert!(output.stderr.contains("kept: Read-only file system"), "{output}");
    s.end();
}

#[test]
fn cve_2025_52881_a_proc_that_is_covered() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    // What is written to /proc/sys must not land in a file of the image's, nor at another parameter.
    let fake = s.dir.join("fake");
    fs::create_dir_all(fake.join("net/ipv4")).unwrap();
    let file = fake.join("net/ipv4/ip_forward");
    let landed = || fs::read_to_string(&file).unwrap();
    fs::write(&file, "mine").unwrap();
    bundle.set("/mounts/-", json!({ "destination": "/proc/sys", "source": fake, "options": ["bind"] }));
    bundle
        .set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" }))
        .set("/ociVersion", json!("1.0.2"))
        .write();
    s.oci("run -b box box");
    assert_eq!(landed(), "mine");
    // Somebody else, with whom it shares mounts, does it at the worst moment: a hook comes just then.
    let last = bundle.config["mounts"].as_array().unwrap().len() - 1;
    bundle.remove(&format!("/mounts/{last}"));
    let cover =
        format!("mount --bind {} {}/proc/sys/net/ipv4/ip_forward", file.display(), rootfs(&bundle).display());
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", cover], "env": ["PATH=/usr/bin:/bin"] });
    bundle.set("/hooks", json!({ "createContainer": [hook] })).write();
    s.oci("run -b box box").ok();
    assert_eq!(landed(), "mine");
    if uncorrected("runc", RUNC) {
        s.peer("runc", "run -b box box").ok();
        assert_eq!(landed(), "1", "runc writes where it is led");
    }
    s.end();
}

#[test]
fn cve_2022_0811_parameters_with_more_in_them() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let pattern = || fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the host's parameters");
    let before = pattern();
    let bad = [
        ("kernel.core_pattern", "|/evil"),
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/evil\nkernel.core_pattern=x"),
        ("net/../kernel/core_pattern", "x"),
        ("net.ipv4.ip_forward/../../../kernel/core_pattern", "x"),
        ("net..ipv4", "x"),
        ("", "x"),
    ];
    for (key, value) in bad {
        bundle.set("/linux/sysctl", json!({})).config["linux"]["sysctl"][key] = json!(value);
        bundle.write();
        s.oci("run -b box box").fails(1, &["sysctl"]);
    }
    assert_eq!(pattern(), before);
    // Those of the host: of a namespace that the container shares, or of none.
    bundle.set("/linux/sysctl", json!({ "net.ipv4.ip_forward": "1" })).remove("/hostname");
    bundle.set("/linux/namespaces", json!([{ "type": "pid" }, { "type": "mount" }])).write();
    s.oci("run -b box box").fails(1, &["sysctl", "net.ipv4.ip_forward"]);
    s.end();
}

#[test]
fn cve_2022_29162_capabilities_are_not_inherited() {
    let s = Sandbox::new();
    let script = "grep -E 'CapInh|CapAmb|Groups' /proc/self/status";
    s.bundle("box", &["sh", "-c", script]);
    let output = s.oci("run -b box box");
    let lines: Vec<&str> = output.ok().lines().map(str::trim_end).collect();
    assert_eq!(lines, ["Groups:", "CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"]);
    s.end();
}

#[test]
fn cve_2019_5736_the_runtimes_binary() {
    let s = Sandbox::new();
    // The program is a link to the runtime's own image in memory.
    let mut bundle = s.bundle("box", &["/proc/self/exe", "--version"]);
    let output = s.oci("run -b box box");
    // It runs, at most, the read-only copy; there is nothing that can be opened to write.
    assert!(output.code != 0 || output.stdout.contains("corten"), "{output}");
    bundle.set("/process/args", json!(["sh", "-c", "for p in /proc/[0-9]*; do : >>$p/exe; done"])).write();
    let before = fs::read(e2e::binary()).unwrap();
    s.oci("run -b box box");
    assert!(fs::read(e2e::binary()).unwrap() == before);
    // Where it can be reached it is read-only, and not only busy: `exec` as well as the first process.
    let read_only = |pid: &str| {
        let place = rustix::fs::statvfs(format!("/proc/{pid}/exe")).unwrap();
        place.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY)
    };
    bundle.set("/process/args", json!(["sleep", "1000"])).write();
    s.oci_apart("create -b box box");
    assert!(read_only(&s.oci_state("box")["pid"].to_string()));
    s.oci("start box").ok();
    // The one that waits for the end is the runtime still.
    let exec = s.oci_start("exec box sh -c 'echo here; sleep 1000'");
    exec.expect("here");
    assert!(read_only(&exec.pid().to_string()));
    s.oci("delete -f box").ok();
    exec.wait();
    s.end();
}

#[test]
fn isolation_that_cannot_be_had_is_an_error() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    bundle.set("/process/selinuxLabel", json!("system_u:system_r:container_t:s0")).write();
    s.oci("run -b box box").fails(1, &["selinuxLabel"]);
    s.oci("create -b box box").fails(1, &["selinuxLabel"]);
    bundle.remove("/process/selinuxLabel");
    // Where AppArmor runs there is no such profile.
    bundle.set("/process/apparmorProfile", json!("nosuch-profile")).write();
    for command in ["run", "create"] {
        s.oci(&format!("{command} -b box box")).fails(1, &["process.apparmorProfile"]);
    }
    bundle.remove("/process/apparmorProfile");
    bundle.set("/linux/mountLabel", json!("system_u:object_r:container_file_t:s0")).write();
    s.oci("run -b box box").fails(1, &["linux.mountLabel", "SELinux"]);
    bundle.remove("/linux/mountLabel");
    bundle.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_NOSUCH" })).write();
    s.oci("run -b box box").fails(1, &["linux.seccomp"]);
    bundle.remove("/linux/seccomp");
    bundle.set("/linux/intelRdt", json!({ "closID": "x" })).write();
    s.oci("run -b box box").fails(1, &["linux.intelRdt"]);
    s.end();
}

/// Of the first process and of further ones, whatever else is asked for.
#[test]
fn an_apparmor_profile_confines() {
    let s = Sandbox::new();
    let ready = "grep -q Y /sys/module/apparmor/parameters/enabled && command -v apparmor_parser && test -e /sys/kernel/security/apparmor/.replace";
    if s.host(ready).code != 0 {
        return s.end();
    }
    let name = format!("corten-oci-{}", std::process::id());
    let profile = format!(
        "profile {name} flags=(attach_disconnected) {{ file, capability, signal, deny /etc/group r, }}"
    );
    fs::write(s.dir.join("profile"), profile).unwrap();
    s.host("apparmor_parser -r profile").ok();
    let mut bundle = s.bundle("box", &[]);
    bundle.set("/process/apparmorProfile", json!(name));
    let script = "cat /proc/self/attr/current /etc/group";
    for nnp in [false, true] {
        bundle.set("/process/noNewPrivileges", json!(nnp)).set("/process/args", json!(["sh", "-c", script]));
        bundle.write();
        let first = s.oci("run -b box box");
        bundle.set("/process/args", json!(["sleep", "1000"])).write();
        s.oci_apart("create -b box box");
        let before = s.oci(&format!("exec box {script}"));
        s.oci("start box").ok();
        let further = s.oci(&format!("exec box {script}"));
        // Without the profile nothing is denied: it is known that it did it.
        s.oci("exec --apparmor unconfined box cat /etc/group").ok();
        s.oci("delete -f box").ok();
        for output in [first, before, further] {
            assert_eq!(output.stdout.trim(), format!("{name} (enforce)"), "{output}");
            assert!(output.code == 1 && output.stderr.contains("Permission denied"), "{output}");
        }
    }
    s.host("apparmor_parser -R profile").ok();
    s.end();
}

#[test]
fn the_state_is_the_callers_alone() {
    use std::os::unix::fs::PermissionsExt;
    let s = Sandbox::new();
    s.bundle("box", &["true"]);
    s.oci_apart("create -b box box");
    for path in [s.scope.oci.clone(), s.scope.oci.join("box")] {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o700, "{}", path.display());
    }
    for id in ["../box", ".", "..", "a/b", "", "box\n"] {
        s.oci(&format!("state '{id}'")).fails(1, &["invalid container id"]);
    }
    s.oci("delete box").ok();
    s.end();
}

#[test]
fn cve_2025_52565_a_console_that_is_a_link() {
    let s = Sandbox::new();
    let outside = s.dir.join("outside");
    fs::write(&outside, "mine").unwrap();
    let mut bundle = s.bundle("box", &["sh", "-c", "echo hello >/dev/console; stat -c %t /dev/console"]);
    // No /dev of ours: the image's own is there.
    let mounts = bundle.config["mounts"].as_array().unwrap().clone();
    bundle.set("/mounts", mounts.into_iter().filter(|m| m["destination"] != "/dev").collect());
    fs::create_dir_all(rootfs(&bundle).join("dev/pts")).unwrap();
    symlink(&outside, rootfs(&bundle).join("dev/console")).unwrap();
    bundle.set("/process/terminal", json!(true)).write();
    // It may fail, or lead to the terminal; never to where the link leads on the host.
    let output = s.oci_pty("run -b box box").wait();
    assert!(output.code != 0 || output.stdout.contains("88"), "{output}");
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
    s.end();
}

#[test]
fn cve_2017_16539_what_spec_hides() {
    let s = Sandbox::new();
    let bundle = s.bundle("box", &["true"]);
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    s.oci("spec --bundle box").ok();
    let text = fs::read_to_string(bundle.dir.join("config.json")).unwrap();
    let mut bundle = Bundle { config: serde_json::from_str(&text).unwrap(), ..bundle };
    // Docker's list (rule R16).
    let masked = [
        "/proc/acpi",
        "/proc/asound",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
    ];
    let script = format!(
        "for p in {}; do if [ -d $p ]; then ls -A $p; else [ ! -e $p ] || head -c 9 $p; fi; done 2>/dev/null
         for p in bus fs irq sys sysrq-trigger; do
             [ ! -e /proc/$p ] || grep -q \" /proc/$p ro,\" /proc/self/mountinfo || echo $p
         done; echo end",
        masked.join(" ")
    );
    bundle.set("/process/terminal", json!(false)).set("/process/args", json!(["sh", "-c", script]));
    bundle.set("/linux/cgroupsPath", json!(format!("/{}/box", s.scope.cgroup_parent))).write();
    assert_eq!(s.oci("run -b box box").ok(), "end");
    s.end();
}

#[test]
fn cve_2022_0492_groups_of_control_are_not_the_containers() {
    let s = Sandbox::new();
    let script = "find /sys/fs/cgroup -name release_agent; mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c && echo mounted
        find /sys/fs/cgroup -type d | while read d; do mkdir $d/made && echo $d; echo 1 >$d/notify_on_release && echo $d; done
        echo end";
    let mut bundle = s.bundle("box", &["sh", "-c", script]);
    fs::create_dir_all(rootfs(&bundle).join("tmp")).unwrap();
    bundle.set("/linux/namespaces/-", json!({ "type": "cgroup" })).write();
    assert_eq!(s.oci("run -b box box").ok(), "end");
    // With the host's view of groups, too (CVE-2023-25809).
    let last = bundle.config["linux"]["namespaces"].as_array().unwrap().len() - 1;
    bundle.remove(&format!("/linux/namespaces/{last}")).write();
    assert_eq!(s.oci("run -b box box").ok(), "end");
    s.end();
}

/// What waits to become the program holds the host's memory: nobody in the container looks into it (CVE-2016-9962). With its own
/// ids in the user namespace, too: where the ids change the kernel closes it by itself.
#[test]
fn cve_2016_9962_a_created_container_is_closed() {
    let s = Sandbox::new();
    let script = "ls -ln /proc/1/exe /proc/1/cwd /proc/1/root /proc/1/fd | grep -e '->'; cat /proc/1/environ; echo end";
    for same_ids in [false, true] {
        let mut bundle = s.bundle("box", &["sleep", "1000"]);
        // Another container in its pid namespace, with the same rights.
        let mut other = s.bundle("other", &["sh", "-c", script]);
        if same_ids {
            let ids = json!([{ "containerID": 0, "hostID": 0, "size": 65_536 }]);
            bundle.set("/linux/uidMappings", ids.clone()).set("/linux/gidMappings", ids);
            bundle.set("/linux/namespaces/-", json!({ "type": "user" }));
            bundle.everything().write();
            other.everything();
        }
        s.oci_apart("create -b box box");
        let pid = s.oci_state("box")["pid"].to_string();
        let namespace = |kind: &str| json!({ "type": kind, "path": format!("/proc/{pid}/ns/{kind}") });
        other.set("/linux/namespaces/0", namespace("pid"));
        if same_ids {
            other.set("/linux/namespaces/-", namespace("user"));
        }
        other.write();
        let output = s.oci("run -b other other");
        assert_eq!(output.ok(), "end", "{same_ids}");
        // The program itself is open to it where it has all rights: the other one does look there.
        s.oci("start box").ok();
        if same_ids {
            wait_until("the program", 20, || s.oci("run -b other other").stdout.contains("busybox"));
        }
        s.oci("delete -f box").ok();
    }
    s.end();
}
