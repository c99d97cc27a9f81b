//! What `ps` says of a container's processes.

use std::fs;
use std::io;

pub use runtime::ps::Processes;

/// The processes of the container whose first process is `init`. `arguments` are those of `ps`: `-ef` (or nothing),
/// `aux`, or `-o` with a list of columns.
///
/// Errors: an option that is not understood; a process table that can't be read.
pub fn top(init: i32, arguments: &[String]) -> io::Result<Processes> {
    runtime::ps::table(&members(init)?, arguments)
}

/// Pids in the container's cgroup or below it, in order; where it has none of its own, in its pid namespace.
pub(crate) fn members(init: i32) -> io::Result<Vec<i32>> {
    let group = own_group(&fs::read_to_string(format!("/proc/{init}/cgroup"))?);
    // One that is ending has its group still, and no namespaces.
    let namespace = || fs::read_link(format!("/proc/{init}/ns/pid"));
    let namespace = if group.is_none() { Some(namespace()?) } else { None };
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let inside = match &group {
            Some(group) => {
                fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| is_below(&text, group))
            }
            None => fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|link| Some(link) == namespace),
        };
        if inside {
            pids.push(pid);
        }
    }
    pids.sort_unstable();
    Ok(pids)
}

/// The line of /proc/PID/cgroup that tells the container apart: the longest path; `None` at the root.
fn own_group(text: &str) -> Option<String> {
    let line = text.lines().max_by_key(|line| path_of(line).len())?;
    (path_of(line) != "/").then(|| line.to_owned())
}

fn path_of(line: &str) -> &str {
    line.splitn(3, ':').nth(2).unwrap_or("/")
}

fn is_below(text: &str, group: &str) -> bool {
    text.lines()
        .any(|line| line.strip_prefix(group).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_told_by_its_longest_path() {
        let text = "5:pids:/corten/abc\n1:name=systemd:/\n0::/\n";
        let group = own_group(text).unwrap();
        assert!(is_below(text, &group));
        assert!(is_below("5:pids:/corten/abc/below\n", &group));
        assert!(!is_below("5:pids:/corten/abcd\n", &group));
        assert_eq!(own_group("0::/\n"), None);
    }

    #[test]
    fn we_are_among_our_own_processes() {
        let me = std::process::id();
        let table = top(me as i32, &[]).unwrap();
        assert!(table.rows.iter().any(|row| row[1] == me.to_string()), "{table:?}");
    }
}
