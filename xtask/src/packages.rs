//! Installing Debian packages: only what is missing, and without starting the services that some of them bring.

use crate::shell;
use anyhow::Context;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Makes sure that these Debian packages are installed.
pub fn install(wanted: &[&str]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted.iter().copied().filter(|name| !installed(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    let _policy = Policy::forbid_services()?;
    let apt = || {
        let mut command = Command::new("apt-get");
        command.args(["-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"]);
        command.env("DEBIAN_FRONTEND", "noninteractive").stdin(std::process::Stdio::null());
        command
    };
    shell::run(apt().arg("update"))?;
    shell::run(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing))
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]).output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

/// The file by which Debian's maintainer scripts are told not to start services. One that is there already is honoured;
/// ours is removed again.
struct Policy(Option<&'static Path>);

impl Policy {
    fn forbid_services() -> anyhow::Result<Policy> {
        let path = Path::new("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Policy(None));
        }
        fs::write(path, "#!/bin/sh\nexit 101\n")
            .context("cannot write /usr/sbin/policy-rc.d: are you root?")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(Policy(Some(path)))
    }
}

impl Drop for Policy {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
