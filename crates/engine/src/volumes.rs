//! Volumes: directories that outlive the containers they are mounted in. `volumes/NAME` has `volume.json`, the files, in
//! `_data`, and an empty file `used-by.ID` for each container that has it. One appears whole, by a rename, and goes away whole.

use crate::store::{make_dir, random, twice};
use crate::{Container, Engine, Error, Event, Mount, MountKind, Result, Time};
use rustix::fs::{FlockOperation, RenameFlags, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use steps::Shell;

/// A volume as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    pub name: String,
    pub created: Time,
    pub labels: BTreeMap<String, String>,
    /// Of `-o`: `type`, `o`, `device`.
    pub options: BTreeMap<String, String>,
    /// Nobody gave it a name: it goes with `rm -v` of its container.
    pub anonymous: bool,
    /// Owner and mode were chosen when it was made, and an image does not change them.
    pub owned: bool,
}

/// A volume as it would be made now.
fn new(name: &str, wish: &VolumeWish) -> Volume {
    Volume {
        name: name.to_owned(),
        created: Time::now(),
        labels: wish.labels.clone(),
        options: wish.options.clone(),
        anonymous: wish.anonymous,
        owned: wish.uid.is_some() || wish.gid.is_some() || wish.mode.is_some(),
    }
}

/// What a new volume shall be.
#[derive(Debug, Clone, Default)]
pub struct VolumeWish {
    /// Empty: a name is made up.
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub options: BTreeMap<String, String>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
    pub anonymous: bool,
}

/// Keeps a volume from being removed.
#[derive(Debug)]
pub struct Hold(#[allow(dead_code, reason = "its lock is what counts")] File);

/// What the directory of a volume that is being made or removed begins with: no volume's name does.
const UNFINISHED: &str = ".";

/// What the file begins with that says which container has a volume.
const USED_BY: &str = "used-by.";

impl Engine {
    fn volume_dir(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    /// Where the volume's files are.
    pub fn mountpoint(&self, volume: &Volume) -> PathBuf {
        match volume.options.get("device") {
            Some(device) => device.into(),
            None => self.volume_dir(&volume.name).join("_data"),
        }
    }

    /// Makes a volume, or returns the one of that name. The second says whether it was made.
    ///
    /// Errors: options that the local driver does not have; a device that is no directory.
    pub fn create_volume(&self, wish: &VolumeWish) -> Result<(Volume, bool)> {
        self.create_filled_volume(wish, &mut |_| Ok(()))
    }

    /// The same; `fill` puts files into a new one, in whose directory there is `_data`, before it is there for others. What it has put
    /// there is not on the disk yet.
    pub(crate) fn create_filled_volume(
        &self,
        wish: &VolumeWish,
        fill: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<(Volume, bool)> {
        let name = if wish.name.is_empty() { anonymous_name() } else { wish.name.clone() };
        match self.volume(&name) {
            Ok(volume) => return Ok((volume, false)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        check_options(&wish.options)?;
        let volume = new(&name, wish);
        let volumes = self.root.join("volumes");
        make_dir(&volumes)?;
        let _changing = self.change_volumes()?;
        let beside = volumes.join(format!("{UNFINISHED}{}", anonymous_name()));
        let failed = |e: std::io::Error| Error::io("cannot make the volume", &name, e);
        let make = || -> std::io::Result<()> {
            fs::create_dir(&beside)?;
            fs::set_permissions(&beside, Permissions::from_mode(0o700))?;
            let data = beside.join("_data");
            fs::create_dir(&data)?;
            if wish.uid.is_some() || wish.gid.is_some() {
                chown(&data, Some(wish.uid.unwrap_or(0)), Some(wish.gid.unwrap_or(0)))?;
            }
            fs::set_permissions(&data, Permissions::from_mode(wish.mode.unwrap_or(0o755)))?;
            let mut file = File::create(beside.join("volume.json"))?;
            file.write_all(&serde_json::to_vec(&volume)?)?;
            file.sync_data()
        };
        let appear = || -> std::io::Result<()> {
            let (from, to) = (&beside, self.volume_dir(&name));
            rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, &to, RenameFlags::NOREPLACE)?;
            // One that comes with a container is on the disk before that is.
            if !wish.anonymous {
                File::open(&to)?.sync_all()?;
            }
            Ok(())
        };
        match make().map_err(failed).and_then(|()| fill(&beside)).map(|()| appear()) {
            Ok(Ok(())) => {
                self.tell(&[Event::new("volume", "create", &name).with("driver", "local")]);
                Ok((volume, true))
            }
            Ok(Err(error)) => {
                let _ = twice(|| fs::remove_dir_all(&beside));
                // Somebody was faster.
                match self.volume(&name) {
                    Ok(volume) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok((volume, false)),
                    _ => Err(failed(error)),
                }
            }
            Err(error) => {
                let _ = twice(|| fs::remove_dir_all(&beside));
                Err(error)
            }
        }
    }

    /// [`Engine::create_volume`] as commands; none where it is there.
    pub fn create_volume_by_hand(&self, wish: &VolumeWish) -> Result<Vec<Shell>> {
        if self.volume(&wish.name).is_ok() {
            return Ok(vec![Shell::comment(format!("the volume '{}' is there", wish.name), "")]);
        }
        check_options(&wish.options)?;
        let name = if wish.name.is_empty() { anonymous_name() } else { wish.name.clone() };
        let dir = steps::quote(&self.volume_dir(&name).display().to_string());
        let mode = wish.mode.unwrap_or(0o755);
        let path = self.volume_dir(&name).join("volume.json");
        let content =
            serde_json::to_string(&new(&name, wish)).map_err(|e| Error::io("cannot write", &path, e))?;
        let note = steps::WriteFile { path: path.into(), content, mode: 0o600, owner: None };
        let mut lines =
            vec![format!("install -d -m 0700 {dir}"), format!("install -d -m {mode:04o} {dir}/_data")];
        if wish.uid.is_some() || wish.gid.is_some() {
            lines.push(format!("chown {}:{} {dir}/_data", wish.uid.unwrap_or(0), wish.gid.unwrap_or(0)));
        }
        Ok(vec![
            Shell::lines(lines, "a directory that outlives its containers", "install(1)")
                .near("made beside and renamed, so that it is there whole or not at all"),
            Shell { why: "what it is called, its labels and options".to_owned(), ..note.shell() },
        ])
    }

    /// [`Engine::remove_volume`] as commands.
    pub fn remove_volume_by_hand(&self, name: &str) -> Result<Vec<Shell>> {
        let volume = self.volume(name)?;
        self.check_unused(name)?;
        let dir = steps::quote(&self.volume_dir(&volume.name).display().to_string());
        Ok(vec![
            Shell::exact(format!("rm -r {dir}"), "the volume, with all that is in it", "rm(1)")
                .near("renamed first, so that nobody finds the half of it"),
        ])
    }

    fn not_locked(&self, name: &str, error: std::io::Error) -> Error {
        match error.kind() {
            std::io::ErrorKind::NotFound => self.missing_volume(name),
            _ => Error::io("cannot lock the volume", name, error),
        }
    }

    fn missing_volume(&self, name: &str) -> Error {
        Error::NoSuchVolume(name.to_owned(), crate::near::near(name, &self.root.join("volumes")))
    }

    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        let missing = || self.missing_volume(name);
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(missing());
        }
        let path = self.volume_dir(name).join("volume.json");
        let text = fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::InvalidFilename => missing(),
            _ => Error::io("cannot read", &path, e),
        })?;
        serde_json::from_slice(&text).map_err(|e| Error::io("cannot read", &path, e))
    }

    /// All volumes, by name.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let path = self.root.join("volumes");
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("cannot read", &path, e)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut all: Vec<Volume> = names.filter_map(|name| self.volume(&name).ok()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Ids of the containers, whatever they do, that have each volume.
    pub fn volume_users(&self) -> Result<BTreeMap<String, Vec<String>>> {
        let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (container, _) in self.list_for_removal()? {
            for name in volume_names(&container) {
                users.entry(name.to_owned()).or_default().push(container.id.clone());
            }
        }
        Ok(users)
    }

    /// Only the containers that have had it are looked at, however many others there are.
    fn check_unused(&self, name: &str) -> Result<()> {
        let dir = self.volume_dir(name);
        let entries = fs::read_dir(&dir).map_err(|e| Error::io("cannot read", &dir, e))?;
        let ids = entries.flatten().filter_map(|entry| {
            entry.file_name().to_str().and_then(|file| file.strip_prefix(USED_BY)).map(str::to_owned)
        });
        // Who was killed may have left a mark of a container that is not there, or has the volume no more.
        let mut users = Vec::new();
        for id in ids {
            match self.read(&id) {
                Ok(container) if volume_names(&container).any(|volume| volume == name) => users.push(id),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        match users.is_empty() {
            true => Ok(()),
            false => Err(Error::VolumeInUse { name: name.to_owned(), users: users.join(", ") }),
        }
    }

    fn used_by(&self, volume: &str, id: &str) -> PathBuf {
        self.volume_dir(volume).join(format!("{USED_BY}{id}"))
    }

    /// Takes back what [`Engine::hold_volumes`] has noted: the container has the volume no more.
    pub(crate) fn let_go_of_volume(&self, volume: &str, id: &str) {
        let _ = fs::remove_file(self.used_by(volume, id));
    }

    /// Removes a volume that no container has.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        let volume = self.volume(name)?;
        let dir = self.volume_dir(&volume.name);
        let lock = lock(&dir, FlockOperation::LockExclusive).map_err(|e| self.not_locked(name, e))?;
        self.check_unused(name)?;
        let _changing = self.change_volumes()?;
        let away = self.volume_dir(&format!("{UNFINISHED}{}", anonymous_name()));
        fs::rename(&dir, &away).map_err(|e| Error::io("cannot remove the volume", name, e))?;
        drop(lock);
        twice(|| fs::remove_dir_all(&away)).map_err(|e| Error::io("cannot remove the volume", name, e))?;
        self.tell(&[Event::new("volume", "destroy", name).with("driver", "local")]);
        Ok(())
    }

    /// Held by who makes or removes a volume: what is half made or half removed is his.
    fn change_volumes(&self) -> Result<File> {
        let path = self.root.join("volumes");
        let failed = |e: std::io::Error| Error::io("cannot lock", &path, e);
        let file = File::open(&path).map_err(failed)?;
        rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockShared))
            .map_err(|e| failed(e.into()))?;
        Ok(file)
    }

    /// What a killed command has left half made or half removed, and what keeps others from making more of it. Nothing is
    /// told while somebody makes or removes a volume.
    pub(crate) fn unfinished_volumes(&self) -> (Vec<PathBuf>, Option<File>) {
        let path = self.root.join("volumes");
        let Ok(file) = File::open(&path) else { return Default::default() };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Default::default();
        }
        let entries = fs::read_dir(&path).into_iter().flatten().flatten();
        let unfinished = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED));
        (unfinished.map(|entry| entry.path()).collect(), Some(file))
    }

    /// Removes what a killed command has left half made or half removed.
    pub fn sweep_volumes(&self) {
        let (unfinished, _still) = self.unfinished_volumes();
        for path in unfinished {
            let _ = fs::remove_dir_all(path);
        }
    }

    /// Makes the volumes that a container with this id is to mount and that are missing, notes that it has them, and keeps all of them
    /// until what is returned is dropped.
    pub(crate) fn hold_volumes(&self, id: &str, mounts: &[Mount]) -> Result<Vec<Hold>> {
        let mut holds = Vec::new();
        for mount in mounts.iter().filter(|m| m.kind == MountKind::Volume) {
            let wish = VolumeWish {
                name: mount.source.clone(),
                labels: mount.labels.clone(),
                options: mount.volume_options.clone(),
                anonymous: mount.anonymous,
                ..VolumeWish::default()
            };
            let mut tries = 0;
            let held = loop {
                let (volume, _) = self.create_volume(&wish)?;
                match self.hold_volume(&volume.name) {
                    // Removed between the two: made again.
                    Err(Error::NoSuchVolume(..)) if tries < 10 => tries += 1,
                    held => break held?,
                }
            };
            let note = self.used_by(&mount.source, id);
            File::create(&note).map_err(|e| Error::io("cannot make", &note, e))?;
            holds.push(held);
        }
        Ok(holds)
    }

    /// Keeps a volume that is there from being removed.
    pub(crate) fn hold_volume(&self, name: &str) -> Result<Hold> {
        let held = lock(&self.volume_dir(name), FlockOperation::LockShared);
        held.map(Hold).map_err(|e| self.not_locked(name, e))
    }

    /// Looks up the image that a mount names, with its layers.
    pub(crate) fn find_mounted_image(&self, mount: &mut Mount) -> Result<()> {
        if mount.kind != MountKind::Image {
            return Ok(());
        }
        let image = self.images().resolve(&mount.source)?;
        if image.host {
            return Err(Error::Invalid("@host cannot be mounted: it is this machine itself".to_owned()));
        }
        mount.layers = self.images().layer_paths(&image).iter().map(|p| p.display().to_string()).collect();
        mount.image_id = image.id;
        Ok(())
    }

    /// Removes the anonymous volumes that came with a container and that no other has.
    pub(crate) fn remove_anonymous(&self, container: &Container) -> Result<()> {
        for mount in container.settings.mounts.iter().filter(|m| m.anonymous) {
            match twice(|| self.remove_volume(&mount.source)) {
                Err(Error::NoSuchVolume(..) | Error::VolumeInUse { .. }) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The names of a container's volumes.
pub fn volume_names(container: &Container) -> impl Iterator<Item = &str> {
    let volumes = container.settings.mounts.iter().filter(|m| m.kind == MountKind::Volume);
    volumes.map(|m| m.source.as_str())
}

/// A lock on a volume's directory, once it is sure that the directory is still the volume's.
fn lock(dir: &Path, how: FlockOperation) -> std::io::Result<File> {
    use std::os::unix::fs::MetadataExt;
    let file = File::open(dir)?;
    rustix::io::retry_on_intr(|| flock(&file, how))?;
    let (held, there) = (file.metadata()?, fs::metadata(dir)?);
    if held.ino() == there.ino() { Ok(file) } else { Err(std::io::ErrorKind::NotFound.into()) }
}

/// 64 hexadecimal digits.
pub(crate) fn anonymous_name() -> String {
    random().iter().map(|b| format!("{b:02x}")).collect()
}

/// The local driver's: a directory of the host in the place of one of the engine's.
fn check_options(options: &BTreeMap<String, String>) -> Result<()> {
    let invalid = |cause: String| Err(Error::Invalid(cause));
    for (key, value) in options {
        match (key.as_str(), value.as_str()) {
            ("type", "none" | "bind") | ("o", "bind" | "rbind" | "") | ("device", _) => {}
            ("type", kind) => {
                return invalid(format!(
                    "volumes of type '{kind}' are not supported: only 'none' with o=bind and a device is"
                ));
            }
            ("o", o) => return invalid(format!("volume option 'o={o}' is not supported: only 'bind' is")),
            (key, _) => return invalid(format!("invalid option: \"{key}\"")),
        }
    }
    match options.get("device") {
        None if options.is_empty() => Ok(()),
        None => invalid("missing device in volume options".to_owned()),
        Some(device) if Path::new(device).is_absolute() && Path::new(device).is_dir() => Ok(()),
        Some(device) => {
            invalid(format!("the device of a volume must be a directory by its whole path: {device}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(name: &str) -> (Engine, PathBuf) {
        let base = std::env::temp_dir().join(format!("corten-volumes-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        (Engine::open(&base.join("root"), &base.join("state")).unwrap(), base)
    }

    #[test]
    fn a_volume_is_made_once_and_goes_whole() {
        let (engine, base) = engine("once");
        let wish = VolumeWish { name: "data".into(), mode: Some(0o2770), ..VolumeWish::default() };
        let (volume, made) = engine.create_volume(&wish).unwrap();
        assert!(made && volume.owned);
        assert!(!engine.create_volume(&wish).unwrap().1);
        let mode = fs::metadata(engine.mountpoint(&volume)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2770);
        assert_eq!(engine.volumes().unwrap(), [volume]);
        engine.remove_volume("data").unwrap();
        assert!(matches!(engine.remove_volume("data"), Err(Error::NoSuchVolume(..))));
        assert_eq!(fs::read_dir(base.join("root/volumes")).unwrap().count(), 0);
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn names_that_are_paths_are_no_volumes() {
        let (engine, base) = engine("paths");
        fs::create_dir_all(base.join("root/volumes/.half")).unwrap();
        for name in ["", ".", "..", ".half", "a/b", "../containers"] {
            assert!(matches!(engine.volume(name), Err(Error::NoSuchVolume(..))), "{name}");
        }
        assert!(engine.volumes().unwrap().is_empty());
        fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn options_of_the_local_driver() {
        let options = |pairs: &[(&str, &str)]| {
            check_options(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
        };
        assert!(options(&[]).is_ok());
        assert!(options(&[("type", "none"), ("o", "bind"), ("device", "/")]).is_ok());
        for bad in [&[("type", "nfs")][..], &[("o", "bind")], &[("device", "relative")], &[("size", "1g")]] {
            assert!(options(bad).is_err(), "{bad:?}");
        }
    }
}
