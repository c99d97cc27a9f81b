//! Removing names, images, and what nothing refers to any more.

use super::commit::Lock;
use super::{Image, Store};
use crate::error::{Error, Result};
use crate::reference::Reference;
use std::collections::HashSet;

/// One line that `rmi` prints.
#[derive(Debug, Clone, PartialEq)]
pub enum Removed {
    /// `Untagged: busybox:latest`
    Untagged(String),
    /// `Deleted: sha256:…`
    Deleted(String),
}

impl std::fmt::Display for Removed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Removed::Untagged(name) => write!(f, "Untagged: {name}"),
            Removed::Deleted(id) => write!(f, "Deleted: {id}"),
        }
    }
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Its short id.
    pub container: String,
    pub running: bool,
}

impl Store {
    /// Remove a name; with the last name, or by id, the image and the layers that no other image has.
    ///
    /// `used_by` says who uses an image, by its id: with a user, an image stays unless `force` is set and the user isn't running;
    /// even then its record and layers stay as long as a user is there, only its names go.
    pub fn remove(
        &self,
        name: &str,
        force: bool,
        used_by: &dyn Fn(&str) -> Option<User>,
    ) -> Result<Vec<Removed>> {
        let image = self.resolve(name)?;
        if image.host {
            return Err(Error::Conflict(format!("{name} is built in and cannot be removed")));
        }
        self.prepare()?;
        let mut lock = self.lock()?;
        let image = Image { reference: image.reference, ..self.image(&image.id)? };
        let names: Vec<Reference> =
            self.all_tags()?.into_iter().filter(|(_, id)| *id == image.id).map(|(name, _)| name).collect();
        let tags = names.iter().filter(|n| n.digest.is_none());
        let user = used_by(&image.id);
        let going: Vec<Reference> = match &image.reference {
            Some(reference) => {
                let reference = Reference::parse(reference)?;
                if tags.clone().any(|other| *other != reference) {
                    // The image has other names: only this one goes, and the digests of a repository with its last tag.
                    let last =
                        !tags.clone().any(|o| *o != reference && o.repository() == reference.repository());
                    let own = |n: &&Reference| {
                        **n == reference
                            || (last && n.digest.is_some() && n.repository() == reference.repository())
                    };
                    return self.untag(names.iter().filter(own).cloned().collect());
                }
                names
            }
            None => {
                let repositories: HashSet<String> = tags.map(Reference::repository).collect();
                if repositories.len() > 1 && !force {
                    let id = &image.id[..12];
                    let cause = format!(
                        "unable to delete {id} (must be forced) - image is referenced in multiple repositories"
                    );
                    return Err(Error::Conflict(cause));
                }
                names
            }
        };
        if let Some(user) = &user {
            let container = &user.container;
            let what = match &image.reference {
                Some(reference) => format!("unable to remove repository reference \"{reference}\""),
                None => format!("unable to delete {}", &image.id[..12]),
            };
            if user.running {
                let cause = format!(
                    "{what} (cannot be forced) - image is being used by running container {container}"
                );
                return Err(Error::Conflict(cause));
            }
            if !force {
                let cause =
                    format!("{what} (must be forced) - image is being used by stopped container {container}");
                return Err(Error::Conflict(cause));
            }
            return self.untag(going);
        }
        let mut removed = self.untag(going)?;
        removed.extend(self.delete(&mut lock, &image)?);
        Ok(removed)
    }

    fn untag(&self, names: Vec<Reference>) -> Result<Vec<Removed>> {
        for name in &names {
            self.remove_tag(name)?;
        }
        self.sync_dir("tags")?;
        Ok(names.iter().map(|n| Removed::Untagged(n.familiar())).collect())
    }

    /// Delete an image's record, then what it alone referred to: at any moment what is left is whole.
    fn delete(&self, lock: &mut Lock, image: &Image) -> Result<Vec<Removed>> {
        lock.begin()?;
        self.unlink(&format!("images/{}.json", image.id))?;
        self.sync_dir("images")?;
        let gone = self.collect()?.layers;
        lock.end()?;
        let own = image.layers.iter().rev().filter(|l| gone.contains(&l.chain));
        let layers = own.map(|l| Removed::Deleted(format!("sha256:{}", l.chain)));
        Ok([Removed::Deleted(format!("sha256:{}", image.id))].into_iter().chain(layers).collect())
    }
}
