//! What hooks find: a bundle in the manner of the OCI runtime specification, of a container that was made from none.

use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use kernel::mount::{self, Attr};
use rustix::fs::Mode;
use serde::{Deserialize, Serialize};

/// In the container's mount table, before its root is all that it sees: a directory in the engine's place which the container's root may
/// read, too, with `config.json` and, as `rootfs`, the root with all that is mounted in it. It goes with the host's tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShowBundle {
    /// What is covered.
    pub state: Text,
    /// In there.
    pub bundle: Text,
    pub config: String,
    /// Where the root is mounted.
    pub root: Text,
}

impl ShowBundle {
    pub fn perform(&self, _: &Live) -> Outcome {
        let noted = |what| move |e| Failure::new(e, what);
        let tree = mount::open_tree(self.root.as_c(), true).map_err(noted("open_tree"))?;
        let attr = Attr { nosuid: true, nodev: true, ..Attr::default() };
        let fs = mount::new_fs(c"tmpfs", c"bundle", &[(c"mode", c"755")], attr).map_err(noted("fsopen"))?;
        mount::attach_at(fs, self.state.as_c()).map_err(noted("move_mount"))?;
        let rootfs: Text = format!("{}/rootfs", self.bundle).into();
        for dir in [&self.bundle, &rootfs] {
            let mode = Mode::from_raw_mode(0o755);
            rustix::fs::mkdir(dir.as_c(), mode)?;
            rustix::fs::chmod(dir.as_c(), mode)?;
        }
        let path: Text = format!("{}/config.json", self.bundle).into();
        let (path, content) = (path, self.config.clone());
        crate::WriteFile { path, content, mode: 0o644, owner: None }.perform(&Live::new(0))?;
        mount::attach_at(tree, rootfs.as_c()).map_err(noted("move_mount"))
    }

    pub fn shell(&self) -> Shell {
        let (state, bundle) = (quote(self.state.as_str()), quote(self.bundle.as_str()));
        let lines = vec![
            format!("mkdir $T/root && mount --rbind {} $T/root", quote(self.root.as_str())),
            format!("mount -t tmpfs -o mode=755,nosuid,nodev bundle {state}"),
            format!("mkdir -p {bundle}/rootfs && mount --move $T/root {bundle}/rootfs"),
            format!("printf %s {} >{bundle}/config.json", quote(&self.config)),
        ];
        Shell::lines(lines, "what hooks find, in the container's mount table only", "mount(8)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
