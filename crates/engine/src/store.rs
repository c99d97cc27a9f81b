//! Containers on disk: created, found, listed, removed. Names are claimed by exclusive creation, no lock is global.

use crate::ids::ID_FIRST;
use crate::{Container, Error, MountKind, Network, Result, Settings, Share, State, Time};
use std::borrow::Cow;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The two directories, and all that is in them.
#[derive(Debug)]
pub struct Engine {
    /// What lasts: images, containers, leases.
    pub root: PathBuf,
    /// What ends with the machine's uptime: sockets and journals of running containers.
    pub state: PathBuf,
    images: image::Store,
}

/// What the configuration of a container is called that is being removed with its anonymous volumes.
const WITH_VOLUMES: &str = "removed-with-volumes.json";

impl Engine {
    /// Opens both directories, made with mode 0700 where missing.
    pub fn open(root: &Path, state: &Path) -> Result<Engine> {
        for dir in [root, state] {
            make_dir(dir)?;
        }
        for dir in ["containers", "names", "ids"] {
            make_dir(&root.join(dir))?;
        }
        Ok(Engine { root: root.to_owned(), state: state.to_owned(), images: image::Store::open(root)? })
    }

    pub fn images(&self) -> &image::Store {
        &self.images
    }

    pub fn directory(&self, container: &Container) -> PathBuf {
        self.root.join("containers").join(&container.id)
    }

    /// What the container has written, as its overlay keeps it.
    pub(crate) fn upper_directory(&self, container: &Container) -> PathBuf {
        self.directory(container).join("rw/upper")
    }

    /// Of a running container: journal, socket, files for its eyes.
    pub fn run_directory(&self, container: &Container) -> PathBuf {
        self.state.join(&container.id)
    }

    /// A container as `create` would make it, with nothing written.
    pub fn draft(&self, settings: Settings, name: Option<&str>) -> Result<Container> {
        let random = random();
        let id: String = random.iter().map(|b| format!("{b:02x}")).collect();
        let seed = u64::from_ne_bytes([
            random[0], random[1], random[2], random[3], random[4], random[5], random[6], random[7],
        ]);
        let name = name.map_or_else(|| crate::names::generate(seed, 0), str::to_owned);
        let (mut image_id, mut lower, mut upper_in_memory) = (String::new(), Vec::new(), false);
        if settings.rootfs.is_none() {
            let image = self.images.resolve(&settings.image)?;
            lower = self.images.layer_paths(&image).iter().map(|p| p.display().to_string()).collect();
            if !image.host {
                lower.splice(0..0, self.init_layer(&lower));
            }
            upper_in_memory = image.host;
            image_id = image.id;
        }
        let mut settings = settings;
        for mount in &mut settings.mounts {
            if mount.kind == MountKind::Volume && mount.source.is_empty() {
                (mount.source, mount.anonymous) = (crate::volumes::anonymous_name(), true);
            }
            self.find_mounted_image(mount)?;
        }
        let id_base = match self.shared_ids(&settings)? {
            _ if settings.userns == Share::Host => 0,
            Some(base) => base,
            // Until it is created the first range stands for it.
            None => ID_FIRST,
        };
        self.check_size(&settings, upper_in_memory)?;
        let project = if settings.storage_size == 0 || upper_in_memory { 0 } else { id_base.max(ID_FIRST) };
        let endpoints = match settings.network {
            Network::Bridge => self.draft_endpoints(&settings.networks)?,
            _ => Vec::new(),
        };
        Ok(Container {
            id,
            name,
            created: Time::now(),
            image_id,
            settings,
            lower,
            upper_in_memory,
            id_base,
            project,
            endpoints,
        })
    }

    /// A layer above all images with the mount points that every container needs, so that none is made in the container's
    /// own layer. `None` where the image has a link in their place.
    fn init_layer(&self, lower: &[String]) -> Option<String> {
        let link = |layer: &String| fs::symlink_metadata(format!("{layer}/etc")).is_ok_and(|m| !m.is_dir());
        if lower.iter().any(link) {
            return None;
        }
        let layer = self.root.join("init");
        Some(layer.display().to_string())
    }

    /// The steps that make the init layer and the covers of hidden paths; none when they are there. The last one is made last:
    /// it says that all are.
    pub(crate) fn shared_files(&self) -> Vec<steps::Step> {
        let init = self.root.join("init");
        let cover = self.state.join("empty");
        let dir = |path: PathBuf, mode: u32| steps::MakeDir { path: path.into(), mode, owner: None }.into();
        let file = |path: PathBuf, mode: u32| {
            steps::WriteFile { path: path.into(), content: String::new(), mode, owner: None }.into()
        };
        let mut all: Vec<steps::Step> = Vec::new();
        if !init.join("sys").exists() {
            all.extend(["", "etc", "dev", "proc"].map(|d| dir(init.join(d), 0o755)));
            all.extend(["hosts", "hostname", "resolv.conf"].map(|f| file(init.join("etc").join(f), 0o644)));
            all.push(dir(init.join("sys"), 0o755));
        }
        if !cover.exists() {
            all.push(dir(self.state.join("empty.d"), 0o000));
            all.push(file(cover, 0o000));
        }
        all
    }

    /// What [`Engine::create`] does for that draft, as commands.
    pub fn create_by_hand(&self, container: &Container) -> Vec<steps::Shell> {
        let word = |path: PathBuf| steps::quote(&path.display().to_string());
        let name = word(self.root.join("names").join(&container.name));
        let mut all = vec![steps::Shell::exact(
            format!("ln -s {} {name}", container.id),
            "its name, if nobody has it",
            "symlink(2)",
        )];
        if container.id_base != 0 {
            all.push(steps::Shell::comment(
                "a range of ids that no other container has: a link in ids/",
                "symlink(2)",
            ));
        }
        for address in container.endpoints.iter().flat_map(network::Endpoint::addresses) {
            let lease = word(self.root.join("leases").join(address.to_string()));
            let line = format!("ln -s {} {lease}", container.id);
            all.push(steps::Shell::exact(line, "its address, or the next that is free", "symlink(2)"));
        }
        all.extend(self.first_steps(container).iter().map(steps::Step::shell));
        let config = self.directory(container).join("config.json");
        all.push(steps::Shell::comment(
            format!("what it shall be is written to {}", config.display()),
            "rename(2)",
        ));
        all
    }

    /// Makes a container: its name, ids, address and directory are its own until it is removed.
    pub fn create(&self, settings: Settings, name: Option<&str>) -> Result<Container> {
        let _held = self.hold_containers(crate::check::Holding::Changing)?;
        let mut container = self.draft(settings, name)?;
        let mut attempt = 0;
        while let Err(error) = self.claim_name(&container) {
            attempt += 1;
            if name.is_some() || attempt > 20 {
                return Err(error);
            }
            let random = random();
            container.name =
                crate::names::generate(u64::from(random[0]) << 8 | u64::from(random[1]), attempt);
        }
        let made = self.fill(&mut container);
        match &made {
            Ok(()) => self.tell(&[crate::Event::of(&container, "create")]),
            Err(_) => _ = self.discard(&container, true),
        }
        made.map(|()| container)
    }

    fn fill(&self, container: &mut Container) -> Result<()> {
        match self.shared_ids(&container.settings)? {
            _ if container.id_base == 0 => {}
            Some(_) => self.share_ids(container)?,
            None => container.id_base = self.claim_ids(container)?,
        }
        container.project = 0;
        container.project = self.claim_project(container)?;
        let dir = self.directory(container);
        make_dir(&dir)?;
        // The directory comes first: leases of a container that has none, and is not being made, are nobody's.
        let _made = self.lock_container(container)?;
        for endpoint in std::mem::take(&mut container.endpoints) {
            container.endpoints.push(self.lease_endpoint(&container.id, endpoint.wish)?);
        }
        make_dir(&dir.join("merged"))?;
        let writable = dir.join("rw");
        make_dir(&writable)?;
        if let Some(step) = self.limit_tree(container) {
            let failed = |e: steps::Failure| Error::io("cannot limit", &writable, e.errno);
            step.perform(&steps::Live::new(0)).map_err(failed)?;
        }
        if !container.upper_in_memory {
            fs::DirBuilder::new()
                .mode(0o755)
                .create(writable.join("upper"))
                .map_err(|e| Error::io("cannot make", &writable, e))?;
            make_dir(&writable.join("work"))?;
        }
        if container.upper_in_memory {
            make_dir(&dir.join("lower"))?;
        }
        let mark = dir.join(WITH_VOLUMES);
        let anonymous = container.settings.mounts.iter().any(|mount| mount.anonymous);
        if anonymous {
            write_json(&mark, container, false)?;
        }
        let _volumes = self.hold_volumes(&container.id, &container.settings.mounts)?;
        self.write_config(container)?;
        if anonymous {
            let _ = twice(|| fs::remove_file(&mark));
        }
        Ok(())
    }

    fn claim_name(&self, container: &Container) -> Result<()> {
        let path = self.root.join("names").join(&container.name);
        match std::os::unix::fs::symlink(&container.id, &path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let id = fs::read_link(&path).map(|p| p.display().to_string()).unwrap_or_default();
                Err(Error::NameInUse { name: container.name.clone(), id })
            }
            Err(e) => Err(Error::io("cannot claim the name", path, e)),
        }
    }

    /// Removes all that `create` made, and with `volumes` (or `--rm`) its anonymous volumes. What is not there is removed
    /// already. From the first moment on there is no such container any more: who is killed meanwhile leaves a directory
    /// that says what is still to be done.
    pub(crate) fn discard(&self, container: &Container, volumes: bool) -> Result<()> {
        // Failing to lock is no reason to leave anything.
        let _held = self.hold_containers(crate::check::Holding::Changing);
        // It may have been renamed, or connected to networks, since it was read.
        let lock = self.lock_briefly(container);
        let now = self.now(container);
        let (container, endpoints) = (&*now, now.endpoints.clone());
        let changing = self.changing(container);
        let dir = self.directory(container);
        let volumes = volumes || container.settings.auto_remove;
        let mark = if volumes { WITH_VOLUMES } else { "removed.json" };
        match fs::rename(dir.join("config.json"), dir.join(mark)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("cannot remove", dir, e));
            }
            _ => {}
        }
        // What is not taken away is told, and is a check's to take away; an error that comes once is not worth telling.
        let mut told = Ok(());
        let mut tell = |result: Result<()>| told = std::mem::replace(&mut told, Ok(())).and(result);
        for volume in crate::volumes::volume_names(container) {
            self.let_go_of_volume(volume, &container.id);
        }
        let with_volumes = if volumes { self.remove_anonymous(container) } else { Ok(()) };
        let unmarked = with_volumes.is_ok();
        tell(with_volumes);
        if unmarked {
            let failed = |e| Error::io("cannot remove all of the container's files in", &dir, e);
            tell(twice(|| missing_is_fine(fs::remove_dir_all(&dir))).map_err(failed));
        }
        for endpoint in endpoints.iter().chain(&changing) {
            tell(self.release_endpoint(&container.id, endpoint));
        }
        drop(lock);
        let name = self.root.join("names").join(&container.name);
        if twice(|| fs::read_link(&name)).is_ok_and(|id| id == Path::new(&container.id)) {
            let failed = |e| Error::io("cannot remove the name", &name, e);
            tell(twice(|| missing_is_fine(fs::remove_file(&name))).map_err(failed));
        }
        // It may be another name of the same file: the last one.
        tell(self.release_project(container));
        tell(self.release_ids(container));
        told
    }

    /// Removes the anonymous volumes of a container that is half removed or half made, if they shall go with it.
    pub(crate) fn remove_marked_volumes(&self, dir: &Path) {
        let text = fs::read(dir.join(WITH_VOLUMES)).unwrap_or_default();
        if let Ok(container) = serde_json::from_slice(&text) {
            let _ = self.remove_anonymous(&container);
        }
    }

    /// One who changes a container's `config.json` at a time: read it again, change it, write it, within this lock.
    pub(crate) fn lock_container(&self, container: &Container) -> Result<fs::File> {
        let dir = self.directory(container);
        let failed = |e: std::io::Error| match e.kind() {
            std::io::ErrorKind::NotFound => Error::no_container(&container.name),
            _ => Error::io("cannot lock", &dir, e),
        };
        let file = fs::File::open(&dir).map_err(failed)?;
        let lock = || rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive);
        rustix::io::retry_on_intr(lock).map_err(|e| failed(e.into()))?;
        Ok(file)
    }

    /// The same, for who takes a container away: whoever has the lock for a second may be waiting for him.
    fn lock_briefly(&self, container: &Container) -> Option<fs::File> {
        let file = fs::File::open(self.directory(container)).ok()?;
        for _ in 0..200 {
            match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Some(file),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
        None
    }

    pub(crate) fn write_config(&self, container: &Container) -> Result<()> {
        let sync = !container.settings.auto_remove;
        let path = self.directory(container).join("config.json");
        let brief = crate::settings::brief(container).map_err(|e| Error::io("cannot write", &path, e))?;
        write_json(&path, &brief, sync)
    }

    /// A container that runs has `running.json`; one that has ended has `state.json`; one that was only created has neither.
    /// (Two names, because replacing a file makes ext4 write it out at once.)
    pub(crate) fn set_state(&self, container: &Container, state: &State) -> Result<()> {
        let dir = self.directory(container);
        let (file, other) = match state {
            State::Running { .. } | State::Restarting { .. } => ("running.json", None),
            State::Created | State::Exited { .. } => ("state.json", Some("running.json")),
        };
        write_json(&dir.join(file), state, false)?;
        if let Some(other) = other {
            let _ = twice(|| missing_is_fine(fs::remove_file(dir.join(other))));
        }
        Ok(())
    }

    /// What the container does now; one whose processes are gone without a word (a reboot, a killed monitor) has ended.
    pub fn state(&self, container: &Container) -> Result<State> {
        let dir = self.root.join("containers").join(&container.id);
        match self.living(&container.id, read_state(&dir.join("running.json"))?)? {
            Some(state) => Ok(state),
            None => match read_state(&dir.join("state.json"))? {
                Some(state) => Ok(state),
                None if may_be_there(&dir.join("config.json")) => Ok(State::Created),
                None => Err(Error::no_container(&container.name)),
            },
        }
    }

    /// What is known of one that runs, or was running when everything ended, from what `running.json` was found to say.
    pub(crate) fn living(&self, id: &str, mut noted: Option<State>) -> Result<Option<State>> {
        loop {
            let ended = match noted {
                Some(State::Running { pid, start_ticks, monitor, since, restarts, .. }) => {
                    if process_lives(pid, start_ticks) || kernel::process::start_ticks(monitor).is_some() {
                        let paused = self.state.join(id).join("paused").exists();
                        return Ok(Some(State::Running {
                            pid,
                            start_ticks,
                            monitor,
                            since,
                            restarts,
                            paused,
                        }));
                    }
                    lost(137, since, since, None, restarts)
                }
                Some(State::Restarting { code, monitor, since, at, ran, restarts, .. })
                    if kernel::process::start_ticks(monitor).is_none() =>
                {
                    lost(code, since, at, ran, restarts)
                }
                Some(State::Restarting { .. }) => return Ok(noted),
                _ => return Ok(None),
            };
            // Its monitor may have noted how it ended, and gone, since that was read.
            let now = read_state(&self.root.join("containers").join(id).join("running.json"))?;
            if now == noted {
                return Ok(Some(ended));
            }
            noted = now;
        }
    }

    /// As it is by now: a monitor read it when it was started.
    pub(crate) fn now<'a>(&self, container: &'a Container) -> Cow<'a, Container> {
        self.read(&container.id).map_or(Cow::Borrowed(container), Cow::Owned)
    }

    pub(crate) fn read(&self, id: &str) -> Result<Container> {
        let path = self.root.join("containers").join(id).join("config.json");
        let text = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::no_container(id),
            _ => Error::io("cannot read", &path, e),
        })?;
        serde_json::from_slice(&text).map_err(|e| Error::io("cannot read", &path, e))
    }

    /// By name, id, or the unique beginning of an id.
    pub fn find(&self, word: &str) -> Result<Container> {
        let missing = || self.missing(word);
        let name = word.strip_prefix('/').unwrap_or(word);
        if name.is_empty() || name.contains('/') {
            return Err(missing());
        }
        let found = |id: &str| self.read(id).map_err(|e| if e.is_not_found() { missing() } else { e });
        let link = self.root.join("names").join(name);
        match fs::read_link(&link) {
            Ok(id) => return found(&id.to_string_lossy()),
            // What cannot be read is not missing.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::InvalidFilename) => {}
            Err(e) => return Err(Error::io("cannot read the name", link, e)),
        }
        let mut one = None;
        for id in self.ids()?.into_iter().filter(|id| id.starts_with(word)) {
            if one.replace(id).is_some() {
                return Err(Error::Ambiguous(word.to_owned()));
            }
        }
        found(&one.ok_or_else(missing)?)
    }

    /// That nobody is called so, and who is nearly.
    fn missing(&self, word: &str) -> Error {
        Error::NoSuchContainer(word.to_owned(), crate::near::near(word, &self.root.join("names")))
    }

    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let path = self.root.join("containers");
        let entries = fs::read_dir(&path).map_err(|e| Error::io("cannot read", &path, e))?;
        Ok(entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
    }
}

/// Once more where it failed.
pub(crate) fn twice<T, E>(
    mut attempt: impl FnMut() -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    attempt().or_else(|_| attempt())
}

/// Whether something is there, or may be: what cannot be looked at is not taken for missing.
pub(crate) fn may_be_there(path: &Path) -> bool {
    twice(|| path.try_exists()).unwrap_or(true)
}

pub(crate) fn missing_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn read_state(path: &Path) -> Result<Option<State>> {
    match fs::read(path) {
        // Not written yet when the power failed.
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|e| Error::io("cannot read", path, e)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::io("cannot read", path, e)),
    }
}

fn process_lives(pid: i32, start_ticks: u64) -> bool {
    kernel::process::start_ticks(pid) == Some(start_ticks)
}

/// What is known of a container whose processes are gone without a word.
fn lost(code: i32, since: Time, at: Time, ran: Option<Duration>, restarts: u32) -> State {
    State::Exited { code, started: Some(since), at, ran, oom_killed: false, error: String::new(), restarts }
}

pub(crate) fn random() -> [u8; 32] {
    let mut bytes = [0u8; 32];
    loop {
        // Never all digits in the short form: it could be taken for a number.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        if bytes[..6].iter().any(|b| b >> 4 > 9 || b & 15 > 9) {
            return bytes;
        }
    }
}

pub(crate) fn make_dir(path: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(path)
            .map_err(|e| Error::io("cannot make the directory", path, e)),
        Err(e) => Err(Error::io("cannot make the directory", path, e)),
    }
}

/// Whole or not at all: written beside, then renamed. With `sync` it is on the disk when this returns: what it replaces is there until
/// then; what is new, and was not written when the power failed, is an empty file.
pub(crate) fn write_json(path: &Path, value: &impl serde::Serialize, sync: bool) -> Result<()> {
    let failed = |e: std::io::Error| Error::io("cannot write", path, e);
    let text = serde_json::to_vec(value).map_err(|e| failed(e.into()))?;
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    if sync && may_be_there(path) {
        file.sync_data().map_err(failed)?;
    }
    fs::rename(&beside, path).map_err(failed)?;
    if sync {
        // With its new name: that is part of the file, and all that was done before is in the file system's journal before it.
        file.sync_all().map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_read_as_running_may_have_ended_since() {
        let base = std::env::temp_dir().join(format!("corten-store-{}", std::process::id()));
        let engine = Engine::open(&base.join("root"), &base.join("state")).unwrap();
        let dir = base.join("root/containers/box");
        fs::create_dir_all(&dir).unwrap();
        // Neither the process nor the monitor is there any more.
        let (pid, since) = (i32::MAX, Time(1));
        let running = State::Running { pid, start_ticks: 1, monitor: pid, since, restarts: 0, paused: false };
        assert_eq!(engine.living("box", Some(running.clone())).unwrap(), None, "state.json says how");
        // It is still what was noted: nobody has lived to note more.
        fs::write(dir.join("running.json"), serde_json::to_vec(&running).unwrap()).unwrap();
        let lost = engine.living("box", Some(running)).unwrap();
        assert!(matches!(lost, Some(State::Exited { code: 137, .. })), "{lost:?}");
        fs::remove_dir_all(base).unwrap();
    }
}
