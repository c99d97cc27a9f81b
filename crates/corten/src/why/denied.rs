//! `why denied NAME`: which rule refuses what a program in a container wants, and which flag would allow it.

use super::Answer;
use engine::look::Running;
use engine::look::refused::{Bounds, Mount, Refused, Rule};
use kernel::caps::Cap;

/// `SYS_ADMIN`, as `--cap-add` wants it.
fn short(cap: Cap) -> &'static str {
    cap.name().trim_start_matches("CAP_")
}

/// What was refused to a program that we have watched.
pub fn refused(running: &Running, refused: &Refused) -> Answer {
    let about = refused.path.as_ref().map(|path| format!(" {path}")).unwrap_or_default();
    let times = if refused.times > 1 { format!(" ({} times)", refused.times) } else { String::new() };
    let errno = match refused.errno {
        "" => String::new(),
        errno => format!(": {errno}"),
    };
    let mut answer = Answer::new(format!("{}{about}{errno}{times}: {}", refused.call, reason(refused)));
    if !refused.program.is_empty() && refused.program != "[]" {
        answer.add(format!("asked for by {}", refused.program));
    }
    let (by_hand, hint) = what_next(running.pid, refused);
    answer.by_hand(by_hand);
    if !hint.is_empty() {
        answer.hint(hint);
    }
    answer
}

fn reason(refused: &Refused) -> String {
    match &refused.rule {
        Rule::Seccomp { kills: true, .. } => {
            "the container's filter of system calls (seccomp) ends whoever makes this call".to_owned()
        }
        Rule::Seccomp { .. } => {
            "the container's filter of system calls (seccomp) does not let it through".to_owned()
        }
        Rule::Capability { cap, .. } => format!("it asks for {}, which the process lacks", cap.name()),
        Rule::OverItsOwnOnly(cap) => format!(
            "the process has {}, but only over what belongs to its user namespace; this belongs to the machine",
            cap.name()
        ),
        Rule::ReadOnly(mount) if mount.at == "/" => "the container's root is read-only".to_owned(),
        Rule::ReadOnly(mount) if is_system(mount) => {
            format!("{} is read-only in containers: by it one changes the machine's kernel", mount.at)
        }
        Rule::ReadOnly(mount) => format!("what is mounted at {} is read-only", mount.at),
        Rule::Masked { path } => {
            format!("{path} is masked: it tells of the machine, or changes it, and is empty in containers")
        }
        Rule::Device { numbers } => {
            format!("the container's control group lets nobody use the device {numbers}")
        }
        Rule::DeviceInNamespace => {
            "in a user namespace no device can be made, nor used where one was made".to_owned()
        }
        Rule::Owner { path, owner, group, mode, user } => {
            format!(
                "{path} belongs to {owner}:{group} with the mode {mode:04o}, and the process is user {user}"
            )
        }
        Rule::NotMapped { path } => {
            format!(
                "{path} belongs to a user of this machine who is nobody in the container's user namespace"
            )
        }
        Rule::NoExec(mount) => format!("programs on the mount {} may not be run (noexec)", mount.at),
        Rule::NoDevices(mount) => format!("devices on the mount {} may not be used (nodev)", mount.at),
        Rule::Label(label) => {
            format!("no other rule refuses it: most likely the security module, by the label '{label}'")
        }
        Rule::Unknown => "none of the rules that can be seen from here refuses it".to_owned(),
    }
}

fn is_system(mount: &Mount) -> bool {
    matches!(mount.kind.as_str(), "proc" | "sysfs" | "cgroup" | "cgroup2")
}

/// How to see it by hand, and what to do about it.
fn what_next(pid: i32, refused: &Refused) -> (String, String) {
    let call = &refused.call;
    let caps = || format!("capsh --decode=$(awk '/CapEff/ {{print $2}}' /proc/{pid}/status)");
    let mounts = |at: &str| format!("grep ' {at} ' /proc/{pid}/mountinfo");
    let object = |path: &str| format!("ls -lnd /proc/{pid}/root{path}");
    match &refused.rule {
        Rule::Seccomp { with: Some(cap), .. } => (
            format!("grep Seccomp /proc/{pid}/status"),
            format!("--cap-add {}: with that capability the profile lets {call} through", short(*cap)),
        ),
        Rule::Seccomp { with: None, .. } => (
            format!("grep Seccomp /proc/{pid}/status"),
            format!("--security-opt seccomp=PROFILE, with {call} in it, or seccomp=unconfined"),
        ),
        Rule::Capability { within_bounds: true, .. } => {
            (caps(), "its user is not root, and has no capabilities: --user 0".to_owned())
        }
        Rule::Capability { cap, .. } => (caps(), format!("--cap-add {}", short(*cap))),
        Rule::OverItsOwnOnly(_) => {
            (format!("cat /proc/{pid}/uid_map"), "--userns host, or --privileged".to_owned())
        }
        Rule::ReadOnly(mount) if mount.at == "/" => (
            mounts("/"),
            "without --read-only; or --tmpfs or a volume where it has to write".to_owned(),
        ),
        Rule::ReadOnly(mount) if is_system(mount) => (
            mounts(&mount.at),
            "--sysctl for switches of its own namespaces, --security-opt systempaths=unconfined, or --privileged"
                .to_owned(),
        ),
        Rule::ReadOnly(mount) => {
            (mounts(&mount.at), format!("mount it without 'ro': -v SOURCE:{}", mount.at))
        }
        Rule::Masked { path } => (mounts(path), "--security-opt systempaths=unconfined".to_owned()),
        Rule::Device { numbers } => (
            format!("cat $(awk -F: '/devices/ {{print \"/sys/fs/cgroup/devices\" $3}}' /proc/{pid}/cgroup)/devices.list (v2: bpftool cgroup list)"),
            format!("--device with the node in /dev of the numbers {}", numbers.split(' ').next_back().unwrap_or_default()),
        ),
        Rule::DeviceInNamespace => {
            (format!("cat /proc/{pid}/uid_map"), "--device, or --userns host".to_owned())
        }
        Rule::Owner { path, .. } => {
            (object(path), "--user with that user; or chown or chmod it".to_owned())
        }
        Rule::NotMapped { path } => {
            (object(path), "chown it on this machine to one of the container's users".to_owned())
        }
        Rule::NoExec(mount) => (mounts(&mount.at), "mount it with 'exec'".to_owned()),
        Rule::NoDevices(mount) => (mounts(&mount.at), "--device".to_owned()),
        Rule::Label(_) => (
            format!("cat /proc/{pid}/attr/current; dmesg | grep DENIED"),
            "--security-opt apparmor=unconfined".to_owned(),
        ),
        Rule::Unknown => (format!("strace -f -p {pid}"), String::new()),
    }
}

/// All that it may not do.
pub fn bounds(running: &Running, bounds: &Bounds) -> Answer {
    let (name, pid) = (&running.container.name, running.pid);
    let mut answer = Answer::new(format!("{name} may not do everything, by these rules"));
    let names: Vec<String> = bounds.lacks.iter().map(|cap| short(*cap).to_lowercase()).collect();
    match names.is_empty() {
        true => answer.add("capabilities: it can have all"),
        false => answer.add(format!("capabilities that none of its processes can have: {}", names.join(" "))),
    }
    match &bounds.calls {
        None => answer.add("system calls: no filter"),
        Some(calls) => {
            answer.add(format!("system calls that its filter refuses: {}: {}", calls.len(), calls.join(" ")));
        }
    }
    if bounds.first_user != 0 {
        let first = bounds.first_user;
        answer.add(format!(
            "its user namespace: its root is the user {first} of this machine, who owns nothing"
        ));
    }
    if bounds.no_new_privileges {
        answer.add("no new privileges: setuid programs give none");
    }
    let places: Vec<&str> = bounds.read_only.iter().map(|mount| mount.at.as_str()).collect();
    if !places.is_empty() {
        answer.add(format!("read-only: {}", places.join(" ")));
    }
    if !bounds.masked.is_empty() {
        answer.add(format!("masked: {}", bounds.masked.join(" ")));
    }
    if let Some(devices) = &bounds.devices {
        answer.add(format!("devices: no others than {}", devices.join(", ")));
    }
    if let Some(label) = &bounds.label {
        answer.add(format!("a security module confines it by the label '{label}'"));
    }
    for line in &bounds.log {
        answer.add(format!("the kernel's log: {line}"));
    }
    answer.by_hand(format!("cat /proc/{pid}/status /proc/{pid}/mountinfo"));
    answer.hint(format!("corten why denied {name} -- COMMAND tells what is refused to a command, and why"));
    answer
}
