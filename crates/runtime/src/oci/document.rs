//! The whole `config.json` as it is written. Types of the specification's crate serve where its strictness does; where
//! unknown names are a matter of judgement, there are types of our own.

use super::process::{Document as Process, LinuxPart, MemoryPolicy, Personality};
use super::rdt::IntelRdt;
use super::resources::Document as Resources;
use kernel::seccomp::profile::Profile;
use oci_spec::runtime::{Hooks, LinuxNamespace, LinuxNetDevice, LinuxTimeOffset};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Document {
    pub oci_version: String,
    pub root: Option<Root>,
    pub mounts: Option<Vec<Mount>>,
    pub process: Option<Process>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub hooks: Option<Hooks>,
    pub annotations: Option<BTreeMap<String, String>>,
    pub linux: Option<Linux>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Root {
    pub path: String,
    pub readonly: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Linux {
    pub namespaces: Option<Vec<LinuxNamespace>>,
    pub uid_mappings: Option<Vec<IdMapping>>,
    pub gid_mappings: Option<Vec<IdMapping>>,
    pub time_offsets: Option<BTreeMap<String, LinuxTimeOffset>>,
    pub devices: Option<Vec<Device>>,
    pub net_devices: Option<BTreeMap<String, LinuxNetDevice>>,
    pub cgroups_path: Option<String>,
    pub resources: Option<Resources>,
    pub sysctl: Option<BTreeMap<String, String>>,
    pub rootfs_propagation: Option<String>,
    pub masked_paths: Option<Vec<String>>,
    pub readonly_paths: Option<Vec<String>>,
    pub mount_label: Option<String>,
    pub intel_rdt: Option<IntelRdt>,
    pub seccomp: Option<Profile>,
    pub personality: Option<Personality>,
    pub memory_policy: Option<MemoryPolicy>,
}

/// A mount.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mount {
    pub destination: String,
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub source: Option<String>,
    pub options: Option<Vec<String>>,
    pub uid_mappings: Option<Vec<IdMapping>>,
    pub gid_mappings: Option<Vec<IdMapping>>,
}

/// A range of ids.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    #[serde(rename = "containerID")]
    pub container_id: Option<u32>,
    #[serde(rename = "hostID")]
    pub host_id: Option<u32>,
    pub size: u32,
}

/// A device to be made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    pub path: String,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: String,
    pub major: Option<i64>,
    pub minor: Option<i64>,
    pub file_mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Linux {
    /// What it says of all processes of the container.
    pub fn part(&self) -> LinuxPart {
        LinuxPart {
            seccomp: self.seccomp.clone(),
            personality: self.personality.clone(),
            memory_policy: self.memory_policy.clone(),
        }
    }
}
