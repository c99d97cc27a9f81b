//! Which layer gives which file, and what upper layers hide. What overlayfs makes of layers is worked out here by its rules, from
//! the directories that it is given: a running container is not needed. See overlayfs in the kernel's documentation.

use crate::diff::{DIR, PLAIN, is_opaque, is_whiteout, join, kind};
use crate::{Container, Engine, Error, Result};
use image::Image;
use kernel::open::openat2;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, Stat, readlinkat, statat};
use rustix::io::Errno;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The layers of an image, or of a container: its own writable one and its image's.
#[derive(Debug, Clone, Serialize)]
pub struct Stack {
    pub name: String,
    /// Topmost first.
    pub layers: Vec<Layer>,
    /// Everything that lies at a path without a leading slash, topmost first.
    #[serde(skip)]
    pub paths: BTreeMap<Vec<u8>, Vec<There>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// From below: the lowest is 1.
    pub number: usize,
    /// Its directory on this machine.
    pub directory: String,
    /// Of its tar stream: `sha256:…`; none for a container's own.
    pub digest: Option<String>,
    /// The line of the recipe that made it, as the image's history has it.
    pub made_by: String,
    pub writable: bool,
    /// Bytes of its files.
    pub size: u64,
    pub files: u64,
    pub directories: u64,
    /// Paths that it deletes.
    pub whiteouts: Vec<String>,
    /// Directories of which it hides all that lower layers have in them.
    pub opaque: Vec<String>,
    /// Files of lower layers that it has another version of: in a container's own layer, they were copied up.
    pub replaces: Vec<String>,
    /// Bytes of its files that a layer above hides.
    pub hidden: u64,
    /// What is hidden, the largest first.
    pub hidden_files: Vec<Hidden>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hidden {
    pub path: String,
    pub size: u64,
    /// The number of the layer that hides it.
    pub by: usize,
}

/// What one layer has at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct There {
    /// The layer's number.
    pub layer: usize,
    pub kind: Kind,
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub fate: Fate,
    /// Where a symbolic link leads.
    pub target: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    File,
    Directory,
    /// A directory that hides what lower layers have in it.
    Opaque,
    Link,
    /// A deletion.
    Whiteout,
    /// A device, a pipe, a socket.
    Other,
}

impl Kind {
    pub fn is_directory(self) -> bool {
        matches!(self, Kind::Directory | Kind::Opaque)
    }
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// It is what one sees; a whiteout: that nothing is there.
    Shown,
    /// A directory whose entries show, under the owner and mode of one above.
    Merged,
    /// By the layer of this number.
    Hidden(usize),
}

impl Engine {
    /// Of a container by its name or id, else of an image.
    pub fn layers(&self, word: &str) -> Result<Stack> {
        match self.find(word) {
            Ok(container) => self.layers_of_container(&container),
            Err(error) if !error.is_not_found() => Err(error),
            Err(_) => match self.images().resolve(word) {
                Ok(image) => self.layers_of_image(word, &image),
                Err(error) if !error.is_not_found() => Err(error.into()),
                Err(_) => Err(Error::Invalid(format!("No such container or image: {word}"))),
            },
        }
    }

    fn layers_of_container(&self, container: &Container) -> Result<Stack> {
        let name = &container.name;
        if container.settings.rootfs.is_some() {
            return Err(Error::Invalid(format!("container {name} has no layers: its root is a directory")));
        }
        if container.upper_in_memory {
            return Err(Error::Invalid(format!(
                "container {name} has this machine's files below, and what it writes in memory: no layers to look at"
            )));
        }
        let image = self.images().image(container.image_id.trim_start_matches("sha256:"))?;
        let upper = self.upper_directory(container);
        let own = Layer {
            directory: upper.display().to_string(),
            made_by: format!("what {name} has written"),
            writable: true,
            ..Layer::default()
        };
        let mut layers = self.of_image(&image)?;
        layers.push(own);
        stack(name, layers)
    }

    fn layers_of_image(&self, word: &str, image: &Image) -> Result<Stack> {
        if image.host {
            return Err(Error::Invalid(
                "@host has no layers: it is this machine's own file system".to_owned(),
            ));
        }
        stack(image.reference.as_deref().unwrap_or(word), self.of_image(image)?)
    }

    /// Lowest first.
    fn of_image(&self, image: &Image) -> Result<Vec<Layer>> {
        let history = self.images().config_of(image)?.history;
        let mut made_by = history.into_iter().filter(|line| !line.empty_layer).map(|line| line.created_by);
        let layers = image.layers.iter().map(|layer| Layer {
            directory: self.images().layer_path(&layer.chain).display().to_string(),
            digest: Some(format!("sha256:{}", layer.diff_id)),
            made_by: made_by.next().unwrap_or_default(),
            ..Layer::default()
        });
        Ok(layers.collect())
    }
}

impl Stack {
    /// What lies at a path of the container's, with the links on the way to it followed (but not a link at its end): the path
    /// without a leading slash, and what the layers have there.
    pub fn at(&self, path: &str) -> (Vec<u8>, &[There]) {
        let mut rest: Vec<Vec<u8>> = path.split('/').rev().map(|part| part.as_bytes().to_vec()).collect();
        let mut here: Vec<u8> = Vec::new();
        let mut links = 40;
        while let Some(part) = rest.pop() {
            match &part[..] {
                b"" | b"." => continue,
                b".." => here = crate::files::split(&here).0.to_vec(),
                name => here = join(&here, name),
            }
            let target = self.paths.get(&here).and_then(|all| all.first()).and_then(|top| top.target.clone());
            let last = rest.iter().all(|part| part.is_empty() || part == b".");
            if let Some(target) = target.filter(|_| !last && links > 0) {
                links -= 1;
                here =
                    if target.starts_with('/') { Vec::new() } else { crate::files::split(&here).0.to_vec() };
                rest.extend(target.split('/').rev().map(|part| part.as_bytes().to_vec()));
            }
        }
        let there = self.paths.get(&here).map_or(&[][..], Vec::as_slice);
        (here, there)
    }

    /// The names that a directory shows, each with the number of the layer that gives it.
    pub fn entries(&self, directory: &[u8]) -> Vec<(String, usize)> {
        let prefix = if directory.is_empty() { Vec::new() } else { [directory, b"/"].concat() };
        let below = self.paths.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let direct =
            below.filter(|(path, _)| path.len() > prefix.len() && !path[prefix.len()..].contains(&b'/'));
        direct
            .filter_map(|(path, there)| {
                let top = there.iter().find(|t| t.fate == Fate::Shown)?;
                let name = String::from_utf8_lossy(&path[prefix.len()..]).into_owned();
                (top.kind != Kind::Whiteout).then_some((name, top.layer))
            })
            .collect()
    }

    pub fn layer(&self, number: usize) -> Option<&Layer> {
        self.layers.iter().find(|layer| layer.number == number)
    }
}

/// Numbers the layers (lowest first) and looks into them.
fn stack(name: &str, mut layers: Vec<Layer>) -> Result<Stack> {
    layers.iter_mut().enumerate().for_each(|(i, layer)| layer.number = i + 1);
    layers.reverse();
    let mut walk = Walk { paths: BTreeMap::new(), above: HashMap::new(), replaces: HashMap::new() };
    for layer in &mut layers {
        let directory = layer.directory.clone();
        let at = Path::new(&directory);
        let open = || rustix::fs::open(at, DIR, Mode::empty());
        let root = open().map_err(|e| Error::io("cannot open", at, e))?;
        walk.layer(layer, &root).map_err(|e| Error::io("cannot look into", at, e))?;
    }
    for layer in &mut layers {
        layer.replaces = walk.replaces.remove(&layer.number).unwrap_or_default();
        layer.replaces.sort();
        layer.replaces.dedup();
    }
    Ok(Stack { name: name.to_owned(), layers, paths: walk.paths })
}

/// What the layers above the present one have at a path.
#[derive(Debug, Clone, Copy)]
enum Above {
    /// By the layer of this number: something that is no directory, or a deletion.
    Covered(usize),
    /// A directory; what lower layers have in it shows, unless this layer hides it.
    Directory { top: usize, closed: Option<usize> },
}

struct Walk {
    paths: BTreeMap<Vec<u8>, Vec<There>>,
    above: HashMap<Vec<u8>, Above>,
    replaces: HashMap<usize, Vec<String>>,
}

/// Files with several names, of one layer: bytes, and whether one of the names shows.
type Several = HashMap<u64, (u64, bool, Option<usize>, String)>;

impl Walk {
    fn layer(&mut self, layer: &mut Layer, root: &OwnedFd) -> rustix::io::Result<()> {
        let mut several = Several::new();
        // A directory still to look into: its path, and who hides all that is in it.
        let mut pending: Vec<(Vec<u8>, Option<usize>)> = vec![(Vec::new(), None)];
        while let Some((path, covered)) = pending.pop() {
            let name = if path.is_empty() { b".".as_slice() } else { &path };
            let dir = match openat2(root, name, DIR, Mode::empty(), PLAIN) {
                Ok(dir) => dir,
                // Deeper than a path can say, or gone meanwhile.
                Err(Errno::NAMETOOLONG | Errno::NOENT) => continue,
                Err(e) => return Err(e),
            };
            for entry in Dir::read_from(&dir)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes();
                if matches!(name, b"." | b"..") {
                    continue;
                }
                let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
                let here = join(&path, name);
                let there = look(&dir, name, &stat, layer.number);
                let below = self.place(layer, &mut several, &here, there, covered, &stat);
                if kind(&stat) == FileType::Directory {
                    pending.push((here, below));
                }
            }
        }
        for (size, shown, by, path) in several.into_values() {
            if let (false, Some(by)) = (shown, by) {
                layer.hidden += size;
                layer.hidden_files.push(Hidden { path, size, by });
            }
        }
        layer.whiteouts.sort();
        layer.opaque.sort();
        layer.hidden_files.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
        Ok(())
    }

    /// Tells the fate of one thing and counts it; answers who hides what is below it.
    fn place(
        &mut self,
        layer: &mut Layer,
        several: &mut Several,
        here: &[u8],
        mut there: There,
        covered: Option<usize>,
        stat: &Stat,
    ) -> Option<usize> {
        let number = layer.number;
        let is_directory = there.kind.is_directory();
        let (fate, below) = match (covered, self.above.get(here).copied()) {
            (Some(by), _) => (Fate::Hidden(by), Some(by)),
            (None, Some(Above::Covered(by))) => (Fate::Hidden(by), Some(by)),
            (None, Some(Above::Directory { closed: Some(by), .. })) => (Fate::Hidden(by), Some(by)),
            (None, Some(Above::Directory { top, closed: None })) if !is_directory => {
                // Lower directories of this name don't show through it.
                self.above.insert(here.to_vec(), Above::Directory { top, closed: Some(number) });
                (Fate::Hidden(top), None)
            }
            (None, Some(Above::Directory { .. })) => (Fate::Merged, None),
            (None, None) => (Fate::Shown, None),
        };
        if covered.is_none() {
            match self.above.get_mut(here) {
                None if is_directory => {
                    let closed = (there.kind == Kind::Opaque).then_some(number);
                    self.above.insert(here.to_vec(), Above::Directory { top: number, closed });
                }
                None => _ = self.above.insert(here.to_vec(), Above::Covered(number)),
                Some(Above::Directory { closed: closed @ None, .. }) if there.kind == Kind::Opaque => {
                    *closed = Some(number);
                }
                Some(_) => {}
            }
        }
        there.fate = fate;
        let path = || format!("/{}", String::from_utf8_lossy(here));
        match there.kind {
            Kind::Whiteout => layer.whiteouts.push(path()),
            Kind::Opaque => layer.opaque.push(path()),
            _ => {}
        }
        if is_directory {
            layer.directories += 1;
        } else if there.kind != Kind::Whiteout {
            self.count(layer, several, &path(), &there, stat);
        }
        self.paths.entry(here.to_vec()).or_default().push(there);
        below
    }

    /// One file. One with several names is counted once, and is hidden only where all of them are.
    fn count(&mut self, layer: &mut Layer, several: &mut Several, path: &str, there: &There, stat: &Stat) {
        let by = match there.fate {
            Fate::Hidden(by) => Some(by),
            _ => None,
        };
        let top = self.paths.get(&path.as_bytes()[1..]).and_then(|all| all.first());
        if let Some(top) = top.filter(|top| Some(top.layer) == by && top.kind != Kind::Whiteout) {
            self.replaces.entry(top.layer).or_default().push(path.to_owned());
        }
        layer.files += 1;
        if stat.st_nlink > 1 {
            let known = several.entry(stat.st_ino).or_insert_with(|| {
                layer.size += there.size;
                (there.size, false, None, path.to_owned())
            });
            known.1 |= by.is_none();
            known.2 = known.2.or(by);
            return;
        }
        layer.size += there.size;
        if let Some(by) = by {
            layer.hidden += there.size;
            layer.hidden_files.push(Hidden { path: path.to_owned(), size: there.size, by });
        }
    }
}

fn look(dir: &OwnedFd, name: &[u8], stat: &Stat, layer: usize) -> There {
    let (kind, size) = match kind(stat) {
        _ if is_whiteout(stat) => (Kind::Whiteout, 0),
        FileType::Directory => {
            let inside = openat2(dir, name, DIR, Mode::empty(), PLAIN);
            (if inside.is_ok_and(|d| is_opaque(&d)) { Kind::Opaque } else { Kind::Directory }, 0)
        }
        FileType::RegularFile => (Kind::File, stat.st_size.unsigned_abs()),
        FileType::Symlink => (Kind::Link, 0),
        _ => (Kind::Other, 0),
    };
    let target = (kind == Kind::Link).then(|| readlinkat(dir, name, Vec::new()).ok()).flatten();
    There {
        layer,
        kind,
        size,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        fate: Fate::Shown,
        target: target.map(|target| target.to_string_lossy().into_owned()),
    }
}

#[cfg(test)]
mod tests;
