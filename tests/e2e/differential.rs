//! The engine cannot say one thing and do another: what `run` makes is what the script of `--explain=sh` makes. The engine
//! compares itself, by everything that the kernel tells, for each of these sets of options.

use e2e::{Sandbox, slowness};

const NETWORKS: &[&str] = &[
    "",
    "--network none",
    "--network host",
    "-p 8080:80",
    "-p 127.0.0.1::80/udp -p 9000-9002:90-92",
    "--network mine --ip 10.99.0.7 --network-alias other",
    "--network six --hostname box",
    "--network shut",
    "--network mine --network six --mac-address 02:00:00:00:00:07",
    "--dns 9.9.9.9 --dns-search a.b --dns-option ndots:2 --add-host x:10.0.0.1",
    "--sysctl net.ipv4.ip_forward=0 --sysctl net.core.somaxconn=77",
];

const RIGHTS: &[&str] = &[
    "--userns host",
    "-u 1000:1000 --group-add 7",
    "-u 33",
    "--cap-drop ALL --cap-add SYS_CHROOT",
    "--cap-drop ALL --cap-add SYS_CHROOT --cap-add SETUID -u 1000",
    "--cap-drop ALL",
    "--cap-drop ALL --cap-add NET_RAW -u 33 --security-opt no-new-privileges",
    "--cap-add NET_ADMIN",
    "--privileged",
    "--security-opt no-new-privileges",
    "--security-opt seccomp=unconfined",
    "--security-opt systempaths=unconfined",
    "--userns host --privileged",
    "--userns host -u 1000 --security-opt no-new-privileges",
];

const FILES: &[&str] = &[
    "--read-only",
    "--tmpfs /scratch:size=1m",
    "-v /etc:/e:ro -w /var",
    "-v data:/data -v /anonymous",
    "--mount type=tmpfs,dst=/t,tmpfs-mode=1770",
    "--shm-size 2m",
    "--device /dev/null:/dev/nothing:r",
    "-w /new/directory",
    "--userns host -v /etc:/e:ro --read-only --tmpfs /run",
    "--userns host -v /etc/passwd:/p -v data:/data:ro",
    "-t",
    "-e A=b -e C=d=e -h box --domainname d.e",
];

const LIMITS: &[&str] = &[
    "-m 64m",
    "-m 64m --memory-swap 64m --memory-reservation 32m",
    "--cpu-shares 512 --cpus 0.5",
    "--cpuset-cpus 0",
    "--pids-limit 77",
    "--ulimit nofile=100:200 --ulimit core=0",
    "--oom-score-adj 500",
    "--ipc host --uts host",
    "--pid host",
    "--cgroupns host",
    "--userns host --pid host --ipc host --cgroupns host",
    "--init",
];

/// Each set, or, on a machine that is slow by far, the first.
fn verify(sets: &[&str]) {
    let s = Sandbox::with(&["busybox"]);
    for (name, options) in [("mine", "--subnet 10.99.0.0/24"), ("six", "--ipv6"), ("shut", "--internal")] {
        s.corten(&format!("network create {options} {name}")).ok();
    }
    let mut wrong = String::new();
    for options in sets.iter().take(if slowness() > 4 { 1 } else { sets.len() }) {
        // A script takes somebody else's init, where there is one.
        if options.contains("--init") && s.host("command -v tini-static docker-init; true").stdout.is_empty()
        {
            continue;
        }
        let verdict = s.corten(&format!("explain --verify run {options} busybox echo 'two words' $x"));
        if verdict.code != 0 {
            wrong.push_str(&format!("`{options}`:\n{verdict}\n"));
            continue;
        }
        let last = verdict.stdout.lines().last().unwrap_or_default();
        let numbers: Vec<u32> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers.len() == 2 && numbers[0] == numbers[1] && numbers[0] > 300, "`{options}`: {last}");
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert_eq!(s.corten("ps -aq").ok(), "");
    assert_eq!(s.corten("volume ls -q").ok(), "");
    for name in ["mine", "six", "shut"] {
        s.corten(&format!("network rm {name}")).ok();
    }
    s.end();
}

#[test]
fn networks_are_as_they_are_said() {
    verify(NETWORKS);
}

#[test]
fn rights_are_as_they_are_said() {
    verify(RIGHTS);
}

#[test]
fn files_are_as_they_are_said() {
    verify(FILES);
}

#[test]
fn limits_are_as_they_are_said() {
    verify(LIMITS);
}

#[test]
fn a_difference_is_found_and_told() {
    let s = Sandbox::with(&["busybox"]);
    // A machine whose hostname(1) says something else than it is told.
    s.host("mkdir bin; printf '#!/bin/sh\\nexec /bin/hostname liar\\n' >bin/hostname; chmod +x bin/hostname")
        .ok();
    let mut command = s.command("explain --verify run --network none busybox true");
    let path = format!("{}/bin:{}", s.dir.display(), std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("different: kernel hostname") && said.contains("by hand:   liar"), "{said}");
    for (line, words) in [
        ("run --pid container:x busybox true", "No such container: x"),
        ("run -v /not/there:/x busybox true", "would be made on this machine"),
        ("run --rootfs /tmp true", "mount points would be made"),
        ("rm x", "--verify is for run and create"),
    ] {
        let refused = s.corten(&format!("explain --verify {line}"));
        assert!(refused.code != 0 && refused.stderr.contains(words), "{line}: {refused}");
    }
    assert!(!std::path::Path::new("/not/there").exists());
    s.host("rm -r bin").ok();
    s.end();
}
