//! Command lines and what they mean, as Docker has it.

use super::*;
use crate::cli::Context;
use crate::cli::test_parse as parse;
use engine::{MountKind, Ulimit};
use std::collections::BTreeMap;

fn settings_of(line: &str, config: RunConfig) -> Result<(Settings, Vec<String>)> {
    let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let args = parse(words).map_err(|failure| failure.message)?;
    let image =
        Image { architecture: "amd64".to_owned(), os: "linux".to_owned(), config, ..Image::default() };
    resolve(&args, Some(&image))
}

fn settings(line: &str) -> Settings {
    let config = RunConfig { cmd: vec!["sh".to_owned()], ..RunConfig::default() };
    settings_of(line, config).unwrap_or_else(|e| panic!("{line}: {e}")).0
}

fn error(line: &str) -> String {
    let config = RunConfig { cmd: vec!["sh".to_owned()], ..RunConfig::default() };
    settings_of(line, config).expect_err(line)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn flags_after_the_image_belong_to_the_container() {
    let s = settings("-it --rm busybox ls -e X --rm -- -t");
    assert_eq!((s.tty, s.interactive, s.auto_remove), (true, true, true));
    assert_eq!(s.cmd, words("ls -e X --rm -- -t"));
    assert_eq!(s.image, "busybox");
    let s = settings("-- busybox -x");
    assert_eq!(s.cmd, ["-x"]);
}

#[test]
fn booleans_take_a_value_and_flags_may_be_repeated() {
    let s = settings("--rm=false -t=false -i=true --read-only --read-only busybox");
    assert_eq!((s.auto_remove, s.tty, s.interactive, s.read_only), (false, false, true, true));
    assert_eq!(settings("-m 64m -m=128m busybox").resources.memory, Some(128 << 20));
    assert_eq!(settings("-hweb -w/tmp -u0:0 busybox").hostname, "web");
}

#[test]
fn the_command_line_is_put_over_the_image() {
    let config = || RunConfig {
        entrypoint: words("/entry -v"),
        cmd: words("serve all"),
        env: words("A=image B=image"),
        working_dir: "/srv".to_owned(),
        user: "app".to_owned(),
        stop_signal: "SIGQUIT".to_owned(),
        labels: BTreeMap::from([("a".to_owned(), "image".to_owned()), ("b".to_owned(), "image".to_owned())]),
        exposed_ports: BTreeMap::from([("80/tcp".to_owned(), image::config::Empty {})]),
        volumes: BTreeMap::from([
            ("/data".to_owned(), image::config::Empty {}),
            ("/own".to_owned(), image::config::Empty {}),
        ]),
        ..RunConfig::default()
    };
    let of = |line: &str| settings_of(line, config()).unwrap().0;
    let s = of("img");
    assert_eq!((s.entrypoint, s.cmd), (words("/entry -v"), words("serve all")));
    assert_eq!((s.workdir.as_str(), s.user.as_str(), s.stop_signal.as_str()), ("/srv", "app", "SIGQUIT"));
    let s = of("img one two");
    assert_eq!((s.entrypoint, s.cmd), (words("/entry -v"), words("one two")));
    let s = of("--entrypoint sh img -c x");
    assert_eq!((s.entrypoint, s.cmd), (words("sh"), words("-c x")));
    assert!(of("--entrypoint sh img").cmd.is_empty());
    assert!(settings_of("--entrypoint= img", config()).is_err_and(|e| e == "no command specified"));
    let s = of("-e A=mine -e C=mine -l a=mine -p 8080:80 -p 53:53/udp -v /tmp:/own img");
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(s.env, [path, "A=mine", "B=image", "C=mine"]);
    assert_eq!((s.labels["a"].as_str(), s.labels["b"].as_str()), ("mine", "image"));
    assert_eq!(s.exposed, ["53/udp", "80/tcp"]);
    let targets: Vec<(&str, MountKind)> = s.mounts.iter().map(|m| (m.target.as_str(), m.kind)).collect();
    assert_eq!(targets, [("/own", MountKind::Bind), ("/data", MountKind::Volume)]);
}

#[test]
fn limits_are_understood() {
    let s = settings(
        "-m 512m --memory-swap -1 --cpus 1.5 -c 512 --pids-limit 100 --ulimit nofile=1024:2048 --ulimit core=-1 busybox",
    );
    let r = &s.resources;
    assert_eq!((r.memory, r.memory_swap, r.nano_cpus), (Some(512 << 20), Some(-1), Some(1_500_000_000)));
    assert_eq!((r.cpu_shares, r.pids_limit), (Some(512), Some(100)));
    let limit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard };
    assert_eq!(s.ulimits, [limit("nofile", 1024, 2048), limit("core", -1, -1)]);
    assert_eq!(settings("--shm-size 1g busybox").shm_size, 1 << 30);
    assert_eq!(settings("--sysctl net.ipv4.ip_forward=1 busybox").sysctls["net.ipv4.ip_forward"], "1");
}

#[test]
fn mounts_are_understood() {
    let s = settings(
        "-v /a:/b:ro -v data:/d/ -v /anon --mount type=bind,src=/x,dst=/y,readonly --tmpfs /run:size=64m,mode=755,noexec busybox",
    );
    let m = |kind, source: &str, target: &str| engine::Mount {
        kind,
        source: source.to_owned(),
        target: target.to_owned(),
        ..engine::Mount::default()
    };
    let expected = [
        engine::Mount { read_only: true, create_source: true, ..m(MountKind::Bind, "/a", "/b") },
        m(MountKind::Volume, "data", "/d"),
        m(MountKind::Volume, "", "/anon"),
        engine::Mount { read_only: true, ..m(MountKind::Bind, "/x", "/y") },
        engine::Mount {
            size: Some(64 << 20),
            mode: Some(0o755),
            options: vec!["noexec".to_owned()],
            ..m(MountKind::Tmpfs, "", "/run")
        },
    ];
    assert_eq!(s.mounts, expected);
}

#[test]
fn namespaces_and_what_they_imply() {
    let run = |line: &str| settings_of(line, RunConfig { cmd: words("sh"), ..RunConfig::default() });
    assert_eq!(settings("busybox").userns, Share::Private);
    let (s, notes) = run("--privileged busybox").unwrap();
    assert_eq!(s.userns, Share::Host);
    insta::assert_snapshot!(notes.join("\n"), @"note: --privileged implies --userns=host: root in the container is root on this machine");
    assert_eq!(run("--net host --userns=host busybox").unwrap().1, Vec::<String>::new());
    assert_eq!(settings("--network container:web busybox").network, Network::Container("web".to_owned()));
    assert!(error("--pid host --userns private busybox").starts_with("conflicting options: --pid=host"));
}

#[test]
fn mistakes_are_one_line() {
    let table = [
        ("--foo busybox", "unknown flag: --foo"),
        ("-itZ busybox", "unknown shorthand flag: 'Z' in -itZ"),
        ("--name", "flag needs an argument: --name"),
        ("-e", "flag needs an argument: --env"),
        ("--rm=x busybox", "invalid argument \"x\" for \"--rm\" flag: neither true nor false"),
        ("-m x busybox", "invalid argument \"x\" for \"-m, --memory\" flag: invalid size: 'x'"),
        ("-m 5m busybox", "Minimum memory limit allowed is 6MB"),
        (
            "-m 64m --memory-swap 32m busybox",
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            "--memory-swap 64m busybox",
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        ("--memory-swappiness 200 busybox", "invalid value: 200. Valid memory swappiness range is 0-100"),
        (
            "--cpus x busybox",
            "invalid argument \"x\" for \"--cpus\" flag: failed to parse x as a rational number",
        ),
        (
            "--cpus 1 --cpu-quota 1000 busybox",
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (
            "--cpu-period 1 busybox",
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        ("--cpuset-cpus a busybox", "Invalid value a for cpuset cpus"),
        ("--blkio-weight 5 busybox", "Range of blkio weight is from 10 to 1000"),
        ("--oom-score-adj 1001 busybox", "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        ("-p 8080:80x busybox", "invalid containerPort: 80x"),
        ("-v :/x busybox", "invalid spec: :/x: empty section between colons"),
        ("-v /a:/b:ro:x busybox", "invalid spec: /a:/b:ro:x: too many colons"),
        ("-v /a:/b:nope busybox", "invalid mode: nope"),
        ("-v /a:b busybox", "invalid mount config for '/a:b': mount path 'b' must be absolute"),
        ("-v /a:/ busybox", "invalid volume specification: '/a:/': destination can't be '/'"),
        ("-v /a:/x -v /b:/x/ busybox", "Duplicate mount point: /x"),
        (
            "--mount type=bind busybox",
            "invalid argument \"type=bind\" for \"--mount\" flag: target is required",
        ),
        (
            "--mount type=x,dst=/x busybox",
            "invalid argument \"type=x,dst=/x\" for \"--mount\" flag: mount type 'x' is not supported: use bind, volume, tmpfs or image",
        ),
        ("--tmpfs /x:nope busybox", "invalid tmpfs option [\"nope\"]"),
        (
            "--ulimit foo=1 busybox",
            "invalid argument \"foo=1\" for \"--ulimit\" flag: invalid ulimit type: foo",
        ),
        (
            "--ulimit nofile=5:3 busybox",
            "invalid argument \"nofile=5:3\" for \"--ulimit\" flag: ulimit soft limit must be less than or equal to hard limit: 5 > 3",
        ),
        ("--cap-add foo busybox", "invalid CapAdd: unknown capability: \"CAP_FOO\""),
        ("--cap-drop CAP_X busybox", "invalid CapDrop: unknown capability: \"CAP_X\""),
        ("--security-opt foo busybox", "invalid --security-opt: \"foo\""),
        (
            "--sysctl kernel.core_pattern=x busybox",
            "invalid argument \"kernel.core_pattern=x\" for \"--sysctl\" flag: sysctl 'kernel.core_pattern=x' is not allowed",
        ),
        (
            "--sysctl kernel.shmmax=1+kernel.core_pattern=x busybox",
            "invalid argument \"kernel.shmmax=1+kernel.core_pattern=x\" for \"--sysctl\" flag: sysctl 'kernel.shmmax=1+kernel.core_pattern=x' is not allowed",
        ),
        ("--name -x busybox", "Invalid container name (-x), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("--rm --restart always busybox", "conflicting options: cannot specify both --restart and --rm"),
        (
            "--restart always:3 busybox",
            "invalid restart policy: maximum retry count can only be used with 'on-failure': always:3",
        ),
        ("--gpus x=1 busybox", "invalid argument \"x=1\" for \"--gpus\" flag: unexpected key 'x' in 'x=1'"),
        ("--mac-address 1 busybox", "1 is not a valid mac address"),
        ("--pid foo busybox", "--pid: invalid PID mode: foo"),
        ("--network= busybox", "no name set for network"),
        ("--network foo:x=1 busybox", "invalid argument \"foo:x=1\" for \"--network\" flag: unknown field x"),
        (
            "--network container:x -p 80 busybox",
            "conflicting options: port publishing and the container type network mode",
        ),
        ("--network container:x -h y busybox", "conflicting options: hostname and the network mode"),
        ("-w tmp busybox", "the working directory 'tmp' is invalid, it needs to be an absolute path"),
        ("-e =x busybox", "invalid argument \"=x\" for \"-e, --env\" flag: invalid environment variable: =x"),
        ("--env-file /nonexistent busybox", "open /nonexistent: no such file or directory"),
        (
            "--dns x busybox",
            "invalid argument \"x\" for \"--dns\" flag: IP address is not correctly formatted: x",
        ),
        (
            "--add-host foo busybox",
            "invalid argument \"foo\" for \"--add-host\" flag: bad format for add-host: \"foo\"",
        ),
        ("--device x busybox", "x is not an absolute path"),
        ("--stop-signal NOPE busybox", "invalid signal: NOPE"),
        (
            "--log-driver syslog busybox",
            "logging driver 'syslog' is not supported: use json-file, local, journald or none",
        ),
        ("-l =x busybox", "invalid argument \"=x\" for \"-l, --label\" flag: invalid label '=x': empty name"),
    ];
    for (line, expected) in table {
        assert_eq!(error(line), expected, "{line}");
    }
}

#[test]
fn sizes_are_go_units() {
    let table = [
        ("32", 32),
        ("32b", 32),
        ("32k", 32 << 10),
        ("32 kB", 32 << 10),
        ("1.5KiB", 1536),
        ("1g", 1 << 30),
        ("0", 0),
    ];
    for (text, bytes) in table {
        assert_eq!(texts::parse_size(text, 1024), Ok(bytes), "{text}");
    }
    for bad in ["", "m", "-1", "1x", "1mm", "1bb", "1e9", "99999999p", "k1", "é1", "1é"] {
        assert!(texts::parse_size(bad, 1024).is_err(), "{bad}");
    }
}

#[test]
fn the_help_of_run_can_be_read() {
    let context =
        Context { root: "/r".into(), state: "/s".into(), command: "run".to_owned(), ..Context::default() };
    let help = crate::cli::run_help(&context);
    let head: String = help.lines().take(9).map(|line| line.to_owned() + "\n").collect();
    let expected = "Usage:  corten run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nCreate a container from an image and start it.\n";
    assert!(head.starts_with(expected), "{head}");
    for flag in ["--memory", "--cap-add", "--explain", "--hostname", "--network", "--gpus"] {
        assert!(help.contains(flag), "{flag}");
    }
    assert!(!help.contains("--kernel-memory"), "what is refused is no help");
}

proptest::proptest! {
    #[test]
    fn no_value_panics(value in "\\PC{0,30}", flag in 0usize..22) {
        let flags = [
            "-m", "--cpus", "-v", "--mount", "--tmpfs", "-p", "--ulimit", "--sysctl", "--device", "-e", "-l", "--name",
            "--security-opt", "--add-host", "--network", "--pid", "--log-opt", "--cpuset-cpus", "--expose", "-h", "--restart",
            "--stop-signal",
        ];
        let words = vec![flags[flag].to_owned(), value, "busybox".to_owned(), "sh".to_owned()];
        if let Ok(args) = parse(words) {
            let _ = resolve(&args, Some(&Image::default()));
        }
    }

    #[test]
    fn no_mount_panics(value in "(type|src|dst|ro|tmpfs-size|tmpfs-mode|[=,/:\"a0é]){0,12}") {
        for flag in ["-v", "--mount", "--tmpfs", "--device"] {
            let words = vec![flag.to_owned(), value.clone(), "busybox".to_owned(), "sh".to_owned()];
            if let Ok(args) = parse(words) {
                let _ = resolve(&args, Some(&Image::default()));
            }
        }
    }
}
