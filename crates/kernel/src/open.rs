//! Opening by a path that must not lead out, see openat2(2); and which file it is that was opened.

use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Opens a path as openat2(2) does, and once more where that answers `EAGAIN`: a rename or a mount anywhere on the machine, while it
/// goes through a `..`, makes it unsure whether it is still inside. Allocates nothing.
pub fn openat2(
    base: impl AsFd,
    path: impl rustix::path::Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    const TRIES: usize = 1000;
    for _ in 0..TRIES {
        match rustix::fs::openat2(&base, path, flags, mode, resolve) {
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}

/// Which file that is, in words: no other one ever has the same, unlike its inode number, which the next file may have as soon as this
/// one is gone. See name_to_handle_at(2).
pub fn identity(file: impl AsFd) -> Result<String, Errno> {
    use std::fmt::Write as _;
    /// `MAX_HANDLE_SZ` of the kernel.
    const MOST: usize = 128;
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; MOST],
    }
    let stat = rustix::fs::fstat(&file)?;
    let mut text = format!("{:x}:{:x}", stat.st_dev, stat.st_ino);
    let mut handle = Handle { bytes: MOST as u32, kind: 0, handle: [0; MOST] };
    let mut mount = 0i32;
    // SAFETY: an empty path, and structures of ours that are large enough for what the kernel writes.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if answer == 0 {
        for byte in &handle.handle[..(handle.bytes as usize).min(MOST)] {
            let _ = write!(text, "{}{byte:02x}", if text.contains('.') { "" } else { "." });
        }
        return Ok(text);
    }
    // A file system without handles: the moment at which it was made.
    let born = rustix::fs::statx(&file, c"", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::BTIME)?;
    let _ = write!(text, ".{}.{}", born.stx_btime.tv_sec, born.stx_btime.tv_nsec);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::identity;
    use std::fs::File;

    /// The number of a file that is gone is taken for the next one, at once or soon.
    #[test]
    fn a_file_is_never_taken_for_another() {
        let path = std::env::temp_dir().join(format!("corten-identity-{}", std::process::id()));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let file = File::create(&path).unwrap();
            assert_eq!(identity(&file).unwrap(), identity(File::open(&path).unwrap()).unwrap());
            assert!(seen.insert(identity(&file).unwrap()));
            std::fs::remove_file(&path).unwrap();
        }
    }
}
