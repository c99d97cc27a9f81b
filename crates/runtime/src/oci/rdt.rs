//! `linux.intelRdt`: a class of service of the processor's, and a monitor. See config-linux.md, "IntelRdt".

use super::{Config, ConfigError};
use serde::{Deserialize, Deserializer};
use std::path::Path;
use steps::{MakeResctrl, Step, WriteResctrl};

/// As it is written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IntelRdt {
    #[serde(rename = "closID", deserialize_with = "nullable")]
    pub class: String,
    #[serde(deserialize_with = "nullable")]
    pub l3_cache_schema: String,
    #[serde(deserialize_with = "nullable")]
    pub mem_bw_schema: String,
    #[serde(deserialize_with = "nullable")]
    pub schemata: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub enable_monitoring: bool,
}

fn nullable<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
    Option::deserialize(d).map(Option::unwrap_or_default)
}

/// What is done for a container.
#[derive(Debug, Default, PartialEq)]
pub struct Classes {
    /// Before its first process exists.
    pub make: Vec<Step>,
    /// Files that its processes are written into, in this order.
    pub tasks: Vec<String>,
}

fn wrong(field: &str, why: impl std::fmt::Display) -> ConfigError {
    ConfigError::new(format!("linux.intelRdt{field}"), why)
}

/// Where resctrl is mounted, as `/proc/self/mountinfo` says.
pub fn mount_point(mountinfo: &str) -> Option<String> {
    mountinfo.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        (source.split(' ').next()? == "resctrl").then(|| mount.split(' ').nth(4).map(str::to_owned))?
    })
}

/// `root` is where resctrl is mounted; looks there for classes that others have made.
pub fn classes(given: &IntelRdt, id: &str, root: Option<&str>) -> Config<Classes> {
    let Some(root) = root else { return Err(wrong("", "this machine has no resctrl file system mounted")) };
    let lines = lines(given)?;
    let class = match given.class.as_str() {
        "" => format!("{root}/{id}"),
        "/" => root.to_owned(),
        name @ ("." | ".." | "info" | "mon_data" | "mon_groups") => {
            return Err(wrong(".closID", format!("'{name}' is no name of a class")));
        }
        name if name.contains(['/', '\n', '\0']) => {
            return Err(wrong(".closID", format!("'{name}' is not a file name")));
        }
        name => format!("{root}/{name}"),
    };
    let there = Path::new(&class).is_dir();
    let mut classes = Classes::default();
    match (given.class.is_empty(), there) {
        (false, false) if lines.is_empty() => {
            return Err(wrong(".closID", format!("there is no class '{}'", given.class)));
        }
        (false, true) => same(given, &class)?,
        (own, false) => classes.make.push(MakeResctrl { path: class.as_str().into(), own }.into()),
        (true, true) => {}
    }
    let schemata = format!("{class}/schemata");
    classes.make.extend(
        lines
            .iter()
            .map(|line| WriteResctrl { file: schemata.as_str().into(), line: Some((*line).into()) }.into()),
    );
    classes.tasks.push(format!("{class}/tasks"));
    if given.enable_monitoring {
        let monitor = format!("{class}/mon_groups/{id}");
        classes.make.push(MakeResctrl { path: monitor.as_str().into(), own: true }.into());
        classes.tasks.push(format!("{monitor}/tasks"));
    }
    Ok(classes)
}

/// The lines of `schemata`, in the order in which they are written.
fn lines(given: &IntelRdt) -> Config<Vec<&str>> {
    let (l3, bandwidth) = (&given.l3_cache_schema, &given.mem_bw_schema);
    if !bandwidth.is_empty() && !bandwidth.starts_with("MB:") {
        return Err(wrong(".memBwSchema", format!("'{bandwidth}' does not begin with MB:")));
    }
    let single = [(".l3CacheSchema".to_owned(), l3), (".memBwSchema".to_owned(), bandwidth)];
    let listed = given.schemata.iter().enumerate().map(|(i, line)| (format!(".schemata[{i}]"), line));
    let mut lines = Vec::new();
    for (field, line) in single.into_iter().chain(listed) {
        if line.contains('\n') {
            return Err(wrong(&field, "is more than one line"));
        }
        if !line.is_empty() {
            lines.push(line.as_str());
        }
    }
    Ok(lines)
}

/// A class that is there has others in it: what the file says of it must be so already.
fn same(given: &IntelRdt, class: &str) -> Config<()> {
    let path = format!("{class}/schemata");
    for (field, line) in [(".l3CacheSchema", &given.l3_cache_schema), (".memBwSchema", &given.mem_bw_schema)]
    {
        if line.is_empty() {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(field, format!("{path}: {e}")))?;
        let has: Vec<_> = text.lines().flat_map(parts).collect();
        if !parts(line).iter().all(|part| has.contains(part)) {
            return Err(wrong(field, format!("the class '{}' is there, with another", given.class)));
        }
    }
    Ok(())
}

/// `L3:0=0ff;1=f` in its parts, without zeros that say nothing: `L3`, `0`, `ff`.
fn parts(line: &str) -> Vec<(String, String, String)> {
    let Some((kind, rest)) = line.trim().split_once(':') else { return Vec::new() };
    let part = |part: &str| {
        let (domain, value) = part.split_once('=')?;
        let value = value.trim().trim_start_matches('0').to_ascii_lowercase();
        Some((kind.trim().to_owned(), domain.trim().to_owned(), value))
    };
    rest.split(';').filter_map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use steps::{Journal, Live};

    /// A directory that looks like a resctrl file system.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Fake {
            let root = std::env::temp_dir().join(format!("resctrl-{name}-{}", std::process::id()));
            let fake = Fake(root);
            fake.group("");
            fake
        }

        /// As the kernel fills a new one.
        fn group(&self, name: &str) {
            let dir = self.0.join(name);
            fs::create_dir_all(dir.join("mon_groups")).unwrap();
            fs::write(dir.join("schemata"), "    MB:0=100\n    L3:0=0ff;1=fff\n").unwrap();
            fs::write(dir.join("tasks"), "").unwrap();
        }

        fn classes(&self, json: serde_json::Value) -> Result<Classes, String> {
            let given: IntelRdt = serde_json::from_value(json).unwrap();
            classes(&given, "box", self.0.to_str()).map_err(|e| e.to_string())
        }

        fn read(&self, file: &str) -> String {
            fs::read_to_string(self.0.join(file)).unwrap_or_default()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_class_of_its_own_is_made_and_taken_back() {
        let fake = Fake::new("own");
        let classes = fake
            .classes(serde_json::json!({
                "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50", "schemata": ["L2:0=3"], "enableMonitoring": true
            }))
            .unwrap();
        let path = fake.0.join("journal");
        let mut journal = Journal::open(&path).unwrap();
        let live = Live::new(0);
        let mut written = Vec::new();
        for step in &classes.make {
            journal.note(step).unwrap();
            step.perform(&live).unwrap();
            match step {
                // The kernel fills it.
                Step::MakeResctrl(made) if !made.path.as_str().contains("mon_groups") => fake.group("box"),
                Step::MakeResctrl(made) => fs::write(format!("{}/tasks", made.path), "").unwrap(),
                _ => written.push(fake.read("box/schemata").lines().next().unwrap().to_owned()),
            }
        }
        assert_eq!(written, ["L3:0=f", "MB:0=50", "L2:0=3"]);
        live.pid.set(42);
        for file in &classes.tasks {
            WriteResctrl { file: file.as_str().into(), line: None }.perform(&live).unwrap();
        }
        assert_eq!(
            (fake.read("box/tasks"), fake.read("box/mon_groups/box/tasks")),
            ("42\n".into(), "42\n".into())
        );
        // Files of such a directory go with it.
        for file in ["box/mon_groups/box/tasks", "box/tasks", "box/schemata"] {
            fs::remove_file(fake.0.join(file)).unwrap();
        }
        let undone = Journal::replay(&path).unwrap();
        assert!(!fake.0.join("box/mon_groups/box").exists());
        // Only because this file system is none: mon_groups is in the way.
        assert_eq!(undone.len(), 1, "{undone:?}");
    }

    #[test]
    fn a_class_of_others_is_entered_and_left() {
        let fake = Fake::new("others");
        let class = serde_json::json!({ "closID": "gold" });
        assert_eq!(
            fake.classes(class.clone()).unwrap_err(),
            "config.json: linux.intelRdt.closID: there is no class 'gold'"
        );
        // With a schema it is made, and stays.
        let made = fake.classes(serde_json::json!({ "closID": "gold", "schemata": ["L3:0=f"] })).unwrap();
        assert!(made.make.iter().all(|step| step.undo().is_none()), "{made:?}");
        assert_eq!(made.make.len(), 2);
        fake.group("gold");
        let gold = fake.0.join("gold/tasks").display().to_string();
        assert_eq!(fake.classes(class).unwrap(), Classes { make: Vec::new(), tasks: vec![gold] });
        let root = fake.classes(serde_json::json!({ "closID": "/" })).unwrap();
        assert_eq!(root.tasks, [fake.0.join("tasks").display().to_string()]);
        // The same, written otherwise; and not the same.
        let given = |l3: &str| fake.classes(serde_json::json!({ "closID": "gold", "l3CacheSchema": l3 }));
        assert!(given("L3:1=FFF;0=00ff").is_ok());
        assert_eq!(
            given("L3:0=f").unwrap_err(),
            "config.json: linux.intelRdt.l3CacheSchema: the class 'gold' is there, with another"
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        let fake = Fake::new("mistakes");
        let mut said = String::new();
        for json in [
            r#"{"closID": ".."}"#,
            r#"{"closID": "a/b"}"#,
            r#"{"closID": "info"}"#,
            r#"{"memBwSchema": "L3:0=f"}"#,
            r#"{"l3CacheSchema": "L3:0=f\nMB:0=1"}"#,
            r#"{"schemata": ["L3:0=f", "a\nb"]}"#,
        ] {
            said.push_str(&fake.classes(serde_json::from_str(json).unwrap()).unwrap_err());
            said.push('\n');
        }
        insta::assert_snapshot!(said, @r#"
        config.json: linux.intelRdt.closID: '..' is no name of a class
        config.json: linux.intelRdt.closID: 'a/b' is not a file name
        config.json: linux.intelRdt.closID: 'info' is no name of a class
        config.json: linux.intelRdt.memBwSchema: 'L3:0=f' does not begin with MB:
        config.json: linux.intelRdt.l3CacheSchema: is more than one line
        config.json: linux.intelRdt.schemata[1]: is more than one line
        "#);
        assert_eq!(
            classes(&IntelRdt::default(), "box", None).unwrap_err().to_string(),
            "config.json: linux.intelRdt: this machine has no resctrl file system mounted"
        );
    }

    #[test]
    fn it_is_found_wherever_it_is_mounted() {
        let text = "30 1 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n40 30 0:33 / /sys/fs/resctrl rw shared:5 - resctrl resctrl rw\n";
        assert_eq!(mount_point(text).as_deref(), Some("/sys/fs/resctrl"));
        assert_eq!(mount_point("30 1 0:26 / /resctrl ro - tmpfs resctrl ro\n"), None);
    }
}
