//! Other people's runtimes, as Debian has them: a test of an attack shows it to succeed where it does.

use crate::{Background, Output, Sandbox, images};
use std::process::Command;

/// Whether Debian's package is installed in just this version, which is known to lack a correction. Of other versions nothing is
/// claimed: the correction may have come.
pub fn uncorrected(package: &str, version: &str) -> bool {
    let query =
        Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status} ${Version}", package]).output();
    query.is_ok_and(|output| output.stdout == format!("installed {version}").into_bytes())
}

impl Sandbox {
    /// Runs runc or crun with this command line; what they keep is in the sandbox.
    #[track_caller]
    pub fn peer(&self, runtime: &str, line: &str) -> Output {
        // crun wants nothing to do with cgroup v2 beside v1.
        let options = if runtime == "crun" { "--cgroup-manager=disabled" } else { "" };
        let script = format!(
            "! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
             exec timeout 30 {runtime} {options} --root {}/peer {line}",
            self.dir.display()
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).current_dir(&self.dir);
        let input = std::process::Stdio::piped();
        Background::start(&format!("{runtime} {line}"), command.stdin(input)).wait()
    }

    /// Makes and loads the image `name`:1 of one layer: busybox, changed by a shell script that runs in its root, with this
    /// `config` object. The layer stays in the directory `name`, as `root`.
    #[track_caller]
    pub fn hostile_image(&self, name: &str, config: &str, script: &str) -> Output {
        let dir = self.dir.join(name);
        images::unpack("busybox", &dir.join("root"));
        let made = format!(
            r#"set -e; cd {name}/root; {script}
            cd ..; tar -C root -cf layer.tar .
            printf '%s' '{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":["sha256:'$(sha256sum layer.tar | cut -d' ' -f1)'"]}}}}' >c.json
            printf '%s' '[{{"Config":"c.json","RepoTags":["{name}:1"],"Layers":["layer.tar"]}}]' >manifest.json
            tar -cf image.tar manifest.json c.json layer.tar; rm layer.tar"#
        );
        self.host(&made).ok();
        self.corten(&format!("load -q -i {name}/image.tar"))
    }

    /// The command line `corten LINE` for a shell script, with this sandbox's variables.
    pub fn shell_line(&self, line: &str) -> String {
        format!(
            "CORTEN_ROOT={} CORTEN_STATE={} CORTEN_CGROUP_PARENT={} {} {line}",
            self.scope.root.display(),
            self.scope.state.display(),
            self.scope.cgroup_parent,
            crate::binary().display()
        )
    }
}
