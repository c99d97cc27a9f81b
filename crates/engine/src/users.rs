//! `user`, `uid`, `user:group`: who that is in the container's own passwd and group files.
//!
//! The files are the image's: read by our own parser, only when regular, and not beyond a bound (CVE-2024-9676,
//! CVE-2026-47262). A word of digits is a number and never a name (CVE-2016-3697), and must fit (CVE-2024-40635).

use crate::{Error, Result};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use std::io::Read;

/// A user of a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary, without `gid`.
    pub groups: Vec<u32>,
    pub home: String,
}

const LIMIT: u64 = 4 << 20;

/// The text of a file in the first of `roots` that has something by this name. What is there and is no regular file (a
/// deletion among layers, a FIFO, a device) hides what lies below, and reads as empty.
pub fn read_in(roots: &[String], path: &str) -> String {
    for root in roots {
        let Ok(dir) = rustix::fs::open(
            root.as_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) else {
            continue;
        };
        // To open a device of the image's can have effects on the host: what it is comes first.
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match kernel::open::openat2(&dir, path, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {}
            found => return found.ok().and_then(|file| text(&file)).unwrap_or_default(),
        }
    }
    String::new()
}

/// The whole lines of a regular file, up to a bound.
fn text(file: &OwnedFd) -> Option<String> {
    let mode = rustix::fs::fstat(file).ok()?.st_mode;
    if FileType::from_raw_mode(mode) != FileType::RegularFile {
        return None;
    }
    let file = std::fs::File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 == LIMIT {
        // Half a line could have half a number in it.
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1));
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Finds `spec` in the texts of `/etc/passwd` and `/etc/group`.
pub fn find(spec: &str, passwd: &str, group: &str, extra: &[String]) -> Result<User> {
    let (user, wanted_group) = spec.split_once(':').map_or((spec, None), |(u, g)| (u, Some(g)));
    let user = if user.is_empty() { "0" } else { user };
    let line = |matches: &dyn Fn(&[&str]) -> bool| {
        passwd.lines().map(|l| l.split(':').collect::<Vec<_>>()).find(|f| f.len() >= 6 && matches(f))
    };
    let (uid, entry) = match number(user)? {
        Some(uid) => (uid, line(&|f| f[2].parse() == Ok(uid))),
        None => {
            let entry = line(&|f| f[0] == user);
            let fields = entry.as_ref().ok_or_else(|| {
                Error::Invalid(format!("unable to find user {user}: no matching entries in passwd file"))
            })?;
            let uid = id(fields[2]).ok_or_else(|| {
                Error::Invalid(format!("the passwd file has no number in range 0-2147483647 for user {user}"))
            })?;
            (uid, entry)
        }
    };
    let mut found = User { uid, home: "/".to_owned(), ..User::default() };
    if let Some(fields) = &entry {
        // Only a group that is named needs none from here; nobody becomes one of root's by a mistake in the file.
        found.gid = match (id(fields[3]), wanted_group) {
            (Some(gid), _) => gid,
            (None, Some(_)) => 0,
            (None, None) => {
                let name = fields[0];
                let text = format!("the passwd file has no group in range 0-2147483647 for user {name}");
                return Err(Error::Invalid(text));
            }
        };
        found.home = if fields[5].is_empty() { "/".to_owned() } else { fields[5].to_owned() };
    }
    let groups = || group.lines().map(|l| l.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= 3);
    let group_id = |word: &str| -> Result<u32> {
        match number(word)? {
            Some(gid) => Ok(gid),
            None => groups().find(|f| f[0] == word).and_then(|f| id(f[2])).ok_or_else(|| {
                Error::Invalid(format!("unable to find group {word}: no matching entries in group file"))
            }),
        }
    };
    match (wanted_group, &entry) {
        (Some(word), _) => found.gid = group_id(word)?,
        (None, Some(fields)) => {
            let member = |f: &Vec<&str>| f.len() >= 4 && f[3].split(',').any(|m| m == fields[0]);
            found.groups = groups().filter(member).filter_map(|f| id(f[2])).take(1024).collect();
        }
        _ => {}
    }
    for word in extra {
        found.groups.push(group_id(word)?);
    }
    found.groups.retain(|g| *g != found.gid);
    found.groups.sort_unstable();
    found.groups.dedup();
    Ok(found)
}

/// A number of a file's, in the range that ids have: 4294967295 would mean "stay who you are" to setresuid(2).
fn id(field: &str) -> Option<u32> {
    field.parse().ok().filter(|n| field.bytes().all(|b| b.is_ascii_digit()) && *n <= i32::MAX as u32)
}

/// `Some` for a word of digits, which is an error when it is too large.
fn number(word: &str) -> Result<Option<u32>> {
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse::<u32>() {
        Ok(n) if n <= i32::MAX as u32 => Ok(Some(n)),
        _ => Err(Error::Invalid(format!("uids and gids must be in range 0-2147483647: {word}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/srv:\n1000:x:0:0::/:\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,web\nwww:x:34:\n";

    #[test]
    fn users_are_found() {
        let user = |spec: &str| find(spec, PASSWD, GROUP, &[]).unwrap();
        assert_eq!(user(""), User { uid: 0, gid: 0, groups: vec![10], home: "/root".into() });
        assert_eq!(user("web"), User { uid: 33, gid: 34, groups: vec![10], home: "/srv".into() });
        assert_eq!((user("web:wheel").gid, user("7:8").gid, user("7").home.as_str()), (10, 8, "/"));
        assert!(find("nobody", PASSWD, GROUP, &[]).is_err());
    }

    #[test]
    fn cve_2016_3697_digits_are_never_a_name() {
        assert_eq!(find("1000", PASSWD, GROUP, &[]).unwrap().uid, 1000);
    }

    #[test]
    fn cve_2024_40635_too_large_is_an_error() {
        assert!(find("2147483648", PASSWD, GROUP, &[]).is_err());
        assert!(find("99999999999999999999", PASSWD, GROUP, &[]).is_err());
        assert!(find("7:2147483648", PASSWD, GROUP, &[]).is_err());
    }

    #[test]
    fn cve_2026_46680_numbers_in_the_files_are_no_way_to_root() {
        for bad in ["4294967295", "4294967296", "-1", "+5", "", "0x0", "x"] {
            let user = format!("root:x:0:0::/root:\nevil:x:{bad}:100::/:\n");
            assert!(find("evil", &user, GROUP, &[]).is_err(), "user {bad:?}");
            let user = format!("evil:x:1000:{bad}::/:\n");
            assert!(find("evil", &user, GROUP, &[]).is_err(), "group {bad:?}");
            assert!(find("1000", &user, GROUP, &[]).is_err(), "group {bad:?}");
            assert_eq!(find("evil:wheel", &user, GROUP, &[]).unwrap().gid, 10);
            let group = format!("evil:x:{bad}:web\nmore:x:11:web\n");
            assert!(find("7:evil", PASSWD, &group, &[]).is_err(), "group {bad:?}");
            assert_eq!(find("web", PASSWD, &group, &[]).unwrap().groups, [11]);
        }
    }
}
