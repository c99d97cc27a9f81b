//! `export`, `diff` and `cp`: a container's files, from outside, whether it runs or not.

use e2e::{Sandbox, wait_until};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Changes of all kinds.
const CHANGES: &str = "echo x >/new; rm /bin/ls; mkdir -p /d/e; echo y >/d/e/f; echo >>/etc/passwd; ln -s /etc/passwd /link; \
                       chown 5:6 /d/e/f; chmod 4755 /d/e/f; mkfifo /d/fifo; ln /d/e/f /d/hard; rm /etc/group; mkdir /etc/group";

const DIFFERENCE: &str = "C /bin
D /bin/ls
A /d
A /d/e
A /d/e/f
A /d/fifo
A /d/hard
C /etc
C /etc/group
C /etc/passwd
A /link
A /new";

#[test]
fn what_has_changed() {
    let s = Sandbox::with(&["busybox"]);
    s.corten(&format!("run --network none --name box busybox sh -c '{CHANGES}'")).ok();
    assert_eq!(s.corten("diff box").ok(), DIFFERENCE);
    s.corten(&format!("run --network none -d --name live busybox sh -c '{CHANGES}; echo done; sleep 1000'"))
        .ok();
    wait_until("the changes", 20, || s.corten("logs live").ok() == "done");
    assert_eq!(s.corten("container diff live").ok(), DIFFERENCE);
    s.corten("create --name fresh --network none busybox true").ok();
    assert_eq!(s.corten("diff fresh").ok(), "");
    s.corten("diff nosuch").fails(1, &["No such container: nosuch"]);
    s.corten("diff").fails(1, &["requires 1 argument"]);
    s.corten("rm -f box live fresh").ok();
    s.end();
}

#[test]
fn a_directory_that_was_removed_and_made_again() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --network none --name box busybox sh -c 'rm -r /etc; mkdir /etc; echo x >/etc/passwd'")
        .ok();
    let diff = s.corten("diff box").ok().to_string();
    let lines: Vec<&str> = diff.lines().collect();
    for line in ["C /etc", "C /etc/passwd", "D /etc/group"] {
        assert!(lines.contains(&line), "{line} in {diff}");
    }
    assert!(lines.iter().all(|l| l.starts_with("C /etc") || l.starts_with("D /etc/")), "{diff}");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn export_is_what_the_container_sees() {
    let s = Sandbox::with(&["busybox"]);
    let script = format!(
        "{CHANGES}; head -c 9000000 /dev/zero >/zeros; touch -d @1000000000 /d/e; echo v >/v/f; echo done; sleep 1000"
    );
    s.corten(&format!("run --network none -d --name live -v /v --tmpfs /t busybox sh -c '{script}'")).ok();
    wait_until("the changes", 20, || s.corten("logs live").ok() == "done");
    s.corten("export -o live.tar live").ok();
    s.corten("kill live").ok();
    s.corten("wait live").ok();
    s.corten("export -o stopped.tar live").ok();
    let list = |archive: &str, script: &str| {
        // Without times: that of the root changes when it is mounted.
        s.host(&format!("mkdir {archive}.d && tar -xpf {archive} --numeric-owner -C {archive}.d && cd {archive}.d && {script}")).ok().to_string()
    };
    let all = "find . -mindepth 1 ! -path './dev*' ! -path './proc*' ! -path './sys*' ! -path './etc/*' -printf '%P %y %m %U:%G %s %l\\n' | sort";
    let live = list("live.tar", all);
    assert_eq!(live, list("stopped.tar", all));
    for line in ["d/e/f f 4755 5:6 2 ", "d/fifo p 644 0:0 0 ", "link l 777 0:0 11 /etc/passwd", "v d 755 0:0"]
    {
        assert!(live.contains(line), "{line} in {live}");
    }
    assert!(!live.contains("v/f") && !live.contains("bin/ls "), "{live}");
    assert_eq!(s.host("stat -c %Y live.tar.d/d/e").ok(), "1000000000");
    // To a pipe, and whole or not at all.
    fs::write(s.dir.join("old.tar"), "old").expect("writable");
    s.corten("export -o old.tar nosuch").fails(1, &["No such container: nosuch"]);
    s.corten("export -o nosuch/x.tar live").fails(1, &["nosuch/x.tar"]);
    assert_eq!(fs::read(s.dir.join("old.tar")).expect("readable"), b"old");
    let mut pty = s.pty("export live");
    pty.expect("refusing to export to a terminal");
    assert_eq!(pty.wait().code, 1);
    // What was exported is an image again.
    s.corten("import -c 'CMD [\"cat\",\"/new\"]' -c 'ENV A=b' stopped.tar again:1").ok();
    assert_eq!(s.corten("run --rm --network none again:1").ok(), "x");
    assert_eq!(
        s.corten("image inspect -f '{{.Config.Env}} {{.Config.Cmd}}' again:1").ok(),
        "[A=b] [cat /new]"
    );
    s.corten("rm -v live").ok();
    s.end();
}

#[test]
fn cp_out_of_one_that_runs_and_one_that_does_not() {
    let s = Sandbox::with(&["busybox"]);
    s.corten(&format!("run --network none -d --name box -v /v busybox sh -c '{CHANGES}; echo vol >/v/f; echo done; sleep 1000'")).ok();
    wait_until("the changes", 20, || s.corten("logs box").ok() == "done");
    for round in ["live", "stopped"] {
        let dir = s.dir.join(round);
        fs::create_dir(&dir).expect("writable");
        let cp = |from: &str, to: &str| s.corten(&format!("cp {from} {round}/{to}"));
        // A file to a name, into a directory; a directory to a name, into a directory, its contents.
        cp("box:/new", "name").ok();
        cp("box:/new", "").ok();
        cp("box:/d", "d").ok();
        cp("box:/d", "").ok();
        cp("box:d/e/.", "").ok();
        cp("box:/v/f", "vol").ok();
        assert_eq!(fs::read(dir.join("name")).expect("copied"), b"x\n");
        assert_eq!(fs::read(dir.join("new")).expect("copied"), b"x\n");
        assert_eq!(fs::read(dir.join("d/e/f")).expect("copied"), b"y\n");
        assert_eq!(fs::read(dir.join("f")).expect("copied"), b"y\n");
        assert_eq!(fs::read(dir.join("vol")).expect("copied"), b"vol\n");
        assert!(fs::metadata(dir.join("d/fifo")).expect("copied").file_type().is_fifo());
        // Whose it was and what it was allowed is the container's matter, unless asked for.
        let stat = |name: &str| fs::symlink_metadata(dir.join(name)).expect("copied");
        assert_eq!((stat("f").uid(), stat("f").gid(), stat("f").mode() & 0o7777), (0, 0, 0o755));
        s.corten(&format!("cp -a box:/d/e/f {round}/exact")).ok();
        assert_eq!((stat("exact").uid(), stat("exact").gid(), stat("exact").mode() & 0o7777), (5, 6, 0o4755));
        assert_eq!(stat("d/hard").ino(), stat("d/e/f").ino());
        // Links.
        cp("box:/link", "link").ok();
        assert_eq!(fs::read_link(dir.join("link")).expect("a link"), std::path::Path::new("/etc/passwd"));
        s.corten(&format!("cp -L box:/link {round}/followed")).ok();
        assert!(fs::read_to_string(dir.join("followed")).expect("copied").starts_with("root:"));
        // A stream.
        let list = s.host(&format!("{} {} cp box:/d - | tar t | sort", variables(&s), binary(&s)));
        assert_eq!(list.ok(), "d/\nd/e/\nd/e/f\nd/fifo\nd/hard");
        // What can't be.
        cp("box:/nosuch", "x").fails(1, &["Could not find the file /nosuch in container box"]);
        cp("box:/new/", "x").fails(1, &["/new/", "box", "not a directory"]);
        cp("box:/d", "new").fails(1, &["cannot copy a directory", "new"]);
        cp("box:/new", "missing/").fails(1, &["missing/"]);
        cp("box:/new", "missing/x").fails(1, &["missing/x"]);
        cp("nosuch:/new", "x").fails(1, &["No such container: nosuch"]);
        if round == "live" {
            s.corten("kill box").ok();
            s.corten("wait box").ok();
        }
    }
    s.corten("cp a b").fails(1, &["must specify at least one container source"]);
    s.corten("cp box:/a box:/b").fails(1, &["copying between containers is not supported"]);
    s.corten("rm -v box").ok();
    s.end();
}

fn variables(s: &Sandbox) -> String {
    format!("CORTEN_ROOT={} CORTEN_STATE={}", s.scope.root.display(), s.scope.state.display())
}

fn binary(s: &Sandbox) -> String {
    s.command("").get_program().display().to_string()
}

#[test]
fn cp_into_one_that_runs_and_one_that_does_not() {
    let s = Sandbox::with(&["busybox"]);
    s.host("mkdir -p tree/sub && echo one >tree/one && echo two >tree/sub/two && ln -s one tree/link && chown -R 7:8 tree && chmod 4755 tree/one").ok();
    let create =
        format!("create --name box --network none -u 33:34 -v /v -v {}/tree:/ro:ro", s.dir.display());
    s.corten(&format!("{create} busybox sleep 1000")).ok();
    for round in ["stopped", "live"] {
        if round == "live" {
            s.corten("start box").ok();
        }
        let cp = |from: &str, to: &str| s.corten(&format!("cp {from} box:{to}"));
        cp("tree/one", &format!("/{round}")).ok();
        cp("tree", &format!("/{round}-tree")).ok();
        cp("tree", &format!("/{round}-tree/")).ok();
        cp("tree/.", "/tmp").ok();
        cp("tree/one", &format!("/v/{round}")).ok();
        cp("-a tree/one", &format!("/{round}-mine")).ok();
        cp("-L tree/link", &format!("/{round}-followed")).ok();
        let stream =
            format!("tar -C tree -c one sub | {} {} cp - box:/{round}-tree/sub", variables(&s), binary(&s));
        s.host(&stream).ok();
        cp("tree/one", "/nosuch/").fails(1, &["Could not find the file /nosuch/ in container box"]);
        cp("tree/one", "/nosuch/x").fails(1, &["/nosuch/x in container box"]);
        cp("tree", "/etc/passwd").fails(1, &["cannot copy a directory", "/etc/passwd", "box"]);
        cp("tree/nosuch", "/x").fails(1, &["tree/nosuch", "no such file or directory"]);
        cp("tree/one", "/ro/x").fails(1, &["/ro/x", "box", "read-only file system"]);
        cp("-", "/etc/passwd").fails(1, &["/etc/passwd", "box", "not a directory"]);
    }
    let script = "cd /; for r in stopped live; do stat -c \"%n %u:%g %a %F\" $r $r-tree $r-tree/one $r-tree/link $r-tree/tree/sub/two $r-tree/sub/sub/two v/$r $r-mine $r-followed; done";
    let seen = s.corten(&format!("exec -u 0 box sh -c '{script}'")).ok().to_string();
    let want = |r: &str| {
        format!(
            "{r} 7:8 4755 regular file\n{r}-tree 7:8 755 directory\n{r}-tree/one 7:8 4755 regular file\n{r}-tree/link 7:8 777 symbolic link\n\
             {r}-tree/tree/sub/two 7:8 644 regular file\n{r}-tree/sub/sub/two 7:8 644 regular file\nv/{r} 7:8 4755 regular file\n\
             {r}-mine 33:34 4755 regular file\n{r}-followed 7:8 4755 regular file"
        )
    };
    assert_eq!(seen, format!("{}\n{}", want("stopped"), want("live")));
    assert_eq!(s.corten("exec box cat /tmp/sub/two").ok(), "two");
    s.corten("rm -f -v box").ok();
    s.end();
}

/// A container that swaps `/swap/d` between a directory and links to where `secret` is on the host, as fast as it can
/// (CVE-2018-15664), with what it takes to do harm if the engine ran something of the container (CVE-2019-14271).
fn swapping(s: &Sandbox, options: &str) {
    let outside = s.dir.join("outside");
    fs::create_dir(&outside).expect("writable");
    fs::write(outside.join("secret"), "of the host").expect("writable");
    let outside = outside.display();
    let script = format!(
        "mkdir -p /swap/real /swap/up; echo inside >/swap/real/secret; ln -s {outside} /swap/link; ln -s {outside} /link; ln -s ../../../../../../..{outside} /swap/up/fixed; ln -s ../../../../../../../../../..{outside} /swap/up/link
         mkdir -p /usr/local/bin; for p in tar gzip xz unpigz; do printf \"#!/bin/sh\\ntouch {outside}/run\\n\" >/usr/local/bin/$p; chmod 755 /usr/local/bin/$p; done
         mkdir -p /lib/x86_64-linux-gnu; for l in libnss_files.so.2 libnss_compat.so.2; do cp /bin/busybox /lib/x86_64-linux-gnu/$l; done
         echo ready
         while :; do mv /swap/real /swap/d; mv /swap/d /swap/real; mv /swap/link /swap/d; mv /swap/d /swap/link; mv /swap/up/link /swap/d; mv /swap/d /swap/up/link; done"
    );
    s.corten(&format!("run -d --name box --network none {options} busybox sh -c '{script}'")).ok();
    wait_until("the container", 20, || s.corten("logs box").stdout.contains("ready"));
}

/// Copies both ways, many times: whatever comes of it, nothing of the host's is read or written.
#[track_caller]
fn raced(s: &Sandbox) {
    fs::write(s.dir.join("gift"), "for the container").expect("writable");
    let before = s.host("ls -lA --full-time outside").ok().to_string();
    for round in 0..25 {
        s.corten(&format!("cp -L box:/swap/d/secret got{round}"));
        s.corten(&format!("cp box:/swap/d tree{round}"));
        s.corten("cp gift box:/swap/d/gift");
        s.corten("cp gift box:/swap/d");
        s.corten("cp gift box:/swap/d/secret");
    }
    let found = s.host("find got* tree* -type f -exec grep -l 'of the host' {} +; true");
    assert_eq!(found.ok(), "", "read from the host");
    assert_eq!(s.host("ls -lA --full-time outside").ok(), before, "written on the host");
    s.corten("cp box:/swap all").exits(0);
    assert_eq!(s.host("find all -type f -exec grep -l 'of the host' {} +; true").ok(), "");
}

#[test]
fn cve_2018_15664_links_that_change_while_files_are_copied() {
    for options in ["", "--userns host", "--privileged"] {
        let s = Sandbox::with(&["busybox"]);
        swapping(&s, options);
        raced(&s);
        // And with links that stay, in a container that does not run any more.
        s.corten("kill box").ok();
        s.corten("wait box").ok();
        for link in ["link", "swap/up/fixed"] {
            s.corten(&format!("cp -L box:/{link}/secret stolen")).fails(1, &["Could not find the file"]);
            s.corten(&format!("cp gift box:/{link}/x")).fails(1, &["Could not find the file"]);
        }
        assert_eq!(s.host("ls outside").ok(), "secret");
        s.corten("rm box").ok();
        s.end();
    }
}

#[test]
fn files_that_the_kernel_makes_up_come_out_whole() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 1000");
    for path in ["/proc/version", "/proc/filesystems", "/sys/class/net/lo/mtu"] {
        s.corten(&format!("cp -L box:{path} copy")).ok();
        let copy = std::fs::read_to_string(s.dir.join("copy")).expect("it was copied");
        assert_eq!(copy, s.corten(&format!("exec box cat {path}")).stdout, "{path}");
    }
    s.corten("cp box:/proc/self/status copy").fails(1, &["/proc/self/status", "corten exec box"]);
    s.corten("rm -f box").ok();
    s.end();
}
