//! `user`, `uid`, `user:group`: who that is in the container's own passwd and group files.
//!
//! The files are the image's: read by our own parser, only when regular, and not beyond a bound (CVE-2024-9676,
//! CVE-2026-47262). A word of digits is a number and never a name (CVE-2016-3697), and must fit (CVE-2024-40635).

use crate::{Error, Result};
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

/// The text of a file in the first of `roots` that has it.
pub fn read_in(roots: &[String], path: &str) -> String {
    for root in roots {
        let Ok(dir) = rustix::fs::open(
            root.as_str(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        ) else {
            continue;
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let Ok(file) = kernel::open::openat2(&dir, path, flags, Mode::empty(), resolve) else { continue };
        if !rustix::fs::fstat(&file)
            .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
        {
            continue;
        }
        let mut bytes = Vec::new();
        if std::fs::File::from(file).take(LIMIT).read_to_end(&mut bytes).is_ok() {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
    String::new()
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
            (
                fields[2]
                    .parse()
                    .map_err(|_| Error::Invalid(format!("the passwd file has no number for user {user}")))?,
                entry,
            )
        }
    };
    let mut found = User { uid, home: "/".to_owned(), ..User::default() };
    if let Some(fields) = &entry {
        found.gid = fields[3].parse().unwrap_or_default();
        found.home = if fields[5].is_empty() { "/".to_owned() } else { fields[5].to_owned() };
    }
    let groups = || group.lines().map(|l| l.split(':').collect::<Vec<_>>()).filter(|f| f.len() >= 3);
    let group_id = |word: &str| -> Result<u32> {
        match number(word)? {
            Some(gid) => Ok(gid),
            None => groups().find(|f| f[0] == word).and_then(|f| f[2].parse().ok()).ok_or_else(|| {
                Error::Invalid(format!("unable to find group {word}: no matching entries in group file"))
            }),
        }
    };
    match (wanted_group, &entry) {
        (Some(word), _) => found.gid = group_id(word)?,
        (None, Some(fields)) => {
            let member = |f: &Vec<&str>| f.len() >= 4 && f[3].split(',').any(|m| m == fields[0]);
            found.groups = groups().filter(member).filter_map(|f| f[2].parse().ok()).take(1024).collect();
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
    }
}
