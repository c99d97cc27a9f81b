//! `--explain` says what would be done, and does nothing; `--trace` says it while it is done.

use e2e::{Facts, Sandbox};

const RUN: &str = "-m 64m -p 8080:80 -v /etc:/e:ro busybox true";

#[test]
fn explaining_does_nothing() {
    let s = Sandbox::with(&["busybox"]);
    let script = s.corten(&format!("run --rm --explain=sh {RUN}"));
    for word in ["mount", "overlay", "ip link", "nft", "unshare", "pivot_root"] {
        assert!(script.ok().contains(word), "no {word} in {script}");
    }
    s.host(&format!("cat >script <<'END'\n{}\nEND\nbash -n script", script.ok())).ok();
    let json = s.corten(&format!("run --rm --explain=json {RUN}"));
    let plan: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
    assert!(plan.is_object(), "{json}");
    let text = s.corten(&format!("run --rm --explain {RUN}"));
    assert!(text.ok().lines().count() > 10, "{text}");
    // Long ids have names, so that lines can be read; the names have their values.
    assert!(text.ok().contains("\n     ID="), "{text}");
    assert!(
        text.ok().lines().any(|l| l.starts_with("     mkdir /sys/fs/cgroup") && l.ends_with("/$ID")),
        "{text}"
    );
    assert_eq!(s.corten("ps -aq").ok(), "");
    s.corten("run --explain=pictures busybox true").fails(125, &["pictures"]);
    s.end();
}

#[test]
fn tracing_tells_each_step() {
    let s = Sandbox::with(&["busybox"]);
    let traced = s.corten("run --rm --trace busybox echo hello");
    assert_eq!(traced.ok(), "hello");
    assert!(traced.stderr.contains("mount") && traced.stderr.contains("overlay"), "{traced}");
    assert!(traced.stderr.lines().count() > 10, "{traced}");
    // What is fed to nft(8) is left out: a step is a line.
    assert!(traced.stderr.contains("<<'NFT' …") && !traced.stderr.contains("hook postrouting"), "{traced}");
    s.end();
}

/// Command lines that change the machine, and a word of what they say instead.
const COMMANDS: &[(&str, &str)] = &[
    ("create {} busybox true", "ln -s"),
    ("start {} still", "mount -t overlay"),
    ("stop {} box", "kill -s TERM"),
    ("stop {} -t -1 box", "tail --pid="),
    ("kill {} -s HUP box", "kill -s HUP"),
    ("restart {} box", "unshare"),
    ("rm {} still", "rm -rf"),
    ("rm {} -f box", "kill -s KILL"),
    ("pause {} box", "cgroup"),
    ("rename {} box other", "ln -P"),
    ("exec {} -e A=b box echo 'two words'", "nsenter -t"),
    ("update {} -m 100m box", "echo 104857600"),
    ("update {} --publish 8081:81 box", "nft"),
    ("network create {} --subnet 10.98.0.0/24 other", "ip link add"),
    ("network connect {} mine box", "ip address add 10.99.0."),
    ("network disconnect {} bridge box", "ip link delete eth0"),
    ("network rm {} mine", "ip link delete br-"),
    ("volume create {} --mode 750 files", "install -d -m 0750"),
    ("volume rm {} kept", "rm -r"),
    ("commit {} box made:1", "tar --xattrs"),
    ("tag {} busybox other:2", "other:2"),
    ("rmi {} -f busybox", "rm "),
    ("load {} -i /not/there.tar", "tar -xf /not/there.tar"),
    ("pull {} -q registry.test/some/image:3", "https://registry.test/v2/some/image/manifests/3"),
    ("cp {} box:/etc/passwd here", "/root/etc/passwd"),
    ("export {} -o out.tar box", "--one-file-system -C /proc/"),
    ("export {} -o out.tar still", "mount -t overlay"),
    ("save {} -o out.tar busybox", "tar -C $A -cf out.tar"),
    ("import {} /not/there.tar made:1", "-xpf /not/there.tar"),
    ("push {} -q busybox", "/blobs/uploads/"),
    ("login {} -u me registry.test", "curl -sSf -u me:"),
    ("logout {} registry.test", "del(.auths"),
    ("container prune {}", "rm -rf"),
    ("image prune {} -a", "in 0 steps"),
    ("network prune {}", "ip link delete br-"),
    ("network reload {}", "ip link add"),
    ("volume prune {} -a", "rm -r"),
    ("volume export {} -o out.tar kept", "/volumes/kept/_data -cf out.tar"),
    ("volume import {} new /not/there.tar", "-xpf /not/there.tar"),
    ("update {} --mount-add /etc:/there box", "perl -e"),
    ("system prune {}", "rm -rf"),
    ("system down {}", "nft delete table inet corten"),
    ("system check {} --repair", "sha256sum --check"),
    ("system boot-unit {} --dir .", "multi-user.target.wants"),
];

#[test]
fn every_command_says_what_it_would_do_and_does_nothing() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("network create --subnet 10.99.0.0/24 mine").ok();
    s.corten("volume create kept").ok();
    let id = s.detached("--name box --stop-signal TERM busybox sleep 1000");
    s.corten("create --name still busybox true").ok();
    let before = Facts::read(&s.scope);
    for (line, word) in COMMANDS {
        let text = s.corten(&line.replace("{}", "--explain"));
        assert!(text.ok().contains("Nothing of this has been done") && text.stdout.contains(word), "{text}");
        let script = s.corten(&line.replace("{}", "--explain=sh"));
        let nothing = word == &"in 0 steps";
        let says = script.ok().contains(word) && script.stdout.contains("# 1. ");
        assert!(says || nothing, "{script}");
        std::fs::write(s.dir.join("script"), &script.stdout).expect("writable");
        s.host("bash -n script").ok();
        let json = s.corten(&line.replace("{}", "--explain=json"));
        let steps: serde_json::Value = serde_json::from_str(json.ok()).expect("JSON");
        assert!(steps.is_object(), "{json}");
    }
    let changed = Facts::read(&s.scope).since(&before);
    assert_eq!(changed, "");
    let text = s.corten("stop --explain box").ok().to_owned();
    assert!(text.contains(&format!("\n     ID={id}\n")) && text.contains("/$ID/hosts"), "{text}");
    assert_eq!(text.matches(&id).count(), 1, "{text}");
    s.corten("stop --explain nobody").fails(1, &["nobody"]);
    s.corten("pause --explain=poem box").fails(125, &["poem"]);
    s.corten("rm -f box still").ok();
    s.corten("network rm mine").ok();
    s.corten("volume rm kept").ok();
    s.end();
}

#[test]
fn what_is_said_can_be_done_by_hand() {
    let s = Sandbox::with(&["busybox"]);
    let by_hand = |line: &str| {
        let script = s.corten(line);
        std::fs::write(s.dir.join("script"), script.ok()).expect("writable");
        s.host("bash script").ok().to_owned()
    };
    s.detached("--name box -p 8080:80 busybox sh -c 'trap exit TERM; while :; do sleep 1; done'");
    assert_eq!(by_hand("exec --explain=sh -e A=b -w /etc box sh -c 'echo $A; pwd; id -u; hostname'"), {
        let id = s.inspect("box", "{{.Id}}");
        format!("b\n/etc\n0\n{}", &id[..12])
    });
    by_hand("pause --explain=sh box");
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "paused");
    by_hand("unpause --explain=sh box");
    assert_eq!(s.inspect("box", "{{.State.Status}}"), "running");
    by_hand("update --explain=sh -m 100m box");
    by_hand("tag --explain=sh busybox mine:2");
    assert_eq!(s.inspect("mine:2", "{{.Id}}"), s.inspect("busybox", "{{.Id}}"));
    by_hand("rmi --explain=sh mine:2");
    assert_eq!(s.corten("images -q mine:2").ok(), "");
    by_hand("cp --explain=sh box:/etc/passwd here");
    assert!(s.host("cat here").ok().contains("root"));
    by_hand("update --explain=sh --mount-add /etc:/there box");
    s.corten("exec box test -e /there/hostname").ok();
    s.host("mkdir files && echo kept >files/one && tar -C files -cf files.tar . && rm -r files").ok();
    by_hand("volume import --explain=sh files files.tar");
    by_hand("volume export --explain=sh -o again.tar files");
    assert_eq!(s.host("tar -xOf again.tar ./one").ok(), "kept");
    s.corten("create --name idle busybox true").ok();
    by_hand("container prune --explain=sh");
    assert_eq!(s.corten("ps -a --format '{{.Names}}'").ok(), "box");
    by_hand("stop --explain=sh box");
    e2e::wait_until("its end", 20, || s.inspect("box", "{{.State.Status}}") == "exited");
    by_hand("rm --explain=sh box");
    assert_eq!(s.corten("ps -aq").ok(), "");
    s.corten("volume rm files").ok();
    s.host("rm -f here script files.tar again.tar").ok();
    s.end();
}

#[test]
fn a_container_that_runs_can_be_made_again_by_hand() {
    let s = Sandbox::with(&["busybox"]);
    // The first writes, and waits; one like it finds what it has written, and tells.
    let program = "[ ! -e /written ] || { cat /written; cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max; \
        ip -o -4 addr show eth0; exit; } 2>/dev/null; echo said >/written; exec sleep 1000";
    s.detached(&format!("--name box -m 64m busybox sh -c '{program}'"));
    e2e::wait_until("its file", 20, || s.corten("exec box test -e /written").code == 0);
    s.corten("update -m 80m --memory-swap 80m box").ok();
    let text = s.corten("explain box");
    assert!(text.ok().contains("mount -t overlay") && text.stdout.contains("box-again"), "{text}");
    let script = s.corten("explain --format sh box");
    std::fs::write(s.dir.join("script"), script.ok()).expect("writable");
    let said = s.host("bash script");
    let said: Vec<&str> = said.ok().lines().collect();
    assert_eq!(said[..2], ["said", "83886080"]);
    let address = s.inspect("box", "{{.NetworkSettings.IPAddress}}");
    assert!(said[2].contains("inet ") && !said[2].contains(&format!(" {address}/")), "{said:?}, {address}");
    s.corten("explain --format sh nobody").fails(1, &["nobody"]);
    s.corten("rm -f box").ok();
    s.host("rm script").ok();
    s.end();
}
