//! Devices that their makers describe: the Container Device Interface. Files in `/etc/cdi` and `/var/run/cdi` (or `CORTEN_CDI_DIRS`) say
//! what a container needs for `vendor.com/class=name`: nodes, mounts, variables, groups.

use crate::devices::access_bits;
use crate::{Error, Result, devices};
use kernel::bpf::{DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use runtime::oci::hooks::Point;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use steps::Node;
use yaml_rust2::{Yaml, YamlLoader};

/// What the described devices add to a container.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edits {
    /// `NAME=value`.
    pub env: Vec<String>,
    pub nodes: Vec<Node>,
    pub rules: Vec<DeviceRule>,
    pub mounts: Vec<CdiMount>,
    pub groups: Vec<u32>,
    hooks: Vec<Hook>,
}

/// A mount of the host's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CdiMount {
    pub host_path: String,
    pub container_path: String,
    #[serde(default)]
    pub options: Vec<String>,
}

/// A file of descriptions.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    /// `vendor.com/class`.
    kind: String,
    container_edits: ContainerEdits,
    devices: Vec<Described>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Described {
    name: String,
    container_edits: ContainerEdits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerEdits {
    env: Vec<String>,
    device_nodes: Vec<DeviceNode>,
    mounts: Vec<CdiMount>,
    hooks: Vec<Hook>,
    #[serde(rename = "additionalGids")]
    additional_gids: Vec<u32>,
    intel_rdt: Option<serde_json::Value>,
    net_devices: Vec<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeviceNode {
    path: String,
    host_path: String,
    #[serde(rename = "type")]
    kind: String,
    major: Option<u32>,
    minor: Option<u32>,
    file_mode: Option<u32>,
    permissions: String,
    uid: Option<u32>,
    gid: Option<u32>,
}

/// As in an OCI bundle, beside its point.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hook {
    #[serde(skip_serializing)]
    hook_name: String,
    path: String,
    args: Vec<String>,
    env: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u32>,
}

/// Whether a word of `--device` is the name of a described device, and no path.
pub fn is_name(word: &str) -> bool {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
    };
    let Some((kind, name)) = word.split_once('=') else { return false };
    kind.split_once('/').is_some_and(|(vendor, class)| plain(vendor) && plain(class)) && plain(name)
}

/// What the devices of these names add. A file is read once, and what it says of all its devices counts once.
pub(crate) fn edits(names: &[String]) -> Result<Edits> {
    let mut edits = Edits::default();
    if names.is_empty() {
        return Ok(edits);
    }
    let specs = read_all()?;
    let mut general = Vec::new();
    for name in names {
        let (kind, device) = name.split_once('=').unwrap_or((name, ""));
        // The later directory speaks last.
        let found =
            specs.iter().enumerate().rev().filter(|(_, spec)| spec.kind == kind).find_map(|(at, spec)| {
                spec.devices
                    .iter()
                    .find(|described| described.name == device)
                    .map(|described| (at, spec, described))
            });
        let Some((at, spec, described)) = found else { return Err(unknown(name, kind, &specs)) };
        if !general.contains(&at) {
            general.push(at);
            edits.add(name, &spec.container_edits)?;
        }
        edits.add(name, &described.container_edits)?;
    }
    Ok(edits)
}

fn directories() -> Vec<PathBuf> {
    match std::env::var("CORTEN_CDI_DIRS") {
        Ok(dirs) if !dirs.is_empty() => dirs.split(':').map(PathBuf::from).collect(),
        _ => vec!["/etc/cdi".into(), "/var/run/cdi".into()],
    }
}

/// The files in the order of their directories and names. One that cannot be understood is an error: what is looked for may be in it.
fn read_all() -> Result<Vec<Spec>> {
    let mut specs = Vec::new();
    for dir in directories() {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|end| end.to_str()) {
                Some("json") => specs.push(read(&path, &|text| serde_json::from_str(text))?),
                Some("yaml" | "yml") => {
                    specs.push(read(&path, &|text| yaml(text).and_then(serde_json::from_value))?);
                }
                _ => {}
            }
        }
    }
    Ok(specs)
}

fn read(path: &Path, parse: &dyn Fn(&str) -> serde_json::Result<Spec>) -> Result<Spec> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("cannot read", path, e))?;
    parse(&text)
        .map_err(|e| Error::Invalid(format!("the CDI file {} is not as it should be: {e}", path.display())))
}

/// The first document of a YAML file, as JSON.
fn yaml(text: &str) -> serde_json::Result<Value> {
    use serde::de::Error;
    let mut documents = YamlLoader::load_from_str(text).map_err(serde_json::Error::custom)?.into_iter();
    Ok(documents.next().map_or(Value::Null, json_of))
}

fn json_of(yaml: Yaml) -> Value {
    match yaml {
        Yaml::String(text) => Value::String(text),
        Yaml::Integer(number) => number.into(),
        Yaml::Boolean(truth) => truth.into(),
        Yaml::Real(text) => text.parse::<f64>().map_or(Value::String(text), Value::from),
        Yaml::Array(all) => all.into_iter().map(json_of).collect(),
        Yaml::Hash(pairs) => {
            let key = |key: Yaml| match json_of(key) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(pairs.into_iter().map(|(name, value)| (key(name), json_of(value))).collect())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

fn unknown(name: &str, kind: &str, specs: &[Spec]) -> Error {
    let known: Vec<&str> = specs
        .iter()
        .filter(|spec| spec.kind == kind)
        .flat_map(|spec| spec.devices.iter().map(|device| device.name.as_str()))
        .collect();
    let dirs: Vec<String> = directories().iter().map(|dir| dir.display().to_string()).collect();
    Error::Invalid(match known.is_empty() {
        true => format!("unresolvable CDI device {name}: no file in {} describes {kind}", dirs.join(" or ")),
        false => format!("unresolvable CDI device {name}: {kind} has only {}", known.join(", ")),
    })
}

impl Edits {
    fn add(&mut self, name: &str, edits: &ContainerEdits) -> Result<()> {
        for hook in &edits.hooks {
            if !hook.path.starts_with('/') || Point::ALL.iter().all(|point| point.name() != hook.hook_name) {
                let what = format!("the CDI device {name} has a hook that is none");
                return Err(Error::Invalid(format!("{what}: {} {}", hook.hook_name, hook.path)));
            }
            self.hooks.push(hook.clone());
        }
        if edits.intel_rdt.is_some() || !edits.net_devices.is_empty() {
            return Err(Error::Invalid(format!(
                "the CDI device {name} needs what is not supported (intelRdt, netDevices)"
            )));
        }
        for node in &edits.device_nodes {
            self.node(name, node)?;
        }
        self.env.extend(edits.env.iter().cloned());
        self.mounts.extend(edits.mounts.iter().cloned());
        self.groups.extend(&edits.additional_gids);
        Ok(())
    }

    /// As an OCI bundle has them; `None` where there are none.
    pub fn hooks(&self) -> Result<Option<oci_spec::runtime::Hooks>> {
        if self.hooks.is_empty() {
            return Ok(None);
        }
        let mut all = serde_json::Map::new();
        for hook in &self.hooks {
            let list = all.entry(&hook.hook_name).or_insert_with(|| Value::Array(Vec::new()));
            if let (Value::Array(list), Ok(hook)) = (list, serde_json::to_value(hook)) {
                list.push(hook);
            }
        }
        let failed = |e| Error::Invalid(format!("the hooks of a CDI device are not as they should be: {e}"));
        serde_json::from_value(Value::Object(all)).map(Some).map_err(failed)
    }

    fn node(&mut self, name: &str, node: &DeviceNode) -> Result<()> {
        let inside =
            node.path.strip_prefix("/dev/").filter(|inside| devices::is_place(inside)).ok_or_else(|| {
                Error::Invalid(format!("the CDI device {name} has a node outside of /dev: {}", node.path))
            })?;
        let host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
        let (block, major, minor) = match (node.kind.as_str(), node.major, node.minor) {
            (kind @ ("b" | "c" | "u"), Some(major), Some(minor)) => (kind == "b", major, minor),
            _ => devices::device(host)?,
        };
        let access = match node.permissions.as_str() {
            "" => READ | WRITE | MKNOD,
            text => access_bits(text).ok_or_else(|| {
                Error::Invalid(format!("the CDI device {name} has permissions that are none: {text}"))
            })?,
        };
        self.rules.push(DeviceRule {
            allow: true,
            kind: if block { DeviceKind::Block } else { DeviceKind::Char },
            major: Some(major),
            minor: Some(minor),
            access,
        });
        self.nodes.push(Node {
            name: inside.into(),
            block,
            fifo: false,
            major,
            minor,
            mode: node.file_mode.unwrap_or(0o666) & 0o777,
            uid: node.uid.unwrap_or(0),
            gid: node.gid.unwrap_or(0),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_json_otherwise_written() {
        let text = "---\ncdiVersion: 0.5.0\nkind: \"v.com/c\"\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/v0\n      major: 1\n      minor: 5\n      type: c\n    hooks:\n    - hookName: createContainer\n      path: /bin/x\n      args: [x, --a, '1']\n";
        let spec: Spec = serde_json::from_value(yaml(text).unwrap()).unwrap();
        let mut edits = Edits::default();
        edits.add("v.com/c=0", &spec.devices[0].container_edits).unwrap();
        assert_eq!((edits.nodes[0].minor, spec.devices[0].name.as_str()), (5, "0"));
        let hooks = edits.hooks().unwrap().unwrap();
        let hook = &hooks.create_container().as_ref().unwrap()[0];
        assert_eq!(hook.args().as_ref().unwrap()[2], "1");
        assert!(yaml("a: [").is_err());
        assert!(Edits::default().hooks().unwrap().is_none());
    }

    #[test]
    fn names_and_paths() {
        for name in ["nvidia.com/gpu=all", "vendor.com/class=0:1", "a/b=c"] {
            assert!(is_name(name), "{name}");
        }
        for path in ["/dev/fuse", "/dev/a=b", "a=b", "vendor.com/gpu", "vendor.com/gpu=", "v/c=a/b", "/c=x"] {
            assert!(!is_name(path), "{path}");
        }
    }

    #[test]
    fn what_a_description_adds() {
        let text = r#"{"cdiVersion": "0.6.0", "kind": "v.com/c", "devices": [{"name": "x", "containerEdits": {
            "env": ["X=1"], "additionalGids": [44],
            "deviceNodes": [{"path": "/dev/v/zero", "type": "c", "major": 1, "minor": 5, "permissions": "rw", "fileMode": 416}],
            "mounts": [{"hostPath": "/etc", "containerPath": "/host/etc", "options": ["ro", "bind"]}]}}]}"#;
        let spec: Spec = serde_json::from_str(text).unwrap();
        let mut edits = Edits::default();
        edits.add("v.com/c=x", &spec.devices[0].container_edits).unwrap();
        assert_eq!((edits.env.as_slice(), edits.groups.as_slice()), (&["X=1".to_owned()][..], &[44][..]));
        assert_eq!((edits.nodes[0].name.as_str(), edits.nodes[0].mode), ("v/zero", 0o640));
        assert_eq!(edits.rules[0].access, READ | WRITE);
        assert_eq!(edits.mounts[0].container_path, "/host/etc");
        for bad in [
            r#"{"hooks": [{"hookName": "createContainer", "path": "bin/x"}]}"#,
            r#"{"hooks": [{"hookName": "sometime", "path": "/bin/x"}]}"#,
            r#"{"deviceNodes": [{"path": "/etc/x", "type": "c", "major": 1, "minor": 5}]}"#,
            r#"{"deviceNodes": [{"path": "/dev/x", "type": "c", "major": 1, "minor": 5, "permissions": "q"}]}"#,
            r#"{"intelRdt": {}}"#,
        ] {
            let bad: ContainerEdits = serde_json::from_str(bad).unwrap();
            assert!(Edits::default().add("v.com/c=x", &bad).is_err(), "{bad:?}");
        }
    }
}
