//! The networks of a data root: `networks/<name>.json` each. They are made by exclusive creation, and held by a lock on
//! their file while a container is in them, so that nobody removes what is in use. The kernel ends a lock with its holder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};

use crate::network::DEFAULT;
use crate::{Error, Network, Result};

/// Where the files are.
#[derive(Debug, Clone)]
pub struct Networks {
    directory: PathBuf,
}

/// A network, and the hold on it: as long as it lives, the network is not removed.
#[derive(Debug)]
pub struct Held {
    pub network: Network,
    /// None for the default network, which is always there.
    pub lock: Option<File>,
}

impl Networks {
    pub fn new(root: &Path) -> Networks {
        Networks { directory: root.join("networks") }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.json"))
    }

    /// The network of exactly this name.
    pub fn named(&self, name: &str) -> Result<Network> {
        self.read(name)?.ok_or_else(|| self.missing(name))
    }

    fn read(&self, name: &str) -> Result<Option<Network>> {
        match Network::load(&self.file(name)) {
            Ok(network) => Ok(Some(network)),
            Err(Error::File(_, error)) if error.kind() == ErrorKind::NotFound => {
                Ok((name == DEFAULT).then(Network::default))
            }
            Err(error) => Err(error),
        }
    }

    /// That there is none of that name, and which is nearly called so.
    fn missing(&self, word: &str) -> Error {
        let names = self.names().unwrap_or_default();
        Error::NotFound(word.into(), steps::Near::of(word, names))
    }

    /// By name, id, or the unique beginning of an id.
    pub fn find(&self, word: &str) -> Result<Network> {
        let missing = || self.missing(word);
        if crate::network::check_name(word).is_err() {
            return Err(missing());
        }
        if let Some(network) = self.read(word)? {
            return Ok(network);
        }
        let mut found = self.list()?.into_iter().filter(|network| network.id.starts_with(word));
        let first = found.next().ok_or_else(missing)?;
        if found.next().is_some() { Err(Error::Ambiguous(word.into())) } else { Ok(first) }
    }

    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = vec![DEFAULT.to_owned()];
        match fs::read_dir(&self.directory) {
            Ok(entries) => {
                let name =
                    |entry: fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".json")?.to_owned());
                names.extend(entries.flatten().filter_map(name).filter(|name| name != DEFAULT));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::File(self.directory.clone(), error)),
        }
        Ok(names)
    }

    /// All networks with a switch or a parent link, the default one among them, by name. A file that cannot be read is an
    /// error: whatever is built on the list would forget a network.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut names = self.names()?;
        names.sort();
        // one that was removed meanwhile is not in the list
        names.iter().filter_map(|name| self.read(name).transpose()).collect()
    }

    /// One who makes or removes networks at a time: subnets must not overlap.
    pub fn lock(&self) -> Result<File> {
        let failed = |error| Error::File(self.directory.clone(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).map_err(failed)?;
        let path = self.directory.join(".lock");
        let file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| Error::File(path.clone(), error))?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
            .map_err(|errno| Error::File(path, errno.into()))?;
        Ok(file)
    }

    /// Writes a new network; the caller has the [`Networks::lock`].
    pub fn create(&self, network: &Network) -> Result<()> {
        let path = self.file(&network.name);
        let failed = |error: std::io::Error| Error::File(path.clone(), error);
        let text = serde_json::to_vec_pretty(network).map_err(|error| failed(error.into()))?;
        let beside = self.directory.join(format!(".{}.new", network.name));
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let mut file = open.map_err(failed)?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        let made = written.and_then(|()| fs::hard_link(&beside, &path));
        let _ = fs::remove_file(&beside).or_else(|_| fs::remove_file(&beside));
        match made {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists(network.name.clone()))
            }
            // With its name.
            made => made.and_then(|()| file.sync_all()).map_err(failed),
        }
    }

    /// The network, kept from being removed.
    pub fn hold(&self, name: &str) -> Result<Held> {
        let path = self.file(name);
        loop {
            let network = self.named(name)?;
            if network.is_default() {
                return Ok(Held { network, lock: None });
            }
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::File(path, error)),
            };
            retry_on_intr(|| flock(&file, FlockOperation::LockShared))
                .map_err(|errno| Error::File(path.clone(), errno.into()))?;
            // It may have been removed, and made anew, between the two lines above.
            if still(&path, &file) && self.named(name)?.id == network.id {
                return Ok(Held { network, lock: Some(file) });
            }
        }
    }

    /// Takes the file away, after `before` has taken away all else: whoever is killed between them leaves a network that is
    /// there, and whose things are made again when they are needed. False when a container is in the network. The caller
    /// has the [`Networks::lock`].
    pub fn remove(&self, network: &Network, before: impl FnOnce() -> Result<()>) -> Result<bool> {
        let path = self.file(&network.name);
        let failed = |error: std::io::Error| Error::File(path.clone(), error);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NotFound(network.name.clone(), steps::Near::default()));
            }
            Err(error) => return Err(failed(error)),
        };
        match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(failed(errno.into())),
        }
        before()?;
        fs::remove_file(&path).map_err(failed)?;
        Ok(true)
    }

    /// What a killed command has left beside the files; the caller has the [`Networks::lock`].
    pub fn unfinished(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let unfinished = |name: &str| name.starts_with('.') && name.ends_with(".new");
        entries.filter(|e| e.file_name().to_str().is_some_and(unfinished)).map(|e| e.path()).collect()
    }
}

/// Whether the path still leads to this file.
fn still(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let number = |meta: fs::Metadata| (meta.dev(), meta.ino());
    match (fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(here)) => number(there) == number(here),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_made_once_found_and_held() {
        let root = std::env::temp_dir().join(format!("corten-networks-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        let networks = Networks::new(&root);
        assert_eq!(networks.list().unwrap(), [Network::default()]);
        let _lock = networks.lock().unwrap();
        let web =
            Network { name: "web".into(), id: "ab12".into(), link: "br-web".into(), ..Network::default() };
        networks.create(&web).unwrap();
        assert_eq!(networks.create(&web).unwrap_err().to_string(), "network with name web already exists");
        for word in ["web", "ab12", "ab"] {
            assert_eq!(networks.find(word).unwrap(), web);
        }
        for word in ["we", "../web", "x", ""] {
            assert_eq!(networks.find(word).unwrap_err().to_string(), format!("network {word} not found"));
        }
        let held = networks.hold("web").unwrap();
        assert!(!networks.remove(&web, || Ok(())).unwrap());
        drop(held);
        assert!(networks.remove(&web, || Ok(())).unwrap());
        assert!(networks.hold("web").is_err());
        assert!(networks.hold("bridge").unwrap().lock.is_none());
        fs::remove_dir_all(&root).unwrap();
    }
}
