//! Users: root inside is nobody outside, and files keep their owners all the same.

use e2e::Sandbox;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

/// A field of /proc/PID/status of the container's first process, as the host sees it.
fn status(s: &Sandbox, container: &str, field: &str) -> Vec<String> {
    let pid = s.inspect(container, "{{.State.Pid}}");
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the container runs");
    let line = text.lines().find(|l| l.starts_with(&format!("{field}:"))).expect("the field is there");
    line.split_whitespace().skip(1).map(String::from).collect()
}

#[test]
fn root_inside_is_nobody_outside() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name one busybox sleep 100");
    s.detached("--name two busybox sleep 100");
    s.detached("--name three --userns host busybox sleep 100");
    let uid = |name: &str| status(&s, name, "Uid")[0].parse::<u32>().expect("a number");
    assert!(uid("one") >= 65536 && uid("two") >= 65536, "ids below 65536 are people's");
    assert!(uid("one").abs_diff(uid("two")) >= 65536, "two containers share ids");
    assert_eq!(uid("three"), 0);
    assert_eq!(s.corten("exec one id -u").ok(), "0");
    let map = s.corten("exec one cat /proc/self/uid_map");
    let map: Vec<&str> = map.ok().split_whitespace().collect();
    assert_eq!((map[0], map[2]), ("0", "65536"));
    assert_ne!(map[1], "0");
    s.corten("rm -f one two three").ok();
    s.end();
}

#[test]
fn files_on_volumes_keep_their_owners() {
    let s = Sandbox::with(&["busybox"]);
    let data = s.dir.join("data");
    fs::create_dir(&data).expect("writable");
    fs::write(data.join("theirs"), "").expect("writable");
    chown(data.join("theirs"), Some(1234), Some(1235)).expect("root");
    let script = "stat -c %u:%g /d/theirs; touch /d/roots; touch /d/users; chown 1000:29 /d/users";
    assert_eq!(
        s.corten(&format!("run --rm -v {}:/d busybox sh -c '{script}'", data.display())).ok(),
        "1234:1235"
    );
    let owner = |name: &str| fs::metadata(data.join(name)).map(|m| (m.uid(), m.gid())).expect("it was made");
    assert_eq!(owner("roots"), (0, 0));
    assert_eq!(owner("users"), (1000, 29));
    s.end();
}

#[test]
fn files_of_the_image_keep_their_owners() {
    let s = Sandbox::with(&["busybox"]);
    let script =
        "stat -c %u:%g / /bin/busybox /etc/passwd | sort -u; touch /x; chown 1000:1000 /x; stat -c %u:%g /x";
    assert_eq!(s.corten(&format!("run --rm busybox sh -c '{script}'")).ok(), "0:0\n1000:1000");
    s.end();
}

#[test]
fn a_user_of_the_image_may_write_only_what_is_theirs() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm -u user busybox touch /tmp/x").ok();
    s.corten("run --rm -u user busybox touch /etc/x").exits(1);
    s.end();
}

/// The range of ids is given to nobody else while a container that shares it is there, whoever goes first.
#[test]
fn shared_ids_are_held_by_the_last_of_them() {
    let s = Sandbox::with(&["busybox"]);
    let held = || std::fs::read_dir(s.scope.root.join("ids")).expect("it is there").count();
    for order in [["one", "two", "three"], ["three", "two", "one"], ["two", "one", "three"]] {
        s.corten("create --name first busybox true").ok();
        s.corten("rename first one").ok();
        s.corten("create --name two --network container:one busybox true").ok();
        s.corten("create --name three --ipc container:two busybox true").ok();
        for (removed, name) in order.iter().enumerate() {
            assert!(held() > 0, "{order:?}: {removed} removed");
            assert!(s.corten("system check").ok().ends_with(": no faults"));
            s.corten(&format!("rm {name}")).ok();
        }
        assert_eq!(held(), 0, "{order:?}");
    }
    s.end();
}

/// A mount that cannot show files by the container's ids is refused, not shown by other ids.
#[test]
fn a_file_system_that_cannot_map_owners_is_refused() {
    let s = Sandbox::with(&["busybox"]);
    let data = s.dir.join("ramfs");
    fs::create_dir(&data).expect("writable");
    rustix::mount::mount("ramfs", &data, "ramfs", rustix::mount::MountFlags::empty(), c"")
        .expect("it is in every kernel");
    let refused = s.corten(&format!("run --name box --network none -v {}:/d busybox true", data.display()));
    refused.fails(125, &["ramfs", "this file system has no idmapped mounts", "--userns=host"]);
    s.corten("rm box").ok();
    let host = s.corten(&format!(
        "run --rm --network none --userns host -v {}:/d busybox touch /d/x",
        data.display()
    ));
    host.ok();
    assert!(data.join("x").exists());
    rustix::mount::unmount(&data, rustix::mount::UnmountFlags::empty()).expect("it is ours");
    s.end();
}
