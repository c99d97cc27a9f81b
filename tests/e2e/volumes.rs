//! Volumes: made, filled from the image, shared, named by `--mount`, removed; and what is left of them.

use e2e::Sandbox;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn a_volume_outlives_its_containers() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("volume create --label tier=db data").ok(), "data");
    assert_eq!(s.corten("volume create data").ok(), "data", "one that is there may be made again");
    s.corten("run --rm -v data:/data busybox sh -c 'echo kept >/data/file'").ok();
    assert_eq!(s.corten("run --rm -v data:/elsewhere:ro busybox cat /elsewhere/file").ok(), "kept");
    // Made on first use.
    s.corten("run --rm -v other:/o busybox true").ok();
    assert_eq!(s.corten("volume ls").ok(), "DRIVER    VOLUME NAME\nlocal     data\nlocal     other");
    assert_eq!(s.corten("volume ls -q -f label=tier=db").ok(), "data");
    assert_eq!(s.corten("volume ls --format '{{.Name}}:{{.Label \"tier\"}}' -f name=da").ok(), "data:db");
    let place = s.corten("volume inspect -f '{{.Mountpoint}}' data");
    assert_eq!(fs::read_to_string(format!("{}/file", place.ok())).expect("the container's"), "kept\n");
    s.corten("volume create --driver cloud x").fails(1, &["cloud"]);
    s.corten("volume create x/y").fails(1, &["x/y"]);
    s.corten("volume inspect nosuch").exits(1);
    assert_eq!(s.corten("volume rm data other").ok(), "data\nother");
    s.corten("volume rm data").fails(1, &["no such volume: data"]);
    s.corten("volume rm -f data").ok();
    s.end();
}

#[test]
fn a_volume_in_use_stays() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("create --name box -v data:/data busybox true").ok();
    s.corten("volume rm data").fails(1, &["data", "in use"]);
    assert_eq!(s.corten("volume ls -q -f dangling=true").ok(), "");
    s.corten("volume prune -a -f").ok();
    assert_eq!(s.corten("volume ls -q").ok(), "data");
    s.corten("rm -v box").ok();
    assert_eq!(s.corten("volume ls -q -f dangling=true").ok(), "data", "it has a name");
    let pruned = s.corten("volume prune -f");
    assert_eq!(pruned.ok(), "Total reclaimed space: 0B");
    let pruned = s.corten("volume prune -f -a");
    assert!(pruned.ok().starts_with("Deleted Volumes:\ndata\n"), "{pruned}");
    s.end();
}

#[test]
fn a_new_volume_begins_with_what_the_image_has() {
    let s = Sandbox::with(&["busybox"]);
    let inside = s.corten("run --rm busybox sh -c 'ls /etc; stat -c %a /etc'");
    let filled = s.corten("run --rm -v etc:/etc busybox sh -c 'ls /etc; stat -c %a /etc; rm -rf /etc/*'");
    let without = |text: &str| text.lines().filter(|l| !NETWORK.contains(l)).collect::<Vec<_>>().join("\n");
    assert_eq!(without(filled.ok()), without(inside.ok()));
    assert!(filled.ok().contains("passwd"), "{filled}");
    // Emptied by its owner: it is filled again for a new container, as Docker does, but not when one starts again.
    s.corten("run --name box -v etc:/etc busybox sh -c 'ls /etc/passwd && rm /etc/passwd'").ok();
    s.corten("start -a box").exits(1);
    // Read-only ones are filled too.
    assert_eq!(
        s.corten("run --rm -v ro:/etc:ro busybox sh -c 'grep -c root /etc/passwd; touch /etc/x'").code,
        1
    );
    assert_eq!(s.corten("run --rm -v ro:/v busybox cat /v/passwd").ok().lines().count(), 4);
    s.corten("run --rm -v none:/etc:nocopy busybox test -e /etc/passwd").exits(1);
    let owned = "run --rm --mount type=volume,src=mine,dst=/etc busybox stat -c '%u:%g %a' /etc";
    s.corten("volume create --uid 7 --gid 8 --mode 2750 mine").ok();
    assert_eq!(s.corten(owned).ok(), "7:8 2750", "what was chosen stays");
    let place = s.corten("volume inspect -f '{{.Mountpoint}}' mine").ok().to_string();
    let meta = fs::metadata(place).expect("it is there");
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o7777), (7, 8, 0o2750));
    s.corten("rm box").ok();
    s.corten("volume rm etc ro none mine").ok();
    s.end();
}

/// Files that each container has of its own.
const NETWORK: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

#[test]
fn anonymous_volumes_go_with_their_container() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm -v /data busybox touch /data/x").ok();
    assert_eq!(s.corten("volume ls -q").ok(), "");
    s.corten("run --name box -v /data busybox touch /data/x").ok();
    let name = s.inspect("box", "{{range .Mounts}}{{.Name}}{{end}}");
    assert_eq!(name.len(), 64);
    assert_eq!(s.corten("volume ls -q").ok(), name);
    // Another container has it, too.
    s.corten("create --name heir --volumes-from box:ro busybox touch /data/y").ok();
    s.corten("rm -v box").ok();
    assert_eq!(s.corten("volume ls -q").ok(), name);
    let refused = s.corten("start -a heir");
    assert!(refused.stderr.contains("Read-only"), "{refused}");
    s.corten("rm heir").ok();
    assert_eq!(s.corten("volume ls -q").ok(), name, "without -v it stays");
    let pruned = s.corten("volume prune -f");
    assert!(pruned.ok().contains(&name), "{pruned}");
    s.end();
}

#[test]
fn a_place_in_a_volume() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm -v data:/d busybox sh -c 'mkdir -p /d/a/b; echo deep >/d/a/b/f; ln -s /etc /d/out; ln -s a /d/in'")
        .ok();
    let cat = |subpath: &str, path: &str| {
        s.corten(&format!(
            "run --rm --mount type=volume,src=data,dst=/m,volume-subpath={subpath} busybox cat {path}"
        ))
    };
    assert_eq!(cat("a/b", "/m/f").ok(), "deep");
    assert_eq!(cat("in/b/f", "/m").ok(), "deep", "a file, by a link inside");
    cat("out", "/m/passwd").fails(125, &["out"]);
    cat("missing", "/m").fails(125, &["missing"]);
    cat("../x", "/m").fails(125, &["../x"]);
    s.corten("volume rm data").ok();
    s.end();
}

#[test]
fn a_directory_of_the_host_as_a_volume() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir(s.dir.join("disk")).expect("writable");
    let disk = s.dir.join("disk").display().to_string();
    s.corten(&format!("volume create -o type=none -o o=bind -o device={disk} disk")).ok();
    s.corten("run --rm -v disk:/d busybox touch /d/here").ok();
    assert!(s.dir.join("disk/here").exists());
    s.corten("volume create -o type=nfs -o device=:/x far").fails(1, &["nfs"]);
    s.corten("volume rm disk").ok();
    assert!(s.dir.join("disk/here").exists(), "the directory is its owner's");
    s.end();
}

#[test]
fn mounts_are_spelled_out_or_refused() {
    let s = Sandbox::with(&["busybox"]);
    for (spec, word) in [
        ("type=bind,src=/tmp,dst=/t,volume-nocopy", "volume-*"),
        ("type=volume,src=vol,dst=/t,bind-propagation=rslave", "bind-*"),
        ("type=volume,src=vol,dst=/t,tmpfs-size=1m", "tmpfs-*"),
        ("type=bind,src=/tmp,dst=/t,bind-propagation=sideways", "sideways"),
        ("type=volume,src=vol,dst=/t,volume-driver=cloud", "cloud"),
        ("type=volume,src=vol,dst=/t,volume-subpath=/abs", "/abs"),
    ] {
        s.corten(&format!("run --rm --mount {spec} busybox true")).fails(125, &[word]);
    }
    s.corten("run --rm --mount type=volume,src=vol,dst=/t,volume-label=a=b busybox true").ok();
    assert_eq!(s.corten("volume inspect -f '{{.Labels.a}}' vol").ok(), "b");
    s.corten("volume rm vol").ok();
    s.end();
}

#[test]
fn a_volume_goes_out_and_comes_back_as_it_was() {
    let s = Sandbox::with(&["busybox"]);
    let make = "mkdir /d/dir; echo text >/d/dir/file; ln /d/dir/file /d/hard; ln -s ../../etc /d/out; \
        chown 70:70 /d /d/dir/file; chmod 4711 /d/dir/file; chmod 2750 /d; mkfifo /d/pipe; \
        dd if=/dev/zero of=/d/sparse bs=1 count=1 seek=5000000 2>/dev/null";
    s.corten(&format!("run --rm -v data:/d busybox sh -c '{make}'")).ok();
    let place =
        |name: &str| s.corten(&format!("volume inspect -f '{{{{.Mountpoint}}}}' {name}")).ok().to_string();
    s.host(&format!("setfattr -n user.note -v here {}/hard || true", place("data"))).ok();
    s.corten("volume export -o data.tar data").ok();
    let names = s.host("tar tf data.tar | sort").ok().to_string();
    assert_eq!(names, "./\n./dir/\n./dir/file\n./hard\n./out\n./pipe\n./sparse");
    assert!(fs::metadata(s.dir.join("data.tar")).expect("written").len() < 1_000_000, "holes are no zeros");
    assert_eq!(s.corten("volume import copy data.tar").ok(), "copy");
    let listed = |name: &str| {
        let list =
            "find . -printf '%p %y %m %U:%G %n %s %l %t\\n' | sort; cat dir/file; du -k sparse | cut -f1";
        s.host(&format!("cd {} && {list}", place(name))).ok().to_string()
    };
    assert_eq!(listed("copy"), listed("data"));
    // By pipes, compressed.
    let piped = format!(
        "gzip <data.tar | {} --root {} --state {} volume import piped",
        e2e::binary().display(),
        s.scope.root.display(),
        s.scope.state.display()
    );
    assert_eq!(s.host(&piped).ok(), "piped");
    assert_eq!(listed("piped"), listed("data"));
    // What was there before stays beside.
    s.corten("run --rm -v old:/d busybox touch /d/before").ok();
    s.corten("volume import old data.tar").ok();
    assert_eq!(s.corten("run --rm -v old:/d busybox ls /d").ok(), "before\ndir\nhard\nout\npipe\nsparse");
    s.corten("volume export nosuch").fails(1, &["nosuch"]);
    s.corten("volume export -o /nosuch/x data").fails(1, &["/nosuch/x"]);
    s.corten("volume rm data copy piped old").ok();
    s.end();
}

#[test]
fn an_archive_gets_nowhere_but_into_its_volume() {
    let s = Sandbox::new();
    let evil = "mkdir w && cd w && ln -s /etc link && echo x >f && \
        tar cf ../up.tar --transform 's,f,../../../evil,' f && \
        tar cf ../absolute.tar -P --transform 's,^f,/evil,' f && \
        tar cf ../link.tar link && tar rf ../link.tar --transform 's,^f,link/evil,' f && \
        tar cf ../node.tar /dev/null 2>/dev/null; head -c 3000 /dev/urandom >../noise.tar";
    s.host(evil).ok();
    for archive in ["up", "absolute", "link", "node", "noise"] {
        s.corten(&format!("volume import vol {archive}.tar"));
        let _ = s.corten("volume rm vol");
    }
    assert!(!s.dir.join("evil").exists() && !std::path::Path::new("/evil").exists());
    assert!(!std::path::Path::new("/etc/evil").exists());
    s.corten("volume import vol noise.tar").fails(1, &["vol"]);
    assert_eq!(s.corten("volume ls -q").ok(), "", "one that was made for nothing goes again");
    let node = s.corten("volume import vol node.tar");
    assert!(node.ok() == "vol" && node.stderr.contains("1 device node was not unpacked"), "{node}");
    s.corten("volume rm vol").ok();
    s.end();
}

#[test]
fn options_of_a_volume_that_is_made_for_a_mount() {
    let s = Sandbox::with(&["busybox"]);
    fs::create_dir(s.dir.join("disk")).expect("writable");
    let disk = s.dir.join("disk").display().to_string();
    let options = format!("volume-opt=type=none,volume-opt=o=bind,volume-opt=device={disk}");
    s.corten(&format!("run --rm --mount type=volume,src=disk,dst=/d,{options} busybox touch /d/here")).ok();
    assert!(s.dir.join("disk/here").exists());
    assert_eq!(s.corten("volume inspect -f '{{.Options.o}}' disk").ok(), "bind");
    s.corten("run --rm --mount type=volume,src=far,dst=/d,volume-opt=type=nfs busybox true")
        .fails(125, &["nfs"]);
    s.corten("volume rm disk").ok();
    s.end();
}

#[test]
fn containers_that_do_not_run_are_pruned() {
    let s = Sandbox::with(&["busybox"]);
    let kept = s.detached("--name up busybox sleep 100");
    s.corten("run --name old -l keep=me busybox true").ok();
    s.corten("run --name over busybox sh -c 'head -c 5000 /dev/zero >/x'").ok();
    let over = s.inspect("over", "{{.Id}}");
    s.corten("container prune --filter nonsense=1").fails(125, &["nonsense"]);
    let pruned = s.corten("container prune -f --filter label!=keep");
    assert_eq!(pruned.ok(), format!("Deleted Containers:\n{over}\n\nTotal reclaimed space: 5kB"));
    s.corten("container prune -f --filter until=1h").ok();
    assert_eq!(s.corten("ps -aq").ok().lines().count(), 2);
    let asked = s.corten_fed("container prune", "y\n");
    assert!(asked.ok().starts_with("WARNING! This will remove all stopped containers."), "{asked}");
    assert_eq!(s.corten("ps -aq --no-trunc").ok(), kept);
    s.corten("rm -f up").ok();
    s.end();
}
