//! `--storage-opt size`: a container's own files take so much of the disk and no more, where the file system counts.

use e2e::{Sandbox, images::image};

/// A sandbox whose data root is an ext4 of its own, that keeps project quotas.
fn counted() -> Sandbox {
    let s = Sandbox::new();
    let root = s.scope.root.display();
    s.host(&format!(
        "truncate -s 160M disk && mkfs.ext4 -q -m 0 -O quota,project disk && mkdir -m 700 {root} && mount -o loop,prjquota disk {root}"
    ))
    .ok();
    s.corten(&format!("load -q -i {}", image("busybox.tar").display())).ok();
    s
}

/// Fills the root until nothing more goes in, and tells how many kibibytes did.
const FILL: &str = "dd if=/dev/zero of=/big bs=64k 2>/dev/null; du -k /big | cut -f1";

#[track_caller]
fn filled(told: &str, most: u64) {
    let kib: u64 = told.trim().parse().unwrap_or_else(|_| panic!("a number: {told}"));
    assert!(kib <= most && kib > most / 2, "{kib} KiB of {most}");
}

#[test]
#[ignore = "it needs a kernel with project quotas: `cargo xtask test` runs it in the virtual machine"]
fn so_much_and_no_more() {
    let s = counted();
    let run = "run --network none";
    let fill = s.corten(&format!("{run} --name box --storage-opt size=8m busybox sh -c '{FILL}'"));
    filled(fill.ok(), 8 << 10);
    let more = s.corten(&format!(
        "{run} --rm --storage-opt size=8m busybox sh -c 'dd if=/dev/zero of=/big bs=1M count=9 && echo fits'"
    ));
    assert!(!more.stdout.contains("fits"), "{more}");
    assert!(more.stderr.contains("quota exceeded") || more.stderr.contains("No space"), "{more}");
    // It is the only one that is full: others have all of the disk, and their own size.
    let other = format!("{run} --rm busybox sh -c 'head -c 20000000 /dev/zero >/big && echo fits'");
    assert_eq!(s.corten(&other).ok(), "fits");
    let one = s.corten(&format!("{run} --rm --storage-opt size=4m busybox sh -c '{FILL}'"));
    filled(one.ok(), 4 << 10);
    // What comes from outside counts as well.
    s.host("head -c 5000000 /dev/zero >big").ok();
    s.corten("create --name late --network none --storage-opt size=4m busybox true").ok();
    let copied = s.corten("cp big late:/big");
    assert!(copied.code != 0, "{copied}");
    assert_eq!(s.inspect("box", "{{.HostConfig.StorageOpt.size}}"), "8388608");
    let df = s.corten("system df -v");
    assert!(df.ok().contains(" / 8.389MB"), "{df}");
    assert!(s.corten("system check").ok().ends_with("no faults"));
    s.corten("rm box late").ok();
    gone(&s);
}

#[test]
#[ignore = "it needs a kernel with project quotas: `cargo xtask test` runs it in the virtual machine"]
fn with_the_host_s_ids_and_in_memory() {
    let s = counted();
    for more in ["--userns host", "--privileged"] {
        let fill = s.corten(&format!(
            "run --network none --name box {more} --storage-opt size=4m busybox sh -c '{FILL}'"
        ));
        filled(&fill.stdout, 4 << 10);
        s.corten("run -d --name with --network container:box --storage-opt size=4m busybox true");
        s.corten("rm -f with box").ok();
    }
    let fill = s.corten(&format!("run --rm --network none --storage-opt size=4m @host sh -c '{FILL}'"));
    filled(fill.ok(), 4 << 10);
    gone(&s);
}

/// No number is claimed any more, and no project has a limit.
fn gone(s: &Sandbox) {
    let root = s.scope.root.display();
    assert_eq!(s.host(&format!("ls {root}/ids {root}/containers | grep -v :")).stdout.trim(), "");
    s.corten("system down").ok();
    s.host(&format!("umount {root} && rmdir {root} && rm -f disk big")).ok();
}

#[test]
fn where_nobody_counts_it_is_refused() {
    let s = Sandbox::with(&["busybox"]);
    s.host(&format!("mkdir other && mount -t tmpfs none other && cp -a {}/. other", s.scope.root.display()))
        .ok();
    let refused = |flags: &str, words: &[&str]| {
        let mut all = vec!["--storage-opt"];
        all.extend(words);
        s.corten(&format!("--root other create --name box {flags}")).fails(125, &all);
        assert_eq!(s.corten("--root other ps -aq").ok(), "");
        assert_eq!(s.host("ls other/ids other/names other/containers | grep -v :").stdout.trim(), "");
    };
    refused("--storage-opt size=1g busybox true", &["other", "prjquota"]);
    refused("--storage-opt size=1g --rootfs / true", &["--rootfs"]);
    refused("--storage-opt size=1k busybox true", &["1m"]);
    refused("--storage-opt size=much busybox true", &["much"]);
    refused("--storage-opt depth=1 busybox true", &["size=BYTES"]);
    s.host("umount other && rmdir other").ok();
    s.end();
}
