//! `corten why denied`: each rule refuses something here, and is named; with the flag that is named, it is allowed.

use e2e::{Output, Sandbox};

/// The answer to `COMMAND` in `box`, which was started with `flags`.
fn denied(s: &Sandbox, flags: &str, command: &str) -> Output {
    s.corten(&format!("run -d --name box {flags} busybox sleep 1000")).ok();
    let answer = s.corten(&format!("why denied {command}"));
    s.corten("rm -f box").ok();
    answer
}

#[track_caller]
fn says(answer: &Output, all: &[&str]) {
    for said in all {
        assert!(answer.ok().contains(said), "no {said:?} in {answer}");
    }
}

#[test]
fn the_filter_of_system_calls() {
    let s = Sandbox::with(&["busybox"]);
    let answer = denied(&s, "", "box -- mount -t tmpfs none /root");
    let all = [
        "mount /root: EPERM: the container's filter of system calls",
        "hint: --cap-add SYS_ADMIN",
        "Seccomp /proc/",
    ];
    says(&answer, &all);
    // The program's own words come first, as if it had been run by exec.
    assert!(answer.stderr.contains("mount: "), "{answer}");
    let allowed = denied(&s, "--cap-add SYS_ADMIN", "box -- mount -t tmpfs none /root");
    says(&allowed, &["nothing was refused: 'mount -t tmpfs none /root' ended with exit code 0"]);
    // A call that no capability makes the profile allow.
    let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}"#;
    std::fs::write(s.dir.join("profile.json"), profile).unwrap();
    let answer = denied(&s, "--security-opt seccomp=profile.json", "box mkdir /tmp/x");
    says(&answer, &["/tmp/x: EPERM: the container's filter", "--security-opt seccomp=PROFILE, with mkdir"]);
    s.end();
}

#[test]
fn capabilities() {
    let s = Sandbox::with(&["busybox"]);
    let answer = denied(&s, "", "box -- ip link set lo down");
    says(
        &answer,
        &["ioctl: EPERM: it asks for CAP_NET_ADMIN, which the process lacks", "hint: --cap-add NET_ADMIN"],
    );
    // Netlink refuses by a message: no system call fails.
    let answer = denied(&s, "", "box -- ip address add 192.0.2.7/32 dev lo");
    says(&answer, &["netlink(7): EPERM: it asks for CAP_NET_ADMIN"]);
    let allowed = denied(
        &s,
        "--cap-add NET_ADMIN",
        "box -- sh -c 'ip link set lo down; ip address add 192.0.2.7/32 dev lo'",
    );
    says(&allowed, &["nothing was refused"]);
    // Within the container's bounds, but not its user's.
    let answer = denied(&s, "", "-u 1000 box -- chown 5 /bin/busybox");
    says(&answer, &["/bin/busybox: EPERM: it asks for CAP_CHOWN", "--user 0"]);
    s.end();
}

#[test]
fn mounts_and_masks() {
    let s = Sandbox::with(&["busybox"]);
    let answer = denied(&s, "--read-only", "box -- touch /x");
    says(&answer, &["/x: EROFS: the container's root is read-only", "--tmpfs"]);
    let answer = denied(&s, "", "box -- sh -c 'echo 1 >/proc/sys/kernel/panic'");
    says(&answer, &["/proc/sys/kernel/panic: EROFS: /proc/sys is read-only in containers"]);
    std::fs::create_dir(s.dir.join("data")).unwrap();
    let answer = denied(&s, &format!("-v {}/data:/data:ro", s.dir.display()), "box -- touch /data/x");
    says(&answer, &["/data/x: EROFS: what is mounted at /data is read-only", "-v SOURCE:/data"]);
    let answer = denied(&s, "", "box -- cat /proc/interrupts");
    says(&answer, &["/proc/interrupts: EACCES: /proc/interrupts is masked", "systempaths=unconfined"]);
    let allowed = denied(&s, "--security-opt systempaths=unconfined", "box -- cat /proc/interrupts");
    says(&allowed, &["nothing was refused"]);
    s.end();
}

#[test]
fn devices_and_owners() {
    let s = Sandbox::with(&["busybox"]);
    let answer = denied(&s, "", "box -- mknod /x c 10 200");
    says(&answer, &["/x: EPERM: in a user namespace no device can be made", "--device"]);
    let answer = denied(&s, "--userns host", "box -- sh -c 'mknod /x c 10 229 && cat /x'");
    says(&answer, &["/x: EPERM: the container's control group lets nobody use the device c 10:229"]);
    let answer = denied(&s, "", "-u 1000:1000 box -- sh -c 'echo >/x'");
    says(&answer, &["/x: EACCES: / belongs to 0:0 with the mode 0755, and the process is user 1000"]);
    // Where nothing is refused, that is said; and without a command, what could be.
    let nothing = denied(&s, "", "box true");
    says(&nothing, &["nothing was refused: 'true' ended with exit code 0"]);
    let bounds = denied(&s, "--read-only --security-opt no-new-privileges", "box");
    says(
        &bounds,
        &["sys_admin", "mount", "no new privileges", "read-only: / ", "/proc/interrupts", "c 1:3 rwm"],
    );
    s.corten("why denied nosuch").fails(1, &["nosuch"]);
    s.end();
}
