//! The device filter on a real control group of v2; passes without one.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use kernel::bpf::{self, DeviceKind, DeviceRule, READ, WRITE};

/// A control group of this test's own, removed at the end.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let top = places.into_iter().find(|place| place.join("cgroup.controllers").exists())?;
        let path = top.join(format!("corten-test-devices-{}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(Group(path))
    }

    /// Which of /dev/null and /dev/zero a process in the group may write.
    fn writable(&self) -> (bool, bool) {
        let procs = self.0.join("cgroup.procs");
        // SAFETY: the test's only thread that matters; the child ends without destructors.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                let joined = fs::write(procs, "0").is_ok();
                let open = |path| OpenOptions::new().read(true).write(true).open(path).is_ok();
                let bits = i32::from(open("/dev/null")) | i32::from(open("/dev/zero")) << 1;
                libc::_exit(if joined { bits } else { 100 });
            }
            let mut status = 0;
            libc::waitpid(pid, &mut status, 0);
            let code = libc::WEXITSTATUS(status);
            assert!(code < 4, "the child could not join the group");
            (code & 1 != 0, code & 2 != 0)
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_filter_is_attached_and_replaced() {
    let Some(group) = Group::new() else {
        eprintln!("no cgroup v2 to test with");
        return;
    };
    let dir = File::open(&group.0).unwrap();
    let access = READ | WRITE;
    let device = |allow, minor| DeviceRule {
        allow,
        kind: DeviceKind::Char,
        major: Some(1),
        minor: Some(minor),
        access,
    };
    assert_eq!(group.writable(), (true, true));
    bpf::attach_device_filter(&dir, &[DeviceRule::all(false), device(true, 3)]).unwrap();
    assert_eq!(group.writable(), (true, false));
    // beside the first one, the second would refuse what the first allows
    bpf::attach_device_filter(&dir, &[DeviceRule::all(true), device(false, 3)]).unwrap();
    assert_eq!(group.writable(), (false, true));
    assert!(bpf::attach_device_filter(File::open("/tmp").unwrap(), &[]).is_err());
    println!("attached");
}
