//! The runtime in the hands of those who call runtimes: one session each with Podman, containerd and Docker, as Debian has
//! them. Everything of theirs is in the sandbox: stores, sockets, networks, daemons.

use e2e::{Background, Sandbox, binary};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a script as process 1 of a pid namespace, which takes in the orphans of daemons, and compares what it prints.
#[track_caller]
fn session(name: &str, script: &str, expected: &str) {
    // They load what `save` writes.
    let s = Sandbox::with(&["busybox"]);
    let archive = s.dir.join("image.tar");
    s.corten(&format!("save -o {} busybox", archive.display())).ok();
    let runtime = s.dir.join("corten-runtime");
    symlink(binary(), &runtime).expect("the sandbox is writable");
    std::fs::write(s.dir.join("session"), script).expect("the sandbox is writable");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--net", "bash", "session"]);
    command.current_dir(&s.dir).stdin(Stdio::null());
    command.env("DIR", &s.dir).env("RUNTIME", &runtime).env("IMAGE", &archive);
    command.env("GROUP", format!("/{}", s.scope.cgroup_parent));
    // Some 15 s where all is well; daemons on a busy machine take their time.
    let output = Background::start(name, &mut command).wait_for(300);
    assert!(output.code == 0 && output.stdout == expected, "{output}");
    // The group that the session was given, and what its monitors made in it, are not the runtime's.
    s.host(&format!(
        "find /sys/fs/cgroup -depth -type d -path '*/{}*' -exec rmdir {{}} + || true",
        s.scope.cgroup_parent
    ))
    .ok();
    s.end();
}

#[test]
fn podman() {
    session("podman", include_str!("drivers/podman.sh"), include_str!("drivers/podman.out"));
}

/// What systemd says of the unit of a container.
const UNIT: &str = "ActiveState=active
CPUQuotaPerSecUSec=500ms
Delegate=yes
MemoryMax=67108864
Slice=corten.slice
TasksMax=50
";

/// On a machine that systemd runs, and that is thrown away afterwards: `cargo xtask test --systemd`.
#[test]
fn podman_beside_systemd() {
    if std::env::var_os("CORTEN_TEST_THROWAWAY").is_none() || !Path::new("/run/systemd/private").exists() {
        return;
    }
    let s = Sandbox::with(&["busybox"]);
    let archive = s.dir.join("image.tar");
    s.corten(&format!("save -o {} busybox", archive.display())).ok();
    let runtime = s.dir.join("corten-runtime");
    symlink(binary(), &runtime).expect("the sandbox is writable");
    std::fs::write(s.dir.join("session"), include_str!("drivers/podman_systemd.sh")).expect("it is writable");
    for (manager, unit) in [("systemd", UNIT), ("cgroupfs", "")] {
        let mut command = Command::new("bash");
        command.arg("session").current_dir(&s.dir).stdin(Stdio::null());
        command.env("DIR", &s.dir).env("RUNTIME", &runtime).env("IMAGE", &archive).env("MANAGER", manager);
        let output = Background::start(manager, &mut command).wait_for(120);
        let expected = include_str!("drivers/podman_systemd.out").replace("@unit@\n", unit);
        assert!(output.code == 0 && output.stdout == expected, "{output}");
    }
    s.end();
}

#[test]
fn containerd() {
    session("containerd", include_str!("drivers/containerd.sh"), include_str!("drivers/containerd.out"));
}

#[test]
fn docker() {
    session("docker", include_str!("drivers/docker.sh"), include_str!("drivers/docker.out"));
}
