//! Mounts beyond volumes: images, directories whose files stay their owner's, and what comes and goes while a container runs.

use e2e::Sandbox;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

#[test]
fn an_image_as_a_directory() {
    let s = Sandbox::with(&["busybox", "nginx"]);
    let mount = "--mount type=image,source=nginx,target=/other";
    for userns in ["", "--userns host"] {
        let run =
            |mount: &str, command: &str| s.corten(&format!("run --rm {userns} {mount} busybox {command}"));
        let owners =
            run(mount, "sh -c 'ls /other/bin | grep -c . >/dev/null && stat -c %u:%g /other/etc/passwd'");
        assert_eq!(owners.ok(), "0:0");
        let written = run(mount, "touch /other/x");
        assert!(written.code != 0 && written.stderr.contains("Read-only"), "{written}");
        let part = "--mount type=image,src=nginx,dst=/etc/pw,image-subpath=etc/passwd";
        assert!(run(part, "grep root /etc/pw").ok().starts_with("root:"));
        assert_eq!(
            run("--mount type=image,src=nginx,dst=/e,image-subpath=etc", "ls /e/passwd").ok(),
            "/e/passwd"
        );
        run("--mount type=image,src=nginx,dst=/e,image-subpath=nosuch", "true").fails(125, &["/e"]);
    }
    s.corten("run --rm --mount type=image,src=nosuch,dst=/e busybox true")
        .fails(125, &["such image", "nosuch"]);
    s.corten("run --rm --mount type=image,src=@host,dst=/e busybox true").fails(125, &["@host"]);
    s.corten("run --rm --mount type=image,src=nginx,dst=/e,image-subpath=../x busybox true")
        .fails(125, &["../x"]);
    s.corten("run --rm --mount type=bind,src=/,dst=/e,image-subpath=x busybox true").fails(125, &["image-*"]);
    // It is in use.
    s.corten(&format!("create --name box {mount} busybox true")).ok();
    s.corten("rmi nginx").fails(1, &["nginx"]);
    assert_eq!(s.inspect("box", "{{(index .Mounts 0).Type}} {{(index .Mounts 0).RW}}"), "image false");
    s.corten("rm box").ok();
    s.corten("rmi nginx").ok();
    s.end();
}

#[test]
fn files_belong_to_whoever_made_them() {
    let s = Sandbox::with(&["busybox"]);
    let work = s.dir.join("work");
    fs::create_dir(&work).expect("writable");
    fs::write(work.join("mine"), "mine").expect("writable");
    fs::set_permissions(work.join("mine"), fs::Permissions::from_mode(0o600)).expect("ours");
    for path in [&work, &work.join("mine")] {
        chown(path, Some(1234), Some(2345)).expect("root");
    }
    let owner = |name: &str| {
        let meta = fs::metadata(work.join(name)).expect("it is there");
        (meta.uid(), meta.gid())
    };
    let dir = work.display().to_string();
    let look = "sh -c 'cat /w/mine; stat -c \" %u:%g\" /w/mine; echo made >/w/NAME'";
    for (number, (flags, seen)) in [
        (format!("-v {dir}:/w:map=1234:2345"), "mine 0:0"),
        (format!("--mount type=bind,src={dir},dst=/w,map=owner"), "mine 0:0"),
        (format!("-u 77:88 -v {dir}:/w:rw,map=owner"), "mine 77:88"),
        (format!("--userns host -v {dir}:/w:map=1234:2345"), "mine 0:0"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("made{number}");
        let run = s.corten(&format!("run --rm {flags} busybox {}", look.replace("NAME", &name)));
        assert_eq!(run.ok(), seen, "{flags}");
        assert_eq!(owner(&name), (1234, 2345), "{flags}");
    }
    // Nobody else has anything there: a second user of the container makes no files.
    let other = s.corten(&format!(
        "run --rm -v {dir}:/w:map=owner busybox sh -c 'chmod 777 /w; su -s /bin/sh nobody -c \"touch /w/x\"'"
    ));
    assert!(other.code != 0 && !work.join("x").exists(), "{other}");
    // A volume, too.
    s.corten("volume create --uid 1234 --gid 2345 data").ok();
    assert_eq!(s.corten("run --rm -v data:/d:map=owner busybox stat -c %u:%g /d").ok(), "0:0");
    s.corten("volume rm data").ok();
    for (spec, word) in [(format!("{dir}:/w:map=you"), "you"), (format!("{dir}:/w:U"), "map=me")] {
        s.corten(&format!("run --rm -v {spec} busybox true")).fails(125, &[word]);
    }
    // A file system that knows no other owners.
    s.corten("run --rm --mount type=bind,src=/proc,dst=/w,map=0:0 busybox true").fails(125, &["owners"]);
    s.end();
}

#[test]
fn what_is_mounted_below_has_flags_of_its_own() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir_all(s.dir.join("tree/below")).expect("writable");
    s.host("mount -t tmpfs below tree/below").ok();
    let dir = s.dir.join("tree").display().to_string();
    for userns in ["", "--userns host"] {
        let touch = |recursive: &str| {
            let mount = format!("type=bind,src={dir},dst=/t,ro,bind-recursive={recursive}");
            let run = s.corten(&format!(
                "run --rm {userns} --mount {mount} busybox sh -c 'touch /t/x; touch /t/below/x'"
            ));
            run.stderr.matches("Read-only").count()
        };
        assert_eq!((touch("enabled"), touch("writable"), touch("readonly")), (2, 1, 2), "{userns}");
    }
    s.host("umount tree/below").ok();
    s.end();
}

#[test]
fn mounts_come_and_go_while_it_runs() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir(s.dir.join("dir")).expect("writable");
    fs::write(s.dir.join("dir/file"), "here").expect("writable");
    let dir = s.dir.join("dir").display().to_string();
    for userns in ["", "--userns host"] {
        s.detached(&format!("--name box {userns} -v old:/old busybox sleep 1000"));
        s.corten(&format!("update --mount-add {dir}:/new/place:ro --mount-add data:/data box")).ok();
        assert_eq!(s.corten("exec box cat /new/place/file").ok(), "here");
        assert_eq!(s.corten("exec box touch /new/place/x").code, 1);
        assert_eq!(s.corten("exec box sh -c 'touch /data/x; stat -c %u /data/x'").ok(), "0");
        s.corten("update --mount-add type=tmpfs,dst=/memory,tmpfs-size=1m box").ok();
        assert!(s.corten("exec box df -m /memory").ok().contains(" 1 "));
        let mine = format!("type=bind,src={dir},dst=/mine,map=owner");
        s.corten(&format!("update --mount-add {mine} box")).ok();
        assert_eq!(s.corten("exec box stat -c %u /mine/file").ok(), "0");
        // They are told, and a new container would have them.
        assert_eq!(s.inspect("box", "{{len .Mounts}}"), "4");
        let line = s.corten("inspect --as-run box").ok().to_string();
        assert!(
            line.contains(&format!("--volume {dir}:/new/place:ro")) && line.contains("--mount type=tmpfs"),
            "{line}"
        );
        s.corten("update --mount-rm /old --mount-rm /data --mount-rm /mine box").ok();
        let places = "exec box sh -c 'grep -cE \" /(old|data|mine|memory|new/place) \" /proc/mounts'";
        assert_eq!(s.corten(places).ok(), "2");
        let line = s.corten("inspect --as-run box").ok().to_string();
        assert!(!line.contains("old:/old") && !line.contains("data:/data"), "{line}");
        s.corten("volume rm old data").ok();
        s.corten("update --mount-rm /nosuch box").fails(1, &["/nosuch"]);
        s.corten(&format!("update --mount-add {dir}:/memory box")).fails(1, &["/memory"]);
        s.corten(&format!("update --mount-add {dir}/missing/file:/f:map=x box")).fails(1, &["map"]);
        // And they are there when it starts again.
        s.corten("restart -t 0 box").ok();
        assert_eq!(s.corten("exec box cat /new/place/file").ok(), "here");
        assert_eq!(s.corten(places).ok(), "2");
        s.corten("rm -f box").ok();
    }
    s.end();
}

#[test]
fn links_of_the_container_lead_no_mount_astray() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir(s.dir.join("dir")).expect("writable");
    let dir = s.dir.join("dir").display().to_string();
    s.detached(
        "--name box -v data:/a/b busybox sh -c 'ln -s /proc /link; ln -s / /root-link; exec sleep 1000'",
    );
    e2e::wait_until("the links", 10, || s.corten("exec box readlink /root-link").code == 0);
    // Through a link it is mounted where the container sees it, never on the host.
    s.corten(&format!("update --mount-add {dir}:/root-link/there box")).ok();
    assert_eq!(s.corten("exec box ls -d /there").ok(), "/there");
    assert!(!std::path::Path::new("/there").exists());
    // What stands in the way of a place that is taken away is not taken away in its stead.
    s.corten("exec box sh -c 'mv /a /c && ln -s / /a && mkdir -p /b'").ok();
    let refused = s.corten("update --mount-rm /a/b box");
    assert!(refused.code == 1 && refused.stderr.contains("/a/b"), "{refused}");
    assert!(s.corten("exec box cat /proc/mounts").ok().contains(" /c/b "));
    s.corten("rm -f box").ok();
    s.corten("volume rm data").ok();
    s.end();
}

#[test]
fn environment_and_labels_change() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box -e A=1 -e B=2 -l tier=db busybox sh -c 'echo $A-$B-$C'").ok();
    assert_eq!(s.corten("start -a box").ok(), "1-2-");
    s.corten("update -e A=x -e C=3 --env-rm B --label tier=web --label owner=me box").ok();
    assert_eq!(s.corten("start -a box").ok(), "x--3");
    assert_eq!(s.inspect("box", "{{.Config.Labels.tier}} {{.Config.Labels.owner}}"), "web me");
    assert_eq!(s.corten("ps -aq -f label=tier=web").ok().lines().count(), 1);
    s.corten("update --label-rm owner --memory 64m box").ok();
    let line = s.corten("inspect --as-run box").ok().to_string();
    assert!(!line.contains("B=2") && !line.contains("owner") && line.contains("--memory 64m"), "{line}");
    // What it says can be said again.
    let again = line.replacen("corten create", "create", 1).replacen("--name box", "--name copy", 1);
    s.corten(&again).ok();
    assert_eq!(s.corten("start -a copy").ok(), "x--3");
    s.corten("rm box copy").ok();
    s.detached("--name box busybox sleep 1000");
    let told = s.corten("update -e A=1 box");
    assert!(told.ok() == "box" && told.stderr.contains("starts again"), "{told}");
    assert_eq!(s.corten("exec box sh -c 'echo $A'").ok(), "1");
    s.corten("update -e =x box").fails(1, &["=x"]);
    s.corten("update --label =x box").fails(1, &["=x"]);
    s.corten("rm -f box").ok();
    s.end();
}
