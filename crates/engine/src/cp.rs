//! `cp` and `export`: files out of a container and into one, as tar streams between a process in the container and one that sees nothing but the
//! directory to be filled.

use crate::files::{self, Helper, View, host_dir, open_dir};
use crate::{Container, Engine, Error, Result, error};
use image::layer::copy::{Copy, Owners, receive};
use image::layer::pack::{Pack, pack};
use kernel::caps::{self, Cap, CapSet};
use kernel::{landlock, process};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::FileType;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use steps::Shell;

/// `cp`'s options.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// `-a`: out of a container, owners and rights come along; into one, files become its user's.
    pub archive: bool,
    /// `-L`: what a link leads to, not the link.
    pub follow: bool,
}

/// The end of a copy that is not in the container.
#[derive(Debug)]
pub enum Outside<'a> {
    Path(&'a Path),
    /// A tar stream.
    Stream(File),
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Of the tar stream, on its way.
    pub bytes: u64,
    /// Device nodes that were passed over.
    pub skipped: u64,
}

/// What the process in the container says of the source.
#[derive(Serialize, Deserialize)]
struct Source {
    directory: bool,
}

type Told<T> = std::result::Result<T, String>;

impl Engine {
    /// `cp` as commands: from a container when `out`, else into it.
    pub fn copy_by_hand(
        &self,
        container: &Container,
        out: bool,
        path: &str,
        here: &str,
    ) -> Result<Vec<Shell>> {
        let Some(root) = self.root_by_hand(container)? else {
            let why = "its root is mounted in a namespace of its own, as for a start, and then as for one that runs";
            return Ok(vec![Shell::comment(why, "mount_namespaces(7)")]);
        };
        let there = steps::quote(&format!("{root}/{}", path.trim_start_matches('/')));
        let here = steps::quote(here);
        let line = match (out, here.as_str()) {
            (true, "-") => format!("tar -C $(dirname {there}) -cf - $(basename {there})"),
            (true, _) => format!("cp -r --preserve=mode,timestamps {there} {here}"),
            (false, "-") => format!("tar -C {there} -xf -"),
            (false, _) => format!("cp -r --preserve=mode,timestamps {here} {there}"),
        };
        let why = if out { "files of the container come here" } else { "files go into the container" };
        Ok(vec![Shell::exact(line, why, "cp(1)").near(
            "by a tar stream from a process in the container to one that sees nothing but the target: links lead nowhere else",
        )])
    }

    /// From a container.
    pub fn copy_out(
        &self,
        container: &Container,
        path: &str,
        to: Outside<'_>,
        options: CopyOptions,
    ) -> Result<Copied> {
        let place = self.place(container, View::Whole)?;
        let (read, write) = image::make::pipe()?;
        let as_name = match to {
            Outside::Stream(_) => base_name(path),
            Outside::Path(_) => b".".to_vec(),
        };
        let missing = |e: Errno| not_found(e, path, &container.name);
        let mut keep = place.fds();
        keep.push(write.as_fd());
        let mut sender = Helper::start(&keep, |reporter| {
            let root = place.enter()?;
            let found = files::find(&root, path.as_bytes(), options.follow).map_err(missing)?;
            reporter.tell(Source { directory: found.kind == FileType::Directory })?;
            let how = Pack { across_mounts: true, whiteouts: false };
            sent(pack(&write, &found.dir, &found.name, &as_name, how))
        })?;
        drop(keep);
        drop(write);
        let Some(source) = sender.next::<Source>()? else {
            return Err(Error::Invalid(format!("nothing came out of {}", container.name)));
        };
        let copied = match to {
            Outside::Stream(mut out) => {
                let mut read = read;
                let bytes = io::copy(&mut read, &mut out).map_err(|e| io_error("write", "the archive", e))?;
                drop(read);
                Ok(Copied { bytes, skipped: 0 })
            }
            Outside::Path(target) => {
                let (dir, as_name) = outside(target, &source, path)?;
                let owners = if options.archive { Owners::Keep { below: u32::MAX } } else { Owners::Root };
                let how = Copy { as_name, owners, devices: options.archive };
                Helper::start(&[dir.as_fd(), read.as_fd()], |reporter| {
                    process::unshare(process::CLONE_NEWNET | process::CLONE_NEWIPC)
                        .map_err(|e| e.to_string())?;
                    let mut counted = Counted { input: &read, bytes: 0 };
                    let skipped = confined(&dir, &mut counted, &how)?;
                    reporter.tell(Copied { bytes: counted.bytes, skipped })
                })
                .and_then(told)
            }
        };
        // What was wrong with the source is the cause of what was wrong with the stream.
        sender.finish()?;
        copied
    }

    /// Into a container.
    pub fn copy_in(
        &self,
        container: &Container,
        from: Outside<'_>,
        path: &str,
        options: CopyOptions,
    ) -> Result<Copied> {
        let owners = self.owners(container, options)?;
        let place = self.place(container, View::Write)?;
        let owners = owners.unwrap_or(Owners::Keep { below: place.ids });
        let (stream, local) = match from {
            Outside::Stream(stream) => (stream, None),
            Outside::Path(source) => {
                let (read, write) = image::make::pipe()?;
                (read, Some((write, inside_source(source, options)?)))
            }
        };
        let kind = local.as_ref().map(|(_, found)| {
            let contents = matches!(found.user_name.as_slice(), b"" | b"." | b"..");
            (found.kind == FileType::Directory, contents, found.user_name.clone())
        });
        let devices = place.devices;
        let mut keep = place.fds();
        keep.push(stream.as_fd());
        let receiver = Helper::start(&keep, |reporter| {
            let root = place.enter()?;
            let (dir, as_name) = destination(&root, path, kind.as_ref(), &container.name)?;
            let how = Copy { as_name, owners: owners.clone(), devices };
            let mut counted = Counted { input: &stream, bytes: 0 };
            let skipped = confined(&dir, &mut counted, &how)
                .map_err(|e| format!("cannot copy to '{path}' in container {}: {e}", container.name))?;
            reporter.tell(Copied { bytes: counted.bytes, skipped })
        })?;
        drop(keep);
        drop(stream);
        let packed = match local {
            Some((write, found)) => {
                let how = Pack { across_mounts: true, whiteouts: false };
                sent(pack(write, &found.dir, &found.name, b".", how))
            }
            None => Ok(()),
        };
        let copied = told(receiver);
        packed.map_err(Error::Invalid)?;
        copied
    }

    /// The whole root of a container, without what is mounted in it, as a tar stream.
    pub fn export(&self, container: &Container, out: &File) -> Result<()> {
        let place = self.place(container, View::Own)?;
        let mut keep = place.fds();
        keep.push(out.as_fd());
        let helper = Helper::start(&keep, |_| {
            let root = place.enter()?;
            let how = Pack { across_mounts: false, whiteouts: false };
            pack(out, &root, b".", b"", how).map_err(|e| error::words(&e))
        })?;
        helper.finish().map_err(|e| Error::Invalid(format!("cannot export {}: {e}", container.name)))
    }

    /// Whose the files shall be, where the options say.
    fn owners(&self, container: &Container, options: CopyOptions) -> Result<Option<Owners>> {
        if !options.archive || container.settings.user.is_empty() {
            return Ok(None);
        }
        let user = self.user_of(container, &self.root_of(container))?;
        Ok(Some(Owners::One { uid: user.uid, gid: user.gid }))
    }
}

/// Unpacks with no way but into `dir`; gives how many device nodes were passed over.
pub(crate) fn confined(dir: &OwnedFd, input: &mut dyn Read, how: &Copy) -> Told<u64> {
    match landlock::confine(&[dir.as_fd()]) {
        // Without it the process is in the container, or resolves below a descriptor, all the same.
        Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(e) => return Err(format!("cannot confine the copy: {}", error::words(&e.into()))),
    }
    const KEPT: CapSet =
        CapSet::of(&[Cap::Chown, Cap::DacOverride, Cap::Fowner, Cap::Fsetid, Cap::Setfcap, Cap::Mknod]);
    let (_, permitted, _) = caps::current().map_err(|e| e.to_string())?;
    caps::set(permitted & KEPT, permitted & KEPT, CapSet::EMPTY).map_err(|e| e.to_string())?;
    let dir = dir.try_clone().map_err(|e| e.to_string())?;
    receive(input, dir, how).map(|unpacked| unpacked.skipped).map_err(|e| e.to_string())
}

pub(crate) fn told(mut helper: Helper) -> Result<Copied> {
    let copied = helper.next()?;
    helper.finish()?;
    copied.ok_or_else(|| Error::Invalid("the copy ended before its time".to_owned()))
}

/// A receiver that has gone tells why itself.
fn sent(result: io::Result<()>) -> Told<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|e| error::words(&e)),
    }
}

/// Where on the host something goes, and under which name; none for the contents of a directory into one that is there.
fn outside(target: &Path, source: &Source, path: &str) -> Result<(OwnedFd, Vec<u8>)> {
    let failed = |e: Errno| io_error("copy to", target, e.into());
    let contents = matches!(base_name(path).as_slice(), b"." | b"..") || path.ends_with("/.");
    match host_dir(target) {
        Ok(dir) if source.directory && contents => Ok((dir, Vec::new())),
        Ok(dir) => Ok((dir, base_name(path))),
        Err(Errno::NOTDIR) if source.directory => {
            Err(Error::Invalid(format!("cannot copy a directory to the file '{}'", target.display())))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => {
            let bytes = target.as_os_str().as_bytes();
            let (parent, name) = files::split(files::trim(bytes));
            if name.len() < bytes.len() && bytes.last() == Some(&b'/') && !source.directory {
                let cause = format!("cannot copy to '{}': no such directory", target.display());
                return Err(Error::Invalid(cause));
            }
            let parent = if parent.is_empty() && bytes.first() == Some(&b'/') { b"/" } else { parent };
            let dir = host_dir(Path::new(OsStr::from_bytes(parent))).map_err(failed)?;
            // A link to a file: the file is meant. This one is the user's own.
            match std::fs::canonicalize(target) {
                Ok(real) => match (real.parent(), real.file_name()) {
                    (Some(parent), Some(name)) => {
                        Ok((host_dir(parent).map_err(failed)?, name.as_bytes().to_vec()))
                    }
                    _ => Err(failed(Errno::INVAL)),
                },
                Err(_) => Ok((dir, name.to_vec())),
            }
        }
        Err(e) => Err(failed(e)),
    }
}

/// What the user wants to copy in.
struct Local {
    dir: OwnedFd,
    name: Vec<u8>,
    /// As it was typed: the last part of the path.
    user_name: Vec<u8>,
    kind: FileType,
}

fn inside_source(source: &Path, options: CopyOptions) -> Result<Local> {
    let failed = |e: io::Error| io_error("copy", source, e);
    let bytes = source.as_os_str().as_bytes();
    let slashed = bytes.last() == Some(&b'/');
    let meta = if options.follow || slashed { source.metadata() } else { source.symlink_metadata() };
    let kind = FileType::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&meta.map_err(failed)?));
    let user_name = match bytes.ends_with(b"/.") {
        true => b".".to_vec(),
        false => files::split(files::trim(bytes)).1.to_vec(),
    };
    if kind == FileType::Directory {
        let dir = host_dir(source).map_err(|e| failed(e.into()))?;
        return Ok(Local { dir, name: b".".to_vec(), user_name, kind });
    }
    if slashed {
        return Err(failed(io::ErrorKind::NotADirectory.into()));
    }
    let real = if options.follow { source.canonicalize().map_err(failed)? } else { source.to_owned() };
    let (parent, name) = (real.parent().unwrap_or(Path::new(".")), real.file_name().unwrap_or_default());
    let dir = host_dir(parent).map_err(|e| failed(e.into()))?;
    Ok(Local { dir, name: name.as_bytes().to_vec(), user_name, kind })
}

/// Where in the container something goes, and under which name. `source`: whether it is a directory, whether its contents are meant, and
/// its name; None is a stream.
fn destination(
    root: &OwnedFd,
    path: &str,
    source: Option<&(bool, bool, Vec<u8>)>,
    container: &str,
) -> Told<(OwnedFd, Vec<u8>)> {
    let bytes = path.as_bytes();
    let missing = |e: Errno| not_found(e, path, container);
    match (open_dir(root, bytes), source) {
        (Ok(dir), None) => Ok((dir, Vec::new())),
        (Ok(dir), Some((true, true, _))) => Ok((dir, Vec::new())),
        (Ok(dir), Some((_, _, name))) => Ok((dir, name.clone())),
        (Err(Errno::NOTDIR), None) => Err(format!("'{path}' in container {container} is not a directory")),
        (Err(Errno::NOTDIR), Some((true, ..))) => {
            Err(format!("cannot copy a directory to the file '{path}' in container {container}"))
        }
        (Err(Errno::NOTDIR), Some(_)) if !path.ends_with('/') => {
            let found = files::find(root, bytes, true).map_err(missing)?;
            Ok((found.dir, found.name))
        }
        (Err(Errno::NOENT), Some((directory, ..))) if *directory || !path.ends_with('/') => {
            let (parent, name) = files::split(files::trim(bytes));
            if matches!(name, b"." | b".." | b"") {
                return Err(missing(Errno::NOENT));
            }
            Ok((open_dir(root, parent).map_err(missing)?, name.to_vec()))
        }
        (Err(e), _) => Err(missing(e)),
    }
}

fn not_found(e: Errno, path: &str, container: &str) -> String {
    match e {
        // What these are depends on who looks, and a copy is made by nobody in there.
        Errno::NOENT
            if ["/proc/self", "/proc/thread-self", "/proc/net"].iter().any(|own| path.starts_with(own)) =>
        {
            format!(
                "Could not find the file {path} in container {container}: its own processes see it ('corten exec {container} cat {path}')"
            )
        }
        Errno::NOENT => format!("Could not find the file {path} in container {container}"),
        e => format!("cannot open '{path}' in container {container}: {}", error::words(&e.into())),
    }
}

/// The last part of a path; `.` for the root.
fn base_name(path: &str) -> Vec<u8> {
    match files::split(files::trim(path.as_bytes())).1 {
        b"" => b".".to_vec(),
        name => name.to_vec(),
    }
}

fn io_error(what: &'static str, object: impl AsRef<Path>, cause: io::Error) -> Error {
    Error::Invalid(format!("cannot {what} '{}': {}", object.as_ref().display(), error::words(&cause)))
}

pub(crate) struct Counted<'a> {
    pub input: &'a File,
    pub bytes: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
