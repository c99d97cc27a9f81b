//! Names of images by Docker's grammar, to the letter: `[domain/]path[:tag][@digest]` (distribution/reference).

use crate::digest::is_hex64;
use crate::error::{Error, Result};

/// A normalised name. At least the domain and the path are set; a name without tag and digest means `:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// `docker.io`, `localhost`, `registry.example.org:5000`, `[::1]:5000`.
    pub domain: String,
    /// `library/busybox`.
    pub path: String,
    pub tag: Option<String>,
    /// `sha256:<64 hex>` (or sha384, sha512).
    pub digest: Option<String>,
}

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
/// Longest path of a repository, in bytes.
const MAX_PATH: usize = 255;

impl Reference {
    /// Parse what a user types, with Docker's defaults: `busybox` is `docker.io/library/busybox`.
    ///
    /// A bare 64-hex string is refused, because it is an image id.
    pub fn parse(text: &str) -> Result<Reference> {
        let bad = |cause: &str| {
            Err(Error::Reference { name: text.escape_debug().to_string(), cause: cause.into() })
        };
        if text.is_empty() {
            return bad("it is empty");
        }
        if is_hex64(text) {
            return bad("64 hexadecimal digits are an image id, not a name");
        }
        let (domain, rest) = split_domain(text);
        let remote = rest.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return bad(&format!("repository name ({}) must be lowercase", remote.escape_debug()));
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (rest.as_str(), None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if !is_domain(&domain) || !path.split('/').all(is_component) || !tag.is_none_or(is_tag) {
            return bad("invalid reference format");
        }
        if let Some(Err(cause)) = digest.map(check_digest) {
            return bad(cause);
        }
        if path.len() > MAX_PATH {
            return bad("repository name must not be more than 255 characters");
        }
        let (path, tag, digest) = (path.to_string(), tag.map(str::to_string), digest.map(str::to_string));
        Ok(Reference { domain, path, tag, digest })
    }

    /// The same with `:latest` where there is neither tag nor digest.
    pub fn tagged(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some("latest".into());
        }
        self
    }

    /// `docker.io/library/busybox`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The repository as Docker shows it: `busybox`, `peers/nginx`, `localhost/peers/busybox`.
    pub fn familiar_repository(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.repository();
        }
        match self.path.strip_prefix(OFFICIAL) {
            // Alone it would be an image's id.
            Some(name) if !name.contains('/') && !is_hex64(name) => name.to_string(),
            _ => self.path.clone(),
        }
    }

    /// The whole name as Docker shows it, with the tag and digest that it has.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_repository())
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name = name + ":" + tag;
        }
        if let Some(digest) = &self.digest {
            name = name + "@" + digest;
        }
        name
    }
}

/// The full name: `docker.io/library/busybox:latest`.
impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.suffixed(self.repository()))
    }
}

/// Docker's `splitDockerDomain`: a first component is a domain if it is `localhost`, or has a `.`, a `:` or a capital.
fn split_domain(name: &str) -> (String, String) {
    let (domain, rest) = match name.split_once('/') {
        None => return (DEFAULT_DOMAIN.into(), format!("{OFFICIAL}{name}")),
        Some(("localhost", rest)) => ("localhost", rest),
        Some(("index.docker.io", rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest)) if first.contains(['.', ':']) || first.chars().any(char::is_uppercase) => {
            (first, rest)
        }
        Some(_) => (DEFAULT_DOMAIN, name),
    };
    if domain == DEFAULT_DOMAIN && !rest.contains('/') {
        return (domain.into(), format!("{OFFICIAL}{rest}"));
    }
    (domain.into(), rest.into())
}

/// `host[:port]`, where host is a domain name, an IPv4 address or an IPv6 address in brackets.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            (None, port)
        }
        None => match text.find(':') {
            Some(at) => (Some(&text[..at]), &text[at..]),
            None => (Some(text), ""),
        },
    };
    let port_ok = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let label = |l: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        edge(l.as_bytes().first())
            && edge(l.as_bytes().last())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    port_ok && host.is_none_or(|h| h.split('.').all(label))
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    bytes.split(alnum).all(|sep| matches!(sep, b"" | b"." | b"_" | b"__") || sep.iter().all(|b| *b == b'-'))
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

fn check_digest(text: &str) -> std::result::Result<(), &'static str> {
    let Some((algorithm, hex)) = text.split_once(':') else { return Err("invalid reference format") };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return Err("unsupported digest algorithm"),
    };
    if !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return Err("invalid checksum digest format");
    }
    if hex.len() != length {
        return Err("invalid checksum digest length");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn names_as_docker_reads_them() {
        let digested = format!("busybox@sha256:{HEX}");
        let both = format!("h.io:5/a/b:t@sha256:{HEX}");
        let hex = format!("library/{HEX}:1");
        let hex_full = format!("docker.io/{hex}");
        let table: &[(&str, &str, &str)] = &[
            // typed, full (with :latest), familiar
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            (&hex, &hex_full, &hex),
            ("busybox:1", "docker.io/library/busybox:1", "busybox:1"),
            ("library/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("docker.io/library/busybox:v1", "docker.io/library/busybox:v1", "busybox:v1"),
            ("library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
            ("peers/nginx", "docker.io/peers/nginx:latest", "peers/nginx:latest"),
            ("a/b/c:d", "docker.io/a/b/c:d", "a/b/c:d"),
            ("localhost/peers/busybox", "localhost/peers/busybox:latest", "localhost/peers/busybox:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x:latest"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost", "docker.io/library/localhost:latest", "localhost:latest"),
            ("h.example.org/x:Tag_1.2-3", "h.example.org/x:Tag_1.2-3", "h.example.org/x:Tag_1.2-3"),
            ("10.0.0.1:5000/x/y", "10.0.0.1:5000/x/y:latest", "10.0.0.1:5000/x/y:latest"),
            ("[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"),
            ("[fd00::1]/x", "[fd00::1]/x:latest", "[fd00::1]/x:latest"),
            ("UPPER/x", "UPPER/x:latest", "UPPER/x:latest"),
            ("Foo.Example:80/x", "Foo.Example:80/x:latest", "Foo.Example:80/x:latest"),
            ("a__b/c-----d.e_f", "docker.io/a__b/c-----d.e_f:latest", "a__b/c-----d.e_f:latest"),
            ("busybox:5000", "docker.io/library/busybox:5000", "busybox:5000"),
            ("0000", "docker.io/library/0000:latest", "0000:latest"),
            (&digested, &format!("docker.io/library/{digested}"), &digested),
            (&both, &both, &both),
            (
                &HEX[..63],
                &format!("docker.io/library/{}:latest", &HEX[..63]),
                &format!("{}:latest", &HEX[..63]),
            ),
        ];
        for (typed, full, familiar) in table {
            let r = Reference::parse(typed).unwrap_or_else(|e| panic!("{e}")).tagged();
            assert_eq!((r.to_string().as_str(), r.familiar().as_str()), (*full, *familiar), "{typed}");
            assert_eq!(Reference::parse(full).unwrap(), r, "{typed}: the full name reads as itself");
        }
    }

    #[test]
    fn names_that_docker_refuses() {
        let long = "a/".repeat(128) + "b";
        let long_tag = format!("a:{}", "t".repeat(129));
        let short_digest = format!("a@sha256:{}", &HEX[1..]);
        let upper_digest = format!("a@sha256:{}", HEX.to_uppercase());
        let other_digest = format!("a@md5:{HEX}");
        let bad = [
            "",
            ":tag",
            "@sha256:00",
            HEX,
            "Busybox",
            "a/Busybox",
            "a/B:t",
            "a//b",
            "/a",
            "a/",
            "-a",
            "a-",
            "_a",
            "a___b",
            "a..b",
            "a._b",
            "a.",
            "a:",
            "a:-t",
            "a:.t",
            "a b",
            "a/b c",
            "a:t:u",
            "host:/x",
            "host:port/x",
            "-h.io/x",
            "h-.io/x",
            "h..io/x",
            "[::1/x",
            "[]:5/x",
            "[::g]/x",
            "[::1]x/y",
            "a@",
            "a@sha256",
            "ünï",
            "a\nb",
            "a\0",
            "h.io/",
            "../x",
            "a/../b",
            "a/./b",
            "UPPER/x/Y",
            "https://h.io/x",
            &long,
            &long_tag,
            &short_digest,
            &upper_digest,
            &other_digest,
        ];
        for name in bad {
            let e = Reference::parse(name).expect_err(name).to_string();
            assert!(e.starts_with("invalid reference '") && !e.contains('\n'), "{e}");
        }
        let e = Reference::parse("BusyBox").unwrap_err().to_string();
        assert_eq!(e, "invalid reference 'BusyBox': repository name (library/BusyBox) must be lowercase");
    }
}
