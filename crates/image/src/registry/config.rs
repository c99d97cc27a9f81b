//! `registries.toml`: where registries really are, which mirrors they have, and which may be spoken to without TLS. The grammar is that of
//! containers-registries.conf(5), version 2.

use super::url::is_loopback;
use crate::error::{Error, Result, invalid, io};
use crate::reference::Reference;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Read where no other place is named by CORTEN_REGISTRIES.
pub const PATH: &str = "/etc/corten/registries.toml";
/// Longest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// More directories in the manner of `/etc/docker/certs.d`, looked into first.
    pub cert_dirs: Vec<PathBuf>,
    /// Layers that are downloaded at once.
    pub parallel: Option<usize>,
    /// Seconds in which something has to come before it is tried again.
    pub timeout: Option<u64>,
    pub registry: Vec<Registry>,
    /// For files that were written for others: short names are Docker's here.
    unqualified_search_registries: Option<toml::Value>,
    short_name_mode: Option<toml::Value>,
    credential_helpers: Option<toml::Value>,
}

/// What holds for all names that begin with `prefix`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registry {
    /// `host[:port][/path…]`, or `*.domain`; `location` where it isn't given.
    pub prefix: String,
    /// What is put in the place of the prefix; the prefix itself where it isn't given.
    pub location: String,
    /// May be spoken to by plain HTTP, and with a certificate that proves nothing.
    pub insecure: bool,
    /// Nothing may be pulled from here.
    pub blocked: bool,
    /// Mirrors are asked for digests only.
    pub mirror_by_digest_only: bool,
    /// Asked before the location, in this order.
    pub mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mirror {
    /// What is put in the place of the prefix.
    pub location: String,
    pub insecure: bool,
    /// `all` (the default), `digest-only`, `tag-only`.
    pub pull_from_mirror: Option<Which>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    All,
    DigestOnly,
    TagOnly,
}

/// A place that may have a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host[:port]`, to connect to.
    pub host: String,
    /// The repository's name there.
    pub repository: String,
    /// Plain HTTP and unproven certificates are fine.
    pub insecure: bool,
    pub mirror: bool,
}

impl Endpoint {
    /// Plain HTTP is fine.
    pub fn may_be_plain(&self) -> bool {
        self.insecure || is_loopback(&self.host)
    }
}

impl Config {
    /// The file that CORTEN_REGISTRIES names, or the usual one, which need not be there.
    pub fn read() -> Result<Config> {
        match std::env::var_os("CORTEN_REGISTRIES").filter(|path| !path.is_empty()) {
            Some(path) => Config::read_file(Path::new(&path), true),
            None => Config::read_file(Path::new(PATH), false),
        }
    }

    fn read_file(path: &Path, needed: bool) -> Result<Config> {
        let text = std::fs::File::open(path).and_then(|file| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX), &mut text).map(|_| text)
        });
        match text {
            Ok(text) => {
                Config::parse(&text).map_err(|e| Error::Invalid(format!("'{}': {e}", path.display())))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !needed => Ok(Config::default()),
            Err(e) => Err(io(format!("read '{}'", path.display()))(e)),
        }
    }

    pub fn parse(text: &str) -> Result<Config> {
        let mut config: Config = toml::from_str(text).map_err(|e| {
            // Its own text is several lines, with a drawing.
            let line =
                e.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Error::Invalid(format!("line {line}: {}", e.message().lines().next().unwrap_or_default()))
        })?;
        for registry in &mut config.registry {
            if registry.prefix.is_empty() {
                registry.prefix.clone_from(&registry.location);
            }
            let wildcard = registry.prefix.starts_with("*.");
            if registry.location.is_empty() && !wildcard {
                registry.location.clone_from(&registry.prefix);
            }
            let places = [registry.prefix.trim_start_matches("*."), &registry.location];
            let places = places.into_iter().chain(registry.mirror.iter().map(|m| m.location.as_str()));
            for (at, place) in places.enumerate() {
                if (place.is_empty() && !(wildcard && at == 1))
                    || place.contains("://")
                    || place.ends_with('/')
                {
                    return invalid(format!(
                        "'{}' is not a place of images: it must be host[:port][/path]",
                        place.escape_debug()
                    ));
                }
            }
        }
        Ok(config)
    }

    /// Where the repository of a name is, mirrors first.
    pub fn endpoints(&self, reference: &Reference, push: bool) -> Result<Vec<Endpoint>> {
        let name = reference.repository();
        let matching = self.registry.iter().filter_map(|r| Some((matched(&r.prefix, &name)?, r)));
        let Some((length, registry)) = matching.max_by_key(|(length, _)| *length) else {
            return Ok(vec![endpoint(&name, false, false)]);
        };
        if registry.blocked {
            return invalid(format!("registry '{}' is blocked by the configuration", registry.prefix));
        }
        let rest = &name[length..];
        let mut endpoints = Vec::new();
        for mirror in registry.mirror.iter().filter(|_| !push) {
            let which = match mirror.pull_from_mirror {
                None if registry.mirror_by_digest_only => Which::DigestOnly,
                which => which.unwrap_or(Which::All),
            };
            let by_digest = reference.digest.is_some();
            if which == Which::All || (which == Which::DigestOnly) == by_digest {
                endpoints.push(endpoint(&format!("{}{rest}", mirror.location), mirror.insecure, true));
            }
        }
        let place =
            if registry.location.is_empty() { name.clone() } else { format!("{}{rest}", registry.location) };
        endpoints.push(endpoint(&place, registry.insecure, false));
        Ok(endpoints)
    }

    /// From now on everything at `place` (`host[:port][/path]`) may be spoken to without proof.
    pub fn trust(&mut self, place: &str) {
        let matching = self.registry.iter_mut().filter(|r| matched(&r.prefix, place).is_some());
        match matching.max_by_key(|r| r.prefix.len()) {
            Some(registry) => registry.insecure = true,
            None => self.registry.push(Registry {
                prefix: place.into(),
                location: place.into(),
                insecure: true,
                ..Registry::default()
            }),
        }
    }

    /// May this host be spoken to without proof? For `login`, which knows no repository.
    pub fn is_insecure(&self, host: &str) -> bool {
        self.registry.iter().any(|r| {
            r.insecure && (matched(&r.prefix, host).is_some() || matched(&r.location, host).is_some())
        })
    }
}

/// How many bytes of the name a prefix takes; whole components only.
fn matched(prefix: &str, name: &str) -> Option<usize> {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = name.split('/').next().unwrap_or_default();
        return host.ends_with(domain).then_some(host.len());
    }
    let rest = name.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(prefix.len())
}

/// `host[:port]/repository`. Docker Hub's registry is not where its name says.
fn endpoint(place: &str, insecure: bool, mirror: bool) -> Endpoint {
    let (host, repository) = place.split_once('/').unwrap_or((place, ""));
    let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
    Endpoint { host: host.into(), repository: repository.into(), insecure, mirror }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(config: &str, name: &str) -> Vec<String> {
        let config = Config::parse(config).unwrap();
        let endpoints = config.endpoints(&Reference::parse(name).unwrap(), false).unwrap();
        let flags = |e: &Endpoint| {
            format!("{}{}", if e.mirror { " mirror" } else { "" }, if e.insecure { " insecure" } else { "" })
        };
        endpoints.iter().map(|e| format!("{} {}{}", e.host, e.repository, flags(e))).collect()
    }

    #[test]
    fn without_a_file_a_name_says_where() {
        assert_eq!(places("", "busybox"), ["registry-1.docker.io library/busybox"]);
        assert_eq!(places("", "localhost:5000/a/b"), ["localhost:5000 a/b"]);
    }

    #[test]
    fn mirrors_and_rewrites_of_any_registry() {
        let config = r#"
            # Docker Hub through a cache
            [[registry]]
            prefix = "docker.io"
            [[registry.mirror]]
            location = "10.0.0.5:5000/hub"
            insecure = true
            [[registry.mirror]]
            location = "cache.example.org"
            pull-from-mirror = "digest-only"

            [[registry]]
            prefix = "example.com/team"
            location = "internal.example.com/team-new"

            [[registry]]
            location = "example.com"
            insecure = true

            [[registry]]
            prefix = "*.lab.example.com"
            insecure = true
        "#;
        assert_eq!(
            places(config, "busybox"),
            ["10.0.0.5:5000 hub/library/busybox mirror insecure", "registry-1.docker.io library/busybox"]
        );
        let digested = format!("busybox@sha256:{}", "0".repeat(64));
        assert_eq!(
            places(config, &digested),
            [
                "10.0.0.5:5000 hub/library/busybox mirror insecure",
                "cache.example.org library/busybox mirror",
                "registry-1.docker.io library/busybox"
            ]
        );
        // The longest prefix wins, by whole components.
        assert_eq!(places(config, "example.com/team/x"), ["internal.example.com team-new/x"]);
        assert_eq!(places(config, "example.com/teams/x"), ["example.com teams/x insecure"]);
        assert_eq!(places(config, "a.lab.example.com/x"), ["a.lab.example.com x insecure"]);
        assert_eq!(places(config, "lab.example.com/x"), ["lab.example.com x"]);
    }

    #[test]
    fn blocked_registries() {
        let config = Config::parse("[[registry]]\nprefix='evil.example.org'\nblocked=true").unwrap();
        let e = config.endpoints(&Reference::parse("evil.example.org/x").unwrap(), false).unwrap_err();
        assert_eq!(e.to_string(), "registry 'evil.example.org' is blocked by the configuration");
    }

    #[test]
    fn mistakes_are_shown_with_their_line() {
        let says = |text: &str| Config::parse(text).unwrap_err().to_string();
        assert_eq!(
            says("[[registry]]\nprefix = 'x'\ninsecured = true\n").split(',').next().unwrap(),
            "line 3: unknown field `insecured`"
        );
        assert_eq!(says("\n\nregistry = 7").split(',').next().unwrap(), "line 3: invalid type: integer `7`");
        assert!(
            says("[[registry]]\nprefix = 'https://x'").starts_with("'https://x' is not a place of images")
        );
        assert!(says("[[registry]]\n").starts_with("'' is not a place of images"));
        assert!(
            Config::parse("unqualified-search-registries = ['docker.io']\nshort-name-mode='enforcing'")
                .is_ok()
        );
    }
}
