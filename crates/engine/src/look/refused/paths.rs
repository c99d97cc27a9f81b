//! Which file a system call is about, as the process that makes it sees it, and on which mount that is.

use super::Mount;
use crate::clean_path;
use kernel::seccomp::Call;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Where in the arguments a call has its path, and the directory that it starts from.
fn places(name: &str) -> Option<(Option<usize>, usize)> {
    Some(match name {
        "open" | "creat" | "mkdir" | "mknod" | "unlink" | "rmdir" | "rename" | "link" | "chmod" | "chown"
        | "lchown" | "utime" | "utimes" | "execve" | "access" | "chdir" | "chroot" | "umount2"
        | "truncate" | "setxattr" | "lsetxattr" | "removexattr" | "swapon" | "acct" | "readlink" | "stat"
        | "lstat" | "statfs" => (None, 0),
        "mount" | "symlink" => (None, 1),
        "openat" | "openat2" | "mkdirat" | "mknodat" | "unlinkat" | "renameat" | "renameat2" | "linkat"
        | "fchmodat" | "fchmodat2" | "fchownat" | "utimensat" | "futimesat" | "execveat" | "faccessat"
        | "faccessat2" | "readlinkat" | "newfstatat" | "statx" | "open_tree" => (Some(0), 1),
        "symlinkat" => (Some(1), 2),
        _ => return None,
    })
}

/// The path, absolute in the process's own view.
pub fn of_call(pid: i32, name: &str, call: &Call) -> Option<String> {
    if matches!(name, "fchmod" | "fchown" | "fsetxattr" | "ftruncate" | "fchdir" | "getdents64") {
        return link(&format!("/proc/{pid}/fd/{}", call.args[0] as i32));
    }
    let (base, at) = places(name)?;
    let path = text(pid, call.args[at])?;
    if path.starts_with('/') {
        return Some(clean_path(&path));
    }
    const AT_FDCWD: i32 = -100;
    let base = base.map_or(AT_FDCWD, |base| call.args[base] as i32);
    let directory =
        if base == AT_FDCWD { format!("/proc/{pid}/cwd") } else { format!("/proc/{pid}/fd/{base}") };
    Some(clean_path(&format!("{}/{path}", link(&directory)?)))
}

fn link(path: &str) -> Option<String> {
    fs::read_link(path).ok().map(|path| path.to_string_lossy().into_owned()).filter(|p| p.starts_with('/'))
}

/// Up to the first zero byte; at most a page.
fn text(pid: i32, address: u64) -> Option<String> {
    let mut bytes = Vec::new();
    while bytes.len() < 4096 {
        let at = address + bytes.len() as u64;
        // A read over the end of the last page would fail whole.
        let mut piece = vec![0; 256 - (at % 256) as usize];
        File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut piece, at).ok()?;
        let end = piece.iter().position(|byte| *byte == 0);
        bytes.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
        if end.is_some() {
            return Some(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    None
}

/// A structure of words in the process's memory.
pub fn words<const N: usize>(pid: i32, address: u64) -> Option<[u64; N]> {
    let mut bytes = vec![0; N * 8];
    File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut bytes, address).ok()?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(words)
}

/// The mount that a path is on: of those that it lies below the longest, and of several at one place the topmost.
/// See proc_pid_mountinfo(5).
pub fn mount_of(pid: i32, path: &str) -> Mount {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    find_mount(&table, path)
}

fn find_mount(table: &str, path: &str) -> Mount {
    let mut best = Mount { at: String::new(), kind: String::new(), options: String::new() };
    for line in table.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = head.split(' ').collect();
        let tail: Vec<&str> = tail.split(' ').collect();
        let (Some(at), Some(options)) = (fields.get(4), fields.get(5)) else { continue };
        let below =
            *at == "/" || path.strip_prefix(at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if below && at.len() >= best.at.len() {
            let kind = tail.first().copied().unwrap_or_default().to_owned();
            best = Mount { at: (*at).to_owned(), kind, options: (*options).to_owned() };
        }
    }
    best
}

/// Whether a message that came over netlink says that a request was refused. See netlink(7).
pub fn netlink_refusal(pid: i32, name: &str, call: &Call, answer: i64) -> bool {
    const MSG_PEEK: u64 = 2;
    let (buffer, flags) = match name {
        "recvmsg" => {
            // `struct msghdr`: name, its length, the vector, …
            let Some([_, _, vector]) = words(pid, call.args[1]) else { return false };
            let Some([buffer]) = words(pid, vector) else { return false };
            (buffer, call.args[2])
        }
        "recvfrom" => (call.args[1], call.args[3]),
        _ => return false,
    };
    if answer < 20 || flags & MSG_PEEK != 0 || !is_netlink(pid, call.args[0] as i32) {
        return false;
    }
    // `struct nlmsghdr`: length, type, flags, sequence, port; then, in an NLMSG_ERROR, the error.
    let Some([head, _, error]) = words(pid, buffer) else { return false };
    let bytes = head.to_ne_bytes();
    let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
    let error = error.to_ne_bytes();
    kind == 2 && i32::from_ne_bytes([error[0], error[1], error[2], error[3]]) == -1
}

fn is_netlink(pid: i32, fd: i32) -> bool {
    let link = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
    let link = link.to_string_lossy();
    let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else {
        return false;
    };
    let table = fs::read_to_string(format!("/proc/{pid}/net/netlink")).unwrap_or_default();
    table.lines().any(|line| line.split_whitespace().last() == Some(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_a_path_is_the_longest_and_the_last() {
        let table = "1 0 0:1 / / rw - overlay overlay rw\n\
            2 1 0:2 / /proc rw,nosuid - proc proc rw\n\
            3 2 0:2 /sys /proc/sys ro,nosuid - proc proc rw\n\
            4 1 0:3 / /data rw - tmpfs a rw\n\
            5 4 0:4 / /data ro - tmpfs b rw\n";
        let at = |path| {
            let mount = find_mount(table, path);
            (mount.at, mount.options)
        };
        assert_eq!(at("/proc/sys/kernel/x"), ("/proc/sys".to_owned(), "ro,nosuid".to_owned()));
        assert_eq!(at("/proc/system"), ("/proc".to_owned(), "rw,nosuid".to_owned()));
        assert_eq!(at("/data/x"), ("/data".to_owned(), "ro".to_owned()));
        assert_eq!(at("/etc"), ("/".to_owned(), "rw".to_owned()));
    }

    #[test]
    fn memory_and_paths_of_our_own() {
        let text_here = c"/etc//./x/../y";
        let me = std::process::id().cast_signed();
        let args = [text_here.as_ptr() as u64, 0, 0, 0, 0, 0];
        let call = Call { nr: 0, arch: 0, ip: 0, args };
        assert_eq!(of_call(me, "open", &call).as_deref(), Some("/etc/y"));
        assert_eq!(of_call(me, "getpid", &call), None);
    }
}
