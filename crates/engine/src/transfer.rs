//! `volume export` and `volume import`: all files of a volume as a tar stream, and back.

use crate::cp::{Copied, Counted, confined, told};
use crate::files::{Helper, drop_rights, host_dir};
use crate::{Engine, Error, Result, Volume, VolumeWish, error};
use image::layer::copy::{Copy, Owners};
use image::layer::pack::{Pack, pack};
use kernel::process;
use rustix::fd::AsFd;
use std::fs::File;
use std::path::Path;

impl Engine {
    /// Writes a volume as a tar stream, its directory first: owners, modes, times, attributes, hard links and holes are in it. What is
    /// mounted in it is not.
    pub fn export_volume(&self, volume: &Volume, out: &File) -> Result<()> {
        let failed = |cause: String| Error::Invalid(format!("cannot export {}: {cause}", volume.name));
        let _hold = self.hold_volume(&volume.name)?;
        let dir = host_dir(&self.mountpoint(volume)).map_err(|e| failed(error::words(&e.into())))?;
        let helper = Helper::start(&[dir.as_fd(), out.as_fd()], |_| {
            process::unshare(process::CLONE_NEWNET | process::CLONE_NEWIPC).map_err(|e| e.to_string())?;
            drop_rights().map_err(|e| error::words(&e.into()))?;
            let how = Pack { across_mounts: false, whiteouts: false };
            pack(out, &dir, b".", b".", how).map_err(|e| error::words(&e))
        })?;
        helper.finish().map_err(|e| failed(e.to_string()))
    }

    /// Unpacks a tar stream, perhaps compressed, into a volume, which is made when it is not there. Nothing gets out of it; device nodes are
    /// passed over. All of it is on the disk when this returns.
    ///
    /// A volume that is made for it appears with all its files, or not at all.
    pub fn import_volume(&self, name: &str, input: &File) -> Result<Copied> {
        let failed = |e: Error| Error::Invalid(format!("cannot import into {name}: {e}"));
        let wish = VolumeWish { name: name.to_owned(), ..VolumeWish::default() };
        let mut copied = None;
        let mut fill = |dir: &Path| {
            copied = Some(unpack(dir, b"_data", input)?);
            Ok(())
        };
        let (volume, made) = self.create_filled_volume(&wish, &mut fill).map_err(failed)?;
        match copied {
            Some(copied) if made => Ok(copied),
            Some(_) => Err(failed(Error::Invalid("somebody else has made it meanwhile".to_owned()))),
            None => self.fill_volume(&volume, input).map_err(failed),
        }
    }

    fn fill_volume(&self, volume: &Volume, input: &File) -> Result<Copied> {
        let _hold = self.hold_volume(&volume.name)?;
        let place = self.mountpoint(volume);
        // The volume's directory gets the owner and mode that the stream has for it; a directory of the host's keeps its own.
        match volume.options.contains_key("device") {
            true => unpack(&place, b"", input),
            false => unpack(place.parent().unwrap_or(&place), b"_data", input),
        }
    }
}

/// Unpacks it into a directory of the host's, or as what is called so in there.
fn unpack(place: &Path, as_name: &[u8], input: &File) -> Result<Copied> {
    let dir = host_dir(place).map_err(|e| Error::io("cannot open", place, e))?;
    let how = Copy { as_name: as_name.to_vec(), owners: Owners::Keep { below: u32::MAX }, devices: false };
    let helper = Helper::start(&[dir.as_fd(), input.as_fd()], |reporter| {
        process::unshare(process::CLONE_NEWNET | process::CLONE_NEWIPC).map_err(|e| e.to_string())?;
        let mut counted = Counted { input, bytes: 0 };
        let skipped = confined(&dir, &mut counted, &how)?;
        reporter.tell(Copied { bytes: counted.bytes, skipped })
    })?;
    let copied = told(helper)?;
    // One for all of them: an fsync(2) each would take as long for every file.
    rustix::fs::syncfs(&dir).map_err(|e| Error::io("cannot write to the disk", place, e))?;
    Ok(copied)
}
