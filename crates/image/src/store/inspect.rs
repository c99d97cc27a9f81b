//! What `image inspect` prints: Docker's object, from the image record and the config document.

use super::{Image, Store};
use crate::config::ImageConfig;
use crate::error::{Result, io};
use serde_json::{Value, json};

impl Store {
    /// Docker's JSON object of an image. `name` is anything that [`Store::resolve`] takes.
    pub fn inspect(&self, name: &str) -> Result<Value> {
        let image = self.resolve(name)?;
        let (document, raw) = if image.host {
            (ImageConfig::default(), Value::Null)
        } else {
            let path = format!("blobs/sha256/{}", image.id);
            let bytes = self.read(&path).map_err(io(format!("read the config of image {}", image.id)))?;
            let document = ImageConfig::parse(&image.id, &bytes)?;
            (document, serde_json::from_slice(&bytes).unwrap_or_default())
        };
        let tags = self.all_tags()?;
        let names = |with_digest: bool| {
            let own =
                tags.iter().filter(|(name, id)| *id == image.id && name.digest.is_some() == with_digest);
            let mut names: Vec<String> = own.map(|(name, _)| name.familiar()).collect();
            names.sort();
            names
        };
        let repo_tags = if image.host { vec![crate::host::NAME.to_string()] } else { names(false) };
        let diff_ids: Vec<String> = image.layers.iter().map(|l| format!("sha256:{}", l.diff_id)).collect();
        let comment = document.history.last().map(|h| h.comment.clone()).unwrap_or_default();
        let mut object = json!({
            "Id": format!("sha256:{}", image.id),
            "RepoTags": repo_tags,
            "RepoDigests": names(true),
            "Parent": "",
            "Comment": comment,
            "Created": image.created,
            "DockerVersion": raw.get("docker_version").and_then(Value::as_str).unwrap_or_default(),
            "Author": document.author,
            "Config": config(&image, raw.get("config")),
            "Architecture": image.architecture,
            "Os": image.os,
            "Size": image.size,
            "VirtualSize": image.size,
            "GraphDriver": self.graph_driver(&image),
            "RootFS": { "Type": "layers", "Layers": diff_ids },
            "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
        });
        if !image.variant.is_empty() {
            object["Variant"] = json!(image.variant);
        }
        Ok(object)
    }

    /// `GraphDriver` with real paths, as Docker's overlay2 shows them for an image.
    fn graph_driver(&self, image: &Image) -> Value {
        let mut paths = self.layer_paths(image).into_iter().map(|p| p.display().to_string());
        let mut data = json!({});
        if let Some(upper) = paths.next() {
            data["UpperDir"] = json!(upper);
        }
        let lower: Vec<String> = paths.collect();
        if !lower.is_empty() {
            data["LowerDir"] = json!(lower.join(":"));
        }
        json!({ "Name": "overlay2", "Data": data })
    }
}

/// Docker's container config: every field is there, with what the document says.
fn config(image: &Image, raw: Option<&Value>) -> Value {
    let c = &image.config;
    let list = |words: &[String]| if words.is_empty() { Value::Null } else { json!(words) };
    let mut config = json!({
        "Hostname": "", "Domainname": "", "User": c.user,
        "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
        "Tty": false, "OpenStdin": false, "StdinOnce": false,
        "Env": list(&c.env), "Cmd": list(&c.cmd), "Image": "",
        "Volumes": if c.volumes.is_empty() { Value::Null } else { json!(c.volumes) },
        "WorkingDir": c.working_dir, "Entrypoint": list(&c.entrypoint), "OnBuild": list(&c.on_build),
        "Labels": if c.labels.is_empty() { Value::Null } else { json!(c.labels) },
    });
    let Value::Object(map) = &mut config else { return config };
    if !c.exposed_ports.is_empty() {
        map.insert("ExposedPorts".into(), json!(c.exposed_ports));
    }
    if !c.stop_signal.is_empty() {
        map.insert("StopSignal".into(), json!(c.stop_signal));
    }
    if let Some(timeout) = c.stop_timeout {
        map.insert("StopTimeout".into(), json!(timeout));
    }
    if !c.shell.is_empty() {
        map.insert("Shell".into(), json!(c.shell));
    }
    // As it was written: fields that are zero are not shown.
    for key in ["Healthcheck", "ArgsEscaped"] {
        if let Some(value) = raw.and_then(|r| r.get(key)).filter(|v| !v.is_null()) {
            map.insert(key.into(), value.clone());
        }
    }
    config
}
