//! Names of running containers: `<state>/names/<network>/<name>/<container>`, a symbolic link to its addresses. Whoever
//! looks a name up reads one small directory, however many containers there are.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

/// A name as it is written down; none where DNS could not carry it, or it would not be one file.
pub fn file_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let good = !name.is_empty() && name.len() <= 253 && !name.starts_with('.') && name.chars().all(plain);
    good.then(|| name.to_ascii_lowercase())
}

/// The addresses of all who have the name in a network; empty when nobody has.
pub fn look_up(directory: &Path, name: &str) -> Vec<IpAddr> {
    let Some(name) = file_name(name) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(directory.join(name)) else { return Vec::new() };
    let mut links: Vec<_> = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    links.sort();
    links.iter().filter_map(|link| link.to_str()).flat_map(addresses).collect()
}

fn addresses(text: &str) -> impl Iterator<Item = IpAddr> {
    text.split(',').filter_map(|address| address.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_files() {
        assert_eq!(file_name("Web.").as_deref(), Some("web"));
        for bad in ["", ".", "..", ".hidden", "a/b", "a b", "ä", &"x".repeat(254)] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
        let base = std::env::temp_dir().join(format!("corten-lookup-{}", std::process::id()));
        fs::create_dir_all(base.join("db")).unwrap();
        for (id, target) in [("b", "10.0.0.3"), ("a", "10.0.0.2,fd00::2"), ("c", "junk")] {
            std::os::unix::fs::symlink(target, base.join("db").join(id)).unwrap();
        }
        let found: Vec<_> = look_up(&base, "DB").iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["10.0.0.2", "fd00::2", "10.0.0.3"]);
        assert_eq!(look_up(&base, "../db"), Vec::<IpAddr>::new());
        fs::remove_dir_all(&base).unwrap();
    }
}
