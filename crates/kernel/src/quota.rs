//! Project quotas: how much the files of a directory and of all below it may take, whoever they belong to. See quotactl(2),
//! and `FS_IOC_FSSETXATTR` in xfs_fs.h.

use crate::process::done;
use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

/// What the files of a project take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub bytes: u64,
    pub inodes: u64,
    /// Bytes; 0: as many as there are.
    pub limit: u64,
}

const PROJECT: u32 = 2;
const Q_GETQUOTA: u32 = 0x80_0007;
const Q_SETQUOTA: u32 = 0x80_0008;
const Q_XGETQSTAT: u32 = 0x5805;
const PROJECT_ENFORCED: u16 = 1 << 5;
const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
const FS_XFLAG_PROJINHERIT: u32 = 0x200;
const BLOCK: u64 = 1024;

/// `struct if_dqblk`.
#[repr(C)]
#[derive(Default)]
struct Limits {
    block_hard: u64,
    block_soft: u64,
    space: u64,
    inode_hard: u64,
    inode_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

/// `struct fs_qfilestat` and `struct fs_quota_stat`.
#[repr(C)]
#[derive(Default)]
struct File {
    inode: u64,
    blocks: u64,
    extents: u32,
}

#[repr(C)]
#[derive(Default)]
struct Stat {
    version: i8,
    flags: u16,
    pad: i8,
    users: File,
    groups: File,
    in_core: u32,
    times: [i32; 3],
    warnings: [u16; 2],
}

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    pad: [u8; 8],
}

/// Whether the file system that the file is on holds projects to their limits.
pub fn is_enforced(file: impl AsFd) -> bool {
    let mut stat = Stat { version: 1, ..Stat::default() };
    control(&file, Q_XGETQSTAT, 0, &mut stat).is_ok() && stat.flags & PROJECT_ENFORCED != 0
}

/// What a project takes on the file system that the file is on.
pub fn usage(file: impl AsFd, project: u32) -> Result<Usage, Errno> {
    let mut limits = Limits::default();
    match control(&file, Q_GETQUOTA, project, &mut limits) {
        // XFS knows nothing of who has no file.
        Ok(()) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e),
    }
    Ok(Usage { bytes: limits.space, inodes: limits.inodes, limit: limits.block_hard * BLOCK })
}

/// Limits a project, in bytes; 0 takes the limit away.
pub fn set_limit(file: impl AsFd, project: u32, bytes: u64) -> Result<(), Errno> {
    const VALID_BLOCK_LIMITS: u32 = 1;
    let hard = bytes.div_ceil(BLOCK);
    let mut limits =
        Limits { block_hard: hard, block_soft: hard, valid: VALID_BLOCK_LIMITS, ..Limits::default() };
    control(&file, Q_SETQUOTA, project, &mut limits)
}

/// Puts an empty directory, and all that will be made below it, into a project.
pub fn set_project(dir: impl AsFd, project: u32) -> Result<(), Errno> {
    let fd = dir.as_fd().as_raw_fd();
    let mut attributes = Attributes::default();
    // SAFETY: the structure is one that the kernel fills.
    done(unsafe { libc::ioctl(fd, FS_IOC_FSGETXATTR as _, &raw mut attributes) }.into())?;
    attributes.flags |= FS_XFLAG_PROJINHERIT;
    attributes.project = project;
    // SAFETY: the structure is whole, and only read.
    done(unsafe { libc::ioctl(fd, FS_IOC_FSSETXATTR as _, &raw const attributes) }.into())
}

/// quotactl_fd(2) (Linux 5.14) of project quotas.
fn control<T>(file: &impl AsFd, command: u32, id: u32, data: &mut T) -> Result<(), Errno> {
    // SAFETY: `data` is the structure of that command, whole, and the kernel reads or fills no more than it.
    done(unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            file.as_fd().as_raw_fd(),
            command << 8 | PROJECT,
            id,
            std::ptr::from_mut(data),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_the_kernel_s() {
        assert_eq!((size_of::<Limits>(), size_of::<Stat>(), size_of::<Attributes>()), (72, 80, 28));
    }

    #[test]
    fn proc_keeps_no_quotas() {
        let file = std::fs::File::open("/proc").unwrap();
        assert!(!is_enforced(&file));
        assert!(usage(&file, 1).is_err() && set_limit(&file, 1, 1 << 20).is_err());
    }
}
