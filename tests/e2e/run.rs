//! `corten run`: what the command gets (arguments, environment, user, limits) and what becomes of its exit code.

use e2e::{Sandbox, wait_until};
use rustix::process::Signal;

#[test]
fn exit_codes_are_the_commands_own() {
    let s = Sandbox::with(&["busybox"]);
    s.corten("run --rm busybox true").ok();
    s.corten("run --rm busybox sh -c 'exit 42'").exits(42);
    s.corten("run --rm busybox sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'").exits(137);
    s.corten("run --rm busybox nosuchprogram").fails(127, &["nosuchprogram"]);
    s.corten("run --rm busybox /nosuch/program").fails(127, &["/nosuch/program"]);
    s.corten("run --rm busybox /etc/passwd").fails(126, &["/etc/passwd"]);
    s.corten("run --rm busybox /etc").fails(126, &["/etc"]);
    s.end();
}

#[test]
fn output_goes_where_it_belongs() {
    let s = Sandbox::with(&["busybox"]);
    let output = s.corten("run --rm busybox sh -c 'echo out; echo err >&2'");
    assert_eq!((output.ok(), output.stderr.as_str()), ("out", "err\n"));
    let long = s.corten("run --rm busybox seq 1 20000");
    assert_eq!(long.ok().lines().count(), 20000, "not all of the output arrived");
    s.end();
}

#[test]
fn environment() {
    let s = Sandbox::with(&["busybox"]);
    std::fs::write(s.dir.join("env"), "# comment\nFROM_FILE=a b\n\nFROM_HOST\nABSENT\n").expect("writable");
    let mut command =
        s.command("run --rm -h web -e A=1 -e 'B=x y' -e FROM_HOST -e GONE --env-file env busybox env");
    command.env("FROM_HOST", "there").stdin(std::process::Stdio::null());
    let output = e2e::Background::start("run env", &mut command).wait();
    let mut lines: Vec<&str> = output.ok().lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        lines,
        ["A=1", "B=x y", "FROM_FILE=a b", "FROM_HOST=there", "HOME=/root", "HOSTNAME=web", path]
    );
    s.end();
}

#[test]
fn working_directory() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm busybox pwd").ok(), "/");
    assert_eq!(s.corten("run --rm -w /tmp busybox pwd").ok(), "/tmp");
    assert_eq!(s.corten("run --rm -w /made/for/it busybox pwd").ok(), "/made/for/it");
    s.corten("run --rm -w relative busybox pwd").fails(125, &["relative"]);
    s.end();
}

#[test]
fn users() {
    let s = Sandbox::with(&["busybox"]);
    let id = |flags: &str| {
        s.corten(&format!("run --rm {flags} busybox sh -c 'echo $(id -u):$(id -g) $(id -G)'"))
            .ok()
            .to_string()
    };
    assert_eq!(id(""), "0:0 0");
    assert_eq!(id("-u user"), "1000:1000 1000 29");
    assert_eq!(id("-u 1000"), "1000:1000 1000 29");
    assert_eq!(id("-u 1000:daemon"), "1000:1 1", "a group that is given is the only one");
    assert_eq!(id("-u 4321:8765"), "4321:8765 8765");
    assert_eq!(id("-u 4321"), "4321:0 0");
    assert_eq!(s.corten("run --rm -u user busybox sh -c 'echo $HOME'").ok(), "/tmp");
    s.corten("run --rm -u ghost busybox id").fails(125, &["ghost"]);
    // A number that is no id must not be looked up as a name, nor wrap round to root (CVE-2024-40635).
    s.corten("run --rm -u 4294967296 busybox id").fails(125, &["4294967296"]);
    s.corten("run --rm -u -1 busybox id").fails(125, &["-1"]);
    s.end();
}

#[test]
fn host_names() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm -h web.example.org busybox hostname").ok(), "web.example.org");
    let id = s.detached("--name box busybox sleep 100");
    assert_eq!(s.corten("exec box hostname").ok(), &id[..12]);
    let hosts = s.corten("exec box cat /etc/hosts").ok().to_string();
    assert!(hosts.contains("127.0.0.1\tlocalhost") && hosts.contains(&id[..12]), "{hosts}");
    s.corten("rm -f box").ok();
    s.end();
}

#[test]
fn entry_points() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm --entrypoint echo busybox a b").ok(), "a b");
    assert_eq!(
        s.corten("run --rm --entrypoint /bin/echo busybox").ok(),
        "",
        "the image's command goes with its entrypoint"
    );
    s.end();
}

#[test]
fn limits_of_resources_and_kernel_parameters() {
    let s = Sandbox::with(&["busybox"]);
    let limits = s.corten("run --rm --ulimit nofile=100:200 --ulimit core=0 busybox cat /proc/self/limits");
    let line = |name: &str| {
        limits
            .ok()
            .lines()
            .find(|l| l.starts_with(name))
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(line("Max open files").as_deref(), Some("Max open files 100 200 files"));
    assert_eq!(line("Max core file size").as_deref(), Some("Max core file size 0 0 bytes"));
    let sysctl = "run --rm --sysctl net.ipv4.ip_default_ttl=33 --sysctl kernel.msgmax=4096 busybox cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax";
    assert_eq!(s.corten(sysctl).ok(), "33\n4096");
    // Not of a namespace: it would be the machine's (and CVE-2022-0811 came in by the value).
    s.corten("run --rm --sysctl kernel.core_pattern=x busybox true").fails(125, &["kernel.core_pattern"]);
    s.corten("run --rm --sysctl 'kernel.shm_rmid_forced=1+kernel.core_pattern=x' busybox true")
        .fails(125, &["kernel.shm_rmid_forced"]);
    s.corten("run --rm --ulimit bogus=1 busybox true").fails(125, &["bogus"]);
    s.end();
}

#[test]
fn an_init_process_reaps() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm busybox sh -c 'echo $$'").ok(), "1");
    assert_ne!(s.corten("run --rm --init busybox sh -c 'echo $$'").ok(), "1");
    s.corten("run --rm --init busybox sh -c 'exit 7'").exits(7);
    // The orphan's zombie is gone, and a signal reaches the command through init.
    let orphan = "run --rm --init busybox sh -c '(true &); sleep 0.3; ps -o stat | grep -c Z'";
    assert_eq!(s.corten(orphan).exits(1), "0");
    let running =
        s.start("run --rm --init busybox sh -c 'trap \"exit 9\" TERM; echo up; while :; do sleep 0.1; done'");
    running.expect("up");
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, 9);
    s.end();
}

#[test]
fn standard_input_is_given_with_i_only() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten_fed("run --rm -i busybox cat", "some words\n").ok(), "some words");
    let megabyte = "x".repeat(1 << 20);
    assert_eq!(s.corten_fed("run --rm -i busybox wc -c", &megabyte).ok(), "1048576");
    let mut running = s.start_fed("run --rm busybox cat");
    running.close_input();
    assert_eq!(running.wait().ok(), "");
    s.end();
}

#[test]
fn signals_are_passed_on() {
    let s = Sandbox::with(&["busybox"]);
    for (signal, number) in
        [(Signal::TERM, 15), (Signal::INT, 2), (Signal::HUP, 1), (Signal::USR1, 10), (Signal::QUIT, 3)]
    {
        let script =
            format!("trap \"exit {}\" {number}; echo up; while :; do sleep 0.05; done", 100 + number);
        let running = s.start(&format!("run --rm busybox sh -c '{script}'"));
        running.expect("up");
        running.signal(signal);
        assert_eq!(running.wait().code, 100 + number, "{signal:?}");
    }
    let running = s.start("run --rm --init busybox sh -c 'echo up; exec sleep 100'");
    running.expect("up");
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code, 143);
    s.end();
}

#[test]
fn the_command_lines_death_does_not_hurt_the_container() {
    let s = Sandbox::with(&["busybox"]);
    let running = s.start("run --name box busybox sh -c 'echo up; sleep 0.5; echo later; exit 5'");
    running.expect("up");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, 137);
    assert_eq!(s.corten("wait box").ok(), "5");
    assert_eq!(s.corten("logs box").ok(), "up\nlater");
    s.corten("rm box").ok();
    s.end();
}

#[test]
fn detached_containers() {
    let s = Sandbox::with(&["busybox"]);
    let id = s.detached("--name box --cidfile cid -l a=b -l c busybox sleep 100");
    assert_eq!(std::fs::read_to_string(s.dir.join("cid")).expect("the cidfile is there"), id);
    assert_eq!(s.inspect("box", "{{.Id}} {{.State.Status}}"), format!("{id} running"));
    assert_eq!(s.inspect(&id[..6], "{{.Name}}"), "/box", "a prefix of the id is enough");
    assert_eq!(s.inspect("box", r#"{{index .Config.Labels "a"}}|{{index .Config.Labels "c"}}|"#), "b||");
    assert_eq!(
        s.inspect("box", r#"{{index .Config.Labels "org.example.kind"}}"#),
        "test",
        "the image's label"
    );
    s.corten("run --cidfile cid busybox true").fails(125, &["cid"]);
    s.corten("rm -f box").ok();
    let gone = s.detached("--rm busybox true");
    wait_until("--rm to remove the container", 10, || !s.corten("ps -aq --no-trunc").ok().contains(&gone));
    s.end();
}

#[test]
fn flags_after_the_image_are_the_commands() {
    let s = Sandbox::with(&["busybox"]);
    assert_eq!(s.corten("run --rm busybox echo --rm -it -- --name x").ok(), "--rm -it -- --name x");
    s.end();
}

#[test]
fn missing_images_are_not_pulled_by_never() {
    let s = Sandbox::new();
    s.corten("run --rm --pull never nosuch:1 true").fails(125, &["nosuch:1"]);
    s.corten("run --rm nosuch:1 true").exits(125);
    s.end();
}

#[test]
fn the_engines_directories_by_relative_paths() {
    let s = Sandbox::with(&["busybox"]);
    let script = "CORTEN_ROOT=root CORTEN_STATE=state corten run --rm --network none busybox echo by variables; \
        corten --root root --state ./state run --rm --network none busybox echo by flags";
    assert_eq!(s.told(script), "by variables by flags");
    s.end();
}
