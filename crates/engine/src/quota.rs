//! `--storage-opt size=`: a container's own files as a project of the file system, which keeps them to their size. In memory
//! (`@host`) the size is the tmpfs' own.
//!
//! A project has the number of a range of ids: the container's own, or one more that it claims.

use crate::store::missing_is_fine;
use crate::{Container, Engine, Error, Result, Settings};
use kernel::quota;
use std::fs::{self, File};
use std::path::PathBuf;

/// Room for the directories that an overlay needs.
const LEAST: u64 = 1 << 20;

impl Engine {
    /// Refuses a size that nothing would keep.
    pub(crate) fn check_size(&self, settings: &Settings, in_memory: bool) -> Result<()> {
        let size = settings.storage_size;
        if size == 0 {
            return Ok(());
        }
        let refused = |why: String| Err(Error::Invalid(format!("--storage-opt size: {why}")));
        if settings.rootfs.is_some() {
            return refused("the files of --rootfs are not the container's own".to_owned());
        }
        if size < LEAST {
            return refused("the least is 1m".to_owned());
        }
        if !in_memory && !quota::is_enforced(&self.open_root()?) {
            return refused(format!(
                "the file system of {} keeps no project quotas: it takes XFS, or ext4 made with '-O quota,project', mounted with prjquota",
                self.root.display()
            ));
        }
        Ok(())
    }

    fn open_root(&self) -> Result<File> {
        File::open(&self.root).map_err(|e| Error::io("cannot open", &self.root, e))
    }

    /// The number of its project, if it has a size: no file has it yet.
    pub(crate) fn claim_project(&self, container: &Container) -> Result<u32> {
        if container.settings.storage_size == 0 || container.upper_in_memory {
            return Ok(0);
        }
        let root = self.open_root()?;
        // Another data root on the same file system has the same numbers.
        let is_free = |project: u32| match quota::usage(&root, project) {
            Ok(usage) => Ok(usage.inodes == 0),
            Err(e) => Err(Error::io("cannot ask for the quotas of", &self.root, e)),
        };
        let own = container.id_base != 0 && self.shared_ids(&container.settings)?.is_none();
        if own && is_free(container.id_base)? {
            return Ok(container.id_base);
        }
        self.claim_range(&container.id, &is_free, &|path| std::os::unix::fs::symlink(&container.id, path))
    }

    /// The step that puts its files into the project.
    pub(crate) fn limit_tree(&self, container: &Container) -> Option<steps::Step> {
        let path = self.directory(container).join("rw").into();
        let (project, bytes) = (container.project, container.settings.storage_size);
        (project != 0).then(|| steps::LimitTree { path, project, bytes }.into())
    }

    /// What claims the project's number, where that is not the container's range of ids.
    pub(crate) fn project_claim(&self, container: &Container) -> Option<PathBuf> {
        let range = Engine::range_at(container.project).filter(|_| container.project != container.id_base)?;
        Some(self.root.join("ids").join(range.to_string()))
    }

    /// When its files are gone.
    pub(crate) fn release_project(&self, container: &Container) -> Result<()> {
        if container.project == 0 {
            return Ok(());
        }
        // A limit that stays is the next one's to change.
        let _ = self.open_root().map(|root| quota::set_limit(&root, container.project, 0));
        let Some(claim) = self.project_claim(container) else { return Ok(()) };
        missing_is_fine(fs::remove_file(&claim)).map_err(|e| Error::io("cannot release", &claim, e))
    }
}
