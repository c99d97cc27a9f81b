//! How much of the disk is taken, by what, and how much of that could be given back: what `du` says of the data root, in rows.

use crate::{Container, Engine, Result, State};
use image::store::usage::{Disk, below};
use std::collections::BTreeMap;
use std::fs::File;

/// All there is, in bytes of the disk's blocks.
#[derive(Debug)]
pub struct Usage {
    pub images: Disk,
    pub containers: Vec<ContainerUsage>,
    pub volumes: Vec<VolumeUsage>,
}

#[derive(Debug)]
pub struct ContainerUsage {
    pub container: Container,
    pub state: State,
    /// Its directory: what it wrote, its log, its configuration.
    pub bytes: u64,
    /// How many volumes it has.
    pub volumes: usize,
}

#[derive(Debug)]
pub struct VolumeUsage {
    pub name: String,
    pub bytes: u64,
    /// How many containers have it.
    pub links: usize,
}

impl Engine {
    pub fn usage(&self) -> Result<Usage> {
        let root = File::open(&self.root).map_err(|e| crate::Error::io("cannot open", &self.root, e))?;
        let all = self.list()?;
        let mut links: BTreeMap<String, usize> = BTreeMap::new();
        for (container, _) in &all {
            for name in crate::volumes::volume_names(container) {
                *links.entry(name.to_owned()).or_default() += 1;
            }
        }
        let volumes = self.volumes()?.into_iter().map(|volume| VolumeUsage {
            bytes: below(&root, &format!("volumes/{}", volume.name)),
            links: links.get(&volume.name).copied().unwrap_or(0),
            name: volume.name,
        });
        let volumes = volumes.collect();
        let used = |id: &str| all.iter().any(|(c, _)| c.image_ids().any(|used| used == id));
        let images = self.images().disk(&used)?;
        let containers = all.into_iter().map(|(container, state)| ContainerUsage {
            bytes: below(&root, &format!("containers/{}", container.id)),
            volumes: crate::volumes::volume_names(&container).count(),
            container,
            state,
        });
        Ok(Usage { images, containers: containers.collect(), volumes })
    }
}
