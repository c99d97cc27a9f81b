//! `commit`: an image from what a container has written.

use crate::still::Still;
use crate::{Container, Engine, Error, MountKind, Result, Time, error};
use image::layer::pack::{Pack, pack};
use image::{Image, Recipe, Reference, RunConfig};
use std::path::{Path, PathBuf};
use steps::Shell;

/// `commit`'s options.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    pub author: String,
    pub message: String,
    /// Instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// A container that runs stands still meanwhile.
    pub pause: bool,
    pub name: Option<Reference>,
}

impl Engine {
    /// [`Engine::commit`] as commands; nothing is done.
    pub fn commit_by_hand(&self, container: &Container, options: &CommitOptions) -> Result<Vec<Shell>> {
        let upper = steps::quote(&self.upper_directory(container).display().to_string());
        let mut all = Vec::new();
        let pause = options.pause && self.handle(container)?.is_some() && !self.is_paused(container);
        if pause {
            all.extend(self.pause_by_hand(container)?);
        }
        all.push(
            Shell::lines(
                vec![
                    format!("tar --xattrs --xattrs-include='*' --numeric-owner -C {upper} -cf layer.tar ."),
                    "sha256sum layer.tar".to_owned(),
                ],
                "what it has written becomes a layer, which is named by its digest",
                "tar(1)",
            )
            .near("what was removed is a device 0:0 here, and a file '.wh.NAME' in a layer; owners are the container's"),
        );
        if pause {
            all.push(Shell::comment("its processes go on (as 'unpause --explain' says)", "cgroups(7)"));
        }
        all.push(Shell::comment(
            "a configuration with the layer added, named by its digest, is the image",
            "",
        ));
        Ok(all)
    }

    /// Gives the new image's id, 64 hexadecimal digits.
    pub fn commit(&self, container: &Container, options: &CommitOptions) -> Result<String> {
        let name = &container.name;
        if container.upper_in_memory {
            return Err(Error::Invalid(format!(
                "cannot commit {name}: what it writes is in memory, over this machine's own files"
            )));
        }
        let base = match container.settings.rootfs {
            Some(_) => None,
            None => Some(self.images().image(container.image_id.trim_start_matches("sha256:"))?),
        };
        let mut config = config(container, base.as_ref());
        image::change::apply(&mut config, &options.changes)?;
        let recipe = Recipe {
            config,
            created: Time::now().rfc3339(),
            created_by: container.settings.cmd.join(" "),
            author: options.author.clone(),
            comment: options.message.clone(),
            architecture: String::new(),
            name: options.name.clone(),
            base,
        };
        let running = self.handle(container)?.is_some();
        let _frozen = if running && options.pause && !self.is_paused(container) {
            Some(Still::new(container, &self.run_directory(container).join("journal"))?)
        } else {
            None
        };
        // One that is being started or copied into doesn't stand still either.
        let _held = if running { None } else { Some(self.lock_files(container)?) };
        let (tree, whiteouts) = match &container.settings.rootfs {
            Some(rootfs) => (PathBuf::from(rootfs), false),
            None => (self.upper_directory(container), true),
        };
        let unchanged = whiteouts && is_unchanged(&tree, container.lower.iter().map(Path::new));
        let (read, write) = image::make::pipe()?;
        let mut write = Some(write);
        let id = self.images().make(&recipe, read, &mut || {
            let Some(write) = write.take() else { return Ok(()) };
            if unchanged { send_nothing(write) } else { send(&tree, whiteouts, write) }
        });
        let id = id.map_err(|e| Error::Invalid(format!("cannot commit {name}: {e}")))?;
        let name = options.name.as_ref().map(ToString::to_string).unwrap_or_default();
        let event = crate::Event::of(container, "commit").with("comment", &options.message);
        self.tell(&[event.with("imageID", format!("sha256:{id}")).with("imageRef", name)]);
        Ok(id)
    }
}

fn send(tree: &Path, whiteouts: bool, out: std::fs::File) -> std::result::Result<(), String> {
    let dir = crate::files::host_dir(tree).map_err(|e| error::words(&e.into()))?;
    let how = Pack { whiteouts, across_mounts: false };
    pack(out, &dir, b".", b"", how).map_err(|e| error::words(&e))
}

/// A stream without a member makes no layer.
fn send_nothing(out: std::fs::File) -> std::result::Result<(), String> {
    let written = image::layer::write::TarWriter::new(out).finish();
    written.map(drop).map_err(|e| error::words(&e))
}

/// Nothing in the upper layer, and its root is as those below say.
fn is_unchanged<'a>(upper: &Path, mut lower: impl Iterator<Item = &'a Path>) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &Path| path.metadata().map(|m| (m.mode(), m.uid(), m.gid())).ok();
    std::fs::read_dir(upper).is_ok_and(|mut names| names.next().is_none())
        && lower.find_map(of).is_some_and(|below| of(upper) == Some(below))
}

/// How the container was run is how the image will be.
fn config(container: &Container, base: Option<&Image>) -> RunConfig {
    let s = &container.settings;
    let old = base.map(|base| base.config.clone()).unwrap_or_default();
    let mut env = s.env.clone();
    // What the engine tells every container of itself is no matter of the image.
    let own = [format!("HOSTNAME={}", s.hostname), "TERM=xterm".to_owned()];
    env.retain(|line| !own.contains(line) || old.env.contains(line));
    let volumes = s.mounts.iter().filter(|m| m.kind == MountKind::Volume && m.anonymous);
    let volumes = volumes.map(|m| (m.target.clone(), image::config::Empty::default()));
    RunConfig {
        entrypoint: s.entrypoint.clone(),
        cmd: s.cmd.clone(),
        env,
        working_dir: if s.workdir == "/" { old.working_dir.clone() } else { s.workdir.clone() },
        user: s.user.clone(),
        exposed_ports: s.exposed.iter().map(|p| (p.clone(), image::config::Empty::default())).collect(),
        volumes: old.volumes.clone().into_iter().chain(volumes).collect(),
        labels: s.labels.clone(),
        stop_signal: s.stop_signal.clone(),
        stop_timeout: s.stop_timeout,
        healthcheck: s.healthcheck.clone(),
        ..old
    }
}
