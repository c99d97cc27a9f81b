//! Holes that other engines had, as attacks on this one: images and containers that mean no good. Where it is not plain
//! that the attack is one, the test also does what an engine would do that did not know of it.

use e2e::{Sandbox, trace, wait_until};
use std::fs;
use std::path::PathBuf;

/// A directory of the host with a secret in it.
fn outside(s: &Sandbox) -> PathBuf {
    let path = s.dir.join("outside");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("secret"), "of the host").unwrap();
    path
}

#[test]
fn cve_2016_3697_a_number_is_no_name() {
    let s = Sandbox::new();
    let script = "echo '1000:x:0:0::/root:/bin/sh' >>etc/passwd; echo '1000:x:0:' >>etc/group";
    s.hostile_image("digits", r#"{"User":"1000:1000"}"#, script).ok();
    assert_eq!(s.host("chroot digits/root id -u 1000").ok(), "0", "who looks for the name finds root");
    let run =
        |flags: &str| s.corten(&format!("run --rm --network none {flags} digits:1 sh -c 'id -u; id -g'"));
    assert_eq!(run("").ok(), "1000\n1000");
    assert_eq!(run("-u 1000:1000").ok(), "1000\n1000");
    s.detached("--name box --network none digits:1 sleep 1000");
    assert_eq!(s.corten("exec -u 1000:1000 box sh -c 'id -u; id -g'").ok(), "1000\n1000");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2026_46680_numbers_out_of_range_are_nobody() {
    let s = Sandbox::new();
    let script = "echo '4294967296:x:0:0::/:' >>etc/passwd; echo '4294967296:x:0:' >>etc/group
        echo 'evil:x:4294967295:100::/:' >>etc/passwd; echo 'group:x:1000:4294967295::/:' >>etc/passwd";
    s.hostile_image("range", r#"{"User":"4294967296"}"#, script).ok();
    s.corten("run --rm --network none range:1 id -u").fails(125, &["4294967296"]);
    for user in
        ["4294967296:7", "7:4294967296", "2147483648", "99999999999999999999", "evil", "evil:7", "group"]
    {
        let output = s.corten(&format!("run --rm --network none -u {user} range:1 id -u"));
        output.fails(125, &["range 0-2147483647"]);
    }
    s.detached("--name box --network none -u 7 range:1 sleep 1000");
    for user in ["4294967296", "evil", "group"] {
        let output = s.corten(&format!("exec -u {user} box id -u"));
        assert!(output.code != 0 && output.stdout.is_empty(), "{user}: {output}");
    }
    s.corten("rm -f box").ok();
    s.end();
}

/// Programs that know of no names: id(1) reads the files that are the matter here.
const IDS: &str = "grep -E '^(U|G)id:' /proc/self/status";

fn ids(output: &e2e::Output) -> Vec<&str> {
    output.ok().lines().filter_map(|line| line.split_whitespace().nth(1)).collect()
}

#[test]
fn cve_2024_9676_files_of_users_that_are_none() {
    let s = Sandbox::new();
    let kinds = [
        ("fifo", "mkfifo etc/passwd etc/group"),
        ("link", "ln -s /fifo etc/passwd; ln -s /fifo etc/group; mkfifo fifo"),
        ("descriptor", "ln -s /proc/self/fd/0 etc/passwd; ln -s /proc/self/fd/0 etc/group"),
        ("device", "mknod etc/passwd c 1 5; mknod etc/group c 1 5"),
        ("directory", "mkdir etc/passwd etc/group"),
        ("loop", "ln -s passwd etc/passwd; ln -s group etc/group"),
    ];
    for (name, script) in kinds {
        s.hostile_image(name, "{}", &format!("rm -f etc/passwd etc/group; {script}")).ok();
        let output = s.corten(&format!("run --rm --network none -u 7:8 {name}:1 {IDS}"));
        assert_eq!(ids(&output), ["7", "8"], "{name}");
        s.corten(&format!("run --rm --network none -u daemon {name}:1 true")).fails(125, &["daemon"]);
    }
    assert_eq!(s.host("timeout 1 cat fifo/root/etc/passwd").code, 124, "who opens it waits");
    s.detached("--name box --network none fifo:1 sleep 1000");
    assert_eq!(ids(&s.corten(&format!("exec -u 7 box {IDS}"))), ["7", "0"]);
    s.corten("exec -u daemon box true").fails(1, &["daemon"]);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2026_47262_files_of_users_without_end() {
    let s = Sandbox::with(&["busybox"]);
    s.detached(
        "--name box --network none busybox sh -c 'truncate -s 100G /etc/group /etc/passwd; sleep 1000'",
    );
    wait_until("the files", 20, || s.corten("exec box stat -c %s /etc/passwd").stdout.trim().len() > 10);
    // One reads what fits into its memory; ours must not need more than this.
    let within = |line: &str| s.host(&format!("ulimit -v 500000; {}", s.shell_line(line)));
    assert_eq!(ids(&within(&format!("exec -u 7:8 box {IDS}"))), ["7", "8"]);
    within("exec -u absent box true").fails(1, &["absent"]);
    s.corten("kill box").ok();
    s.corten("wait box").ok();
    within("start box").ok();
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2022_23648_volumes_are_filled_from_the_image_alone() {
    let s = Sandbox::new();
    let outside = outside(&s).display().to_string();
    let config = format!(
        r#"{{"Volumes":{{"/data":{{}},"/up":{{}},"/../../../../..{outside}":{{}},"/deep/../../../..{outside}":{{}}}}}}"#
    );
    let script = format!("ln -s {outside} data; ln -s ../../../../../../../../../..{outside} up; mkdir deep");
    s.hostile_image("volumes", &config, &script).ok();
    assert_eq!(
        s.host("cp -r volumes/root/data/. got && cat got/secret").ok(),
        "of the host",
        "who follows the link"
    );
    let output = s.corten("run --name box --network none volumes:1 sh -c 'find / -xdev -name secret; find /data/ /up/ -name secret'");
    assert!(!output.stdout.contains("secret"), "{output}");
    let kept =
        s.host("find root/volumes -name secret; find root -type f -exec grep -l 'of the host' {} +; true");
    assert_eq!(kept.ok(), "");
    s.corten("rm -v box");
    assert_eq!(s.host(&format!("ls {outside}")).ok(), "secret");
    s.end();
}

#[test]
fn cve_2020_1726_a_volume_with_something_in_it_is_left_alone() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm --network none -v data:/d busybox sh -c 'echo mine >/d/passwd'").ok();
    assert_eq!(s.corten("run --rm --network none -v data:/etc busybox cat /etc/passwd").ok(), "mine");
    s.corten("volume rm data").ok();
    s.end();
}

#[test]
fn cve_2020_14370_environments_are_not_passed_on() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name one --network none -e SECRET=1 busybox sleep 1000");
    assert!(s.corten("exec -e MORE=1 one env").ok().contains("SECRET=1"));
    // Neither from one to another, nor from one exec to the next, nor from who calls the engine.
    let line = s.shell_line("run --rm --network none busybox env");
    let output = s.host(&format!("export SECRET=2 MORE=2; {line}"));
    assert!(!output.ok().contains("SECRET") && !output.stdout.contains("MORE"), "{output}");
    assert!(!s.corten("exec one env").ok().contains("MORE"));
    s.corten("rm -f one").ok();
    s.end();
}

#[test]
fn cve_2020_15257_no_sockets_without_a_place() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --network host busybox sleep 1000");
    s.detached("--name other busybox sleep 1000");
    let mut shell = s.start_fed("exec -i other sh");
    shell.input("echo here\n");
    shell.expect("here");
    // The names of sockets in the host's network namespace, which belong to no file: a container there could connect.
    let names = || {
        let table = s.corten("exec box cat /proc/net/unix").ok().to_owned();
        table.lines().filter(|line| line.contains(" @")).count()
    };
    assert_eq!(names(), 0);
    let address = SocketAddr::from_abstract_name("shim").unwrap();
    let socket = UnixListener::bind_addr(&address).unwrap();
    assert_eq!(names(), 1, "one would be seen");
    drop(socket);
    shell.close_input();
    shell.wait();
    s.corten("rm -f box other").ok();
    s.end();
}

#[test]
fn cve_2021_20199_who_comes_from_far_is_seen_as_such() {
    let s = Sandbox::with_internet(&["busybox"]);
    s.detached("--name box -p 8080:80 busybox nc -ll -p 80 -e netstat -tn");
    let mut answer = String::new();
    wait_until("an answer", 20, || {
        answer = s.far("exec 3<>/dev/tcp/198.51.100.2/8080 && timeout 5 cat <&3").stdout;
        answer.contains(":80")
    });
    let line = answer.lines().find(|line| line.contains(":80 ")).unwrap_or_default();
    assert!(line.contains("198.51.100.1:"), "{answer}");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2021_21284_root_of_a_container_has_no_way_to_the_engines_files() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box busybox sleep 1000");
    let pid = s.inspect("box", "{{.State.Pid}}");
    let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).unwrap();
    let id = map.split_whitespace().nth(1).unwrap();
    // The host's user that the container's root is, let loose on the host.
    let script = format!(
        "chmod 755 .; for d in root state; do setpriv --reuid {id} --regid {id} --clear-groups sh -c \"ls $d; echo x >$d/made; find $d -mindepth 1\"; done 2>/dev/null; true"
    );
    assert_eq!(s.host(&script).ok(), "");
    assert!(!s.scope.root.join("made").exists() && !s.scope.state.join("made").exists());
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2021_32760_modes_are_not_set_by_way_of_links() {
    let s = Sandbox::new();
    let outside = outside(&s);
    s.host("chmod 700 outside && chmod 600 outside/secret").ok();
    let before = s.host("stat -c '%a %u %s' outside outside/secret").ok().to_owned();
    // First links, then entries that take them for what they lead to.
    let script = format!(
        "mkdir a b; ln -s {0} a/d; ln -s {0}/secret a/f; ln -s ../../../../../../../../..{0} a/up
         mkdir b/d b/up; echo evil >b/d/secret; echo evil >b/f; echo evil >b/up/secret; chmod -R 777 b; chown -R 5:5 b
         tar -C a -cf layer.tar d f up; tar -C b --append -f layer.tar --no-recursion d f up d/secret up/secret",
        outside.display()
    );
    s.host(&script).ok();
    if s.corten("import layer.tar links").code == 0 {
        s.corten("create --name box --network none links /x");
        s.corten("rm box");
    }
    assert_eq!(s.host("stat -c '%a %u %s' outside outside/secret").ok(), before);
    s.host("cd a && chmod 777 d f").ok();
    assert_ne!(s.host("stat -c '%a %u %s' outside outside/secret").ok(), before, "who follows them");
    s.end();
}

#[test]
fn cve_2022_1227_programs_of_the_image_are_not_run_for_the_engine() {
    let s = Sandbox::new();
    let outside = outside(&s).display().to_string();
    let script = format!(
        r#"for p in ps nsenter tar gzip xz unpigz zstd mount umount sh-init runc corten; do
            rm -f bin/$p; for d in bin usr/bin usr/local/bin sbin; do mkdir -p $d
            printf '#!/bin/busybox sh\ntouch /ran {outside}/ran\n' >$d/$p; chmod 755 $d/$p; done; done"#
    );
    s.hostile_image("programs", "{}", &script).ok();
    s.host("mkdir tree && echo x >tree/x && tar -cJf tree.tar.xz tree && tar -czf tree.tar.gz tree").ok();
    s.host("chroot programs/root ps; ls programs/root/ran").ok();
    for flags in ["", "--userns host", "--privileged"] {
        s.detached(&format!("--name box --network none {flags} programs:1 sleep 1000"));
        assert!(s.corten("top box").ok().contains("sleep 1000"));
        for archive in ["tree.tar.xz", "tree.tar.gz"] {
            // GHSA-x86f-5xw2-fm2r: the programs that unpack were looked for in the container.
            s.host(&format!("{} <{archive}", s.shell_line("cp - box:/tmp")));
        }
        s.corten("cp tree box:/tmp").ok();
        s.corten("cp box:/tmp got").ok();
        s.corten("stats --no-stream box").ok();
        s.corten("export -o box.tar box").ok();
        s.corten("diff box").ok();
        s.corten("commit box copy").ok();
        s.corten("exec box test -e /ran").exits(1);
        s.corten("rm -f box").ok();
    }
    assert_eq!(s.host("ls outside").ok(), "secret");
    s.end();
}

#[test]
fn cve_2022_36109_groups_are_those_of_the_user() {
    let s = Sandbox::new();
    let script = "echo 'more:x:77:member,root' >>etc/group; echo 'member:x:1000:1000::/:' >>etc/passwd";
    s.hostile_image("groups", r#"{"User":"member"}"#, script).ok();
    // Whoever calls the engine has groups that must not be kept.
    let caller = |line: &str| s.host(&format!("setpriv --groups 4242,4243 env {line}"));
    let groups = |line: &str| caller(&s.shell_line(line)).ok().to_owned();
    assert!(caller("chroot groups/root id -G").ok().contains("4242"), "the test sees them");
    assert_eq!(groups("run --rm --network none groups:1 id -G"), "1000 77");
    assert_eq!(groups("run --rm --network none -u 5:6 groups:1 id -G"), "6");
    assert_eq!(groups("run --rm --network none --userns host --group-add 9 -u 5:6 groups:1 id -G"), "6 9");
    caller(&s.shell_line("run -d --name box --network none groups:1 sleep 1000 >/dev/null")).ok();
    assert_eq!(groups("exec box id -G"), "1000 77");
    assert_eq!(groups("exec -u 0 box id -G"), "0 77");
    s.corten("rm -f box").ok();
    s.end();
}

/// What processes of the engine hold in memory at their peak, in KiB, and how many descriptors and threads.
fn monitor(s: &Sandbox, name: &str) -> (u64, usize, usize) {
    let pid = s.inspect(name, "{{.State.Pid}}");
    let field = |pid: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap().to_owned();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").to_owned()
    };
    let parent = field(&pid, "PPid");
    let count = |what: &str| fs::read_dir(format!("/proc/{parent}/{what}")).unwrap().count();
    (field(&parent, "VmHWM").parse().unwrap(), count("fd"), count("task"))
}

#[test]
fn cve_2022_31030_output_without_end_and_execs_without_number() {
    let s = Sandbox::with(&["busybox"]);
    s.detached("--name box --network none busybox sleep 1000");
    s.corten("exec box true").ok();
    let before = monitor(&s, "box");
    // Nobody reads for a while; the writer waits, and nothing of it is kept.
    let flood = s.shell_line("exec box head -c 300000000 /dev/zero");
    assert_eq!(s.host(&format!("{flood} | (sleep 1; wc -c)")).ok(), "300000000");
    for _ in 0..10 {
        s.corten("exec box sh -c 'echo x; exit 3'").exits(3);
        let mut left = s.start_fed("exec -i box cat");
        left.input("x\n");
        left.expect("x");
        left.signal(rustix::process::Signal::KILL);
        left.wait();
        // The monitor has to do with those who attach.
        let attached = s.start("attach --no-stdin --sig-proxy=false box");
        wait_until("the client to be there", 20, || monitor(&s, "box").1 > before.1);
        attached.signal(rustix::process::Signal::KILL);
        attached.wait();
    }
    wait_until("all to be let go", 20, || {
        let after = monitor(&s, "box");
        after.1 <= before.1 && after.2 <= before.2
    });
    let peak = monitor(&s, "box").0;
    assert!(peak < before.0 + 30_000, "{peak} KiB of memory after {}", before.0);
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2023_0778_exported_while_files_turn_into_links() {
    let s = Sandbox::with(&["busybox"]);
    let outside = outside(&s).display().to_string();
    let script = format!(
        "mkdir /x; cd /x; echo inside >file; ln -s {outside}/secret link; mkdir dir; echo inside >dir/secret; ln -s {outside} dirlink; echo ready; sleep 1000"
    );
    s.detached(&format!("--name box --network none --userns host busybox sh -c '{script}'"));
    wait_until("the container", 20, || s.corten("logs box").stdout.contains("ready"));
    let place = format!("/proc/{}/root/x", s.inspect("box", "{{.State.Pid}}"));
    let dir = fs::File::open(place).unwrap();
    let exchange = || {
        for (one, other) in [("file", "link"), ("dir", "dirlink")] {
            let _ = rustix::fs::renameat_with(&dir, one, &dir, other, rustix::fs::RenameFlags::EXCHANGE);
        }
    };
    // Whenever a file is looked at or opened, it is another one than just before.
    let looks = |call: &trace::Call| {
        if call.name.contains("stat") || call.name.starts_with("open") {
            exchange();
        }
        false
    };
    for round in 0..4 {
        if round % 2 == 1 {
            exchange();
        }
        for line in ["export -o box.tar box", "commit box copy"] {
            trace::in_sandbox(
                &s,
                line,
                &[],
                &trace::Injection { counts: &looks, at: None, quiet: trace::QUIET },
            );
        }
        assert_eq!(s.host("tar -xOf box.tar 2>/dev/null | grep -c 'of the host'").stdout.trim(), "0");
    }
    assert_eq!(s.corten("run --rm --network none copy sh -c 'grep -rl \"of the host\" /x'").stdout, "");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2026_42306_a_volumes_place_that_leads_elsewhere() {
    let s = Sandbox::with(&["busybox"]);
    let outside = outside(&s).display().to_string();
    s.host("mkdir -p vol outside/data; echo gift >gift").ok();
    let script = format!("mv /a /b; ln -s {outside} /a; echo moved; sleep 1000");
    s.detached(&format!("--name box --network none -v ./vol:/a/data busybox sh -c '{script}'"));
    wait_until("the move", 20, || s.corten("logs box").stdout.contains("moved"));
    for round in ["live", "stopped"] {
        s.corten(&format!("cp gift box:/a/data/{round}"));
        s.corten(&format!("cp box:/a/secret {round}-got"));
        s.corten(&format!("cp box:/a {round}-all"));
        if round == "live" {
            s.corten("kill box").ok();
            s.corten("wait box").ok();
        }
    }
    s.corten("start box");
    s.corten("kill box");
    assert_eq!(
        s.host("find outside | sort | tr '\\n' ' '").ok().trim(),
        "outside outside/data outside/secret"
    );
    assert_eq!(
        s.host("find live-* stopped-* -type f -exec grep -l 'of the host' {} + 2>/dev/null; true").ok(),
        ""
    );
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn cve_2026_53489_a_checkpoint_is_no_image() {
    let s = Sandbox::with(&["busybox"]);
    let outside = outside(&s).display().to_string();
    let script = format!(
        r#"mkdir c; cd c; ln -s {outside}/secret container.log; ln -s {outside}/secret rootfs-diff.tar; mkdir checkpoint
        echo '{{"rootfsImageName":"busybox:latest"}}' >config.dump; echo '{{"annotations":{{"cdi.k8s.io/x":"vendor.com/net=all"}}}}' >spec.dump
        tar -cf ../c.tar ."#
    );
    s.host(&script).ok();
    let before = s.corten("image ls --no-trunc").ok().to_owned();
    let output = s.corten("load -i c.tar");
    assert!(output.code == 1 && !output.stderr.contains("panicked"), "{output}");
    assert_eq!(s.corten("image ls --no-trunc").ok(), before, "CVE-2026-50195: no name has moved");
    assert_eq!(s.host("cat c/container.log").ok(), "of the host", "who reads what was unpacked");
    // As plain files it is what it is: links that lead nowhere.
    s.corten("import c.tar plain").ok();
    s.corten("create --name box --network none plain /x").ok();
    assert!(!s.corten("logs box").stdout.contains("of the host"));
    s.corten("cp -L box:/container.log got").exits(1);
    s.corten("rm box").ok();
    s.end();
}
