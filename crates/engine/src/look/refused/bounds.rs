//! What a container may not do, before it tries.

use super::{Mount, rights};
use crate::Engine;
use crate::look::{Running, group_paths};
use crate::specify::filter;
use kernel::caps::{Cap, CapSet};
use kernel::seccomp::{Action, Arch, Call, Syscall};
use rustix::fs::OFlags;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

/// By each of the rules.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// What no process in it can have.
    pub lacks: Vec<Cap>,
    /// System calls that the filter refuses whatever their arguments are (of those, zeros were tried); none without a filter.
    pub calls: Option<Vec<&'static str>>,
    pub no_new_privileges: bool,
    pub read_only: Vec<Mount>,
    pub masked: Vec<String>,
    /// As `devices.allow` of v1 has them: `c 1:3 rwm`; none where all may be used.
    pub devices: Option<Vec<String>>,
    pub label: Option<String>,
    /// The first of its users on this machine; 0 where it has the machine's own.
    pub first_user: u32,
    /// Lines of the kernel's log about refusals of its processes.
    pub log: Vec<String>,
}

impl Engine {
    /// Errors: a profile that cannot be read; a process that is gone.
    pub fn bounds(&self, running: &Running) -> io::Result<Bounds> {
        let Running { container, pid } = running;
        let s = &container.settings;
        let rights = rights::Rights::of(*pid);
        let program = filter::seccomp(s, rights.bounding, false).map_err(io::Error::other)?;
        let calls = program.map(|program| {
            let refused = |syscall: &Syscall| {
                let Some(nr) = syscall.number(Arch::NATIVE) else { return false };
                let call = Call { nr, arch: Arch::NATIVE.audit(), ip: 0, args: [0; 6] };
                !matches!(program.answer(&call), Action::Allow | Action::Log | Action::Notify)
            };
            Syscall::all().filter(refused).map(Syscall::name).collect()
        });
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo"))?;
        let all_masked = crate::specify::masked();
        let covered =
            |path: &&String| table.lines().any(|line| line.split(' ').nth(4) == Some(path.as_str()));
        let masked = all_masked.iter().filter(|_| !(s.privileged || s.security.unmask)).filter(covered);
        let open = |path: &String| all_masked.contains(path);
        let read_only = table
            .lines()
            .filter_map(mount)
            .filter(|mount| mount.options.split(',').any(|option| option == "ro") && !open(&mount.at));
        let rules = crate::devices::all_rules(s).map_err(io::Error::other)?;
        let allowed = rules.iter().filter(|rule| rule.allow).map(kernel::bpf::DeviceRule::v1_line);
        Ok(Bounds {
            lacks: (CapSet::ALL - rights.bounding).iter().collect(),
            calls,
            no_new_privileges: status.lines().any(|line| line == "NoNewPrivs:\t1"),
            read_only: read_only.collect(),
            masked: masked.cloned().collect(),
            devices: (!s.privileged).then(|| allowed.collect()),
            label: rights.label,
            first_user: container.id_base,
            log: log(&runtime::group::processes(&group_paths(container)).unwrap_or_default()),
        })
    }
}

fn mount(line: &str) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let fields: Vec<&str> = head.split(' ').collect();
    Some(Mount {
        at: (*fields.get(4)?).to_owned(),
        options: (*fields.get(5)?).to_owned(),
        kind: tail.split(' ').next()?.to_owned(),
    })
}

/// What the kernel has written about refusals of these processes, as far as we may read it: audit's record of seccomp has the type
/// 1326, that of AppArmor says DENIED.
fn log(pids: &[i32]) -> Vec<String> {
    let open =
        OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open("/dev/kmsg");
    let Ok(mut file) = open else { return Vec::new() };
    let mut found = Vec::new();
    let mut record = vec![0; 8192];
    // One record a read; a full ring holds some ten thousand.
    for _ in 0..100_000 {
        let Ok(count) = file.read(&mut record) else { break };
        let text = String::from_utf8_lossy(&record[..count]);
        let line = text.split_once(';').map_or(&*text, |(_, line)| line).lines().next().unwrap_or_default();
        let about = |pid: &i32| line.split(' ').any(|word| word == format!("pid={pid}"));
        if (line.contains("type=1326") || line.contains("DENIED")) && pids.iter().any(about) {
            found.push(line.to_owned());
        }
    }
    found
}
