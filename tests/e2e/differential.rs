//! The engine cannot say one thing and do another: what `run` makes is what the script of `--explain=sh` makes. Each set of
//! options is performed and replayed by bash, and the container's own view of the kernel is compared, fact by fact.
//!
//! The user namespace stays out here: its mapped mounts need `X-mount.idmap` of a mount(8) newer than Debian 12's.

use e2e::Sandbox;

/// Run in the container by its shell: everything that tells one container from another.
const FACTS: &str = "cut -d' ' -f4- /proc/self/mountinfo; grep -E '^(Cap|NoNewPrivs|Groups|Uid|Gid|Umask)' /proc/self/status; \
    cat /proc/self/uid_map /proc/self/cgroup /proc/self/limits; ls -la /dev; ls -ld / /etc /tmp /proc/sys /sys; \
    cat /etc/resolv.conf; env | sort; pwd; hostname; ip -o link; ip -o addr; ip route; ls /proc/acpi /sys/firmware; \
    sysctl net.ipv4.ip_unprivileged_port_start net.ipv4.ping_group_range net.ipv4.ip_forward 2>/dev/null; \
    for f in memory/memory.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us pids/pids.max devices/devices.list \
    memory.max cpu.weight cpu.max pids.max; do [ -e /sys/fs/cgroup/$f ] && echo $f $(cat /sys/fs/cgroup/$f); done; true";

/// Options of `run`, one set a test run.
const OPTIONS: &[&str] = &[
    "--network none",
    "--network none --read-only",
    "--network none -m 64m --cpu-shares 512 --cpus 0.5 --pids-limit 77",
    "--network none --tmpfs /scratch:size=1m -v /etc:/e:ro -w /var",
    "--network none -u 1000:1000 --group-add 7 -e A=b -h box",
    "--network none --cap-drop ALL --cap-add CHOWN --cap-add SYS_CHROOT",
    "--network none --security-opt no-new-privileges --ulimit nofile=100:200",
    "--network none --shm-size 2m --ipc host --uts host",
    "--network none --privileged",
    "--network none --init",
    "",
    "-p 8080:80 --sysctl net.ipv4.ip_forward=0 --add-host x:10.0.0.1",
];

/// What differs by nature: ids, addresses, generated names, times, order.
fn normal(text: &str) -> Vec<String> {
    let word = |w: &str| {
        let hex = |w: &str, n: usize| w.len() >= n && w.chars().all(|c| c.is_ascii_hexdigit());
        let part = |p: &str| if hex(p, 12) { "ID".to_owned() } else { p.to_owned() };
        w.split('/')
            .map(|p| p.split('=').map(part).collect::<Vec<_>>().join("="))
            .collect::<Vec<_>>()
            .join("/")
    };
    let line = |l: &str| {
        let mut words: Vec<String> = l.split_whitespace().map(word).collect();
        // `eth0@if123`, MAC and address of the lease; the date and the link count of /proc in a listing.
        for w in &mut words {
            let time =
                w.len() == 5 && w.as_bytes()[2] == b':' && w.bytes().filter(u8::is_ascii_digit).count() == 4;
            if time {
                *w = "TIME".to_owned();
            } else if w.starts_with("eth0@if") {
                *w = "eth0".to_owned();
            } else if w.starts_with("02:42:") {
                *w = "MAC".to_owned();
            } else if w.starts_with("10.77.0.") && w != "10.77.0.1" && w != "10.77.0.0/16" {
                *w = "ADDRESS".to_owned();
            }
        }
        let listing = words.first().is_some_and(|w| w.len() == 10 && w.contains("r"));
        if listing && words.len() > 8 {
            words.drain(5..8);
            words.remove(1);
        }
        words.join(" ")
    };
    let mut lines: Vec<String> = text.lines().map(line).collect();
    // The order of the mount table is the kernel's affair: since Linux 6.8 it is that of making.
    lines.sort();
    lines
}

#[test]
fn what_is_done_is_what_is_said() {
    let s = Sandbox::with(&["busybox"]);
    let facts = FACTS.replace('\'', r"'\''");
    for options in OPTIONS {
        // A script takes somebody else's init, where there is one.
        if options.contains("--init") && s.host("command -v tini-static docker-init; true").stdout.is_empty()
        {
            continue;
        }
        let run = format!("--rm --userns host {options} busybox sh -c '{facts}'");
        let script = s.corten(&format!("run --explain=sh {run}"));
        std::fs::write(s.dir.join("script"), script.ok()).expect("writable");
        let said = s.host(&format!("bash {}/script", s.dir.display()));
        let done = s.corten(&format!("run {run}"));
        let (said, done) = (normal(said.ok()), normal(done.ok()));
        for (number, (a, b)) in said.iter().zip(&done).enumerate() {
            assert_eq!(a, b, "fact {number} of `{options}`: the script's, then the engine's");
        }
        assert_eq!(said.len(), done.len(), "`{options}`");
        let _ = std::fs::remove_file(s.dir.join("script"));
    }
    s.end();
}
