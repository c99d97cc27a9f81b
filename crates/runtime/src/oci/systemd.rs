//! The unit of systemd's that `cgroupsPath` and annotations of a `config.json` ask for.

use super::{Config, ConfigError, gvariant};
use crate::group::Unit;
use std::collections::BTreeMap;
use steps::dbus::Value;
use steps::systemd::Property;

const ANNOTATION: &str = "org.systemd.property.";

/// `cgroups_path` is `slice:prefix:name`; where it is empty the unit is named by the container. `user`: of this user's
/// systemd.
pub fn unit(
    cgroups_path: &str,
    id: &str,
    user: bool,
    annotations: &BTreeMap<String, String>,
) -> Config<Unit> {
    let wrong = |why: &str| ConfigError::new("linux.cgroupsPath", format!("{cgroups_path:?}: {why}"));
    let (slice, prefix, name) = match cgroups_path {
        "" => ("", "corten", id),
        path => match path.split(':').collect::<Vec<_>>()[..] {
            [slice, prefix, name] => (slice, prefix, name),
            _ => return Err(wrong("systemd's control groups are named as slice:prefix:name")),
        },
    };
    let default = if user { "user.slice" } else { "system.slice" };
    let slice = if slice.is_empty() { default } else { slice };
    if crate::group::expand_slice(slice).is_none() {
        return Err(wrong("not the name of a slice"));
    }
    if name.ends_with(".slice") {
        return Err(wrong("a slice has no processes"));
    }
    let name = format!("{prefix}-{name}.scope");
    // As unit_name_is_valid() of systemd.
    let fine = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if name.len() > 255 || !name.chars().all(fine) {
        return Err(wrong("not the name of a unit"));
    }
    Ok(Unit { name, slice: slice.to_owned(), user, properties: properties(annotations)? })
}

/// Properties that annotations set, in the order of their names.
fn properties(annotations: &BTreeMap<String, String>) -> Config<Vec<Property>> {
    let mut found = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        let wrong = |why: String| ConfigError::new(format!("annotations[{key:?}]"), why);
        if name.len() < 3 || !name.chars().all(|c| c.is_ascii_alphabetic()) {
            return Err(wrong("not the name of a property".to_owned()));
        }
        let value = gvariant::parse(text).map_err(|why| wrong(format!("{text:?}: {why}")))?;
        // As in unit files: on the bus there are microseconds only.
        let seconds = name.strip_suffix("Sec").filter(|n| n.ends_with(|c: char| c.is_ascii_lowercase()));
        found.push(match seconds {
            Some(name) => {
                let value = microseconds(&value).ok_or_else(|| wrong(format!("{text:?} is no number")))?;
                (format!("{name}USec"), Value::U64(value))
            }
            None => (name.to_owned(), value),
        });
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

fn microseconds(value: &Value) -> Option<u64> {
    let seconds = match value {
        Value::F64(n) => return (*n >= 0.0).then_some((n * 1e6) as u64),
        Value::Byte(n) => u64::from(*n),
        Value::I16(n) => u64::try_from(*n).ok()?,
        Value::U16(n) => u64::from(*n),
        Value::I32(n) => u64::try_from(*n).ok()?,
        Value::U32(n) => u64::from(*n),
        Value::I64(n) => u64::try_from(*n).ok()?,
        Value::U64(n) => *n,
        _ => return None,
    };
    seconds.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> String {
        match unit(path, "box", false, &BTreeMap::new()) {
            Ok(unit) => format!("{} in {}", unit.name, unit.slice),
            Err(e) => e.to_string().replace("config.json: linux.cgroupsPath: ", ""),
        }
    }

    #[test]
    fn a_path_names_a_unit() {
        let paths = [
            "",
            "user.slice:libpod:1234",
            ":docker:1234",
            "a:b",
            "/a/b",
            "x:y:z",
            "a.slice:b:c/d",
            "a.slice:b:c.slice",
        ];
        let all: Vec<String> = paths.map(|p| format!("{p} -> {}", of(p))).to_vec();
        insta::assert_snapshot!(all.join("\n"), @r#"
         -> corten-box.scope in system.slice
        user.slice:libpod:1234 -> libpod-1234.scope in user.slice
        :docker:1234 -> docker-1234.scope in system.slice
        a:b -> "a:b": systemd's control groups are named as slice:prefix:name
        /a/b -> "/a/b": systemd's control groups are named as slice:prefix:name
        x:y:z -> "x:y:z": not the name of a slice
        a.slice:b:c/d -> "a.slice:b:c/d": not the name of a unit
        a.slice:b:c.slice -> "a.slice:b:c.slice": a slice has no processes
        "#);
    }

    #[test]
    fn annotations_are_properties() {
        let said = |name: &str, text: &str| {
            let annotations =
                [(format!("{ANNOTATION}{name}"), text.to_owned()), ("other".to_owned(), "x".to_owned())];
            match properties(&BTreeMap::from(annotations)) {
                Ok(all) => format!("{:?}", all),
                Err(e) => e.to_string(),
            }
        };
        assert_eq!(said("TimeoutStopUSec", "uint64 5"), r#"[("TimeoutStopUSec", U64(5))]"#);
        assert_eq!(said("TimeoutStopSec", "456"), r#"[("TimeoutStopUSec", U64(456000000))]"#);
        assert_eq!(said("TimeoutStopSec", "2.5"), r#"[("TimeoutStopUSec", U64(2500000))]"#);
        assert_eq!(said("FOOSec", "123"), r#"[("FOOSec", I32(123))]"#);
        assert_eq!(said("CollectMode", "'inactive'"), r#"[("CollectMode", Str("inactive"))]"#);
        assert!(said("TimeoutStopSec", "false").ends_with("\"false\" is no number"));
        assert!(said("Xo", "1").ends_with("not the name of a property"));
        assert!(said("Number1", "1").ends_with("not the name of a property"));
        assert!(said("ValidName", "no-value").contains("no-value"));
    }
}
