//! `cargo xtask test`: everything that a change has to pass, from a machine with nothing but Rust and a C compiler.

use crate::{fuzz, packages, shell, tidy};
use anyhow::{Context, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// What the tests and the making of their images call. ca-certificates is for apt inside the images.
const PACKAGES: &[&str] = &[
    "bind9-dnsutils",
    "buildah",
    "busybox-static",
    "ca-certificates",
    "chromium-headless-shell",
    "conmon",
    "containerd",
    "crun",
    "curl",
    "docker-registry",
    "docker.io",
    "fish",
    "e2fsprogs",
    "gcc",
    "iproute2",
    "iptables",
    "iputils-ping",
    "jq",
    "libc6-dev",
    "libseccomp-dev",
    "man-db",
    "mmdebstrap",
    "netavark",
    "nftables",
    "openssl",
    "podman",
    "procps",
    "runc",
    "skopeo",
    "ufw",
    "umoci",
    "util-linux",
    "xz-utils",
    "zsh",
    "zstd",
];

/// The images that the tests inside the virtual machine need: the largest ones stay out, emulated disks are slow.
const VM_IMAGES: &[&str] = &[
    "busybox.tar",
    "busybox-buildah.tar",
    "busybox-old.tar",
    "busybox-new.tar",
    "busybox.oci",
    "busybox.oci.tar",
    "busybox-zstd.oci",
    "busybox-zstd.oci.tar",
    "several.tar",
    "nginx.tar",
];

/// What needs more than the small machine has (the image `debian`, skopeo, umoci, docker-registry, dig, iptables, ufw, a C compiler,
/// those who call runtimes), or more time there than it is worth (what registries, stores, parsers and journals do is the same on every
/// kernel; a tenth of an emulated processor is none): these run on the host only. A part of a name will do.
const NOT_IN_VM: &[&str] = &[
    "attacks::",
    "bad_input::",
    "book::",
    "cdi::",
    "check::",
    "commit::",
    "completion::",
    "configuration::",
    "connect::",
    "corpus::",
    "corpus_oci::",
    "cost::",
    "crash::",
    "denied::",
    "differential::a_difference",
    "differential::files",
    "differential::networks",
    "differential::rights",
    "disk::",
    "docker_flags::",
    "events::",
    "explain::",
    "faults::",
    "files::a_directory_that_was_removed",
    "files::cp_",
    "files::cve_2018_15664",
    "files::export_",
    "files::files_that_the_kernel",
    "files::what_has_changed",
    "firewalls::beside_docker",
    "firewalls::beside_ufw",
    "harness::",
    "health::",
    "images::",
    "kill::",
    "lab::",
    "layers::",
    "log_drivers::",
    "many::",
    "map::",
    "map_serve::",
    "mistakes::",
    "mounts::",
    "names::",
    "network_limits::",
    "networks::",
    "oci_bad_bundles::",
    "oci_drivers::",
    "oci_flags::",
    "oci_hooks::",
    "oci_runc::",
    "power::",
    "probe::",
    "ps::",
    "quota::where_nobody",
    "races::",
    "registry::",
    "registry_auth::",
    "registry_push::",
    "registry_real::",
    "save::",
    "scale::",
    "strangers::",
    "terminal::",
    "tutorial_inspect::",
    "ui::",
    "unpack::",
    "volumes::",
    "why::",
];

/// What no other machine does for a test: let its clock be set, mount an ext4 with project quotas. On the host these are ignored.
const VM_ALONE: &[&str] = &["clock::", "quota::so_much", "quota::with_the_host"];

/// The Debian suites whose kernels the machine boots: the first one for all tests, the second for [`NEWER_TESTS`].
const KERNELS: [&str; 2] = ["bookworm", "trixie"];

/// What leans on the kernel most: groups, rights, priorities, mounts.
const NEWER_TESTS: &[&str] = &["oci::", "oci_cgroup::", "oci_process::", "oci_security::"];

/// What is another matter where systemd runs the machine: these are what `--systemd` runs.
const SYSTEMD_TESTS: &[&str] = &[
    "oci::",
    "oci_cgroup::",
    "oci_systemd::",
    "oci_process::",
    "oci_exec::",
    "oci_security::",
    "oci_rootless::",
    "oci_drivers::podman_beside_systemd",
];

/// What shows within a minute or so that units work: what `--systemd=few` runs.
const FEW_SYSTEMD_TESTS: &[&str] = &["oci_systemd::"];

/// All is to be done within half an hour: fuzzing comes last, and ends by then or is left out.
const FUZZ_UNTIL: Duration = Duration::from_secs(29 * 60);

/// Which machine the tests run in.
#[derive(Clone, Copy, Default)]
struct Machine<'a> {
    /// The Debian suite of its kernel, instead of [`KERNELS`].
    kernel: Option<&'a str>,
    /// It is systemd's, and has Podman: then these tests run, unless others are asked for.
    systemd: Option<&'a [&'a str]>,
}

/// In the small machine: runs the tests with so many at a time, and what failed once more, alone, as nextest does on the host.
const VM_TESTS: &str = r#"export CORTEN_BIN=/test/corten CORTEN_TEST_CACHE=/test/images CORTEN_TEST_SLOW=12 CORTEN_TEST_THROWAWAY=1 RUST_BACKTRACE=0
uname -sr
tests() {
    threads=$1; shift
    { ./e2e --test-threads $threads "$@" 2>&1; echo $? >/tmp/status; } | tee /tmp/out
    [ $(cat /tmp/status) != 0 ] || return 0
    names=$(sed -n '/^failures:$/,$ s/^    \([a-z0-9_:]*\)$/\1/p' /tmp/out | sort -u)
    [ -n "$names" ] || return 1
    echo "once more, alone:" $names
    # what needs this machine is named with a reason, and asked for: it is not ignored the second time
    ./e2e --test-threads 1 --include-ignored --exact $names
}"#;

pub fn run(arguments: &[String]) -> anyhow::Result<()> {
    let start = Instant::now();
    let (options, filters): (Vec<_>, Vec<_>) = arguments.iter().partition(|a| a.starts_with('-'));
    let (mut host, mut vm, mut machine) = (true, true, Machine::default());
    for option in options {
        match option.split_once('=').unwrap_or((option, "")) {
            ("--no-vm", "") => vm = false,
            ("--only-vm", "") => host = false,
            ("--kernel", suite) if !suite.is_empty() => (host, machine.kernel) = (false, Some(suite)),
            ("--systemd", "") => (host, machine.systemd) = (false, Some(SYSTEMD_TESTS)),
            ("--systemd", "few") => (host, machine.systemd) = (false, Some(FEW_SYSTEMD_TESTS)),
            _ => bail!("unknown option {option}"),
        }
    }
    if !rustix::process::geteuid().is_root() {
        bail!("the end-to-end tests make namespaces, mounts and cgroups: run this as root");
    }
    packages::install(PACKAGES)?;
    let images = images()?;
    let corten = corten()?;
    // What fails in one stage says nothing about the others: all are run, all failures told at the end.
    let mut failures = Vec::new();
    let mut look = |result: anyhow::Result<()>| {
        failures.extend(result.inspect_err(|e| eprintln!("{e:#}")).map_err(|e| format!("{e:#}")).err());
    };
    if host {
        look(checks());
        look(tests(&corten, &images, &filters));
    }
    if vm {
        look(vm_tests(&corten, &images, &filters, machine));
    }
    if host && filters.is_empty() {
        stage("fuzzing");
        look(fuzz::until(start + FUZZ_UNTIL));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("\n"));
    }
    println!("\ncargo xtask test: all passed, {} s", start.elapsed().as_secs());
    Ok(())
}

/// Tells what begins, and how long what came before has taken.
fn stage(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    println!("\n==> {what} ({} s)", START.get_or_init(Instant::now).elapsed().as_secs());
}

/// The binary under test: `CORTEN_BIN`, else the release build of what is here.
pub fn corten() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CORTEN_BIN") {
        return Ok(PathBuf::from(path).canonicalize()?);
    }
    stage("building the release binary");
    shell::run(shell::cargo().args(["build", "--release", "--package", "corten"]))?;
    built("release", "corten")
}

/// House rules, format and lints.
fn checks() -> anyhow::Result<()> {
    stage("house rules, rustfmt, clippy");
    tidy::run()?;
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))?;
    shell::run(shell::cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))
}

/// Makes the test images unless they are there, and says where.
pub fn images() -> anyhow::Result<PathBuf> {
    let cache =
        std::env::var_os("CORTEN_TEST_CACHE").map_or_else(|| target().join("test-images"), PathBuf::from);
    stage("test images");
    shell::run(Command::new("bash").arg("xtask/images.sh").arg(&cache))?;
    Ok(cache.canonicalize()?)
}

/// All tests of the workspace on this machine.
fn tests(corten: &Path, images: &Path, filters: &[&String]) -> anyhow::Result<()> {
    stage("tests on this machine");
    let mut command = shell::cargo();
    let nextest = shell::exists("cargo-nextest");
    command.args(if nextest { &["nextest", "run"][..] } else { &["test"][..] });
    command.args(["--workspace"]).args(filters);
    if nextest {
        // They wait a third of the time.
        let threads = 3 * std::thread::available_parallelism()?.get().div_ceil(2);
        command.args(["--test-threads", &threads.to_string()]);
    }
    // snapshots are to be compared, never written
    command.env("CORTEN_BIN", corten).env("CORTEN_TEST_CACHE", images).env("INSTA_UPDATE", "no");
    shell::run(&mut command)
}

/// The end-to-end tests once more, where there is cgroup v2 alone: on an older kernel all, on a newer one some of them; or
/// all on the kernel of the suite that was asked for.
fn vm_tests(corten: &Path, images: &Path, filters: &[&String], machine: Machine<'_>) -> anyhow::Result<()> {
    stage("a virtual machine with cgroup v2");
    let tests = e2e_binary()?;
    let directory = target().join("test-vm");
    let share = directory.join("share");
    let _ = fs::remove_dir_all(&share);
    fs::create_dir_all(share.join("images"))?;
    copy(corten, &share.join("corten"))?;
    copy(&tests, &share.join("e2e"))?;
    for name in VM_IMAGES {
        copy(&images.join(name), &share.join("images").join(name))?;
    }
    let filters: Vec<&str> = filters.iter().map(|f| f.as_str()).collect();
    // Tests that measure (their names end in `alone`) get all processors, as with nextest. There is no registry in the machine.
    let skip: String = NOT_IN_VM.iter().map(|name| format!(" --skip {name}")).collect();
    let all = format!(
        "tests 2 --skip alone{skip}; first=$?; tests 1 alone{skip}; second=$?; tests 1 --include-ignored {} && exit $((first | second))",
        VM_ALONE.join(" ")
    );
    let some = |names: &[&str]| format!("tests 2 {} --skip alone{skip}", names.join(" "));
    let runs = match (machine.systemd, machine.kernel, filters.is_empty()) {
        (Some(tests), kernel, empty) => {
            let chosen = if empty { tests } else { &filters[..] };
            // One at a time: systemd and its tests are slow where they are emulated.
            let tests = format!("tests 1 --include-ignored --skip corpus_oci:: {}", chosen.join(" "));
            vec![(kernel.unwrap_or(KERNELS[0]), tests)]
        }
        (None, None, true) => vec![(KERNELS[0], all), (KERNELS[1], some(NEWER_TESTS))],
        (None, kernel, true) => vec![(kernel.unwrap_or(KERNELS[0]), all)],
        (None, kernel, false) => {
            let alone = |filter: &str| VM_ALONE.iter().any(|name| name.starts_with(filter));
            let ignored = if filters.iter().all(|filter| alone(filter)) { "--include-ignored " } else { "" };
            vec![(kernel.unwrap_or(KERNELS[0]), format!("tests 2 {ignored}{}", filters.join(" ")))]
        }
    };
    let mut failed = Vec::new();
    for (kernel, tests) in runs {
        stage(&format!("end-to-end tests with the kernel of Debian's {kernel}"));
        let mut vm = Command::new("bash");
        vm.arg("xtask/vm.sh").args([&directory, &share]).arg(format!("{VM_TESTS}\n{tests}"));
        vm.env("VM_KERNEL", kernel).env("VM_SYSTEMD", if machine.systemd.is_some() { "1" } else { "0" });
        if machine.systemd.is_some() {
            // Nobody waits for these but who asked for them.
            vm.env("VM_TIMEOUT", "3600");
        }
        match vm.status()?.code() {
            Some(0) => {}
            code => failed.push(format!(
                "the tests in the virtual machine with the kernel of {kernel} failed: {code:?}"
            )),
        }
    }
    fs::remove_dir_all(&share)?;
    if !failed.is_empty() {
        bail!("{}", failed.join("\n"));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    shell::run(Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]))
}

/// Builds the end-to-end tests and says where cargo put the program.
fn e2e_binary() -> anyhow::Result<PathBuf> {
    let build =
        ["test", "--quiet", "--package", "e2e", "--test", "e2e", "--no-run", "--message-format", "json"];
    let messages = shell::output(shell::cargo().args(build))?;
    let executable = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "e2e").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executable.context("cargo did not say where the end-to-end tests are")
}

/// Where cargo puts what it builds.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| shell::root().join("target"), PathBuf::from)
}

/// A program that cargo built: below the target's triple, since .cargo/config.toml names one.
fn built(profile: &str, name: &str) -> anyhow::Result<PathBuf> {
    built_in(&target(), profile, name)
}

/// The same where cargo was told another directory.
pub fn built_in(target: &Path, profile: &str, name: &str) -> anyhow::Result<PathBuf> {
    let below = fs::read_dir(target)?.flatten().map(|entry| entry.path());
    let found = below.map(|directory| directory.join(profile).join(name)).find(|path| path.is_file());
    found.with_context(|| format!("cargo built no {name}"))
}
