//! `cargo xtask bench`: the engine beside crun, runc, podman, docker and the bare system calls, in one run.

mod images;
pub mod measure;
mod network;
mod oci;
mod report;
mod sections;

use crate::{packages, shell, test};
use anyhow::Context;
use measure::Contender;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const PACKAGES: &[&str] = &[
    "conmon",
    "containerd",
    "crun",
    "curl",
    "docker-registry",
    "docker.io",
    "iperf3",
    "iproute2",
    "iptables",
    "jq",
    "libc6-dev",
    "gcc",
    "netavark",
    "podman",
    "runc",
    "skopeo",
    "util-linux",
    "zstd",
];

/// Where sockets and pid files are: short, as socket names have to be, and on a tmpfs of the benchmark's own.
const RUN: &str = "/run/corten-bench";

/// Everything that the sections need to know.
#[derive(Debug)]
pub struct Bench {
    /// Stores and bundles.
    dir: PathBuf,
    images: PathBuf,
    corten: PathBuf,
    floor: PathBuf,
    dockerd: Option<rustix::process::Pid>,
    /// When a store was deleted: what is unpacked soon after takes longer.
    deleted: Option<Instant>,
}

pub fn run(sections: &[String]) -> anyhow::Result<()> {
    let all = sections::names();
    for name in sections {
        let known = all.iter().any(|section| named(section, name));
        anyhow::ensure!(known, "no section {name}: {} images network oci", all.join(" "));
    }
    packages::install(PACKAGES)?;
    let images = test::images()?;
    let corten = test::corten()?;
    let dir =
        std::env::var_os("CORTEN_BENCH_DIR").map_or_else(|| test::target().join("bench"), PathBuf::from);
    fs::create_dir_all(&dir)?;
    let floor = dir.join("floor");
    shell::run(Command::new("cc").args(["-O2", "-static", "-o"]).arg(&floor).arg("xtask/bench/floor.c"))?;
    isolate()?;
    measure::enter_cgroup()?;
    let mut bench = Bench { dir, images, corten, floor, dockerd: None, deleted: None };
    let result = bench.measure(sections);
    bench.remove_containers();
    bench.stop_docker();
    let _ = bench.engine("corten", "system down").command().status();
    measure::leave_cgroup();
    result
}

/// Whether a word of the command line means this section: its name, or that of the group that it belongs to.
fn named(section: &str, word: &str) -> bool {
    let group = if images::NAMES.contains(&section) {
        "images"
    } else {
        section.split('-').next().unwrap_or_default()
    };
    section == word || group == word && matches!(group, "images" | "network" | "oci")
}

/// Moves into a mount and a network namespace, so that the bridges, rules and mounts of four engines end with us.
fn isolate() -> anyhow::Result<()> {
    use rustix::thread::UnshareFlags;
    #[allow(deprecated, reason = "unsafe only for shared descriptors, which stay shared here")]
    rustix::thread::unshare(UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::FS)
        .context("the benchmark needs root")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // crun 1.8 refuses a machine that has controllers in v2 beside v1; without this mount it sees v1 only.
    if Path::new("/sys/fs/cgroup/unified").exists() {
        unmount("/sys/fs/cgroup/unified", UnmountFlags::DETACH)?;
    }
    fs::create_dir_all(RUN)?;
    mount("tmpfs", RUN, "tmpfs", MountFlags::empty(), c"mode=700")?;
    shell::run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    let bridge = "ip link add floorbr type bridge && ip address add 10.213.0.1/16 dev floorbr && ip link set floorbr up";
    shell::run(Command::new("sh").args(["-c", bridge]))
}

impl Bench {
    fn measure(&mut self, names: &[String]) -> anyhow::Result<()> {
        self.peers("prepare", &[RUN, &self.images.to_string_lossy()])?;
        let wanted: Vec<&str> = sections::names()
            .into_iter()
            .filter(|section| names.is_empty() || names.iter().any(|name| named(section, name)))
            .collect();
        // Where runtimes alone are compared, no daemon is to take processor time beside them.
        let alone = |name: &str| name.starts_with("oci-");
        if !wanted.iter().all(|name| alone(name)) {
            self.start_engines()?;
        }
        for name in wanted {
            if alone(name) {
                self.stop_docker();
            }
            println!("\n==> {name}");
            let (name, table) = if network::NAMES.contains(&name) {
                (name, network::measure(self, name)?)
            } else {
                let section = sections::measure(self, name)?;
                (section.name, section.table())
            };
            println!("{table}");
            // The figures of another binary, or of another file system, do not belong into the tables of our documentation.
            if ["CORTEN_BIN", "CORTEN_BENCH_DIR"].iter().all(|name| std::env::var_os(name).is_none()) {
                report::keep(name, &table)?;
            }
        }
        Ok(())
    }

    /// Docker's daemon, and the image in the stores of those that are measured on it.
    fn start_engines(&mut self) -> anyhow::Result<()> {
        self.start_docker("docker")?;
        // of a run that was interrupted
        self.remove_containers();
        for engine in ["docker", "corten"] {
            self.engine(engine, &format!("load -i {}", self.images.join("busybox.tar").display())).run()?;
        }
        Ok(())
    }

    /// A command line of `corten`, `podman` or `docker`, with the benchmark's own stores.
    fn engine(&self, name: &str, line: &str) -> Contender {
        let dir = self.dir.display();
        let pairs =
            |pairs: &[(&str, String)]| pairs.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        let env: Vec<(String, String)> = match name {
            "corten" => pairs(&[
                ("CORTEN_ROOT", format!("{dir}/corten")),
                ("CORTEN_STATE", format!("{RUN}/corten")),
                ("CORTEN_CGROUP_PARENT", "corten-bench-engine".into()),
            ]),
            "podman" => pairs(&[
                ("CONTAINERS_STORAGE_CONF", format!("{dir}/storage.conf")),
                ("CONTAINERS_CONF", format!("{dir}/containers.conf")),
            ]),
            _ => pairs(&[("DOCKER_HOST", format!("unix://{RUN}/docker.sock"))]),
        };
        let program = if name == "corten" { self.corten.to_string_lossy().into_owned() } else { name.into() };
        let mut words: Vec<String> =
            std::iter::once(program).chain(line.split(' ').map(String::from)).collect();
        if name == "podman" && words[1] == "run" {
            words.insert(2, format!("--cgroup-parent=/{}/podman", measure::CGROUP));
        }
        if name == "podman" && words[1] == "rm" {
            // It would wait ten seconds for each to end by itself, which the others do not.
            words.insert(2, "--time=0".into());
        }
        Contender { name: name.into(), words, env, dir: None }
    }

    /// What a command line of an engine prints.
    fn ask(&self, name: &str, line: &str) -> anyhow::Result<String> {
        let mut command = self.engine(name, line).command();
        Ok(shell::output(command.stdout(std::process::Stdio::piped()))?.trim().to_string())
    }

    /// Removes every container that is in the benchmark's stores. What cannot be removed will show in what follows.
    fn remove_containers(&self) {
        for engine in sections::ENGINES {
            let ids = self.ask(engine, "ps -aq").unwrap_or_default().replace('\n', " ");
            if !ids.is_empty() {
                let _ = self.engine(engine, &format!("rm -f {ids}")).run();
            }
        }
    }

    fn peers(&self, what: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new("bash");
        shell::output(command.arg("xtask/bench/peers.sh").arg(what).arg(&self.dir).args(arguments))
    }

    /// Starts a docker daemon with this data root below the benchmark's directory.
    fn start_docker(&mut self, root: &str) -> anyhow::Result<()> {
        let pid = self.peers("dockerd", &[RUN, root])?.trim().parse()?;
        self.dockerd = rustix::process::Pid::from_raw(pid);
        Ok(())
    }

    fn stop_docker(&mut self) {
        let Some(pid) = self.dockerd.take() else { return };
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        for _ in 0..200 {
            if rustix::process::test_kill_process(pid).is_err() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}
