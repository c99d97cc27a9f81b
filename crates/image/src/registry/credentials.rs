//! Who we are to registries: `~/.docker/config.json`, and containers-auth.json(5).

use super::helper;
use crate::error::{Error, Result, io};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Password {
        user: String,
        password: String,
    },
    /// Docker's identity token: gets tokens by OAuth2.
    Refresh(String),
    /// A token for the registry itself.
    Bearer(String),
}

/// Secrets stay out of messages.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Docker Hub's name in files.
const HUB: &str = "https://index.docker.io/v1/";
/// Longest file that is read, in bytes.
const MAX: u64 = 16 << 20;

/// The files, the one that is written first.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub files: Vec<PathBuf>,
}

impl Credentials {
    /// REGISTRY_AUTH_FILE alone, or else Docker's file (DOCKER_CONFIG) and then those of containers-auth.json(5).
    pub fn usual() -> Credentials {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(file) = set("REGISTRY_AUTH_FILE") {
            return Credentials { files: vec![file] };
        }
        let home = set("HOME").unwrap_or_else(|| "/root".into());
        let uid = rustix::process::getuid().as_raw();
        let runtime = set("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        let runtime = runtime.unwrap_or_else(|| format!("/run/containers/{uid}/auth.json").into());
        let config = set("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
        let docker = set("DOCKER_CONFIG").unwrap_or_else(|| home.join(".docker"));
        Credentials { files: vec![docker.join("config.json"), runtime, config.join("containers/auth.json")] }
    }

    /// What is known for a repository of a host; the first file that knows something counts.
    pub fn find(&self, host: &str, repository: &str) -> Result<Option<Secret>> {
        for path in &self.files {
            let Some(file) = read(path)? else { continue };
            if let Some(secret) = find_in(&file, host, repository, path)? {
                return Ok(Some(secret));
            }
        }
        Ok(None)
    }

    /// Keep a secret. Returns where: a file, or the name of a helper; true for a file, where it lies unencrypted.
    pub fn store(&self, host: &str, secret: &Secret) -> Result<(String, bool)> {
        let Some(path) = self.files.first() else {
            return Err(Error::Invalid("there is no file for credentials".into()));
        };
        let mut file = read(path)?.unwrap_or_default();
        if let Some(helper) = helper_for(&file, host) {
            let helper = helper.to_owned();
            helper::store(&helper, &key(host), secret)?;
            // Docker notes there that something is kept elsewhere.
            entries(&mut file).insert(key(host), json!({}));
            write(path, &file)?;
            return Ok((helper, false));
        }
        let entry = match secret {
            Secret::Password { user, password } => {
                json!({"auth": STANDARD.encode(format!("{user}:{password}"))})
            }
            Secret::Refresh(token) => json!({"identitytoken": token}),
            Secret::Bearer(token) => json!({"registrytoken": token}),
        };
        entries(&mut file).insert(key(host), entry);
        write(path, &file)?;
        Ok((path.display().to_string(), true))
    }

    /// Forget what is known for a host, in every file. False if there was nothing.
    pub fn erase(&self, host: &str) -> Result<bool> {
        let mut found = false;
        for path in &self.files {
            let Some(mut file) = read(path)? else { continue };
            if let Some(helper) = helper_for(&file, host) {
                let helper = helper.to_owned();
                if helper::get(&helper, &key(host))?.is_some() {
                    helper::erase(&helper, &key(host))?;
                    found = true;
                }
            }
            let all = entries(&mut file);
            let before = all.len();
            all.retain(|name, _| place(name) != canonical(host));
            if all.len() < before {
                found = true;
                write(path, &file)?;
            }
        }
        Ok(found)
    }
}

/// How a host is written in files.
fn key(host: &str) -> String {
    match canonical(host) {
        "docker.io" => HUB.into(),
        host => host.into(),
    }
}

/// Docker Hub's names are one.
fn canonical(host: &str) -> &str {
    match host {
        "registry-1.docker.io" | "index.docker.io" | "docker.io" => "docker.io",
        host => host,
    }
}

/// A key of `auths` as `host[/path]`: Docker's keys may have a scheme and a version.
fn place(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let old = bare.is_some();
    let bare = bare.unwrap_or(key).trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = if old || matches!(path, "v1" | "v2") { "" } else { path };
    let host = canonical(host);
    if path.is_empty() { host.into() } else { format!("{host}/{path}") }
}

fn helper_for<'a>(file: &'a Map<String, Value>, host: &str) -> Option<&'a str> {
    let own = file.get("credHelpers").and_then(Value::as_object);
    let own = own.and_then(|all| all.iter().find(|(name, _)| place(name) == canonical(host)));
    let own = own.and_then(|(_, helper)| helper.as_str());
    own.or_else(|| file.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty())
}

fn find_in(file: &Map<String, Value>, host: &str, repository: &str, path: &Path) -> Result<Option<Secret>> {
    if let Some(helper) = helper_for(file, host)
        && let Some(secret) = helper::get(helper, &key(host))?
    {
        return Ok(Some(secret));
    }
    let wanted = format!("{}/{repository}", canonical(host));
    let all = file.get("auths").and_then(Value::as_object);
    // The longest place that the repository is in: containers' files may have several for one host.
    let best = all.into_iter().flatten().filter_map(|(name, entry)| {
        let place = place(name);
        let rest = wanted.strip_prefix(&*place)?;
        rest.starts_with('/').then_some((place.len(), entry))
    });
    let Some((_, entry)) = best.max_by_key(|(length, _)| *length) else { return Ok(None) };
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|v| !v.is_empty());
    if let Some(token) = text("identitytoken") {
        return Ok(Some(Secret::Refresh(token.into())));
    }
    if let Some(token) = text("registrytoken") {
        return Ok(Some(Secret::Bearer(token.into())));
    }
    if let Some(auth) = text("auth") {
        let damaged =
            || Error::Invalid(format!("the credentials for '{host}' in '{}' are damaged", path.display()));
        let bytes = STANDARD.decode(auth.trim()).map_err(|_| damaged())?;
        let pair = String::from_utf8(bytes).map_err(|_| damaged())?;
        let (user, password) = pair.split_once(':').ok_or_else(damaged)?;
        let password = password.trim_end_matches('\0');
        return Ok(Some(Secret::Password { user: user.into(), password: password.into() }));
    }
    match (text("username"), text("password")) {
        (Some(user), Some(password)) => {
            Ok(Some(Secret::Password { user: user.into(), password: password.into() }))
        }
        _ => Ok(None),
    }
}

fn entries(file: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let auths = file.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    match auths {
        Value::Object(map) => map,
        // Made an object a line above.
        _ => unreachable!("auths is an object"),
    }
}

fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    let fail = || io(format!("read '{}'", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(fail()(e)),
    };
    let mut bytes = Vec::new();
    file.take(MAX).read_to_end(&mut bytes).map_err(fail())?;
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let parsed = serde_json::from_slice(&bytes);
    parsed.map(Some).map_err(|e| Error::Invalid(format!("'{}' cannot be read: {e}", path.display())))
}

/// For our eyes only, and all at once.
fn write(path: &Path, file: &Map<String, Value>) -> Result<()> {
    let fail = || io(format!("write '{}'", path.display()));
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail())?;
    // A link stays what it is: its target is written.
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut text = serde_json::to_vec_pretty(file).map_err(|e| Error::Invalid(e.to_string()))?;
    text.push(b'\n');
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let written = opened.and_then(|mut out| {
        out.write_all(&text)?;
        out.sync_all()?;
        std::fs::rename(&new, &path)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&new);
    }
    written.map_err(fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, host: &str, repository: &str) -> Option<Secret> {
        let file: Map<String, Value> = serde_json::from_str(text).unwrap();
        find_in(&file, host, repository, Path::new("f")).unwrap()
    }

    fn password(user: &str, password: &str) -> Option<Secret> {
        Some(Secret::Password { user: user.into(), password: password.into() })
    }

    #[test]
    fn keys_of_both_kinds() {
        // user:pass, other:word
        let text = r#"{"auths":{
            "https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNz"},
            "localhost:5000":{"auth":"b3RoZXI6d29yZA=="},
            "https://old.example.org/v2/":{"auth":"dXNlcjpwYXNz"},
            "a.example.org":{"auth":"dXNlcjpwYXNz"},
            "a.example.org/team":{"auth":"b3RoZXI6d29yZA=="},
            "token.example.org":{"identitytoken":"t","auth":"dXNlcjo="},
            "empty.example.org":{}
        }}"#;
        assert_eq!(find(text, "registry-1.docker.io", "library/x"), password("user", "pass"));
        assert_eq!(find(text, "docker.io", "library/x"), password("user", "pass"));
        assert_eq!(find(text, "localhost:5000", "x"), password("other", "word"));
        assert_eq!(find(text, "localhost", "x"), None);
        assert_eq!(find(text, "old.example.org", "x"), password("user", "pass"));
        assert_eq!(find(text, "a.example.org", "x"), password("user", "pass"));
        assert_eq!(find(text, "a.example.org", "team/x"), password("other", "word"));
        assert_eq!(find(text, "a.example.org", "teams/x"), password("user", "pass"));
        assert_eq!(find(text, "token.example.org", "x"), Some(Secret::Refresh("t".into())));
        assert_eq!(find(text, "empty.example.org", "x"), None);
        // Never those of a host that only looks alike (CVE-2021-41092).
        assert_eq!(find(text, "a.example.org.evil.org", "x"), None);
        assert_eq!(find(text, "example.org", "x"), None);
    }

    #[test]
    fn which_helper() {
        let text = r#"{"credsStore":"main","credHelpers":{"gcr.io":"gcloud"}}"#;
        let file: Map<String, Value> = serde_json::from_str(text).unwrap();
        assert_eq!(helper_for(&file, "gcr.io"), Some("gcloud"));
        assert_eq!(helper_for(&file, "other.io"), Some("main"));
        assert!(helper::get("../evil", "x").unwrap_err().to_string().contains("is not the name"));
    }

    #[test]
    fn stored_and_forgotten() {
        let dir = std::env::temp_dir().join(format!("image-credentials-{}", std::process::id()));
        let file = dir.join("deep/config.json");
        let all = Credentials { files: vec![file.clone()] };
        let secret = password("u", "p:q").unwrap();
        assert_eq!(all.find("a.org", "x").unwrap(), None);
        all.store("a.org", &secret).unwrap();
        all.store("docker.io", &Secret::Refresh("r".into())).unwrap();
        assert_eq!(all.find("a.org", "x").unwrap(), Some(secret));
        assert_eq!(all.find("registry-1.docker.io", "x").unwrap(), Some(Secret::Refresh("r".into())));
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        assert!(std::fs::read_to_string(&file).unwrap().contains(HUB));
        assert!(all.erase("a.org").unwrap());
        assert!(!all.erase("a.org").unwrap());
        assert_eq!(all.find("a.org", "x").unwrap(), None);
        std::fs::write(&file, "nonsense").unwrap();
        assert!(all.find("a.org", "x").unwrap_err().to_string().contains("cannot be read"));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
