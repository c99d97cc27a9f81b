//! An OCI bundle in a sandbox, and the command line of the runtime.

use crate::{Background, Output, Sandbox, images, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

/// A directory with a `config.json` and busybox as its `rootfs`.
#[derive(Debug)]
pub struct Bundle {
    /// Absolute.
    pub dir: PathBuf,
    /// What [`Bundle::write`] writes.
    pub config: Value,
}

impl Bundle {
    /// Puts `value` where the JSON pointer says, and makes what is on the way there; `-` is the end of a list.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Bundle {
        *place(&mut self.config, pointer) = value;
        self
    }

    /// Takes out what the JSON pointer names.
    #[track_caller]
    pub fn remove(&mut self, pointer: &str) -> &mut Bundle {
        let (parent, name) = pointer.rsplit_once('/').expect("a JSON pointer");
        match self.config.pointer_mut(parent) {
            Some(Value::Object(fields)) => drop(fields.remove(name).expect("it is there")),
            Some(Value::Array(list)) => drop(list.remove(name.parse().expect("a number"))),
            other => panic!("{parent} is {other:?}"),
        }
        self
    }

    /// Gives its process all capabilities that there are.
    pub fn everything(&mut self) -> &mut Bundle {
        let all: Vec<&str> = kernel::caps::CapSet::ALL.iter().map(kernel::caps::Cap::name).collect();
        self.set("/process/capabilities", json!({"bounding": all, "permitted": all, "effective": all}))
    }

    /// Writes `config.json`.
    pub fn write(&self) -> &Bundle {
        self.write_text(self.config.to_string())
    }

    /// Writes a `config.json` that need not be JSON.
    pub fn write_text(&self, text: impl AsRef<[u8]>) -> &Bundle {
        fs::write(self.dir.join("config.json"), text).expect("the sandbox is writable");
        self
    }
}

fn place<'a>(mut at: &'a mut Value, pointer: &str) -> &'a mut Value {
    for part in pointer.split('/').skip(1) {
        if let Value::Array(list) = at {
            let index = part.parse().unwrap_or(list.len());
            if index == list.len() {
                list.push(Value::Null);
            }
            at = &mut list[index];
        } else if part == "-" {
            *at = json!([null]);
            at = &mut at[0];
        } else {
            // Makes an object of nothing.
            at = &mut at[part];
        }
    }
    at
}

impl Sandbox {
    /// A bundle in a directory of this name, whose `config.json` runs `args` and is written.
    #[track_caller]
    pub fn bundle(&self, name: &str, args: &[&str]) -> Bundle {
        let dir = self.dir.join(name);
        images::unpack("busybox", &dir.join("rootfs"));
        let mut bundle = Bundle { dir, config: config() };
        bundle.set("/process/args", json!(args));
        bundle.set("/linux/cgroupsPath", json!(format!("/{}/{name}", self.scope.cgroup_parent)));
        bundle.write();
        bundle
    }

    /// Runs the OCI runtime with this command line to its end, with nothing on standard input.
    #[track_caller]
    pub fn oci(&self, line: &str) -> Output {
        let line = self.oci_line(line);
        Background::start(&format!("corten {line}"), self.command(&line).stdin(Stdio::null())).wait()
    }

    /// The same, not waited for.
    #[track_caller]
    pub fn oci_start(&self, line: &str) -> Background {
        self.start(&self.oci_line(line))
    }

    /// The same, on a terminal.
    #[track_caller]
    pub fn oci_pty(&self, line: &str) -> crate::Pty {
        self.pty(&self.oci_line(line))
    }

    /// Runs a command that leaves a container behind, which keeps its output open.
    #[track_caller]
    pub fn oci_apart(&self, line: &str) {
        let errors = self.dir.join("errors");
        let file = fs::File::create(&errors).expect("the sandbox is writable");
        let mut command = self.command(&self.oci_line(line));
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).status();
        let said = fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.is_ok_and(|status| status.success()), "corten {line}: {said}");
        fs::remove_file(errors).expect("it was made above");
    }

    fn oci_line(&self, line: &str) -> String {
        format!("oci --root {} {line}", self.scope.oci.display())
    }

    /// `state` of a container, as JSON.
    #[track_caller]
    pub fn oci_state(&self, id: &str) -> Value {
        serde_json::from_str(self.oci(&format!("state {id}")).ok()).expect("state prints JSON")
    }

    /// Waits until `state` says so.
    #[track_caller]
    pub fn oci_wait(&self, id: &str, status: &str) {
        wait_until(&format!("{id} to be {status}"), 20, || self.oci_state(id)["status"] == status);
    }
}

/// As `runc spec` writes it, without a terminal.
fn config() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.2.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "bundle",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
