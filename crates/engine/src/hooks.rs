//! Hooks that descriptions of devices ask for: they run as those of an OCI bundle do, and are told of a bundle that says where the
//! container's root is.

use crate::cdi::Edits;
use crate::{Container, Engine, Error, Result};
use runtime::oci::hooks::{self, Point, Told};
use runtime::{Launched, Root, StartError};
use serde_json::json;
use std::path::PathBuf;
use steps::{RunHook, ShowBundle, WriteFile};

/// What a start needs for hooks; empty where no description has any.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub host: Vec<steps::Step>,
    pub bundle: Option<ShowBundle>,
    /// Run when all is mounted.
    pub hooks: Vec<RunHook>,
    /// The socket at which the container waits, where something is to be done before its program.
    pub begin: Option<String>,
}

impl Engine {
    /// What a start does for the hooks of `edits`.
    pub(crate) fn hooks(
        &self,
        container: &Container,
        edits: &Edits,
        root: &Root,
        namespaces: u64,
    ) -> Result<Asked> {
        let Some(all) = edits.hooks()? else { return Ok(Asked::default()) };
        let at = |point| hooks::steps(Some(&all), point, &self.told(container, 0), namespaces);
        let before = [Point::Prestart, Point::CreateRuntime, Point::CreateContainer];
        let root = match root {
            Root::Directory { path, .. } => path,
            Root::Overlay { merged, .. } => merged,
        };
        let bundle = self.run_directory(container);
        let path = bundle.join("rootfs");
        let config = json!({ "ociVersion": "1.2.0", "root": { "path": path }, "mounts": [], "linux": {} });
        let config = config.to_string();
        let path = bundle.join("config.json").into();
        let file = WriteFile { path, content: config.clone(), mode: 0o644, owner: None };
        let (state, bundle) = (self.state.as_path().into(), bundle.into());
        let waits = !at(Point::StartContainer).is_empty();
        Ok(Asked {
            host: vec![file.into()],
            bundle: Some(ShowBundle { state, bundle, config, root: root.as_str().into() }),
            hooks: before.into_iter().flat_map(at).collect(),
            begin: waits.then(|| self.begin_socket(container).display().to_string()),
        })
    }

    /// Its path has to be short. See unix(7).
    fn begin_socket(&self, container: &Container) -> PathBuf {
        self.state.join(format!("{}.go", container.short_id()))
    }

    fn told(&self, container: &Container, pid: i32) -> Told {
        Told {
            oci_version: "1.2.0".to_owned(),
            id: container.id.clone(),
            status: String::new(),
            pid,
            bundle: self.run_directory(container).display().to_string(),
            annotations: container.settings.annotations.clone(),
        }
    }

    fn run_hooks(&self, container: &Container, point: Point, pid: i32) -> Result<()> {
        let Some(all) = crate::cdi::edits(&container.settings.cdi)?.hooks()? else { return Ok(()) };
        let namespaces = crate::specify::namespaces(container);
        hooks::steps(Some(&all), point, &self.told(container, pid), namespaces).iter().try_for_each(|hook| {
            hook.run(pid).map_err(|failure| {
                let why = match failure.note {
                    "" => failure.errno.to_string(),
                    note => note.to_owned(),
                };
                Error::Invalid(format!("the {} hook {} failed: {why}", hook.kind, hook.path))
            })
        })
    }

    /// From the container that is made to its program: with hooks, that is more than one step.
    pub(crate) fn begin_program(&self, container: &Container, launched: &Launched) -> Result<()> {
        if container.settings.cdi.is_empty() {
            return Ok(());
        }
        self.run_hooks(container, Point::StartContainer, launched.pid)?;
        let socket = self.begin_socket(container);
        if socket.exists() {
            let s = &container.settings;
            let word = s.entrypoint.first().or(s.cmd.first()).map_or("", String::as_str);
            runtime::oci::go(&socket, word, &s.workdir).map_err(|error: StartError| Error::Start(error))?;
        }
        self.run_hooks(container, Point::Poststart, launched.pid)
    }

    /// When it has ended: a failure stops nothing.
    pub(crate) fn after(&self, container: &Container) {
        if !container.settings.cdi.is_empty() {
            let _ = self.run_hooks(container, Point::Poststop, 0);
        }
    }
}
