//! Which devices a group's processes may open.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::bpf::DeviceRule;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

/// Which devices the group's processes may open: the device controller on v1, a program of eBPF on v2.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterDevices {
    pub path: Text,
    pub v2: bool,
    /// The first that matches counts last, as in devices.list: later rules override earlier ones.
    pub rules: Vec<DeviceRule>,
}

impl FilterDevices {
    pub fn perform(&self, _: &Live) -> Outcome {
        let dir = rustix::fs::open(
            self.path.as_c(),
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        if self.v2 {
            return kernel::bpf::attach_device_filter(&dir, &self.rules).map_err(Failure::from);
        }
        for (file, line) in self.v1_lines() {
            let fd = rustix::fs::openat(&dir, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
            rustix::io::write(fd, line.as_bytes())?;
        }
        Ok(())
    }

    fn v1_lines(&self) -> Vec<(&'static str, String)> {
        let file = |rule: &DeviceRule| if rule.allow { "devices.allow" } else { "devices.deny" };
        self.rules.iter().map(|rule| (file(rule), rule.v1_line())).collect()
    }

    pub fn shell(&self) -> Shell {
        let why = "only these devices may be opened";
        if self.v2 {
            let text: Vec<String> =
                self.v1_lines().iter().map(|(file, line)| format!("{file} {line}")).collect();
            return Shell::comment(format!("{why}: {}", text.join(", ")), "bpf(2)");
        }
        let path = quote(self.path.as_str());
        let lines = self
            .v1_lines()
            .iter()
            .map(|(file, line)| format!("echo {} >{path}/{file}", quote(line)))
            .collect();
        Shell::lines(lines, why, "cgroups(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.path.as_str(), format!("{} device rules", self.rules.len()));
    }
}
