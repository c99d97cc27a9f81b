//! The runtime in the hands of those who call runtimes: one session each with Podman, containerd and Docker, as Debian has
//! them. Everything of theirs is in the sandbox: stores, sockets, networks, daemons.

use e2e::{Background, Sandbox, binary};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

/// A session with `corten` as the RUNTIME: what it prints is compared.
#[track_caller]
fn session(name: &str, script: &str, expected: &str) {
    // They load what `save` writes.
    let s = Sandbox::with(&["busybox"]);
    let runtime = s.dir.join("corten-runtime");
    symlink(binary(), &runtime).expect("the sandbox is writable");
    let output = s.session(name, script, &[("RUNTIME", &runtime)]);
    assert!(output.code == 0 && output.stdout == expected, "{output}");
    s.end();
}

#[test]
fn podman() {
    let script = concat!(include_str!("drivers/podman_files.sh"), include_str!("drivers/podman.sh"));
    session("podman", script, include_str!("drivers/podman.out"));
}

/// What systemd says of the unit of a container.
const UNIT: &str = "ActiveState=active
CPUQuotaPerSecUSec=500ms
Delegate=yes
MemoryMax=67108864
Slice=corten.slice
TasksMax=50
";

/// On a machine that systemd runs, and that is thrown away afterwards.
#[test]
#[ignore = "systemd has to run the machine, and nobody else may need it: `cargo xtask test --systemd`"]
fn podman_beside_systemd() {
    assert!(std::env::var_os("CORTEN_TEST_THROWAWAY").is_some(), "it changes the machine for good");
    let s = Sandbox::with(&["busybox"]);
    let archive = s.dir.join("image.tar");
    s.corten(&format!("save -o {} busybox", archive.display())).ok();
    let runtime = s.dir.join("corten-runtime");
    symlink(binary(), &runtime).expect("the sandbox is writable");
    let script = concat!(include_str!("drivers/podman_files.sh"), include_str!("drivers/podman_systemd.sh"));
    std::fs::write(s.dir.join("session"), script).expect("it is writable");
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
