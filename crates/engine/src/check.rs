//! Whether what is on disk fits together: images and layers ([`image::Store::check`]), containers, and what they hold: names, ids, addresses,
//! directories of their runs.

mod leftovers;

use crate::{Container, Engine, Error, Network, Result, Share, State};
use image::{Fault, Report};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What was looked at besides images.
#[derive(Debug, Default)]
pub struct Checked {
    pub store: Report,
    pub containers: usize,
    pub faults: Vec<Fault>,
}

/// How [`Engine::hold_containers`] holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// One of many who make or remove some.
    Changing,
    /// None is made or removed meanwhile.
    Still,
}

impl Engine {
    /// Held by who makes or removes containers, and by who must find none half made: which images and addresses are used is known only
    /// while all stand still. It ends with the descriptor.
    pub fn hold_containers(&self, holding: Holding) -> Result<OwnedFd> {
        let dir = self.root.join("containers");
        let failed = |e: rustix::io::Errno| Error::io("cannot lock", &dir, e);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&dir, flags, Mode::empty()).map_err(failed)?;
        let operation = match holding {
            Holding::Changing => FlockOperation::LockShared,
            Holding::Still => FlockOperation::LockExclusive,
        };
        rustix::io::retry_on_intr(|| rustix::fs::flock(&fd, operation)).map_err(failed)?;
        Ok(fd)
    }

    /// Looks at everything; with `repair` sets right what can be set right without losing what somebody wrote.
    pub fn check(&self, repair: bool) -> Result<Checked> {
        let still = self.hold_containers(Holding::Still)?;
        let mut checked = Checked::default();
        let mut found = Found { engine: self, repair, faults: Vec::new() };
        let (mut containers, strangers) = found.containers()?;
        checked.containers = containers.len();
        found.directories(strangers);
        found.volumes();
        found.networks()?;
        found.changes(&mut containers)?;
        found.names(&containers)?;
        found.ids(&containers)?;
        found.leases(&containers)?;
        found.runs(&containers)?;
        found.forgotten(&containers);
        found.stuck(&containers);
        // Layers of containers that run, or may, stay, even where they are wrong.
        let at_rest = |c: &Container| matches!(self.state(c), Ok(State::Created | State::Exited { .. }));
        let busy: BTreeSet<PathBuf> = containers
            .values()
            .filter(|c| !at_rest(c))
            .flat_map(|c| c.lower.iter().map(PathBuf::from))
            .collect();
        // Looking at every file takes its time, and harms nobody who makes a container; taking images away does.
        let still = if repair { Some(still) } else { None };
        checked.store =
            self.images().check(repair, &|chain| busy.contains(&self.images().layer_path(chain)))?;
        found.images(&containers);
        drop(still);
        checked.faults = found.faults;
        Ok(checked)
    }
}

type Containers = BTreeMap<String, Container>;

struct Found<'a> {
    engine: &'a Engine,
    repair: bool,
    faults: Vec<Fault>,
}

impl Found<'_> {
    /// `mend` does what `done` says.
    fn report(&mut self, what: String, done: &str, mend: impl FnOnce() -> std::io::Result<()>) {
        let (what, repaired) = match self.repair.then(mend) {
            None => (what, None),
            Some(Ok(())) => (what, Some(done.to_owned())),
            Some(Err(e)) => (format!("{what} (not repaired: {})", crate::error::words(&e)), None),
        };
        self.faults.push(Fault { what, repaired });
    }

    /// What nobody but a person can decide.
    fn tell(&mut self, what: String) {
        self.faults.push(Fault { what, repaired: None });
    }

    /// Those that can be read, by id, and directories that have no configuration.
    fn containers(&mut self) -> Result<(Containers, Vec<PathBuf>)> {
        let (mut containers, mut strangers) = (Containers::new(), Vec::new());
        for entry in entries(&self.engine.root.join("containers"))? {
            let id = name_of(&entry);
            match self.engine.read(&id) {
                Ok(container) if container.id == id => _ = containers.insert(id, container),
                // Not there, or not written when the power failed.
                _ if fs::metadata(entry.join("config.json")).map_or(0, |m| m.len()) == 0 => {
                    strangers.push(entry)
                }
                Ok(_) => self.tell(format!("container {id}: its config.json is another's")),
                Err(_) => self.tell(format!("container {id}: its config.json is damaged")),
            }
        }
        Ok((containers, strangers))
    }

    fn exists(&self, id: &str) -> bool {
        crate::store::may_be_there(&self.engine.root.join("containers").join(id).join("config.json"))
    }

    fn names(&mut self, containers: &Containers) -> Result<()> {
        let dir = self.engine.root.join("names");
        for entry in entries(&dir)? {
            let (name, id) = (name_of(&entry), target_of(&entry));
            match containers.get(&id) {
                Some(container) if container.name == name => continue,
                Some(container) => {
                    let what = format!("name {name}: its container is called {}", container.name);
                    self.report(what, "removed", || fs::remove_file(&entry));
                }
                // Damaged, and told of.
                None if self.exists(&id) => {}
                None => {
                    let what = format!("name {name}: its container {} is missing", short(&id));
                    self.report(what, "removed", || fs::remove_file(&entry));
                }
            }
        }
        for container in containers.values() {
            let path = dir.join(&container.name);
            if target_of(&path) != container.id {
                let what = format!("container {}: its name is not claimed", container.name);
                self.report(what, "claimed", || std::os::unix::fs::symlink(&container.id, &path));
            }
        }
        Ok(())
    }

    fn ids(&mut self, containers: &Containers) -> Result<()> {
        let dir = self.engine.root.join("ids");
        for entry in entries(&dir)? {
            // `N` names who claimed it, `N.ID` who shares it.
            let (name, id) = (name_of(&entry), target_of(&entry));
            let shares = |range: &str, id: &str| {
                containers.values().any(|c| {
                    c.id.starts_with(id) && Engine::id_range(c).is_some_and(|r| r.to_string() == range)
                })
            };
            let held = match name.split_once('.') {
                Some((range, id)) => shares(range, id),
                None => self.exists(&id) || shares(&name, ""),
            };
            if !held {
                let what = format!("ids {}: their container {} is missing", name_of(&entry), short(&id));
                self.report(what, "released", || fs::remove_file(&entry));
            }
        }
        for container in containers.values() {
            let s = &container.settings;
            let shared = [&s.pid, &s.ipc].iter().any(|share| matches!(share, Share::Container(_)))
                || matches!(s.network, Network::Container(_));
            let Some(range) = Engine::id_range(container).filter(|_| !shared) else { continue };
            let path = dir.join(range.to_string());
            if target_of(&path) != container.id {
                let what = format!("container {}: its ids {range} are not claimed", container.name);
                self.report(what, "claimed", || std::os::unix::fs::symlink(&container.id, &path));
            }
        }
        Ok(())
    }

    fn leases(&mut self, containers: &Containers) -> Result<()> {
        let root = &self.engine.root;
        let leases: BTreeMap<_, _> = network::lease::all(root)?.into_iter().collect();
        for (address, id) in &leases {
            if let Some(container) = containers.get(id) {
                if !container.endpoints.iter().flat_map(addresses_of).any(|a| a == *address) {
                    self.lease_without_place(container, *address)?;
                }
            } else if !self.exists(id) {
                let what = format!("address {address}: its container {} is missing", short(id));
                self.report(what, "released", || {
                    network::lease::release(root, *address, id).map_err(std::io::Error::other)
                });
            }
        }
        for container in containers.values() {
            for address in container.endpoints.iter().flat_map(addresses_of) {
                if leases.get(&address).is_none_or(|id| *id != container.id) {
                    let what = format!("container {}: its address {address} is not leased", container.name);
                    let path = root.join("leases").join(address.to_string());
                    self.report(what, "leased", || std::os::unix::fs::symlink(&container.id, &path));
                }
            }
        }
        Ok(())
    }

    /// Directories of runs that are over: their journals say what is left of them.
    fn runs(&mut self, containers: &Containers) -> Result<()> {
        for dir in entries(&self.engine.state)? {
            let id = name_of(&dir);
            if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                continue;
            }
            let container = containers.get(&id);
            // One that is being started has that locked; one whose monitor lives runs, or waits to be started again.
            let lock = match container {
                Some(c) => match self.engine.state(c) {
                    Ok(State::Created | State::Exited { .. }) => match self.engine.try_lock_files(c)? {
                        None => continue,
                        lock => lock,
                    },
                    // Or nobody can tell whether it does.
                    _ => continue,
                },
                None => None,
            };
            let name = container.map_or(short(&id), |c| &c.name);
            let what = format!("container {name}: a run that was killed left {}", dir.display());
            self.report(what, "cleaned up", || {
                steps::Journal::replay(&dir.join("journal"))?;
                fs::remove_dir_all(&dir)
            });
            drop(lock);
        }
        Ok(())
    }

    /// After those of the store: what they took away is missing now.
    fn images(&mut self, containers: &Containers) {
        let store = self.engine.images();
        for container in containers.values().filter(|c| c.settings.rootfs.is_none() && !c.upper_in_memory) {
            let image = &container.settings.image;
            let shared = self.engine.root.join("init");
            let missing = container.lower.iter().map(Path::new).find(|l| !l.is_dir() && *l != shared);
            if let Some(layer) = missing {
                let layer = layer.display();
                self.tell(format!(
                    "container {}: layer {layer} is missing: pull or load {image} again",
                    container.name
                ));
            } else if store.image(container.image_id.trim_start_matches("sha256:")).is_err() {
                self.tell(format!(
                    "container {}: its image {image} is missing: pull or load it again",
                    container.name
                ));
            }
        }
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
            all.sort();
            Ok(all)
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("cannot read", dir, e)),
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Empty where it is no link.
fn target_of(path: &Path) -> String {
    fs::read_link(path).unwrap_or_default().to_string_lossy().into_owned()
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

fn addresses_of(endpoint: &network::Endpoint) -> impl Iterator<Item = std::net::IpAddr> {
    endpoint.ipv4.map(Into::into).into_iter().chain(endpoint.ipv6.map(Into::into))
}
