//! Ranges of user ids: each container has 65,536 of the host's, which are its own until it is removed.

use crate::store::{may_be_there, missing_is_fine, twice};
use crate::{Container, Engine, Error, Network, Result, Settings, Share};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The first id of the first container.
pub(crate) const ID_FIRST: u32 = 0x0010_0000;
pub(crate) const ID_COUNT: u32 = 0x1_0000;
/// How many ranges there are below 2³¹.
const ID_RANGES: u32 = 32_000;

impl Engine {
    /// A container that shares another's processes, network or IPC has that one's ids: the namespace is owned by them.
    pub(crate) fn shared_ids(&self, settings: &Settings) -> Result<Option<u32>> {
        let other = match (&settings.pid, &settings.network, &settings.ipc) {
            (Share::Container(other), ..) => other,
            (_, Network::Container(other), _) | (_, _, Share::Container(other)) => other,
            _ => return Ok(None),
        };
        Ok(Some(self.find(other)?.id_base))
    }

    /// The number of a container's range of ids; None: it has the host's.
    pub(crate) fn id_range(container: &Container) -> Option<u32> {
        Engine::range_at(container.id_base)
    }

    /// The number of the range that begins there.
    pub(crate) fn range_at(first: u32) -> Option<u32> {
        Some(first.checked_sub(ID_FIRST)? / ID_COUNT)
    }

    /// A range of ids that no other container has: `ids/N` is claimed, beginning at a place that the id decides. It is another
    /// name of the link that claims the container's name: one file less to make and to remove (it costs a block on ext4).
    pub(crate) fn claim_ids(&self, container: &Container) -> Result<u32> {
        let name = self.root.join("names").join(&container.name);
        self.claim_range(&container.id, &|_| Ok(true), &|path| fs::hard_link(&name, path))
    }

    /// The first number of a range that nobody has and that is `good`: `link` makes what claims it.
    pub(crate) fn claim_range(
        &self,
        id: &str,
        good: &dyn Fn(u32) -> Result<bool>,
        link: &dyn Fn(&Path) -> std::io::Result<()>,
    ) -> Result<u32> {
        let start = u32::from_str_radix(&id[..7], 16).unwrap_or_default() % ID_RANGES;
        for step in 0..ID_RANGES {
            let range = (start + step) % ID_RANGES;
            let first = ID_FIRST + range * ID_COUNT;
            let path = self.root.join("ids").join(range.to_string());
            match link(&path) {
                Ok(()) if good(first)? => return Ok(first),
                Ok(()) => _ = fs::remove_file(&path),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io("cannot claim ids", path, e)),
            }
        }
        Err(Error::Invalid("all ranges of user ids are in use".to_owned()))
    }

    /// Keeps the range of the container whose namespaces it shares, should that one be removed first.
    pub(crate) fn share_ids(&self, container: &Container) -> Result<()> {
        let Some([range, ours]) = self.shared_range(container) else { return Ok(()) };
        match fs::hard_link(range, &ours) {
            // The other one is being removed: its namespaces are going away.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("cannot share the ids", ours, e))
            }
            _ => Ok(()),
        }
    }

    /// The file that claims its range of ids, and the name by which a container that shares the range holds it too.
    fn shared_range(&self, container: &Container) -> Option<[PathBuf; 2]> {
        let range = Engine::id_range(container)?;
        let ids = self.root.join("ids");
        Some([ids.join(range.to_string()), ids.join(format!("{range}.{}", &container.id[..12]))])
    }

    /// Gives the range of ids back, unless who claimed it is there or others share it: then the last of them does.
    pub(crate) fn release_ids(&self, container: &Container) -> Result<()> {
        let Some([range, ours]) = self.shared_range(container) else { return Ok(()) };
        let failed = |e| Error::io("cannot release the ids", &range, e);
        twice(|| missing_is_fine(fs::remove_file(&ours))).map_err(failed)?;
        let Ok(owner) = twice(|| fs::read_link(&range)) else { return Ok(()) };
        let claimed = may_be_there(&self.root.join("containers").join(owner));
        if !claimed && twice(|| fs::symlink_metadata(&range)).is_ok_and(|meta| meta.nlink() == 1) {
            twice(|| missing_is_fine(fs::remove_file(&range))).map_err(failed)?;
        }
        Ok(())
    }
}
