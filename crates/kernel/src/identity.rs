//! Which file it is, whatever it is called, and after it is gone. See name_to_handle_at(2).

use rustix::fd::{AsFd, AsRawFd};
use rustix::io::Errno;

/// Which file that is, in words: no other one ever has the same, unlike its inode number, which the next file may have as soon as this
/// one is gone. See name_to_handle_at(2).
pub fn of(file: impl AsFd) -> Result<String, Errno> {
    /// `MAX_HANDLE_SZ` of the kernel.
    const MOST: usize = 128;
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; MOST],
    }
    let stat = rustix::fs::fstat(&file)?;
    let number = format!("{:x}:{:x}", stat.st_dev, stat.st_ino);
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
        let bytes = &handle.handle[..(handle.bytes as usize).min(MOST)];
        let words: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        return Ok(format!("{number}.{words}"));
    }
    match crate::process::last_errno() {
        // A file system without handles, or a filter that lets none be asked for. What fails for the moment only is an error: it would
        // give the file a second identity.
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM => {}
        errno => return Err(errno),
    }
    // The moment at which it was made.
    let born = rustix::fs::statx(&file, c"", rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::BTIME)?
        .stx_btime;
    Ok(format!("{number}.{}.{}", born.tv_sec, born.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::of;
    use std::fs::File;

    /// The number of a file that is gone is taken for the next one, at once or soon.
    #[test]
    fn a_file_is_never_taken_for_another() {
        let path = std::env::temp_dir().join(format!("corten-identity-{}", std::process::id()));
        let mut seen = std::collections::HashSet::new();
        for _ in 0..50 {
            let file = File::create(&path).unwrap();
            assert_eq!(of(&file).unwrap(), of(File::open(&path).unwrap()).unwrap());
            assert!(seen.insert(of(&file).unwrap()));
            std::fs::remove_file(&path).unwrap();
        }
    }
}
