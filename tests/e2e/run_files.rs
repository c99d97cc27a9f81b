//! `corten run`: the file system: layers, volumes, mounts, tmpfs, read-only roots, directories as roots.

use e2e::{Sandbox, images};
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn changes_stay_in_the_container() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm busybox sh -c 'echo x >/etc/passwd; rm /bin/ls; mkdir /new'").ok();
    assert_eq!(s.corten("run --rm busybox sh -c 'wc -l </etc/passwd; ls -d /new'").exits(1), "4");
    s.corten("run --name box busybox sh -c 'echo kept >/kept'").ok();
    s.corten("start box").ok();
    s.corten("wait box").ok();
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn volumes() {
    let s = Sandbox::with(&["busybox"]);
    let data = s.dir.join("data");
    fs::create_dir(&data).expect("writable");
    fs::write(data.join("in"), "from the host\n").expect("writable");
    let data = data.display();
    assert_eq!(s.corten(&format!("run --rm -v {data}:/data busybox cat /data/in")).ok(), "from the host");
    s.corten(&format!("run --rm -v {data}:/data busybox sh -c 'echo out >/data/out'")).ok();
    assert_eq!(fs::read_to_string(format!("{data}/out")).expect("written by the container"), "out\n");
    let refused = s.corten(&format!("run --rm -v {data}:/data:ro busybox sh -c 'echo no >/data/no'"));
    assert!(refused.code == 1 && refused.stderr.contains("Read-only file system"), "{refused}");
    // One file, at a place that is not there yet.
    assert_eq!(
        s.corten(&format!("run --rm -v {data}/in:/a/b/c:ro busybox cat /a/b/c")).ok(),
        "from the host"
    );
    // As Docker does it: -v makes what is missing, --mount does not.
    s.corten(&format!("run --rm -v {data}/made:/m busybox touch /m/x")).ok();
    assert!(fs::exists(format!("{data}/made/x")).expect("readable"));
    s.corten(&format!("run --rm --mount type=bind,src={data}/missing,dst=/m busybox true"))
        .fails(125, &["missing"]);
    s.corten(&format!("run --rm -v {data}:relative busybox true")).fails(125, &["relative"]);
    s.end();
}

#[test]
fn mounts() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir(s.dir.join("data")).expect("writable");
    let data = s.dir.join("data").display().to_string();
    let bind = format!("--mount type=bind,source={data},target=/d,readonly");
    let table = s
        .corten(&format!("run --rm {bind} --mount type=tmpfs,dst=/t,tmpfs-size=1m busybox cat /proc/mounts"));
    let line = |at: &str| {
        table.ok().lines().find(|l| l.split(' ').nth(1) == Some(at)).unwrap_or_default().to_string()
    };
    assert!(line("/d").contains(" ro,"), "{table}");
    assert!(line("/t").contains("tmpfs") && line("/t").contains("size=1024k"), "{table}");
    s.corten("run --rm --mount type=cloud,dst=/x busybox true").fails(125, &["cloud"]);
    s.corten("run --rm --mount type=bind,sauce=/x busybox true").fails(125, &["sauce"]);
    s.end();
}

#[test]
fn mounts_inside_a_volume_come_with_it() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir_all(s.dir.join("data/inner")).expect("writable");
    s.host("mount -t tmpfs -o mode=755 inner data/inner && echo deep >data/inner/file").ok();
    assert_eq!(
        s.corten(&format!("run --rm -v {}/data:/data busybox cat /data/inner/file", s.dir.display())).ok(),
        "deep"
    );
    s.host("umount data/inner").ok();
    s.end();
}

#[test]
fn the_whole_machine_as_a_volume() {
    let s = Sandbox::with(&["busybox"]);
    // Below / are file systems that cannot show their owners by other ids.
    let script = "cat /host/proc/sys/kernel/ostype; ls /host/sys/fs/cgroup | grep -qw cgroup.procs || ls /host/sys/fs/cgroup | grep -qw memory; \
                  echo $?; touch /host/x";
    let output = s.corten(&format!("run --rm -v /:/host:ro busybox sh -c '{script}'"));
    assert!(output.stdout == "Linux\n0\n" && output.stderr.contains("Read-only file system"), "{output}");
    s.end();
}

#[test]
fn any_name_of_the_data_root_will_do() {
    let s = Sandbox::new();
    let archive = e2e::images::image("busybox.tar");
    let long = format!("{0}/{0}", "long".repeat(50));
    for name in ["colon:comma,back\\slash", "white space", &long] {
        let run = |line: &str| {
            let mut command = s.command(line);
            command.env("CORTEN_ROOT", s.dir.join(name)).stdin(std::process::Stdio::null());
            e2e::Background::start(line, &mut command).wait()
        };
        run(&format!("load -q -i {}", archive.display())).ok();
        assert_eq!(run("run --rm --network none busybox echo here").ok(), "here", "{name}");
    }
    s.end();
}

#[test]
fn read_only_roots_and_tmpfs() {
    let s = Sandbox::with(&["busybox"]);
    let refused = s.corten("run --rm --read-only busybox touch /x");
    assert!(refused.code == 1 && refused.stderr.contains("Read-only file system"), "{refused}");
    s.corten("run --rm --read-only --tmpfs /tmp busybox touch /tmp/x /dev/shm/x").ok();
    let options = s.corten("run --rm --tmpfs /cache:size=2m,mode=700 busybox sh -c 'grep \" /cache \" /proc/mounts; stat -c %a /cache'");
    assert!(options.ok().contains("size=2048k") && options.ok().ends_with("700"), "{options}");
    assert!(
        options.ok().contains("nosuid") && options.ok().contains("nodev") && options.ok().contains("noexec"),
        "{options}"
    );
    s.end();
}

#[test]
fn a_directory_as_root() {
    let s = Sandbox::new();
    let root = s.dir.join("rootfs");
    images::unpack("busybox", &root);
    assert_eq!(s.corten("run --rm --rootfs rootfs echo hello").ok(), "hello");
    s.corten("run --rm --rootfs rootfs sh -c 'echo x >/written; chown 1000 /written'").ok();
    assert_eq!(fs::metadata(root.join("written")).expect("written by the container").uid(), 1000);
    s.corten("run --rm --rootfs nosuchdir true").fails(125, &["nosuchdir"]);
    s.end();
}

#[test]
fn the_usual_devices_and_links_are_there() {
    let s = Sandbox::with(&["busybox"]);
    let script = "for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done
        for l in fd stdin stdout stderr ptmx; do test -L /dev/$l || echo no link $l; done
        echo x >/dev/null; head -c 3 /dev/zero | wc -c; test -d /dev/pts -a -d /dev/shm -a -d /dev/mqueue && echo dirs
        stat -c %a /dev/shm; ls /dev | wc -l; test -e /dev/kmsg || echo no kmsg; test -e /dev/vda || echo no disk";
    let output = s.corten(&format!("run --rm busybox sh -c '{script}'"));
    let lines: Vec<&str> = output.ok().lines().collect();
    assert_eq!(lines[..3], ["3", "dirs", "1777"], "{output}");
    assert_eq!(lines[4..], ["no kmsg", "no disk"], "{output}");
    s.end();
}

#[test]
fn files_of_many_kinds_can_be_made() {
    let s = Sandbox::with(&["busybox"]);
    let script = "mkfifo /p && ln -s /p /l && ln /p /h && test -p /h -a -L /l && echo made";
    assert_eq!(s.corten(&format!("run --rm busybox sh -c '{script}'")).ok(), "made");
    s.end();
}
