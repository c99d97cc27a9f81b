//! The image's config (image-spec config.md, Docker's image/spec): parsed once at load, kept in the image record.

use crate::digest::Digest;
use crate::error::{Error, Result, invalid};
use crate::platform::Platform;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// What `run` takes from the image. Empty means absent. All of it is data from a stranger: nothing here may steer the engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// `NAME=value`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// `user[:group]`, names or numbers.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `80/tcp` → `{}`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    /// `/data` → `{}`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `SIGTERM` or a number.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(deserialize_with = "words", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
}

/// The `{}` that Docker writes for a member of a set.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Empty {}

/// Docker's HEALTHCHECK. Times are nanoseconds; 0 means Docker's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args…]`, `["CMD-SHELL", line]`.
    #[serde(deserialize_with = "nullable")]
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

/// The whole config document, as far as it is looked at.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    #[serde(deserialize_with = "nullable")]
    pub variant: String,
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// RFC 3339, as the builder wrote it.
    pub created: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub author: String,
    #[serde(deserialize_with = "nullable")]
    pub config: RunConfig,
    #[serde(deserialize_with = "nullable")]
    pub rootfs: RootFs,
    #[serde(deserialize_with = "nullable")]
    pub history: Vec<History>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    #[serde(deserialize_with = "nullable")]
    pub diff_ids: Vec<String>,
}

/// One line of `history`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    pub created: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub created_by: String,
    #[serde(deserialize_with = "nullable")]
    pub comment: String,
    pub empty_layer: bool,
}

impl ImageConfig {
    pub fn platform(&self) -> Platform {
        Platform::of(&self.os, &self.architecture, &self.variant)
    }

    /// Parse the config document. `name` names it in errors.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<ImageConfig> {
        let config: ImageConfig = serde_json::from_slice(bytes)
            .map_err(|e| Error::Invalid(format!("image config '{name}' cannot be read: {e}")))?;
        if config.rootfs.kind != "layers" {
            return invalid(format!(
                "image config '{name}' has no rootfs of type 'layers': it is not the config of an image"
            ));
        }
        if config.os != "linux" && !config.os.is_empty() {
            return invalid(format!(
                "image config '{name}' is for {}, not for linux",
                config.os.escape_debug()
            ));
        }
        Ok(config)
    }

    pub fn diff_ids(&self) -> Result<Vec<Digest>> {
        self.rootfs.diff_ids.iter().map(|d| Digest::parse(d)).collect()
    }
}

/// Docker's name for the architecture of this machine.
pub fn machine_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

/// `null` reads as the empty value, as in Go.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    d: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// A list of words, or one string (Docker's strslice), or null.
fn words<'de, D: Deserializer<'de>>(d: D) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(match Option::<Words>::deserialize(d)? {
        None => Vec::new(),
        Some(Words::Many(words)) => words,
        Some(Words::One(word)) => vec![word],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_config_with_nulls() {
        let text = br#"{"architecture":"amd64","config":{"Hostname":"","User":"65534:65534","ExposedPorts":{"80/tcp":{}},
            "Env":["PATH=/bin"],"Cmd":["nginx","-g","daemon off;"],"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":1000000000},
            "ArgsEscaped":true,"Image":"x","Volumes":null,"WorkingDir":"","Entrypoint":"/entry","OnBuild":null,"Labels":{"a":"b"},
            "StopSignal":"SIGQUIT"},"container":"x","created":"2024-01-01T00:00:00.123Z","docker_version":"20","os":"linux",
            "history":[{"created_by":"x","empty_layer":true}],"rootfs":{"type":"layers","diff_ids":null}}"#;
        let c = ImageConfig::parse("c", text).unwrap();
        assert_eq!(c.config.entrypoint, ["/entry"]);
        assert_eq!(c.config.cmd, ["nginx", "-g", "daemon off;"]);
        assert!(c.config.volumes.is_empty() && c.config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(c.config.healthcheck.as_ref().unwrap().interval, 1_000_000_000);
        let again: RunConfig = serde_json::from_str(&serde_json::to_string(&c.config).unwrap()).unwrap();
        assert_eq!(again, c.config);
    }

    #[test]
    fn not_a_config() {
        for bad in [
            "",
            "[]",
            "{}",
            "nonsense",
            r#"{"rootfs":{"type":"layers","diff_ids":7}}"#,
            r#"{"rootfs":{"type":"layers"},"os":"windows"}"#,
        ] {
            let e = ImageConfig::parse("c.json", bad.as_bytes()).unwrap_err().to_string();
            assert!(e.contains("'c.json'") && !e.contains('\n'), "{e}");
        }
    }
}
