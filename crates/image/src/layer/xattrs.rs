//! Extended attributes of image entries: which are kept, which are refused, and how they are set.

use super::dirs::failed;
use super::tar::{Kind, Member, show};
use crate::error::{Result, invalid};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{XattrFlags, fsetxattr, lsetxattr};
use rustix::io::Errno;

/// What overlayfs notes for itself; in an image it is the remains of a careless builder, and says nothing to us.
const LEFTOVERS: &[&str] = &["opaque", "origin", "impure", "nlink", "upper", "uuid", "protattr", "whiteouts"];

/// Longest name and value that Linux takes (XATTR_NAME_MAX, XATTR_SIZE_MAX).
const NAME_MAX: usize = 255;
const SIZE_MAX: usize = 65536;

/// Keep what belongs to the image; refuse what would steer overlayfs (`redirect`, `metacopy`: a directory or file that is somewhere else).
pub fn judge(member: &mut Member) -> Result<()> {
    if member.xattrs.is_empty() {
        return Ok(());
    }
    let mut kept = Vec::new();
    for (name, value) in std::mem::take(&mut member.xattrs) {
        let refuse = |why: &str| {
            invalid(format!("entry '{}': extended attribute '{}' {why}", show(&member.path), show(&name)))
        };
        if name.len() > NAME_MAX || value.len() > SIZE_MAX || name.contains(&0) {
            return refuse("is too long");
        }
        let overlay = name.strip_prefix(b"trusted.overlay.").or_else(|| name.strip_prefix(b"user.overlay."));
        if let Some(key) = overlay {
            if LEFTOVERS.iter().any(|l| l.as_bytes() == key) {
                continue;
            }
            return refuse("is overlayfs' own and may not come from an image");
        }
        if name.starts_with(b"trusted.") {
            return refuse("may not come from an image");
        }
        let security = name.starts_with(b"security.") && name != b"security.capability";
        // Labels of SELinux and the like belong to the machine that made the image.
        if security || (name.starts_with(b"user.") && !matches!(member.kind, Kind::File | Kind::Directory)) {
            continue;
        }
        kept.push((name, value));
    }
    member.xattrs = kept;
    Ok(())
}

pub fn set(fd: &OwnedFd, xattrs: &[(Vec<u8>, Vec<u8>)], path: &[u8]) -> Result<()> {
    for (name, value) in xattrs {
        let result = fsetxattr(fd, &**name, value, XattrFlags::empty());
        check(result, name, path)?;
    }
    Ok(())
}

/// Set on something that can't be opened: a symbolic link, a device.
pub fn set_at(dir: &OwnedFd, entry: &[u8], xattrs: &[(Vec<u8>, Vec<u8>)], path: &[u8]) -> Result<()> {
    for (name, value) in xattrs {
        // Only the last component is resolved inside the directory, and not followed.
        let at = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), entry].concat();
        let result = lsetxattr(at, &**name, value, XattrFlags::empty());
        check(result, name, path)?;
    }
    Ok(())
}

/// Mark a directory as hiding what lower layers have in it.
pub fn set_opaque(dir: &OwnedFd, path: &[u8]) -> Result<()> {
    fsetxattr(dir, "trusted.overlay.opaque", b"y", XattrFlags::empty())
        .map_err(|e| failed("make opaque", path, e))
}

fn check(result: rustix::io::Result<()>, name: &[u8], path: &[u8]) -> Result<()> {
    match result {
        // A file system without them: what was asked for privileges must not get lost silently, the rest may.
        Err(Errno::OPNOTSUPP) if name != b"security.capability" => Ok(()),
        Err(e) => Err(failed(&format!("set extended attribute '{}' of", show(name)), path, e)),
        Ok(()) => Ok(()),
    }
}
