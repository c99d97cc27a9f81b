//! OCI containers of an ordinary user: a user namespace that maps the user alone, and no rights to control groups.

use e2e::{Output, Sandbox, images, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

const UID: u32 = 1000;

/// A directory of the user's: a program `corten`, and a bundle as `spec --rootless` writes it.
struct User<'a> {
    s: &'a Sandbox,
    dir: PathBuf,
    config: Value,
}

/// `None` where the machine lets no user make a user namespace, or mount anything in it.
fn user(s: &Sandbox) -> Option<User<'_>> {
    let probe = format!(
        "setpriv --reuid {UID} --regid {UID} --clear-groups unshare -U -r -m -p -f \\
         sh -c 'mount -t tmpfs none /tmp && mount -t proc proc /proc'"
    );
    if s.host(&probe).code != 0 {
        return None;
    }
    let dir = s.dir.join("user");
    images::unpack("busybox", &dir.join("rootfs"));
    fs::copy(e2e::binary(), dir.join("corten")).expect("a copy of the binary");
    fs::set_permissions(dir.join("corten"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    s.host(&format!("chown -R {UID}:{UID} user && chown 0:0 user/corten && chmod 755 .")).ok();
    let mut user = User { s, dir, config: Value::Null };
    user.oci("spec --rootless").ok();
    let text = fs::read_to_string(user.dir.join("config.json")).expect("spec wrote it");
    user.config = serde_json::from_str(&text).expect("spec writes JSON");
    user.config["process"]["terminal"] = json!(false);
    user.program("true");
    Some(user)
}

impl User<'_> {
    fn oci(&self, line: &str) -> Output {
        let who = format!("setpriv --reuid {UID} --regid {UID} --clear-groups");
        self.s.host(&format!("cd user && XDG_RUNTIME_DIR=$PWD exec {who} ./corten oci {line}"))
    }

    fn write(&self) {
        fs::write(self.dir.join("config.json"), self.config.to_string()).expect("it is ours");
    }

    fn program(&mut self, script: &str) {
        self.config["process"]["args"] = json!(["sh", "-c", script]);
        self.write();
    }

    fn state(&self) -> Value {
        serde_json::from_str(self.oci("state box").ok()).expect("state prints JSON")
    }
}

#[test]
fn a_container_of_an_ordinary_user() {
    let s = Sandbox::new();
    let Some(mut user) = user(&s) else { return s.end() };
    let script = "id -u; id -G; tr -s ' ' </proc/self/uid_map; cat /proc/self/setgroups
        head -c 2 /dev/zero | wc -c; : >/dev/null; test -c /dev/tty && echo $$";
    user.program(script);
    // Whoever may not leave his groups keeps them: here there is but one.
    assert_eq!(user.oci("run box").ok(), "0\n0\n 0 1000 1\ndeny\n2\n1");
    assert_eq!(user.oci("list --quiet").ok(), "");
    // As one program of several in it, and with an end.
    user.program("sleep 1000");
    user.oci("create box >out 2>&1").ok();
    assert_eq!(user.state()["status"], "created");
    // Before its start it is a process of the runtime's, that its user may not look into: it gives its namespaces itself.
    let pid = user.state()["pid"].to_string();
    let spaces = "for ns in 1/ns/user self/ns/user self/ns/mnt self/ns/net; do readlink /proc/$ns; done; hostname; id -u";
    let entered = user.oci(&format!("exec box sh -c '{spaces}'"));
    let lines: Vec<&str> = entered.ok().lines().collect();
    // Nobody inside looks into it either.
    assert_eq!(lines.len(), 5, "{entered}");
    let of =
        |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("it waits").display().to_string();
    assert_eq!(lines[..3], ["user", "mnt", "net"].map(of), "{entered}");
    assert_eq!((lines[3], lines[4]), ("corten", "0"), "{entered}");
    // As often as somebody comes, and again when nobody waited for the answer.
    user.oci("exec -d box sleep 1000 >out 2>&1").ok();
    assert_eq!(user.oci("exec box sh -c 'exit 7'").code, 7);
    user.oci("start box").ok();
    assert_eq!(user.oci("exec box id -u").ok(), "0");
    assert_eq!(user.oci("exec box sh -c 'exit 7'").code, 7);
    // No root of the machine's: what is made inside is the user's.
    let pid = user.state()["pid"].to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(status.contains(&format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}")), "{status}");
    user.oci("kill box KILL").ok();
    wait_until("the container to stop", 20, || user.state()["status"] == "stopped");
    user.oci("delete box").ok();
    s.end();
}

#[test]
fn what_an_ordinary_user_cannot_have() {
    let s = Sandbox::new();
    let Some(mut user) = user(&s) else { return s.end() };
    // Limits that nobody holds the container to are none (rule R15).
    user.config["linux"]["resources"]["pids"] = json!({ "limit": 9 });
    user.write();
    user.oci("run box").fails(1, &["ermission denied"]);
    user.oci("--rootless=true run box").fails(1, &["ermission denied"]);
    user.config["linux"]["resources"].as_object_mut().expect("an object").remove("pids");
    user.write();
    for word in ["auto", "true", "1"] {
        user.oci(&format!("--rootless={word} run box")).ok();
    }
    user.oci("--rootless=false run box").fails(1, &["ermission denied"]);
    user.oci("--rootless=maybe run box").fails(1, &["--rootless", "'maybe'"]);
    // Others' ids.
    let own = user.config["linux"]["uidMappings"].clone();
    user.config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    user.write();
    user.oci("run box").fails(1, &["linux.uidMappings", "1000"]);
    user.config["linux"]["uidMappings"] = own;
    user.config["linux"]["namespaces"] = json!([{ "type": "mount" }]);
    user.write();
    user.oci("run box").fails(1, &["linux.namespaces", "user namespace"]);
    s.end();
}

/// A hook that runs in the container does so before its start, too.
#[test]
fn hooks_of_an_ordinary_user() {
    let s = Sandbox::new();
    let Some(mut user) = user(&s) else { return s.end() };
    let hook = |text: String| json!([{ "path": "/bin/sh", "args": ["sh", "-c", text] }]);
    let outside =
        |point: &str| hook(format!("readlink /proc/self/ns/mnt >{}", user.dir.join(point).display()));
    user.config["hooks"] = json!({
        "createRuntime": outside("createRuntime"), "createContainer": outside("createContainer"),
        "startContainer": hook("readlink /proc/self/ns/mnt >/said".to_owned()),
        "poststart": outside("poststart"), "poststop": outside("poststop"),
    });
    user.config["root"]["readonly"] = json!(false);
    user.program("readlink /proc/self/ns/mnt");
    let inside = user.oci("run box").ok().to_owned();
    let said = |name: &str| fs::read_to_string(user.dir.join(name)).expect("the hook ran").trim().to_owned();
    assert_eq!([said("createContainer"), said("rootfs/said")], [inside.clone(), inside.clone()]);
    for point in ["createRuntime", "poststart", "poststop"] {
        assert_ne!(said(point), inside, "{point}");
    }
    s.end();
}

/// Root of the user's containers owns what the user owns: a binary in `~/bin`, too.
#[test]
fn cve_2019_5736_a_binary_of_the_users_own() {
    let s = Sandbox::new();
    let Some(mut user) = user(&s) else { return s.end() };
    chown(user.dir.join("corten"), Some(UID), Some(UID)).expect("it is ours");
    user.program("sleep 1000");
    user.oci("create box >out 2>&1").ok();
    let pid = user.state()["pid"].to_string();
    let program = fs::read_link(format!("/proc/{pid}/exe")).expect("it waits");
    assert!(program.starts_with("/memfd:corten (deleted)"), "{}", program.display());
    let write = fs::OpenOptions::new().append(true).open(format!("/proc/{pid}/exe"));
    assert!(write.is_err());
    user.oci("delete box").ok();
    s.end();
}
