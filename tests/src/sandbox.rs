//! The sandbox: namespaces, directories and a cgroup of a test's own.

use crate::facts::{Facts, Scope, cgroup_directories, processes};
use crate::{Background, Output, Pty, images::image, words};
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A place to run containers in that no other test and nothing of the machine shares: the test's thread moves into a
/// network and a mount namespace of its own, and the engine gets its own data root, state directory and cgroup.
///
/// So whatever the test does itself (opening a socket, starting a program, mounting) happens in the sandbox too.
#[derive(Debug)]
pub struct Sandbox {
    /// A directory for the test's files; the data root and the state directory are in it as `root` and `state`.
    pub dir: PathBuf,
    pub scope: Scope,
    before: Facts,
    ended: bool,
    /// A thread that is in the internet.
    internet: Option<i32>,
}

/// Which kind of cgroups the machine has for its controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cgroups {
    V1,
    V2,
}

impl Sandbox {
    /// A sandbox with no image in it, and no network but `lo`.
    #[track_caller]
    #[allow(
        clippy::new_without_default,
        reason = "it moves the calling thread: nobody should do that by default"
    )]
    pub fn new() -> Sandbox {
        Sandbox::make(false)
    }

    /// A sandbox with these test images loaded.
    #[track_caller]
    pub fn with(images: &[&str]) -> Sandbox {
        let sandbox = Sandbox::new();
        sandbox.load(images);
        sandbox
    }

    /// A sandbox with these test images, and an internet behind a default route: <http://198.51.100.1/> answers.
    #[track_caller]
    pub fn with_internet(images: &[&str]) -> Sandbox {
        let sandbox = Sandbox::make(true);
        sandbox.load(images);
        sandbox
    }

    fn make(internet: bool) -> Sandbox {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("corten-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        unshare_network();
        #[allow(deprecated, reason = "unsafe only for shared descriptors, which stay shared here")]
        rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::FS).expect("end-to-end tests need root");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .expect("mounts can be private");
        let status =
            Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("iproute2 is installed");
        assert!(status.success(), "cannot bring lo up");
        // Not on tmpfs: before Linux 6.3 that has no idmapped mounts.
        let base = std::env::var_os("CORTEN_TEST_DIR").map_or_else(|| "/var/tmp".into(), PathBuf::from);
        let dir = base.join(&name);
        fs::create_dir_all(&dir).unwrap_or_else(|e| panic!("cannot make {}: {e}", dir.display()));
        let [root, state, oci] = ["root", "state", "oci"].map(|name| dir.join(name));
        let scope = Scope { cgroup_parent: name, root, state, oci };
        let internet = internet.then(crate::internet::connect);
        Sandbox { before: Facts::read(&scope), dir, scope, ended: false, internet }
    }

    #[track_caller]
    fn load(&self, images: &[&str]) {
        for name in images {
            let archive = image(&format!("{name}.tar"));
            self.corten(&format!("load -q -i {}", archive.display())).ok();
        }
    }

    /// Runs `corten` with this command line to its end, with nothing on standard input.
    #[track_caller]
    pub fn corten(&self, line: &str) -> Output {
        self.start(line).wait()
    }

    /// Runs `corten` with this text on standard input.
    #[track_caller]
    pub fn corten_fed(&self, line: &str, input: &str) -> Output {
        let mut running = self.start_fed(line);
        running.input(input);
        running.wait()
    }

    /// Starts `corten` with this command line, and with nothing on standard input.
    #[track_caller]
    pub fn start(&self, line: &str) -> Background {
        Background::start(&format!("corten {line}"), self.command(line).stdin(Stdio::null()))
    }

    /// Starts `corten` with a pipe as standard input.
    #[track_caller]
    pub fn start_fed(&self, line: &str) -> Background {
        Background::start(&format!("corten {line}"), self.command(line).stdin(Stdio::piped()))
    }

    /// Starts `corten` on a terminal.
    #[track_caller]
    pub fn pty(&self, line: &str) -> Pty {
        Pty::start(&format!("corten {line}"), &self.command(line))
    }

    /// `corten` with this command line, not started yet.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(binary());
        command.args(words(line)).current_dir(&self.dir);
        command.env("CORTEN_ROOT", &self.scope.root).env("CORTEN_STATE", &self.scope.state);
        command.env("CORTEN_CGROUP_PARENT", &self.scope.cgroup_parent);
        command
    }

    /// Runs a shell script beside the containers, where the sandbox's user would: on the host.
    #[track_caller]
    pub fn host(&self, script: &str) -> Output {
        let mut command = Command::new("bash");
        command.args(["-c", script]).current_dir(&self.dir).stdin(Stdio::null());
        Background::start(script, &mut command).wait()
    }

    /// Runs a script that starts daemons, as process 1 of a pid namespace, which takes in their orphans, and in a network namespace of
    /// its own. It finds DIR (the sandbox), IMAGE (busybox, as `save` writes it) and GROUP (below which its groups are). Some 15 s where
    /// all is well; daemons on a busy machine take their time.
    #[track_caller]
    pub fn session(&self, name: &str, script: &str, environment: &[(&str, &Path)]) -> Output {
        let archive = self.dir.join("image.tar");
        self.corten(&format!("save -o {} busybox", archive.display())).ok();
        std::fs::write(self.dir.join("session"), script).expect("the sandbox is writable");
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--net", "bash", "session"]);
        command.current_dir(&self.dir).stdin(Stdio::null()).envs(environment.iter().copied());
        command.env("DIR", &self.dir).env("IMAGE", &archive);
        command.env("GROUP", format!("/{}", self.scope.cgroup_parent));
        let output = Background::start(name, &mut command).wait_for(300);
        // The group that the session was given, and what its monitors made in it, are not the engine's.
        let parent = &self.scope.cgroup_parent;
        let find =
            format!("find /sys/fs/cgroup -depth -type d -path '*/{parent}*' -exec rmdir {{}} + || true");
        self.host(&find).ok();
        output
    }

    /// Runs a shell script somewhere in the internet.
    #[track_caller]
    pub fn far(&self, script: &str) -> Output {
        let thread = self.internet.expect("a sandbox with an internet");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{thread}/ns/net")).args(["bash", "-c", script]).stdin(Stdio::null());
        Background::start(script, &mut command).wait()
    }

    /// What a script says that has `corten` as a command: its words, in one line.
    #[track_caller]
    pub fn told(&self, script: &str) -> String {
        let scope = &self.scope;
        let output = self.host(&format!(
            "export CORTEN_ROOT={} CORTEN_STATE={} CORTEN_CGROUP_PARENT={}; corten() {{ {} \"$@\"; }}; {script}",
            scope.root.display(),
            scope.state.display(),
            scope.cgroup_parent,
            binary().display(),
        ));
        output.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Starts a detached container and returns its id. `line` is what follows `run -d`.
    #[track_caller]
    pub fn detached(&self, line: &str) -> String {
        let output = self.corten(&format!("run -d {line}"));
        let id = output.ok().to_string();
        assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "not an id: {output}");
        id
    }

    /// One value of `corten inspect` by a Go template.
    #[track_caller]
    pub fn inspect(&self, container: &str, template: &str) -> String {
        self.corten(&format!("inspect -f '{template}' {container}")).ok().to_string()
    }

    /// The directory of what the engine keeps of a container.
    #[track_caller]
    pub fn directory(&self, container: &str) -> PathBuf {
        self.scope.root.join("containers").join(self.inspect(container, "{{.Id}}"))
    }

    /// The text of a file of the container's cgroup, of the controller that the file's name starts with.
    #[track_caller]
    pub fn cgroup(&self, container: &str, file: &str) -> String {
        let path = self.cgroup_file(container, file);
        fs::read_to_string(path).expect("it exists").trim_end().to_string()
    }

    /// Where such a file is.
    #[track_caller]
    pub fn cgroup_file(&self, container: &str, file: &str) -> PathBuf {
        let id = self.inspect(container, "{{.Id}}");
        let holds = |d: &PathBuf| d.to_string_lossy().contains(&id) && d.join(file).exists();
        let found = cgroup_directories(&self.scope.cgroup_parent).into_iter().rfind(holds);
        found.unwrap_or_else(|| panic!("{container} has no cgroup with {file}")).join(file)
    }

    /// The kind of cgroups that the engine has to use here.
    pub fn cgroups() -> Cgroups {
        if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { Cgroups::V2 } else { Cgroups::V1 }
    }

    /// The processes of the sandbox that run now, other than the test itself: pid and command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        processes(&self.scope)
    }

    /// The end: every container is gone, so nothing may be left but what the engine makes once for all of them, and
    /// nothing at all after `corten system down`. Images stay.
    #[track_caller]
    pub fn end(mut self) {
        self.ended = true;
        self.nothing_left(shared);
        if self.scope.root.exists() || self.scope.state.exists() {
            self.corten("system down").ok();
        }
        if self.scope.oci.exists() {
            // Whoever calls an OCI runtime names the groups of its containers; those above them are the caller's.
            for directory in cgroup_directories(&self.scope.cgroup_parent) {
                let _ = fs::remove_dir(directory);
            }
        }
        self.nothing_left(|fact| fact.starts_with("directory ") && shared(fact) || fact.ends_with(".lock"));
        self.clear();
    }

    /// Compares the machine with how it was before, less what `accepted` says may be left, and fails on a difference
    /// that does not go away within some seconds: namespaces are taken apart by the kernel after their last process.
    #[track_caller]
    fn nothing_left(&self, accepted: impl Fn(&str) -> bool) {
        let left = || {
            let mut now = Facts::read(&self.scope);
            now.0.retain(|fact| self.before.0.contains(fact) || !(accepted(fact) || ensured(fact)));
            let since = now.since(&self.before);
            since
                .lines()
                .filter(|line| !removed_elsewhere(line))
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        };
        let mut rest = left();
        // On a machine that takes many namespaces apart at once a link may take its time.
        let limit =
            std::time::Instant::now() + std::time::Duration::from_secs(u64::from(20 * crate::slowness()));
        while std::time::Instant::now() < limit {
            if rest.is_empty() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(30));
            rest = left();
        }
        self.clear();
        panic!("the sandbox is not as it was:\n{rest}");
    }

    /// Ends what still runs and removes what is still there, so that a test that fails does not harm the next.
    fn clear(&self) {
        for _ in 0..50 {
            let left = processes(&self.scope);
            if left.is_empty() {
                break;
            }
            for (pid, _) in left {
                if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for directory in cgroup_directories(&self.scope.cgroup_parent) {
            let _ = fs::write(directory.join("freezer.state"), "THAWED");
            let _ = fs::remove_dir(directory);
        }
        if std::env::var_os("CORTEN_TEST_KEEP").is_none() {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.ended {
            self.clear();
        }
    }
}

/// What the engine makes when it needs it first and keeps for later containers.
fn shared(fact: &str) -> bool {
    let Some((kind, rest)) = fact.split_once(' ') else { return false };
    match kind {
        "link" | "address" | "route" => rest.contains("corten0"),
        "nft" => rest.starts_with("corten ") && !rest.starts_with("corten element"),
        // The parent itself (its name is the path's last part) and the monitors' group in it.
        "cgroup" => {
            let path = rest.strip_suffix("/monitors").unwrap_or(rest);
            path.rsplit('/').next().is_some_and(|name| name.starts_with("corten-test-"))
        }
        "directory" => rest.matches('/').count() == 1 && !rest.starts_with("oci/"),
        "file" => rest.ends_with(".lock") || rest.ends_with("/lock"),
        _ => false,
    }
}

/// A mount of somebody else's that has gone with its directory.
fn removed_elsewhere(line: &str) -> bool {
    let path = line.strip_prefix("gone: mount ").and_then(|rest| rest.split(" of ").next());
    path.is_some_and(|path| !Path::new(path).exists())
}

/// Moves the calling thread into a new network namespace.
pub(crate) fn unshare_network() {
    #[allow(deprecated, reason = "unsafe only for shared descriptors, which stay shared here")]
    rustix::thread::unshare(UnshareFlags::NEWNET).expect("end-to-end tests need root");
}

/// The binary under test: `CORTEN_BIN`, else the one that was built into the same directory as the tests.
pub fn binary() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("a running program has a path");
        test.ancestors().nth(2).expect("target/debug/deps").join("corten")
    };
    let path = std::env::var_os("CORTEN_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.exists(), "no {}: build it by `cargo build -p corten`, or set CORTEN_BIN", path.display());
    path
}

/// What the engine keeps for all containers, made by the first and taken down by `corten system down`.
fn ensured(fact: &str) -> bool {
    let elements = ["bridges", "masqueraded", "neighbours", "subnets4"];
    fact == "file root/leases/.last-bridge"
        || fact == "file root/lock"
        || fact == "file state/empty"
        || fact.starts_with("file root/events.")
        || fact.starts_with("file root/init/")
        || fact.starts_with("directory root/init")
        || fact == "file oci/.empty"
        || fact == "directory oci/.empty.d"
        || elements.iter().any(|set| fact.starts_with(&format!("nft corten element of \"{set}\"")))
}
